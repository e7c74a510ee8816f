"""What a journal says to people and metrics, also while its node runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from oracle.jobs.errors import InputError, JournalError
from oracle.node.database import reading, version_of
from oracle.node.journal import HISTORY_OF_JOB, JOB_BY_ID, JobRow, Moment, Step, job_row, moments
from oracle.node.schema import SCHEMA_VERSION

FAILURES_SHOWN = 5


@dataclass(frozen=True)
class OpenJob:
    """A job that is worked on. Times are Unix seconds; ``since`` is when it reached ``step``."""

    job_id: int
    step: str
    heard: float
    since: float
    deadline: int
    attempts: int


@dataclass(frozen=True)
class Failure:
    """A step that failed ``attempts`` times in a row and will be tried again; ``at`` is Unix time."""

    job_id: int
    step: str
    attempts: int
    at: float
    note: str


@dataclass(frozen=True)
class JournalStatus:
    """A journal at one moment.

    ``jobs`` counts them by step; ``oldest`` is the open one heard of first; ``next_retry`` is when the next failed
    step is tried again (Unix seconds); ``failures`` are the newest. ``open_nonces`` counts transactions that are not
    final, ``open_attempts`` all that were signed for them. ``pins`` counts content wanted; ``size`` is in bytes.
    """

    schema: int
    chain_id: int
    escrow: str
    oracle: str
    jobs: dict[str, int]
    oldest: OpenJob | None
    next_retry: float | None
    failures: tuple[Failure, ...]
    last_block: int | None
    final_block: int | None
    open_nonces: int
    open_attempts: int
    pins: int
    size: int


@dataclass(frozen=True)
class JobRecord:
    """One job and its history, oldest first."""

    row: JobRow
    history: list[Moment]

    @property
    def seconds(self) -> dict[Step, float]:
        """Time spent at each step that is over."""
        spent: dict[Step, float] = {}
        for now, then in zip(self.history, self.history[1:], strict=False):
            spent[now.step] = spent.get(now.step, 0.0) + then.at - now.at
        return spent


def read_counts(path: Path) -> dict[str, int]:
    """Number of jobs in each step. Raises :class:`JournalError`."""
    with _open(path) as db:
        return _counts(db)


def read_status(path: Path) -> JournalStatus:
    """The journal at ``path`` as it is now. Raises :class:`JournalError`."""
    with _open(path) as db:
        db.execute("BEGIN")  # one state, whatever the node writes meanwhile
        meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
        oldest = db.execute(_OLDEST).fetchone()
        open_nonces, open_attempts = db.execute(_OPEN).fetchone()
        return JournalStatus(
            schema=int(meta["schema"]),
            chain_id=int(meta["chain_id"]),
            escrow=meta["escrow"],
            oracle=meta["oracle"],
            jobs=_counts(db),
            oldest=None if oldest is None else OpenJob(*oldest),
            next_retry=db.execute(_NEXT_RETRY).fetchone()[0],
            failures=tuple(Failure(*row) for row in db.execute(_FAILURES, (FAILURES_SHOWN,))),
            last_block=db.execute("SELECT MAX(number) FROM blocks").fetchone()[0],
            final_block=int(meta["final_block"].partition(":")[0]) if "final_block" in meta else None,
            open_nonces=open_nonces,
            open_attempts=open_attempts,
            pins=db.execute("SELECT COUNT(*) FROM pins").fetchone()[0],
            size=path.stat().st_size,
        )


def read_job(path: Path, job_id: int) -> JobRecord:
    """One job with its history. Raises :class:`InputError` if the journal does not know it, :class:`JournalError`."""
    with _open(path) as db:
        row = db.execute(JOB_BY_ID, (job_id,)).fetchone()
        if row is None:
            raise InputError(f"the journal {path.name} knows no job {job_id}", field="job")
        return JobRecord(job_row(row, path), moments(db.execute(HISTORY_OF_JOB, (job_id,))))


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    version = version_of(path)
    if 0 < version < SCHEMA_VERSION:
        raise JournalError(
            f"is of schema {version}, this Qscrow reads {SCHEMA_VERSION}",
            field=str(path),
            remedy="start the node once to bring it up to date",
        )
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"is of schema {version}, this Qscrow reads {SCHEMA_VERSION}", field=str(path), remedy="update Qscrow"
        )
    with reading(path) as db:
        if not version:
            raise JournalError("holds nothing yet", field=str(path), remedy="wait until its node has started")
        yield db


def _counts(db: sqlite3.Connection) -> dict[str, int]:
    return dict(db.execute("SELECT step, COUNT(*) FROM jobs GROUP BY step").fetchall())


_OLDEST = """SELECT job_id, step, heard, since, deadline, attempts FROM jobs WHERE step != 'closed'
    ORDER BY heard, job_id LIMIT 1"""
_NEXT_RETRY = "SELECT MIN(retry_at) FROM jobs WHERE step != 'closed' AND attempts > 0"
_OPEN = "SELECT COUNT(DISTINCT nonce), COUNT(*) FROM outbox WHERE NOT closed"
_FAILURES = """SELECT job_id, jobs.step, attempts, at, note FROM jobs JOIN history USING (job_id)
    WHERE jobs.step != 'closed' AND attempts > 0
    AND history.rowid = (SELECT MAX(rowid) FROM history AS newest WHERE newest.job_id = jobs.job_id)
    ORDER BY at DESC LIMIT ?"""
