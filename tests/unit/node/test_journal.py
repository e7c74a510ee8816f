from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

from oracle.chain.attempts import Attempt
from oracle.jobs.errors import JournalError
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node.journal import ACTIVE, Forgotten, Journal, Step

IDENTITY = {"chain_id": 31337, "escrow": "0x" + "11" * 20, "oracle": "0x" + "22" * 20}


def terms(spec: int = 1) -> Terms:
    address = "0x" + "33" * 20
    return Terms(
        address,
        address,
        address,
        ZERO_ADDRESS,
        ZERO_ADDRESS,
        ZERO_ADDRESS,
        10,
        0,
        5,
        100,
        200,
        0,
        bytes([spec]) * 32,
        b"k" * 32,
    )


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path / "journal.db", **IDENTITY)
    yield opened
    opened.close()


def attempt(nonce: int, purpose: str = "1:accept") -> Attempt:
    return Attempt(purpose, "0xabc", nonce, b"raw%d" % nonce, bytes([nonce]) * 32)


def test_add_job__new__is_seen_with_its_terms(journal):
    assert journal.add_job(7, terms(), 3, b"h" * 32)

    row = journal.job(7)

    assert (row.step, row.terms, row.block, row.block_hash) == (Step.SEEN, terms(), 3, b"h" * 32)
    assert [step for _, step, _ in journal.history(7)] == [Step.SEEN]


def test_add_job__heard_of_twice__is_kept_as_it_was(journal):
    journal.add_job(7, terms(), 3, b"h" * 32)
    journal.advance(journal.job(7), Step.CHECKED)

    assert not journal.add_job(7, terms(2), 4, b"i" * 32)

    assert journal.job(7).step == Step.CHECKED
    assert journal.job(7).terms == terms()


def test_advance__with_a_result__survives_closing(tmp_path):
    first = Journal(tmp_path / "journal.db", **IDENTITY)
    first.add_job(7, terms(), 3, b"h" * 32)
    first.advance(first.job(7), Step.RAN, result='{"a": 1}', note="ran")
    first.close()

    again = Journal(tmp_path / "journal.db", **IDENTITY)

    assert again.job(7).step == Step.RAN
    assert again.job(7).result == '{"a": 1}'
    assert again.history(7)[-1][1:] == (Step.RAN, "ran")
    again.close()


def test_advance__killed_before_commit__leaves_the_former_step(tmp_path):
    first = Journal(tmp_path / "journal.db", **IDENTITY)
    first.add_job(7, terms(), 3, b"h" * 32)
    first._db.execute("BEGIN IMMEDIATE")
    first._db.execute("UPDATE jobs SET step = 'ran' WHERE job_id = 7")
    first.close()  # what a kill leaves behind: an open transaction, never committed

    again = Journal(tmp_path / "journal.db", **IDENTITY)

    assert again.job(7).step == Step.SEEN
    again.close()


def test_postpone__twice__counts_attempts_and_advance_resets_them(journal):
    journal.add_job(7, terms(), 3, b"h" * 32)
    job = journal.postpone(journal.job(7), "no content yet", 50.0)
    job = journal.postpone(job, "still none", 60.0)
    assert (journal.job(7).attempts, journal.job(7).retry_at) == (2, 60.0)

    journal.advance(job, Step.CHECKED)

    assert (journal.job(7).attempts, journal.job(7).retry_at) == (0, 0.0)


def test_jobs__by_step__answers_only_those_oldest_first(journal):
    for number in (3, 1, 2):
        journal.add_job(number, terms(), 3, b"h" * 32)
    journal.advance(journal.job(2), Step.CLOSED)

    assert [job.job_id for job in journal.jobs(ACTIVE)] == [1, 3]
    assert journal.counts() == {Step.SEEN: 2, Step.CLOSED: 1}


def test_ingested__jobs_and_block__are_written_together(journal):
    added = journal.ingested(9, b"n" * 32, [(1, terms(), 8, b"m" * 32), (2, terms(), 9, b"n" * 32)])

    assert added == 2
    assert journal.last_block() == (9, b"n" * 32)
    assert journal.ingested(9, b"n" * 32, [(1, terms(), 8, b"m" * 32)]) == 0


def test_ingested__failing_half_way__writes_nothing(journal):
    with pytest.raises(AttributeError):
        journal.ingested(9, b"n" * 32, [(1, terms(), 8, b"m" * 32), (2, None, 9, b"n" * 32)])

    assert journal.job(1) is None
    assert journal.last_block() is None


def test_rewind__to_an_ancestor__forgets_later_blocks_and_jobs_only(journal):
    journal.ingested(5, b"a" * 32, [(1, terms(), 5, b"a" * 32)])
    journal.ingested(9, b"b" * 32, [(2, terms(), 9, b"b" * 32)])

    assert journal.rewind(5) == 1

    assert journal.job(1) is not None
    assert journal.job(2) is None
    assert journal.history(2) == []
    assert journal.last_block() == (5, b"a" * 32)


def test_advance__job_that_was_forgotten_or_replaced__is_refused_and_writes_nothing(journal):
    journal.ingested(5, b"a" * 32, [(1, terms(), 5, b"a" * 32)])
    old = journal.job(1)
    journal.rewind(4)
    for write in (lambda: journal.advance(old, Step.RAN), lambda: journal.postpone(old, "later", 9.0)):
        with pytest.raises(Forgotten):
            write()
    assert journal.history(1) == []

    journal.ingested(5, b"b" * 32, [(1, terms(), 5, b"b" * 32)])
    with pytest.raises(Forgotten):
        journal.advance(old, Step.RAN, result="{}")

    assert (journal.job(1).step, journal.job(1).result) == (Step.SEEN, None)


def test_record__attempts__are_found_by_purpose_newest_first(journal):
    journal.record(attempt(4))
    journal.record(attempt(6))
    journal.record(attempt(5, "2:accept"))

    assert journal.attempts("1:accept")[0] == attempt(6)
    assert journal.next_nonce("0xabc") == 7
    assert journal.next_nonce("0xother") == 0


def test_forget__an_attempt__brings_the_one_before_back(journal):
    journal.record(attempt(4))
    journal.record(attempt(6))

    journal.forget(attempt(6))

    assert journal.attempts("1:accept") == [attempt(4)]


def test_close_nonce__of_a_replaced_transaction__closes_all_that_share_it(journal):
    for each in (attempt(5), attempt(4), replace(attempt(4), tx_hash=b"r" * 32, max_fee=9), attempt(6)):
        journal.record(each)

    journal.close_nonce("0xabc", 4)
    journal.close_nonce("0xabc", 4)
    journal.close_nonce("0xother", 5)

    assert [each.nonce for each in journal.open_attempts("0xabc")] == [5, 6]
    assert journal.next_nonce("0xabc") == 7
    assert [each.max_fee for each in journal.attempts("1:accept")] == [0, 9, 0, 0]


def test_record__the_same_transaction_twice__is_refused(journal):
    journal.record(attempt(4))

    with pytest.raises(sqlite3.IntegrityError):
        journal.record(attempt(4))


def test_open__second_node_on_one_journal__is_refused(tmp_path, journal):
    with pytest.raises(JournalError, match="another node is using it"):
        Journal(tmp_path / "journal.db", **IDENTITY)


@pytest.mark.parametrize(
    ("key", "value"), [("chain_id", 1), ("escrow", "0x" + "99" * 20), ("oracle", "0x" + "88" * 20)]
)
def test_open__journal_of_another_node__is_refused(tmp_path, key, value):
    Journal(tmp_path / "journal.db", **IDENTITY).close()

    with pytest.raises(JournalError, match=f"is for {key}"):
        Journal(tmp_path / "journal.db", **{**IDENTITY, key: value})


def test_open__damaged_file__is_refused_and_left_alone(tmp_path):
    path = tmp_path / "journal.db"
    path.write_bytes(b"this is no database" * 100)

    with pytest.raises(JournalError, match="is damaged"):
        Journal(path, **IDENTITY)

    assert path.read_bytes() == b"this is no database" * 100
