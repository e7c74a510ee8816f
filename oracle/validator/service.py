"""The loop of a validator: hear of deliveries, judge several at a time, hand the verdicts in."""

from __future__ import annotations

import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import suppress

from oracle.node.database import JournalUnavailable
from oracle.node.journal import Forgotten, JobRow, Step
from oracle.node.loop import Loop
from oracle.node.pipeline import Tools
from oracle.node.service import INTERNAL_ERROR_PAUSE_SECONDS
from oracle.node.watch import Watch
from oracle.validator.examination import Examination
from oracle.validator.intake import ValidatorIngest, ValidatorIntake
from oracle.validator.journal import ValidatorJournal
from oracle.validator.verdicts import Verdicts


class Validator(Loop):
    """Create it with open tools, then :meth:`run` it or drive it with :meth:`tick`."""

    def __init__(self, tools: Tools, journal: ValidatorJournal, watch: Watch | None = None):
        config, address = tools.config, tools.sender.address
        super().__init__(config, watch or Watch(config))
        self._t = tools
        escrow = tools.chain.deployment.job_escrow
        self._ingest = ValidatorIngest(
            tools.chain,
            journal,
            address,
            config,
            progress=lambda *_: self._watch.health.alive(),
            intake=ValidatorIntake(journal, escrow, address, take_open_jobs=False),
        )
        self._examination = Examination(tools, journal, self._watch.step, self._watch.metrics.step_took)
        self._verdicts = Verdicts(tools, self._examination)
        self._workers = ThreadPoolExecutor(config.max_jobs_at_once, thread_name_prefix="verdict")
        self._in_flight: dict[int, Future[JobRow]] = {}

    @property
    def journal(self) -> ValidatorJournal:
        """What the validator remembers."""
        return self._t.journal

    def tick(self) -> int:
        """Look at the chain, and start judging whatever waits for it; returns how many jobs are in flight."""
        began = time.monotonic()
        self._collect()
        self._ingest.run_once()
        self._watch.tended(self._t.sender.tend())
        self._start_jobs()
        self._verdicts.run_once(idle=not self._in_flight)
        self._watch.look_at_funds(self._t.chain, self._t.sender.address)
        ingest = self._ingest
        self._watch.looked(time.monotonic() - began, head=ingest.head, target=ingest.target, last=ingest.last)
        return len(self._in_flight)

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

    def drain(self, seconds: float | None = None) -> None:
        """Wait up to ``seconds`` for the steps under way, then end their runs, and release the threads."""
        if wait_for(list(self._in_flight.values()), seconds).not_done:
            self._t.backend.close()
        wait_for(list(self._in_flight.values()))
        self._collect()
        self._workers.shutdown()

    def _start_jobs(self) -> None:
        room = self._config.max_jobs_at_once - len(self._in_flight)
        for job_id in self._t.journal.to_judge(time.time(), max(room, 0), self._in_flight.keys()):
            row = self._t.journal.job(job_id)
            if row is not None:
                self._in_flight[job_id] = self._workers.submit(self._examination.advance, row)
        self._watch.metrics.at_work(len(self._in_flight))

    def _collect(self) -> None:
        for job_id, future in list(self._in_flight.items()):
            if not future.done():
                continue
            del self._in_flight[job_id]
            error = future.exception()
            if isinstance(error, JournalUnavailable):  # the row is as it was
                self._watch.journal_failed(error)
            elif isinstance(error, Exception):
                self._excuse(job_id, error)
            elif error is not None:  # not a failure of the job but an order to stop
                raise error

    def _excuse(self, job_id: int, error: Exception) -> None:
        """An error nobody expected: say so, keep the job, and try it again later."""
        self._watch.internal_error(job_id, error)
        job = self._t.journal.job(job_id)
        if job is not None:
            with suppress(Forgotten):
                text = f"internal error {type(error).__name__}: {error}"
                self._t.journal.postpone(job, text, time.time() + INTERNAL_ERROR_PAUSE_SECONDS)
