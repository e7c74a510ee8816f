from __future__ import annotations

from dataclasses import replace

import pytest

from oracle.jobs.errors import PolicyDenied
from oracle.jobs.spec import normalise
from oracle.jobs.terms import ZERO_ADDRESS
from oracle.node.config import NodeConfig
from oracle.node.gates import (
    AwaitsApproval,
    Facts,
    Gates,
    Passage,
    Stage,
    circuit_family,
    evaluate,
    require,
)

GATES = Gates(
    require_simulation=True,
    max_baseline_distance=0.08,
    max_runs_per_day=10,
    max_runs_per_requester=5,
    approvals=frozenset({"new_circuit_family", "budget_over", "unknown_requester"}),
    approval_budget=1_000,
    require_promotion=True,
    require_validation=True,
    max_qubits=20,
    max_gates=500,
    max_shots=4_000,
)
FINE = Facts(
    hardware=True,
    qubits=5,
    gates=50,
    shots=1_000,
    charge=90,
    cap=100,
    budget=110,
    validation_method="distribution",
    parties=("0x1", "0x2", "0x3", ZERO_ADDRESS),
    known_family=True,
    known_requester=True,
    queue_minutes=5,
    queue_tolerance=30,
    simulated=True,
    baseline_distance=0.03,
    promoted=True,
)


def spec_with(**promotion):
    return normalise(
        {"budget": {"amount": 12_000}, "promotion": promotion},
        requester="did:pkh:eip155:31337:0x" + "33" * 20,
        circuit="ipfs://f01551220" + "00" * 32,
    )


def word_of(gate: str, **changes):
    (result,) = [each for each in evaluate(GATES, replace(FINE, **changes)) if each.gate == gate]
    return result


def test_evaluate__job_that_meets_every_demand__passes_all():
    results = evaluate(GATES, FINE)

    assert {result.passage for result in results} == {Passage.PASS}
    require(results, Stage.SUBMISSION)


@pytest.mark.parametrize(
    ("gate", "changes", "code", "observed", "needed"),
    [
        ("separate_keys", {"parties": ("0x1", "0x1")}, "same_key", "0x1", "differ"),
        ("locked_budget", {"cap": 80}, "budget_too_low", "80 wei", "at least 90 wei"),
        ("circuit_limits", {"qubits": 21}, "too_many_qubits", "21 qubits", "at most 20"),
        ("circuit_limits", {"gates": 501}, "too_many_gates", "501 gates", "at most 500"),
        ("circuit_limits", {"shots": 4_001}, "too_many_shots", "4001 shots", "at most 4000"),
        ("validation_criteria", {"validation_method": "none"}, "no_validation", "none", "validation.method"),
        ("runs_per_day", {"runs_today": 10}, "runs_exhausted", "10 runs", "fewer than 10"),
        ("requester_quota", {"requester_runs_today": 5}, "quota_exhausted", "5 runs", "fewer than 5"),
        ("manual_approval", {"approval": False}, "not_approved", "denied", "oracle approve"),
        ("queue_tolerance", {"queue_minutes": 30}, "queue_too_long", "takes 30 min", "max_queue_minutes"),
        ("baseline_distance", {"baseline_distance": 0.08}, "baseline_too_far", "0.08", "below 0.08"),
    ],
)
def test_require__one_demand_not_met__is_denied_naming_gate_observation_and_remedy(
    gate, changes, code, observed, needed
):
    result = word_of(gate, **changes)
    assert (result.passage, result.code) == (Passage.DENY, code)
    assert len(code.encode("ascii")) <= 31

    with pytest.raises(PolicyDenied) as denied:
        require(evaluate(GATES, replace(FINE, **changes)), Stage.SUBMISSION)

    assert not isinstance(denied.value, AwaitsApproval)
    assert (denied.value.code, denied.value.field) == (code, f"gate {gate}")
    assert observed in denied.value.message
    assert needed in denied.value.remedy


@pytest.mark.parametrize(
    ("gate", "changes", "code", "observed"),
    [
        ("manual_approval", {"known_family": False}, "awaits_approval", "new_circuit_family"),
        ("manual_approval", {"budget": 1_001, "cap": 900}, "awaits_approval", "budget_over"),
        ("manual_approval", {"known_requester": False}, "awaits_approval", "unknown_requester"),
        ("queue_tolerance", {"queue_minutes": None}, "queue_unknown", "not known"),
        ("simulation", {"simulated": False}, "not_simulated", "not simulated"),
        ("baseline_distance", {"baseline_distance": None}, "baseline_unknown", "not known"),
        ("promotion", {"promoted": False}, "not_promoted", "not promoted"),
    ],
)
def test_require__something_still_to_come__waits_for_it(gate, changes, code, observed):
    result = word_of(gate, **changes)
    assert (result.passage, result.code) == (Passage.WAIT, code)

    with pytest.raises(AwaitsApproval, match=observed):
        require(evaluate(GATES, replace(FINE, **changes)), Stage.SUBMISSION)


def test_require__before_acceptance__what_the_simulation_tells_is_not_asked_yet():
    results = evaluate(GATES, replace(FINE, simulated=False, baseline_distance=None, promoted=False))
    require(results, Stage.ACCEPTANCE)


def test_require__denied_and_waiting__is_denied():
    with pytest.raises(PolicyDenied, match="21 qubits") as denied:
        require(evaluate(GATES, replace(FINE, known_family=False, qubits=21)), Stage.ACCEPTANCE)
    assert not isinstance(denied.value, AwaitsApproval)


def test_evaluate__operator_said_yes__nothing_else_is_asked():
    asked = {"known_family": False, "known_requester": False, "budget": 2_000}
    assert word_of("manual_approval", **asked, approval=True).passage == Passage.PASS


def test_evaluate__simulator__needs_no_simulation_queue_or_promotion():
    names = {result.gate for result in evaluate(GATES, replace(FINE, hardware=False))}
    assert names.isdisjoint({"simulation", "baseline_distance", "queue_tolerance", "promotion"})
    assert {"locked_budget", "manual_approval", "requester_quota"} <= names


def test_evaluate__nothing_asked_for__passes():
    lax = replace(
        GATES,
        require_simulation=False,
        max_baseline_distance=None,
        max_runs_per_day=None,
        max_runs_per_requester=None,
        approvals=frozenset(),
        require_promotion=False,
        require_validation=False,
    )
    facts = replace(
        FINE,
        simulated=False,
        baseline_distance=None,
        promoted=False,
        runs_today=10**6,
        requester_runs_today=10**6,
        known_family=False,
        known_requester=False,
        validation_method="none",
        queue_tolerance=None,
        queue_minutes=None,
    )
    require(evaluate(lax, facts), Stage.SUBMISSION)


@pytest.mark.parametrize(
    ("operator", "job", "expected"), [(0.08, 0.05, 0.05), (0.05, 0.08, 0.05), (None, 0.05, 0.05), (0.08, "auto", 0.08)]
)
def test_gates_of__both_ask_for_a_distance__the_stricter_counts(operator, job, expected):
    config = NodeConfig(gate_baseline_distance=operator)
    assert Gates.of(config, spec_with(max_baseline_distance=job)).max_baseline_distance == expected


def test_gates_of__more_signal_asked_for_than_predicted__is_no_run_to_pay_for():
    spec = spec_with(max_baseline_distance="auto")
    spec = {**spec, "validation": {**spec["validation"], "min_polarisation": 0.96875}}
    assert Gates.of(NodeConfig(), spec).max_baseline_distance == 0.03125
    assert Gates.of(NodeConfig(gate_baseline_distance=0.01), spec).max_baseline_distance == 0.01


@pytest.mark.parametrize(
    ("operator", "job", "expected"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_gates_of__either_asks_for_a_simulation__it_is_needed(operator, job, expected):
    config = NodeConfig(gate_simulation=operator)
    assert Gates.of(config, spec_with(require_simulation=job)).require_simulation is expected


def test_gates_of__job_that_wants_to_be_promoted_by_hand__needs_it():
    assert Gates.of(NodeConfig(), spec_with(require_manual_approval=True)).require_promotion
    assert not Gates.of(NodeConfig(), spec_with(require_manual_approval=False)).require_promotion


def test_as_dict__of_a_result__is_plain():
    assert word_of("locked_budget", cap=80).as_dict()["passage"] == "deny"


def test_circuit_family__other_angles_layout_and_comments__is_the_same():
    one = b"OPENQASM 2.0;\nqreg q[2];\nrz(0.5) q[0]; // half\nu(pi/2, sin(0.1), (3)) q[1];"
    other = b"OPENQASM 2.0; qreg q[2];\n/* another */ rz(-pi) q[0];\nu(1,(2*(3)),4) q[1];"
    assert circuit_family(one) == circuit_family(other)


@pytest.mark.parametrize("change", [(b"rz", b"rx"), (b"q[0]", b"q[1]"), (b"q[2]", b"q[3]")])
def test_circuit_family__other_gates_wires_or_width__is_another(change):
    source = b"OPENQASM 2.0; qreg q[2]; rz(0.5) q[0];"
    assert circuit_family(source) != circuit_family(source.replace(*change))


@pytest.mark.parametrize("source", [b"(" * 100_000 + b")" * 100_000, b"/*" * 500_000, b"(a" * 300_000])
def test_circuit_family__hostile_text__ends(source):
    assert circuit_family(source)
