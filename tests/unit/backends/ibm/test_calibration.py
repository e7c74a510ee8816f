"""What is made of a calibration that is not complete."""

from __future__ import annotations

import pytest

from oracle.backends.ibm.calibration import calibration, success

STEPS = [["cz", [], [0, 1], []], ["x", [], [0], []], ["measure", [], [0], [0]]]


def properties(error):
    gates = [
        {"gate": "cz", "qubits": [1, 0], "parameters": [{"name": "gate_error", "value": error}]},
        {"gate": "x", "qubits": [0], "parameters": [{"name": "gate_error", "value": 0.1}]},
    ]
    return {"qubits": [[{"name": "readout_error", "value": error}], []], "gates": gates}


def test_success__errors_of_gates_and_readout__are_multiplied():
    assert success(properties(0.2), STEPS) == pytest.approx(0.8 * 0.9 * 0.8)


@pytest.mark.parametrize("error", [None, "unknown"])
def test_success__error_that_is_not_published__counts_as_none(error):
    assert success(properties(error), STEPS) == pytest.approx(0.9)
    assert "two_qubit_error" not in calibration(properties(error))["device"]
