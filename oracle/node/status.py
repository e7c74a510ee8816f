"""What a journal says to people and metrics, also while its node runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from oracle.jobs.errors import InputError, JournalError
from oracle.node.database import reading, version_of
from oracle.node.journal import HISTORY_OF_JOB, JOB_BY_ID, Moment, moments
from oracle.node.schema import SCHEMA_VERSION

OPEN_JOBS_SHOWN = 20


@dataclass(frozen=True)
class OpenJob:
    """A job that is worked on. Times are Unix seconds.

    ``since`` is when it reached ``step``, which failed ``attempts`` times and is not tried again before ``retry_at``;
    ``note`` is the last line of its history.
    """

    job_id: int
    step: str
    heard: float
    since: float
    deadline: int
    attempts: int
    retry_at: float
    note: str


@dataclass(frozen=True)
class JournalStatus:
    """A journal at one moment.

    ``jobs`` counts them by step; ``open`` are those not closed that were heard of first. ``open_nonces`` counts
    transactions that are not final, ``open_attempts`` all that were signed for them. ``size`` is in bytes.
    """

    schema: int
    chain_id: int
    escrow: str
    oracle: str
    jobs: dict[str, int]
    open: tuple[OpenJob, ...]
    last_block: int | None
    final_block: int | None
    open_nonces: int
    open_attempts: int
    size: int


def read_counts(path: Path) -> dict[str, int]:
    """Number of jobs in each step. Raises :class:`JournalError`."""
    with opened(path) as db:
        return _counts(db)


def read_status(path: Path) -> JournalStatus:
    """The journal at ``path`` as it is now. Raises :class:`JournalError`."""
    with opened(path) as db:
        db.execute("BEGIN")  # one state, whatever the node writes meanwhile
        meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
        open_nonces, open_attempts = db.execute(_OPEN_TRANSACTIONS).fetchone()
        return JournalStatus(
            schema=int(meta["schema"]),
            chain_id=int(meta["chain_id"]),
            escrow=meta["escrow"],
            oracle=meta["oracle"],
            jobs=_counts(db),
            open=tuple(OpenJob(*row) for row in db.execute(_OPEN_JOBS, (OPEN_JOBS_SHOWN,))),
            last_block=db.execute("SELECT MAX(number) FROM blocks").fetchone()[0],
            final_block=int(meta["final_block"].partition(":")[0]) if "final_block" in meta else None,
            open_nonces=open_nonces,
            open_attempts=open_attempts,
            size=path.stat().st_size,
        )


def read_history(path: Path, job_id: int) -> list[Moment]:
    """What happened to one job, oldest first. Raises :class:`InputError` if the journal does not know it."""
    with opened(path) as db:
        if db.execute(JOB_BY_ID, (job_id,)).fetchone() is None:
            raise InputError(f"the journal {path.name} knows no job {job_id}", field="job")
        return moments(db.execute(HISTORY_OF_JOB, (job_id,)))


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A journal of this schema, for reading beside its node. Raises :class:`JournalError`."""
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


_OPEN_TRANSACTIONS = "SELECT COUNT(DISTINCT nonce), COUNT(*) FROM outbox WHERE NOT closed"
_OPEN_JOBS = """SELECT job_id, step, heard, since, deadline, attempts, retry_at,
    COALESCE((SELECT note FROM history WHERE history.job_id = jobs.job_id ORDER BY rowid DESC LIMIT 1), '')
    FROM jobs WHERE step != 'closed' ORDER BY heard, job_id LIMIT ?"""
