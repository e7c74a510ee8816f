"""The loop of a node: hear, advance, wait. Stops when told, finishing the step it is in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import suppress

from oracle.jobs.errors import ChainError
from oracle.node.deliveries import Deliveries
from oracle.node.ingest import FinalityBroken, Ingest
from oracle.node.journal import ACTIVE, Forgotten, JobRow, Journal, Step
from oracle.node.pipeline import Pipeline, Tools
from oracle.node.watch import Watch

INTERNAL_ERROR_PAUSE_SECONDS = 30


class Node:
    """An oracle node. Create it with open tools, then :meth:`run` it or drive it with :meth:`tick`."""

    def __init__(
        self,
        tools: Tools,
        *,
        report: Callable[[int, Step, str], None] = lambda *_: None,
        complain: Callable[[str], None] = lambda _: None,
        watch: Watch | None = None,
    ):
        self._t = tools
        self._watch = watch or Watch(tools.config, show=report)
        self._ingest = Ingest(tools.chain, tools.journal, tools.sender.address, tools.config, progress=self._read)
        self._target = 0
        self._pipeline = Pipeline(tools, self._watch.step)
        self._deliveries = Deliveries(tools, self._pipeline)
        self._complain = complain
        self._stop = threading.Event()
        self._workers = ThreadPoolExecutor(tools.config.max_jobs_at_once, thread_name_prefix="job")
        self._in_flight: dict[int, Future[JobRow]] = {}

    @property
    def journal(self) -> Journal:
        """What the node remembers."""
        return self._t.journal

    def run(self) -> None:
        """Repeat :meth:`tick` until :meth:`stop`. An unreachable chain is waited for, never given up."""
        failures = 0
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                self.tick()
                failures = 0
                self._watch.looked(
                    time.monotonic() - started, head=self._ingest.head, target=self._target, last=self._ingest.last
                )
                self._watch.look_at_funds(self._t.chain, self._t.sender.address)
            except FinalityBroken as err:
                self._watch.halted(err)
                raise
            except ChainError as err:
                failures += 1
                self._watch.failed(err)
                self._complain(str(err))
            pause = min(self._t.config.poll_seconds * 2**failures, self._t.config.max_backoff_seconds)
            self._stop.wait(pause if failures else self._t.config.poll_seconds)

    def stop(self) -> None:
        """Ask :meth:`run` to end after the steps under way; safe from a signal handler."""
        self._stop.set()

    def tick(self) -> int:
        """Take in new blocks and start work on every job that is due; returns how many jobs are in flight."""
        self._collect()
        self._ingest.run_once()
        self._watch.tended(self._t.sender.tend())
        self._deliveries.run_once(idle=not self._in_flight)
        now = time.time()
        for job in self._t.journal.jobs(tuple(step for step in ACTIVE if step != Step.SEALED)):
            if len(self._in_flight) >= self._t.config.max_jobs_at_once:
                break
            if job.job_id not in self._in_flight and job.retry_at <= now:
                self._in_flight[job.job_id] = self._workers.submit(self._pipeline.advance, job)
        return len(self._in_flight)

    def drain(self, seconds: float | None = None) -> None:
        """Wait at most ``seconds`` for the work in flight, and release the threads."""
        self._watch.health.drain()
        wait_for(self._in_flight.values(), seconds)
        self._collect()
        self._workers.shutdown(wait=not self._in_flight, cancel_futures=True)

    def _read(self, last: int, target: int) -> None:
        self._watch.health.alive()
        self._target = target

    def _collect(self) -> None:
        for job_id, future in list(self._in_flight.items()):
            if not future.done():
                continue
            del self._in_flight[job_id]
            error = future.exception()
            if isinstance(error, Exception):
                self._excuse(job_id, error)
            elif error is not None:  # not a failure of the job but an order to stop
                raise error

    def _excuse(self, job_id: int, error: Exception) -> None:
        """An error nobody expected: say so, keep the job, and try it again later."""
        text = f"internal error {type(error).__name__}: {error}"
        self._watch.internal_error(job_id, error)
        self._complain(f"job {job_id}: {text}")
        job = self._t.journal.job(job_id)
        if job is not None:
            with suppress(Forgotten):
                self._t.journal.postpone(job, text, time.time() + INTERNAL_ERROR_PAUSE_SECONDS)
