"""One wrapper per contract. Reads answer plain Python values; writes answer a :class:`Call` for the sender."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from oracle.chain.artifacts import artifact
from oracle.chain.attestations import Attestation
from oracle.chain.failures import endpoint_name, translated
from oracle.jobs.errors import ChainError
from oracle.jobs.states import State, Tier
from oracle.jobs.terms import ZERO_ADDRESS, Terms

NATIVE = ZERO_ADDRESS


@dataclass(frozen=True)
class Call:
    """A state-changing call that is not sent yet. ``value`` is in wei; ``label`` says what it does, for people."""

    label: str
    to: str
    data: str
    value: int = 0


class Delivery(NamedTuple):
    """One of a batch: what :meth:`JobEscrow.deliver` takes, and the validator's ``attestation`` if it has one."""

    job_id: int
    terms: Terms
    charge: int
    result: bytes
    attestation: Attestation | None = None

    def to_abi(self) -> tuple[Any, ...]:
        """The ``BatchedDelivery`` tuple the contract takes."""
        attestation = tuple(self.attestation or (False, 0, 0, bytes(32), b""))
        attested = self.attestation is not None
        return (self.job_id, self.terms.to_abi(), self.charge, self.result, attested, attestation)


@dataclass(frozen=True)
class _Function:
    """One entry of an ABI: selector and types, ready for eth_abi."""

    selector: bytes
    inputs: list[str]
    outputs: list[str]


class _Wrapper:
    """Encodes and decodes by itself: web3's contract objects search the ABI at every call, which costs milliseconds."""

    _NAME: str

    def __init__(self, w3: Any, address: str):
        self.address = address
        self._w3 = w3
        self._endpoint = endpoint_name(w3)

    def _read(self, name: str, *args: Any) -> Any:
        function = _functions(self._NAME)[name]
        with translated(self._endpoint):
            answer = self._w3.eth.call({"to": self.address, "data": _encoded(function, args)})
        values = self._decoded(function, bytes(answer))
        return values[0] if len(values) == 1 else values

    def _call(self, label: str, name: str, *args: Any, value: int = 0) -> Call:
        return Call(label, self.address, _encoded(_functions(self._NAME)[name], args), value)

    def _decoded(self, function: _Function, answer: bytes) -> tuple[Any, ...]:
        from eth_abi import decode
        from eth_abi.exceptions import DecodingError

        try:
            return decode(function.outputs, answer)
        except (DecodingError, OverflowError):
            raise ChainError(
                f"no Qscrow contract answers at {self.address} on {self._endpoint}",
                remedy="check the deployment file and the chain",
            ) from None


def _encoded(function: _Function, args: tuple[Any, ...]) -> str:
    from eth_abi import encode

    return "0x" + (function.selector + encode(function.inputs, args)).hex()


@cache
def _functions(contract: str) -> dict[str, _Function]:
    """By name; of ERC-721's one overloaded name, which nobody calls here, the last."""
    from eth_utils.abi import function_abi_to_4byte_selector, get_abi_input_types, get_abi_output_types

    entries = [entry for entry in artifact(contract)["abi"] if entry["type"] == "function"]
    return {
        entry["name"]: _Function(
            function_abi_to_4byte_selector(entry), get_abi_input_types(entry), get_abi_output_types(entry)
        )
        for entry in entries
    }


class JobEscrow(_Wrapper):
    """Money and state of jobs (``interfaces/IJobEscrow.sol``)."""

    _NAME = "JobEscrow"

    def create_job(self, terms: Terms) -> Call:
        """Lock the budget; native budgets travel as value."""
        value = terms.budget if terms.token == NATIVE else 0
        return self._call("createJob", "createJob", terms.to_abi(), value=value)

    def cancel(self, job_id: int, terms: Terms) -> Call:
        """Requester takes an unaccepted job back."""
        return self._call("cancel", "cancel", job_id, terms.to_abi())

    def accept(self, job_id: int, terms: Terms) -> Call:
        """Oracle takes the job and locks its bond."""
        return self._call("accept", "accept", job_id, terms.to_abi())

    def reject(self, job_id: int, terms: Terms, reason: str) -> Call:
        """Oracle declines; ``reason`` is short ASCII."""
        return self._call("reject", "reject", job_id, terms.to_abi(), reason_bytes(reason))

    def fail(self, job_id: int, terms: Terms, reason: str) -> Call:
        """Oracle gives up an accepted job in time."""
        return self._call("fail", "fail", job_id, terms.to_abi(), reason_bytes(reason))

    def promote(self, job_id: int, terms: Terms, extra: int = 0, evidence: bytes = bytes(32)) -> Call:
        """Requester approves hardware, adding ``extra`` to the budget (its token must be approved for the escrow)."""
        value = extra if terms.token == NATIVE else 0
        return self._call("promote", "promote", job_id, terms.to_abi(), extra, evidence, value=value)

    def report(self, updates: list[tuple[int, State, bytes]]) -> Call:
        """Progress of jobs: (job id, state, 32-byte evidence)."""
        ids, states, evidence = zip(*updates, strict=True)
        return self._call("report", "report", list(ids), [int(s) for s in states], list(evidence))

    def deliver(self, job_id: int, terms: Terms, charge: int, result: bytes) -> Call:
        """Post the digest of the sealed result and the charge."""
        return self._call("deliver", "deliver", job_id, terms.to_abi(), charge, result)

    def deliver_batch(self, items: Iterable[Delivery]) -> Call:
        """Several deliveries; the contract skips those whose job moved on, anything else wrong reverts them all."""
        return self._call("deliverBatch", "deliverBatch", [item.to_abi() for item in items])

    def validate(self, job_id: int, terms: Terms, attestation: Attestation) -> Call:
        """Hand in the validator's verdict on a delivered result."""
        return self._call("validate", "validate", job_id, terms.to_abi(), tuple(attestation))

    def validate_batch(self, items: Iterable[tuple[int, Terms, Attestation]]) -> Call:
        """Several verdicts; the contract skips those whose job moved on, anything else wrong reverts them all."""
        verdicts = [(job_id, terms.to_abi(), tuple(attestation)) for job_id, terms, attestation in items]
        return self._call("validateBatch", "validateBatch", verdicts)

    def settle(self, job_id: int, terms: Terms) -> Call:
        """End a delivered job whose period is over."""
        return self._call("settle", "settle", job_id, terms.to_abi())

    def claim_refund(self, job_id: int, terms: Terms) -> Call:
        """Return the money of a job that ran out of time."""
        return self._call("claimRefund", "claimRefund", job_id, terms.to_abi())

    def withdraw(self, token: str, to: str) -> Call:
        """Take everything credited to the sender out."""
        return self._call("withdraw", "withdraw", token, to)

    def state_of(self, job_id: int) -> State:
        """Stored state."""
        return State(self._read("stateOf", job_id))

    def tier_of(self, job_id: int) -> Tier:
        """Trust tier."""
        return Tier(self._read("tierOf", job_id))

    def deadline_of(self, job_id: int) -> int:
        """End of the current phase, Unix time; 0 when terminal."""
        return self._read("deadlineOf", job_id)

    def matches(self, job_id: int, terms: Terms) -> bool:
        """Whether ``terms`` are the job's current terms."""
        return self._read("matches", job_id, terms.to_abi())

    def delivery_of(self, job_id: int) -> tuple[int, bool, int]:
        """(charge, rejected by the validator, disputing party 0/1/2) of a delivered, unsettled job."""
        return tuple(self._read("deliveryOf", job_id))

    def credit_of(self, account: str, token: str = NATIVE) -> int:
        """What ``account`` can withdraw, smallest units."""
        return self._read("creditOf", account, token)

    def job_count(self) -> int:
        """Jobs ever created."""
        return self._read("jobCount")


class OracleRegistry(_Wrapper):
    """Stakes and keys of oracles (``interfaces/IOracleRegistry.sol``)."""

    _NAME = "OracleRegistry"

    def register(self, sealing_key: bytes, profile: bytes, stake: int = 0) -> Call:
        """Publish key and profile digest, adding ``stake`` wei."""
        return self._call("register", "register", sealing_key, profile, value=stake)

    def request_unstake(self, amount: int) -> Call:
        """Start taking free stake back."""
        return self._call("requestUnstake", "requestUnstake", amount)

    def unstake(self, to: str) -> Call:
        """Take requested stake out."""
        return self._call("unstake", "unstake", to)

    def stake_of(self, oracle: str) -> tuple[int, int]:
        """(stake, locked part) in wei."""
        stake, locked = self._read("stakeOf", oracle)
        return stake, locked

    def unstaking_of(self, oracle: str) -> tuple[int, int]:
        """(amount on its way out, when it can be taken)."""
        amount, available_at = self._read("unstakingOf", oracle)
        return amount, available_at

    def sealing_key_of(self, oracle: str) -> bytes:
        """Registered X25519 key; 32 zero bytes if never registered."""
        return bytes(self._read("sealingKeyOf", oracle))

    def profile_of(self, oracle: str) -> bytes:
        """Digest of the profile."""
        return bytes(self._read("profileOf", oracle))


class ResultNFT(_Wrapper):
    """Result tokens (``interfaces/IResultNFT.sol``, ERC-721)."""

    _NAME = "ResultNFT"

    def owner_of(self, job_id: int) -> str:
        """Current owner of the job's result token."""
        from eth_utils import to_checksum_address

        return to_checksum_address(self._read("ownerOf", job_id))

    def result_of(self, job_id: int) -> bytes:
        """Digest of the sealed result."""
        return bytes(self._read("resultOf", job_id))

    def token_uri(self, job_id: int) -> str:
        """Metadata as a data URI."""
        return self._read("tokenURI", job_id)


def reason_bytes(reason: str) -> bytes:
    """``reason`` as the chain stores it: ASCII, at most 31 characters, zero-padded to 32 bytes."""
    return reason.encode("ascii", "replace")[:31].ljust(32, b"\0")


def reason_text(evidence: bytes) -> str:
    """The reason in ``evidence``: its text if it is printable ASCII, else 0x-hex, empty if zero."""
    text = evidence.rstrip(b"\0")
    printable = all(32 <= byte < 127 for byte in text)
    return text.decode("ascii") if printable else "0x" + evidence.hex()
