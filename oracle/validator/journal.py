"""What a validator remembers: a node's journal, asked a few more things.

The steps mean: SEEN, the job is on the chain; DELIVERED, a result waits to be judged; RAN, it is judged; SEALED, the
report is sealed, pinned and attested; CLOSED, the chain has the verdict, or there is none to give.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle.jobs.canonical import parse_json
from oracle.jobs.errors import InputError
from oracle.node.journal import JOB_BY_ID, JobRow, Journal, Step, job_row
from oracle.node.status import opened

MAX_STORED_BYTES = 4 * 2**20
CONSIDERED_AT_ONCE = 5_000
"""Jobs, by deadline, among which the next ones to judge are chosen."""


class ValidatorJournal(Journal):
    """See :class:`~oracle.node.journal.Journal`; its ``oracle`` is the validator."""

    def to_judge(self, now: float, limit: int, exclude: Collection[int] = ()) -> list[int]:
        """Up to ``limit`` jobs to look at now, but none in ``exclude``: those never looked at by deadline, then those
        put off, the longest overdue first. However many wait for somebody, they keep no other from being judged."""
        due = self.due(now, CONSIDERED_AT_ONCE, exclude, (Step.DELIVERED, Step.RAN))
        return [job.job_id for job in sorted(due, key=lambda job: job.retry_at)[:limit]]

    def note_counts(self, job: JobRow, counts: str, block: int) -> None:
        """Put down the digest of the counts that were delivered for ``job`` in a block."""
        with self._transaction() as db:
            db.execute(_NOTE_COUNTS, (counts, block, job.job_id, job.block_hash))

    def counts_seen(self, counts: str, before_block: int) -> bool:
        """Whether counts of this digest, as far as they were put down, were delivered before a block."""
        return self._db.row(_COUNTS_SEEN, (counts, before_block)) is not None

    def unconfirmed(self) -> list[int]:
        """As for a node, with a verdict; silence leaves nothing on the chain that could be undone."""
        return [row[0] for row in self._db.rows(_UNCONFIRMED)]

    def siblings(self, job: JobRow) -> list[JobRow]:
        """The other jobs in which the same requester has others run the same spec."""
        spec = "0x" + job.terms.spec.hex()
        ids = [row[0] for row in self._db.rows(_SIBLINGS, (spec, job.terms.requester, job.job_id))]
        return [row for row in map(self.job, ids) if row is not None]


@dataclass(frozen=True)
class Judged:
    """A job as a validator left it: ``reason`` says how it ended, ``report`` is the verdict's document, if any."""

    job_id: int
    step: str
    reason: str
    report: dict[str, Any] | None


def read_endings(path: Path) -> dict[str, int]:
    """How many jobs were closed for which reason. Raises :class:`~oracle.jobs.errors.JournalError`."""
    with opened(path) as db:
        return dict(db.execute(_ENDINGS).fetchall())


def read_unsigned(path: Path) -> dict[int, str]:
    """Jobs that have a report which nobody but the validator has seen, with its verdict: flagged or inconclusive.

    Raises :class:`~oracle.jobs.errors.JournalError`.
    """
    with opened(path) as db:
        return dict(db.execute(_UNSIGNED).fetchall())


def read_judged(path: Path, job_id: int) -> Judged:
    """One job's verdict. Raises :class:`InputError` if the journal does not know the job."""
    with opened(path) as db:
        row = db.execute(JOB_BY_ID, (job_id,)).fetchone()
        if row is None:
            raise InputError(f"the journal {path.name} knows no job {job_id}", field="job")
        job = job_row(row, path)
    stored = parse_json(job.result.encode(), "result", MAX_STORED_BYTES) if job.result else {}
    return Judged(job.job_id, str(job.step), job.reason, stored.get("report"))


_NOTE_COUNTS = "UPDATE jobs SET counts = ?, counted = ? WHERE job_id = ? AND block_hash = ?"
_COUNTS_SEEN = "SELECT 1 FROM jobs WHERE counts = ? AND counted < ? LIMIT 1"
_UNCONFIRMED = """SELECT job_id FROM jobs INDEXED BY jobs_unconfirmed
    WHERE step = 'closed' AND ended IS NULL AND sealed IS NOT NULL ORDER BY job_id"""
_SIBLINGS = """SELECT job_id FROM jobs WHERE json_extract(terms, '$.spec') = ? AND requester = ? AND job_id != ?
    ORDER BY job_id"""
_UNSIGNED = """SELECT job_id, json_extract(result, '$.report.verdict') FROM jobs
    WHERE step = 'closed' AND result IS NOT NULL AND reason IN ('silent: flag', 'silent: inconclusive')
    ORDER BY job_id"""
_ENDINGS = "SELECT reason, COUNT(*) FROM jobs WHERE step = 'closed' GROUP BY reason ORDER BY reason"
