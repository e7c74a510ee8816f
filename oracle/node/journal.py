"""The node's memory: one SQLite file, one row per job, an outbox for every transaction.

Whatever leaves the node is written here first: counts before they are pinned, the sealed result before it is
delivered, a signed transaction before it is broadcast. A node that dies anywhere goes on from its last row.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from oracle.chain.attempts import Attempt
from oracle.jobs.errors import JournalError
from oracle.jobs.terms import Terms

SCHEMA_VERSION = 2
_ATTEMPT_FIELDS = tuple(field.name for field in fields(Attempt))


class Step(StrEnum):
    """How far a job has come. Each is reached by one write; the work between two can be done again."""

    SEEN = "seen"  # its creation is on the chain, deep enough
    CHECKED = "checked"  # spec and circuit are here and the policy takes it
    ACCEPTED = "accepted"  # the chain has our acceptance
    RAN = "ran"  # counts are in the journal
    SEALED = "sealed"  # the sealed result is in the journal and pinned
    DELIVERED = "delivered"  # the chain has our delivery; a challenge period may be running
    DECLINING = "declining"  # to be rejected or failed on chain with `reason`
    CLOSED = "closed"  # nothing left to do


ACTIVE = tuple(step for step in Step if step != Step.CLOSED)


@dataclass(frozen=True)
class JobRow:
    """A job as the journal knows it. ``retry_at`` is Unix time; ``result`` is JSON, ``sealed`` a document."""

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


class Forgotten(JournalError):
    """The job's row is gone, or another job's by now: a reorganisation took it away while it was worked on."""


class Journal:
    """Exclusive: a second node opening the same file is refused; readers (:func:`read_counts`) are not. Thread-safe."""

    def __init__(self, path: Path, *, chain_id: int, escrow: str, oracle: str):
        self.path = path
        self._lock = threading.RLock()
        self._guard = _claim_file(path)
        try:
            self._db = _open(path)
        except BaseException:
            self._guard.close()
            raise
        self._claim({"chain_id": str(chain_id), "escrow": escrow, "oracle": oracle})

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()
            self._guard.close()

    # ------------------------------------------------------------------------------------------ jobs

    def add_job(self, job_id: int, terms: Terms, block: int, block_hash: bytes) -> bool:
        """Remember a job just heard of; ``False`` if it is known already."""
        with self._transaction() as db:
            added = db.execute(
                "INSERT OR IGNORE INTO jobs (job_id, terms, block, block_hash, step) VALUES (?, ?, ?, ?, ?)",
                (job_id, json.dumps(terms.to_json()), block, block_hash, Step.SEEN),
            ).rowcount
            if added:
                self._note(db, job_id, Step.SEEN, "")
            return bool(added)

    def job(self, job_id: int) -> JobRow | None:
        """The row of one job."""
        with self._lock:
            row = self._db.execute("SELECT * FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
        return None if row is None else _job_row(row)

    def jobs(self, steps: tuple[Step, ...] = tuple(Step)) -> list[JobRow]:
        """Rows in any of ``steps``, oldest first."""
        marks = ",".join("?" * len(steps))
        with self._lock:
            rows = self._db.execute(f"SELECT * FROM jobs WHERE step IN ({marks}) ORDER BY job_id", steps).fetchall()
        return [_job_row(row) for row in rows]

    def advance(self, job: JobRow, step: Step, *, note: str = "", **changes: Any) -> JobRow:
        """Write that ``job`` reached ``step``, with ``changes`` to other fields, in one transaction."""
        moved = replace(job, step=step, attempts=0, retry_at=0.0, **changes)
        with self._transaction() as db:
            self._write(db, moved)
            self._note(db, job.job_id, step, note)
        return moved

    def postpone(self, job: JobRow, why: str, retry_at: float) -> JobRow:
        """Write that the job's current step failed for now and when to try it again."""
        later = replace(job, attempts=job.attempts + 1, retry_at=retry_at)
        with self._transaction() as db:
            self._write(db, later)
            self._note(db, job.job_id, job.step, why)
        return later

    def history(self, job_id: int) -> list[tuple[float, Step, str]]:
        """What happened to a job here: (Unix time, step, note), oldest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT at, step, note FROM history WHERE job_id = ? ORDER BY rowid", (job_id,)
            ).fetchall()
        return [(row["at"], Step(row["step"]), row["note"]) for row in rows]

    def counts(self) -> dict[str, int]:
        """Number of jobs in each step."""
        with self._lock:
            rows = self._db.execute("SELECT step, COUNT(*) AS n FROM jobs GROUP BY step").fetchall()
        return {row["step"]: row["n"] for row in rows}

    # ----------------------------------------------------------------------------------------- blocks

    def last_block(self) -> tuple[int, bytes] | None:
        """Number and hash of the last block whose events are in the journal."""
        with self._lock:
            row = self._db.execute("SELECT number, hash FROM blocks ORDER BY number DESC LIMIT 1").fetchone()
        return None if row is None else (row["number"], row["hash"])

    def blocks_backwards(self) -> list[tuple[int, bytes]]:
        """Remembered blocks, newest first: the places to look for a common ancestor."""
        with self._lock:
            rows = self._db.execute("SELECT number, hash FROM blocks ORDER BY number DESC").fetchall()
        return [(row["number"], row["hash"]) for row in rows]

    def remember_block(self, number: int, block_hash: bytes) -> None:
        """Write a block as a place to go back to; says nothing about what was in it."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO blocks (number, hash) VALUES (?, ?)", (number, block_hash))

    def final_block(self) -> tuple[int, bytes] | None:
        """Number and hash of the newest block that the chain called final."""
        with self._lock:
            row = self._db.execute("SELECT value FROM meta WHERE key = 'final_block'").fetchone()
        if row is None:
            return None
        number, _, block_hash = row["value"].partition(":")
        return int(number), bytes.fromhex(block_hash)

    def ingested(
        self,
        number: int,
        block_hash: bytes,
        jobs: list[tuple[int, Terms, int, bytes]],
        *,
        final: tuple[int, bytes] | None = None,
    ) -> int:
        """Write the jobs created up to block ``number`` together with the block; returns how many were new.

        ``final`` is the newest block the chain calls final, if that is news.
        """
        with self._transaction() as db:
            if final is not None:
                value = f"{final[0]}:{final[1].hex()}"
                db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('final_block', ?)", (value,))
            added = sum(self.add_job(*job) for job in jobs)
            self.remember_block(number, block_hash)
            db.execute("DELETE FROM blocks WHERE number <= ?", (number - 5_000,))
            return added

    def rewind(self, ancestor: int) -> int:
        """Forget what came after block ``ancestor``; returns how many jobs went with it."""
        with self._transaction() as db:
            db.execute("DELETE FROM blocks WHERE number > ?", (ancestor,))
            db.execute("DELETE FROM history WHERE job_id IN (SELECT job_id FROM jobs WHERE block > ?)", (ancestor,))
            return db.execute("DELETE FROM jobs WHERE block > ?", (ancestor,)).rowcount

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
        """One more than the highest nonce signed for."""
        with self._lock:
            row = self._db.execute("SELECT MAX(nonce) AS top FROM outbox WHERE sender = ?", (sender,)).fetchone()
        return 0 if row["top"] is None else row["top"] + 1

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

    def _attempts(self, condition: str, *values: object) -> list[Attempt]:
        with self._lock:
            rows = self._db.execute(f"SELECT {', '.join(_ATTEMPT_FIELDS)} FROM outbox WHERE {condition}", values)
            return [Attempt(*row) for row in rows]

    # --------------------------------------------------------------------------------------- internals

    def _claim(self, identity: dict[str, str]) -> None:
        """Refuse a journal written for another chain, contract, account or schema."""
        wanted = {**identity, "schema": str(SCHEMA_VERSION)}
        with self._transaction() as db:
            known = {row["key"]: row["value"] for row in db.execute("SELECT key, value FROM meta")}
            if not known:
                db.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", wanted.items())
                return
        for key, value in wanted.items():
            if known.get(key) != value:
                self.close()
                raise JournalError(
                    f"is for {key} {known.get(key)}, not {value}", field=str(self.path), remedy="use another file"
                )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._db.in_transaction:  # part of a larger one
                yield self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _write(self, db: sqlite3.Connection, job: JobRow) -> None:
        written = db.execute(
            "UPDATE jobs SET terms = ?, step = ?, reason = ?, attempts = ?, retry_at = ?, result = ?, sealed = ?"
            " WHERE job_id = ? AND block_hash = ?",
            (
                json.dumps(job.terms.to_json()),
                job.step,
                job.reason,
                job.attempts,
                job.retry_at,
                job.result,
                job.sealed,
                job.job_id,
                job.block_hash,
            ),
        ).rowcount
        if not written:
            raise Forgotten(f"job {job.job_id} of block 0x{job.block_hash.hex()} is not in the journal any more")

    def _note(self, db: sqlite3.Connection, job_id: int, step: Step, note: str) -> None:
        db.execute(
            "INSERT INTO history (job_id, at, step, note) VALUES (?, ?, ?, ?)", (job_id, time.time(), step, note)
        )


def read_counts(path: Path) -> dict[str, int]:
    """Number of jobs in each step, also while a node runs. Raises :class:`JournalError`."""
    if not path.exists():
        raise JournalError(
            "there is no journal", field=str(path), remedy="start the node once with `qscrow oracle run`"
        )
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return dict(db.execute("SELECT step, COUNT(*) FROM jobs GROUP BY step").fetchall())
    except sqlite3.Error as err:
        raise JournalError(f"cannot be read ({err})", field=str(path)) from None


def _claim_file(path: Path) -> IO[str]:
    """Hold the journal's lock file; the system lets go of it when the process dies, however it dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    guard = path.with_suffix(".lock").open("w")
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        guard.close()
        raise JournalError(
            "another node is using it", field=str(path), remedy="stop that node; one journal serves one node"
        ) from None
    return guard


def _open(path: Path) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(path, timeout=5, check_same_thread=False, isolation_level=None)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN EXCLUSIVE")
        for statement in _SCHEMA:
            db.execute(statement)
        db.execute("COMMIT")
    except sqlite3.OperationalError as err:
        raise JournalError(f"cannot be opened ({err})", field=str(path)) from None
    except sqlite3.DatabaseError as err:
        raise JournalError(
            f"is damaged ({err})", field=str(path), remedy="restore it from a backup; do not start without it"
        ) from None
    return db


def _job_row(row: sqlite3.Row) -> JobRow:
    values = dict(row)
    values["terms"] = Terms.from_json(json.loads(values["terms"]))
    values["step"] = Step(values["step"])
    return JobRow(**values)


_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS blocks (number INTEGER PRIMARY KEY, hash BLOB NOT NULL)",
    """CREATE TABLE IF NOT EXISTS jobs (
        job_id INTEGER PRIMARY KEY,
        terms TEXT NOT NULL,
        block INTEGER NOT NULL,
        block_hash BLOB NOT NULL,
        step TEXT NOT NULL,
        reason TEXT NOT NULL DEFAULT '',
        attempts INTEGER NOT NULL DEFAULT 0,
        retry_at REAL NOT NULL DEFAULT 0,
        result TEXT,
        sealed BLOB
    )""",
    "CREATE INDEX IF NOT EXISTS jobs_by_step ON jobs (step)",
    """CREATE TABLE IF NOT EXISTS history (
        job_id INTEGER NOT NULL, at REAL NOT NULL, step TEXT NOT NULL, note TEXT NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS history_by_job ON history (job_id)",
    """CREATE TABLE IF NOT EXISTS outbox (
        tx_hash BLOB PRIMARY KEY,
        purpose TEXT NOT NULL,
        sender TEXT NOT NULL,
        nonce INTEGER NOT NULL,
        raw BLOB NOT NULL,
        max_fee INTEGER NOT NULL,
        max_tip INTEGER NOT NULL,
        block INTEGER NOT NULL,
        closed INTEGER NOT NULL DEFAULT 0,
        at REAL NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS outbox_by_purpose ON outbox (purpose)",
)
