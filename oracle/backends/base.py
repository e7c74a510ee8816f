"""What the node needs of a backend, local or at a provider."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from oracle.circuits.run import RunRequest, RunResult


class BackendStatus(StrEnum):
    """Where a submitted run is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Capabilities:
    """What a backend can take. ``simulator`` is false for hardware."""

    max_qubits: int
    max_shots: int
    simulator: bool


@dataclass(frozen=True)
class Estimate:
    """What a run will cost: wall time in seconds and memory in bytes, both rough upper guesses."""

    seconds: float
    memory_bytes: int


class Backend(Protocol):
    """One place where circuits run.

    ``tag`` names the intent, so that a restarted node finds its own run again. A reference that is not known
    is an :class:`~oracle.jobs.errors.InputError`.
    """

    name: str

    def capabilities(self) -> Capabilities:
        """What it can take."""

    def estimate(self, request: RunRequest, qubits: int) -> Estimate:
        """What ``request`` will cost."""

    def submit(self, request: RunRequest, tag: str) -> str:
        """Start a run; returns the provider's reference. A tag that is known already starts nothing new."""

    def status(self, reference: str) -> BackendStatus:
        """Where the run is."""

    def cancel(self, reference: str) -> None:
        """Stop a run that has not ended."""

    def result(self, reference: str, timeout: float | None = None) -> RunResult:
        """Wait for the result.

        Raises :class:`~oracle.jobs.errors.CircuitRejected` if the circuit is at fault, and
        :class:`TimeoutError` after ``timeout`` seconds or if the run was cancelled.
        """

    def reconcile(self, tag: str) -> str | None:
        """The reference of a run already submitted under ``tag``, if the backend still knows it."""

    def close(self) -> None:
        """Release what it holds."""
