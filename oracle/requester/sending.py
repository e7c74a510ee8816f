"""Sending a requester's transactions so that a lost answer is never mistaken for a lost transaction."""

from __future__ import annotations

from oracle.chain.contracts import Call
from oracle.chain.sender import Receipt, Sender
from oracle.jobs.errors import ChainUnavailable


def send(sender: Sender, call: Call) -> Receipt:
    """Send ``call`` and wait until it is mined. Raises :class:`~oracle.jobs.errors.ChainError`.

    A :class:`ChainUnavailable` after broadcasting names the transaction: sending again without looking for it
    first could pay twice.
    """
    attempt = sender.start(call)
    try:
        return sender.wait(attempt)
    except ChainUnavailable as err:
        raise ChainUnavailable(
            f"transaction 0x{attempt.tx_hash.hex()} was sent and may still be mined, but {err.message}",
            remedy=f"look for it before you {call.label} again",
        ) from err
