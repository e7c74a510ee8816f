"""One run of a circuit: what is asked and what comes back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from oracle.circuits.limits import CircuitLimits
from oracle.jobs.errors import CircuitRejected


@dataclass(frozen=True)
class RunRequest:
    """``source`` is OpenQASM text as bytes, ``format`` is ``openqasm2`` or ``openqasm3``."""

    source: bytes
    format: str
    shots: int
    seed: int | None
    limits: CircuitLimits


@dataclass(frozen=True)
class RunResult:
    """What a simulator measured.

    ``counts`` maps bit strings in Qiskit's order (classical bit 0 last, registers joined without spaces) to how often
    they occurred. ``engine`` names simulator and method, ``versions`` the packages. ``transpiled_digest`` is the hex
    sha-256 of the executed circuit's instructions (:func:`oracle.circuits.load.instructions_digest`). ``confinement``
    says what held the process in: ``seccomp+rlimits`` or ``rlimits``. ``seconds`` has one entry per phase.
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

    @classmethod
    def from_untrusted(cls, document: Any, request: RunRequest) -> RunResult:
        """The result a sandboxed process sent. The circuit may have taken that process over, so all is checked.

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


def _problem(result: RunResult, request: RunRequest) -> str:
    width = result.clbits
    numbers = (result.shots, result.seed, result.qubits, width, result.depth)
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in numbers):
        return "a number is not one"
    if result.shots != request.shots or (request.seed is not None and result.seed != request.seed):
        return "it is for another run"
    if not 0 < width <= request.limits.clbits or not 0 < result.qubits <= request.limits.qubits:
        return "its width is out of range"
    if not 0 < len(result.counts) <= request.limits.outcomes:
        return "it has no outcomes or too many"
    if any(not re.fullmatch(r"[01]{%d}" % width, key) for key in result.counts):
        return "an outcome is not a bit string of the circuit's width"
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in result.counts.values()):
        return "a count is not a positive number"
    if sum(result.counts.values()) != request.shots:
        return "the counts do not add up to the shots"
    texts = (result.method, result.engine, result.transpiled_digest, result.confinement)
    if any(not isinstance(text, str) or len(text) > 80 for text in texts):
        return "a label is not one"
    for labels, kind in ((result.operations, int), (result.versions, str), (result.seconds, (int, float))):
        if len(labels) > 256 or any(not isinstance(k, str) or not isinstance(v, kind) for k, v in labels.items()):
            return "a table is malformed"
    return ""
