"""The loop of a process that watches a chain: look, work on several jobs at a time, wait; whatever may pass is waited
for."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from oracle.jobs.backoff import pause
from oracle.jobs.errors import ChainError
from oracle.node.database import JournalUnavailable
from oracle.node.ingest import FinalityBroken
from oracle.node.journal import Forgotten, JobRow
from oracle.node.watch import Watch

if TYPE_CHECKING:
    from oracle.node.pipeline import Tools

NOTICE_SECONDS = 0.2
"""How long it may take to notice that the process is to stop."""
INTERNAL_ERROR_PAUSE_SECONDS = 30


class Loop:
    """Repeats :meth:`tick` until :meth:`stop`; ``name`` is that of the threads which work on jobs meanwhile.

    ``watch`` hears of everything.
    """

    def __init__(self, tools: Tools, watch: Watch | None, name: str):
        self._t = tools
        self._config = tools.config
        self.watch = watch or Watch(tools.config)
        self._stopping = False
        self._workers = ThreadPoolExecutor(tools.config.max_jobs_at_once, thread_name_prefix=name)
        self._in_flight: dict[int, Future[JobRow]] = {}

    def run(self) -> None:
        """Repeat :meth:`tick` until :meth:`stop`. An unreachable chain or a full disk is waited for, never given up.

        Raises :class:`~oracle.node.ingest.FinalityBroken`.
        """
        failures = 0
        while not self._stopping:
            try:
                self.tick()
                failures = 0
                self.work_for(self._config.poll_seconds)
            except FinalityBroken as err:
                self.watch.halted(err)
                raise
            except (ChainError, JournalUnavailable) as err:
                failures += 1
                self.watch.failed(err) if isinstance(err, ChainError) else self.watch.journal_failed(err)
                self._pause(pause(failures, first=self._config.poll_seconds, most=self._config.max_backoff_seconds))

    def stop(self) -> None:
        """Ask :meth:`run` to end after the steps under way; safe from a signal handler."""
        self.watch.health.drain()
        self._stopping = True  # and no event: the handler may have interrupted whoever holds its lock

    def drain(self, seconds: float | None = None, others: Collection[Future[Any]] = ()) -> None:
        """Wait up to ``seconds`` for the steps under way and for ``others``, then end their runs, and release the
        threads.

        What is not finished is in the journal, for the next start.
        """
        futures = [*self._in_flight.values(), *others]
        if wait_for(futures, seconds).not_done:
            self._t.backend.close()
            if self._t.provider is not None:
                self._t.provider.close()
        wait_for(futures)
        self._collect()
        self._workers.shutdown()

    # --------------------------------------------------------------------------------- for those who derive

    def tick(self) -> int:
        """Look at the chain and start what can be started; returns how many jobs are in flight."""
        raise NotImplementedError

    def work_for(self, seconds: float) -> None:
        """What to do until the next look."""
        self._pause(seconds)

    def _returned(self, job_id: int, row: JobRow | None) -> None:
        """A job is not in flight any more; ``row`` is its last one, ``None`` if work on it failed."""

    def _begin(self, row: JobRow, advance: Callable[[JobRow], JobRow]) -> Future[JobRow]:
        """Have a thread work on a job."""
        future = self._in_flight[row.job_id] = self._workers.submit(advance, row)
        return future

    def _collect(self) -> None:
        """See what became of the jobs in flight."""
        for job_id, future in list(self._in_flight.items()):
            if not future.done():
                continue
            del self._in_flight[job_id]
            error = future.exception()
            self._returned(job_id, None if error else future.result())
            if isinstance(error, JournalUnavailable):  # the row is as it was
                self.watch.journal_failed(error)
            elif isinstance(error, Exception):
                self._excuse(job_id, error)
            elif error is not None:  # not a failure of the job but an order to stop
                raise error

    def _looked(self, began: float, ingest: Any) -> int:
        """A look that ``began`` then, by the monotonic clock, is over; returns how many jobs are in flight."""
        self.watch.look_at_funds(self._t.chain, self._t.sender.address)
        self.watch.looked(time.monotonic() - began, head=ingest.head, target=ingest.target, last=ingest.last)
        return len(self._in_flight)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, NOTICE_SECONDS))

    def _excuse(self, job_id: int, error: Exception) -> None:
        """An error nobody expected: say so, keep the job, and try it again later."""
        self.watch.internal_error(job_id, error)
        job = self._t.journal.job(job_id)
        if job is not None:
            with suppress(Forgotten):
                text = f"internal error {type(error).__name__}: {error}"
                self._t.journal.postpone(job, text, time.time() + INTERNAL_ERROR_PAUSE_SECONDS)
