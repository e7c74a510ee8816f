"""The node's side of the compiler: one warm process per device and calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oracle.backends.ibm import isa
from oracle.backends.ibm.process import Process
from oracle.circuits.run import RunRequest
from oracle.circuits.sandbox import as_message, rejection
from oracle.jobs.errors import BackendUnavailable, CircuitRejected

GRACE_SECONDS = 15


@dataclass(frozen=True)
class Compiled:
    """A circuit fitted to a device. ``duration`` is seconds per shot, the rest describes the original circuit as in
    :class:`~oracle.circuits.run.RunResult`."""

    circuit: dict[str, Any]
    qubits: int
    clbits: int
    depth: int
    operations: dict[str, int]
    duration: float
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
        if "circuit" not in answer:
            raise rejection(answer)
        limits = request.limits
        isa.checked(answer["circuit"], qubits=self._qubits, clbits=limits.clbits, most_steps=limits.expanded_gates)
        try:
            made = Compiled(**answer)
            sound = 0 <= made.duration < 3600 and made.clbits == sum(made.circuit["registers"])
        except (TypeError, ValueError):
            sound = False
        if not sound:
            raise CircuitRejected("bad_circuit", "what the compiler says of it cannot be used")
        return made

    def close(self) -> None:
        """End the process."""
        self.process.close()


def _greeted(answer: Mapping[str, Any]) -> None:
    if not answer.get("ready"):
        raise BackendUnavailable("the compiler does not understand the device")
