"""Which jobs are a validator's, and where the chain has them."""

from __future__ import annotations

from oracle.chain.client import Block
from oracle.chain.events import Event
from oracle.chain.history import JobHistory
from oracle.jobs.states import TERMINAL, State
from oracle.node.ingest import Ingest
from oracle.node.intake import Intake
from oracle.node.journal import News, Step


class ValidatorIntake(Intake):
    """Sorts events for one validator: jobs whose terms name it, waiting (SEEN) until they are delivered."""

    def _step(self, history: JobHistory) -> Step:
        if history.state in TERMINAL:
            return Step.CLOSED
        return Step.DELIVERED if history.state in (State.COMPLETED, State.DISPUTED) else Step.SEEN

    def _is_for_us(self, event: Event) -> bool:
        return event.args["terms"]["validator"] == self.oracle

    def _is_by_us(self, event: Event) -> bool:
        return False  # a verdict says nothing new about a job

    def _news(self, event: Event) -> News:
        return News(event.key, event.block, event.job_id, event.args.get("state") in TERMINAL)


class ValidatorIngest(Ingest):
    """Reads the chain for a validator."""

    def _reopen_undone(self, head: Block, read: int) -> None:
        """Send verdicts again that a reorganisation undid; time is short, so without waiting for what is final."""
        escrow = self._chain.escrow
        for job_id in self._to_examine(head, head.number):
            if escrow.state_of(job_id) != State.COMPLETED or escrow.deadline_of(job_id) < head.timestamp:
                continue
            if not escrow.delivery_of(job_id)[1]:
                self._journal.reopen(job_id, "the chain has no verdict")
