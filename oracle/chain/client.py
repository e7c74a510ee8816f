"""A connection to one chain with the contracts on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from oracle.chain.contracts import JobEscrow, OracleRegistry, ResultNFT
from oracle.chain.deployments import Deployment
from oracle.chain.endpoints import OTHER_CHAIN, provider
from oracle.chain.events import Event, decode_log, topic_of
from oracle.chain.failures import endpoint_name, translated
from oracle.chain.logs import MOST_BLOCKS, LogRanges
from oracle.jobs.errors import ChainError, InputError
from oracle.jobs.states import State


@dataclass(frozen=True)
class Block:
    """Header facts. ``timestamp`` is Unix seconds."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int


def connect(urls: str | Sequence[str]) -> Any:
    """A web3 connection to one JSON-RPC endpoint or several (http or https). Raises :class:`InputError`."""
    chosen = [urls] if isinstance(urls, str) else list(urls)
    if not chosen or not all(map(_is_usable, chosen)):  # not quoted: it may hold credentials
        raise InputError("is not an http(s) URL", field="rpc", remedy="give http://host:port")
    from web3 import Web3
    from web3.middleware import ExtraDataToPOAMiddleware

    w3 = Web3(provider(chosen))
    w3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
    w3.middleware_onion.remove("validation")  # asks for the chain id twice per estimate; the sender checks it itself
    return w3


def _is_usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:  # unbalanced brackets, a port that is no number
        return False


class ChainClient:
    """Reads one chain. ``w3`` is any web3 connection, remote or in process; logs are asked for in ranges of at most
    ``block_range`` blocks."""

    def __init__(self, w3: Any, deployment: Deployment, *, block_range: int = MOST_BLOCKS):
        self.w3 = w3
        self.deployment = deployment
        self.escrow = JobEscrow(w3, deployment.job_escrow)
        self.registry = OracleRegistry(w3, deployment.oracle_registry)
        self.nft = ResultNFT(w3, deployment.result_nft)
        endpoints = getattr(w3.provider, "endpoints", None)
        if endpoints is not None:
            endpoints.expect_chain(deployment.chain_id)
        d = deployment
        query = partial(self._raw_logs, [d.job_escrow, d.oracle_registry, d.result_nft], None)
        self._block_range = block_range
        self._logs = LogRanges(query, most=block_range)

    @property
    def chain_id(self) -> int:
        """The chain the deployment is on; :meth:`check` compares it with the endpoint's answer."""
        return self.deployment.chain_id

    def check(self) -> None:
        """Raise unless an endpoint answers, all that do are on the right chain, and it has the contracts."""
        with translated(endpoint_name(self.w3)):
            answered = self.w3.eth.chain_id
            if strangers := self._strangers():
                raise ChainError(
                    f"the contracts are on chain {self.chain_id}, but {', '.join(strangers)}",
                    field="rpc",
                    remedy="remove the endpoint that is not ours",
                )
            if answered != self.chain_id:
                raise ChainError(
                    f"the endpoint is on chain {answered}, the contracts are on chain {self.chain_id}",
                    field="rpc",
                    remedy="give the endpoint of the right chain",
                )
            if not self.w3.eth.get_code(self.deployment.job_escrow):
                raise ChainError(
                    f"there is no contract at {self.deployment.job_escrow} on chain {answered}",
                    remedy="deploy again, or remove the stale deployment file (a local chain forgets when stopped)",
                )

    def _strangers(self) -> list[str]:
        """Endpoints of other chains among several, in words."""
        endpoints = getattr(self.w3.provider, "endpoints", None)
        return (
            [f"{each.name} {each.reason}" for each in endpoints.health() if each.state == OTHER_CHAIN]
            if endpoints
            else []
        )

    def block(self, which: int | str = "latest") -> Block:
        """The block with a number, or a tag: ``latest``, ``safe``, ``finalized``."""
        with translated(endpoint_name(self.w3)):
            header = self.w3.eth.get_block(which)
            return Block(header["number"], bytes(header["hash"]), bytes(header["parentHash"]), header["timestamp"])

    def events(self, first_block: int, last_block: int) -> list[Event]:
        """Events of the three contracts in the blocks, both included, in chain order. Raises :class:`ChainError`."""
        return [event for _, _, events in self.events_in_ranges(first_block, last_block) for event in events]

    def events_in_ranges(self, first_block: int, last_block: int) -> Iterator[tuple[int, int, list[Event]]]:
        """The same range by range as the endpoint serves it: (first block, last block, events)."""
        for first, last, logs in self._logs.read(first_block, last_block):
            yield first, last, self._decoded(logs, first, last)

    def job_events(self, job_id: int, first_block: int, last_block: int) -> list[Event]:
        """The escrow's events about one job. Raises :class:`ChainError`."""
        return list(self._escrow_events([None, _word(job_id)], first_block, last_block))

    def work_of(self, oracle: str, last_block: int) -> Iterator[Event]:
        """Deliveries, then acceptances, by ``oracle`` up to a block. Raises :class:`ChainError`."""
        first, actor = self.deployment.block, _word(int(oracle, 16))
        yield from self._escrow_events([topic_of("JobDelivered"), None, actor], first, last_block)
        accepted = [topic_of("JobStateChanged"), None, _word(State.ACCEPTED), actor]
        yield from self._escrow_events(accepted, first, last_block)

    def key_since(self, account: str) -> int | None:
        """The block in which ``account`` last registered another sealing key than before; ``None``: never.

        Raises :class:`ChainError`.
        """
        topics = [topic_of("OracleRegistered"), _word(int(account, 16))]
        query = partial(self._raw_logs, [self.deployment.oracle_registry], topics)
        key, since = None, None
        for first, last, logs in LogRanges(query, blocks=MOST_BLOCKS, most=self._block_range).read(
            self.deployment.block, self.block().number
        ):
            for event in self._decoded(logs, first, last):
                if event.args["sealingKey"] != key:
                    key, since = event.args["sealingKey"], event.block
        return since

    def _escrow_events(self, topics: list, first_block: int, last_block: int) -> Iterator[Event]:
        """Few events: whole chains are served where ranges of everything are not."""
        query = partial(self._raw_logs, [self.deployment.job_escrow], topics)
        ranges = LogRanges(query, blocks=MOST_BLOCKS, most=self._block_range)
        for first, last, logs in ranges.read(first_block, last_block):
            yield from self._decoded(logs, first, last)

    def _raw_logs(self, addresses: list[str], topics: list | None, first: int, last: int) -> list[Any]:
        query: dict[str, Any] = {"fromBlock": first, "toBlock": last, "address": addresses}
        if topics is not None:
            query["topics"] = topics
        with translated(endpoint_name(self.w3)):
            return self.w3.eth.get_logs(query)

    def _decoded(self, logs: list[Any], first: int, last: int) -> list[Event]:
        """The events among ``logs`` that were asked for, each once, in chain order: endpoints send others, too."""
        d = self.deployment
        ours = {d.job_escrow, d.oracle_registry, d.result_nft}
        with translated(endpoint_name(self.w3)):
            events = [event for event in map(decode_log, logs) if event is not None]
            asked_for = {e.key: e for e in events if first <= e.block <= last and e.address in ours}
            return sorted(asked_for.values(), key=lambda event: (event.block, event.log_index))

    def transaction_count(self, account: str, block: str = "latest") -> int:
        """Transactions of ``account`` in the chain, or with ``pending`` also those that wait."""
        with translated(endpoint_name(self.w3)):
            return self.w3.eth.get_transaction_count(account, block)

    def balance(self, account: str) -> int:
        """Native balance in wei."""
        with translated(endpoint_name(self.w3)):
            return self.w3.eth.get_balance(account)


def _word(number: int) -> str:
    """A topic that is a number or an address."""
    return "0x" + number.to_bytes(32, "big").hex()
