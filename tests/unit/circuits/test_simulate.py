"""What the simulator does with a circuit, in this process: circuits here are ours."""

from __future__ import annotations

import pytest

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.load import load
from oracle.circuits.run import RunRequest
from oracle.circuits.simulate import _compiled, _run, _unfolded, pass_manager, simulate
from oracle.jobs.errors import CircuitRejected

HEAD = b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3]; creg c[3];\n'
NATIVE = b"""h q; u3(0.1,0.2,0.3) q[0]; u2(0.1,0.2) q[1]; u1(0.1) q[2]; u(0.1,0.2,0.3) q[0]; p(0.1) q[0]; id q[0];
x q[0]; y q[1]; z q[2]; s q[0]; sdg q[1]; t q[2]; tdg q[0]; rx(0.1) q[0]; ry(0.2) q[1]; rz(0.3) q[2]; sx q[0];
sxdg q[1]; cx q[0],q[1]; cy q[1],q[2]; cz q[0],q[2]; swap q[0],q[1]; ccx q[0],q[1],q[2]; cswap q[0],q[1],q[2];
crx(0.3) q[0],q[1]; cry(0.4) q[1],q[2]; crz(0.5) q[0],q[2]; cu1(0.6) q[0],q[1]; cp(0.7) q[1],q[2];
cu3(0.1,0.2,0.3) q[0],q[1]; csx q[0],q[1]; cu(0.1,0.2,0.3,0.4) q[1],q[2]; rxx(0.1) q[0],q[1]; rzz(0.2) q[1],q[2];
reset q[1]; barrier q; h q; measure q -> c;"""


def test_compiled__gates_of_the_simulator__same_counts_without_the_pass_manager() -> None:
    circuit = load(HEAD + NATIVE, "openqasm2", CircuitLimits())
    assert _compiled(_unfolded(circuit), "statevector") is circuit
    counts = _run(circuit, "statevector", 2000, 7).counts
    assert len(counts) > 4
    assert counts == _run(pass_manager("statevector").run(circuit), "statevector", 2000, 7).counts


@pytest.mark.parametrize(
    "body",
    [b"rccx q[0],q[1],q[2]; measure q -> c;", b"measure q[0] -> c[0]; if(c==1) x q[1]; measure q -> c;"],
    ids=["gate the simulator lacks", "condition"],
)
def test_compiled__anything_else__goes_through_the_pass_manager(body: bytes) -> None:
    circuit = load(HEAD + body, "openqasm2", CircuitLimits())
    assert _compiled(_unfolded(circuit), "statevector") is not circuit


# Names under which Qiskit or Aer has something else.
@pytest.mark.parametrize("name", ["mcx", "ecr", "ryy", "r", "unitary", "pauli", "save_state", "initialize", "pair"])
@pytest.mark.parametrize("format", ["openqasm2", "openqasm3"])
@pytest.mark.parametrize("call", ["%s q[0],q[1];", "outer q[0],q[1];", "if(c==0) %s q[0],q[1];"])
def test_simulate__own_gate__means_what_its_definition_says(name: str, format: str, call: str) -> None:
    gates = f"gate {name} a,b {{ x b; }} gate outer a,b {{ x a; {name} a,b; x a; }} "
    if format == "openqasm2":
        source = HEAD.decode() + gates + call.replace("%s", name) + "measure q -> c;"
    else:
        head = 'OPENQASM 3.0; include "stdgates.inc"; qubit[3] q; bit[3] c; '
        source = head + gates + call.replace("%s", name) + "c = measure q;"
    request = RunRequest(source.encode(), format, 10, 1, CircuitLimits())
    assert simulate(request, 0.0)["counts"] == {"010": 10}


@pytest.mark.parametrize("name", ["x", "ch", "cphase"])
@pytest.mark.parametrize("format", ["openqasm2", "openqasm3"])
def test_load__library_gate_defined_anew__is_refused(name: str, format: str) -> None:
    version = b"OPENQASM 2.0;" if format == "openqasm2" else b"OPENQASM 3.0;"
    with pytest.raises(CircuitRejected) as caught:
        load(version + b"gate %s a,b { U(0,0,0) a; }" % name.encode(), format, CircuitLimits())
    assert caught.value.code == "gate_redefined"
