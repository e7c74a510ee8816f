"""From spec and evidence to verdict: who is at fault decides between reject and inconclusive."""

from __future__ import annotations

import copy
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.circuits.instructions import read_work
from oracle.circuits.limits import CircuitLimits
from oracle.validation.baseline import Baseline
from oracle.validation.canary import plan_canaries
from oracle.validation.counts import Counts
from oracle.validation.estimates import Expected
from oracle.validation.judge import Evidence, judge
from oracle.validation.replay import RunFacts
from oracle.validation.verdict import HARDWARE, STAND_IN, Outcome, parse_verdict

RESULT = {
    "counts": {"00": 510, "11": 514},
    "shots": 1024,
    "seed": 7,
    "seconds": {"run": 0.1},
    "backend": {
        "name": "aer",
        "method": "statevector",
        "engine": "aer-statevector",
        "versions": {"qiskit-aer": "0.18"},
    },
    "circuit": {"transpiled_digest": "ab" * 32, "depth": 2, "operations": {"h": 1, "cx": 1}},
    "spec": {"quantum": {"circuit": "ipfs://f", "format": "openqasm2", "shots": 1024}},
}
BELL = Baseline.exact({"00": 0.5, "11": 0.5})


def spec(method, *, job_type="smoke_test", seed=None, shots=1024, **validation):
    return {
        "job_type": job_type,
        "quantum": {"shots": shots, "seed": seed},
        "validation": {"method": method, "threshold": "auto", "baseline": None, **validation},
    }


def outcome(*arguments, **options):
    return judge(*arguments, **options).outcome


def test_judge__distribution__follows_the_baseline():
    assert outcome(spec("distribution"), RESULT, Evidence(baselines=[BELL])) == Outcome.ACCEPT
    wrong = {**RESULT, "counts": {"00": 510, "01": 514}}
    assert outcome(spec("distribution"), wrong, Evidence(baselines=[BELL])) == Outcome.REJECT


@pytest.mark.parametrize("method", ["distribution", "replay", "canary", "agreement"])
def test_judge__evidence_missing__is_inconclusive_and_says_what(method):
    verdict = judge(spec(method), RESULT, Evidence())
    assert verdict.outcome == Outcome.INCONCLUSIVE
    assert "missing" in verdict.statement


@pytest.mark.parametrize("counts", [None, {}, {"00": 1024.0}, {"00": 1000}, {"0": 1024}, {"00": 512, "xx": 512}, "00"])
@pytest.mark.parametrize("method", ["none", "distribution", "replay"])
def test_judge__malformed_counts__are_rejected_by_every_method(method, counts):
    evidence = Evidence(baselines=[BELL], widths=[2])
    assert outcome(spec(method), {**RESULT, "counts": counts}, evidence) == Outcome.REJECT


def test_judge__baseline_that_does_not_fit__never_costs_the_oracle_its_bond():
    evidence = Evidence(baselines=[Baseline.exact({"000": 0.5, "111": 0.5})], widths=[2])
    assert outcome(spec("distribution"), RESULT, evidence) == Outcome.INCONCLUSIVE
    impossible = spec("distribution", confidence=0.99999)
    assert outcome(impossible, RESULT, Evidence(baselines=[BELL])) == Outcome.INCONCLUSIVE


def test_judge__replay__compares_runs_and_the_seed_that_was_due():
    mine = RunFacts.of_document(RESULT)
    assert outcome(spec("replay", seed=7), RESULT, Evidence(replayed=mine)) == Outcome.ACCEPT
    assert outcome(spec("replay"), RESULT, Evidence(replayed=mine, required_seed=7)) == Outcome.ACCEPT
    due = replace(mine, seed=8)
    assert outcome(spec("replay"), RESULT, Evidence(replayed=due, required_seed=8)) == Outcome.REJECT
    assert outcome(spec("replay"), {**RESULT, "seed": "7"}, Evidence(replayed=mine)) == Outcome.REJECT


def canary_job():
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    plan = plan_canaries([circuit, circuit], 1, rng=random.Random(1))
    answers = {canary.position: canary.expected for canary in plan.canaries}
    counts = [{answers.get(place, "00"): 1024} for place in range(3)]
    asked = read_work(plan.document(), "qscrow-json", CircuitLimits()).circuits
    evidence = Evidence(opening=plan.opening(), asked=asked, circuits=counts, widths=[2, 2, 2])
    return spec("canary", commitment=plan.commitment), evidence, plan.canaries[0].position


def test_judge__canaries__are_opened_checked_and_judged():
    wanted, evidence, place = canary_job()
    assert outcome(wanted, RESULT, evidence) == Outcome.ACCEPT
    flipped = list(evidence.circuits)
    flipped[place] = {"00": 512, "11": 512}
    assert outcome(wanted, RESULT, replace(evidence, circuits=flipped)) == Outcome.REJECT


def test_judge__requester_who_opens_falsely__gets_no_rejection():
    wanted, evidence, place = canary_job()
    forged = copy.deepcopy(evidence.opening)
    forged["canaries"][0]["expected"] = "01"
    assert outcome(wanted, RESULT, replace(evidence, opening=forged)) == Outcome.INCONCLUSIVE
    assert outcome({**wanted, "validation": {"method": "canary", "threshold": "auto"}}, RESULT, evidence) == (
        Outcome.INCONCLUSIVE
    )


def test_judge__requester_who_commits_to_a_false_answer__gets_no_rejection():
    from oracle.validation.canary import Canary, commitment

    wanted, evidence, place = canary_job()
    true = evidence.opening["canaries"][0]["expected"]
    false = Canary(place, "".join("10"[int(bit)] for bit in true))
    opening = {**evidence.opening, "canaries": [{"position": place, "expected": false.expected}]}
    wanted["validation"]["commitment"] = commitment([false], bytes.fromhex(opening["salt"]))
    verdict = judge(wanted, RESULT, replace(evidence, opening=opening))
    assert verdict.outcome == Outcome.INCONCLUSIVE
    assert "is not the answer" in verdict.statement


def test_judge__agreement__uses_the_peers_that_are_usable(random_output, draw, rng):
    p = random_output(4)
    result = {**RESULT, "counts": draw(p, 1024, rng)}
    peers = {"0xb": draw(p, 1024, rng), "0xc": {"junk": -1}, "0xd": draw(random_output(4, 2), 1024, rng)}
    assert outcome(spec("agreement"), result, Evidence(oracle="0xa", peers=peers)) == Outcome.ACCEPT
    result["counts"] = draw(random_output(4, 3), 1024, rng)
    peers = {"0xb": draw(p, 1024, rng), "0xd": draw(p, 1024, rng)}
    assert outcome(spec("agreement"), result, Evidence(oracle="0xa", peers=peers)) == Outcome.REJECT


@pytest.mark.parametrize("shots", [1, 1023, 10**9])
def test_judge__agreement_with_a_peer_of_other_shots__does_without_it(shots):
    peers = {"0xb": {"11": shots}, "0xc": RESULT["counts"]}
    assert outcome(spec("agreement", seed=7), RESULT, Evidence(oracle="0xa", peers=peers)) == Outcome.ACCEPT
    found = judge(spec("agreement"), RESULT, Evidence(oracle="0xa", peers=peers))
    assert found.thresholds["oracles"] == ["0xa", "0xc"]


def test_judge__a_billion_shots__cannot_be_compared():
    result = {**RESULT, "shots": 10**9, "counts": {"00": 5 * 10**8, "11": 5 * 10**8}}
    sampled = Evidence(baselines=[Baseline.sampled({"00": 500, "11": 500})])
    assert outcome(spec("distribution", shots=10**9), result, sampled) == Outcome.INCONCLUSIVE


def test_judge__expectation_values__replace_counts():
    evidence = Evidence(expected=[Expected(0.9)])
    assert outcome(spec("distribution"), {"values": [0.91]}, evidence) == Outcome.ACCEPT
    assert outcome(spec("distribution"), {"values": [0.1]}, evidence) == Outcome.REJECT
    assert outcome(spec("distribution"), {"values": "0.9"}, evidence) == Outcome.REJECT


def test_judge__benchmark__needs_everything_to_be_repeated_whatever_the_method():
    complete = spec("none", job_type="benchmark")
    assert outcome(complete, RESULT, Evidence()) == Outcome.ACCEPT
    assert outcome(complete, {**RESULT, "circuit": {}}, Evidence()) == Outcome.REJECT


def test_judge__optimization_without_a_run__is_judged_by_its_counts():
    assert outcome(spec("none", job_type="optimization"), RESULT, Evidence()) == Outcome.ACCEPT


def test_judge__counts_of_an_earlier_result__are_rejected_unless_the_seed_explains_them(random_output, draw, rng):
    p = random_output(4)
    result = {**RESULT, "counts": draw(p, 1024, rng)}
    seen = Evidence(baselines=[Baseline.exact(p)], earlier={Counts.parse(result["counts"]).digest()})
    assert outcome(spec("distribution"), result, seen) == Outcome.REJECT
    assert outcome(spec("distribution", seed=7), result, seen) == Outcome.ACCEPT
    assert outcome(spec("distribution", seed=7), result, seen, claim=HARDWARE) == Outcome.REJECT
    assert outcome(spec("distribution"), {**RESULT, "counts": draw(p, 1024, rng)}, seen) == Outcome.ACCEPT


def test_judge__two_outcomes_that_repeat_by_chance__are_not_rejected():
    seen = Evidence(baselines=[BELL], earlier={Counts.parse(RESULT["counts"]).digest()})
    assert outcome(spec("distribution"), RESULT, seen) == Outcome.ACCEPT


def test_judge__hardware_claim__is_labelled_and_uses_the_noisy_baseline():
    noisy = {**RESULT, "counts": {"00": 490, "11": 484, "01": 26, "10": 24}}
    evidence = Evidence(baselines=[BELL], readout_error=0.02)
    assert outcome(spec("distribution"), noisy, evidence) == Outcome.REJECT
    verdict = judge(spec("distribution"), noisy, evidence, claim=HARDWARE, subject={"job_id": "3"})
    assert (verdict.outcome, verdict.claim) == (Outcome.ACCEPT, HARDWARE)
    assert verdict.as_document()["subject"] == {"job_id": "3"}


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    st.sampled_from(sorted(RESULT)),
    JUNK,
    st.sampled_from(["none", "distribution", "replay", "agreement"]),
    st.sampled_from(["smoke_test", "benchmark", "optimization"]),
)
def test_judge__whatever_an_oracle_writes__gives_a_verdict_that_can_be_read_back(place, junk, method, job_type):
    evidence = Evidence(
        baselines=[BELL],
        replayed=RunFacts.of_document(RESULT),
        oracle="0xa",
        peers={"0xb": RESULT["counts"]},
        widths=[2],
    )
    verdict = judge(spec(method, job_type=job_type, seed=7), {**RESULT, place: junk, "optimization": junk}, evidence)
    document = verdict.as_document()
    assert parse_verdict(document).as_bytes() == verdict.as_bytes()


@pytest.mark.parametrize(
    "circuits", [[{"00": 1024}], [{"00": 1024}] * 3, [{"00": 1024}, {"000": 1024}], [{"00": 1024}, {"00": 1000}]]
)
def test_judge__counts_of_other_circuits_than_were_asked_for__are_rejected(circuits):
    evidence = Evidence(baselines=[BELL, BELL], circuits=circuits, widths=[2, 2])
    assert outcome(spec("distribution"), RESULT, evidence) == Outcome.REJECT


def test_judge__canary_results_missing_or_of_another_width__are_rejected_not_excused():
    wanted, evidence, place = canary_job()
    for circuits in (evidence.circuits[:2], [{"0": 1024}] * 3):
        assert outcome(wanted, RESULT, replace(evidence, circuits=circuits)) == Outcome.REJECT


def test_judge__many_circuits__give_a_report_that_stays_short(random_output, draw, rng):
    p = random_output(3)
    results = [draw(p, 1024, rng) for _ in range(90)]
    results[70] = {"000": 1024}
    baseline = Baseline.sampled(draw(p, 10_000, rng))
    evidence = Evidence(baselines=[baseline] * 90, circuits=results, widths=[3] * 90)
    verdict = judge(spec("distribution", threshold=0.2), RESULT, evidence)
    assert len(verdict.checks) == 64
    assert "circuit 70" in {check.name for check in verdict.checks if check.outcome == Outcome.REJECT}
    assert parse_verdict(verdict.as_document()).outcome == Outcome.REJECT


@pytest.mark.parametrize("claim", [HARDWARE, STAND_IN])
def test_judge__garbage_with_a_large_readout_error__is_rejected_all_the_same(claim, draw, rng):
    # As much as a validator believes of what an oracle states.
    noise = {**RESULT, "counts": draw(np.full(4, 1 / 4), 1024, rng)}
    evidence = Evidence(baselines=[BELL], readout_error=0.05)
    assert outcome(spec("distribution"), noise, evidence, claim=claim) == Outcome.REJECT
