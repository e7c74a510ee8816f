from __future__ import annotations

import pytest

from oracle.routing.route import REVIEW, Candidate, route

AER = Candidate("aer", "local_simulator", 28)
IBM = Candidate("ibm_x", "ibm_quantum_backend", 127)


def spec(policy: str = "simulator", *, max_qubits=None, allowed=()):
    constraints = {"max_qubits": max_qubits, "max_queue_minutes": None, "allowed_backends": list(allowed)}
    return {"quantum": {"backend_policy": policy, "constraints": constraints}}


@pytest.mark.parametrize(
    ("wanted", "qubits", "choice"),
    [
        (spec(), 5, "local_simulator"),
        (spec(), 28, "local_simulator"),
        (spec(), 29, REVIEW),
        (spec("ibm"), 5, "ibm_quantum_backend"),
        (spec("ibm_or_simulator"), 5, "local_simulator"),
        (spec("any"), 40, "ibm_quantum_backend"),
        (spec("any", max_qubits=4), 5, REVIEW),
        (spec("any", allowed=["ibm_x"]), 5, "ibm_quantum_backend"),
        (spec("simulator", allowed=["ibm_x"]), 5, REVIEW),
    ],
)
def test_route__policy_and_constraints__decide(wanted, qubits, choice):
    decision = route(wanted, qubits, [AER, IBM])

    assert decision.choice == choice
    assert set(decision.reasons) == {"aer", "ibm_x"}
    assert all(decision.reasons.values())


def test_route__nobody_on_offer__is_for_review():
    assert route(spec(), 5, []).as_dict() == {"choice": REVIEW, "backend": None, "reasons": {}}
