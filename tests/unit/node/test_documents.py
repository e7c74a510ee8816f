"""The result document: what it holds for each kind of result."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from typing import Any

import pytest

from oracle.backends.ibm.result import HARDWARE, METHOD, HardwareResult
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import RunResult
from oracle.jobs.canonical import canonical_bytes, digest
from oracle.jobs.errors import CircuitRejected
from oracle.jobs.spec import MAX_SPEC_BYTES
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node.documents import SEALABLE_BYTES, job_reference, require_room, result_document, sealed_result
from oracle.sealing.artefacts import IN_RECEIPT, artefact_digests, artefacts_of, check_artefacts
from oracle.sealing.capsules import Recipient
from oracle.sealing.context import SealContext
from oracle.sealing.keys import SealingKey
from oracle.sealing.sealed import inspect_sealed, open_sealed
from oracle.validation.completeness import benchmark_checks
from oracle.validation.replay import RunFacts

JOB = {"chain_id": "1", "contract": "0x" + "ab" * 20, "job_id": "1", "spec": "0x" + "cd" * 32}
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
    return result_document(JOB, {"quantum": {}}, run(runs), routing={}, charge=5, oracle="0x")


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


# ---------------------------------------------------------------------------------------- artefacts

PROMOTED = {"choice": "ibm_quantum_backend", "backend": "ibm_box"}
PROVIDER = {"name": "ibm", "backend": "ibm_box", "job_id": "c0ffee", "calibration": {"t1": 1e-4}}
SIMULATED = {"run": asdict(run([])), "salt": "5a" * 32}
KEY = SealingKey.from_bytes(b"k" * 32)
SOMEBODY = "0x" + "ab" * 20
TERMS = Terms(
    SOMEBODY, SOMEBODY, SOMEBODY, ZERO_ADDRESS, ZERO_ADDRESS, ZERO_ADDRESS, 10, 0, 0, 1, 2, 0, b"s" * 32, KEY.public
)


def on_hardware(**changes: Any) -> HardwareResult:
    return HardwareResult(**{**asdict(run([])), "method": METHOD, "engine": HARDWARE, **changes}, provider=PROVIDER)


def test_result_document__simulator_job__holds_every_artefact_once() -> None:
    written = document([])
    found = artefacts_of({**written, "routing": {"choice": "local_simulator"}})

    assert tuple(found) == IN_RECEIPT
    assert found["provider"] == {"name": "local", "backend": "aer", "job_id": f"1:{JOB['contract']}:1"}
    assert found["simulation"]["backend"]["engine"] == "aer-statevector"
    assert canonical_bytes(written).count(canonical_bytes(run([]).counts)) == 1


def test_result_document__hardware_job__keeps_the_simulation_before_it_and_the_providers_word() -> None:
    written = result_document(
        JOB,
        {"quantum": {}},
        on_hardware(counts={"00": 10}),
        routing=PROMOTED,
        charge=5,
        oracle="0x",
        before={"simulation": SIMULATED, "gates": [{"gate": "simulation"}], "predicted_distance": 0.01},
    )
    found = artefacts_of(written)

    assert written["counts"] == found["raw_result"]["counts"] == {"00": 10}
    assert found["simulation"] == SIMULATED and found["provider"] == PROVIDER
    assert found["routing"] == {**PROMOTED, "gates": [{"gate": "simulation"}], "predicted_distance": 0.01}
    assert (written["backend"]["name"], written["backend"]["job_id"]) == ("ibm_box", "c0ffee")
    (check,) = benchmark_checks({**written, "seed": None})
    assert "job_id" not in check.reason


def test_result_document__hardware_without_a_simulation__lacks_that_alone_and_says_why() -> None:
    refused = {"simulation": {"refused": "memory_limit", "text": "needs 64 GiB"}}
    written = result_document(
        JOB, {"quantum": {}}, on_hardware(), routing=PROMOTED, charge=5, oracle="0x", before=refused
    )

    assert written["routing"]["not_simulated"] == "needs 64 GiB"
    assert set(IN_RECEIPT) - set(artefacts_of(written)) == {"simulation"}


def sealed(written: dict[str, Any]) -> bytes:
    context = SealContext.for_result(chain_id=1, contract=SOMEBODY, job_id=1, spec=TERMS.spec, party=TERMS.requester)
    data = sealed_result(written, TERMS, context, [Recipient("nacl", TERMS.seal_to)])
    open_sealed(data, KEY, context)
    return data


def test_sealed_result__receipt__has_the_digest_of_every_artefact_and_no_plain_one_of_what_can_be_guessed() -> None:
    job = job_reference(1, SOMEBODY, 1, TERMS)
    spec = {"quantum": {"circuit": "ipfs://c"}}
    written = result_document(job, spec, run([]), routing={"choice": "local"}, charge=5, oracle=SOMEBODY)
    receipt = inspect_sealed(sealed(written)).receipt or {}

    assert receipt["artefacts"] == artefact_digests(written) and tuple(sorted(IN_RECEIPT)) == tuple(
        receipt["artefacts"]
    )
    check_artefacts(written, receipt)
    plain = {"0x" + digest(canonical_bytes(each)).hex() for each in artefacts_of(written).values()}
    assert plain & set(receipt["artefacts"].values()) == {receipt["artefacts"]["original_spec"]}


def test_sealed_result__largest_answer_and_spec_allowed__fit() -> None:
    bits = 20
    size = CircuitLimits().output_bytes // (bits + 5)
    counts = {format(number, f"0{bits}b"): 9 for number in range(size)}
    job = job_reference(1, SOMEBODY, 1, TERMS)
    spec = {"quantum": {"circuit": "ipfs://c"}, "title": "x" * MAX_SPEC_BYTES}
    largest = replace(run([]), counts=counts, shots=9 * size)
    routing = {"choice": "local", "reasons": {str(number): "r" * 200 for number in range(200)}}
    written = result_document(job, spec, largest, routing=routing, charge=5, oracle=SOMEBODY)

    assert len(canonical_bytes(counts)) > 0.95 * CircuitLimits().output_bytes
    assert len(sealed(written)) <= 2**20


def test_sealed_result__longest_document_there_may_be__fits() -> None:
    job = job_reference(1, SOMEBODY, 1, TERMS)
    written = result_document(
        job, {"quantum": {"circuit": "c"}}, run([]), routing={"choice": "local"}, charge=5, oracle=SOMEBODY
    )
    written["more"] = "x" * (SEALABLE_BYTES - len(canonical_bytes({**written, "more": ""})))

    assert len(canonical_bytes(written)) == SEALABLE_BYTES
    assert len(sealed(written)) <= 2**20


# --------------------------------------------------------------------------------------- room


def wide(bits: int, shots: int, runs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    simulated = replace(run(runs or []), counts={"0" * bits: shots}, shots=shots)
    return {"run": asdict(simulated), "salt": "5a" * 32}


def filled(bits: int, shots: int) -> dict[str, int]:
    """As many outcomes as hardware can bring."""
    number = min(shots, 2**bits)
    return {format(each, f"0{bits}b"): shots // number + (each < shots % number) for each in range(number)}


def observed(shots: int, number: int) -> dict[str, Any]:
    told = {"values": [1.0] * number, "standard_errors": [0.0] * number}
    return {**PLACE, **told, "bases": [{"basis": "Z" * 12, "counts": {"0" * 12: shots}}]}


def noisy(simulation: dict[str, Any], memory: bool) -> HardwareResult:
    """As much as hardware can bring: every outcome there can be, values with all their digits."""
    simulated = RunResult(**copy.deepcopy(simulation["run"]))
    shots, counts = simulated.shots, filled(len(next(iter(simulated.counts))), simulated.shots)
    runs = simulated.runs or ([{**PLACE, "counts": dict(counts)}] if memory else [])
    for each in runs:
        for counted in [each, *each.get("bases", [])]:
            if "counts" in counted:
                counted["counts"] = filled(len(next(iter(counted["counts"]))), shots)
        if memory:
            each["memory"] = [outcome for outcome, number in each["counts"].items() for _ in range(number)]
        if "values" in each:
            each["values"] = [-0.12345678901234567] * len(each["values"])
            each["standard_errors"] = [1.2345678901234567e-05] * len(each["values"])
    isa = {"operations": {"sx": 10_000, "rz": 10_000, "ecr": 10_000}, "active": list(range(100, 120))}
    fields = {**asdict(simulated), "counts": counts, "runs": runs}
    return HardwareResult(**fields, provider={**PROVIDER, "isa": [isa] * max(1, len(runs))})


@pytest.mark.parametrize(
    ("simulation", "memory"),
    [
        (wide(5, 4_000), False),
        (wide(20, 9_000), False),
        (wide(12, 4_000), True),
        (wide(12, 1_000, [{**PLACE, "counts": {"0" * 12: 1_000}}] * 8), True),
        (wide(12, 700, [observed(700, 20)] * 30), False),
        (wide(12, 700, [observed(700, 1_000)]), False),
        (wide(8, 300, [{**PLACE, "counts": {"0" * 8: 300}}] * 60), False),
    ],
)
def test_require_room__what_it_lets_through__can_be_sealed_however_noisy_hardware_is(simulation, memory) -> None:
    spec = {"quantum": {"circuit": "ipfs://c", "result": "memory" if memory else "counts"}}
    require_room(spec, PROMOTED, simulation)
    job = job_reference(1, SOMEBODY, 1, TERMS)
    written = result_document(
        job,
        spec,
        noisy(simulation, memory),
        routing=PROMOTED,
        charge=5,
        oracle=SOMEBODY,
        before={"simulation": simulation},
    )

    assert len(sealed(written)) <= 2**20
    with pytest.raises(CircuitRejected) as caught:
        require_room(spec, PROMOTED, simulation, limit=len(canonical_bytes(written)) - 1)
    assert caught.value.code == "output_limit"


@pytest.mark.parametrize(("simulation", "kind"), [(wide(20, 40_000), "counts"), (wide(20, 12_000), "memory")])
def test_require_room__too_much_for_one_document__is_refused_with_what_would_pass(simulation, kind) -> None:
    with pytest.raises(CircuitRejected, match="can be sealed") as caught:
        require_room({"quantum": {"result": kind}}, PROMOTED, simulation)
    assert "fewer shots" in str(caught.value)


def test_require_room__spec_routing_and_simulation__count_as_well() -> None:
    small, long = {"quantum": {}}, {"quantum": {}, "title": "x" * 60_000}
    simulation = wide(2, 10)
    require_room(small, PROMOTED, simulation, limit=60_000)
    for spec, routing, simulated in (
        (long, PROMOTED, simulation),
        (small, {**PROMOTED, "reasons": long}, simulation),
        (small, PROMOTED, {**simulation, "more": long}),
    ):
        with pytest.raises(CircuitRejected):
            require_room(spec, routing, simulated, limit=60_000)


def test_require_room__nothing_was_simulated__nothing_is_known() -> None:
    require_room({"quantum": {}}, PROMOTED, {"refused": "memory_limit", "text": "needs 64 GiB"}, limit=1)
