"""Ingestion on a real chain, with reorganisations made by going back to a snapshot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oracle.chain.client import ChainClient
from oracle.jobs.errors import ChainError, ChainUnavailable
from oracle.jobs.terms import ZERO_ADDRESS
from oracle.node import ingest as ingest_module
from oracle.node.config import NodeConfig
from oracle.node.ingest import SWEEP_SECONDS, FinalityBroken, Ingest
from oracle.node.journal import Step


def test_run_once__jobs_of_everybody__takes_ours_and_open_ones(bench):
    bench.create()
    bench.create(oracle=bench.other.address)
    bench.create(oracle=ZERO_ADDRESS)

    assert bench.ingest().run_once() == 2
    assert bench.known() == [1, 3]
    assert bench.ingest().run_once() == 0


def test_run_once__in_small_ranges__misses_nothing(bench):
    bench.chain = ChainClient(bench.w3, bench.chain.deployment, block_range=1)
    for number in range(7):
        bench.create(spec=number + 1)

    assert bench.ingest().run_once() == 7


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


def test_run_once__another_chain_altogether__stops(bench, make_bench):
    bench.create()
    bench.ingest().run_once()
    elsewhere = make_bench()
    elsewhere.w3.provider.ethereum_tester.mine_blocks(5)
    strayed = Ingest(
        ChainClient(elsewhere.w3, replace(bench.chain.deployment)), bench.journal, bench.oracle.address, NodeConfig()
    )

    with pytest.raises(FinalityBroken, match="the node halts"):
        strayed.run_once()


def test_run_once__final_block_replaced__halts_and_writes_nothing(bench):
    tester = bench.w3.provider.ethereum_tester
    bench.create()
    snapshot = tester.take_snapshot()
    tester.mine_blocks(30)
    ingest = bench.ingest()
    ingest.run_once()
    before = bench.journal.blocks(10**9)

    tester.revert_to_snapshot(snapshot)
    tester.time_travel(bench.chain.block().timestamp + 50)
    tester.mine_blocks(40)
    bench.create(spec=2)

    for _ in range(2):
        with pytest.raises(FinalityBroken, match="was final and is not on this chain any more"):
            ingest.run_once()
    assert bench.known() == [1]
    assert bench.journal.blocks(10**9) == before


def test_run_once__endpoint_behind_a_final_block__waits(bench):
    tester = bench.w3.provider.ethereum_tester
    bench.create()
    snapshot = tester.take_snapshot()
    tester.mine_blocks(30)
    ingest = bench.ingest()
    ingest.run_once()

    tester.revert_to_snapshot(snapshot)

    with pytest.raises(ChainUnavailable, match="was final already"):
        ingest.run_once()
    assert bench.known() == [1]


def test_run_once__head_goes_back_on_the_same_chain__forgets_nothing(bench):
    class Behind(type(bench.chain)):
        """Answers as if the last blocks had not come yet."""

        lag = 0

        def block(self, which="latest"):
            top = ChainClient.block(self).number - self.lag if which in ("latest", "finalized") else None
            if which == "latest":
                which = top
            elif which == "finalized":
                which = max(0, top - self.finality)
            elif which > ChainClient.block(self).number - self.lag:
                raise ChainError(f"block {which} not found")
            return ChainClient.block(self, which)

    bench.create()
    ingest = bench.ingest()
    bench.create(spec=2)
    ingest.run_once()
    remembered = bench.journal.blocks(10**9)

    bench.chain.__class__ = Behind
    bench.chain.lag = 2
    assert ingest.run_once() == 0

    assert bench.known() == [1, 2]
    assert bench.journal.blocks(10**9) == remembered


def test_run_once__chain_without_finalized_tag__counts_blocks_instead(bench):
    class Old(type(bench.chain)):
        """Knows no tag but the head's."""

        def block(self, which="latest"):
            if which == "finalized":
                raise ChainError("unknown block tag")
            return ChainClient.block(self, which)

    bench.chain.__class__ = Old
    bench.create()
    ingest = bench.ingest(finality_fallback_confirmations=5)
    bench.w3.provider.ethereum_tester.mine_blocks(6)

    assert ingest.run_once() == 1
    assert bench.journal.final_block()[0] == bench.chain.block().number - 5


def test_run_once__logs_the_provider_dropped__are_found_by_the_sweep(bench):
    now = [1_000.0]
    bench.create()
    ingest = Ingest(bench.chain, bench.journal, bench.oracle.address, NodeConfig(), clock=lambda: now[0])
    real = bench.chain.events_in_ranges
    bench.chain.events_in_ranges = lambda first, last: ((a, b, []) for a, b, _ in real(first, last))
    assert ingest.run_once() == 0

    bench.chain.events_in_ranges = real
    assert ingest.run_once() == 0  # those blocks count as read
    now[0] += SWEEP_SECONDS
    assert ingest.run_once() == 1
    assert bench.known() == [1]
    now[0] += SWEEP_SECONDS
    assert ingest.run_once() == 0


def test_run_once__logs_the_provider_dropped_on_a_fast_chain__are_found_before_they_are_out_of_reach(bench):
    """No time passes at all; the sweep looks back ten blocks."""
    mine = bench.w3.provider.ethereum_tester.mine_blocks
    ingest = Ingest(
        bench.chain, bench.journal, bench.oracle.address, NodeConfig(backup_sweep_blocks=10), clock=lambda: 0.0
    )
    ingest.run_once()
    bench.create()
    real = bench.chain.events_in_ranges
    bench.chain.events_in_ranges = lambda first, last: ((a, b, []) for a, b, _ in real(first, last))
    assert ingest.run_once() == 0
    bench.chain.events_in_ranges = real

    found = 0
    for _ in range(10):
        mine(1)
        found += ingest.run_once()

    assert found == 1


def test_run_once__reorganised_while_its_logs_were_read__reads_them_again(bench):
    bench.create()
    real = bench.chain.events_in_ranges

    def gone(first, last):
        for a, b, events in real(first, last):
            yield a, b, [replace(event, block_hash=b"x" * 32) for event in events]

    ingest = bench.ingest()
    bench.chain.events_in_ranges = gone
    with pytest.raises(ChainUnavailable, match="reorganised away while it was read"):
        ingest.run_once()
    assert bench.known() == []
    assert bench.journal.last_block() is None

    bench.chain.events_in_ranges = real
    assert ingest.run_once() == 1


def test_run_once__closed_here_and_open_on_the_chain__is_worked_on_again_one_after_the_other(bench, monkeypatch):
    """As after the node saw a transaction mined in a block that did not stay. The first can't be helped any more."""
    monkeypatch.setattr(ingest_module, "EXAMINED_AT_ONCE", 1)
    now = [0.0]
    ingest = Ingest(bench.chain, bench.journal, bench.oracle.address, NodeConfig(), clock=lambda: now[0])
    late, _ = bench.create(accept_by=bench.chain.block().timestamp + 5)
    open_still, _ = bench.create(spec=2)
    bench.w3.provider.ethereum_tester.time_travel(bench.chain.block().timestamp + 10)
    bench.w3.provider.ethereum_tester.mine_blocks(1)
    ingest.run_once()
    for job_id in (late, open_still):
        bench.journal.advance(bench.journal.job(job_id), Step.CLOSED)

    for _ in range(3):
        bench.w3.provider.ethereum_tester.mine_blocks(1)
        now[0] += SWEEP_SECONDS
        ingest.run_once()

    assert [bench.journal.job(job_id).step for job_id in (late, open_still)] == [Step.CLOSED, Step.SEEN]
    assert bench.journal.history(open_still)[-1].note == "the chain has it as Created"
