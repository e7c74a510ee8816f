"""The terms of a job: the Python twin of ``IJobEscrow.Terms``, same fields, order and hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from oracle.jobs.errors import InputError
from oracle.jobs.identity import checksummed

ZERO_ADDRESS = "0x" + "00" * 20
ABI_TYPES = (
    "address",
    "address",
    "address",
    "address",
    "address",
    "address",
    "uint96",
    "uint96",
    "uint96",
    "uint32",
    "uint32",
    "uint32",
    "bytes32",
    "bytes32",
)
_ABI_NAMES = (
    "requester",
    "payer",
    "oracle",
    "validator",
    "arbiter",
    "token",
    "budget",
    "validatorFee",
    "bond",
    "acceptBy",
    "deliverBy",
    "challengePeriod",
    "spec",
    "sealTo",
)


@dataclass(frozen=True)
class Terms:
    """Addresses as checksummed hex, amounts in the token's smallest unit (bond in wei), times in seconds."""

    requester: str
    payer: str
    oracle: str
    validator: str
    arbiter: str
    token: str
    budget: int
    validator_fee: int
    bond: int
    accept_by: int
    deliver_by: int
    challenge_period: int
    spec: bytes
    seal_to: bytes

    @classmethod
    def from_abi(cls, values: Mapping[str, Any] | Sequence[Any]) -> Terms:
        """From a decoded ``Terms`` tuple or mapping, as an event or a call carries it."""
        if isinstance(values, Mapping):
            values = [values[name] for name in _ABI_NAMES]
        return cls(*(_from_abi(kind, value) for kind, value in zip(ABI_TYPES, values, strict=True)))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Terms:
        """From what :meth:`to_json` wrote. Raises :class:`InputError` naming a bad field."""
        values = []
        for name, kind in zip((f.name for f in fields(cls)), ABI_TYPES, strict=True):
            try:
                value = document[name]
                if kind.startswith("uint"):
                    values.append(int(value))
                else:
                    values.append(bytes.fromhex(value.removeprefix("0x")) if kind == "bytes32" else str(value))
            except (KeyError, TypeError, ValueError, AttributeError):
                raise InputError("is missing or malformed", field=f"terms.{name}") from None
        return cls(*values)

    def to_abi(self) -> tuple[Any, ...]:
        """The tuple the contract takes."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def to_json(self) -> dict[str, str]:
        """Every field as text; amounts and times in decimal, digests as 0x-hex."""
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: "0x" + value.hex() if isinstance(value, bytes) else str(value) for name, value in pairs}

    def hash(self) -> bytes:
        """The 27 bytes the contract stores: keccak256(abi.encode(terms)), truncated."""
        from eth_abi import encode
        from eth_utils import keccak

        return keccak(encode(ABI_TYPES, self.to_abi()))[:27]

    def taken_by(self, oracle: str) -> Terms:
        """These terms once ``oracle`` has accepted them; the contract fills in an open job's oracle."""
        return replace(self, oracle=oracle)

    def promoted_to(self, budget: int) -> Terms:
        """These terms once the requester has promoted the job to ``budget``, in the token's smallest unit."""
        return replace(self, budget=budget)

    @property
    def is_open(self) -> bool:
        """Whether any oracle may accept."""
        return self.oracle == ZERO_ADDRESS


def _from_abi(kind: str, value: Any) -> Any:
    if kind == "address":
        return checksummed(value)
    return bytes(value) if kind == "bytes32" else int(value)
