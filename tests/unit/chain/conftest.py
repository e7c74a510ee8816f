"""A real chain inside the process with the contracts on it; each test starts from the same block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from oracle.chain.client import ChainClient
from oracle.chain.contracts import Call
from oracle.chain.deploy import deploy
from oracle.chain.localnet import advance_time, dev_accounts, in_process_chain
from oracle.chain.sender import Receipt, Sender
from oracle.jobs.terms import ZERO_ADDRESS, Terms


@dataclass
class World:
    """Senders of the parties, by name, on one chain."""

    client: ChainClient
    senders: dict[str, Sender]

    def address(self, who: str) -> str:
        return self.senders[who].address

    def send(self, who: str, call: Call) -> Receipt:
        return self.senders[who].send(call)

    def terms(self, **changes: Any) -> Terms:
        """Terms the contract takes: addressed to the oracle, trusting it, an hour for each phase."""
        now = self.client.block().timestamp
        requester = self.address("requester")
        usual = Terms(
            requester=requester,
            payer=requester,
            oracle=self.address("oracle"),
            validator=ZERO_ADDRESS,
            arbiter=ZERO_ADDRESS,
            token=ZERO_ADDRESS,
            budget=1_000_000,
            validator_fee=0,
            bond=0,
            accept_by=now + 3600,
            deliver_by=now + 7200,
            challenge_period=0,
            spec=b"\x11" * 32,
            seal_to=b"\x22" * 32,
        )
        return replace(usual, **changes)

    def create(self, **changes: Any) -> tuple[int, Terms]:
        terms = self.terms(**changes)
        self.send("requester", self.client.escrow.create_job(terms))
        return self.client.escrow.job_count(), terms

    def wait(self, seconds: int) -> None:
        advance_time(self.client.w3, seconds)


@pytest.fixture(scope="session")
def _shared_world() -> World:
    w3 = in_process_chain()
    names = ("deployer", "requester", "oracle", "validator", "arbiter", "stranger")
    senders = {name: Sender(w3, account) for name, account in zip(names, dev_accounts(6), strict=True)}
    client = ChainClient(w3, deploy(w3, senders["deployer"].account))
    senders["oracle"].send(client.registry.register(b"\x33" * 32, b"\x44" * 32, stake=10**18))
    return World(client, senders)


@pytest.fixture
def world(_shared_world: World) -> Iterator[World]:
    w3 = _shared_world.client.w3
    snapshot = w3.provider.ethereum_tester.take_snapshot()
    yield World(_shared_world.client, {name: Sender(w3, s.account) for name, s in _shared_world.senders.items()})
    w3.provider.ethereum_tester.revert_to_snapshot(snapshot)


@pytest.fixture
def endpoint() -> Callable[..., Any]:
    """``with endpoint(body, status) as url``: an HTTP server that answers everything with that."""
    return _endpoint


@contextmanager
def _endpoint(body: bytes, status: int = 200) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
