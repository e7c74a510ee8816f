"""The loop of a node: hear, decide what to start, advance, wait. Stops when told, finishing the steps it is in."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import suppress
from dataclasses import replace
from typing import Any

from oracle.node.database import JournalUnavailable
from oracle.node.deliveries import Deliveries
from oracle.node.ingest import Ingest
from oracle.node.journal import ACTIVE, DueJob, Forgotten, JobRow, Journal, Step, is_due
from oracle.node.logs import event
from oracle.node.loop import NOTICE_SECONDS, Loop
from oracle.node.pipeline import Pipeline, Tools
from oracle.node.purposes import action_of, job_ids
from oracle.node.scheduling import Job, Scheduler, SchedulingLimits
from oracle.node.watch import Watch

INTERNAL_ERROR_PAUSE_SECONDS = 30
TIDY_SECONDS = 60.0
"""Pause between two looks for questions, and runs at a provider, that nobody needs any more."""
CONSIDERED_AT_ONCE = 5_000
"""Jobs, by deadline, among which the next ones to start are chosen."""
_WAITING_STEPS = tuple(step for step in ACTIVE if step not in (Step.SEALED, Step.ACCEPTED))


class Node(Loop):
    """An oracle node. Create it with open tools, then :meth:`run` it or drive it with :meth:`tick`."""

    def __init__(self, tools: Tools, watch: Watch | None = None):
        config = tools.config
        super().__init__(config, watch or Watch(config))
        self._t = tools
        self._ingest = Ingest(
            tools.chain, tools.journal, tools.sender.address, config, progress=lambda *_: self._watch.health.alive()
        )
        self._pipeline = Pipeline(tools, self._watch.step, self._watch.metrics.step_took)
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
        self._workers = ThreadPoolExecutor(config.max_jobs_at_once, thread_name_prefix="job")
        self._in_flight: dict[int, tuple[Job, Future[JobRow]]] = {}
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
        self._watch.tended(self._t.sender.tend())
        self._deliveries.run_once(idle=not self._in_flight)
        self._standing.clear()
        self._start_jobs()
        self._tidy()
        self._watch.look_at_funds(self._t.chain, self._t.sender.address)
        ingest = self._ingest
        self._watch.looked(time.monotonic() - began, head=ingest.head, target=ingest.target, last=ingest.last)
        return len(self._in_flight)

    def drain(self, seconds: float | None = None) -> None:
        """Wait up to ``seconds`` for the steps under way, then end their runs, and release the threads.

        What is not finished is in the journal, for the next start.
        """
        futures: list[Future[Any]] = [future for _, future in self._in_flight.values()]
        futures += [self._tidying] if self._tidying is not None else []
        if wait_for(futures, seconds).not_done:
            self._t.backend.close()
            if self._t.provider is not None:
                self._t.provider.close()
        wait_for(futures)
        self._collect()
        self._workers.shutdown()
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
        flying = {job_id: job for job_id, (job, _) in self._in_flight.items()}
        choice = self._scheduler.choose(jobs, flying, self._ingest.time, workers=workers)  # deadlines are the chain's
        for job_id in choice.hopeless():
            self._give_up(job_id)
        known = {job.job_id: job for job in jobs}
        for job_id in choice.start:
            self._start(known[job_id])
        self._watch.metrics.waiting(choice.reasons())
        self._watch.metrics.at_work(len(self._in_flight))

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
        future = self._workers.submit(self._pipeline.advance, row)
        self._in_flight[job.job_id] = (job, future)
        future.add_done_callback(lambda _: self._wake.set())

    def _give_up(self, job_id: int) -> None:
        row = self._t.journal.job(job_id)
        if row is not None:
            with suppress(Forgotten):
                self._t.journal.advance(row, Step.DECLINING, note="cannot be done in time", reason="too_little_time")
                self._watch.step(job_id, Step.DECLINING, "too_little_time")

    def _collect(self) -> None:
        for job_id, (job, future) in list(self._in_flight.items()):
            if not future.done():
                continue
            del self._in_flight[job_id]
            error = future.exception()
            if isinstance(error, JournalUnavailable):  # the row is as it was
                self._watch.journal_failed(error)
                self._standing.add(job_id)
            elif isinstance(error, Exception):
                self._excuse(job_id, error)
            elif error is not None:  # not a failure of the job but an order to stop
                raise error
            else:
                self._note_standing(job, future.result())

    def _note_standing(self, job: Job, row: JobRow) -> None:
        self._accepting.discard(row.job_id)
        if row.step == job.step:
            self._standing.add(row.job_id)
            if row.step == Step.CHECKED and not row.retry_at:
                self._accepting.add(row.job_id)

    def _excuse(self, job_id: int, error: Exception) -> None:
        """An error nobody expected: say so, keep the job, and try it again later."""
        self._watch.internal_error(job_id, error)
        job = self._t.journal.job(job_id)
        if job is not None:
            with suppress(Forgotten):
                text = f"internal error {type(error).__name__}: {error}"
                self._t.journal.postpone(job, text, time.time() + INTERNAL_ERROR_PAUSE_SECONDS)


def _as_job(due: DueJob, now: float) -> Job:
    retry_at = (
        0.0 if is_due(due.retry_at, now) else math.inf
    )  # by the machine's clock, which may differ from the chain's
    return Job(due.job_id, due.requester, due.step, due.deadline, due.seconds, due.memory_bytes, retry_at)
