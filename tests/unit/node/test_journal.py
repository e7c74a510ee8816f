from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from oracle.chain.attempts import Attempt
from oracle.chain.client import Block
from oracle.content.cid import CID
from oracle.jobs.errors import JournalError
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node import journal as journal_module
from oracle.node.database import JournalUnavailable, version_of
from oracle.node.journal import ACTIVE, Forgotten, Journal, News, Placement, Step, is_due
from oracle.node.schema import SCHEMA_VERSION

ORACLE = "0x" + "22" * 20
IDENTITY = {"chain_id": 31337, "escrow": "0x" + "11" * 20, "oracle": ORACLE}
HASH = b"h" * 32


def terms(spec: int = 1, **changes) -> Terms:
    address = "0x" + "33" * 20
    usual = Terms(
        address,
        address,
        ORACLE,
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
    return replace(usual, **changes)


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path / "journal.db", **IDENTITY)
    yield opened
    opened.close()


def block(number: int, fork: bytes = b"") -> Block:
    def name(n):
        return (fork + b"%d" % n).ljust(32, b".")

    return Block(number, name(number), name(number - 1), number * 10)


def attempt(nonce: int, purpose: str = "1:accept") -> Attempt:
    return Attempt(purpose, "0xabc", nonce, b"raw%d" % nonce, bytes([nonce]) * 32)


def news(job_id: int, log: int, at: int = 5, **options) -> News:
    return News((b"t" * 32, block(at).hash, log), at, job_id, **options)


def closed(journal, job_id: int, *, ended: bool = True, **fields) -> None:
    """A job that was worked on to its end, which the chain confirms if it is ``ended``."""
    journal.add_job(job_id, terms(job_id), 3, HASH)
    row = journal.advance(journal.job(job_id), Step.RAN, result='{"charge": 7}')
    row = journal.advance(row, Step.SEALED, sealed=b"sealed %d" % job_id)
    journal.advance(row, Step.CLOSED, **fields)
    if ended:
        journal.ingested(None, news=[news(job_id, job_id, ended=True)])


# --------------------------------------------------------------------------------------------------- jobs


def test_add_job__new__is_seen_with_its_terms(journal):
    assert journal.add_job(7, terms(), 3, HASH)

    row = journal.job(7)

    assert (row.step, row.terms, row.block, row.block_hash) == (Step.SEEN, terms(), 3, HASH)
    assert [step for _, step, _ in journal.history(7)] == [Step.SEEN]


def test_add_job__heard_of_twice__is_kept_as_it_was(journal):
    journal.add_job(7, terms(), 3, HASH)
    journal.advance(journal.job(7), Step.CHECKED)

    assert not journal.add_job(7, terms(2), 4, b"i" * 32)

    assert journal.job(7).step == Step.CHECKED
    assert journal.job(7).terms == terms()


def test_advance__with_a_result__survives_closing(tmp_path):
    first = Journal(tmp_path / "journal.db", **IDENTITY)
    first.add_job(7, terms(), 3, HASH)
    first.advance(first.job(7), Step.RAN, result='{"a": 1}', note="ran")
    first.close()

    with closing(Journal(tmp_path / "journal.db", **IDENTITY)) as again:
        assert again.job(7).step == Step.RAN
        assert again.job(7).result == '{"a": 1}'
        assert again.history(7)[-1][1:] == (Step.RAN, "ran")


def test_advance__sealed__knows_its_digest_and_wants_it_kept(journal):
    journal.add_job(7, terms(), 3, HASH)

    row = journal.advance(journal.job(7), Step.RAN, sealed=b"document")

    assert row == journal.job(7)
    assert CID.from_digest(row.digest) == CID.of(b"document")
    assert CID.of(b"document") in needs(journal).results


def test_advance__of_what_another_changed__keeps_that(journal):
    """A thread that holds an older row writes only the fields it changes."""
    journal.add_job(7, terms(), 3, HASH)
    old = journal.advance(journal.job(7), Step.RAN, result="{}")
    journal.advance(old, Step.RAN, terms=terms(budget=11))

    journal.advance(old, Step.SEALED, sealed=b"s")

    assert (journal.job(7).terms.budget, journal.job(7).result, journal.job(7).sealed) == (11, "{}", b"s")


def test_advance__job_that_was_forgotten_or_replaced__is_refused_and_writes_nothing(journal):
    journal.ingested(block(5), [Placement(1, terms(), 5, b"a" * 32)])
    old = journal.job(1)
    journal.rewind(4)
    for write in (lambda: journal.advance(old, Step.RAN), lambda: journal.postpone(old, "later", 9.0)):
        with pytest.raises(Forgotten):
            write()
    assert journal.history(1) == []

    journal.ingested(block(5), [Placement(1, terms(), 5, b"b" * 32)])
    with pytest.raises(Forgotten):
        journal.advance(old, Step.RAN, result="{}")

    assert (journal.job(1).step, journal.job(1).result) == (Step.SEEN, None)


def test_advance__job_that_is_at_another_step_by_now__is_refused(journal):
    """Ingestion read that the chain has it elsewhere while a thread was at work."""
    journal.add_job(1, terms(), 5, HASH)
    old = journal.job(1)
    journal.ingested(None, [Placement(1, terms(), 5, HASH, Step.CLOSED, "Cancelled", placed=6)])

    with pytest.raises(Forgotten):
        journal.advance(old, Step.CHECKED)

    assert (journal.job(1).step, journal.job(1).reason) == (Step.CLOSED, "Cancelled")


def test_postpone__again_and_again_for_one_reason__is_told_once(journal):
    journal.add_job(7, terms(), 3, HASH)
    job = journal.job(7)
    for number, why in enumerate(("no content yet", "no content yet", "no chain", "no content yet"), start=1):
        job = journal.postpone(job, why, 50.0 + number)
    assert [moment.note for moment in journal.history(7)] == ["", "no content yet", "no chain", "no content yet"]
    assert (job.attempts, journal.job(7).retry_at) == (4, 54.0)


def test_postpone__twice__counts_attempts_and_advance_resets_them(journal):
    journal.add_job(7, terms(), 3, HASH)
    job = journal.postpone(journal.job(7), "no content yet", 50.0)
    job = journal.postpone(job, "still none", 60.0)
    assert (journal.job(7).attempts, journal.job(7).retry_at) == (2, 60.0)

    journal.advance(job, Step.CHECKED)

    assert (journal.job(7).attempts, journal.job(7).retry_at) == (0, 0.0)


def test_jobs__by_step__answers_only_those_oldest_first(journal):
    for number in (3, 1, 2):
        journal.add_job(number, terms(), 3, HASH)
    journal.advance(journal.job(2), Step.CLOSED)

    assert [job.job_id for job in journal.jobs(ACTIVE)] == [1, 3]
    assert journal.counts() == {Step.SEEN: 2, Step.CLOSED: 1}


def test_together__several_writes__are_one(journal):
    journal.add_job(1, terms(), 3, HASH)
    journal.add_job(2, terms(2), 3, HASH)
    stale = journal.job(2)
    journal.advance(stale, Step.CHECKED)

    with pytest.raises(Forgotten), journal.together():
        journal.advance(journal.job(1), Step.CHECKED)
        journal.advance(stale, Step.CHECKED)
    assert journal.job(1).step == Step.SEEN

    with journal.together():
        journal.advance(journal.job(1), Step.CHECKED)
        journal.advance(journal.job(2), Step.RAN)
    assert (journal.job(1).step, journal.job(2).step) == (Step.CHECKED, Step.RAN)


# ---------------------------------------------------------------------------------------------- scheduling


def test_due__several__most_urgent_first_without_those_excluded_waiting_or_closed(journal):
    deadlines = {1: 300, 2: 100, 3: 200, 4: 50, 5: 60, 6: 150}
    for number, when in deadlines.items():
        journal.add_job(number, terms(deliver_by=when), 3, HASH)
    journal.postpone(journal.job(4), "later", 500.0)
    journal.advance(journal.job(5), Step.CLOSED)
    journal.advance(journal.job(6), Step.ACCEPTED)

    assert [job.job_id for job in journal.due(499.0, 10)] == [2, 6, 3, 1]
    assert [job.job_id for job in journal.due(500.0, 10)] == [4, 2, 6, 3, 1]
    assert [job.job_id for job in journal.due(500.0, 2, exclude={4, 3})] == [2, 6]
    assert [job.deadline for job in journal.due(499.0, 10, steps=(Step.ACCEPTED,))] == [150]


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda journal: journal.jobs(ACTIVE), "INDEX jobs_by_step (step=?)"),
        (lambda journal: journal.due(5.0, 8), "INDEX jobs_due (step=?)"),
        (lambda journal: journal.counts(), "COVERING INDEX jobs_by_step"),
        (lambda journal: journal.unconfirmed(), "INDEX jobs_unconfirmed"),
        (lambda journal: journal.known([1, 2]), "INTEGER PRIMARY KEY (rowid=?)"),
        (lambda journal: journal.placed_after(5), "INDEX jobs_placed (placed>?)"),
        (lambda journal: needs(journal), "INDEX jobs_due"),
        (lambda journal: journal.next_nonce("a"), "INDEX outbox_by_nonce (sender=?)"),
        (lambda journal: journal.open_attempts("a"), "INDEX outbox_open (sender=?)"),
        (lambda journal: journal.attempts("1:accept"), "INDEX outbox_by_purpose (purpose=?)"),
    ],
)
def test_questions__of_every_tick__are_answered_from_an_index(journal, ask, index):
    """The plans of the very statements: with a year of closed jobs, walking over them all would take seconds."""
    asked = []
    journal._db._connection.set_trace_callback(asked.append)
    ask(journal)
    journal._db._connection.set_trace_callback(None)

    question = next(each for each in asked if " FROM jobs" in each or " FROM outbox" in each)
    plan = " ".join(row[3] for row in journal._db.rows(f"EXPLAIN QUERY PLAN {question}"))

    assert index in plan, plan


# --------------------------------------------------------------------------------------------- ingestion


def test_ingested__jobs_and_block__are_written_together(journal):
    jobs = [Placement(1, terms(), 8, b"m" * 32), Placement(2, terms(), 9, block(9).hash)]

    assert journal.ingested(block(9), jobs) == 2

    assert journal.last_block() == (9, block(9).hash)
    assert journal.ingested(block(9), jobs[:1]) == 0


def test_ingested__failing_half_way__writes_nothing(journal):
    with pytest.raises(AttributeError):
        journal.ingested(block(9), [Placement(1, terms(), 8, HASH), Placement(2, None, 9, HASH)])

    assert journal.job(1) is None
    assert journal.last_block() is None


def test_ingested__where_the_chain_has_a_job__is_where_it_starts(journal):
    delivered = Placement(2, terms(2), 3, HASH, Step.DELIVERED, digest=b"d" * 32, placed=6)
    over = Placement(3, terms(3), 3, HASH, Step.CLOSED, "Settled", placed=7)
    journal.ingested(block(9), [Placement(1, terms(), 3, HASH, Step.ACCEPTED, placed=5), delivered, over])

    assert [job.step for job in journal.jobs()] == [Step.ACCEPTED, Step.DELIVERED, Step.CLOSED]
    assert CID.from_digest(b"d" * 32) in needs(journal).results
    assert journal.unconfirmed() == []

    journal.ingested(block(10), [replace(delivered, step=Step.CLOSED, reason="Settled", placed=10)])
    assert journal.job(2).reason == "Settled"


def test_ingested__placement_of_a_job_somebody_works_on__changes_nothing(journal):
    journal.add_job(1, terms(), 3, HASH)
    journal.advance(journal.job(1), Step.CHECKED)

    journal.ingested(block(9), [Placement(1, terms(), 3, HASH, Step.ACCEPTED, placed=5)])

    assert journal.job(1).step == Step.CHECKED
    assert journal.known([1, 2]) == {1: False}


def test_ingested__news__wake_a_job_once(journal):
    journal.add_job(1, terms(), 3, HASH)
    row = journal.advance(journal.job(1), Step.CHECKED)
    journal.postpone(row, "later", 500.0)

    journal.ingested(block(5), news=[news(1, 0)])
    assert journal.job(1).retry_at == 0.0

    journal.postpone(journal.job(1), "later", 600.0)
    journal.ingested(None, news=[news(1, 0)])
    assert journal.job(1).retry_at == 600.0


def test_ingested__many_blocks__forgets_those_far_behind(journal):
    for number in (1, 10, journal_module.REMEMBERED_BLOCKS + 5):
        journal.ingested(block(number), news=[news(1, number, at=number)])

    assert [number for number, _ in journal.blocks(10**9)] == [10, journal_module.REMEMBERED_BLOCKS + 5]
    assert journal._db.row("SELECT COUNT(*) FROM events")[0] == 2


def test_rewind__to_an_ancestor__forgets_later_blocks_and_jobs_only(journal):
    journal.ingested(block(5), [Placement(1, terms(), 5, block(5).hash)])
    journal.ingested(block(9), [Placement(2, terms(), 9, block(9).hash)])
    want(journal, 2, [CID.of(b"result")])

    assert journal.rewind(5) == 1

    assert journal.job(1) is not None
    assert journal.job(2) is None
    assert journal.history(2) == []
    assert CID.of(b"result") not in needs(journal).results
    assert journal.last_block() == (5, block(5).hash)


def test_rewind__over_later_events_of_a_job__has_it_looked_at_again(journal):
    closed(journal, 1, ended=False)
    journal.add_job(2, terms(2), 3, HASH)
    journal.advance(journal.job(2), Step.CHECKED)
    journal.ingested(block(6), news=[news(1, 1, at=6, ended=True), news(2, 2, at=6)])
    journal.postpone(journal.job(2), "later", 500.0)
    assert journal.unconfirmed() == []

    journal.rewind(5)

    assert journal.unconfirmed() == [1]
    assert journal.job(2).retry_at == 0.0
    journal.ingested(block(6, b"fork"), news=[news(1, 1, at=6, ended=True)])
    assert journal.unconfirmed() == []


def test_rewind__over_the_second_end_of_a_job__leaves_the_first(journal):
    """Taken by somebody else, then cancelled: without the cancellation it still is somebody else's."""
    closed(journal, 1, ended=False)
    journal.ingested(block(6), news=[news(1, 1, at=5, ended=True), news(1, 2, at=6, ended=True)])

    journal.rewind(5)

    assert journal.unconfirmed() == []


def test_rewind__over_the_events_that_placed_a_job__puts_it_where_the_chain_has_it_now(journal):
    seen = Placement(1, terms(), 3, HASH)
    journal.ingested(block(6), [replace(seen, step=Step.DELIVERED, digest=b"d" * 32, placed=6)])
    assert [job.job_id for job in journal.placed_after(5)] == [1]
    assert journal.placed_after(6) == []

    journal.rewind(5, [seen])

    assert (journal.job(1).step, journal.job(1).digest) == (Step.SEEN, None)


def test_reopen__end_not_confirmed__goes_back_to_the_step_it_was_closed_from(journal):
    closed(journal, 1, ended=False, reason="Settled")
    closed(journal, 2)

    assert journal.reopen(1, "the chain has it as Accepted")
    assert not journal.reopen(2, "it is settled for good")

    row = journal.job(1)
    assert (row.step, row.reason, row.sealed) == (Step.SEALED, "", b"sealed 1")
    assert journal.history(1)[-1].note == "the chain has it as Accepted"
    assert journal.job(2).step == Step.CLOSED


def test_reopen__declined__keeps_the_reason_to_decline_with(journal):
    journal.add_job(1, terms(), 3, HASH)
    row = journal.advance(journal.job(1), Step.DECLINING, reason="no_backend")
    journal.advance(row, Step.CLOSED)

    assert journal.reopen(1, "the rejection is gone")

    assert (journal.job(1).step, journal.job(1).reason) == (Step.DECLINING, "no_backend")


def test_unconfirmed__open_job_left_to_others__needs_no_confirmation(journal):
    journal.add_job(1, terms(oracle=ZERO_ADDRESS), 3, HASH)
    journal.advance(journal.job(1), Step.CLOSED)

    assert journal.unconfirmed() == []


def test_final_block__newest__is_remembered(journal):
    assert journal.final_block() is None

    journal.ingested(block(9), final=block(7))

    assert journal.final_block() == (7, block(7).hash)


# ------------------------------------------------------------------------------------------------- outbox


def test_record__attempts__are_found_by_purpose_newest_first(journal):
    journal.record(attempt(4))
    journal.record(attempt(6))
    journal.record(attempt(5, "2:accept"))

    assert journal.attempt("1:accept") == attempt(6)
    assert journal.attempt("3:accept") is None
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


def test_start_nonces_at__before_anything_was_signed__is_where_they_start(journal):
    journal.start_nonces_at("0xabc", 5)
    assert (journal.next_nonce("0xabc"), journal.next_nonce("0xother")) == (5, 0)

    journal.record(attempt(8))
    assert journal.next_nonce("0xabc") == 9


# ------------------------------------------------------------------------------------------------ content


@pytest.mark.parametrize(("ahead", "due"), [(-1, True), (0, True), (1, False), (3_600, False), (3_601, True)])
def test_due__put_off_further_than_anything_is__was_so_before_the_clock_was_set_back(journal, ahead, due):
    journal.add_job(1, terms(), 3, HASH)
    journal.postpone(journal.job(1), "later", 5_000.0 + ahead)

    assert is_due(5_000.0 + ahead, 5_000.0) is due
    assert bool(journal.due(5_000.0, 9)) is due


def needs(journal):
    """What a collection would leave at this moment."""
    with journal.needs() as found:
        return found


def want(journal, job_id, cids):
    """Put down that a job wants these."""
    with journal.together() as db:
        journal_module._want(db, job_id, cids)


def test_needs__one_job_closed__are_those_of_the_others(journal):
    journal.add_job(1, terms(1), 3, HASH)
    closed(journal, 2)

    assert needs(journal).specs == {CID.from_digest(terms(1).spec)}


def test_needs__result_wanted_twice_by_one_job__until_it_is_released(journal):
    journal.add_job(1, terms(1), 3, HASH)
    want(journal, 1, [CID.of(b"result")])
    want(journal, 1, [CID.of(b"result")])
    closed(journal, 2)
    assert needs(journal).results == {CID.of(b"result"), CID.of(b"sealed 2")}

    journal.release([CID.of(b"sealed 2")])
    assert needs(journal).results == {CID.of(b"result")}


def test_releasable__shared_with_a_job_that_needs_it__is_not(journal):
    shared, own = CID.of(b"shared"), CID.of(b"own")
    closed(journal, 1)
    closed(journal, 2, ended=False)
    closed(journal, 3)
    want(journal, 1, [shared, own])
    want(journal, 2, [shared])

    later = journal.job(3).since + 1
    assert set(journal.releasable(later)) == {own, CID.of(b"sealed 1"), CID.of(b"sealed 3")}
    assert journal.releasable(journal.job(1).since) == []


# -------------------------------------------------------------------------------------------- housekeeping


def test_prune__closed_for_good_and_old__keeps_digest_outcome_and_nonces(journal):
    for number in (4, 5, 6):
        journal.record(attempt(number))
        journal.close_nonce("0xabc", number)
    closed(journal, 1, reason="Settled")
    closed(journal, 2, ended=False)
    later = journal.job(2).since + 1

    assert journal.prune(journal.job(1).since) == 0
    assert journal.prune(later) == 1
    assert journal.prune(later) == 0

    row = journal.job(1)
    assert (row.step, row.reason, row.result, row.sealed) == (Step.CLOSED, "Settled", None, None)
    assert CID.from_digest(row.digest) == CID.of(b"sealed 1")
    assert journal.history(1) == []
    assert (journal.job(2).sealed, len(journal.history(2))) == (b"sealed 2", 4)
    assert journal.next_nonce("0xabc") == 7
    assert [each.nonce for each in journal.attempts("1:accept")] == [6]


def test_prune__transactions_newer_than_an_open_job__stay(journal):
    journal.add_job(1, terms(), 3, HASH)
    for number in (4, 5):
        journal.record(attempt(number))
        journal.close_nonce("0xabc", number)

    journal.prune(journal.job(1).since + 1_000)

    assert [each.nonce for each in journal.attempts("1:accept")] == [5, 4]


def test_prune__more_than_it_takes_at_once__goes_on(journal, monkeypatch):
    monkeypatch.setattr(journal_module, "PRUNED_AT_ONCE", 2)
    for number in (1, 2, 3):
        closed(journal, number)
    later = journal.job(3).since + 1

    assert [journal.prune(later) for _ in range(3)] == [2, 1, 0]


# ------------------------------------------------------------------------------------------------- opening


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

    Journal(tmp_path / "journal.db", **IDENTITY).close()


@pytest.mark.parametrize("change", ["step = 'asleep'", "terms = '{}'", "terms = 'no json'", "terms = x'00'"])
def test_open__row_that_makes_no_sense__is_refused(tmp_path, journal, change):
    journal.add_job(1, terms(), 3, HASH)
    journal.close()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.execute(f"UPDATE jobs SET {change}")
        db.commit()

    with pytest.raises(JournalError, match="is damaged .*qscrow oracle rebuild"):
        Journal(tmp_path / "journal.db", **IDENTITY)


def test_open__journal_of_the_first_version__is_brought_up_to_date_and_backed_up(tmp_path):
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript((Path(__file__).parent / "journal_v1.sql").read_text())

    with closing(Journal(path, **IDENTITY)) as journal:
        first, second, third = journal.jobs()
        assert (first.step, first.sealed, json.loads(first.result)) == (
            Step.SEALED,
            b"a sealed document",
            {"charge": 7},
        )
        assert CID.from_digest(first.digest) == CID.of(b"a sealed document")
        assert (second.step, second.reason, third.attempts) == (Step.CLOSED, "Cancelled", 1)
        assert first.since == 1_700_000_070.0
        assert [job.job_id for job in journal.due(1_900_000_000.0 - 1, 9)] == [1]
        assert journal.due(2_000_000_000.0, 9)[0].requester == "0x" + "33" * 20
        assert journal.last_block() == (9, b"\x09" * 32)
        assert [each.purpose for each in journal.open_attempts(ORACLE)] == ["1:accept", "1:deliver"]
        assert CID.of(b"a sealed document") in needs(journal).results
        assert journal.unconfirmed() == []
        assert journal.prune(2_000_000_000.0) == 1

    assert version_of(path) == SCHEMA_VERSION
    with closing(sqlite3.connect(tmp_path / "journal.db.schema1")) as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == ("1",)
        assert db.execute("SELECT COUNT(*) FROM history").fetchone() == (10,)


def test_advance__disk_full__writes_nothing_and_can_be_repeated(journal):
    journal.add_job(1, terms(), 3, HASH)
    row = journal.job(1)
    journal._db.row(f"PRAGMA max_page_count = {journal._db.row('PRAGMA page_count')[0]}")
    with pytest.raises(JournalUnavailable, match="free some space"):
        journal.advance(row, Step.RAN, sealed=b"s" * 100_000)
    assert journal.job(1) == row
    assert len(journal.history(1)) == 1

    journal._db.row("PRAGMA max_page_count = 100000")
    journal.advance(row, Step.RAN, sealed=b"s" * 100_000)
    assert journal.job(1).step == Step.RAN
