"""qsim in the sandbox, and without it. Its counts are judged in test_zoo.py and tests/integration/test_methods.py."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.load import load
from oracle.circuits.qsim import PACKAGE, VERSION, absence, sample
from oracle.circuits.run import RunRequest, named_methods
from oracle.circuits.sandbox import Sandbox
from oracle.jobs.errors import CircuitRejected

ROOT = Path(__file__).resolve().parents[3]
HEAD = 'OPENQASM 2.0; include "qelib1.inc"; '


def dense(qubits: int, layers: int) -> bytes:
    dice, text = random.Random(qubits), f"{HEAD}qreg q[{qubits}]; creg c[{qubits}]; "
    for _ in range(layers):
        text += "".join(f"u({dice.random()},{dice.random()},{dice.random()}) q[{i}]; " for i in range(qubits))
        order = dice.sample(range(qubits), qubits)
        text += "".join(f"cx q[{a}],q[{b}]; " for a, b in zip(order[::2], order[1::2], strict=False))
    return (text + "measure q -> c;").encode()


def counts_of(text: str, shots: int = 100) -> dict[str, int]:
    circuit = load((HEAD + text).encode(), "openqasm2", CircuitLimits())
    return sample(circuit, shots, 7, 65_536)


def test_absence__as_the_tests_run__is_none() -> None:
    assert absence() == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qreg a[2]; qreg b[2]; creg m[2]; creg n[3]; x b[1]; measure b[1] -> m[0];", "00001"),
        ("qreg a[2]; qreg b[2]; creg m[2]; creg n[3]; x b[0]; measure b -> m; measure a[0] -> n[2];", "00001"),
        ("qreg a[2]; qreg b[2]; creg m[2]; creg n[3]; x a[1]; measure a[1] -> n[2]; measure b[0] -> m[1];", "10000"),
        ("qreg a[60]; creg m[1]; x a[59]; measure a[59] -> m[0];", "1"),
        ("qreg a[1]; creg m[2]; measure a[0] -> m[1];", "00"),
        ("qreg a[3]; creg m[1]; x a[2]; measure a[0] -> m[0]; measure a[2] -> m[0];", "1"),
        (
            "qreg a[5]; creg m[5]; x a; x a[4]; c4x a[0],a[1],a[2],a[3],a[4]; measure a -> m;",
            "11111",
        ),
        ("qreg a[5]; creg m[5]; x a[1]; x a[4]; cswap a[4],a[1],a[3]; ccx a[4],a[3],a[0]; measure a -> m;", "11001"),
    ],
)
def test_sample__registers_bits_and_wide_gates__are_where_they_belong(text: str, expected: str) -> None:
    assert counts_of(text) == {expected: 100}


def test_sample__more_outcomes_than_allowed__is_refused() -> None:
    circuit = load(f"{HEAD}qreg q[8]; creg c[8]; h q; measure q -> c;".encode(), "openqasm2", CircuitLimits())
    with pytest.raises(CircuitRejected) as caught:
        sample(circuit, 1_000, 1, 10)
    assert caught.value.code == "too_many_outcomes"


def test_submit__a_dense_circuit__goes_to_qsim_and_says_so(sandbox: Sandbox) -> None:
    result = sandbox.submit(RunRequest(dense(18, 30), "openqasm2", 50, 3, CircuitLimits())).result(timeout=120)

    assert (result.method, result.engine) == ("qsim", "qsim")
    assert result.versions[PACKAGE] == VERSION and "qiskit-aer" not in result.versions


@pytest.mark.parametrize(
    ("limits", "shots", "result", "code"),
    [
        ({"memory_bytes": 2**27}, 50, "counts", "too_much_memory"),  # told before anything runs
        ({"cpu_seconds": 1}, 50, "counts", "cpu_limit"),
        ({}, 50, "memory", "no_memory"),
        ({}, 1_000_000, "counts", "imprecise"),
    ],
)
def test_submit__what_qsim_may_not_do__ends_that_run_alone(
    sandbox: Sandbox, limits: dict[str, int], shots: int, result: str, code: str
) -> None:
    request = RunRequest(dense(25, 40), "openqasm2", shots, 3, CircuitLimits(**limits), "qsim", result=result)
    with pytest.raises(CircuitRejected) as caught:
        sandbox.submit(request).result(timeout=120)
    assert caught.value.code == code


def test_of_spec__methods_named__are_the_only_ones_to_choose_from(sandbox: Sandbox) -> None:
    quantum = {"format": "openqasm2", "shots": 50, "constraints": {"allowed_backends": ["aer.qsim", "ibm_fez"]}}
    request = RunRequest.of_spec(dense(3, 2), quantum, 1, CircuitLimits())

    assert sandbox.submit(request).result(timeout=120).method == "qsim"
    assert named_methods({"constraints": {"allowed_backends": ["aer", "aer.qsim"]}}) is None


def test_everything__without_the_extra__goes_on_and_names_it(tmp_path: Path) -> None:
    """In an interpreter of its own whose packages are all but qsim."""
    packages = tmp_path / "site-packages"
    packages.mkdir()
    for folder in [Path(path) for path in sys.path if path.endswith("site-packages")]:
        for each in folder.iterdir():
            if not each.name.startswith(PACKAGE) and not (packages / each.name).exists():
                (packages / each.name).symlink_to(each)
    program = f"""
import sys
from oracle.backends.aer import AerBackend
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import RunRequest
from oracle.circuits.sandbox import Sandbox
from oracle.jobs.errors import CircuitRejected

def request(**changes):
    return RunRequest({dense(18, 30)!r}, "openqasm2", 50, 3, CircuitLimits(), **changes)

if __name__ == "__main__":
    backend = AerBackend(Sandbox(1))
    print(backend.candidate().absent["qsim"])
    print(backend.result(backend.submit(request(), "any"), timeout=120).engine)
    for changes in ({{"method": "qsim"}}, {{"methods": ("qsim",), "insisted": True}}):
        try:
            backend.result(backend.submit(request(**changes), str(changes)), timeout=120)
        except CircuitRejected as err:
            print(err.code, err.message)
    backend.close()
"""
    bare = getattr(sys, "_base_executable", sys.executable)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(packages)])}
    done = subprocess.run([bare, "-c", program], env=environment, capture_output=True, text=True, timeout=240)

    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[0] == "not installed; pip install 'qscrow[fast]'" and lines[1] == "aer-statevector"
    assert len(lines) == 4 and all(line.startswith("not_offered") and lines[0] in line for line in lines[2:])
