"""What a node counts, for Prometheus.

Every label has a bounded set of values: steps and events come from lists in the code, endpoints from the configuration,
and of the reasons only the first hundred are kept apart, should a circuit ever invent some. ``docs/operators.md``
explains each metric.
"""

from __future__ import annotations

import platform
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from oracle import __version__
from oracle.node.journal import Step
from oracle.node.scheduling import Why

WEI_PER_ETHER = 10**18
OTHER = "other"
MAX_REASONS = 100
_REASON = re.compile(r"[a-z][a-z0-9_]{0,30}")
WAITING = (*map(str, Why), OTHER)
TRANSACTIONS = ("bumped", "resent", "filled", "closed")
RPC_ERRORS = ("unavailable", OTHER)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Unmeasured:
    """Stands in for :class:`Metrics` where nobody asks: takes every call and does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_") or not hasattr(Metrics, name):
            raise AttributeError(name)
        return _ignore


def _ignore(*_: Any, **__: Any) -> None:
    return None


class Metrics:
    """The metrics of one node, in a registry of their own. Thread-safe."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
        from prometheus_client import disable_created_metrics as without_creation_times

        without_creation_times()  # a second series beside each counter, for servers nobody has
        self.registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._reasons: set[str] = set()
        self._samplers: list[Callable[[], None]] = []

        def counter(name: str, text: str, label: str = "", values: Iterable[str] = ()) -> Any:
            return _prepared(Counter(name, text, [label] if label else [], registry=self.registry), values)

        def gauge(name: str, text: str, label: str = "", values: Iterable[str] = ()) -> Any:
            return _prepared(Gauge(name, text, [label] if label else [], registry=self.registry), values)

        def histogram(name: str, text: str, label: str = "", values: Iterable[str] = ()) -> Any:
            made = Histogram(name, text, [label] if label else [], buckets=SECONDS, registry=self.registry)
            return _prepared(made, values)

        steps = tuple(Step)
        self._jobs = gauge("qscrow_jobs", "Jobs in the journal.", "step", steps)
        self._steps = counter("qscrow_steps", "Steps that jobs completed.", "step", steps)
        self._step_seconds = histogram("qscrow_step_seconds", "Time spent on one step.", "step", steps)
        self._declined = counter("qscrow_declined", "Jobs declined.", "reason", (OTHER,))
        self._waiting = gauge("qscrow_jobs_waiting", "Jobs that wait.", "reason", WAITING)
        self._at_work = gauge("qscrow_jobs_in_flight", "Jobs that are being worked on.")
        self._internal_errors = counter("qscrow_internal_errors", "Errors nobody expected.")

        self._tick_seconds = histogram("qscrow_tick_seconds", "Time of one look at the chain.")
        self._last_tick = gauge("qscrow_last_tick_timestamp_seconds", "When the last look was completed, Unix time.")
        self._head = gauge("qscrow_head_block", "The chain's newest block.")
        self._ingested = gauge("qscrow_ingested_block", "The last block that was taken in.")
        self._behind = gauge("qscrow_behind_blocks", "Blocks that could be taken in and were not yet.")
        self._rpc_errors = counter("qscrow_rpc_errors", "Looks that failed for the chain's sake.", "kind", RPC_ERRORS)
        self._endpoint_up = gauge("qscrow_endpoint_up", "Whether an endpoint can be used.", "endpoint")
        self._endpoint_failures = gauge("qscrow_endpoint_failures", "Its failures in a row.", "endpoint")
        self._endpoint_head = gauge("qscrow_endpoint_head_block", "Its newest block.", "endpoint")
        self._endpoint_seconds = gauge("qscrow_endpoint_seconds", "How long its last answer took.", "endpoint")

        self._transactions = counter("qscrow_transactions", "What happened to transactions.", "event", TRANSACTIONS)
        self._in_flight = gauge("qscrow_transactions_in_flight", "Transactions that are not mined yet.")
        self._balance = gauge("qscrow_balance_ether", "What the account holds.")
        self._low_balance = gauge("qscrow_low_balance_ether", "Below this the node is unhealthy.")
        self._free_stake = gauge("qscrow_free_stake_ether", "Stake that no job has locked.")
        self._locked_stake = gauge("qscrow_locked_stake_ether", "Stake locked as bonds.")
        self._credit = gauge("qscrow_credit_ether", "What the escrow owes the oracle.")

        self._disk_free = gauge("qscrow_disk_free_bytes", "Free space where the journal is.")
        self._healthy = gauge("qscrow_healthy", "Whether /health says 200.")
        self._ready = gauge("qscrow_ready", "Whether the node takes jobs.")
        self._halted = gauge("qscrow_halted", "Whether the node halted for good.")
        build = Info("qscrow_build", "What runs.", registry=self.registry)
        build.info({"version": __version__, "python": platform.python_version()})
        ProcessCollector(registry=self.registry)

    # --------------------------------------------------------------------------------------------- jobs

    def jobs(self, counts: Mapping[str, int]) -> None:
        """How many jobs are in each step of the journal; steps not named have none."""
        for step in Step:
            self._jobs.labels(step).set(counts.get(step, 0))

    def step_done(self, step: str) -> None:
        """A job reached ``step``."""
        self._steps.labels(Step(step)).inc()

    def step_took(self, step: str, seconds: float) -> None:
        """Working on a job in ``step`` took so long."""
        self._step_seconds.labels(Step(step)).observe(seconds)

    def declined(self, reason: str) -> None:
        """A job was declined for ``reason``, one of the short codes that go on chain."""
        with self._lock:
            if reason not in self._reasons and len(self._reasons) < MAX_REASONS and _REASON.fullmatch(reason):
                self._reasons.add(reason)
            known = reason in self._reasons
        self._declined.labels(reason if known else OTHER).inc()

    def waiting(self, counts: Mapping[str, int]) -> None:
        """How many jobs wait, by reason; what is not in :data:`WAITING` counts as ``other``."""
        known = {reason: counts.get(reason, 0) for reason in WAITING}
        known[OTHER] += sum(number for reason, number in counts.items() if reason not in WAITING)
        for reason, number in known.items():
            self._waiting.labels(reason).set(number)

    def at_work(self, jobs: int) -> None:
        """How many jobs are being worked on."""
        self._at_work.set(jobs)

    def internal_error(self) -> None:
        """An error nobody expected."""
        self._internal_errors.inc()

    # -------------------------------------------------------------------------------------------- chain

    def ticked(self, seconds: float, now: float) -> None:
        """A look at the chain was completed at ``now`` (Unix time) after ``seconds``."""
        self._tick_seconds.observe(seconds)
        self._last_tick.set(now)

    def at(self, head: int, target: int, last: int) -> None:
        """The chain's head, the last block that could be taken in, and the last that was."""
        self._head.set(head)
        self._ingested.set(last)
        self._behind.set(max(0, target - last))

    def endpoints(self, health: Iterable[Any]) -> None:
        """How each endpoint does: :class:`oracle.chain.endpoints.Health` in the configured order."""
        for number, each in enumerate(health, 1):
            name = f"{number} {each.name}"  # two may share a host and differ in what must not be shown
            self._endpoint_up.labels(name).set(each.state == "ok")
            self._endpoint_failures.labels(name).set(each.failures)
            if each.head is not None:
                self._endpoint_head.labels(name).set(each.head)
            if each.seconds is not None:
                self._endpoint_seconds.labels(name).set(each.seconds)

    def rpc_error(self, kind: str) -> None:
        """A look failed: ``unavailable`` or ``other``."""
        self._rpc_errors.labels(kind if kind in RPC_ERRORS else OTHER).inc()

    # ------------------------------------------------------------------------------------------- money

    def transaction(self, event: str, times: int = 1) -> None:
        """One of :data:`TRANSACTIONS` happened."""
        self._transactions.labels(event).inc(times)

    def in_flight(self, transactions: int) -> None:
        """How many transactions are not mined yet."""
        self._in_flight.set(transactions)

    def funds(self, *, balance: int, low_balance: int, free_stake: int, locked_stake: int, credit: int) -> None:
        """The oracle's money, in wei."""
        self._balance.set(balance / WEI_PER_ETHER)
        self._low_balance.set(low_balance / WEI_PER_ETHER)
        self._free_stake.set(free_stake / WEI_PER_ETHER)
        self._locked_stake.set(locked_stake / WEI_PER_ETHER)
        self._credit.set(credit / WEI_PER_ETHER)

    # ------------------------------------------------------------------------------------------ machine

    def disk(self, free: int) -> None:
        """Free bytes where the journal is."""
        self._disk_free.set(free)

    def verdict(self, *, healthy: bool, ready: bool, halted: bool) -> None:
        """What ``/health`` and ``/ready`` say."""
        self._healthy.set(healthy)
        self._ready.set(ready)
        self._halted.set(halted)

    # ---------------------------------------------------------------------------------------- exposition

    def sample_with(self, sampler: Callable[[], None]) -> None:
        """Call ``sampler`` before every exposition, to set what is only looked up when somebody asks."""
        self._samplers.append(sampler)

    def metrics_text(self) -> str:
        """Everything in Prometheus' text format."""
        from prometheus_client import generate_latest

        for sampler in self._samplers:
            sampler()
        return generate_latest(self.registry).decode()

    def page(self) -> tuple[int, str, bytes]:
        """``/metrics``."""
        from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

        return 200, CONTENT_TYPE_PLAIN_0_0_4, self.metrics_text().encode()


def _prepared(metric: Any, values: Iterable[str]) -> Any:
    """``metric`` with every label value in place: what never happened is 0 and not missing."""
    for value in values:
        metric.labels(value)
    return metric
