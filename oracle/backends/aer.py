"""Qiskit Aer on this machine, in the sandbox."""

from __future__ import annotations

import itertools
import os
import threading
from concurrent.futures import CancelledError, Future

from oracle.backends.base import BackendStatus, Capabilities, Estimate
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import RunRequest, RunResult
from oracle.circuits.sandbox import Sandbox
from oracle.jobs.errors import InputError

_BYTES_PER_AMPLITUDE = 16
# A wider circuit runs as a Clifford circuit or not at all; its estimate stays a number.
_UNTHINKABLE_QUBITS = 60
# Measured orders of magnitude: a forked run, an amplitude in all layers of gates, a shot.
_FIXED_SECONDS, _SECONDS_PER_AMPLITUDE, _SECONDS_PER_SHOT = 0.5, 2e-7, 3e-6


class AerBackend:
    """``workers`` circuits at a time, one thread each; by default one per core.

    References last as long as it does.
    """

    name = "aer"

    def __init__(self, workers: int | None = None, limits: CircuitLimits | None = None):
        self._sandbox = Sandbox(workers or os.cpu_count() or 1)
        self._limits = limits or CircuitLimits()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._runs: dict[str, Future[RunResult]] = {}
        self._tags: dict[str, str] = {}

    def capabilities(self) -> Capabilities:
        """See :class:`~oracle.backends.base.Backend`."""
        return Capabilities(self._limits.qubits, self._limits.shots, simulator=True)

    def estimate(self, request: RunRequest, qubits: int) -> Estimate:
        """See :class:`~oracle.backends.base.Backend`."""
        amplitudes = 2 ** min(qubits, _UNTHINKABLE_QUBITS)
        seconds = _FIXED_SECONDS + amplitudes * _SECONDS_PER_AMPLITUDE + request.shots * _SECONDS_PER_SHOT
        return Estimate(seconds, amplitudes * _BYTES_PER_AMPLITUDE)

    def submit(self, request: RunRequest, tag: str) -> str:
        """See :class:`~oracle.backends.base.Backend`."""
        with self._lock:
            if known := self._tags.get(tag):
                return known
            reference = f"aer-{next(self._numbers)}"
            self._runs[reference] = self._sandbox.submit(request)
            self._tags[tag] = reference
            return reference

    def status(self, reference: str) -> BackendStatus:
        """See :class:`~oracle.backends.base.Backend`."""
        run = self._run(reference)
        if run.cancelled():
            return BackendStatus.CANCELLED
        if run.done():
            failure = run.exception()
            stopped = BackendStatus.CANCELLED if isinstance(failure, CancelledError) else BackendStatus.FAILED
            return stopped if failure else BackendStatus.DONE
        return BackendStatus.RUNNING if run.running() else BackendStatus.QUEUED

    def cancel(self, reference: str) -> None:
        """See :class:`~oracle.backends.base.Backend`. A run under way ends by itself, within its limits."""
        self._run(reference).cancel()

    def result(self, reference: str, timeout: float | None = None) -> RunResult:
        """See :class:`~oracle.backends.base.Backend`. The reference is used up, unless this times out."""
        run = self._run(reference)
        try:
            return run.result(timeout)
        except CancelledError:
            raise TimeoutError(f"{reference} was cancelled") from None
        finally:
            if run.done():
                self._forget(reference)

    def reconcile(self, tag: str) -> str | None:
        """See :class:`~oracle.backends.base.Backend`."""
        with self._lock:
            return self._tags.get(tag)

    def close(self) -> None:
        """See :class:`~oracle.backends.base.Backend`."""
        self._sandbox.close()

    def _run(self, reference: str) -> Future[RunResult]:
        with self._lock:
            if run := self._runs.get(reference):
                return run
        raise InputError(f"no run is known as {reference[:40]!r}", field="reference")

    def _forget(self, reference: str) -> None:
        with self._lock:
            self._runs.pop(reference, None)
            self._tags = {tag: known for tag, known in self._tags.items() if known != reference}
