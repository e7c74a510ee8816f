"""What a sealed document is bound to: one purpose, chain, contract, job, spec and requester.

The context travels in the clear inside the document and is also part of every key and
tag in it, so a document moved to another job opens for nobody. ``docs/sealing.md``
holds the format.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import rfc8785

from oracle.jobs.errors import SealError

PURPOSES = ("result", "circuit", "report")
NO_SPEC = bytes(32)

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_SPEC = re.compile(r"0x[0-9a-f]{64}")
# 78 decimal digits hold every uint256; the value itself is checked as well.
_UINT = re.compile(r"0|[1-9][0-9]{0,77}")
_FIELDS = ("purpose", "chain_id", "contract", "job_id", "spec", "party")


@dataclass(frozen=True)
class SealContext:
    """The one place a sealed document is valid for.

    ``purpose`` is ``"result"``, ``"circuit"`` or ``"report"``; ``chain_id`` and ``job_id`` are uint256;
    ``contract`` is the escrow's and ``party`` the requester's address (20 bytes, ``0x``
    hex, kept in lower case); ``spec`` is the 32-byte digest of the job's spec. A circuit
    is sealed before its job exists, so its ``job_id`` is 0 and its ``spec`` 32 zero bytes;
    ``party`` is what stops a stranger from using a copied circuit in a job of their own.

    Raises :class:`SealError` naming the field when a value is out of range.
    """

    purpose: str
    chain_id: int
    contract: str
    job_id: int
    spec: bytes
    party: str

    def __post_init__(self) -> None:
        if self.purpose not in PURPOSES:
            raise _bad("purpose", f"must be one of {', '.join(PURPOSES)}")
        _check_uint("chain_id", self.chain_id)
        _check_uint("job_id", self.job_id)
        if not isinstance(self.spec, bytes) or len(self.spec) != 32:
            raise _bad("spec", "must be the spec's 32-byte digest")
        for name in ("contract", "party"):
            object.__setattr__(self, name, _address(name, getattr(self, name)))
        if self.purpose == "circuit" and (self.job_id != 0 or self.spec != NO_SPEC):
            raise _bad("job_id", "a circuit is sealed before its job exists: job_id 0 and an all-zero spec")

    @classmethod
    def for_result(cls, *, chain_id: int, contract: str, job_id: int, spec: bytes, party: str) -> SealContext:
        """The context of the result of job ``job_id``."""
        return cls("result", chain_id, contract, job_id, spec, party)

    @classmethod
    def for_report(cls, *, chain_id: int, contract: str, job_id: int, spec: bytes, party: str) -> SealContext:
        """The context of a validator's report on the result of job ``job_id``."""
        return cls("report", chain_id, contract, job_id, spec, party)

    @classmethod
    def for_circuit(cls, *, chain_id: int, contract: str, party: str) -> SealContext:
        """The context of a circuit that requester ``party`` hands to an oracle."""
        return cls("circuit", chain_id, contract, 0, NO_SPEC, party)

    @classmethod
    def from_dict(cls, data: object) -> SealContext:
        """Read the form :meth:`as_dict` writes, and nothing else.

        Raises :class:`SealError` for missing or unknown fields, numbers that are not
        plain decimal strings, and hex that is not lower case.
        """
        if not isinstance(data, Mapping):
            raise SealError("must be an object", field="context")
        check_fields(data, required=_FIELDS, where="context")
        for name in _FIELDS:
            if not isinstance(data[name], str):
                raise _bad(name, "must be a string")
        if not _SPEC.fullmatch(data["spec"]):
            raise _bad("spec", "must be 0x and 64 lower-case hex digits")
        for name in ("contract", "party"):
            if data[name] != data[name].lower():
                raise _bad(name, "must be in lower case")
        return cls(
            purpose=data["purpose"],
            chain_id=_parse_uint("chain_id", data["chain_id"]),
            contract=data["contract"],
            job_id=_parse_uint("job_id", data["job_id"]),
            spec=bytes.fromhex(data["spec"][2:]),
            party=data["party"],
        )

    def as_dict(self) -> dict[str, str]:
        """The six fields as strings; integers in decimal, since JSON numbers stop at 2^53."""
        return {
            "purpose": self.purpose,
            "chain_id": str(self.chain_id),
            "contract": self.contract,
            "job_id": str(self.job_id),
            "spec": "0x" + self.spec.hex(),
            "party": self.party,
        }

    def canonical(self) -> bytes:
        """RFC 8785 bytes of :meth:`as_dict`: the associated data of the whole document."""
        return rfc8785.dumps(self.as_dict())

    def digest(self) -> bytes:
        """sha-256 of :meth:`canonical`: the salt of every key derived in the document."""
        return hashlib.sha256(self.canonical()).digest()

    def require(self, expected: SealContext) -> None:
        """Raise :class:`SealError` naming the first thing in which ``self`` is not ``expected``.

        ``self`` is what a document says it was sealed for.
        """
        for name, (is_sealed, is_not) in _DIFFERENCES.items():
            if getattr(self, name) != getattr(expected, name):
                found, wanted = is_sealed.format_map(self.as_dict()), is_not.format_map(expected.as_dict())
                raise SealError(
                    f"sealed {found}, not {wanted}",
                    field=f"context.{name}",
                    remedy="open it for the job it was made for, or fetch the document of this one",
                )


def check_fields(
    data: Mapping[str, Any], *, required: tuple[str, ...], optional: tuple[str, ...] = (), where: str
) -> None:
    """Raise :class:`SealError` unless ``data`` has every required field and no unknown one."""
    missing = [name for name in required if name not in data]
    if missing:
        raise SealError(f"missing field {missing[0]}", field=where)
    unknown = sorted(set(data) - set(required) - set(optional))
    if unknown:
        # ascii() keeps lone surrogates and control characters out of the message.
        raise SealError(f"unknown field {ascii(unknown[0])[:60]}", field=where)


# Field -> (what the document is, what it is not), in the order in which a difference explains the later ones.
_DIFFERENCES = {
    "purpose": ("as a {purpose}", "as a {purpose}"),
    "chain_id": ("for chain {chain_id}", "for chain {chain_id}"),
    "contract": ("for contract {contract}", "for contract {contract}"),
    "job_id": ("for job {job_id} on chain {chain_id}", "for job {job_id}"),
    "spec": ("for spec {spec}", "for spec {spec}"),
    "party": ("for requester {party}", "for requester {party}"),
}


def _check_uint(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**256:
        raise _bad(name, "must be an integer from 0 to 2^256-1")


def _parse_uint(name: str, text: str) -> int:
    if not _UINT.fullmatch(text):
        raise _bad(name, "must be a decimal number without leading zeros, as a string")
    return int(text)


def _address(name: str, value: object) -> str:
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise _bad(name, "must be an address: 0x and 40 hex digits")
    return value.lower()


def _bad(name: str, message: str) -> SealError:
    return SealError(message, field=f"context.{name}")
