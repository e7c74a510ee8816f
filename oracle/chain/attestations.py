"""A validator's signed verdict: the Python twin of ``IJobEscrow.Attestation`` and its EIP-712 type."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from oracle.jobs.errors import ChainError
from oracle.jobs.terms import Terms

MOST_DISTANCE = 1_000_000
"""A distance of 1, in the millionths in which attestations carry it."""
_TYPE = (
    ("jobId", "uint256"),
    ("termsHash", "bytes32"),
    ("result", "bytes32"),
    ("accepted", "bool"),
    ("method", "uint8"),
    ("distance", "uint32"),
    ("report", "bytes32"),
)
_DOMAIN = (("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address"))


class Method(IntEnum):
    """What a validator did to find out (``IJobEscrow.Method``); each leads to the trust tier of its name."""

    STATISTICAL = 0
    REPLAYED = 1
    CANARY = 2
    AGREED = 3


class Attestation(NamedTuple):
    """In the order of the contract. ``distance`` is in millionths, ``report`` the digest of the sealed report."""

    accepted: bool
    method: int
    distance: int
    report: bytes
    signature: bytes


@dataclass(frozen=True)
class Statement:
    """What is signed: the verdict on one result of one job, on one chain and contract.

    ``result`` is the digest of the sealed result, ``report`` that of the sealed report, 32 bytes each.
    """

    chain_id: int
    escrow: str
    job_id: int
    terms: Terms
    result: bytes
    accepted: bool
    method: Method
    distance: int
    report: bytes

    def typed(self) -> dict[str, Any]:
        """The EIP-712 message, digests as 0x-hex, so that it is JSON as well."""
        return {
            "types": {
                "EIP712Domain": [{"name": name, "type": kind} for name, kind in _DOMAIN],
                "Attestation": [{"name": name, "type": kind} for name, kind in _TYPE],
            },
            "primaryType": "Attestation",
            "domain": {
                "name": "Qscrow",
                "version": "1",
                "chainId": self.chain_id,
                "verifyingContract": self.escrow,
            },
            "message": {
                "jobId": self.job_id,
                "termsHash": "0x" + self.terms.hash().ljust(32, b"\0").hex(),
                "result": "0x" + self.result.hex(),
                "accepted": self.accepted,
                "method": int(self.method),
                "distance": self.distance,
                "report": "0x" + self.report.hex(),
            },
        }

    def signed_by(self, account: Any) -> Attestation:
        """The attestation, signed by a :class:`~oracle.chain.signers.Signer`.

        Raises :class:`ChainError` if the signer cannot sign such messages.
        """
        if not hasattr(account, "sign_typed_data"):
            raise ChainError("the signer cannot sign attestations", remedy="use a keystore, Clef or Web3Signer")
        signature = bytes(account.sign_typed_data(full_message=self.typed()).signature)
        return Attestation(self.accepted, int(self.method), self.distance, self.report, signature)
