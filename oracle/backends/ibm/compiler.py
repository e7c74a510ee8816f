"""The node's side of the compiler: one warm process per device and calibration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oracle.backends.ibm import isa
from oracle.backends.ibm.process import Process
from oracle.circuits.lint import EXPECTATION
from oracle.circuits.observables import bases
from oracle.circuits.run import RunRequest
from oracle.circuits.sandbox import as_message, rejection
from oracle.jobs.errors import BackendUnavailable, CircuitRejected

GRACE_SECONDS = 15
LONGEST_SHOT = 3600.0
_LABEL = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,79}")


@dataclass(frozen=True)
class Piece:
    """One circuit to run: that of parameter set ``set`` of PUB ``pub``, in the way :mod:`oracle.backends.ibm.isa` has
    it. ``basis`` is what it measures in, if it is for expectation values; of its outcomes the first ``width`` bits
    count. ``duration`` is seconds per shot."""

    pub: int
    set: int
    basis: str
    width: int
    circuit: dict[str, Any]
    duration: float


@dataclass(frozen=True)
class Compiled:
    """What a request became on a device; ``qubits``, ``depth`` and ``operations`` are those of the first circuit as it
    was written, ``confinement`` says what held its parser in."""

    circuits: list[Piece]
    qubits: int
    depth: int
    operations: dict[str, int]
    confinement: str
    seconds: dict[str, float]


class Compiler:
    """Fits circuits to the device with this ``configuration`` and these ``properties`` (IBM's JSON)."""

    def __init__(self, configuration: Mapping[str, Any], properties: Mapping[str, Any] | None):
        self._qubits = configuration["n_qubits"]
        hello = {"configuration": configuration, "properties": properties}
        self.process = Process("oracle.backends.ibm.compile", lambda: hello, _greeted)

    def compile(self, request: RunRequest) -> Compiled:
        """Raises :class:`CircuitRejected`, and :class:`BackendUnavailable` if the process cannot be had."""
        answer = self.process.call(as_message(request), request.limits.wall_seconds + GRACE_SECONDS)
        if "circuits" not in answer:
            raise rejection(answer)
        try:
            pieces = [Piece(**piece) for piece in answer.pop("circuits")]
            made = Compiled(pieces, **answer)
            sound = self._is_sound(made, request)
        except (TypeError, ValueError, KeyError, AttributeError):
            sound = False
        if not sound:
            raise CircuitRejected("bad_circuit", "what the compiler says of it cannot be used")
        return made

    def _is_sound(self, made: Compiled, request: RunRequest) -> bool:
        """Whether it fits what was asked for; whoever wrote it may have been taken over."""
        limits, left = request.limits, request.limits.expanded_gates
        for piece in made.circuits:
            isa.checked(piece.circuit, qubits=self._qubits, clbits=limits.clbits + self._qubits, most_steps=left)
            bits = sum(piece.circuit["registers"])
            width = len(piece.basis) - piece.basis.count("I") if piece.basis else bits
            if type(piece.width) is not int or not piece.width == width <= bits:
                return False
            if not 0 <= piece.duration < LONGEST_SHOT or (width > limits.clbits and not piece.basis):
                return False
        expected = [
            (part.pub, part.set, basis)
            for part in request.parts()
            for basis in (bases(part.observables, limits) if request.result == EXPECTATION else [""])
        ]
        numbers = [made.qubits, made.depth, *made.operations.values()]
        return (
            [(piece.pub, piece.set, piece.basis) for piece in made.circuits] == expected
            and all(isinstance(number, int) and 0 <= number < 2**53 for number in numbers)
            and all(_LABEL.fullmatch(name) for name in (made.confinement, *made.operations, *made.seconds))
            and all(0 <= spent < 1e6 for spent in made.seconds.values())
            and max(len(made.operations), len(made.seconds)) <= 256
        )

    def close(self) -> None:
        """End the process."""
        self.process.close()


def _greeted(answer: Mapping[str, Any]) -> None:
    if not answer.get("ready"):
        raise BackendUnavailable("the compiler does not understand the device")
