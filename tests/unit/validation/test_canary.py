from __future__ import annotations

import copy
import hashlib
import random
from dataclasses import replace

import numpy as np
import pytest

from oracle.circuits.instructions import read_work
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.plain import described
from oracle.jobs.canonical import canonical_bytes
from oracle.jobs.errors import InputError
from oracle.validation.canary import (
    Canary,
    answer_of,
    check_answers,
    commitment,
    dress,
    judge_canaries,
    open_canaries,
    opening_of,
    plan_canaries,
    trap,
)
from oracle.validation.distribution import DEPOLARISING, Policy
from oracle.validation.verdict import Outcome


def circuit_of(width=4, layers=2, seed=3):
    from qiskit import QuantumCircuit

    rng = random.Random(seed)
    circuit = QuantumCircuit(width, width)
    for _ in range(layers):
        for qubit in range(width):
            circuit.ry(rng.uniform(0, 3), qubit)
        for qubit in range(width - 1):
            circuit.cx(qubit, qubit + 1)
    circuit.measure(range(width), range(width))
    return circuit


def exact(circuit):
    from qiskit.quantum_info import Statevector

    return Statevector(circuit.remove_final_measurements(inplace=False)).probabilities_dict(decimals=9)


def written(*circuits):
    """The circuits as a validator reads them from the job's document."""
    document = canonical_bytes({"circuits": [described(circuit) for circuit in circuits]})
    return read_work(document, "qscrow-json", CircuitLimits()).circuits


def form(circuit):
    return [(each.operation.name, [circuit.find_bit(q).index for q in each.qubits]) for each in circuit.data]


@pytest.mark.parametrize("seed", range(5))
def test_dress__any_circuit__does_the_same(seed):
    from qiskit.quantum_info import Operator

    plain = circuit_of(seed=seed)
    dressed = dress(plain, random.Random(seed))
    operators = [Operator(each.remove_final_measurements(inplace=False)) for each in (plain, dressed)]
    assert operators[0].equiv(operators[1])


@pytest.mark.parametrize("seed", range(8))
def test_trap__of_a_dressed_circuit__has_its_form_and_one_known_answer(seed):
    rng = random.Random(seed)
    dressed = dress(circuit_of(width=2 + seed % 4, layers=1 + seed % 3, seed=seed), rng)
    made, answer = trap(dressed, rng)
    assert form(made) == form(dressed)
    assert made.depth() == dressed.depth()
    assert exact(made) == {answer: pytest.approx(1)}
    assert answer_of(*written(made)) == answer


def test_trap__one_cx_left_out__changes_the_outcome():
    rng = random.Random(1)
    dressed = dress(circuit_of(), rng)
    changed = 0
    for _ in range(10):
        made, answer = trap(dressed, rng)
        cut = made.copy()
        del cut.data[next(n for n, each in enumerate(cut.data) if each.operation.name == "cx")]
        changed += exact(cut).get(answer, 0) < 0.999
    assert changed >= 9


def test_plan_canaries__angles__do_not_tell_traps_from_real_circuits():
    # The mean angles of many traps and many real circuits, taken gate by gate, must agree.
    rng = random.Random(5)
    plan = plan_canaries([circuit_of(seed=seed) for seed in range(60)], 60, rng=rng)
    hidden = {canary.position for canary in plan.canaries}
    angles = np.array([[p for each in c.data for p in each.operation.params] for c in plan.circuits])
    cosines = np.cos(angles)
    groups = [cosines[[place in hidden for place in range(120)]], cosines[[p not in hidden for p in range(120)]]]
    spread = np.sqrt(sum(group.var(axis=0) / len(group) for group in groups))
    # The angles of the last gates of a trap lead to a basis state and could differ; anything beyond is a leak.
    odd = np.abs(groups[0].mean(axis=0) - groups[1].mean(axis=0)) > 5 * np.maximum(spread, 1e-9)
    assert odd.sum() <= 4 * 3


def test_plan_canaries__positions__are_spread_and_reals_keep_their_order():
    reals = [circuit_of(seed=seed) for seed in range(3)]
    plan = plan_canaries(reals, 2, rng=random.Random(2))
    assert len(plan.circuits) == 5 and len(plan.real_positions()) == 3
    for real, place in zip(reals, plan.real_positions(), strict=True):
        assert exact(real) == pytest.approx(exact(plan.circuits[place]), abs=1e-6)
    check_answers(read_work(plan.document(), "qscrow-json", CircuitLimits()).circuits, plan.canaries)


def test_open_canaries__own_opening__gives_them_back():
    plan = plan_canaries([circuit_of()], 2, rng=random.Random(2))
    assert open_canaries(plan.opening(), "0x" + plan.commitment.upper()) == plan.canaries


def test_opening_of__block_of_the_plan__is_its_opening_and_hashes_to_the_commitment():
    plan = plan_canaries([circuit_of()], 2, rng=random.Random(4))
    assert hashlib.sha256(plan.block()).hexdigest() == plan.commitment
    assert opening_of(plan.block()) == plan.opening()


@pytest.mark.parametrize("block", [b"", b"qscrow.canaries.v1", b"qscrow.canaries.v1" + bytes(32), b"x" * 90])
def test_opening_of__anything_else__is_refused(block):
    with pytest.raises(InputError, match="opening"):
        opening_of(block)


@pytest.mark.parametrize(
    "change",
    [
        lambda o: o.update(salt="00" * 32),
        lambda o: o.update(salt="zz"),
        lambda o: o.update(salt=""),
        lambda o: o.update(version=2),
        lambda o: o.update(canaries=[]),
        lambda o: o["canaries"][0].update(expected="1111"),
        lambda o: o["canaries"][0].update(position=9),
        lambda o: o["canaries"][0].update(position=True),
        lambda o: o["canaries"].pop(),
        lambda o: o["canaries"].append(o["canaries"][0]),
        lambda o: o.pop("salt"),
    ],
)
def test_open_canaries__anything_changed__is_refused(change):
    canaries = (Canary(0, "0101"), Canary(2, "0011"))
    salt = bytes(range(32))
    opening = {
        "type": "qscrow.canaries",
        "version": 1,
        "salt": salt.hex(),
        "canaries": [{"position": each.position, "expected": each.expected} for each in canaries],
    }
    committed = commitment(canaries, salt)
    assert open_canaries(copy.deepcopy(opening), committed) == canaries
    change(opening)
    with pytest.raises(InputError, match="opening"):
        open_canaries(opening, committed)


def test_check_answers__false_answer_or_entangling_circuit__is_refused():
    from qiskit import QuantumCircuit

    made, answer = trap(dress(circuit_of(), random.Random(1)), random.Random(2))
    check_answers(written(made), [Canary(0, answer)])
    wrong = answer[:-1] + str(1 - int(answer[-1]))
    bell = QuantumCircuit(2, 2)
    bell.u(np.pi / 2, 0, np.pi, 0)
    bell.cx(0, 1)
    bell.measure([0, 1], [0, 1])
    half = QuantumCircuit(1, 1)
    half.u(np.pi / 2, 0, np.pi, 0)
    half.measure(0, 0)
    nearly = QuantumCircuit(1, 1)
    nearly.u(2e-7, 0, 0, 0)
    nearly.measure(0, 0)
    for circuit, canary in ((made, Canary(0, wrong)), (made, Canary(1, answer)), (bell, Canary(0, "00"))):
        with pytest.raises(InputError, match="canaries"):
            check_answers(written(circuit), [canary])
    for uncertain in (half, nearly):
        with pytest.raises(InputError, match="no certain outcome"):
            answer_of(*written(uncertain))


def test_answer_of__text_or_other_gates__is_no_canary():
    text = {"circuits": [{"format": "openqasm2", "source": "OPENQASM 2.0;"}]}
    (circuit,) = read_work(canonical_bytes(text), "qscrow-json", CircuitLimits()).circuits
    with pytest.raises(InputError, match="JSON instructions"):
        answer_of(circuit)
    with pytest.raises(InputError, match="has h"):
        answer_of(replace(circuit, wires=1, bits=1, instructions=[["h", [0], []], ["measure", [0], [0]]]))


def test_answer_of__thousands_of_gates__still_has_its_answer():
    rng = random.Random(7)
    made, answer = trap(dress(circuit_of(width=6, layers=300), rng), rng)
    assert answer_of(*written(made)) == answer


def test_judge_canaries__all_answers_right__is_accepted_and_says_what_it_covers():
    verdict = judge_canaries([{"01": 100}, {"11": 60, "00": 40}], [Canary(0, "01")])
    assert verdict.outcome == Outcome.ACCEPT
    assert "real circuits were not looked at" in verdict.statement


def test_judge_canaries__one_wrong_shot_of_a_simulator__is_rejected():
    assert judge_canaries([{"01": 999, "00": 1}], [Canary(0, "01")]).outcome == Outcome.REJECT


@pytest.mark.parametrize("right, outcome", [(800, Outcome.ACCEPT), (560, Outcome.ACCEPT), (300, Outcome.REJECT)])
def test_judge_canaries__device__needs_its_minimum_only(right, outcome):
    results = [{"0101": right, "0000": 1000 - right}]
    assert judge_canaries(results, [Canary(0, "0101")], Policy(noise=DEPOLARISING)).outcome == outcome


def test_judge_canaries__few_shots_that_could_be_guessed__is_inconclusive():
    assert judge_canaries([{"0": 3}], [Canary(0, "0")], Policy(noise=DEPOLARISING)).outcome == Outcome.INCONCLUSIVE


@pytest.mark.parametrize("canaries", [[], [Canary(1, "0")]])
def test_judge_canaries__without_canaries_or_results__is_an_error(canaries):
    with pytest.raises(InputError):
        judge_canaries([{"0": 1}], canaries)


def test_dress__mid_circuit_measurement_or_none__is_refused():
    from qiskit import QuantumCircuit

    early = QuantumCircuit(1, 1)
    early.measure(0, 0)
    early.x(0)
    never = QuantumCircuit(1)
    never.h(0)
    for circuit in (early, never):
        with pytest.raises(InputError, match="circuit"):
            dress(circuit, random.Random(0))
