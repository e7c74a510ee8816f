"""What a validator asks its journal."""

from __future__ import annotations

from contextlib import closing

import pytest

from oracle.jobs.terms import Terms
from oracle.node.journal import Step
from oracle.node.schema import MIGRATIONS
from oracle.validator.journal import _COUNTS_SEEN, ValidatorJournal

HASH = b"\x01" * 32
NOW = 1_000.0


def terms(deliver_by: int) -> Terms:
    address = "0x" + "11" * 20
    return Terms(
        requester=address,
        payer=address,
        oracle=address,
        validator="0x" + "22" * 20,
        arbiter="0x" + "00" * 20,
        token="0x" + "00" * 20,
        budget=10,
        validator_fee=1,
        bond=0,
        accept_by=50,
        deliver_by=deliver_by,
        challenge_period=100,
        spec=bytes(32),
        seal_to=bytes(32),
    )


@pytest.fixture
def journal(tmp_path):
    journal = ValidatorJournal(tmp_path / "verdicts.db", chain_id=1, escrow="0xe", oracle="0xv")
    yield journal
    journal.close()


def test_to_judge__jobs_that_wait_for_somebody__come_after_those_never_looked_at(journal):
    for job_id, deliver_by in ((1, 100), (2, 200), (3, 400), (4, 300), (5, 50)):
        journal.add_job(job_id, terms(deliver_by), 3, HASH, step=Step.DELIVERED)
    for job_id, retry_at in ((1, NOW - 1), (2, NOW - 2), (5, NOW + 60)):
        journal.postpone(journal.job(job_id), "the canaries are not opened", retry_at)
    journal.add_job(6, terms(10), 3, HASH)

    assert journal.to_judge(NOW, 9) == [4, 3, 2, 1]
    assert journal.to_judge(NOW, 2, exclude={4}) == [3, 2]


def test_counts_seen__same_counts__are_known_by_block_order_from_an_index(journal):
    for job_id, block in ((1, 9), (2, 10)):
        journal.add_job(job_id, terms(100), 3, HASH, step=Step.DELIVERED)
        journal.note_counts(journal.job(job_id), "digest", block)

    assert [journal.counts_seen("digest", block) for block in (9, 10)] == [False, True]
    assert not journal.counts_seen("another", 99)
    plan = journal._db.row(f"EXPLAIN QUERY PLAN {_COUNTS_SEEN}", ("digest", 9))
    assert "jobs_by_counts (counts=? AND counted<?)" in plan[3]


def test_counts_seen__judged_by_an_earlier_version__are_still_known(tmp_path, monkeypatch):
    identity = {"chain_id": 1, "escrow": "0xe", "oracle": "0xv"}
    with monkeypatch.context() as then:
        then.setattr("oracle.node.journal.MIGRATIONS", MIGRATIONS[:3])
        with closing(ValidatorJournal(tmp_path / "old.db", **identity)) as journal:
            results = ('{"counts": "digest", "block": 9}', '{"counts": null, "block": 9}', '{"run": {"counts": {}}}')
            for job_id, result in enumerate(results):
                journal.add_job(job_id, terms(100), 3, HASH, step=Step.DELIVERED)
                journal.advance(journal.job(job_id), Step.RAN, result=result)

    with closing(ValidatorJournal(tmp_path / "old.db", **identity)) as journal:
        assert journal.counts_seen("digest", 10)
        assert not journal.counts_seen("digest", 9)
