"""What the contracts announce: logs decoded into one small record each, in chain order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from oracle.chain.artifacts import CONTRACTS, artifact


@dataclass(frozen=True)
class Event:
    """One log. ``args`` maps argument names to values as the ABI decodes them.

    (``tx_hash``, ``block_hash``, ``log_index``) identifies it, also across reorganisations.
    """

    name: str
    address: str
    args: dict[str, Any]
    block: int
    block_hash: bytes
    tx_hash: bytes
    log_index: int

    @property
    def job_id(self) -> int | None:
        """The job it concerns, if any; a result token's id is its job's."""
        return self.args.get("jobId", self.args.get("tokenId"))

    @property
    def key(self) -> tuple[bytes, bytes, int]:
        """Identity of the log."""
        return (self.tx_hash, self.block_hash, self.log_index)


def decode_log(log: Any) -> Event | None:
    """``log`` as an :class:`Event`, or ``None`` for one the contracts do not declare or that is malformed."""
    topics = log["topics"]
    decoder = _decoders().get(bytes(topics[0])) if topics else None
    if decoder is None or log.get("removed"):
        return None
    from eth_abi.exceptions import DecodingError
    from web3.exceptions import LogTopicError, MismatchedABI

    try:
        decoded = decoder.process_log(log)
    except (DecodingError, LogTopicError, MismatchedABI, ValueError, OverflowError):
        return None
    return Event(
        name=decoded["event"],
        address=decoded["address"],
        args={key: dict(value) if hasattr(value, "items") else value for key, value in decoded["args"].items()},
        block=decoded["blockNumber"],
        block_hash=bytes(decoded["blockHash"]),
        tx_hash=bytes(decoded["transactionHash"]),
        log_index=decoded["logIndex"],
    )


@cache
def _decoders() -> dict[bytes, Any]:
    """Topic 0 to the web3 event that decodes it, for every event of the three contracts."""
    from web3 import Web3

    offline = Web3()
    decoders = {}
    for name in CONTRACTS:
        contract = offline.eth.contract(abi=artifact(name)["abi"])
        for entry in artifact(name)["abi"]:
            if entry["type"] == "event":
                event = contract.events[entry["name"]]()
                decoders[bytes(offline.keccak(text=event.signature))] = event
    return decoders
