"""Decisions: every reason, and what holds for all of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.circuits.analysis import METHODS, Analysis, Probe
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import LintReport
from oracle.jobs.canonical import canonical_bytes, parse_json
from oracle.routing.candidates import IBM, LOCAL, MANAGED, NOT_OFFERED, Candidate, by_method
from oracle.routing.route import (
    LATER,
    REVIEW,
    TAKEN,
    Decision,
    Policy,
    Verdict,
    needs_analysis,
    rehearsal,
    reproducible,
    route,
)

LIMITS = CircuitLimits(qubits=1_000, clbits=1_000)
AER = Candidate("aer", LOCAL, 1_000, limits=LIMITS)
FAST = replace(AER, absent={})
DASK = Candidate("dask", MANAGED, 1_000, limits=replace(LIMITS, memory_bytes=2**40), queue_seconds=1)
FEZ = Candidate("ibm_fez", IBM, 156, queue_seconds=600, price=500, two_qubit_error=0.003)
KYIV = Candidate("ibm_kyiv", IBM, 127, queue_seconds=60, price=100, two_qubit_error=0.01)
ALL = (AER, DASK, FEZ, KYIV)

DENSE = Analysis(
    qubits=20, active_qubits=20, clbits=20, depth=40, gates=600, operations={"u": 400, "cx": 200},
    families={"clifford": 200, "rotation": 400}, two_qubit_gates=200, wider_gates=0, t_count=0, clifford=False,
    measurements=20, resets=0, mid_circuit=False, feed_forward=False, bond_bits=10, crossings=1300,
)  # fmt: skip
CLIFFORD = replace(DENSE, clifford=True, families={"clifford": 600}, bond_bits=1, crossings=200)
HUGE = replace(DENSE, qubits=60, active_qubits=60, bond_bits=30)
SLOW = replace(DENSE, qubits=28, active_qubits=28, gates=5_000)


def spec(
    policy: str = "simulator",
    *,
    max_qubits: int | None = None,
    allowed: tuple[str, ...] = (),
    queue: int | None = None,
    seed: int | None = None,
    method: str = "none",
    budget: int = 1_000,
) -> dict[str, Any]:
    constraints = {"max_qubits": max_qubits, "max_queue_minutes": queue, "allowed_backends": list(allowed)}
    quantum = {"backend_policy": policy, "constraints": constraints, "shots": 1024, "seed": seed}
    return {"quantum": quantum, "validation": {"method": method}, "budget": {"amount": str(budget)}}


def every_shot(wanted: dict[str, Any], shots: int) -> dict[str, Any]:
    return {**wanted, "quantum": {**wanted["quantum"], "result": "memory", "shots": shots}}


def codes(decision: Decision) -> dict[str, str]:
    return {verdict.name: verdict.code for verdict in decision.verdicts}


def verdict_of(decision: Decision, name: str) -> Verdict:
    return next(verdict for verdict in decision.verdicts if verdict.name == name)


@pytest.mark.parametrize(
    ("wanted", "qubits", "choice"),
    [
        (spec(), 5, LOCAL),
        (spec(), 28, LOCAL),
        (spec(), 29, REVIEW),
        (spec("ibm"), 5, IBM),
        (spec("ibm_or_simulator"), 5, LOCAL),
        (spec("any"), 40, IBM),
        (spec("any", max_qubits=4), 5, REVIEW),
        (spec("any", allowed=("ibm_fez",)), 5, IBM),
        (spec("simulator", allowed=("ibm_fez",)), 5, REVIEW),
    ],
)
def test_route__width_alone__policy_and_constraints_decide(wanted: dict[str, Any], qubits: int, choice: str) -> None:
    decision = route(wanted, qubits, [Candidate("aer", LOCAL, 28), FEZ])

    assert decision.choice == choice
    assert set(decision.reasons) == {"aer", "ibm_fez"}
    assert all(decision.reasons.values())


def test_route__noise__is_for_simulators_and_says_so() -> None:
    noise = {"one_qubit": 0.001, "two_qubit": 0.01, "readout": 0.02}
    wanted = spec("any")
    wanted["quantum"]["noise"] = noise

    decision = route(wanted, replace(DENSE, qubits=8, active_qubits=8, bond_bits=4, noisy=True), [AER, FEZ])

    assert (decision.choice, decision.method) == (LOCAL, "density_matrix")
    assert codes(decision)["ibm_fez"] == "noise_is_simulated" and "would pass" in decision.reasons["ibm_fez"]
    assert decision.constraints["noise"] == noise
    assert (
        needs_analysis(wanted, LintReport("openqasm2", 1, 1, 1, 1))
        and needs_analysis(spec(), LintReport("openqasm2", 1, 1, 1, 1)) is False
    )


def test_route__nobody_on_offer__is_for_review() -> None:
    document = route(spec(), 5, []).as_dict()

    assert (document["choice"], document["backend"], document["reasons"]) == (REVIEW, None, {})


@pytest.mark.parametrize(
    ("wanted", "circuit", "policy", "name", "code", "says"),
    [
        (spec("ibm"), DENSE, Policy(), "aer.statevector", "hardware_only", ("ibm", "would pass")),
        (spec(), DENSE, Policy(), "ibm_fez", "simulator_only", ("simulator", "would pass")),
        (spec("any", allowed=("aer",)), DENSE, Policy(), "ibm_fez", "backend_not_allowed", ("aer", "ibm_fez")),
        (spec(max_qubits=19), DENSE, Policy(), "aer.statevector", "too_wide_for_spec", ("20", "19")),
        (spec("any"), replace(HUGE, qubits=200), Policy(), "ibm_fez", "too_wide", ("200", "156")),
        (spec("any", queue=9), DENSE, Policy(), "ibm_fez", "queue_too_long", ("10 min", "9")),
        (spec(), DENSE, Policy(), "aer.stim", "not_clifford", ("400 rotation",)),
        (spec(), DENSE, Policy(), "aer.stabilizer", "not_clifford", ("400 rotation",)),
        (spec(), replace(DENSE, feed_forward=True), Policy(), "aer.stim", "feed_forward", ("`if`", "would pass")),
        (spec(seed=1), CLIFFORD, Policy(), "aer.stim", "not_reproducible", ("would pass",)),
        (spec(method="replay"), CLIFFORD, Policy(), "aer.stim", "not_reproducible", ("would pass",)),
        (spec(), HUGE, Policy(), "aer.statevector", "too_much_memory", ("exbibyte", "6.0 GiB")),
        (spec(), DENSE, Policy(), "aer.density_matrix", "too_much_memory", ("16 TiB", "6.0 GiB")),
        (spec(), SLOW, Policy(), "aer.statevector", "too_slow", ("60 s would pass",)),
        (spec(), HUGE, Policy(), "aer.matrix_product_state", "bond_dimension_unknown", ("2^30", "2^6")),
        (
            spec(), replace(HUGE, probe=Probe(16, 16, 3.5, 9)), Policy(),
            "aer.matrix_product_state", "truncated", ("16", "3.5", "1e-10"),
        ),
        (spec(), DENSE, Policy(methods=("stim",)), "aer.statevector", "method_not_allowed", ("stim",)),
        (spec("any"), DENSE, Policy(hardware=False), "ibm_fez", "hardware_not_offered", ("operator",)),
        (spec("any", budget=499), DENSE, Policy(), "ibm_fez", "over_budget", ("500", "499")),
        (spec("any"), DENSE, Policy(max_price=99), "ibm_kyiv", "over_budget", ("100", "99")),
        (spec("any"), replace(DENSE, feed_forward=True), Policy(), "ibm_fez", "feed_forward", ("would pass",)),
        (spec("any"), DENSE, Policy(min_fidelity=0.6), "ibm_fez", "too_noisy", ("0.55", "0.6")),
        (spec(), DENSE, Policy(), "aer.statevector", TAKEN, ("16 MiB",)),
        (spec(), DENSE, Policy(), "aer.qsim", "not_offered", ("qscrow[fast]",)),
        (spec(), DENSE, Policy(), "aer.extended_stabilizer", "not_offered", ("wrong",)),
        (spec("any"), DENSE, Policy(), "ibm_fez", LATER, ("aer.statevector", "10 min")),
    ],
)  # fmt: skip
def test_route__every_reason__names_what_was_seen_and_what_would_pass(
    wanted: dict[str, Any], circuit: Analysis, policy: Policy, name: str, code: str, says: tuple[str, ...]
) -> None:
    verdict = verdict_of(route(wanted, circuit, ALL, policy), name)

    assert verdict.code == code
    assert all(text in verdict.text for text in says), verdict.text


def test_route__backend_without_an_answer__says_so_and_hides_no_other() -> None:
    silent = Candidate.unanswering("ibm_fez", "HTTP 503")

    assert codes(route(spec("ibm"), DENSE, [silent, KYIV])) == {"ibm_fez": "no_answer", "ibm_kyiv": TAKEN}
    alone = route(spec("ibm"), DENSE, [silent])
    assert (alone.choice, alone.reasons) == (REVIEW, {"ibm_fez": "nothing is known of it now: HTTP 503"})
    assert codes(route(spec("ibm", allowed=("ibm_kyiv",)), DENSE, [silent])) == {"ibm_fez": "backend_not_allowed"}


@pytest.mark.parametrize(("circuit", "method"), [(DENSE, "statevector"), (HUGE, None)])
def test_rehearsal__whatever_the_spec_says_of_backends__is_how_the_simulator_would_run_it(circuit, method) -> None:
    wanted = spec("ibm", allowed=("ibm_fez",), queue=0)

    assert rehearsal(wanted, circuit, replace(AER, queue_seconds=900)) == method


def test_route__closed_backend__is_not_taken() -> None:
    decision = route(spec("ibm"), DENSE, [replace(KYIV, operational=False), FEZ])

    assert codes(decision) == {"ibm_kyiv": "closed", "ibm_fez": TAKEN}


def test_route__hardware__the_shortest_wait_first_then_the_least_error() -> None:
    equal = replace(FEZ, queue_seconds=60)

    assert route(spec("ibm"), DENSE, ALL).backend == "ibm_kyiv"
    assert route(spec("ibm"), DENSE, [KYIV, equal]).backend == "ibm_fez"


def test_route__feed_forward__needs_hardware_that_can() -> None:
    dynamic = replace(DENSE, feed_forward=True)

    assert route(spec("ibm"), dynamic, [FEZ, replace(KYIV, dynamic=True)]).backend == "ibm_kyiv"


def test_route__too_much_for_here__goes_to_the_cluster_and_says_so() -> None:
    decision = route(spec(), replace(DENSE, qubits=30, active_qubits=30, gates=20), ALL)

    assert (decision.choice, decision.backend, decision.method) == (MANAGED, "dask", "statevector")


def test_route__busy_here__goes_to_the_cluster() -> None:
    decision = route(spec(), DENSE, [replace(AER, queue_seconds=100), DASK])

    assert decision.choice == MANAGED


@pytest.mark.parametrize(
    ("circuit", "method"), [(CLIFFORD, "stabilizer"), (DENSE, "statevector"), (replace(HUGE, bond_bits=2), METHODS[2])]
)
def test_route__kind_of_circuit__has_its_method(circuit: Analysis, method: str) -> None:
    assert route(spec(), circuit, [AER]).method == method


def test_route__allowed_backends__may_name_one_method() -> None:
    decision = route(spec(allowed=("aer.matrix_product_state",)), CLIFFORD, ALL)

    assert (decision.backend, decision.method) == ("aer", "matrix_product_state")


def test_route__nothing_fits__is_for_review_with_every_reason() -> None:
    decision = route(spec(), HUGE, [AER, FEZ])

    assert (decision.choice, decision.backend, decision.method) == (REVIEW, None, None)
    assert not any(verdict.eligible for verdict in decision.verdicts)


counts = st.integers(0, 300)
analyses = st.builds(
    Analysis,
    qubits=st.integers(1, 300), active_qubits=st.integers(1, 300), clbits=counts, depth=counts, gates=counts,
    operations=st.just({}), families=st.just({"rotation": 1}), two_qubit_gates=counts, wider_gates=counts,
    t_count=counts, clifford=st.booleans(), measurements=counts, resets=st.integers(0, 2), mid_circuit=st.booleans(),
    feed_forward=st.booleans(), bond_bits=st.integers(0, 150), crossings=counts,
    probe=st.none() | st.builds(Probe, st.sampled_from([16, 128]), st.integers(1, 128), st.floats(0, 9), counts),
)  # fmt: skip
specs = st.builds(
    spec,
    st.sampled_from(["simulator", "ibm_or_simulator", "ibm", "any"]),
    max_qubits=st.none() | st.integers(1, 300),
    allowed=st.lists(st.sampled_from(["aer", "dask", "ibm_fez", "aer.stim", "aer.qsim"]), unique=True).map(tuple),
    queue=st.none() | st.integers(0, 20),
    seed=st.none() | st.just(1),
    budget=st.integers(1, 1_000),
)
offers = st.lists(st.sampled_from(ALL), unique=True) | st.just([FAST])
policies = st.builds(
    Policy,
    st.lists(st.sampled_from(METHODS), unique=True).map(tuple),
    st.booleans(),
    st.integers(0, 600),
    st.floats(0, 1),
)


@given(specs, analyses, offers, policies)
def test_route__anything__weighs_every_candidate_once_and_takes_at_most_one(
    wanted: dict[str, Any], circuit: Analysis, candidates: list[Candidate], policy: Policy
) -> None:
    decision = route(wanted, circuit, candidates, policy)

    expected = [each.name for offer in candidates for each in (by_method(offer) if offer.is_simulator else [offer])]
    expected += NOT_OFFERED if any(offer.is_simulator for offer in candidates) else []
    assert [verdict.name for verdict in decision.verdicts] == expected == list(decision.reasons)
    assert all(verdict.text and verdict.code for verdict in decision.verdicts)
    taken = [verdict for verdict in decision.verdicts if verdict.code == TAKEN]
    assert len(taken) == any(verdict.eligible for verdict in decision.verdicts)
    assert (decision.choice == REVIEW) == (not taken)
    if taken:
        assert (taken[0].kind, taken[0].backend, taken[0].method) == (
            decision.choice,
            decision.backend,
            decision.method,
        )


@given(specs, analyses, offers, policies)
def test_route__taken__breaks_no_constraint(
    wanted: dict[str, Any], circuit: Analysis, candidates: list[Candidate], policy: Policy
) -> None:
    decision = route(wanted, circuit, candidates, policy)
    quantum, constraints = wanted["quantum"], wanted["quantum"]["constraints"]
    if decision.choice == REVIEW:
        return
    assert decision.choice == IBM or quantum["backend_policy"] != "ibm"
    assert decision.choice != IBM or (quantum["backend_policy"] != "simulator" and policy.hardware)
    named = {decision.backend, f"{decision.backend}.{decision.method}"}
    assert not constraints["allowed_backends"] or named.intersection(constraints["allowed_backends"])
    assert constraints["max_qubits"] is None or circuit.qubits <= constraints["max_qubits"]
    assert decision.method is None or decision.method in policy.methods
    assert decision.method != "stim" or quantum["seed"] is None
    assert decision.method != "qsim" or quantum["seed"] is None or "aer.qsim" in constraints["allowed_backends"]


@given(specs, analyses, offers, policies)
def test_route__same_question__gives_the_same_canonical_document(
    wanted: dict[str, Any], circuit: Analysis, candidates: list[Candidate], policy: Policy
) -> None:
    document = canonical_bytes(route(wanted, circuit, candidates, policy).as_dict())

    assert document == canonical_bytes(route(wanted, circuit, candidates, policy).as_dict())
    assert canonical_bytes(parse_json(document, "decision", 2**20)) == document


@given(specs, analyses, policies)
def test_route__order_of_candidates__changes_no_simulator_against_hardware(
    wanted: dict[str, Any], circuit: Analysis, policy: Policy
) -> None:
    assert route(wanted, circuit, ALL, policy).choice == route(wanted, circuit, ALL[::-1], policy).choice


@pytest.mark.parametrize(
    ("wanted", "report", "needed"),
    [
        (spec(), LintReport("openqasm2", 10, 10, 50, 100), False),
        (spec("any"), LintReport("openqasm2", 10, 10, 50, 100), True),
        (spec(allowed=("aer.qsim",)), LintReport("openqasm2", 10, 10, 50, 100), True),
        (spec(), LintReport("openqasm2", 17, 10, 50, 100), True),
        (spec(), LintReport("openqasm2", 10, 10, 50, 9_000), True),
        (spec(), LintReport("openqasm2", 10, 10, 50, 100, dynamic=True), True),
        (spec(), LintReport("openqasm2", 10, 300, 50, 100), True),
        (spec(), LintReport("openqasm2", 10, 10, 50, 100, executions=20), True),
        (spec(), LintReport("openqasm2", 2, 2, 50, 100, executions=20), False),
        (spec(), LintReport("openqasm2", 2, 2, 50, 100, executions=20, values=3_000), True),
        (every_shot(spec(), 100_000), LintReport("openqasm2", 2, 2, 50, 100), True),
    ],
)
def test_needs_analysis__only_small_plain_simulator_jobs__do_without(
    wanted: dict[str, Any], report: LintReport, needed: bool
) -> None:
    assert needs_analysis(wanted, report) == needed


@pytest.mark.parametrize(
    ("wanted", "circuit", "expected"),
    [
        (spec(), replace(DENSE, qubits=30, active_qubits=30), "too_much_memory"),
        (spec(), SLOW, "too_slow"),
        (spec(), replace(DENSE, repeats=100.0), "too_slow"),
        (spec("ibm"), DENSE, "no_backend"),
        (spec(max_qubits=3), DENSE, "no_backend"),
    ],
)
def test_obstacle__nothing_taken__is_what_keeps_a_simulator_from_the_state(
    wanted: dict[str, Any], circuit: Analysis, expected: str
) -> None:
    decision = route(wanted, circuit, [AER])

    assert (decision.choice, decision.obstacle) == (REVIEW, expected)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(spec(), False), (spec(seed=0), True), (spec(method="replay"), True), (spec(method="agreement"), True)],
)
def test_reproducible__seed_or_comparing_validation__is_true(wanted: dict[str, Any], expected: bool) -> None:
    assert reproducible(wanted) == expected


@pytest.mark.parametrize(
    ("wanted", "changes", "code", "says"),
    [
        (spec(), {}, TAKEN, "8"),
        (spec(seed=1), {}, "not_reproducible", "allowed_backends"),
        (spec(method="replay"), {}, "not_reproducible", "others"),
        (spec(seed=1, allowed=("aer.qsim",)), {}, TAKEN, "MiB"),
        (spec(seed=1), {"active_qubits": 30}, "too_much_memory", "8.0 GiB"),
        (spec(allowed=("aer.statevector",)), {}, "backend_not_allowed", "aer.statevector"),
        (spec(), {"mid_circuit": True}, "mid_circuit", "end"),
        (spec(), {"resets": 1}, "mid_circuit", "resets"),
        (spec(), {"feed_forward": True}, "feed_forward", "`if`"),
        (spec(), {"gates": 9_882}, TAKEN, "MiB"),
        (spec(), {"gates": 9_883}, "imprecise", "at most 9882 would pass with 1024 shots"),
        (spec(), {"active_qubits": 30}, "too_much_memory", "8.0 GiB"),
        (spec(), {"active_qubits": 8, "qubits": 8}, LATER, "aer.statevector comes first"),
        (every_shot(spec(), 1024), {}, "no_memory", "in order"),
    ],
)
def test_route__qsim_installed__is_taken_for_dense_circuits_that_suit_it(
    wanted: dict[str, Any], changes: dict[str, Any], code: str, says: str
) -> None:
    verdict = verdict_of(route(wanted, replace(DENSE, **changes), [FAST, FEZ]), "aer.qsim")

    assert verdict.code == code and says in verdict.text


def test_route__only_qsim_allowed_and_absent__is_for_review() -> None:
    decision = route(spec(allowed=("aer.qsim",)), DENSE, [AER])

    assert decision.choice == REVIEW and codes(decision)["aer.qsim"] == "not_offered"


def test_route__endless_forecast__is_still_a_number() -> None:
    decision = route(spec(), replace(HUGE, active_qubits=1_000, qubits=1_000, bond_bits=500), [AER])

    weighed = [verdict for verdict in decision.verdicts if verdict.method]
    assert len(weighed) == len(METHODS)
    assert all(verdict.seconds is not None and math.isfinite(verdict.seconds) for verdict in weighed)
