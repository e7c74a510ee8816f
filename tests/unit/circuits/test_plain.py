from __future__ import annotations

import pytest

from oracle.circuits.analysis import PLAIN
from oracle.circuits.instructions import read_work
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.plain import built, described, plain_document
from oracle.circuits.run import RunRequest
from oracle.jobs.canonical import canonical_bytes
from oracle.jobs.errors import CircuitRejected

HEAD = 'OPENQASM 2.0;include "qelib1.inc";qreg q[3];creg c[3];creg d[1];'


def plain(body):
    request = RunRequest((HEAD + body).encode(), "openqasm2", 10, None, CircuitLimits(), PLAIN)
    return plain_document(request)


def test_plain_document__any_gates__become_u_and_cx_that_do_the_same():
    from qiskit import qasm2
    from qiskit.quantum_info import Operator

    body = "gate mine(t) a,b { cx a,b; rz(t) b; } h q[0]; ccx q[0],q[1],q[2]; mine(0.3) q[2],q[0]; cz q[0],q[1];"
    document = plain(f"{body} barrier q; measure q -> c;")

    (circuit,) = read_work(canonical_bytes(document), "qscrow-json", CircuitLimits()).circuits
    assert {name for name, _, _ in circuit.instructions} == {"u", "cx", "measure"}
    assert (circuit.wires, circuit.bits) == (3, 4)
    made = built(circuit)
    assert described(made) == document["circuits"][0]
    gates = made.remove_final_measurements(inplace=False)
    asked = qasm2.loads(HEAD + body).remove_final_measurements(inplace=False)
    assert Operator(gates).equiv(Operator(asked))


@pytest.mark.parametrize("body", ["reset q[0]; measure q -> c;", "measure q[0] -> d[0]; if(d==1) x q[1];"])
def test_plain_document__reset_or_branch__is_refused(body):
    with pytest.raises(CircuitRejected) as refused:
        plain(body)
    assert refused.value.code == "not_plain"
