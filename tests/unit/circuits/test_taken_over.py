"""What becomes of a circuit that has taken its process over: real workers whose children run any Python sent."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import psutil
import pytest

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import Run, RunRequest
from oracle.circuits.sandbox import Sandbox
from oracle.jobs.errors import CircuitRejected

GOOD = b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2]; creg c[2]; x q[0]; measure q -> c;'
PYTHON = sys.executable
FILTERED = sys.platform == "linux" and os.uname().machine == "x86_64"
WORKER = """#!{python}
import ctypes, json, os, signal, socket, threading, time
from oracle.circuits import worker

honest, serve, leaked = worker.simulate, worker._serve, []

def taken_over(request, started):
    return exec(request.source) if request.source.startswith(b"#") else honest(request, started)

def leaking(message, requests):
    leaked.append(b"x" * {leak})
    return serve(message, requests)

worker.simulate, worker._serve = taken_over, leaking
worker.main([])
"""


def worker_program(folder: Path, leak: int = 0) -> str:
    program = folder / "worker"
    program.write_text(WORKER.format(python=PYTHON, leak=leak))
    program.chmod(0o755)
    return str(program)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", worker_program(tmp_path_factory.mktemp("worker")))
        with Sandbox(1) as sandbox:
            assert good(sandbox)
            yield sandbox


def good(sandbox: Sandbox) -> bool:
    return run(sandbox, GOOD).result(60).counts == {"01": 20}


def run(sandbox: Sandbox, source: bytes, **limits: int) -> Run:
    return sandbox.submit(RunRequest(source, "openqasm2", 20, 1, CircuitLimits(**limits)))


def workers() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if p.name() == "worker"]


DEAF = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
FORGED = json.dumps({"result": {"counts": {"01": 20}, "shots": 21}})
# What it does, what is said of it, and its limits.
DEEDS = {
    "leaks memory": ("x = []\nwhile True: x.append(bytearray(2**20))", "memory_limit", {"memory_bytes": 2**26}),
    "spins": ("while True: pass", "cpu_limit", {"cpu_seconds": 1}),
    "spins deaf to signals": (DEAF + "while True: pass", "cpu_limit", {"cpu_seconds": 1}),
    "sleeps deaf to signals": (DEAF + "while True: time.sleep(9)", "time_limit", {"wall_seconds": 1}),
    "answers and stays": ("os.write(3, b'{}')\nwhile True: time.sleep(9)", "time_limit", {"wall_seconds": 1}),
    "writes without end": ("while True: os.write(3, b'x' * 2**16)", "output_limit", {}),
    "writes rubbish": (r"os.write(3, b'\xff{'), os._exit(0)", "crashed", {}),
    "says nothing": ("os._exit(0)", "crashed", {}),
    "forges a result": (f"os.write(3, {FORGED.encode()!r}), os._exit(0)", "bad_result", {}),
    "breaks off by signal": ("ctypes.string_at(0)", "crashed", {}),
    "starts threads without end": (
        "while True: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
        "simulation_failed",
        {"memory_bytes": 2**27},
    ),
}
FORBIDDEN = {
    "forks without end": "while True: os.fork()",
    "writes a file": "open('/tmp/qscrow-taken-over', 'w')",
    "reads a file": "open('/etc/passwd')",
    "opens a socket": "socket.socket()",
    "runs a program": "os.execv('/bin/true', ['true'])",
    "kills its worker": "os.kill(os.getppid(), 9)",
    "kills its group": "os.killpg(0, 9)",
    "stops being first to be killed": "open('/proc/self/oom_score_adj', 'w')",
}


@pytest.mark.parametrize("deed", DEEDS)
def test_submit__circuit_that_took_over__ends_alone(pool: Sandbox, deed: str) -> None:
    source, code, limits = DEEDS[deed]
    before = workers()
    error = run(pool, b"#\n" + source.encode(), **limits).exception(60)
    assert isinstance(error, CircuitRejected) and error.code == code
    assert good(pool) and workers() == before and not before[0].children()


@pytest.mark.skipif(not FILTERED, reason="system calls are filtered on x86-64 Linux only")
@pytest.mark.parametrize("deed", FORBIDDEN)
def test_submit__circuit_that_reaches_out__is_refused_by_the_system(pool: Sandbox, deed: str) -> None:
    before = workers()
    error = run(pool, b"#\n" + FORBIDDEN[deed].encode()).exception(60)
    assert isinstance(error, CircuitRejected) and error.code == "simulation_failed"
    assert "PermissionError" in error.message
    assert good(pool) and workers() == before


def test_cancel__circuit_deaf_to_signals__ends_and_worker_stays(pool: Sandbox) -> None:
    before = workers()
    future = run(pool, b"#\n" + DEAF.encode() + b"while True: pass")
    while not future.running():
        pass
    assert future.cancel()
    assert isinstance(future.exception(60), CancelledError) and future.cancelled()
    assert good(pool) and workers() == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process may be killed for")
def test_child__while_it_runs__is_the_first_to_go_when_memory_is_short(pool: Sandbox) -> None:
    future = run(pool, b"#\nwhile True: time.sleep(9)")
    while not (children := workers()[0].children()) or _oom_score(children[0]) != 1000:
        pass
    assert _oom_score(workers()[0]) < 1000
    future.cancel()
    assert isinstance(future.exception(60), CancelledError)


def _oom_score(process: psutil.Process) -> int:
    return int(Path(f"/proc/{process.pid}/oom_score_adj").read_text())


def test_worker__that_leaks__is_replaced_before_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leak, limit = 32 * 2**20, 256 * 2**20
    monkeypatch.setattr(sys, "executable", worker_program(tmp_path, leak))
    others, seen = set(workers()), set()
    with Sandbox(1, recycle_bytes=limit) as sandbox:
        for _ in range(8):
            assert good(sandbox)
            for worker in set(workers()) - others:
                seen.add(worker.pid)
                assert worker.memory_info().rss < limit + leak
    assert len(seen) > 1


def test_worker__that_has_served_enough__is_replaced() -> None:
    others = set(psutil.Process().children())
    with Sandbox(1, recycle_runs=2) as sandbox:
        seen = []
        for _ in range(3):
            assert good(sandbox)
            seen += [p.pid for p in set(psutil.Process().children()) - others]
    assert len(set(seen)) == 2  # the second run's worker is gone before it can be seen
