"""Compiled circuits as plain data: nothing is lost on the way, and nothing else gets through."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.backends.ibm import isa
from oracle.circuits.load import instructions_digest
from oracle.jobs.errors import CircuitRejected

QUBITS, REGISTERS = 5, [2, 1, 3]
ANGLES = st.floats(-10, 10, allow_nan=False)
TESTED = st.sampled_from([[0, 1], [2], [3, 4, 5], [0], [4]])


def qubits(number):
    return st.lists(st.integers(0, QUBITS - 1), min_size=number, max_size=number, unique=True)


@st.composite
def simple_steps(draw):
    name = draw(st.sampled_from([*isa.GATES, "measure", "barrier"]))
    if name == "measure":
        return [name, [], draw(qubits(1)), [draw(st.integers(0, 5))]]
    if name == "barrier":
        return [name, [], draw(st.lists(st.integers(0, QUBITS - 1), min_size=1, unique=True)), []]
    params, wires = isa.GATES[name]
    return [name, draw(st.lists(ANGLES, min_size=params, max_size=params)), draw(qubits(wires)), []]


@st.composite
def conditional_steps(draw):
    bits = draw(TESTED)
    blocks = draw(st.lists(st.lists(simple_steps(), min_size=1, max_size=3), min_size=1, max_size=2))
    condition = [bits, draw(st.integers(0, 2 ** len(bits) - 1))]
    return ["if_else", [], list(range(QUBITS)), list(range(6)), condition, blocks]


@st.composite
def documents(draw):
    steps = draw(st.lists(st.one_of(simple_steps(), conditional_steps()), max_size=12))
    return {"qubits": QUBITS, "registers": REGISTERS, "steps": steps}


def check(document, **changes):
    return isa.checked(document, **{"qubits": 5, "clbits": 6, "most_steps": 100, **changes})


@settings(max_examples=60, deadline=None)
@given(documents())
def test_circuit__any_plain_data__becomes_the_same_again(document):
    made = isa.circuit(check(document))

    assert isa.plain(made) == document


@settings(max_examples=60, deadline=None)
@given(documents())
def test_digest__any_plain_data__is_that_of_its_circuit(document):
    assert isa.digest(document) == instructions_digest(isa.circuit(document))


def test_plain__bits_of_no_register__get_one_of_their_own():
    from qiskit import ClassicalRegister, QuantumCircuit
    from qiskit.circuit import Clbit, Qubit

    circuit = QuantumCircuit([Qubit()], ClassicalRegister(2, "c"), [Clbit()])

    assert isa.plain(circuit)["registers"] == [2, 1]


def test_plain__registers_that_share_bits__are_refused():
    from qiskit import ClassicalRegister, QuantumCircuit

    circuit = QuantumCircuit(1, 2)
    circuit.add_register(ClassicalRegister(bits=[circuit.clbits[0]]))

    with pytest.raises(CircuitRejected) as caught:
        isa.plain(circuit)

    assert caught.value.code == "registers_overlap"


def test_plain__gate_no_device_has__is_refused():
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(1, 1)
    circuit.h(0)

    with pytest.raises(CircuitRejected) as caught:
        isa.plain(circuit)

    assert caught.value.code == "unsupported_instruction"


def test_figures__steps_in_and_outside_blocks__are_all_counted():
    inside = ["if_else", [], [0, 1], [0], [[2], 1], [[["cx", [], [0, 1], []]]]]
    document = {"qubits": 5, "registers": REGISTERS, "steps": [["measure", [], [3], [2]], inside]}

    found = isa.figures(document)

    assert found["operations"] == {"measure": 1, "if_else": 1, "cx": 1}
    assert (found["active"], found["measured"], found["pairs"]) == ([0, 1, 3], [3], [[0, 1]])


STEP = ["rz", [0.5], [1], []]
IF = ["if_else", [], [0, 1], [0, 1], [[0, 1], 2], [[["x", [], [0], []]]]]
BAD_STEPS = {
    "name": ["exec", [], [0], []],
    "stranger": ["unitary", [0.0], [0], []],
    "nan": ["rz", [float("nan")], [0], []],
    "infinite": ["rz", [float("inf")], [0], []],
    "text": ["rz", ["pi"], [0], []],
    "whole": ["rz", [1], [0], []],
    "few": ["rz", [], [0], []],
    "many": ["x", [1.0], [0], []],
    "wide": ["x", [], [0, 1], []],
    "twice": ["cx", [], [1, 1], []],
    "outside": ["x", [], [5], []],
    "negative": ["x", [], [-1], []],
    "flag": ["x", [], [True], []],
    "float": ["x", [], [0.0], []],
    "clbit": ["measure", [], [0], [6]],
    "loose": ["measure", [], [0], []],
    "longer": ["x", [], [0], [], "more"],
    "shorter": ["x", []],
    "mapping": {"name": "x"},
    "number": 3,
    "condition": [*IF[:4], [[1, 0], 2], IF[5]],
    "value": [*IF[:4], [[0, 1], 4], IF[5]],
    "blocks": [*IF[:5], [[], [], []]],
    "block": [*IF[:5], [[["exec", [], [0], []]]]],
    "foreign qubit": [*IF[:5], [[["x", [], [2], []]]]],
    "foreign bit": [*IF[:5], [[["measure", [], [0], [2]]]]],
}


@pytest.mark.parametrize("step", BAD_STEPS.values(), ids=BAD_STEPS)
def test_checked__step_that_is_none__is_refused(step):
    with pytest.raises(CircuitRejected) as caught:
        check({"qubits": 5, "registers": REGISTERS, "steps": [STEP, step]})

    assert caught.value.code == "bad_circuit"


BAD_DOCUMENTS = {
    "wider": {"qubits": 6},
    "none": {"qubits": 0.5},
    "bits": {"registers": [4, 3]},
    "empty": {"registers": []},
    "zero": {"registers": [0, 2]},
    "text": {"registers": "22"},
    "more": {"global_phase": 1.0},
    "steps": {"steps": None},
    "long": {"steps": [STEP] * 101},
}


@pytest.mark.parametrize("change", BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS)
def test_checked__document_that_is_none__is_refused(change):
    good = {"qubits": 5, "registers": REGISTERS, "steps": [STEP, IF]}
    assert check(copy.deepcopy(good)) == good

    with pytest.raises(CircuitRejected):
        check({**good, **change})


def test_checked__blocks_within_blocks__are_refused_beyond_a_depth():
    step = STEP
    for _ in range(40):
        step = ["if_else", [], [0], [2], [[2], 1], [[step]]]

    with pytest.raises(CircuitRejected):
        check({"qubits": 5, "registers": REGISTERS, "steps": [step]})
