"""Ingestion on a real chain, with reorganisations made by going back to a snapshot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oracle.chain.client import ChainClient
from oracle.chain.deploy import deploy
from oracle.chain.localnet import dev_accounts, in_process_chain
from oracle.chain.sender import Sender
from oracle.jobs.errors import ChainError
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node.config import NodeConfig
from oracle.node.ingest import Ingest
from oracle.node.journal import Journal


class Bench:
    def __init__(self, folder):
        self.w3 = in_process_chain()
        deployer, self.requester, self.oracle, self.other = dev_accounts(4)
        self.chain = ChainClient(self.w3, deploy(self.w3, deployer))
        identity = {"chain_id": 31337, "escrow": self.chain.deployment.job_escrow, "oracle": self.oracle.address}
        self.journal = Journal(folder / "journal.db", **identity)

    def ingest(self, **options) -> Ingest:
        return Ingest(self.chain, self.journal, self.oracle.address, NodeConfig(**options))

    def create(self, oracle: str | None = None, spec: int = 1) -> None:
        now = self.chain.block().timestamp
        who = self.requester.address
        taker = self.oracle.address if oracle is None else oracle
        terms = Terms(
            who,
            who,
            taker,
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
        Sender(self.w3, self.requester).send(self.chain.escrow.create_job(terms))

    def known(self) -> list[int]:
        return [job.job_id for job in self.journal.jobs()]


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.journal.close()


def test_run_once__jobs_of_everybody__takes_ours_and_open_ones(bench):
    bench.create()
    bench.create(oracle=bench.other.address)
    bench.create(oracle=ZERO_ADDRESS)

    assert bench.ingest().run_once() == 2
    assert bench.known() == [1, 3]
    assert bench.ingest().run_once() == 0


def test_run_once__in_small_ranges__misses_nothing(bench):
    for number in range(7):
        bench.create(spec=number + 1)

    assert bench.ingest(block_range=1).run_once() == 7


def test_run_once__confirmations__waits_for_them(bench):
    bench.create()
    ingest = bench.ingest(confirmations=2)
    assert ingest.run_once() == 0

    bench.w3.provider.ethereum_tester.mine_blocks(2)

    assert ingest.run_once() == 1


def test_run_once__reorganisation__forgets_and_hears_again(bench):
    tester = bench.w3.provider.ethereum_tester
    bench.create()
    snapshot = tester.take_snapshot()
    bench.create(spec=2)
    ingest = bench.ingest()
    ingest.run_once()
    assert bench.known() == [1, 2]

    tester.revert_to_snapshot(snapshot)
    tester.time_travel(bench.chain.block().timestamp + 50)
    bench.create(spec=3)
    ingest.run_once()

    assert bench.known() == [1, 2]
    assert bench.journal.job(2).terms.spec == b"\x03" * 32


def test_run_once__another_chain_altogether__stops(bench, tmp_path):
    bench.create()
    bench.ingest().run_once()
    elsewhere = Bench(tmp_path / "elsewhere")
    elsewhere.w3.provider.ethereum_tester.mine_blocks(5)
    strayed = Ingest(
        ChainClient(elsewhere.w3, replace(bench.chain.deployment)), bench.journal, bench.oracle.address, NodeConfig()
    )

    with pytest.raises(ChainError, match="is on this chain any more"):
        strayed.run_once()
    elsewhere.journal.close()
