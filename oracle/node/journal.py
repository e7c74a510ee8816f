"""The node's memory: one row per job with its history, and an outbox for everything that leaves the node.

Whatever leaves the node is written here first: counts before they are pinned, the sealed result before it is
delivered, a signed transaction before it is broadcast. A node that dies anywhere goes on from its last row.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from oracle.chain.attempts import Attempt
from oracle.chain.client import Block
from oracle.content.cid import CID
from oracle.jobs.errors import InputError, JournalError
from oracle.jobs.terms import Terms
from oracle.node.config import MOST_BACKOFF_SECONDS
from oracle.node.database import Database, damaged, holding
from oracle.node.schema import MIGRATIONS

REMEMBERED_BLOCKS = 5_000
"""How far back a common ancestor is looked for, and events are known by their key."""
PRUNED_AT_ONCE = 500
FURTHEST_RETRY_SECONDS = MOST_BACKOFF_SECONDS
"""Nothing is put off further, so what seems to be was put off before the machine's clock was set back."""
_ASKED_AT_ONCE = 500  # variables in one statement; SQLite may take as few as 999


class Step(StrEnum):
    """How far a job has come. Each is reached by one write; the work between two can be done again."""

    SEEN = "seen"  # its creation is on the chain, deep enough
    CHECKED = "checked"  # spec and circuit are here and the policy takes it
    ACCEPTED = "accepted"  # the chain has our acceptance
    SIMULATED = "simulated"  # hardware jobs: the circuit ran here first; whether it goes on is for the gates to say
    SUBMITTED = "submitted"  # hardware jobs: the provider has it under our tag
    RAN = "ran"  # counts are in the journal
    SEALED = "sealed"  # the sealed result is in the journal and pinned
    DELIVERED = "delivered"  # the chain has our delivery; a challenge period may be running
    DECLINING = "declining"  # to be rejected or failed on chain with `reason`
    CLOSED = "closed"  # nothing left to do


ACTIVE = tuple(step for step in Step if step != Step.CLOSED)


@dataclass(frozen=True)
class JobRow:
    """A job as the journal knows it. Times are Unix seconds; ``result`` is JSON, ``sealed`` a document.

    ``digest`` is the sealed result's, also when the document is pruned; ``since`` is when ``step`` was reached.
    ``seconds`` and ``memory_bytes`` are what the run was estimated to take when the job was checked.
    """

    job_id: int
    terms: Terms
    block: int
    block_hash: bytes
    step: Step
    reason: str = ""
    attempts: int = 0
    retry_at: float = 0.0
    result: str | None = None
    sealed: bytes | None = None
    digest: bytes | None = None
    since: float = 0.0
    seconds: float = 0.0
    memory_bytes: int = 0


@dataclass(frozen=True)
class DueJob:
    """What a scheduler needs to know of a job, without its documents. ``deadline`` (of the delivery) and ``retry_at``
    in Unix seconds; ``seconds`` and ``memory_bytes`` of its run as estimated when it was checked, else 0."""

    job_id: int
    step: Step
    requester: str
    deadline: int
    retry_at: float
    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Placement:
    """A job at the step at which the chain has it.

    ``digest`` is that of the result delivered, ``placed`` the newest block that says so, if it is not the creation's.
    At :attr:`Step.CLOSED` the chain ended the job there, or gave it to another.
    """

    job_id: int
    terms: Terms
    block: int
    block_hash: bytes
    step: Step = Step.SEEN
    reason: str = ""
    digest: bytes | None = None
    placed: int | None = None


@dataclass(frozen=True)
class News:
    """An event about a job that is being worked on. ``key`` is the log's; ``ended``: the chain closed it for us."""

    key: tuple[bytes, bytes, int]
    block: int
    job_id: int
    ended: bool = False


class Needs(NamedTuple):
    """Specs of jobs that are not closed, and sealed results that are not released yet."""

    specs: set[CID]
    results: set[CID]


class Moment(NamedTuple):
    """One line of a job's history; ``at`` is Unix time."""

    at: float
    step: Step
    note: str


class Forgotten(JournalError):
    """The job's row is gone, another job's, or at another step by now: ingestion heard otherwise meanwhile."""


def is_due(retry_at: float, now: float) -> bool:
    """Whether what was put off until ``retry_at`` is to be tried at ``now``, both in Unix seconds."""
    return not now < retry_at <= now + FURTHEST_RETRY_SECONDS


class Journal:
    """Exclusive: a second node opening the same file is refused; readers (``status.py``) are not. Thread-safe.

    Opening raises :class:`JournalError` for a file that is in use, damaged, of a newer schema or another node's.
    Every method raises :class:`~oracle.node.database.JournalUnavailable` when the disk is full or fails; nothing is
    half-written then, and the call can be repeated.
    """

    def __init__(self, path: Path, *, chain_id: int, escrow: str, oracle: str):
        self.path = path
        self._db = Database(path, MIGRATIONS)
        try:
            self._claim({"chain_id": str(chain_id), "escrow": escrow, "oracle": oracle})
            self._require_readable()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    def together(self) -> AbstractContextManager[Any]:
        """Writes inside become durable at once, or not at all: one wait for the disk instead of many."""
        return self._transaction()

    # ------------------------------------------------------------------------------------------ jobs

    def add_job(self, job_id: int, terms: Terms, block: int, block_hash: bytes, **placement: Any) -> bool:
        """Remember a job just heard of; ``False`` if it is known already. See :class:`Placement`."""
        job = Placement(job_id, terms, block, block_hash, **placement)
        values = {"job_id": job_id, "block": block, "block_hash": block_hash, "requester": terms.requester}
        values |= {**_placed(job), "heard": time.time()}
        marks = ", ".join("?" * len(values))
        with self._transaction() as db:
            statement = f"INSERT OR IGNORE INTO jobs ({', '.join(values)}) VALUES ({marks})"
            added = db.execute(statement, tuple(values.values())).rowcount
            if added:
                _note_placement(db, job)
            return bool(added)

    def job(self, job_id: int) -> JobRow | None:
        """The row of one job."""
        row = self._db.row(JOB_BY_ID, (job_id,))
        return None if row is None else job_row(row, self.path)

    def jobs(self, steps: Collection[Step] = tuple(Step)) -> list[JobRow]:
        """Rows in any of ``steps`` with their documents, oldest first."""
        rows = self._db.rows(f"SELECT {_JOB_COLUMNS} FROM jobs WHERE {_at_any(steps)} ORDER BY job_id", tuple(steps))
        return [job_row(row, self.path) for row in rows]

    def due(
        self, now: float, limit: int, exclude: Collection[int] = (), steps: Collection[Step] = ACTIVE
    ) -> list[DueJob]:
        """Up to ``limit`` jobs to be worked on at ``now``, none of them in ``exclude``, oldest deadline first.

        See :func:`is_due`.
        """
        enough = limit + len(exclude)
        values = [value for step in steps for value in (step, now, now + FURTHEST_RETRY_SECONDS, enough)]
        rows = self._db.rows(" UNION ALL ".join([_DUE_AT_STEP] * len(steps)) + _MOST_URGENT, (*values, enough))
        found = [DueJob(row[0], Step(row[1]), *row[2:]) for row in rows if row[0] not in exclude]
        return found[:limit]

    def advance(self, job: JobRow, step: Step, *, note: str = "", **changes: Any) -> JobRow:
        """Write that ``job`` reached ``step``, with ``changes`` to other fields, in one transaction.

        A sealed document's CID is put down as needed. Raises :class:`Forgotten`.
        """
        since = job.since if step == job.step else time.time()
        if "sealed" in changes:
            changes["digest"] = hashlib.sha256(changes["sealed"]).digest()
        moved = replace(job, step=step, attempts=0, retry_at=0.0, since=since, **changes)
        with self._transaction() as db:
            self._update(db, job, moved)
            _note(db, job.job_id, step, note)
            if "sealed" in changes:
                _want(db, job.job_id, [CID.from_digest(changes["digest"])])
        return moved

    def postpone(self, job: JobRow, why: str, retry_at: float) -> JobRow:
        """Write that the job's current step failed for now and when to try it again. Raises :class:`Forgotten`.

        The history gets a line unless the last one says the same: some things are waited for a thousand times.
        """
        later = replace(job, attempts=job.attempts + 1, retry_at=retry_at)
        with self._transaction() as db:
            self._update(db, job, later)
            last = db.execute(f"{HISTORY_OF_JOB} DESC LIMIT 1", (job.job_id,)).fetchone()
            if last is None or (last["step"], last["note"]) != (job.step, why):
                _note(db, job.job_id, job.step, why)
        return later

    def reopen(self, job_id: int, why: str, step: Step | None = None) -> bool:
        """Work again on a job whose end the chain took back, from ``step`` or the one it was closed from.

        ``False`` if it is not closed, or closed for good.
        """
        with self._transaction() as db:
            last = db.execute(
                "SELECT step FROM history WHERE job_id = ? AND step != 'closed' ORDER BY rowid DESC", (job_id,)
            ).fetchone()
            step = step or (Step(last["step"]) if last else Step.SEEN)
            reopened = db.execute(
                "UPDATE jobs SET step = ?, reason = CASE ? WHEN 'declining' THEN reason ELSE '' END, since = ?,"
                " attempts = 0, retry_at = 0 WHERE job_id = ? AND step = 'closed' AND ended IS NULL",
                (step, step, time.time(), job_id),
            ).rowcount
            if reopened:
                _note(db, job_id, step, why)
            return bool(reopened)

    def history(self, job_id: int) -> list[Moment]:
        """What happened to a job here, oldest first; nothing once it is pruned."""
        return moments(self._db.rows(HISTORY_OF_JOB, (job_id,)))

    def counts(self) -> dict[str, int]:
        """Number of jobs in each step."""
        return dict(self._db.rows("SELECT step, COUNT(*) FROM jobs GROUP BY step"))

    def taken_since(
        self, at: float, *, except_job: int, choice: str | None = None, requester: str | None = None
    ) -> int:
        """Other jobs checked since a Unix time, of one routing ``choice`` or ``requester`` if given. Those declined or
        closed without a run (cancelled, for example) do not count, or they would use up quotas for nothing.

        Documents that were pruned no longer tell their choice.
        """
        row = self._db.row(_TAKEN_SINCE, {"at": at, "job": except_job, "choice": choice, "requester": requester})
        return row[0] if row else 0

    def known(self, job_ids: Iterable[int]) -> dict[int, bool]:
        """Those of ``job_ids`` that are known, and whether each still is as the chain placed it: nobody began work."""
        wanted, found = list(job_ids), {}
        for first in range(0, len(wanted), _ASKED_AT_ONCE):
            part = wanted[first : first + _ASKED_AT_ONCE]
            marks = ",".join("?" * len(part))
            found.update(self._db.rows(f"SELECT job_id, {_UNTOUCHED} FROM jobs WHERE job_id IN ({marks})", part))
        return {job_id: bool(untouched) for job_id, untouched in found.items()}

    def placed_after(self, block: int) -> list[JobRow]:
        """Jobs nobody began work on and which events after ``block`` put where they are."""
        rows = self._db.rows(f"SELECT {_JOB_COLUMNS} FROM jobs WHERE placed > ? AND block <= ?", (block, block))
        return [job_row(row, self.path) for row in rows]

    def unconfirmed(self) -> list[int]:
        """Jobs we closed and of whose end the blocks read so far say nothing."""
        return [row[0] for row in self._db.rows(_UNCONFIRMED)]

    # ----------------------------------------------------------------------------------------- blocks

    def last_block(self) -> tuple[int, bytes] | None:
        """Number and hash of the last block whose events are in the journal."""
        row = self._db.row("SELECT number, hash FROM blocks ORDER BY number DESC LIMIT 1")
        return None if row is None else tuple(row)

    def blocks(self, up_to: int) -> list[tuple[int, bytes]]:
        """Numbers and hashes of the remembered blocks up to number ``up_to``, oldest first."""
        return [tuple(row) for row in self._db.rows(_BLOCKS_UP_TO, (up_to,))]

    def final_block(self) -> tuple[int, bytes] | None:
        """Number and hash of the newest block that the chain called final."""
        row = self._db.row("SELECT value FROM meta WHERE key = 'final_block'")
        if row is None:
            return None
        number, _, block_hash = row["value"].partition(":")
        return int(number), bytes.fromhex(block_hash)

    def ingested(
        self,
        block: Block | None,
        placed: Iterable[Placement] = (),
        news: Iterable[News] = (),
        *,
        ancestors: Iterable[Block] = (),
        final: Block | None = None,
    ) -> int:
        """Write what the blocks up to ``block`` say, all or nothing; returns how many jobs were new.

        ``placed`` are jobs nobody has worked on yet. ``news`` of others wakes them, each event once. Without a
        ``block`` nothing counts as read. ``ancestors`` are remembered as well; ``final`` is the newest final block.
        """
        with self._transaction() as db:
            added = 0
            for job in placed:
                is_new = self.add_job(**{field.name: getattr(job, field.name) for field in fields(Placement)})
                added += is_new
                if not is_new:
                    _move(db, job)
            for each in news:
                _wake(db, each)
            for known in (*ancestors, *([block] if block else ())):
                db.execute(
                    "INSERT OR REPLACE INTO blocks (number, hash, parent_hash) VALUES (?, ?, ?)",
                    (known.number, known.hash, known.parent_hash),
                )
            if block is not None:
                too_old = block.number - REMEMBERED_BLOCKS
                db.execute("DELETE FROM blocks WHERE number <= ?", (too_old,))
                db.execute("DELETE FROM events WHERE block <= ?", (too_old,))
            if final is not None:
                value = f"{final.number}:{final.hash.hex()}"
                db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('final_block', ?)", (value,))
            return added

    def rewind(self, ancestor: int, placed: Iterable[Placement] = ()) -> int:
        """Forget what came after block ``ancestor``; returns how many jobs went with it.

        ``placed`` says where the chain up to there has the jobs of :meth:`placed_after`. Other jobs of which later
        events are gone are looked at again.
        """
        with self._transaction() as db:
            db.execute("DELETE FROM blocks WHERE number > ?", (ancestor,))
            for table in ("history", "pins", "events"):
                db.execute(
                    f"DELETE FROM {table} WHERE job_id IN (SELECT job_id FROM jobs WHERE block > ?)", (ancestor,)
                )
            gone = db.execute("DELETE FROM jobs WHERE block > ?", (ancestor,)).rowcount
            touched = "job_id IN (SELECT job_id FROM events WHERE block > ?)"
            db.execute(f"UPDATE jobs SET retry_at = 0 WHERE step != 'closed' AND {touched}", (ancestor,))
            db.execute("UPDATE jobs SET ended = NULL WHERE ended > ?", (ancestor,))
            db.execute("DELETE FROM events WHERE block > ?", (ancestor,))
            for placement in placed:
                _move(db, placement)
            return gone

    # ----------------------------------------------------------------------------------------- outbox

    def record(self, attempt: Attempt) -> None:
        """Keep a signed transaction before it is broadcast (:class:`oracle.chain.attempts.AttemptLog`)."""
        values = (*(getattr(attempt, name) for name in _ATTEMPT_FIELDS), time.time())
        marks = ", ".join("?" * len(values))
        with self._transaction() as db:
            db.execute(f"INSERT INTO outbox ({', '.join(_ATTEMPT_FIELDS)}, at) VALUES ({marks})", values)

    def forget(self, attempt: Attempt) -> None:
        """Drop an attempt that can never be mined."""
        with self._transaction() as db:
            db.execute("DELETE FROM outbox WHERE tx_hash = ?", (attempt.tx_hash,))

    def next_nonce(self, sender: str) -> int:
        """One more than the highest nonce signed for, or known to be used before this journal began."""
        row = self._db.row("SELECT MAX(nonce) + 1 FROM outbox WHERE sender = ?", (sender,))
        floor = self._db.row("SELECT value FROM meta WHERE key = ?", (f"nonce:{sender}",))
        return max(row[0] or 0 if row else 0, int(floor[0]) if floor else 0)

    def start_nonces_at(self, sender: str, nonce: int) -> None:
        """Take nonces below ``nonce`` for used, by transactions this journal does not know."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (f"nonce:{sender}", str(nonce)))

    def attempt(self, purpose: str) -> Attempt | None:
        """The newest transaction signed for ``purpose``."""
        return next(iter(self.attempts(purpose)), None)

    def attempts(self, purpose: str) -> list[Attempt]:
        """The transactions signed for ``purpose``, newest first."""
        return self._attempts("purpose = ? ORDER BY rowid DESC", purpose)

    def open_attempts(self, sender: str) -> list[Attempt]:
        """The attempts whose nonces are not closed, by nonce, then oldest first."""
        return self._attempts("sender = ? AND NOT closed ORDER BY nonce, rowid", sender)

    def close_nonce(self, sender: str, nonce: int) -> None:
        """Whatever has this nonce is final on chain."""
        with self._transaction() as db:
            db.execute("UPDATE outbox SET closed = 1 WHERE sender = ? AND nonce = ?", (sender, nonce))

    # ---------------------------------------------------------------------------------------- content

    @contextmanager
    def needs(self) -> Iterator[Needs]:
        """What the jobs here need, and those of every journal in the same folder, whose processes share one store.

        No job can be added or reopened in any of them while the context is open.
        """
        found = Needs(set(), set())
        with ExitStack() as stack:
            for path in sorted({self.path, *self.path.parent.glob("*.db")}):
                own = path == self.path
                _add_needs(stack.enter_context(self._transaction() if own else holding(path)), found)
            yield found

    def releasable(self, closed_before: float) -> list[CID]:
        """Wanted only by jobs that were closed for good before a Unix time: unpin them, then :meth:`release`."""
        rows = self._db.rows(
            "SELECT cid FROM pins LEFT JOIN jobs USING (job_id) GROUP BY cid"
            " HAVING MIN(step IS NULL OR (step = 'closed' AND ended IS NOT NULL AND since < ?))",
            (closed_before,),
        )
        return [CID.parse(row[0]) for row in rows]

    def release(self, cids: Iterable[CID]) -> None:
        """Forget that jobs wanted these."""
        with self._transaction() as db:
            db.executemany("DELETE FROM pins WHERE cid = ?", [(str(cid),) for cid in cids])

    # --------------------------------------------------------------------------------------- housekeeping

    def prune(self, closed_before: float) -> int:
        """Drop documents, history and transactions of jobs closed for good before a Unix time; returns how many jobs.

        Digests, outcomes and the highest nonce stay. Does at most :data:`PRUNED_AT_ONCE` jobs: call it again while it
        returns that many.
        """
        old = "SELECT job_id FROM jobs WHERE step = 'closed' AND NOT pruned AND ended IS NOT NULL AND since < ? LIMIT ?"
        with self._transaction() as db:
            jobs = [tuple(row) for row in db.execute(old, (closed_before, PRUNED_AT_ONCE))]
            db.executemany("DELETE FROM history WHERE job_id = ?", jobs)
            db.executemany("UPDATE jobs SET result = NULL, sealed = NULL, pruned = 1 WHERE job_id = ?", jobs)
            # What was signed before the oldest open job was heard of cannot be about an open job.
            db.execute(
                "DELETE FROM outbox WHERE closed"
                " AND at < MIN(?, COALESCE((SELECT MIN(heard) FROM jobs WHERE step != 'closed'), ?))"
                " AND nonce < (SELECT MAX(nonce) FROM outbox AS other WHERE other.sender = outbox.sender)",
                (closed_before, closed_before),
            )
            return len(jobs)

    # ------------------------------------------------------------------------------------------ internals

    def _claim(self, identity: dict[str, str]) -> None:
        """Refuse a journal written for another chain, contract or account."""
        with self._transaction() as db:
            known = dict(db.execute("SELECT key, value FROM meta").fetchall())
            for key, value in identity.items():
                if known.setdefault(key, value) != value:
                    raise JournalError(
                        f"is for {key} {known[key]}, not {value}", field=str(self.path), remedy="use another file"
                    )
            db.executemany("INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)", identity.items())

    def _require_readable(self) -> None:
        """Refuse rows that make no sense now rather than in the middle of a job."""
        for step in self.counts():
            _parsed(lambda step=step: Step(step), self.path, f"step {step!r}")
        for row in self._db.rows("SELECT job_id, terms FROM jobs WHERE step != 'closed'"):
            _terms(row, self.path)

    def _transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._db.transaction()

    def _update(self, db: sqlite3.Connection, job: JobRow, moved: JobRow) -> None:
        """Write the fields in which ``moved`` differs, if the row still is what ``job`` says."""
        names = [field.name for field in fields(JobRow) if getattr(moved, field.name) != getattr(job, field.name)]
        values = {name: getattr(moved, name) for name in names}
        if "terms" in values:
            values["terms"] = json.dumps(moved.terms.to_json())
        values |= {"step": moved.step, "deadline": moved.terms.deliver_by, "placed": None}
        if moved.step == Step.CLOSED and moved.terms.is_open:
            values["ended"] = 0  # it never was ours, so the chain has nothing to confirm
        changes = ", ".join(f"{name} = ?" for name in values)
        written = db.execute(
            f"UPDATE jobs SET {changes} WHERE job_id = ? AND block_hash = ? AND step = ?",
            (*values.values(), job.job_id, job.block_hash, job.step),
        ).rowcount
        if not written:
            raise Forgotten(f"job {job.job_id} of block 0x{job.block_hash.hex()} is not at {job.step} any more")

    def _attempts(self, condition: str, *values: object) -> list[Attempt]:
        rows = self._db.rows(f"SELECT {', '.join(_ATTEMPT_FIELDS)} FROM outbox WHERE {condition}", values)
        return [Attempt(*row) for row in rows]


def job_row(row: sqlite3.Row, path: Path) -> JobRow:
    """A row of the table ``jobs``. Raises :class:`JournalError` if it makes no sense."""
    values = dict(row)
    step = _parsed(lambda: Step(values["step"]), path, f"the step of job {values['job_id']}")
    return JobRow(**{**values, "terms": _terms(row, path), "step": step})


def moments(rows: Iterable[sqlite3.Row]) -> list[Moment]:
    """What :data:`HISTORY_OF_JOB` answers."""
    return [Moment(row["at"], Step(row["step"]), row["note"]) for row in rows]


def _terms(row: sqlite3.Row, path: Path) -> Terms:
    return _parsed(lambda: Terms.from_json(json.loads(row["terms"])), path, f"the terms of job {row['job_id']}")


def _parsed(read: Any, path: Path, what: str) -> Any:
    try:
        return read()
    except (ValueError, TypeError, InputError):
        raise damaged(path, f"{what} cannot be read") from None


def _placed(job: Placement) -> dict[str, Any]:
    """The columns that say where the chain has a job."""
    closed = job.step == Step.CLOSED
    return {
        "terms": json.dumps(job.terms.to_json()),
        "step": job.step,
        "reason": job.reason,
        "digest": job.digest,
        "deadline": job.terms.deliver_by,
        "since": time.time(),
        "placed": job.placed,
        "ended": job.placed if closed else None,
        "pruned": closed,  # there is nothing to prune
    }


def _move(db: sqlite3.Connection, job: Placement) -> None:
    """Put a job where the chain has it, unless somebody began work on it or it is another by now."""
    values = {**_placed(job), "attempts": 0, "retry_at": 0}
    changes = ", ".join(f"{name} = ?" for name in values)
    moved = db.execute(
        f"UPDATE jobs SET {changes} WHERE job_id = ? AND block_hash = ? AND {_UNTOUCHED}",
        (*values.values(), job.job_id, job.block_hash),
    ).rowcount
    if moved:
        _note_placement(db, job)


def _note_placement(db: sqlite3.Connection, job: Placement) -> None:
    if job.step != Step.CLOSED:  # a line for each of a hundred thousand jobs long past would help nobody
        _note(db, job.job_id, job.step, "as on chain" if job.placed else "")
    if job.digest is not None:
        _want(db, job.job_id, [CID.from_digest(job.digest)])


def _wake(db: sqlite3.Connection, news: News) -> None:
    """Have a job looked at now, unless this very event did so before."""
    is_new = db.execute(
        "INSERT OR IGNORE INTO events (tx_hash, block_hash, log_index, block, job_id) VALUES (?, ?, ?, ?, ?)",
        (*news.key, news.block, news.job_id),
    ).rowcount
    if is_new:
        db.execute("UPDATE jobs SET retry_at = 0 WHERE job_id = ? AND step != 'closed'", (news.job_id,))
        if news.ended:
            # The first end counts: one that came after it may be undone without it.
            db.execute("UPDATE jobs SET ended = COALESCE(ended, ?) WHERE job_id = ?", (news.block, news.job_id))


def _note(db: sqlite3.Connection, job_id: int, step: Step, note: str) -> None:
    db.execute("INSERT INTO history (job_id, at, step, note) VALUES (?, ?, ?, ?)", (job_id, time.time(), step, note))


def _want(db: sqlite3.Connection, job_id: int, cids: Iterable[CID]) -> None:
    db.executemany("INSERT OR IGNORE INTO pins (cid, job_id) VALUES (?, ?)", [(str(cid), job_id) for cid in cids])


def _add_needs(db: sqlite3.Connection, found: Needs) -> None:
    """Also of a journal that an earlier Qscrow left, or that its process is only making."""
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "jobs" in tables:
        specs = db.execute("SELECT DISTINCT json_extract(terms, '$.spec') FROM jobs WHERE step != 'closed'")
        found.specs.update(CID.from_digest(bytes.fromhex(row[0].removeprefix("0x"))) for row in specs)
    if "pins" in tables:
        found.results.update(CID.parse(row[0]) for row in db.execute("SELECT DISTINCT cid FROM pins"))


def _at_any(steps: Collection[Step]) -> str:
    return f"step IN ({','.join('?' * len(steps))})"


HISTORY_OF_JOB = "SELECT at, step, note FROM history WHERE job_id = ? ORDER BY rowid"
JOB_BY_ID = f"SELECT {', '.join(field.name for field in fields(JobRow))} FROM jobs WHERE job_id = ?"
_ATTEMPT_FIELDS = tuple(field.name for field in fields(Attempt))
_JOB_COLUMNS = ", ".join(field.name for field in fields(JobRow))
_DUE_COLUMNS = ", ".join(field.name for field in fields(DueJob))
# By step, so that the index has the order; named, because the planner knows nothing of how many are closed.
_DUE_AT_STEP = f"""SELECT * FROM (SELECT {_DUE_COLUMNS} FROM jobs INDEXED BY jobs_due
    WHERE step = ? AND step != 'closed' AND NOT (retry_at > ? AND retry_at <= ?) ORDER BY deadline, job_id LIMIT ?)"""
_MOST_URGENT = " ORDER BY deadline, job_id LIMIT ?"
_UNCONFIRMED = """SELECT job_id FROM jobs INDEXED BY jobs_unconfirmed
    WHERE step = 'closed' AND ended IS NULL ORDER BY job_id"""
_TAKEN_SINCE = """SELECT COUNT(*) FROM jobs
    WHERE job_id IN (SELECT job_id FROM history WHERE step = 'checked' AND at >= :at)
    AND job_id != :job AND (:requester IS NULL OR requester = :requester)
    AND (:choice IS NULL OR json_extract(result, '$.routing.choice') = :choice)
    AND (step NOT IN ('declining', 'closed') OR EXISTS (
        SELECT 1 FROM history WHERE history.job_id = jobs.job_id AND history.step IN ('submitted', 'ran')))"""
_UNTOUCHED = "(step = 'seen' OR placed IS NOT NULL)"
_BLOCKS_UP_TO = "SELECT number, hash FROM blocks WHERE number <= ? ORDER BY number"
