"""The loop of a process that watches a chain: look, work, wait; whatever may pass is waited for."""

from __future__ import annotations

import time

from oracle.jobs.backoff import pause
from oracle.jobs.errors import ChainError
from oracle.node.config import NodeConfig
from oracle.node.database import JournalUnavailable
from oracle.node.ingest import FinalityBroken
from oracle.node.watch import Watch

NOTICE_SECONDS = 0.2
"""How long it may take to notice that the process is to stop."""


class Loop:
    """Repeats :meth:`tick` until :meth:`stop`."""

    def __init__(self, config: NodeConfig, watch: Watch):
        self._config = config
        self._watch = watch
        self._stopping = False

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
                self._watch.halted(err)
                raise
            except (ChainError, JournalUnavailable) as err:
                failures += 1
                self._watch.failed(err) if isinstance(err, ChainError) else self._watch.journal_failed(err)
                self._pause(pause(failures, first=self._config.poll_seconds, most=self._config.max_backoff_seconds))

    def stop(self) -> None:
        """Ask :meth:`run` to end after the steps under way; safe from a signal handler."""
        self._watch.health.drain()
        self._stopping = True  # and no event: the handler may have interrupted whoever holds its lock

    def tick(self) -> int:
        """Look at the chain and start what can be started; returns how many jobs are in flight."""
        raise NotImplementedError

    def work_for(self, seconds: float) -> None:
        """What to do until the next look."""
        self._pause(seconds)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, NOTICE_SECONDS))
