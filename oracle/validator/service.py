"""The loop of a validator: hear of deliveries, judge several at a time, hand the verdicts in."""

from __future__ import annotations

import math
import time

from oracle.node.journal import Step
from oracle.node.loop import Loop
from oracle.node.pipeline import Tools
from oracle.node.watch import Watch
from oracle.validator.examination import Examination
from oracle.validator.intake import ValidatorIngest, ValidatorIntake
from oracle.validator.journal import ValidatorJournal
from oracle.validator.verdicts import Verdicts


class Validator(Loop):
    """Create it with open tools, then :meth:`run` it or drive it with :meth:`tick`."""

    def __init__(self, tools: Tools, journal: ValidatorJournal, watch: Watch | None = None):
        super().__init__(tools, watch, "verdict")
        config, address = tools.config, tools.sender.address
        escrow = tools.chain.deployment.job_escrow
        self._ingest = ValidatorIngest(
            tools.chain,
            journal,
            address,
            config,
            progress=lambda *_: self.watch.health.alive(),
            intake=ValidatorIntake(journal, escrow, address, take_open_jobs=False),
        )
        self._examination = Examination(tools, journal, self.watch.step, self.watch.metrics.step_took)
        self._verdicts = Verdicts(tools, self._examination)

    @property
    def journal(self) -> ValidatorJournal:
        """What the validator remembers."""
        return self._t.journal

    def tick(self) -> int:
        """Look at the chain, and start judging whatever waits for it; returns how many jobs are in flight."""
        began = time.monotonic()
        self._collect()
        self._ingest.run_once()
        self.watch.tended(self._t.sender.tend())
        self._start_jobs()
        self._verdicts.run_once(idle=not self._in_flight)
        return self._looked(began, self._ingest)

    def is_idle(self) -> bool:
        """Whether there is nothing to do now: no verdict is being made or on its way."""
        due = self._t.journal.to_judge(time.time(), 1)
        return not self._in_flight and not due and not self._t.journal.due(math.inf, 1, (), (Step.SEALED,))

    def run_once(self) -> None:
        """Judge what waits now and see the verdicts mined; what has to wait for something else is left waiting.

        Raises :class:`~oracle.jobs.errors.ChainError`.
        """
        while not self._stopping:
            if not self.tick() and self.is_idle():
                return
            self._pause(min(self._config.poll_seconds, 1.0))

    def _start_jobs(self) -> None:
        room = self._config.max_jobs_at_once - len(self._in_flight)
        for job_id in self._t.journal.to_judge(time.time(), max(room, 0), self._in_flight.keys()):
            row = self._t.journal.job(job_id)
            if row is not None:
                self._begin(row, self._examination.advance)
        self.watch.metrics.at_work(len(self._in_flight))
