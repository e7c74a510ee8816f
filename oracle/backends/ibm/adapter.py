"""One of IBM's backends behind the interface of :mod:`oracle.backends.base`."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from oracle.backends.base import BackendStatus, Backlog, Capabilities, Estimate
from oracle.backends.ibm import isa
from oracle.backends.ibm.account import MARK, Account
from oracle.backends.ibm.calibration import calibration, success
from oracle.backends.ibm.compiler import Compiled, Compiler
from oracle.backends.ibm.notes import Notes, ResultKeeper
from oracle.backends.ibm.result import METHOD, HardwareResult, measurements, runs
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import COUNTS, MEMORY
from oracle.circuits.run import RunRequest, RunResult
from oracle.circuits.spread import BYTES_PER_VALUE
from oracle.jobs.errors import BackendUnavailable, CircuitRejected, InputError

# Between two looks at a job: an eight-hour queue is 100 looks, not 57 600 as with the client's own loop.
PAUSES = (5.0, 300.0)
CALIBRATION_SECONDS = 3600.0
QUEUE_SECONDS = 60.0
# A guess; IBM publishes how many jobs wait, not how long.
SECONDS_PER_WAITING_JOB = 30.0
# IBM's rule of thumb for what a job is charged, besides repetitions times (delay + circuit).
_FIXED_QPU_SECONDS = 2.0
_DEFAULT_DELAY = 250e-6
_BYTES_PER_OUTCOME = 12
_COMPILER_BYTES = 512 * 2**20
_SECONDS_PER_GATE = 1e-6
_PREDICTIONS = 64

_STATUS = {
    "INITIALIZING": BackendStatus.QUEUED,
    "QUEUED": BackendStatus.QUEUED,
    "RUNNING": BackendStatus.RUNNING,
    "DONE": BackendStatus.DONE,
    "ERROR": BackendStatus.FAILED,
    "CANCELLED": BackendStatus.CANCELLED,
}
# Which of several jobs with one tag counts.
_RANK = [BackendStatus.DONE, BackendStatus.FAILED, BackendStatus.RUNNING, BackendStatus.QUEUED]


@dataclass(frozen=True)
class Queue:
    """``pending`` jobs wait, for about ``seconds``; unless ``operational`` nothing is run now. ``message`` is IBM's."""

    operational: bool
    pending: int
    seconds: float
    message: str


@dataclass(frozen=True)
class _Device:
    configuration: Mapping[str, Any]
    properties: Mapping[str, Any] | None
    compiler: Compiler
    read_at: float

    @property
    def calibrated(self) -> str:
        return str((self.properties or {}).get("last_update_date", ""))


class IbmBackend:
    """The backend ``name`` of ``account``. References are IBM's job ids and outlive the node.

    A job that IBM failed is submitted again, up to ``most_attempts`` times in all. One that would hold the device for
    longer than ``max_execution_seconds`` is refused, and stopped by IBM if it does so nevertheless. ``private`` asks
    IBM to delete circuit and result once they are read, and needs a ``keeper``.
    """

    kind = "ibm_quantum_backend"

    def __init__(
        self,
        account: Account,
        name: str,
        notes: Notes,
        *,
        limits: CircuitLimits | None = None,
        max_execution_seconds: int = 60,
        most_attempts: int = 2,
        private: bool = False,
        keeper: ResultKeeper | None = None,
        pauses: tuple[float, float] = PAUSES,
    ):
        if private and keeper is None:
            text = "a private result can be read only once, and there is nothing to keep it in"
            raise InputError(text, field="execution.ibm_private")
        self.name = name
        self._account, self._notes, self._keeper = account, notes, keeper
        self._limits = limits or CircuitLimits()
        self._max_execution_seconds, self._most_attempts = max_execution_seconds, most_attempts
        self._private = private
        self._pauses = pauses
        self._submitting = threading.Lock()
        self._guard = threading.Lock()
        self._known: _Device | None = None
        self._queue: tuple[Queue, float] | None = None
        self._predicted: dict[tuple[str, RunRequest], float] = {}
        self._closing = threading.Event()

    # ----------------------------------------------------------------------------------------- the interface

    def capabilities(self) -> Capabilities:
        """See :class:`~oracle.backends.base.Backend`. Raises :class:`BackendUnavailable`."""
        device = self._device().configuration
        shots = min(self._limits.shots, device.get("max_shots") or self._limits.shots)
        return Capabilities(device["n_qubits"], shots, simulator=False)

    def estimate(self, request: RunRequest, qubits: int, gates: int = 100, *, dynamic: bool = False) -> Estimate:
        """See :class:`~oracle.backends.base.Backend`: the queue, the compilation and the device's own time."""
        shots = request.shots * request.lint().executions
        seconds = self.queue().seconds + self.qpu_seconds(shots, gates * _SECONDS_PER_GATE)
        return Estimate(seconds, min(_COMPILER_BYTES, request.limits.memory_bytes))

    def description(self, price: int = 0) -> dict[str, Any]:
        """What a router wants to know (:meth:`oracle.routing.candidates.Candidate.from_description`): ``name``,
        ``qubits``, ``basis``, ``queue_seconds``, ``two_qubit_error`` (the device's median, or ``None``), ``open``,
        ``dynamic`` (whether gates may depend on outcomes) and the ``price`` given. Raises
        :class:`BackendUnavailable`."""
        device, queue = self._device(), self.queue()
        supported = device.configuration.get("supported_instructions") or []
        return {
            "name": self.name,
            "qubits": device.configuration["n_qubits"],
            "basis": list(device.configuration["basis_gates"]),
            "queue_seconds": queue.seconds,
            "two_qubit_error": calibration(device.properties).get("device", {}).get("two_qubit_error"),
            "open": queue.operational,
            "price": price,
            "dynamic": "if_else" in supported,
        }

    def qpu_seconds(self, shots: int, duration: float) -> float:
        """What IBM is likely to charge for ``shots`` of a circuit that takes ``duration`` seconds."""
        delay = self._device().configuration.get("default_rep_delay")
        return _FIXED_QPU_SECONDS + shots * (duration + (delay * 1e-6 if delay else _DEFAULT_DELAY))

    def predicted_distance(self, request: RunRequest) -> float | None:
        """How far the outcomes of ``request`` are likely to be from ideal ones, in total variation and not counting
        shot noise, by the device's last calibration; ``None`` if it publishes none. Of several circuits the worst.

        One minus :func:`~oracle.backends.ibm.calibration.success`: a run in which nothing goes wrong is an ideal one,
        so that no more than the rest of the outcomes can differ. Raises as :meth:`submit` does for a circuit that does
        not fit.
        """
        device = self._device()
        if not device.properties:
            return None
        key = (device.calibrated, request)
        if key not in self._predicted:
            pieces = device.compiler.compile(request).circuits
            worst = min(success(device.properties, isa.walk(piece.circuit["steps"])) for piece in pieces)
            if len(self._predicted) >= _PREDICTIONS:
                self._predicted.clear()
            self._predicted[key] = 1.0 - worst
        return self._predicted[key]

    def queue(self) -> Queue:
        """How long one has to wait, as of a minute ago at most. Raises :class:`BackendUnavailable`."""
        with self._guard:
            if self._queue is None or time.monotonic() - self._queue[1] > QUEUE_SECONDS:
                seen = self._account.ask("queue", backend=self.name)
                seconds = seen["pending"] * SECONDS_PER_WAITING_JOB
                self._queue = Queue(seen["operational"], seen["pending"], seconds, seen["message"]), time.monotonic()
            return self._queue[0]

    def submit(self, request: RunRequest, tag: str, *, expected_seconds: float = 0.0) -> str:
        """See :class:`~oracle.backends.base.Backend`.

        Raises :class:`CircuitRejected` for a circuit that does not fit, takes too long, or that IBM refused or failed
        too often.
        """
        with self._submitting:
            jobs = self._jobs(tag)
            known = self._settled(jobs)
            if known and self._notes.read(tag):
                return known
            if not known:
                self._check_attempts(jobs)
            device = self._device()
            made = device.compiler.compile(request)
            self._check(request, made)
            # Before the request: afterwards there may be a job and no node that knows what it is.
            self._notes.write(tag, self._note(request, made, device, jobs, recovered=bool(known)))
            return known or self._submit(request, made, tag)

    def status(self, reference: str) -> BackendStatus:
        """See :class:`~oracle.backends.base.Backend`."""
        if self._recalled(reference) is not None:
            return BackendStatus.DONE
        return _status(self._account.ask("look", id=reference))

    def cancel(self, reference: str) -> None:
        """See :class:`~oracle.backends.base.Backend`."""
        self._account.ask("cancel", id=reference)

    def result(self, reference: str, timeout: float | None = None) -> RunResult:
        """See :class:`~oracle.backends.base.Backend`.

        Raises :class:`CircuitRejected` with code ``hardware_time_limit`` for a job that IBM stopped, and
        :class:`BackendUnavailable` for one that failed otherwise: then it may be submitted again.
        """
        deadline = time.monotonic() + (threading.TIMEOUT_MAX if timeout is None else timeout)
        pause, longest = self._pauses
        while True:
            seen = self._account.ask("look", id=reference)
            status = _status(seen)
            if status == BackendStatus.DONE:
                return self._result(seen)
            if status == BackendStatus.FAILED:
                raise _failure(seen)
            if status == BackendStatus.CANCELLED:
                raise TimeoutError(f"{reference} was cancelled")
            left = deadline - time.monotonic()
            if left <= 0 or self._closing.wait(min(pause, left)):
                raise TimeoutError(f"{reference} is {status}")
            pause = min(2 * pause, longest)

    def reconcile(self, tag: str) -> str | None:
        """See :class:`~oracle.backends.base.Backend`. Of several live jobs with this tag the others are cancelled."""
        return self._settled(self._jobs(tag)) if self._notes.read(tag) else None

    def holds(self, tag: str) -> bool:
        """Whether IBM has a job with this tag here, known to this node or not. Raises :class:`BackendUnavailable`."""
        return self._settled(self._jobs(tag)) is not None

    def backlog(self) -> Backlog:
        """See :class:`~oracle.backends.base.Backend`: everybody's jobs that wait there."""
        with suppress(BackendUnavailable):
            self.queue()
        queue = self._queue[0] if self._queue else Queue(False, 0, 0.0, "")
        return Backlog(queue.pending, 0, queue.seconds, 1)

    def close(self) -> None:
        """See :class:`~oracle.backends.base.Backend`. Jobs at IBM go on."""
        self._closing.set()
        if self._known is not None:
            self._known.compiler.close()

    # ------------------------------------------------------------------------------------------- submitting

    def _device(self) -> _Device:
        """Configuration, calibration and the compiler for them; a new one when IBM has calibrated."""
        with self._guard:
            known = self._known
            if known is not None and time.monotonic() - known.read_at < CALIBRATION_SECONDS:
                return known
            seen = self._account.ask("device", backend=self.name)
            fresh = _Device(seen["configuration"], seen["properties"], Compiler(**seen), time.monotonic())
            if known is not None and known.calibrated == fresh.calibrated:
                fresh = _Device(seen["configuration"], seen["properties"], known.compiler, fresh.read_at)
            elif known is not None:
                known.compiler.close()
            self._known = fresh
            return fresh

    def _check_attempts(self, jobs: Sequence[Mapping[str, Any]]) -> None:
        """Nothing is submitted while the same is under way on another backend, or when it has failed too often."""
        for job in jobs:
            if job["backend"] != self.name and _counts(job):
                text = f"it was submitted to {job['backend']} already, as {job['id']}"
                raise BackendUnavailable(text, remedy="let that backend bring the result, or cancel it there")
        failed = [job for job in jobs if _status(job) == BackendStatus.FAILED]
        if len(failed) >= self._most_attempts:
            text = f"IBM failed it {len(failed)} times, at last with: {failed[-1]['reason']}"
            raise CircuitRejected("provider_failed", text)

    def _check(self, request: RunRequest, made: Compiled) -> None:
        """Everything that can speak against a run speaks before it is paid for."""
        most_shots, limits = self.capabilities().max_shots, request.limits
        if not 1 <= request.shots <= most_shots:
            code = "too_many_shots" if request.shots > most_shots else "no_shots"
            raise CircuitRejected(code, f"asks for {request.shots} shots, {self.name} takes {most_shots}")
        remedy = "ask for fewer shots or measure fewer qubits"
        # Noise reaches every outcome there is.
        outcomes = max(min(request.shots, 2**piece.width) for piece in made.circuits)
        if outcomes > limits.outcomes:
            text = f"it may give {outcomes} distinct outcomes, the limit is {limits.outcomes}"
            raise CircuitRejected("too_many_outcomes", text, remedy=remedy)
        # Every shot is told beside the counts, and the first circuit's counts and all values stand in a result twice.
        shown = outcomes + (request.shots if request.result == MEMORY else 0)
        each = [sum(piece.circuit["registers"]) + _BYTES_PER_OUTCOME for piece in made.circuits]
        values = sum(len(part.observables) for part in request.parts())
        size = shown * sum(each) + outcomes * each[0] + values * BYTES_PER_VALUE
        if size > limits.output_bytes:
            text = f"its result may have {size} bytes, the limit is {limits.output_bytes}"
            raise CircuitRejected("output_limit", text, remedy=remedy)
        seconds = self._qpu_seconds(request.shots, made)
        if seconds > self._max_execution_seconds:
            text = f"it would hold {self.name} for {seconds:.0f} s, the limit is {self._max_execution_seconds} s"
            raise CircuitRejected("too_much_hardware_time", text, remedy="ask for fewer shots")

    def _qpu_seconds(self, shots: int, made: Compiled) -> float:
        return self.qpu_seconds(shots * len(made.circuits), sum(p.duration for p in made.circuits) / len(made.circuits))

    def _note(
        self,
        request: RunRequest,
        made: Compiled,
        device: _Device,
        jobs: Sequence[Mapping[str, Any]],
        *,
        recovered: bool,
    ) -> dict[str, Any]:
        return {
            "shots": request.shots,
            "seed": request.seed or 0,
            "result": request.result,
            "facts": {name: getattr(made, name) for name in ("qubits", "depth", "operations", "confinement")},
            "seconds": made.seconds,
            "pieces": [
                {
                    "pub": piece.pub,
                    "set": piece.set,
                    "basis": piece.basis,
                    "width": piece.width,
                    "bits": sum(piece.circuit["registers"]),
                    "digest": isa.digest(piece.circuit),
                    "isa": {**isa.figures(piece.circuit), "seconds_per_shot": piece.duration},
                }
                for piece in made.circuits
            ],
            "observables": [part.observables for part in request.parts()],
            "estimated_seconds": round(self._qpu_seconds(request.shots, made), 3),
            "recompiled": recovered,
            "calibrated": device.calibrated,
            "earlier_attempts": len(jobs),
        }

    def _submit(self, request: RunRequest, made: Compiled, tag: str) -> str:
        order = {
            "backend": self.name,
            "circuits": [piece.circuit for piece in made.circuits],
            "shots": request.shots,
            "tags": [MARK, tag],
            "max_execution_seconds": self._max_execution_seconds,
            "private": self._private,
        }
        try:
            reference = self._account.ask("submit", **order)["id"]
        except BackendUnavailable:
            # It may have been taken all the same: POST /jobs knows no idempotency, and the client repeats it after
            # some failures.
            with suppress(BackendUnavailable):
                if known := self._settled(self._jobs(tag)):
                    return known
            raise
        with suppress(BackendUnavailable):
            return self._settled(self._jobs(tag)) or reference
        return reference

    def _jobs(self, tag: str) -> list[dict[str, Any]]:
        """All jobs that were ever submitted under ``tag``, on any backend, the oldest first."""
        return sorted(self._account.ask("find", tag=tag)["jobs"], key=lambda job: job["created"])

    def _settled(self, jobs: Sequence[Mapping[str, Any]]) -> str | None:
        """The job on this backend that counts; its live duplicates are cancelled."""
        counting = [job for job in jobs if job["backend"] == self.name and _counts(job)]
        if not counting:
            return None
        first, *others = sorted(counting, key=lambda job: _RANK.index(_status(job)))
        for other in others:
            if _status(other) in (BackendStatus.QUEUED, BackendStatus.RUNNING):
                with suppress(BackendUnavailable, InputError):
                    self.cancel(other["id"])
        return first["id"]

    # --------------------------------------------------------------------------------------------- results

    def _result(self, seen: Mapping[str, Any]) -> HardwareResult:
        tag = next((tag for tag in seen["tags"] if tag != MARK), "")
        note = self._notes.read(tag)
        if note is None:
            raise BackendUnavailable(f"nothing is noted about {seen['id']}", remedy="submit it again: it will be found")
        answer = self._recalled(seen["id"])
        if answer is None:
            answer = self._account.ask("fetch", id=seen["id"], memory=note["result"] == MEMORY)
            if answer["private"] and self._keeper is not None:
                self._keeper.keep(seen["id"], json.dumps(answer).encode())
        return self._described(seen, note, answer)

    def _recalled(self, reference: str) -> dict[str, Any] | None:
        kept = self._keeper.recall(reference) if self._keeper is not None else None
        return None if kept is None else json.loads(kept)

    def _described(self, seen: Mapping[str, Any], note: Mapping[str, Any], answer: Mapping[str, Any]) -> HardwareResult:
        pieces = note["pieces"]
        measured = measurements(answer["outcomes"], note, self._limits)
        plain = len(pieces) == 1 and note["result"] == COUNTS
        provider = {
            "name": "ibm",
            "endpoint": self._account.endpoint,
            "backend": self.name,
            "job_id": seen["id"],
            "private": answer["private"],
            "attempts": note["earlier_attempts"] + 1,
            "calibration": calibration(answer["properties"] or self._device().properties, pieces[0]["isa"]),
            "compiled_for": note["calibrated"],
            "recompiled": note["recompiled"],
            "estimated_seconds": note["estimated_seconds"],
            "metrics": answer["metrics"],
            "isa": [piece["isa"] for piece in pieces],
        }
        return HardwareResult(
            **note["facts"],
            counts=measured[0]["counts"],
            shots=note["shots"],
            seed=note["seed"],
            clbits=pieces[0]["width"],
            method=METHOD,
            engine=self._account.engine,
            versions=_versions(),
            transpiled_digest=pieces[0]["digest"],
            seconds={**note["seconds"], **_spans(answer["metrics"].get("timestamps") or {})},
            runs=[] if plain else runs(measured, note),
            provider=provider,
        )


@dataclass(frozen=True)
class Ranking:
    """``order`` has the eligible backends, the shortest queue first; ``reasons`` a line for every backend."""

    order: list[IbmBackend]
    reasons: dict[str, str]


def least_busy(
    backends: Sequence[IbmBackend],
    *,
    qubits: int,
    shots: int = 1,
    allowed: Sequence[str] = (),
    max_queue_seconds: float | None = None,
) -> Ranking:
    """Which of ``backends`` may take a run, by queue. Without ``allowed`` all are; none is ever substituted."""
    waits: list[tuple[float, IbmBackend]] = []
    reasons: dict[str, str] = {}
    for backend in backends:
        try:
            objection = _objection(backend, qubits, shots, allowed, max_queue_seconds)
        except BackendUnavailable as err:
            objection = err.message
        reasons[backend.name] = objection
        if not objection:
            waits.append((backend.queue().seconds, backend))
    order = [backend for _, backend in sorted(waits, key=lambda each: each[0])]
    for place, backend in enumerate(order):
        queue = backend.queue()
        what = "the shortest queue" if place == 0 else f"eligible, but {order[0].name} has a shorter queue"
        reasons[backend.name] = f"{what}: {queue.pending} jobs, about {queue.seconds:.0f} s"
    return Ranking(order, reasons)


def _objection(
    backend: IbmBackend, qubits: int, shots: int, allowed: Sequence[str], max_queue_seconds: float | None
) -> str:
    if allowed and backend.name not in allowed:
        return "not among the allowed backends"
    capabilities, queue = backend.capabilities(), backend.queue()
    if qubits > capabilities.max_qubits:
        return f"the circuit has {qubits} qubits, it has {capabilities.max_qubits}"
    if shots > capabilities.max_shots:
        return f"{shots} shots are asked for, it takes {capabilities.max_shots}"
    if not queue.operational:
        return f"it is not running jobs now ({queue.message})"
    if max_queue_seconds is not None and queue.seconds > max_queue_seconds:
        return f"about {queue.seconds:.0f} s of queue, {max_queue_seconds:.0f} s are tolerated"
    return ""


def _status(job: Mapping[str, Any]) -> BackendStatus:
    """IBM's word as ours. Raises :class:`BackendUnavailable` for one that is not known."""
    try:
        return _STATUS[job["status"]]
    except KeyError:
        raise BackendUnavailable(f"IBM calls the job {job['status']!r}, which is not known here") from None


def _counts(job: Mapping[str, Any]) -> bool:
    """Not so one that was cancelled, or that failed without fault of the circuit: it is as if it had never been."""
    status = _status(job)
    return status in _RANK and (status != BackendStatus.FAILED or job["too_long"])


def _failure(job: Mapping[str, Any]) -> Exception:
    if job["too_long"]:
        return CircuitRejected("hardware_time_limit", f"IBM stopped it: {job['reason']}", remedy="ask for fewer shots")
    return BackendUnavailable(f"IBM failed {job['id']}: {job['reason']}")


def _spans(timestamps: Mapping[str, Any]) -> dict[str, float]:
    """Seconds in the queue and on the device, where IBM tells both ends."""
    spans = {}
    for name, start, end in (("queue", "created", "running"), ("run", "running", "finished")):
        with suppress(KeyError, TypeError, ValueError):
            passed = datetime.fromisoformat(timestamps[end]) - datetime.fromisoformat(timestamps[start])
            spans[name] = round(max(0.0, passed.total_seconds()), 3)
    return spans


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    return {"python": platform.python_version()} | {name: version(name) for name in ("qiskit", "qiskit-ibm-runtime")}
