"""The pool: runs, limits, deaths, and what its processes can see."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path

import psutil
import pytest

from oracle.circuits.analysis import ANALYSE, AUTOMATIC
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import RunRequest, RunResult
from oracle.circuits.sandbox import ANALYSES_IN_A_ROW, Sandbox
from oracle.jobs.errors import CircuitRejected, QscrowError

ROOT = Path(__file__).resolve().parents[3]
H2 = b'OPENQASM 2.0;\ninclude "qelib1.inc";\n'
GOOD = H2 + b"qreg q[2]; creg c[2]; x q[0]; measure q -> c;"
# A reset makes Aer run every shot anew: minutes for a million of them.
ENDLESS = H2 + b"qreg q[16]; creg c[16]; h q; t q; reset q[0]; h q; measure q -> c;"
Run = Callable[..., RunResult]


def code_of(run: Run, source: bytes, format: str = "openqasm2", **options: int) -> str:
    with pytest.raises(CircuitRejected) as caught:
        run(source, format, **options)
    return caught.value.code


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


# ------------------------------------------------------------------------------------------------- results


def test_submit__circuit__result_says_how_it_came_about(run: Run) -> None:
    result = run(GOOD, "openqasm2", shots=50, seed=3)
    assert result.counts == {"01": 50}
    assert (result.shots, result.seed, result.qubits, result.clbits, result.depth) == (50, 3, 2, 2, 2)
    assert result.operations == {"x": 1, "measure": 2}
    assert (result.method, result.engine) == ("stabilizer", "aer-stabilizer")
    assert set(result.versions) == {"python", "qiskit", "qiskit-aer"}
    assert set(result.seconds) == {"load", "analyse", "transpile", "run"}
    assert len(result.transpiled_digest) == 64


def test_submit__this_machine__confinement_is_the_strongest_it_has(run: Run) -> None:
    filtered = sys.platform == "linux" and os.uname().machine == "x86_64"
    assert run(GOOD, "openqasm2").confinement == ("seccomp+rlimits" if filtered else "rlimits")


@pytest.mark.parametrize(
    ("body", "format", "key"),
    [
        (b"qreg q[3]; creg c[3]; x q[0]; measure q -> c;", "openqasm2", "001"),
        (
            b"qreg q[2]; creg a[2]; creg b[1]; x q[1]; measure q -> a; measure q[1] -> b[0];",
            "openqasm2",
            "110",
        ),
        (b"qubit[2] q; bit[2] c; bit d; x q[0]; c[0] = measure q[0]; d = measure q[1];", "openqasm3", "001"),
        (b"qubit q; bit a; bit b; x q; b = measure q;", "openqasm3", "10"),
        (
            b"qubit[2] q; bit[2] c; x q[0]; c[0] = measure q[0]; if (c[0]) { x q[1]; } c[1] = measure q[1];",
            "openqasm3",
            "11",
        ),
        (b"qubit[2] q; bit[2] c; if (!c[0]) { x q[1]; } c[1] = measure q[1];", "openqasm3", "10"),
        (
            b"qreg q[1]; creg c[2]; x q[0]; measure q[0] -> c[0]; reset q[0]; measure q[0] -> c[1];",
            "openqasm2",
            "01",
        ),
        (
            b"qreg q[2]; creg c[2]; x q[0]; measure q[0] -> c[0]; if(c==1) x q[1]; measure q -> c;",
            "openqasm2",
            "11",
        ),
    ],
)
def test_submit__registers_bits_and_conditions__keys_in_qiskit_order(
    run: Run, body: bytes, format: str, key: str
) -> None:
    head = H2 if format == "openqasm2" else b'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
    assert run(head + body, format, shots=10).counts == {key: 10}


def test_submit__same_seed__same_counts_and_other_seed_others(run: Run) -> None:
    source = H2 + b"qreg q[6]; creg c[6]; h q; t q; h q; measure q -> c;"
    first, again, other = (run(source, "openqasm2", shots=500, seed=seed).counts for seed in (5, 5, 6))
    assert first == again != other


def test_submit__no_seed__draws_one_that_repeats_the_run(run: Run) -> None:
    source = H2 + b"qreg q[6]; creg c[6]; h q; t q; h q; measure q -> c;"
    first = run(source, "openqasm2", shots=500, seed=None)
    assert run(source, "openqasm2", shots=500, seed=first.seed).counts == first.counts
    assert run(source, "openqasm2", shots=500, seed=None).seed != first.seed


def test_submit__wide_clifford_circuit__runs_whatever_memory_there_is(run: Run) -> None:
    source = H2 + b"qreg q[60]; creg c[60]; h q[0]; " + b"".join(b"cx q[%d],q[%d];" % (n, n + 1) for n in range(59))
    result = run(source + b"measure q -> c;", "openqasm2", qubits=60)
    assert set(result.counts) == {"0" * 60, "1" * 60}
    assert result.method == "stabilizer"


@pytest.mark.parametrize("format", ["openqasm2", "openqasm3"])
def test_submit__gates_as_deep_as_allowed__run(run: Run, format: str) -> None:
    head = H2 if format == "openqasm2" else b'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
    tower = b"gate g0 a { x a; }" + b"".join(b"gate g%d a { g%d a; }" % (n, n - 1) for n in range(1, 64))
    assert run(head + tower + b"qreg q[1]; creg c[1]; g63 q[0]; measure q -> c;", format, shots=5).counts == {"1": 5}


# -------------------------------------------------------------------------------------------------- limits


def test_submit__more_shots_than_allowed__is_refused(sandbox: Sandbox) -> None:
    request = RunRequest(GOOD, "openqasm2", 101, 1, CircuitLimits(shots=100))
    error = sandbox.submit(request).exception(60)
    assert isinstance(error, CircuitRejected) and error.code == "too_many_shots"


@pytest.mark.parametrize("shots", [0, -1])
def test_submit__no_shots__is_refused(run: Run, shots: int) -> None:
    assert code_of(run, GOOD, shots=shots) == "no_shots"


def test_submit__amplitudes_beyond_memory__says_both_numbers(run: Run) -> None:
    dice = random.Random(1)
    tangle = "".join(
        f"ry({dice.random()}) q[{a}]; rx({dice.random()}) q[{b}]; cx q[{a}],q[{b}];"
        for a, b in (dice.sample(range(24), 2) for _ in range(200))
    )
    with pytest.raises(CircuitRejected) as caught:
        run(H2 + b"qreg q[24]; creg c[24];" + tangle.encode() + b"measure q -> c;", "openqasm2", memory_bytes=2**27)
    assert caught.value.code == "too_much_memory"
    assert "256 MiB" in caught.value.message and "128 MiB" in caught.value.message


def test_submit__memory_hog__is_stopped_at_the_limit(run: Run) -> None:
    hog = H2 + b"qreg q[28]; creg c[1];" + b"x q;" * 3000 + b"measure q[0] -> c[0];"
    assert code_of(run, hog, memory_bytes=2**23) == "memory_limit"
    assert run(GOOD, "openqasm2", shots=2).counts == {"01": 2}


def test_submit__more_cpu_than_allowed__is_stopped(run: Run) -> None:
    assert code_of(run, ENDLESS, shots=1_000_000, cpu_seconds=1) == "cpu_limit"
    assert run(GOOD, "openqasm2", shots=2).counts == {"01": 2}


def test_submit__longer_than_allowed__is_stopped(run: Run) -> None:
    assert code_of(run, ENDLESS, shots=1_000_000, wall_seconds=1) == "time_limit"
    assert run(GOOD, "openqasm2", shots=2).counts == {"01": 2}


def test_submit__more_output_than_allowed__is_stopped(run: Run) -> None:
    source = H2 + b"qreg q[12]; creg c[12]; h q; measure q -> c;"
    assert code_of(run, source, shots=2000, output_bytes=2000) == "output_limit"


def test_submit__more_outcomes_than_allowed__is_refused(run: Run) -> None:
    source = H2 + b"qreg q[3]; creg c[3]; h q; measure q -> c;"
    assert len(run(source, "openqasm2", outcomes=8).counts) == 8
    assert code_of(run, source, outcomes=7) == "too_many_outcomes"


# -------------------------------------------------------------------------------------------------- deaths


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox started with secrets in the environment and an inheritable file open."""
    secret = tmp_path_factory.mktemp("secrets") / "key.json"
    secret.write_text("private")
    descriptor = os.open(secret, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    os.environ["QSCROW_TEST_SECRET"] = "do-not-leak"
    try:
        with Sandbox(1) as sandbox:
            assert submit(sandbox, GOOD).result(60).counts == {"01": 20}
            yield sandbox
    finally:
        del os.environ["QSCROW_TEST_SECRET"]
        os.close(descriptor)


def submit(sandbox: Sandbox, source: bytes, shots: int = 20) -> Future[RunResult]:
    return sandbox.submit(RunRequest(source, "openqasm2", shots, 1, CircuitLimits()))


@pytest.fixture
def endless(pool: Sandbox) -> Iterator[tuple[Future[RunResult], psutil.Process, psutil.Process]]:
    """A run without end, its worker and the child that runs it."""
    future = submit(pool, ENDLESS, 1_000_000)
    found: list[psutil.Process] = []

    def started() -> bool:
        found[:] = [p for p in psutil.Process().children(recursive=True) if p.ppid() != os.getpid()]
        return len(found) == 1 and _is_confined(found[0])

    until(started)
    child = found[0]
    yield future, child.parent(), child
    if child.is_running():
        child.kill()
    until(future.done)  # or the next test would take this one's dying child for its own


def _is_confined(process: psutil.Process) -> bool:
    """Whether a child has got past its fork: one descriptor is left to it."""
    try:
        return os.listdir(f"/proc/{process.pid}/fd") == ["3"]
    except OSError:
        return False


def test_environment__of_worker_and_child__holds_no_secrets(endless) -> None:
    future, worker, child = endless
    allowed = {
        "PATH",
        "PYTHONPATH",
        "PYTHONDONTWRITEBYTECODE",
        "LC_ALL",
        "QISKIT_PARALLEL",
        "QISKIT_SETTINGS",
    }
    for process in (worker, child):
        environment = process.environ()
        assert "do-not-leak" not in str(environment) and "HOME" not in environment
        assert set(environment) - allowed == {name for name in environment if name.endswith("_NUM_THREADS")}
    worker.kill()
    assert isinstance(future.exception(60), CircuitRejected)


def test_descriptors__of_worker_and_child__are_only_their_own(endless) -> None:
    future, worker, child = endless
    assert worker.open_files() == [] and worker.connections() == []
    assert child.open_files() == [] and child.connections() == []
    assert os.listdir(f"/proc/{child.pid}/fd") == ["3"]
    worker.kill()
    assert isinstance(future.exception(60), CircuitRejected)


def test_worker_killed__mid_run__fails_that_run_alone(pool: Sandbox, endless) -> None:
    future, worker, child = endless
    queued = submit(pool, GOOD)
    worker.kill()
    error = future.exception(60)
    assert isinstance(error, CircuitRejected) and error.code == "worker_lost"
    assert queued.result(60).counts == {"01": 20}
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_child_killed__mid_run__fails_that_run_and_keeps_the_worker(pool: Sandbox, endless) -> None:
    future, worker, child = endless
    child.kill()
    error = future.exception(60)
    assert isinstance(error, CircuitRejected) and error.code == "killed"
    assert submit(pool, GOOD).result(60).counts == {"01": 20}
    assert worker.is_running()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_child_crashes__mid_run__is_the_circuits_fault(endless, number: int) -> None:
    future, _, child = endless
    child.send_signal(number)
    error = future.exception(60)
    assert isinstance(error, CircuitRejected) and error.code == "crashed"


def test_close__with_a_run_under_way_and_one_queued__leaves_nothing_behind() -> None:
    before = set(psutil.Process().children(recursive=True))
    sandbox = Sandbox(1)
    running, queued = submit(sandbox, ENDLESS, 1_000_000), submit(sandbox, GOOD)
    until(lambda: [p for p in set(psutil.Process().children(recursive=True)) - before if p.ppid() != os.getpid()])
    ours = set(psutil.Process().children(recursive=True)) - before
    sandbox.close()
    assert queued.cancelled()
    assert isinstance(running.exception(1), CancelledError)
    until(lambda: not [p for p in ours if p.is_running() and p.status() != psutil.STATUS_ZOMBIE])
    assert set(psutil.Process().children(recursive=True)) <= before
    with pytest.raises(RuntimeError, match="closed"):
        submit(sandbox, GOOD)
    sandbox.close()  # a second time is nothing


def test_submit__analyses_behind_runs__go_first_and_starve_none(pool: Sandbox, endless) -> None:
    order: list[str] = []
    waiting = []
    for method in [AUTOMATIC] * 3 + [ANALYSE] * 2 * ANALYSES_IN_A_ROW:
        waiting.append(pool.submit(RunRequest(GOOD, "openqasm2", 20, 1, CircuitLimits(), method)))
        waiting[-1].add_done_callback(lambda _, method=method: order.append(method))
    endless[0].cancel()
    until(lambda: len(order) == len(waiting))
    row = [ANALYSE] * ANALYSES_IN_A_ROW
    assert order == [*row, AUTOMATIC, *row, AUTOMATIC, AUTOMATIC]


def test_cancel__run_under_way__kills_its_process_and_keeps_the_worker(pool: Sandbox, endless) -> None:
    future, worker, child = endless
    assert future.cancel() and future.cancel()
    assert isinstance(future.exception(60), CancelledError) and future.cancelled()
    until(lambda: not child.is_running())
    assert submit(pool, GOOD).result(60).counts == {"01": 20}
    assert worker.is_running()


def test_cancel__run_that_has_ended__changes_nothing(pool: Sandbox) -> None:
    future = submit(pool, GOOD)
    result = future.result(60)
    assert not future.cancel() and not future.cancelled() and future.result() == result


def test_cancel__worker_still_starting__ends_as_cancelled() -> None:
    with Sandbox(1) as sandbox:
        future = submit(sandbox, ENDLESS, 1_000_000)
        until(future.running)
        assert future.cancel()
        assert isinstance(future.exception(60), CancelledError)
        assert submit(sandbox, GOOD).result(60).counts == {"01": 20}


def test_owner_killed__mid_run__workers_and_children_go_too() -> None:
    script = (
        "from oracle.circuits.limits import CircuitLimits\n"
        "from oracle.circuits.run import RunRequest\nfrom oracle.circuits.sandbox import Sandbox\n"
        f"Sandbox(1).submit(RunRequest({ENDLESS!r}, 'openqasm2', 1_000_000, 1, CircuitLimits())).result()"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    try:
        process = psutil.Process(owner.pid)
        until(lambda: len(process.children(recursive=True)) == 2)
        theirs = process.children(recursive=True)
    finally:
        owner.kill()
        owner.wait()
    until(lambda: not [p for p in theirs if p.is_running() and p.status() != psutil.STATUS_ZOMBIE])


def test_submit__worker_that_cannot_start__says_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with Sandbox(1) as broken:
        error = submit(broken, GOOD).exception(60)
    assert isinstance(error, QscrowError) and not isinstance(error, CircuitRejected)
    assert "qiskit" in (error.remedy or "")


# ---------------------------------------------------------------------------------------------- no forking


def test_single_use_workers__run_and_time_limit__work_without_a_fork(run: Run) -> None:
    with Sandbox(1, fork=False) as sandbox:
        request = RunRequest(ENDLESS, "openqasm2", 1_000_000, 1, CircuitLimits(wall_seconds=1))
        slow, good = sandbox.submit(request), submit(sandbox, GOOD)
        error = slow.exception(60)
        assert isinstance(error, CircuitRejected) and error.code == "time_limit"
        result = good.result(60)
        endless = submit(sandbox, ENDLESS, 1_000_000)
        until(endless.running)
        assert endless.cancel()
        assert isinstance(endless.exception(60), CancelledError)
    assert result.counts == {"01": 20}
    assert result.transpiled_digest == run(GOOD, "openqasm2", shots=20).transpiled_digest


# ------------------------------------------------------------------------------------------ hostile answers


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"code": "memory_limit", "message": "x"}, "memory_limit"),
        ({"code": "Not A Code", "message": "x"}, "crashed"),
        ({"code": "a" * 40, "message": "x"}, "crashed"),
        ({"code": 5, "message": ["x"]}, "crashed"),
        ({}, "crashed"),
        ([1, 2], "crashed"),
        ("text", "crashed"),
    ],
)
def test_rejection__whatever_the_child_wrote__is_short_and_printable(answer: object, code: str) -> None:
    from oracle.circuits.sandbox import rejection

    error = rejection(answer)
    assert error.code == code
    assert str(error).isprintable()


def test_rejection__long_text_with_escapes__is_cut_and_cleaned() -> None:
    from oracle.circuits.sandbox import rejection

    error = rejection({"code": "syntax_error", "message": "\x1b[2Jroot:x:0\n" * 1000, "field": "c\x00ircuit"})
    assert len(error.message) <= 300 and str(error).isprintable() and error.field == "circuit"
