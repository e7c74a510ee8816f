"""What a validator asks its journal."""

from __future__ import annotations

import pytest

from oracle.jobs.terms import Terms
from oracle.node.journal import Step
from oracle.validator.journal import ValidatorJournal

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
