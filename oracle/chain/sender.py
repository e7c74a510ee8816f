"""Signing and sending: one sender per key, every attempt recorded before it is broadcast.

A transaction that was signed may be mined, whatever became of the process that signed it. So the signed bytes go to
an :class:`AttemptLog` first, and a restart re-sends those very bytes instead of signing others.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Protocol

from oracle.chain.client import endpoint_name
from oracle.chain.contracts import Call
from oracle.chain.failures import translated
from oracle.jobs.errors import ChainError

GAS_HEADROOM_PERCENT = 25
RECEIPT_TIMEOUT_SECONDS = 120
MIN_TIP_WEI = 10**6


@dataclass(frozen=True)
class Attempt:
    """One signed transaction. ``purpose`` is the caller's own name for what it achieves, e.g. ``7:deliver``."""

    purpose: str
    sender: str
    nonce: int
    raw: bytes
    tx_hash: bytes


class AttemptLog(Protocol):
    """Where attempts survive a crash."""

    def record(self, attempt: Attempt) -> None:
        """Store ``attempt`` durably before it is broadcast."""

    def forget(self, attempt: Attempt) -> None:
        """``attempt`` was never accepted by the endpoint and cannot be mined."""

    def next_nonce(self, sender: str) -> int:
        """One more than the highest nonce recorded for ``sender``; 0 if none."""


class MemoryAttemptLog:
    """For one-shot commands, whose caller watches the transaction to its end."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []

    def record(self, attempt: Attempt) -> None:
        """See :class:`AttemptLog`."""
        self.attempts.append(attempt)

    def forget(self, attempt: Attempt) -> None:
        """See :class:`AttemptLog`."""
        self.attempts.remove(attempt)

    def next_nonce(self, sender: str) -> int:
        """See :class:`AttemptLog`."""
        return max((a.nonce + 1 for a in self.attempts if a.sender == sender), default=0)


@dataclass(frozen=True)
class Receipt:
    """A mined transaction. ``logs`` are raw; ``gas_used`` in gas, ``fee`` in wei."""

    tx_hash: bytes
    block: int
    gas_used: int
    fee: int
    logs: list[Any]


class Sender:
    """Sends calls signed by one account. Thread-safe: nonces are given out one at a time."""

    def __init__(self, w3: Any, account: Any, log: AttemptLog | None = None):
        self.w3 = w3
        self.account = account
        self.address: str = account.address
        self._log = log or MemoryAttemptLog()
        self._lock = threading.Lock()

    def send(self, call: Call, purpose: str = "") -> Receipt:
        """Check ``call`` by simulation, sign it, record it, broadcast it and wait until it is mined.

        Raises :class:`ChainError` (often :class:`~oracle.chain.failures.Reverted`) if the simulation or the
        transaction fails; nothing is signed when the simulation fails.
        """
        return self.wait(self.start(call, purpose))

    def check(self, call: Call) -> None:
        """Raise the :class:`ChainError` that :meth:`send` would raise now; signs and sends nothing."""
        with translated(endpoint_name(self.w3)):
            self._prepared(call)

    def start(self, call: Call, purpose: str = "") -> Attempt:
        """Like :meth:`send`, without waiting."""
        with self._lock, translated(endpoint_name(self.w3)):
            transaction = self._prepared(call)
            nonce = max(self.w3.eth.get_transaction_count(self.address, "pending"), self._log.next_nonce(self.address))
            signed = self.account.sign_transaction({**transaction, "nonce": nonce})
            attempt = Attempt(
                purpose or call.label, self.address, nonce, bytes(signed.raw_transaction), bytes(signed.hash)
            )
            self._log.record(attempt)
            self._broadcast(attempt)
        return attempt

    def resend(self, attempt: Attempt) -> None:
        """Broadcast a recorded attempt again; harmless if the network has it."""
        with self._lock, translated(endpoint_name(self.w3)):
            self._broadcast(attempt, known_before=True)

    def wait(self, attempt: Attempt, timeout: float = RECEIPT_TIMEOUT_SECONDS) -> Receipt:
        """Wait until ``attempt`` is mined. Raises :class:`ChainUnavailable <oracle.jobs.errors.ChainUnavailable>`
        on time-out, :class:`ChainError` if it reverted."""
        with translated(endpoint_name(self.w3)):
            mined = self.w3.eth.wait_for_transaction_receipt(attempt.tx_hash, timeout=timeout, poll_latency=0.05)
        return self._checked(attempt, mined)

    def receipt(self, attempt: Attempt) -> Receipt | None:
        """The receipt if ``attempt`` is mined, else ``None``. Raises :class:`ChainError` if it reverted."""
        from web3.exceptions import TransactionNotFound

        with translated(endpoint_name(self.w3)):
            try:
                mined = self.w3.eth.get_transaction_receipt(attempt.tx_hash)
            except TransactionNotFound:
                return None
        return self._checked(attempt, mined)

    def overtaken(self, attempt: Attempt) -> bool:
        """Whether another transaction took the attempt's nonce, so that it can never be mined."""
        with translated(endpoint_name(self.w3)):
            mined_count = self.w3.eth.get_transaction_count(self.address, "latest")
        return mined_count > attempt.nonce and self.receipt(attempt) is None

    def _prepared(self, call: Call) -> dict[str, Any]:
        transaction = {"from": self.address, "to": call.to, "data": call.data, "value": call.value}
        self._require_funds(call.value)
        self.w3.eth.call(transaction)  # a contract's reason comes out of a call, not out of a mined failure
        gas = self.w3.eth.estimate_gas(transaction)
        base_fee = self.w3.eth.get_block("latest").get("baseFeePerGas", 0)
        tip = max(self.w3.eth.max_priority_fee, MIN_TIP_WEI)
        fees = {"maxFeePerGas": 2 * base_fee + tip, "maxPriorityFeePerGas": tip}
        limit = gas + gas * GAS_HEADROOM_PERCENT // 100
        self._require_funds(call.value + limit * fees["maxFeePerGas"])
        return {**transaction, **fees, "gas": limit, "chainId": self.w3.eth.chain_id, "type": 2}

    def _require_funds(self, needed: int) -> None:
        from oracle.jobs.amounts import format_wei

        held = self.w3.eth.get_balance(self.address)
        if held < needed:
            raise ChainError(
                f"{self.address} holds {format_wei(held)} and may need {format_wei(needed)}",
                field="account",
                remedy="fund it with native currency",
            )

    def _broadcast(self, attempt: Attempt, known_before: bool = False) -> None:
        try:
            self.w3.eth.send_raw_transaction(attempt.raw)
        except Exception as err:
            text = str(err).lower()
            if "already known" in text or "already imported" in text or "nonce too low" in text:
                return  # the network has it, or it is decided; the receipt will tell
            if known_before and self.w3.eth.get_transaction_count(self.address, "latest") > attempt.nonce:
                return  # decided as well, in whatever words this endpoint says so
            if not known_before and _refused(err):
                self._log.forget(attempt)
            raise

    def _checked(self, attempt: Attempt, mined: Any) -> Receipt:
        if mined["status"] != 1:
            raise ChainError(
                f"transaction 0x{attempt.tx_hash.hex()} ({attempt.purpose}) was mined but reverted",
                remedy="the job changed meanwhile; look at it with `qscrow inspect`",
            )
        fee = mined["gasUsed"] * mined.get("effectiveGasPrice", 0)
        return Receipt(attempt.tx_hash, mined["blockNumber"], mined["gasUsed"], fee, list(mined["logs"]))


def _refused(err: Exception) -> bool:
    """Whether the endpoint answered and refused, as opposed to not answering: then nothing is in flight."""
    from web3.exceptions import Web3RPCError

    return isinstance(err, Web3RPCError)
