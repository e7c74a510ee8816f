"""What the contracts announce: logs decoded into one small record each, in chain order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from oracle.chain.artifacts import CONTRACTS, artifact
from oracle.jobs.identity import checksummed


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
    topics = [bytes(topic) for topic in log["topics"]]
    decoder = _decoders().get(topics[0]) if topics else None
    if decoder is None or log.get("removed"):
        return None
    args = decoder.decode(topics[1:], bytes(log["data"]))
    if args is None:
        return None
    return Event(
        name=decoder.event_name,
        address=log["address"],
        args=args,
        block=log["blockNumber"],
        block_hash=bytes(log["blockHash"]),
        tx_hash=bytes(log["transactionHash"]),
        log_index=log["logIndex"],
    )


def topic_of(name: str) -> str:
    """Topic 0 of the logs of the event ``name``, as 0x-hex."""
    return next("0x" + topic.hex() for topic, decoder in _decoders().items() if decoder.event_name == name)


@dataclass(frozen=True)
class _Decoder:
    """Reads one event's arguments. web3's own looks everything up in the ABI again for every log, which costs ten
    times as much as the decoding."""

    event_name: str
    indexed: list[dict[str, Any]]
    others: list[dict[str, Any]]
    indexed_types: list[str]
    other_types: list[str]

    def decode(self, topics: list[bytes], data: bytes) -> dict[str, Any] | None:
        """Argument names to values, or ``None`` if the log is not such an event."""
        from eth_abi import decode
        from eth_abi.exceptions import DecodingError

        if [len(topic) for topic in topics] != [32] * len(self.indexed):
            return None
        try:
            values = decode(self.indexed_types, b"".join(topics)) + decode(self.other_types, data)
        except (DecodingError, ValueError, OverflowError):
            return None
        entries = self.indexed + self.others
        return {entry["name"]: _named(entry, value) for entry, value in zip(entries, values, strict=True)}


def _types(entries: list[dict[str, Any]]) -> list[str]:
    from eth_utils.abi import collapse_if_tuple

    return [collapse_if_tuple(entry) for entry in entries]


def _named(entry: dict[str, Any], value: Any) -> Any:
    """``value`` as people write it: addresses with their checksum, structs by the names of their fields."""
    if entry["type"] == "address":
        return checksummed(value)
    if entry["type"] == "tuple":
        parts = zip(entry["components"], value, strict=True)
        return {component["name"]: _named(component, part) for component, part in parts}
    return value


@cache
def _decoders() -> dict[bytes, _Decoder]:
    """Topic 0 to its decoder, for every event of the three contracts. None has an indexed argument that is hashed."""
    from eth_utils.abi import event_abi_to_log_topic

    decoders = {}
    for name in CONTRACTS:
        for entry in artifact(name)["abi"]:
            if entry["type"] == "event":
                indexed = [argument for argument in entry["inputs"] if argument["indexed"]]
                others = [argument for argument in entry["inputs"] if not argument["indexed"]]
                decoders[bytes(event_abi_to_log_topic(entry))] = _Decoder(
                    entry["name"], indexed, others, _types(indexed), _types(others)
                )
    return decoders
