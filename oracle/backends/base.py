"""What the node needs of a backend, local or at a provider."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from oracle.circuits.run import Run, RunRequest, RunResult


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


@dataclass(frozen=True)
class Backlog:
    """What a backend still has to do: runs waiting and under way, the seconds of one worker they are expected to
    take together, and how many ``workers`` share them."""

    queued: int
    running: int
    seconds: float
    workers: int


class Executor(Protocol):
    """Runs circuits in confined processes, on this machine or on others. Shaped like those of
    :mod:`concurrent.futures`."""

    @property
    def workers(self) -> int:
        """How many runs it takes at a time; it may change, and be 0 for now."""

    def submit(self, request: RunRequest) -> Run:
        """Queue ``request``. The run's ``cancel`` stops it even under way.

        The future raises :class:`~oracle.jobs.errors.CircuitRejected` if the circuit is at fault (or with code
        ``worker_lost`` or ``killed`` if the machine may be), :class:`concurrent.futures.CancelledError` if it was
        cancelled, and :class:`~oracle.jobs.errors.BackendUnavailable` if nothing can run now.
        """

    def close(self) -> None:
        """End all runs as cancelled and release what it holds."""


class Backend(Protocol):
    """One place where circuits run.

    ``tag`` names the intent, so that a restarted node finds its own run again. A reference that is not known
    is an :class:`~oracle.jobs.errors.InputError`.
    """

    name: str

    def capabilities(self) -> Capabilities:
        """What it can take."""

    def estimate(self, request: RunRequest, qubits: int, gates: int = 100, *, dynamic: bool = False) -> Estimate:
        """What ``request`` will cost, given the sizes in its :class:`~oracle.circuits.lint.LintReport`."""

    def submit(self, request: RunRequest, tag: str, *, expected_seconds: float = 0.0) -> str:
        """Start a run; returns the provider's reference. A tag that is known already starts nothing new.

        ``expected_seconds`` is for :meth:`backlog`. Raises :class:`~oracle.jobs.errors.BackendUnavailable`.
        """

    def status(self, reference: str) -> BackendStatus:
        """Where the run is."""

    def cancel(self, reference: str) -> None:
        """Stop a run, also one under way; one that has ended stays as it is."""

    def result(self, reference: str, timeout: float | None = None) -> RunResult:
        """Wait for the result.

        Raises :class:`~oracle.jobs.errors.CircuitRejected` if the circuit is at fault, and
        :class:`TimeoutError` after ``timeout`` seconds or if the run was cancelled.
        """

    def reconcile(self, tag: str) -> str | None:
        """The reference of a run already submitted under ``tag``, if the backend still knows it."""

    def backlog(self) -> Backlog:
        """What it still has to do."""

    def close(self) -> None:
        """Release what it holds."""
