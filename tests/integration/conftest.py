"""Warm processes for circuits, made once: a node of its own for every test would import Qiskit for every test."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from oracle.backends import select
from oracle.circuits.run import Run, RunRequest
from oracle.circuits.sandbox import Sandbox


class Borrowed:
    """A sandbox that outlives whoever borrowed it, but for the runs that were asked of it."""

    def __init__(self, sandbox: Sandbox):
        self._sandbox = sandbox
        self._runs: list[Run] = []

    @property
    def workers(self) -> int:
        return self._sandbox.workers

    def submit(self, request: RunRequest) -> Run:
        self._runs.append(self._sandbox.submit(request))
        return self._runs[-1]

    def close(self) -> None:
        for run in self._runs:
            run.cancel()


@pytest.fixture(scope="session", autouse=True)
def shared_sandboxes():
    """Nodes and validators in this process share a sandbox for each number of workers."""
    made: dict[int, Sandbox] = {}
    own = select._executor

    def executor(settings: Any) -> Any:
        if settings.executor != "pool":
            return own(settings)
        workers = settings.workers or select.cores()
        if workers not in made:
            made[workers] = stack.enter_context(Sandbox(workers))
        return Borrowed(made[workers])

    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(select, "_executor", executor)
        yield
