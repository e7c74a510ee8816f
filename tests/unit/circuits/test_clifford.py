"""Clifford gates: recognised at the right angles, rewritten to the same unitary, sampled by stim like anyone else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import library
from qiskit.quantum_info import Clifford, Operator

from oracle.circuits.clifford import as_clifford, clifford_steps, sample
from oracle.jobs.errors import CircuitRejected

GATES = library.get_standard_gate_name_mapping()
PLAIN = ("id", "x", "y", "z", "h", "s", "sdg", "sx", "sxdg", "cx", "cy", "cz", "swap", "ecr")
TURNING = ("p", "u1", "rz", "rx", "ry", "u", "u3", "u2", "cp", "cu1", "crz", "rzz", "rxx")


def operator(name: str, parameters: list[float]) -> Operator:
    gate = GATES[name].base_class(*parameters)
    circuit = QuantumCircuit(gate.num_qubits)
    circuit.append(gate, range(gate.num_qubits))
    return Operator(circuit)


def rewritten(name: str, parameters: list[float]) -> Operator:
    circuit = QuantumCircuit(GATES[name].num_qubits)
    for step, places in clifford_steps(name, parameters) or ():
        circuit.append(GATES[step], places)
    return Operator(circuit)


@pytest.mark.parametrize("name", PLAIN)
def test_clifford_steps__plain_gate__is_the_same_unitary(name: str) -> None:
    assert rewritten(name, []).equiv(operator(name, []))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(TURNING), st.lists(st.integers(-9, 9), min_size=3, max_size=3))
def test_clifford_steps__whole_quarter_turns__is_the_same_unitary_or_no_clifford(name: str, turns: list[int]) -> None:
    angles = [number * math.pi / 2 for number in turns[: len(GATES[name].params)]]
    if clifford_steps(name, angles) is not None:
        assert rewritten(name, angles).equiv(operator(name, angles))
    else:
        with pytest.raises(Exception, match="Cannot|not|Non-Clifford|Invalid"):
            Clifford(GATES[name].base_class(*angles))


@pytest.mark.parametrize("name", TURNING)
def test_clifford_steps__other_angles__are_none(name: str) -> None:
    assert clifford_steps(name, [0.3] * len(GATES[name].params)) is None


@pytest.mark.parametrize("angle", [1e15, 1e12, 123456789.0, 2.0**49, 1e6 * math.pi / 2])
@pytest.mark.parametrize("name", ["rx", "crz"])
def test_clifford_steps__angle_of_many_turns__is_the_same_unitary_or_no_clifford(name: str, angle: float) -> None:
    if clifford_steps(name, [angle]) is not None:
        assert rewritten(name, [angle]).equiv(operator(name, [angle]))


@pytest.mark.parametrize("name", ["t", "tdg", "ccx", "ch", "cu", "csx"])
def test_clifford_steps__other_gates__are_none(name: str) -> None:
    assert clifford_steps(name, list(GATES[name].params)) is None


def test_as_clifford__global_phase__is_left_out() -> None:
    circuit = QuantumCircuit(1, 1)
    circuit.append(library.GlobalPhaseGate(0.3), [])
    circuit.x(0)
    assert as_clifford(circuit).count_ops() == {"x": 1}


def test_as_clifford__one_other_gate__is_none() -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.t(1)
    assert as_clifford(circuit) is None


def test_sample__reset_and_measurements_on_the_way__writes_the_last_to_each_bit() -> None:
    circuit = QuantumCircuit(2, 3)
    circuit.x(0)
    circuit.measure(0, 1)
    circuit.reset(0)
    circuit.measure(0, 0)
    circuit.x(1)
    circuit.barrier()
    circuit.measure(1, 0)
    assert sample(circuit, 50, 1, 10) == {"011": 50}


def test_sample__same_seed__is_the_same_over_many_chunks() -> None:
    circuit = QuantumCircuit(3, 3)
    circuit.h([0, 1])
    circuit.cx(1, 2)
    circuit.measure(range(3), range(3))
    counts = sample(circuit, 40_000, 5, 10)
    assert counts == sample(circuit, 40_000, 5, 10) != sample(circuit, 40_000, 6, 10)
    assert set(counts) == {"000", "001", "110", "111"} and sum(counts.values()) == 40_000
    assert all(abs(count - 10_000) < 600 for count in counts.values())  # 7 standard deviations


def test_sample__too_many_outcomes__is_refused() -> None:
    circuit = QuantumCircuit(12, 12)
    circuit.h(range(12))
    circuit.measure(range(12), range(12))
    with pytest.raises(CircuitRejected) as caught:
        sample(circuit, 1000, 1, 100)
    assert caught.value.code == "too_many_outcomes"
