"""A real chain inside the process, an oracle registered on it, and that oracle's journal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from oracle.chain.client import ChainClient
from oracle.chain.contracts import Call
from oracle.chain.deploy import deploy
from oracle.chain.localnet import dev_accounts, in_process_chain
from oracle.chain.sender import Sender
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node.config import NodeConfig
from oracle.node.ingest import Ingest
from oracle.node.journal import Journal


class Mortal(ChainClient):
    """The in-process chain calls its head final; this one only what lies ``finality`` blocks below it."""

    finality = 20

    def block(self, which="latest"):
        if which == "finalized":
            which = max(0, super().block().number - self.finality)
        return super().block(which)


class Bench:
    """``requester``, ``oracle`` and ``other`` are accounts; the journal is the oracle's."""

    def __init__(self, folder):
        self.w3 = in_process_chain()
        deployer, self.requester, self.oracle, self.other = dev_accounts(4)
        self.chain = Mortal(self.w3, deploy(self.w3, deployer))
        identity = {"chain_id": 31337, "escrow": self.chain.deployment.job_escrow, "oracle": self.oracle.address}
        self.path = folder / "journal.db"
        self.journal = Journal(self.path, **identity)

    def ingest(self, **options: Any) -> Ingest:
        return Ingest(self.chain, self.journal, self.oracle.address, NodeConfig(**options))

    def register(self, *accounts: Any) -> None:
        """Give the accounts, or the oracle, a stake to lock bonds out of."""
        for account in accounts or (self.oracle,):
            self.send(account, self.chain.registry.register(b"k" * 32, b"p" * 32, 10**18))

    def terms(self, oracle: str | None = None, spec: int = 1, **changes: Any) -> Terms:
        now = self.chain.block().timestamp
        who = self.requester.address
        usual = Terms(
            who,
            who,
            self.oracle.address if oracle is None else oracle,
            ZERO_ADDRESS,
            ZERO_ADDRESS,
            ZERO_ADDRESS,
            10,
            0,
            5,
            now + 900,
            now + 999,
            0,
            bytes([spec]) * 32,
            b"k" * 32,
        )
        return replace(usual, **changes)

    def create(self, oracle: str | None = None, spec: int = 1, **changes: Any) -> tuple[int, Terms]:
        """A new job, usually for the oracle, and its terms."""
        terms = self.terms(oracle, spec, **changes)
        self.send(self.requester, self.chain.escrow.create_job(terms))
        return self.chain.escrow.job_count(), terms

    def send(self, account: Any, call: Call) -> None:
        Sender(self.w3, account).send(call)

    def known(self) -> list[int]:
        return [job.job_id for job in self.journal.jobs()]


@pytest.fixture
def make_bench(tmp_path):
    """Makes benches, each with a chain of its own."""
    made = []

    def make() -> Bench:
        made.append(Bench(tmp_path / str(len(made))))
        return made[-1]

    yield make
    for bench in made:
        bench.journal.close()


@pytest.fixture
def bench(make_bench):
    return make_bench()
