"""A connection to one chain with the contracts on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from oracle.chain.contracts import JobEscrow, OracleRegistry, ResultNFT
from oracle.chain.deployments import Deployment
from oracle.chain.events import Event, decode_log
from oracle.chain.failures import endpoint_name, translated
from oracle.jobs.errors import ChainError, InputError

REQUEST_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Block:
    """Header facts. ``timestamp`` is Unix seconds."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int


def connect(url: str) -> Any:
    """A web3 connection to the JSON-RPC endpoint at ``url`` (http or https). Raises :class:`InputError`."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # unbalanced brackets, a port that is no number
        usable = False
    if not usable:  # not quoted: it may hold credentials
        raise InputError("is not an http(s) URL", field="rpc", remedy="give http://host:port")
    from web3 import HTTPProvider, Web3
    from web3.middleware import ExtraDataToPOAMiddleware

    w3 = Web3(HTTPProvider(url, request_kwargs={"timeout": REQUEST_TIMEOUT_SECONDS}))
    w3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
    return w3


class ChainClient:
    """Reads one chain. ``w3`` is any web3 connection, remote or in process."""

    def __init__(self, w3: Any, deployment: Deployment):
        self.w3 = w3
        self.deployment = deployment
        self.escrow = JobEscrow(w3, deployment.job_escrow)
        self.registry = OracleRegistry(w3, deployment.oracle_registry)
        self.nft = ResultNFT(w3, deployment.result_nft)

    @property
    def chain_id(self) -> int:
        """The chain the deployment is on; :meth:`check` compares it with the endpoint's answer."""
        return self.deployment.chain_id

    def check(self) -> None:
        """Raise unless the endpoint answers, is on the right chain and has the contracts."""
        with translated(endpoint_name(self.w3)):
            answered = self.w3.eth.chain_id
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

    def block(self, which: int | str = "latest") -> Block:
        """The block with a number, or a tag: ``latest``, ``safe``, ``finalized``."""
        with translated(endpoint_name(self.w3)):
            header = self.w3.eth.get_block(which)
            return Block(header["number"], bytes(header["hash"]), bytes(header["parentHash"]), header["timestamp"])

    def events(self, first_block: int, last_block: int) -> list[Event]:
        """Events of the three contracts in the blocks, both included, in chain order. Raises :class:`ChainError`."""
        d = self.deployment
        return self._events(first_block, last_block, [d.job_escrow, d.oracle_registry, d.result_nft], None)

    def job_events(self, job_id: int, first_block: int, last_block: int) -> list[Event]:
        """The escrow's events about one job. Raises :class:`ChainError`."""
        topics = [None, "0x" + job_id.to_bytes(32, "big").hex()]
        return self._events(first_block, last_block, [self.deployment.job_escrow], topics)

    def _events(self, first_block: int, last_block: int, addresses: list[str], topics: list | None) -> list[Event]:
        if last_block < first_block:
            return []
        query: dict[str, Any] = {"fromBlock": first_block, "toBlock": last_block, "address": addresses}
        if topics is not None:
            query["topics"] = topics
        with translated(endpoint_name(self.w3)):
            logs = self.w3.eth.get_logs(query)
        events = [event for event in map(decode_log, logs) if event is not None]
        if any(not first_block <= event.block <= last_block for event in events):
            raise ChainError("the endpoint answered with logs outside the range asked for", remedy="use another one")
        return sorted(events, key=lambda event: (event.block, event.log_index))

    def balance(self, account: str) -> int:
        """Native balance in wei."""
        with translated(endpoint_name(self.w3)):
            return self.w3.eth.get_balance(account)
