"""The figures of circuits, and the choice of a method by them."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector

from oracle.circuits.analysis import (
    ANALYSE,
    METHODS,
    REPRODUCIBLE,
    Analysis,
    Probe,
    analyse,
    choose,
    choose_or_refuse,
    forecasts,
    probe,
    refuse_unsuitable,
    size,
    wants_probe,
)
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.load import load
from oracle.circuits.run import RunRequest
from oracle.circuits.sandbox import Sandbox
from oracle.circuits.simulate import simulate
from oracle.jobs.errors import CircuitRejected

HEAD = 'OPENQASM 2.0; include "qelib1.inc"; '
LIMITS = CircuitLimits(qubits=1_000, clbits=1_000)


def made(qubits: int, *steps: tuple[Any, ...], measure: bool = True) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits, qubits)
    for name, *arguments in steps:
        getattr(circuit, name)(*arguments)
    if measure:
        circuit.measure(range(qubits), range(qubits))
    return circuit


def ghz(qubits: int) -> QuantumCircuit:
    return made(qubits, ("h", 0), *(("cx", i, i + 1) for i in range(qubits - 1)))


def layers(qubits: int, depth: int, seed: int = 1) -> QuantumCircuit:
    dice, steps = random.Random(seed), []
    for layer in range(depth):
        steps += [("ry", 3 * dice.random(), i) for i in range(qubits)]
        steps += [("cx", i, i + 1) for i in range(layer % 2, qubits - 1, 2)]
    return made(qubits, *steps)


def tangle(qubits: int, gates: int = 200, seed: int = 1) -> QuantumCircuit:
    dice, steps = random.Random(seed), []
    for _ in range(gates):
        a, b = dice.sample(range(qubits), 2)
        steps += [("ry", 3 * dice.random(), a), ("rx", 3 * dice.random(), b), ("cx", a, b)]
    return made(qubits, *steps)


def chosen(circuit: QuantumCircuit, shots: int = 1024, *, reproducible: bool = False, **limits: int) -> str:
    return choose(analyse(circuit), shots, replace(LIMITS, **limits), reproducible=reproducible)[0]


def test_analyse__mixed_circuit__has_these_figures() -> None:
    circuit = made(5, ("h", 0), ("t", 0), ("rz", math.pi / 4, 1), ("rz", 0.3, 1), ("cx", 0, 3), ("ccx", 0, 1, 3))
    found = analyse(circuit)
    assert (found.qubits, found.active_qubits, found.clbits, found.gates) == (5, 5, 5, 6)
    assert found.families == {"clifford": 2, "rotation": 1, "t": 3}
    assert (found.two_qubit_gates, found.wider_gates, found.t_count) == (1, 1, 9)
    assert (found.bond_bits, found.crossings) == (2, 6)
    assert not (found.clifford or found.dynamic)
    assert found.measurements == 5


def test_analyse__idle_qubits__are_not_active() -> None:
    circuit = made(9, ("h", 2), measure=False)
    circuit.measure(2, 0)
    assert (analyse(circuit).qubits, analyse(circuit).active_qubits) == (9, 1)


def test_analyse__clifford_by_its_angles__is_one() -> None:
    assert analyse(made(2, ("rz", math.pi / 2, 0), ("u", math.pi, 0, math.pi, 1), ("rzz", -math.pi / 2, 0, 1))).clifford


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("measure", 0, 0), ("h", 1)], (False, False, 0)),
        ([("measure", 0, 0), ("h", 0)], (True, False, 0)),
        ([("h", 0), ("reset", 0)], (False, False, 1)),
    ],
)
def test_analyse__measurement_on_the_way__shows(steps: list[tuple[Any, ...]], expected: tuple[bool, bool, int]) -> None:
    found = analyse(made(2, *steps, measure=False))
    assert (found.mid_circuit, found.feed_forward, found.resets) == expected


def test_analyse__gates_inside_an_if__count_and_depend_on_outcomes() -> None:
    circuit = QuantumCircuit(3, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.t(1)
        circuit.cx(1, 2)
    found = analyse(circuit)
    assert found.feed_forward and not found.clifford
    assert (found.gates, found.t_count, found.crossings) == (2, 1, 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(0, 12), st.integers(0, 2**16))
def test_analyse__bond_bound__is_never_below_the_true_rank(qubits: int, gates: int, seed: int) -> None:
    circuit = tangle(qubits, gates, seed).remove_final_measurements(inplace=False)
    state = Statevector(circuit)
    ranks = [_rank(state, cut) for cut in range(1, qubits)]
    assert max(ranks) <= 2 ** analyse(circuit).bond_bits


def _rank(state: Statevector, cut: int) -> int:
    matrix = state.data.reshape(2 ** (state.num_qubits - cut), 2**cut)
    return int(np.linalg.matrix_rank(matrix, tol=1e-9))


@pytest.mark.parametrize(
    ("circuit", "method"),
    [
        (ghz(5), "stabilizer"),
        (ghz(200), "stim"),
        (layers(60, 4), "matrix_product_state"),
        (tangle(10), "statevector"),
        (
            made(8, *(("ry", 0.3 * i, i) for i in range(8)), ("cx", 0, 1), ("reset", 0), ("ry", 0.2, 0)),
            "density_matrix",
        ),
        (tangle(40), ""),
    ],
    ids=["small Clifford", "wide Clifford", "low entanglement", "dense", "reset", "too much"],
)
def test_choose__kind_of_circuit__has_its_method(circuit: QuantumCircuit, method: str) -> None:
    assert chosen(circuit) == method


def test_choose__reproducible__leaves_stim_out() -> None:
    method, objections = choose(analyse(ghz(200)), 1024, LIMITS, reproducible=True)
    assert method == "matrix_product_state"
    assert objections["stim"][0] == "not_reproducible"


def test_choose__memory_allowed__decides_over_the_state(sandbox: Sandbox) -> None:
    assert chosen(tangle(20), memory_bytes=2**24) == "statevector"
    assert chosen(tangle(20), memory_bytes=2**24 - 1) == ""


def test_choose__operator_allows_few__only_those() -> None:
    method, objections = choose(analyse(ghz(5)), 10, LIMITS, reproducible=False, allowed=("statevector",))
    assert method == "statevector"
    assert {objections[name][0] for name in METHODS if name != "statevector"} == {"method_not_allowed"}


def test_choose_or_refuse__nothing_fits__names_what_is_needed() -> None:
    with pytest.raises(CircuitRejected) as caught:
        choose_or_refuse(analyse(tangle(40)), 10, LIMITS, reproducible=False)
    assert caught.value.code == "too_much_memory"
    assert "40 qubits" in caught.value.message and "16 TiB" in caught.value.message


@pytest.mark.parametrize(
    ("circuit", "method", "code"),
    [
        (tangle(5), "stim", "not_clifford"),
        (tangle(5), "stabilizer", "not_clifford"),
        (tangle(40), "statevector", "too_much_memory"),
        (tangle(16), "density_matrix", "too_much_memory"),
    ],
)
def test_refuse_unsuitable__method_that_cannot__is_refused(circuit: QuantumCircuit, method: str, code: str) -> None:
    with pytest.raises(CircuitRejected) as caught:
        refuse_unsuitable(method, analyse(circuit), 10, LIMITS)
    assert caught.value.code == code


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 99), st.integers(1, 10**6))
def test_forecasts__more_shots__never_cost_less(qubits: int, gates: int, seed: int, shots: int) -> None:
    found = analyse(tangle(max(2, qubits), gates, seed))
    few, many = forecasts(found, shots), forecasts(found, 2 * shots)
    assert set(few) == set(METHODS)
    assert all(few[name].seconds <= many[name].seconds for name in METHODS)


def test_probe__entangled_by_few_gates_in_truth__finds_an_exact_bond() -> None:
    # The bound counts gates, and these undo each other.
    steps = [("ry", 0.4 * i, i) for i in range(24)]
    for _ in range(40):
        steps += [("cx", i, 23 - i) for i in range(11, -1, -1)]
    circuit = made(24, *steps, ("t", 0))
    found = analyse(circuit)
    assert found.bond_bits > 6 and wants_probe(found, 1024, LIMITS)
    result = probe(circuit, found, 1024, LIMITS)
    assert result is not None and result.exact and result.bond_dimension <= 64 and result.work > 0
    assert result == probe(circuit, found, 1024, LIMITS)  # whatever ran before


def test_probe__truly_entangled__throws_away_and_says_so() -> None:
    circuit = tangle(26)
    found = analyse(circuit)
    result = probe(circuit, found, 1024, LIMITS)
    assert result is not None and not result.exact
    probed = replace(found, probe=result)
    assert forecasts(probed, 10)["matrix_product_state"].code == "truncated"


@pytest.mark.parametrize("circuit", [ghz(300), tangle(10), made(30, ("h", 0))], ids=["bounded", "quick", "no pairs"])
def test_wants_probe__nothing_to_gain__is_false(circuit: QuantumCircuit) -> None:
    assert not wants_probe(analyse(circuit), 1024, LIMITS)


def test_from_untrusted__own_document__comes_back() -> None:
    found = replace(analyse(tangle(5)), probe=Probe(16, 4, 0.0, 99))
    assert Analysis.from_untrusted(found.as_dict()) == found


@pytest.mark.parametrize(
    "change",
    [
        {"qubits": -1},
        {"qubits": 2.5},
        {"clifford": 1},
        {"families": {"a b": 1}},
        {"operations": {"x": True}},
        {"probe": {"cap": 1}},
        {"probe": {"cap": 1, "bond_dimension": 1, "discarded_weight": math.nan, "work": 1}},
        {"probe": {"cap": 1, "bond_dimension": 1, "discarded_weight": 10**400, "work": 1}},
        {"more": 1},
        {"depth": 2**53},
    ],
)
def test_from_untrusted__anything_odd__is_rejected(change: dict[str, Any]) -> None:
    with pytest.raises(CircuitRejected) as caught:
        Analysis.from_untrusted({**analyse(ghz(3)).as_dict(), **change})
    assert caught.value.code == "bad_result"


@pytest.mark.parametrize("document", [None, [], "x", 7])
def test_from_untrusted__no_object__is_rejected(document: Any) -> None:
    with pytest.raises(CircuitRejected):
        Analysis.from_untrusted(document)


def test_submit__asked_to_analyse__answers_with_the_analysis(sandbox: Sandbox) -> None:
    source = (HEAD + "qreg q[3]; creg c[3]; h q[0]; cx q[0],q[1]; t q[2]; measure q -> c;").encode()
    request = RunRequest(source, "openqasm2", 10, 1, CircuitLimits(), ANALYSE)
    found = sandbox.submit(request).result(60)
    assert found == analyse(load(source, "openqasm2", CircuitLimits()))


@pytest.mark.parametrize("threads", [1, 2])
def test_submit__threads__are_told_and_change_no_count(sandbox: Sandbox, threads: int) -> None:
    source = (HEAD + "qreg q[15]; creg c[15]; h q; t q; cx q[0],q[14]; h q; measure q -> c;").encode()
    request = RunRequest(source, "openqasm2", 500, 7, CircuitLimits(), "statevector", threads)
    result = sandbox.submit(request).result(60)
    assert result.threads == threads
    assert result.counts == simulate(replace(request, threads=1), 0.0)["counts"]


def test_simulate__unknown_method__is_refused() -> None:
    source = (HEAD + "qreg q[1]; creg c[1]; measure q -> c;").encode()
    with pytest.raises(CircuitRejected) as caught:
        simulate(RunRequest(source, "openqasm2", 1, 1, CircuitLimits(), "extended_stabilizer"), 0.0)
    assert caught.value.code == "unknown_method"


def test_simulate__reproducible__never_runs_on_stim() -> None:
    gates = "".join(f"cx q[{i}],q[{i + 1}];" for i in range(199))
    source = f"{HEAD}qreg q[200]; creg c[200]; h q[0]; {gates} measure q -> c;".encode()
    request = RunRequest(source, "openqasm2", 1024, 1, LIMITS)
    assert simulate(request, 0.0)["engine"] == "stim"
    assert simulate(replace(request, method=REPRODUCIBLE), 0.0)["engine"] == "aer-matrix_product_state"


@pytest.mark.parametrize(
    ("number", "text"), [(5, "5 B"), (2048, "2.0 KiB"), (6 * 2**30, "6.0 GiB"), (2**61, "an exbibyte or more")]
)
def test_size__bytes__read_well(number: int, text: str) -> None:
    assert size(number) == text
