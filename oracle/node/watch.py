"""Everything that looks at a node: its log, its metrics and its health, behind the few things a node has to say.

A node that nobody watches has a :class:`Watch` as well; it costs a few assignments and imports nothing.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oracle import __version__
from oracle.jobs.errors import ChainError, ChainUnavailable
from oracle.node.config import NodeConfig
from oracle.node.health import Health, serving
from oracle.node.journal import Step
from oracle.node.logs import event
from oracle.node.metrics import Metrics, Unmeasured

FUNDS_SECONDS = 60.0


class Watch:
    """Told by the node what happens. ``show(job id, step, note)`` also hears of every step, for people."""

    def __init__(
        self,
        config: NodeConfig,
        *,
        show: Callable[[int, Step, str], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.config = config
        self.health = Health(config, clock)
        self.metrics: Any = Metrics() if config.metrics_port is not None else Unmeasured()
        self.metrics.sample_with(self._sample_verdict)
        self._show = show
        self._clock = clock
        self._funds_at: float | None = None
        self._journal_failed = False

    # --------------------------------------------------------------------------------------------- jobs

    def step(self, job_id: int, step: Step, note: str) -> None:
        """A job reached ``step``; ``note`` is the reason when it is declined or closed."""
        self.metrics.step_done(step)
        if step == Step.DECLINING:
            self.metrics.declined(note)
        event("step", job=job_id, step=str(step), reason=note)
        self._show(job_id, step, note)

    def internal_error(self, job_id: int, err: Exception) -> None:
        """Working on a job raised what nobody expected."""
        self.metrics.internal_error()
        event("internal error", "error", job=job_id, exception=err)

    # -------------------------------------------------------------------------------------------- chain

    def looked(self, seconds: float, *, head: int, target: int, last: int) -> None:
        """A look at the chain was completed; blocks as in :meth:`Health.at`. The journal is well again if it did not
        fail since the look before."""
        if not self._journal_failed:
            self.health.journal()
        self._journal_failed = False
        self.health.beat()
        self.health.at(head, target, last)
        self.metrics.ticked(seconds, time.time())
        self.metrics.at(head, target, last)

    def failed(self, err: ChainError) -> None:
        """A look at the chain failed and will be tried again."""
        self.metrics.rpc_error("unavailable" if isinstance(err, ChainUnavailable) else "other")
        event("chain trouble", "warning", error=str(err))

    def halted(self, err: Exception) -> None:
        """The node stopped working for good."""
        self.health.halt(str(err))
        event("halted", "error", error=str(err))

    def journal_failed(self, err: Exception) -> None:
        """The journal could not be written."""
        self._journal_failed = True
        self.health.journal(str(err))
        event("journal trouble", "error", error=str(err))

    # -------------------------------------------------------------------------------------------- money

    def tended(self, tended: Any) -> None:
        """What the sender did: :class:`oracle.chain.sender.Tended`."""
        for name in ("bumped", "resent", "filled", "closed"):
            if times := getattr(tended, name):
                self.metrics.transaction(name, times)
                if name != "closed":
                    event(f"transactions {name}", number=times)

    def look_at_funds(self, chain: Any, oracle: str) -> None:
        """Once a minute, ask the chain for the oracle's balance, stake and credit. Raises :class:`ChainError`."""
        now = self._clock()
        if self._funds_at is not None and now - self._funds_at < FUNDS_SECONDS:
            return
        self._funds_at = now
        balance, (stake, locked) = chain.balance(oracle), chain.registry.stake_of(oracle)
        self.health.holds(balance)
        self.metrics.funds(
            balance=balance,
            low_balance=self.config.low_balance_wei,
            free_stake=stake - locked,
            locked_stake=locked,
            credit=chain.escrow.credit_of(oracle),
        )

    # ------------------------------------------------------------------------------------------ exposing

    def samples(self, *, chain: Any, journal: Any, sender: Any) -> None:
        """Where to look up, whenever somebody asks, what costs nothing to look up."""
        endpoints = getattr(chain.w3.provider, "endpoints", None)

        def sample() -> None:
            self.metrics.jobs(journal.counts())
            self.metrics.in_flight(sender.in_flight())
            self.metrics.disk(shutil.disk_usage(Path(journal.path).parent).free)
            if endpoints is not None:
                self.metrics.endpoints(endpoints.health())

        self.metrics.sample_with(sample)

    @contextmanager
    def serving(self) -> Iterator[str | None]:
        """Serve ``/metrics``, ``/health`` and ``/ready`` while the block runs, if a port is configured.

        Yields the URL. Raises :class:`~oracle.jobs.errors.InputError` if the port cannot be had.
        """
        if self.config.metrics_port is None:
            yield None
            return
        pages = {"/metrics": self.metrics.page, "/health": self.health.health_page, "/ready": self.health.ready_page}
        with serving(pages, self.config.metrics_port, self.config.metrics_host) as url:
            event("watched", url=url, version=__version__)
            yield url

    def _sample_verdict(self) -> None:
        self.metrics.verdict(
            healthy=not self.health.problems(), ready=self.health.is_ready(), halted=self.health.is_halted
        )
