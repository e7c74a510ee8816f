"""The result document: what it holds for each kind of result."""

from __future__ import annotations

from typing import Any

import pytest

from oracle.circuits.run import RunResult
from oracle.node.documents import result_document
from oracle.validation.replay import RunFacts

PLACE = {"pub": 0, "set": 0, "seed": 7, "method": "statevector", "transpiled_digest": "ab" * 32}
BASES = [{"basis": "ZZ", "counts": {"00": 4, "11": 6}}]


def run(runs: list[dict[str, Any]]) -> RunResult:
    return RunResult(
        counts={"00": 4, "11": 6},
        shots=10,
        seed=7,
        qubits=2,
        clbits=2,
        depth=3,
        operations={"h": 1},
        method="statevector",
        engine="aer-statevector",
        versions={"qiskit": "2.6.2"},
        transpiled_digest="ab" * 32,
        confinement="rlimits",
        seconds={"run": 0.5},
        threads=2,
        runs=runs,
    )


def document(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return result_document({"job_id": "1"}, {"quantum": {}}, run(runs), routing={}, charge=5, oracle="0x")


def test_result_document__counts_of_one_circuit__has_no_more_than_them() -> None:
    written = document([])
    assert written["counts"] == {"00": 4, "11": 6}
    assert not {"runs", "values", "standard_errors"} & written.keys()
    assert written["backend"]["threads"] == 2 == RunFacts.of_document(written).threads


@pytest.mark.parametrize("more", [{"counts": {"0": 10}}, {"counts": {"0": 10}, "memory": ["0"] * 10}])
def test_result_document__several_circuits_or_memory__are_its_runs(more: dict[str, Any]) -> None:
    written = document([{**PLACE, **more}] * 2)
    assert written["runs"] == [{**PLACE, **more}] * 2
    assert "values" not in written


def test_result_document__expectation_values__stand_in_one_list_as_well() -> None:
    estimated = {**PLACE, "values": [1.0, 0.5], "standard_errors": [0.0, 0.1], "bases": BASES}
    written = document([estimated, estimated])
    assert written["values"] == [1.0, 0.5, 1.0, 0.5]
    assert written["standard_errors"] == [0.0, 0.1, 0.0, 0.1]
