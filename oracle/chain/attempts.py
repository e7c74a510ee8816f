"""Signed transactions and where they survive a crash."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from oracle.jobs.errors import ChainError

DYNAMIC_FEE = 2  # the transaction type of EIP-1559
_REPLAY_OFFSET = 35  # EIP-155: a legacy signature's v is 35 + 2 · chain id + parity


@dataclass(frozen=True)
class Attempt:
    """One signed transaction; several may share a nonce, of which at most one is ever mined.

    ``purpose`` is the caller's own name for what it achieves, e.g. ``7:deliver``. ``max_fee`` and ``max_tip`` are in
    wei per gas (both the gas price of a legacy transaction), ``block`` is the chain's head at most a second before it
    was signed; all three are for whoever reads the log, the bytes in ``raw`` are what counts.
    """

    purpose: str
    sender: str
    nonce: int
    raw: bytes
    tx_hash: bytes
    max_fee: int = 0
    max_tip: int = 0
    block: int = 0


class AttemptLog(Protocol):
    """Where attempts survive a crash. One :class:`~oracle.chain.sender.Sender` writes it; any thread reads it."""

    def record(self, attempt: Attempt) -> None:
        """Store ``attempt`` durably before it is broadcast."""

    def forget(self, attempt: Attempt) -> None:
        """``attempt`` was never accepted by any endpoint and cannot be mined; its nonce is free again."""

    def next_nonce(self, sender: str) -> int:
        """One more than the highest nonce recorded for ``sender``, closed ones included; 0 if none."""

    def attempts(self, purpose: str) -> list[Attempt]:
        """All recorded for ``purpose``, newest first."""

    def open_attempts(self, sender: str) -> list[Attempt]:
        """All attempts of ``sender``'s nonces that are not closed, by nonce, then oldest first."""

    def close_nonce(self, sender: str, nonce: int) -> None:
        """A transaction with this nonce is final on chain, ours or another. Idempotent."""


@dataclass
class MemoryAttemptLog:
    """For one-shot commands, whose caller watches the transaction to its end."""

    recorded: list[Attempt] = field(default_factory=list)
    _closed: set[tuple[str, int]] = field(default_factory=set)

    def record(self, attempt: Attempt) -> None:
        """See :class:`AttemptLog`."""
        self.recorded.append(attempt)

    def forget(self, attempt: Attempt) -> None:
        """See :class:`AttemptLog`."""
        self.recorded.remove(attempt)

    def next_nonce(self, sender: str) -> int:
        """See :class:`AttemptLog`."""
        return max((a.nonce + 1 for a in self.recorded if a.sender == sender), default=0)

    def attempts(self, purpose: str) -> list[Attempt]:
        """See :class:`AttemptLog`."""
        return [attempt for attempt in reversed(self.recorded) if attempt.purpose == purpose]

    def open_attempts(self, sender: str) -> list[Attempt]:
        """See :class:`AttemptLog`."""
        still = [a for a in self.recorded if a.sender == sender and (sender, a.nonce) not in self._closed]
        return sorted(still, key=lambda attempt: attempt.nonce)

    def close_nonce(self, sender: str, nonce: int) -> None:
        """See :class:`AttemptLog`."""
        self._closed.add((sender, nonce))


def unpack(raw: bytes) -> dict[str, Any]:
    """The transaction in the signed bytes ``raw``, in the form ``sign_transaction`` takes it.

    Knows EIP-1559 transactions without an access list and EIP-155 legacy ones (yellow paper, appendix B and EIP-2718
    for the encoding). Raises :class:`ChainError` for anything else.
    """
    import rlp
    from eth_utils import to_checksum_address

    try:
        if raw[:1] == bytes([DYNAMIC_FEE]):
            chain_id, nonce, tip, fee, gas, to, value, data, access_list, _, r, s = rlp.decode(raw[1:])
            if access_list:
                raise ValueError("access list")
            fees = {"type": DYNAMIC_FEE, "maxFeePerGas": _int(fee), "maxPriorityFeePerGas": _int(tip)}
            chain = _int(chain_id)
        else:
            nonce, price, gas, to, value, data, v, r, s = rlp.decode(raw)
            fees = {"gasPrice": _int(price)}
            chain = (_int(v) - _REPLAY_OFFSET) // 2
        if chain < 0 or len(to) not in (0, 20) or not all(map(_int, (r, s))):
            raise ValueError("no chain id, no address or no signature")
        return {
            **fees,
            "chainId": chain,
            "nonce": _int(nonce),
            "gas": _int(gas),
            "to": to_checksum_address(to) if to else "",
            "value": _int(value),
            "data": "0x" + data.hex(),
        }
    except (rlp.exceptions.DecodingError, ValueError, TypeError, AttributeError):
        raise ChainError("these bytes are no signed transaction of a kind known here") from None


def _int(data: bytes) -> int:
    if data[:1] == b"\0":
        raise ValueError("leading zero")  # the network refuses it
    return int.from_bytes(data, "big")
