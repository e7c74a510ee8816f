"""What a result holds for each circuit, and what an oracle may have got wrong in it."""

from __future__ import annotations

import copy

import pytest

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.observables import estimate, parse_observables
from oracle.circuits.run import RunRequest
from oracle.jobs.canonical import canonical_bytes
from oracle.validator.findings import Wrong
from oracle.validator.outcomes import asked_for, first_counts, runs_of, values_of

SPEC = {"quantum": {"shots": 10}}
ISING = [["ZZ", 1.0], ["XI", 0.5], ["II", 2.0]]
BELL = {"wires": 2, "instructions": [["u", [0], [0.1, 0, 0]], ["cx", [0, 1], []], ["measure", [0, 1], [0, 1]]]}
TURNED = {"wires": 1, "parameters": ["a"], "instructions": [["u", [0], ["a", 0, 0]], ["measure", [0], [0]]]}
SEVERAL = {
    "circuits": [BELL, TURNED],
    "pubs": [{"circuit": 1, "parameters": [[0.5], [0.25]]}, {"circuit": 0}],
}


def request(document, result="counts", observables=()):
    source = canonical_bytes(document)
    wanted = parse_observables(list(observables))
    return RunRequest(source, "qscrow-json", 10, None, CircuitLimits(), result=result, observables=wanted)


def counted():
    runs = [
        {"pub": 0, "set": 0, "counts": {"0": 10}},
        {"pub": 0, "set": 1, "counts": {"1": 10}},
        {"pub": 1, "set": 0, "counts": {"11": 10}},
    ]
    return {"spec": SPEC, "shots": 10, "counts": {"0": 10}, "runs": runs}


def estimated():
    bases = [{"basis": "ZZ", "counts": {"11": 10}}, {"basis": "XI", "counts": {"0": 10}}]
    values, errors = estimate(parse_observables([ISING]), [(each["basis"], each["counts"]) for each in bases])
    run = {"pub": 0, "set": 0, "bases": bases, "values": values, "standard_errors": errors}
    head = {"spec": SPEC, "shots": 10, "counts": {"11": 10}, "values": values, "standard_errors": errors}
    return {**head, "runs": [run]}


def test_asked_for__parameters__are_filled_in_and_positions_are_those_of_the_runs():
    circuits = asked_for(request(SEVERAL))
    assert [circuit.instructions[0][2] for circuit in circuits] == [[0.5, 0, 0], [0.25, 0, 0], [0.1, 0, 0]]
    assert [circuit.bits for circuit in circuits] == [1, 1, 2]


def test_runs_of__values_where_counts_were_ordered__is_the_oracles_fault():
    with pytest.raises(Wrong, match="result 0 has no counts"):
        runs_of(estimated(), request(BELL).parts())
    assert runs_of(estimated(), request(BELL, "expectation", [ISING]).parts()) == estimated()["runs"]


def test_runs_of__several_circuits__come_in_order():
    parts = request(SEVERAL).parts()
    assert runs_of(counted(), parts) == counted()["runs"]
    assert runs_of({"counts": {"11": 10}}, request(BELL).parts()) == [{"counts": {"11": 10}}]


@pytest.mark.parametrize(
    "change, why",
    [
        (lambda d: d["runs"].pop(), "results of 2 circuits, 3 were to run"),
        (lambda d: d.pop("runs"), "results of 1 circuits, 3"),
        (lambda d: d["runs"].append(d["runs"][0]), "4 circuits"),
        (lambda d: d["runs"].reverse(), "result 0 is not of set 0 of PUB 0"),
        (lambda d: d["runs"][1].pop("set"), "result 1"),
        (lambda d: d.update(counts={"1": 10}), "not those of its first circuit"),
    ],
)
def test_runs_of__other_circuits_than_were_asked_for__are_wrong(change, why):
    document = counted()
    change(document)
    with pytest.raises(Wrong, match=why):
        runs_of(document, request(SEVERAL).parts())


def test_values_of__values_that_follow_from_the_counts__are_given():
    parts = request(BELL, "expectation", [ISING]).parts()
    document = estimated()
    assert values_of(document, runs_of(document, parts), parts) == [3.5]


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["runs"][0].update(values=[3.4]),
        lambda d: d["runs"][0].update(values=[3.5, 1.0]),
        lambda d: d["runs"][0]["bases"].pop(),
        lambda d: d["runs"][0]["bases"][0].update(basis="YY"),
        lambda d: d["runs"][0]["bases"][1].update(counts={"00": 10}),
        lambda d: d.update(values=[3.4]),
        lambda d: d.pop("values"),
    ],
)
def test_values_of__values_that_do_not__are_wrong(change):
    parts = request(BELL, "expectation", [ISING]).parts()
    document = copy.deepcopy(estimated())
    change(document)
    with pytest.raises(Wrong):
        values_of(document, runs_of(document, parts), parts)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("spec"),
        lambda d: d.update(shots=9),
        lambda d: d.update(shots=None),
        lambda d: d.update(counts={"0": 9}),
        lambda d: d.update(counts={"0": 5, "11": 5}),
    ],
)
def test_first_counts__not_what_was_ordered__is_wrong(change):
    document = counted()
    assert first_counts(document, SPEC).shots == 10
    change(document)
    with pytest.raises(Wrong):
        first_counts(document, SPEC)
