"""Fitting circuits to a device of 127 qubits, in this process: what the compiler's process does for strangers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oracle.backends.ibm import isa
from oracle.backends.ibm.compile import compiled, pass_manager, target_of
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import RunRequest


@pytest.fixture(scope="module")
def device():
    from qiskit_ibm_runtime.fake_provider import FakeSherbrooke

    fake = FakeSherbrooke()
    folder = Path(fake.dirname)
    names = {"configuration": fake.conf_filename, "properties": fake.props_filename}
    target = target_of({part: json.loads((folder / name).read_text()) for part, name in names.items()})
    return target, pass_manager(target)


def fit(device, source):
    return compiled(RunRequest(source, "openqasm2", 100, 1, CircuitLimits()), *device)


def test_compiled__gate_of_a_strangers_named_like_the_devices_own__is_the_strangers(device):
    source = (
        b'OPENQASM 2.0; include "qelib1.inc"; gate ecr a,b { x a; } qreg q[2]; creg c[2]; ecr q[0],q[1]; measure q->c;'
    )

    (piece,) = fit(device, source)["circuits"]

    assert isa.figures(piece["circuit"])["operations"] == {"x": 1, "measure": 2}


def test_compiled__any_circuit__is_one_the_client_would_send(device):
    from qiskit_ibm_runtime.utils.utils import is_isa_circuit

    source = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[3]; creg c[3]; h q; ccx q[0],q[1],q[2]; measure q -> c;'

    (piece,) = fit(device, source)["circuits"]

    assert is_isa_circuit(isa.circuit(piece["circuit"]), device[0]) == ""
    assert 1e-6 < piece["duration"] < 1e-4


def test_compiled__same_circuit_again__is_the_same(device):
    source = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[4]; creg c[4]; h q; cx q[0],q[3]; cx q[1],q[3]; measure q->c;'

    first, second = (isa.digest(fit(device, source)["circuits"][0]["circuit"]) for _ in range(2))

    assert first == second
