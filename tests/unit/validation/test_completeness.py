from __future__ import annotations

import copy

import pytest

from oracle.validation.completeness import benchmark_checks, optimization_checks
from oracle.validation.verdict import Outcome

RESULT = {
    "counts": {"0": 3, "1": 5},
    "shots": 8,
    "seed": 1,
    "seconds": {"run": 0.1},
    "backend": {
        "name": "aer",
        "method": "statevector",
        "engine": "aer-statevector",
        "versions": {"qiskit-aer": "0.18"},
    },
    "circuit": {"transpiled_digest": "ab", "depth": 1, "operations": {"h": 1}},
    "spec": {"quantum": {"circuit": "ipfs://f", "format": "openqasm3", "shots": 8}},
}
RUN = {
    "best": {"value": -2.0, "parameters": [0.1]},
    "history": [1.0, 0.0, -1.0, -1.5, -1.8, -1.9, -1.99, -2.0, -2.0, -1.9999],
    "optimizer": {"name": "COBYLA", "settings": {"maxiter": 50}},
    "stopped": "converged",
}


def judged(**changes):
    return {each.name: each.outcome for each in optimization_checks({"optimization": {**RUN, **changes}})}


def test_benchmark_checks__a_whole_result__is_complete():
    assert [each.outcome for each in benchmark_checks(RESULT)] == [Outcome.ACCEPT]


@pytest.mark.parametrize(
    "path",
    [
        "counts",
        "shots",
        "seed",
        "seconds",
        "backend.versions",
        "backend.engine",
        "circuit.depth",
        "spec.quantum.circuit",
    ],
)
def test_benchmark_checks__anything_missing__is_named(path):
    result = copy.deepcopy(RESULT)
    *above, last = path.split(".")
    place = result
    for key in above:
        place = place[key]
    del place[last]
    (check,) = benchmark_checks(result)
    assert check.outcome == Outcome.REJECT and path in check.reason


def test_benchmark_checks__provider_job_instead_of_a_seed__is_enough():
    result = {**RESULT, "seed": None, "backend": {**RESULT["backend"], "job_id": "d0abc"}}
    assert benchmark_checks(result)[0].outcome == Outcome.ACCEPT


def test_optimization_checks__consistent_run__is_accepted():
    assert judged() == {"run": Outcome.ACCEPT, "best value": Outcome.ACCEPT, "convergence": None}


def test_optimization_checks__best_value_not_in_the_history__is_rejected():
    assert judged(best={"value": -3.0, "parameters": [0]})["best value"] == Outcome.REJECT


def test_optimization_checks__maximum__is_the_best_when_asked_for():
    assert judged(goal="maximize", best={"value": 1.0, "parameters": [0]})["best value"] == Outcome.ACCEPT
    assert judged(goal="maximize")["best value"] == Outcome.REJECT


def test_optimization_checks__said_to_have_converged_while_improving__is_flagged():
    history = [float(-n) for n in range(20)]
    best = {"value": -19.0, "parameters": [0]}
    assert judged(history=history, best=best)["convergence"] == Outcome.FLAG
    assert judged(history=history, best=best, stopped="iterations")["convergence"] is None


@pytest.mark.parametrize("name", ["best", "history", "optimizer", "stopped"])
def test_optimization_checks__part_missing__is_named(name):
    (check,) = optimization_checks({"optimization": {key: value for key, value in RUN.items() if key != name}})
    assert check.outcome == Outcome.REJECT and name in check.reason


@pytest.mark.parametrize(
    "changes",
    [
        {"history": []},
        {"history": ["1"]},
        {"history": [float("nan")]},
        {"history": {"0": 1}},
        {"best": {"value": "low", "parameters": []}},
        {"stopped": "bored"},
        {"stopped": ["converged"]},
        {"goal": {"a": 1}},
    ],
)
def test_optimization_checks__malformed__is_rejected(changes):
    assert judged(**changes) == {"run": Outcome.REJECT}


def test_optimization_checks__only_measurements__is_a_note():
    assert [each.outcome for each in optimization_checks({})] == [None]
