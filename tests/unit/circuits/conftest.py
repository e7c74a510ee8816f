"""One warm sandbox for every test that runs circuits: starting one costs seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import RunRequest, RunResult
from oracle.circuits.sandbox import Sandbox

Run = Callable[..., RunResult]


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(1) as pool:
        yield pool


@pytest.fixture(scope="session")
def run(sandbox: Sandbox) -> Run:
    """``run(source, format, shots=…, seed=…, **limits)`` in the shared sandbox."""

    def run_one(source: bytes, format: str, shots: int = 100, seed: int | None = 1, **limits: Any) -> RunResult:
        bounds = CircuitLimits(**{"cpu_seconds": 20, "wall_seconds": 40, **limits})
        return sandbox.submit(RunRequest(source, format, shots, seed, bounds)).result(timeout=120)

    return run_one
