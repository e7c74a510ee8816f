"""Qiskit Aer, stim and qsim, in the confined processes of an executor."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import CancelledError
from dataclasses import replace

from oracle.backends.base import BackendStatus, Backlog, Capabilities, Estimate, Executor
from oracle.circuits.analysis import ANALYSE, QSIM, REPRODUCIBLE, Analysis, choose, forecasts
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.qsim import absence
from oracle.circuits.run import SIMULATOR, Run, RunRequest, RunResult
from oracle.jobs.errors import CircuitRejected, InputError
from oracle.routing.candidates import LOCAL, Candidate

_BYTES_PER_AMPLITUDE = 16
# A wider circuit runs as a Clifford circuit or not at all; its estimate stays a number.
_UNTHINKABLE_QUBITS = 60
# Measured orders of magnitude, with a busy machine in mind: a forked run, a gate's way from text to simulator, one
# amplitude in one gate, one shot.
# Other work slows a run down against its forecast.
_BUSY = 1.5
_FIXED_SECONDS, _SECONDS_PER_GATE, _SECONDS_PER_AMPLITUDE, _SECONDS_PER_SHOT = 0.1, 1e-4, 2.5e-9, 3e-6


class AerBackend:
    """Runs on ``executor``, which it closes. References last as long as it does.

    ``kind`` is the router's name for the place: ``local_simulator``, or ``managed_simulator`` for a cluster. Every run
    may use ``threads``; workers times threads should be the cores there are. Without ``qsim``, and on a cluster, whose
    machines may not have it, circuits run on the others only.
    """

    name = SIMULATOR

    def __init__(
        self,
        executor: Executor,
        limits: CircuitLimits | None = None,
        *,
        kind: str = LOCAL,
        threads: int = 1,
        qsim: bool = True,
    ):
        self._executor = executor
        self._kind, self._threads = kind, threads
        self._absent = _absent(kind, qsim)
        self._limits = limits or CircuitLimits()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}
        self._seconds: dict[str, float] = {}
        self._tags: dict[str, str] = {}

    def capabilities(self) -> Capabilities:
        """See :class:`~oracle.backends.base.Backend`."""
        return Capabilities(self._limits.qubits, self._limits.shots, simulator=True)

    def candidate(self) -> Candidate:
        """This backend as the router weighs it, with the wait that its backlog means now."""
        backlog = self.backlog()
        wait = backlog.seconds / max(1, backlog.workers) if backlog.queued else 0.0
        return Candidate(
            self.name,
            self._kind,
            self._limits.qubits,
            limits=self._limits,
            absent=self._absent,
            queue_seconds=wait,
        )

    def analyse(self, request: RunRequest, timeout: float | None = None) -> Analysis:
        """What the circuit of ``request`` is, found in a confined process. Raises as :meth:`result` does."""
        methods = self._methods(request)
        if request.method == REPRODUCIBLE and not request.insisted:
            methods = tuple(method for method in methods if method != QSIM)
        run = self._executor.submit(replace(request, method=ANALYSE, methods=methods))
        try:
            return run.result(timeout)
        except CancelledError:
            raise TimeoutError("the analysis was cancelled") from None
        except TimeoutError:
            run.cancel()  # nobody will ask for it again: the next look starts another
            raise TimeoutError(f"the analysis did not end within {timeout:.0f} s") from None

    def forecast(self, request: RunRequest, analysis: Analysis) -> Estimate:
        """As :meth:`estimate`, but for all circuits of the job together, by the method that ``request`` asks for and
        the figures of the circuit."""
        found = forecasts(analysis, request.shots)
        method = request.method
        if method not in found:
            portable = method == REPRODUCIBLE
            wanted = self._offered(request)
            method, _ = choose(
                analysis,
                request.shots,
                request.limits,
                reproducible=portable,
                allowed=wanted.methods,
                insisted=wanted.insisted,
            )
        if not method:
            return Estimate(request.limits.wall_seconds, request.limits.memory_bytes)
        loading = analysis.repeats * analysis.gates * _SECONDS_PER_GATE
        seconds = _FIXED_SECONDS + loading + _BUSY * found[method].seconds
        return Estimate(
            min(seconds, request.limits.wall_seconds), min(found[method].memory_bytes, request.limits.memory_bytes)
        )

    def estimate(self, request: RunRequest, qubits: int, gates: int = 100, *, dynamic: bool = False) -> Estimate:
        """See :class:`~oracle.backends.base.Backend`. No run can take more than its limits let it."""
        amplitudes = 2 ** min(qubits, _UNTHINKABLE_QUBITS)
        once = gates * amplitudes * _SECONDS_PER_AMPLITUDE
        simulated = once * request.shots if dynamic else once + request.shots * _SECONDS_PER_SHOT
        seconds = _FIXED_SECONDS + gates * _SECONDS_PER_GATE + simulated
        return Estimate(
            min(seconds, request.limits.wall_seconds),
            min(amplitudes * _BYTES_PER_AMPLITUDE, request.limits.memory_bytes),
        )

    def submit(self, request: RunRequest, tag: str, *, expected_seconds: float = 0.0) -> str:
        """See :class:`~oracle.backends.base.Backend`. Raises :class:`CircuitRejected` if the request names methods and
        none is here."""
        with self._lock:
            if known := self._tags.get(tag):
                return known
            reference = f"aer-{next(self._numbers)}"
            self._runs[reference] = self._executor.submit(replace(self._offered(request), threads=self._threads))
            self._seconds[reference] = expected_seconds
            self._tags[tag] = reference
            return reference

    def status(self, reference: str) -> BackendStatus:
        """See :class:`~oracle.backends.base.Backend`."""
        run = self._run(reference)
        if run.cancelled():
            return BackendStatus.CANCELLED
        if run.done():
            return BackendStatus.FAILED if run.exception() else BackendStatus.DONE
        return BackendStatus.RUNNING if run.running() else BackendStatus.QUEUED

    def cancel(self, reference: str) -> None:
        """See :class:`~oracle.backends.base.Backend`."""
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

    def backlog(self) -> Backlog:
        """See :class:`~oracle.backends.base.Backend`."""
        with self._lock:
            left = {reference: run for reference, run in self._runs.items() if not run.done()}
            seconds = sum(self._seconds[reference] for reference in left)
        running = sum(run.running() for run in left.values())
        return Backlog(len(left) - running, running, seconds, self._executor.workers)

    def close(self) -> None:
        """See :class:`~oracle.backends.base.Backend`."""
        self._executor.close()

    def _offered(self, request: RunRequest) -> RunRequest:
        """``request`` without the methods that are absent. Raises :class:`CircuitRejected` if that leaves none."""
        methods = self._methods(request)
        if not methods:
            why = f"only {', '.join(request.methods)} may run it: {self._absent[QSIM]}"
            raise CircuitRejected("not_offered", why, field="allowed_backends")
        return replace(request, methods=methods)

    def _methods(self, request: RunRequest) -> tuple[str, ...]:
        return tuple(method for method in request.methods if method not in self._absent)

    def _run(self, reference: str) -> Run:
        with self._lock:
            if run := self._runs.get(reference):
                return run
        raise InputError(f"no run is known as {reference[:40]!r}", field="reference")

    def _forget(self, reference: str) -> None:
        with self._lock:
            self._runs.pop(reference, None)
            self._seconds.pop(reference, None)
            self._tags = {tag: known for tag, known in self._tags.items() if known != reference}


def _absent(kind: str, qsim: bool) -> dict[str, str]:
    """The methods that are not there, and why."""
    if not qsim:
        why = "the operator has it switched off; another oracle may offer it"
    elif kind != LOCAL:
        why = "the machines of a cluster may not have it; an oracle with a pool of its own may"
    else:
        why = absence()
    return {QSIM: why} if why else {}
