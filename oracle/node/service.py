"""The loop of a node: hear, decide what to start, advance, wait. Stops when told, finishing the steps it is in."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

from oracle.node.deliveries import Deliveries
from oracle.node.ingest import Ingest
from oracle.node.journal import ACTIVE, DueJob, Forgotten, JobRow, Journal, Step, is_due
from oracle.node.logs import event
from oracle.node.loop import NOTICE_SECONDS, Loop
from oracle.node.pipeline import Pipeline, Tools
from oracle.node.purposes import action_of, job_ids
from oracle.node.scheduling import Job, Scheduler, SchedulingLimits
from oracle.node.watch import Watch

TIDY_SECONDS = 60.0
"""Pause between two looks for questions, and runs at a provider, that nobody needs any more."""
CONSIDERED_AT_ONCE = 5_000
"""Jobs, by deadline, among which the next ones to start are chosen."""
_WAITING_STEPS = tuple(step for step in ACTIVE if step not in (Step.SEALED, Step.ACCEPTED))


class Node(Loop):
    """An oracle node. Create it with open tools, then :meth:`run` it or drive it with :meth:`tick`."""

    def __init__(self, tools: Tools, watch: Watch | None = None):
        super().__init__(tools, watch, "job")
        config = tools.config
        self._ingest = Ingest(
            tools.chain, tools.journal, tools.sender.address, config, progress=lambda *_: self.watch.health.alive()
        )
        self._pipeline = Pipeline(tools, self.watch.step, self.watch.metrics.step_took)
        self._deliveries = Deliveries(tools, self._pipeline)
        self._scheduler = Scheduler(
            SchedulingLimits(
                in_flight=config.max_jobs_at_once,
                per_requester=config.per_requester_limit,
                queue=config.queue_limit,
                memory_bytes=config.memory_bytes,
                margin_seconds=config.margin_seconds,
            )
        )
        self._wake = threading.Event()
        self._started: dict[int, Job] = {}  # those in flight, as they were then
        self._tidier = ThreadPoolExecutor(1, thread_name_prefix="tidy")
        self._tidying: Future[None] | None = None
        self._tidy_at = 0.0
        # Jobs that cannot go on before the chain does, and those of them whose acceptance is on its way.
        self._standing: set[int] = set()
        self._accepting = {
            job_id
            for attempt in tools.journal.open_attempts(tools.sender.address)
            if action_of(attempt.purpose) == "accept"
            for job_id in job_ids(attempt.purpose)
        }

    @property
    def journal(self) -> Journal:
        """What the node remembers."""
        return self._t.journal

    def tick(self) -> int:
        """Look at the chain, and start work on every job that may go on; returns how many jobs are in flight."""
        began = time.monotonic()
        self._collect()
        self._ingest.run_once()
        self.watch.tended(self._t.sender.tend())
        self._deliveries.run_once(idle=not self._in_flight)
        self._standing.clear()
        self._start_jobs()
        self._tidy()
        return self._looked(began, self._ingest)

    def drain(self, seconds: float | None = None, others: Collection[Future[Any]] = ()) -> None:
        """See :meth:`~oracle.node.loop.Loop.drain`."""
        super().drain(seconds, [*others, *([] if self._tidying is None else [self._tidying])])
        self._tidier.shutdown()

    # -------------------------------------------------------------------------------------------- jobs

    def work_for(self, seconds: float) -> None:
        """Until the next look at the chain, go on with jobs as soon as there is room for them."""
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            if self._wake.wait(min(left, NOTICE_SECONDS)):
                self._wake.clear()
                self._collect()
                self._start_jobs()

    def _start_jobs(self) -> None:
        workers = self._t.backend.backlog().workers
        jobs: list[Job] = []
        for job in self._candidates(time.time()):
            waits = job.job_id in self._standing
            if job.step == Step.CHECKED and job.job_id in self._accepting:
                # Whether its acceptance was mined is quickly seen. Until it is, the job counts as accepted.
                if not waits and len(self._in_flight) < self._t.config.max_jobs_at_once:
                    self._start(job)
                else:
                    jobs.append(replace(job, step=Step.ACCEPTED, retry_at=math.inf))
            elif not waits:
                jobs.append(job)
            elif job.step == Step.ACCEPTED:
                jobs.append(replace(job, retry_at=math.inf))
        now = self._ingest.time  # deadlines are the chain's
        choice = self._scheduler.choose(jobs, self._started, now, workers=workers)
        for job_id in choice.hopeless():
            self._give_up(job_id)
        known = {job.job_id: job for job in jobs}
        for job_id in choice.start:
            self._start(known[job_id])
        self.watch.metrics.waiting(choice.reasons())
        self.watch.metrics.at_work(len(self._in_flight))

    def _tidy(self) -> None:
        """Away from the loop, for it asks the provider."""
        if time.monotonic() < self._tidy_at:
            return
        if self._tidying is not None:
            if not self._tidying.done():
                return
            if (error := self._tidying.exception()) is not None:
                event("internal error", "error", exception=error)
        self._tidy_at = time.monotonic() + TIDY_SECONDS
        self._tidying = self._tidier.submit(self._pipeline.tidy)

    def _candidates(self, now: float) -> list[Job]:
        """Jobs to choose from: what is due, and all that was accepted."""
        journal, away = self._t.journal, self._in_flight.keys()
        rows = journal.due(now, CONSIDERED_AT_ONCE, away, _WAITING_STEPS)
        rows += journal.due(math.inf, CONSIDERED_AT_ONCE, away, (Step.ACCEPTED,))
        return [_as_job(row, now) for row in rows]

    def _start(self, job: Job) -> None:
        row = self._t.journal.job(job.job_id)
        if row is None or row.step != job.step:  # a reorganisation was faster
            return
        self._started[job.job_id] = job
        future = self._begin(row, self._pipeline.advance)
        future.add_done_callback(lambda _: self._wake.set())

    def _give_up(self, job_id: int) -> None:
        row = self._t.journal.job(job_id)
        if row is not None:
            with suppress(Forgotten):
                self._t.journal.advance(row, Step.DECLINING, note="cannot be done in time", reason="too_little_time")
                self.watch.step(job_id, Step.DECLINING, "too_little_time")

    def _returned(self, job_id: int, row: JobRow | None) -> None:
        job = self._started.pop(job_id)
        if row is None or row.step == job.step:
            self._standing.add(job_id)
        if row is not None:
            self._accepting.discard(job_id)
            if row.step == job.step == Step.CHECKED and not row.retry_at:
                self._accepting.add(job_id)


def _as_job(due: DueJob, now: float) -> Job:
    retry_at = (
        0.0 if is_due(due.retry_at, now) else math.inf
    )  # by the machine's clock, which may differ from the chain's
    return Job(due.job_id, due.requester, due.step, due.deadline, due.seconds, due.memory_bytes, retry_at)
