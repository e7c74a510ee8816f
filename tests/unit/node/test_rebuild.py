"""A journal lost and made again, on a real chain with jobs at every stage of their lives."""

from __future__ import annotations

from contextlib import closing

import pytest

from oracle.jobs.errors import ChainUnavailable, JournalError
from oracle.jobs.terms import ZERO_ADDRESS
from oracle.node.config import NodeConfig
from oracle.node.journal import ACTIVE, Journal, Step
from oracle.node.rebuild import RebuildReport, rebuild, require_journal

RESULT = b"d" * 32


@pytest.fixture
def worked(bench):
    """The bench after its oracle has worked; its journal is closed. Answers where each job ought to be."""
    escrow = bench.chain.escrow
    bench.register(bench.oracle, bench.other)
    expected = {}

    def job(step: Step | None, oracle: str | None = None, **changes):
        job_id, terms = bench.create(oracle, spec=len(expected) + 1, **changes)
        expected[job_id] = step
        return job_id, terms

    job(Step.SEEN)
    bench.send(bench.oracle, escrow.accept(*job(Step.ACCEPTED)))
    bench.send(bench.oracle, escrow.accept(*job(Step.ACCEPTED, oracle=ZERO_ADDRESS)))
    challenged = {"arbiter": bench.other.address, "challenge_period": 300}
    bench.send(bench.oracle, escrow.deliver(*job(Step.DELIVERED, **challenged), 3, RESULT))
    bench.send(bench.oracle, escrow.deliver(*job(Step.CLOSED), 3, RESULT))
    bench.send(bench.requester, escrow.cancel(*job(Step.CLOSED)))
    bench.send(bench.oracle, escrow.reject(*job(Step.CLOSED), "no_backend"))
    bench.send(bench.other, escrow.accept(*job(Step.CLOSED, oracle=ZERO_ADDRESS)))
    job(None, oracle=bench.other.address)
    bench.ingest().run_once()
    bench.journal.close()
    bench.w3.provider.ethereum_tester.mine_blocks(bench.chain.finality)
    return expected


def rebuilt(bench, **options) -> RebuildReport:
    return rebuild(bench.chain, bench.oracle.address, bench.path, NodeConfig(), **options)


def reopened(bench):
    identity = {"chain_id": 31337, "escrow": bench.chain.deployment.job_escrow, "oracle": bench.oracle.address}
    return closing(Journal(bench.path, **identity))


def files(bench) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in bench.path.parent.iterdir() if file.suffix != ".lock"}


def test_rebuild__jobs_at_every_stage__has_each_where_the_chain_has_it(bench, worked):
    bench.path.unlink()

    report = rebuilt(bench)

    ours = {job_id: step for job_id, step in worked.items() if step is not None}
    nonce = bench.w3.eth.get_transaction_count(bench.oracle.address)
    with reopened(bench) as journal:
        assert {job.job_id: job.step for job in journal.jobs()} == ours
        assert all(bench.chain.escrow.matches(job.job_id, job.terms) for job in journal.jobs(ACTIVE))
        assert [job.job_id for job in journal.due(0.0, 9)] == [job for job, step in ours.items() if step != Step.CLOSED]
        assert [job.digest for job in journal.jobs((Step.DELIVERED,))] == [RESULT]
        assert {job.reason for job in journal.jobs((Step.CLOSED,))} >= {"Settled", "Cancelled", "Rejected"}
        assert journal.unconfirmed() == []
        assert journal.next_nonce(bench.oracle.address) == nonce
        last = journal.last_block()[0]
    counts = {Step.SEEN: 1, Step.ACCEPTED: 2, Step.DELIVERED: 1, Step.CLOSED: 4}
    assert report == RebuildReport(counts, last, nonce, None)


def test_rebuild__over_what_is_left_of_the_old_one__keeps_that_beside_it(bench, worked):
    bench.path.write_bytes(b"scribbled" * 1_000)
    bench.path.with_name("journal.db-wal").write_bytes(b"log")

    first, second = rebuilt(bench), rebuilt(bench)

    assert (first.kept.name, second.kept.name) == ("journal.db.old-1", "journal.db.old-2")
    kept = files(bench)
    assert kept["journal.db.old-1"] == b"scribbled" * 1_000
    assert kept["journal.db.old-1-wal"] == b"log"
    assert set(kept) == {"journal.db", "journal.db.old-1", "journal.db.old-1-wal", "journal.db.old-2"}
    with reopened(bench) as journal:
        assert len(journal.jobs()) == sum(step is not None for step in worked.values())


def test_rebuild__while_a_node_uses_the_journal__is_refused_and_changes_nothing(bench):
    before = files(bench)

    with pytest.raises(JournalError, match="another node is using it"):
        rebuilt(bench)

    assert files(bench) == before


def test_rebuild__endpoint_lost_on_the_way__changes_nothing_and_can_be_repeated(bench, worked):
    before = files(bench)
    asked = bench.chain.transaction_count

    def lost(*_args):
        raise ChainUnavailable("gone")

    bench.chain.transaction_count = lost
    with pytest.raises(ChainUnavailable):
        rebuilt(bench)
    assert {name: files(bench)[name] for name in before} == before

    bench.chain.transaction_count = asked
    assert rebuilt(bench).kept is not None
    assert set(files(bench)) == {"journal.db", "journal.db.old-1"}


def test_require_journal__key_that_has_worked_and_no_journal__is_refused(bench, worked):
    require_journal(bench.path, bench.chain, bench.oracle.address)

    for lose in (lambda: bench.path.write_bytes(b""), bench.path.unlink):
        lose()
        with pytest.raises(JournalError, match="is missing, though .* has worked .*qscrow oracle rebuild"):
            require_journal(bench.path, bench.chain, bench.oracle.address)

    rebuilt(bench)
    require_journal(bench.path, bench.chain, bench.oracle.address)


def test_require_journal__work_all_settled_long_ago__is_refused_all_the_same(bench):
    """No stake is locked any more; only the events tell."""
    bench.send(bench.oracle, bench.chain.escrow.deliver(*bench.create(bond=0), 3, RESULT))
    assert bench.chain.registry.stake_of(bench.oracle.address) == (0, 0)

    with pytest.raises(JournalError, match="is missing"):
        require_journal(bench.path.with_name("lost.db"), bench.chain, bench.oracle.address)


def test_require_journal__new_or_only_registered_key__may_start(bench):
    lost = bench.path.with_name("lost.db")
    require_journal(lost, bench.chain, bench.oracle.address)
    bench.register(bench.oracle, bench.other)
    bench.send(bench.other, bench.chain.escrow.accept(*bench.create(bench.other.address)))

    require_journal(lost, bench.chain, bench.oracle.address)
