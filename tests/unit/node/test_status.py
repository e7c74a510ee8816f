"""What is said about a journal while its node has it open."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from oracle.chain.attempts import Attempt
from oracle.chain.client import Block
from oracle.jobs.errors import InputError, JournalError
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node import status
from oracle.node.database import Database
from oracle.node.journal import Journal, Placement, Step
from oracle.node.schema import MIGRATIONS
from oracle.node.status import read_counts, read_history, read_status

ORACLE = "0x" + "22" * 20
IDENTITY = {"chain_id": 31337, "escrow": "0x" + "11" * 20, "oracle": ORACLE}
HASH = b"h" * 32
TERMS = Terms(ORACLE, ORACLE, ORACLE, *[ZERO_ADDRESS] * 3, 10, 0, 5, 100, 200, 0, b"s" * 32, b"k" * 32)


@pytest.fixture
def journal(tmp_path):
    with closing(Journal(tmp_path / "journal.db", **IDENTITY)) as opened:
        yield opened


def test_read_status__while_the_node_has_it_open__tells_what_was_written(journal):
    done = Placement(3, TERMS, 5, HASH, Step.CLOSED, "Settled", placed=6)
    jobs = [Placement(1, TERMS, 5, HASH), Placement(2, TERMS, 5, HASH), done]
    journal.ingested(Block(9, HASH, HASH, 0), jobs, final=Block(7, HASH, HASH, 0))
    job = journal.advance(journal.job(2), Step.CHECKED)
    journal.postpone(job, "no content yet", 50.0)
    for nonce, name in ((4, b"a"), (5, b"b"), (5, b"c")):
        journal.record(Attempt("2:accept", ORACLE, nonce, b"raw", name * 32))
    journal.close_nonce(ORACLE, 4)

    said = read_status(journal.path)

    assert (said.chain_id, said.oracle) == (31337, ORACLE)
    assert said.jobs == read_counts(journal.path) == {"seen": 1, "checked": 1, "closed": 1}
    assert [(job.job_id, job.step, job.deadline) for job in said.open] == [(1, "seen", 200), (2, "checked", 200)]
    assert (said.open[1].attempts, said.open[1].retry_at, said.open[1].note) == (1, 50.0, "no content yet")
    assert (said.last_block, said.final_block) == (9, 7)
    assert (said.open_nonces, said.open_attempts) == (1, 2)
    assert said.size > 0


def test_read_status__in_the_middle_of_a_write__tells_what_was_before(journal):
    journal.add_job(1, TERMS, 5, HASH)
    with journal.together():
        journal.advance(journal.job(1), Step.CHECKED)
        assert read_counts(journal.path) == {"seen": 1}
    assert read_counts(journal.path) == {"checked": 1}


def test_read_status__many_open_jobs__names_those_heard_of_first(journal, monkeypatch):
    monkeypatch.setattr(status, "OPEN_JOBS_SHOWN", 2)
    for number in (3, 1, 2):
        journal.add_job(number, TERMS, 5, HASH)

    assert [job.job_id for job in read_status(journal.path).open] == [3, 1]


def test_read_status__new_journal__has_nothing_yet(journal):
    said = read_status(journal.path)

    assert (said.jobs, said.open, said.last_block, said.final_block) == ({}, (), None, None)


def test_read_history__of_a_job__is_its_story(journal):
    journal.add_job(1, TERMS, 5, HASH)
    journal.advance(journal.job(1), Step.CHECKED, note="fine")

    assert [(moment.step, moment.note) for moment in read_history(journal.path, 1)] == [
        ("seen", ""),
        ("checked", "fine"),
    ]
    with pytest.raises(InputError, match="knows no job 2"):
        read_history(journal.path, 2)


def test_read_status__no_journal__says_how_to_get_one(tmp_path):
    with pytest.raises(JournalError, match="there is no journal; start the node once"):
        read_status(tmp_path / "journal.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("migrations", "remedy"), [(MIGRATIONS[:1], "start the node once"), ((*MIGRATIONS, ()), "update Qscrow")]
)
def test_read_status__another_schema__says_what_to_do_and_changes_nothing(tmp_path, migrations, remedy):
    path = tmp_path / "journal.db"
    Database(path, migrations).close()
    before = path.read_bytes()

    with pytest.raises(JournalError, match=f"is of schema .*{remedy}"):
        read_status(path)
    assert path.read_bytes() == before


def test_read_status__damaged__names_the_remedy(tmp_path):
    path = tmp_path / "journal.db"
    path.write_bytes(b"no database" * 1_000)

    with pytest.raises(JournalError, match="is damaged .*qscrow oracle rebuild"):
        read_status(path)


def test_read_status__file_that_is_empty__says_so(tmp_path):
    (tmp_path / "journal.db").touch()

    with pytest.raises(JournalError, match="holds nothing yet"):
        read_status(Path(tmp_path / "journal.db"))


def test_read_counts__copy_of_a_journal__needs_nothing_else(journal, tmp_path):
    """A person looks at a backup that was made with the node stopped."""
    journal.ingested(None, [replace(Placement(1, TERMS, 5, HASH), step=Step.ACCEPTED, placed=6)])
    journal.close()
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    (copy / "copy.db").write_bytes(journal.path.read_bytes())

    assert read_counts(copy / "copy.db") == {"accepted": 1}
