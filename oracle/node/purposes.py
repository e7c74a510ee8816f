"""What a transaction is for, as the outbox names it: an action and the jobs it is done to.

``7:3f6c09d2a1b4e8f0:deliver`` delivers job 7; several jobs are joined with ``+``. The terms' hash tells apart two jobs
that a reorganisation gave the same number.
"""

from __future__ import annotations

from collections.abc import Iterable

from oracle.node.journal import JobRow

_HASH_DIGITS = 16


def purpose_of(action: str, jobs: Iterable[JobRow]) -> str:
    """The name under which ``action`` is done to ``jobs``."""
    return "+".join(map(_reference, jobs)) + ":" + action


def job_ids(purpose: str) -> list[int]:
    """The jobs ``purpose`` is about; none if it is not about jobs."""
    references = purpose.rpartition(":")[0].split("+")
    numbers = [reference.partition(":")[0] for reference in references]
    return [int(number) for number in numbers if number.isdecimal()]


def is_about(purpose: str, job: JobRow) -> bool:
    """Whether ``purpose`` means this job, and not another that had its number."""
    return _reference(job) in purpose.rpartition(":")[0].split("+")


def action_of(purpose: str) -> str:
    """The action, for example ``deliver``."""
    return purpose.rpartition(":")[2]


def _reference(job: JobRow) -> str:
    return f"{job.job_id}:{job.terms.hash().hex()[:_HASH_DIGITS]}"
