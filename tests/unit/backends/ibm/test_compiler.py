"""What the node believes of a compilation whose process the circuit may have taken over."""

from __future__ import annotations

import pytest

from oracle.backends.ibm.compiler import Compiled, Compiler, Piece
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.observables import parse_observables
from oracle.circuits.run import RunRequest

SOURCE = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[1]; h q; measure q[0] -> c[0];'
CIRCUIT = {"qubits": 2, "registers": [3], "steps": [["measure", [], [0], [1]], ["measure", [], [1], [2]]]}
ZZ = parse_observables([[["ZZ", 1.0]]])


def is_sound(width, **kind):
    piece = Piece(0, 0, "ZZ" if kind else "", width, CIRCUIT, 1e-6)
    made = Compiled([piece], 2, 2, {"h": 2}, "rlimits", {"load": 0.1})
    request = RunRequest(SOURCE, "openqasm2", 10, 1, CircuitLimits(), **kind)
    return Compiler({"n_qubits": 2}, None)._is_sound(made, request)


@pytest.mark.parametrize("width", [0, 1, 3, 2.0])
def test_is_sound__fewer_or_more_bits_than_its_basis_has_letters__is_not(width):
    assert is_sound(2, result="expectation", observables=ZZ)
    assert not is_sound(width, result="expectation", observables=ZZ)


@pytest.mark.parametrize("width", [2, 3.0, 4])
def test_is_sound__other_bits_than_it_has__is_not(width):
    assert is_sound(3)
    assert not is_sound(width)
