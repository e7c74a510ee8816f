"""One run of a circuit: what is asked and what comes back."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any

from oracle.circuits.analysis import ANALYSE, AUTOMATIC, Analysis
from oracle.circuits.limits import CircuitLimits
from oracle.jobs.errors import CircuitRejected


@dataclass(frozen=True)
class RunRequest:
    """``source`` is OpenQASM text as bytes, ``format`` is ``openqasm2`` or ``openqasm3``.

    ``method`` is one of :data:`oracle.circuits.analysis.REQUESTS`; asked to analyse, a run ends with an
    :class:`~oracle.circuits.analysis.Analysis` in place of a result. ``threads`` are for one run; seeded counts do
    not depend on them.
    """

    source: bytes
    format: str
    shots: int
    seed: int | None
    limits: CircuitLimits
    method: str = AUTOMATIC
    threads: int = 1

    def outcome(self, document: Any) -> RunResult | Analysis:
        """What a sandboxed process sent in answer, checked. Raises :class:`CircuitRejected`."""
        if self.method == ANALYSE:
            return Analysis.from_untrusted(document)
        return RunResult.from_untrusted(document, self)


@dataclass(frozen=True)
class RunResult:
    """What a simulator measured.

    ``counts`` maps bit strings in Qiskit's order (classical bit 0 last, registers joined without spaces) to
    how often they occurred. ``engine`` names simulator and method, ``versions`` the packages.
    ``transpiled_digest`` is the hex sha-256 of the executed circuit's instructions
    (:func:`oracle.circuits.load.instructions_digest`). ``confinement`` says what held the process in:
    ``seccomp+rlimits`` or ``rlimits``. ``seconds`` has one entry per phase.
    ``threads`` is how many the simulator was given.
    """

    counts: dict[str, int]
    shots: int
    seed: int
    qubits: int
    clbits: int
    depth: int
    operations: dict[str, int]
    method: str
    engine: str
    versions: dict[str, str]
    transpiled_digest: str
    confinement: str
    seconds: dict[str, float]
    threads: int = 1

    @classmethod
    def from_untrusted(cls, document: Any, request: RunRequest) -> RunResult:
        """The result a sandboxed process sent; the circuit may have taken it over, so all is checked.

        Raises :class:`CircuitRejected` with code ``bad_result``.
        """
        try:
            result = cls(**document)
            problem = _problem(result, request)
        except (TypeError, ValueError, AttributeError):
            problem = "it is malformed"
        if problem:
            raise CircuitRejected("bad_result", f"the simulator's answer cannot be used: {problem}")
        return result


class Run(Future["RunResult | Analysis"]):
    """A run submitted to an executor. Unlike other futures, :meth:`cancel` also stops one under way.

    For executors: ``stop(run)`` is called once if a run under way is cancelled, and has to make it end soon;
    :attr:`stopping` is true by then. A run ends through :meth:`settle`.
    """

    def __init__(self, stop: Callable[[Run], None]):
        super().__init__()
        self._stop = stop
        self._turn = threading.RLock()  # cancelling and settling take turns
        self.stopping = False

    def cancel(self) -> bool:
        """Stop the run; false if it has ended already, otherwise it ends as cancelled."""
        if super().cancel():
            return True
        with self._turn:
            if self.done():
                return self.cancelled()
            first, self.stopping = not self.stopping, True
        if first:
            self._stop(self)
        return True

    def cancelled(self) -> bool:
        """Whether it was cancelled, before or while it ran."""
        return super().cancelled() or (self.done() and isinstance(self.exception(), CancelledError))

    def settle(self, outcome: RunResult | Analysis | BaseException) -> None:
        """End a run under way with its result or its failure; one that has ended stays as it is."""
        with self._turn:
            if self.done():
                return
            if self.stopping:
                self.set_exception(CancelledError())
            elif isinstance(outcome, BaseException):
                self.set_exception(outcome)
            else:
                self.set_result(outcome)


def _problem(result: RunResult, request: RunRequest) -> str:
    width = result.clbits
    numbers = (result.shots, result.seed, result.qubits, width, result.depth)
    if not all(_is_count(number) for number in numbers):
        return "a number is not one"
    if result.threads != request.threads:
        return "it was made in another way"
    if result.shots != request.shots or (request.seed is not None and result.seed != request.seed):
        return "it is for another run"
    if not 0 < width <= request.limits.clbits or not 0 < result.qubits <= request.limits.qubits:
        return "its width is out of range"
    if not 0 < len(result.counts) <= request.limits.outcomes:
        return "it has no outcomes or too many"
    outcome = re.compile(f"[01]{{{width}}}")
    if not all(outcome.fullmatch(key) for key in result.counts):
        return "an outcome is not a bit string of the circuit's width"
    if not all(_is_count(number) and number > 0 for number in result.counts.values()):
        return "a count is not a positive number"
    if sum(result.counts.values()) != request.shots:
        return "the counts do not add up to the shots"
    if not re.fullmatch(r"[0-9a-f]{64}", result.transpiled_digest):
        return "a digest is not one"
    labels = (
        result.method,
        result.engine,
        result.confinement,
        *result.operations,
        *result.versions,
        *result.seconds,
    )
    if not all(_LABEL.fullmatch(label) for label in (*labels, *result.versions.values())):
        return "a label is not one"
    if max(len(result.operations), len(result.versions), len(result.seconds)) > 256:
        return "a table is too long"
    if not all(_is_count(number) for number in result.operations.values()):
        return "a number of operations is not one"
    if not all(isinstance(span, (int, float)) and 0 <= span < math.inf for span in result.seconds.values()):
        return "a time is not one"
    return ""


_LABEL = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,79}")


def _is_count(value: object) -> bool:
    """A number that survives JSON everywhere: whole, not negative, within 53 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
