"""Handing in verdicts: one transaction for all that are ready, as the oracle delivers its results."""

from __future__ import annotations

from oracle.chain.contracts import Call
from oracle.chain.sender import Receipt
from oracle.node.deliveries import Deliveries, jobs_of
from oracle.node.journal import JobRow, Step
from oracle.validator.examination import attestation_of, is_accepted


class Verdicts(Deliveries):
    """Takes jobs from SEALED to CLOSED, with the verdict as the reason."""

    action = "validate"

    def _call(self, batch: list[JobRow]) -> Call:
        items = [(job.job_id, job.terms, attestation_of(job)) for job in batch]
        escrow = self._t.chain.escrow
        return escrow.validate(*items[0]) if len(items) == 1 else escrow.validate_batch(items)

    def _included(self, receipt: Receipt) -> set[int]:
        return jobs_of(receipt, "JobValidated")

    def _advance(self, job: JobRow) -> None:
        reason = "accepted" if is_accepted(job) else "rejected"
        self._t.journal.advance(job, Step.CLOSED, reason=reason)
        self._pipeline.report(job.job_id, Step.CLOSED, reason)
