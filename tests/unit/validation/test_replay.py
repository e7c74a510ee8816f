from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.jobs.errors import InputError
from oracle.validation.counts import Counts
from oracle.validation.replay import RunFacts, derive_seed, judge_replay
from oracle.validation.verdict import Outcome

VERSIONS = {"qiskit": "2.6.2", "qiskit-aer": "0.18.2", "python": "3.11"}
RUN = RunFacts(Counts.parse({"00": 510, "11": 514}), 7, "statevector", "aer-statevector", VERSIONS, "ab" * 32, 1)
OTHER = dataclasses.replace(RUN, counts=Counts.parse({"00": 512, "11": 512}))
ADDRESS, BLOCK, SPEC = "0x" + "11" * 20, b"\x22" * 32, b"\x33" * 32


def test_judge_replay__equal_counts__is_accepted_with_the_chance_of_a_coincidence():
    verdict = judge_replay(RUN, RUN, required_seed=7)
    assert verdict.outcome == Outcome.ACCEPT
    assert verdict.checks[1].statistic == pytest.approx(0.0248, abs=1e-3)


def test_judge_replay__other_counts_from_the_same_versions__is_rejected():
    assert judge_replay(OTHER, RUN).outcome == Outcome.REJECT


@pytest.mark.parametrize(
    "change",
    [
        {"versions": {**VERSIONS, "qiskit-aer": "0.17.2"}},
        {"versions": {"qiskit": "2.6.2"}},
        {"method": "matrix_product_state"},
        {"engine": "qsim"},
        {"threads": 2},
    ],
)
def test_judge_replay__other_versions_method_or_threads__is_not_comparable_and_never_failed(change):
    verdict = judge_replay(dataclasses.replace(OTHER, **change), RUN)
    assert verdict.outcome == Outcome.INCONCLUSIVE
    assert "not comparable" in verdict.statement


def test_judge_replay__another_circuit_of_the_job_differs__is_rejected_or_not_comparable():
    cheated = dataclasses.replace(RUN, runs=b"other")
    assert judge_replay(cheated, RUN).outcome == Outcome.REJECT
    assert judge_replay(dataclasses.replace(cheated, engine="qsim"), RUN).outcome == Outcome.INCONCLUSIVE


def test_judge_replay__another_circuit_took_another_method__is_not_comparable_and_never_failed():
    ours, theirs = (
        {"pub": 1, "set": 0, "seed": 8, "method": method} for method in ("statevector", "matrix_product_state")
    )
    first = {"pub": 0, "set": 0, "seed": 7, "method": "statevector", "counts": {"00": 510, "11": 514}}
    runs = [first, {**ours, "counts": {"0": 1024}}], [first, {**theirs, "counts": {"1": 1024}}]
    one, other = (RunFacts.of_document({**document(), "runs": each}) for each in runs)
    assert judge_replay(one, other).outcome == Outcome.INCONCLUSIVE
    assert "circuit 1" in judge_replay(one, other).statement


def test_judge_replay__values_rounded_otherwise__is_accepted():
    entry = {"pub": 0, "set": 0, "seed": 7, "method": "statevector", "bases": [{"basis": "ZZ", "counts": {"00": 3}}]}
    one, other = (RunFacts.of_document({**document(), "runs": [{**entry, "values": [v]}]}) for v in (0.3, 0.1 + 0.2))
    assert judge_replay(one, other).outcome == Outcome.ACCEPT


@pytest.mark.parametrize("runs", [{}, [None], [{"method": 5}], [{"method": "\x1b[2J"}], [{"counts": {}}]])
def test_of_document__odd_runs__are_refused(runs):
    with pytest.raises(InputError):
        RunFacts.of_document({**document(), "runs": runs})


def test_judge_replay__equal_counts_from_other_versions__is_accepted():
    assert judge_replay(dataclasses.replace(RUN, versions={}), RUN).outcome == Outcome.ACCEPT


def test_judge_replay__other_python__is_still_comparable():
    changed = dataclasses.replace(OTHER, versions={**VERSIONS, "python": "3.13"})
    assert judge_replay(changed, RUN).outcome == Outcome.REJECT


def test_judge_replay__stim__is_not_comparable_between_machines():
    mine, theirs = (dataclasses.replace(each, engine="stim") for each in (RUN, OTHER))
    assert judge_replay(theirs, mine).outcome == Outcome.INCONCLUSIVE


def test_judge_replay__ground_seed__is_rejected_though_the_counts_follow_from_it():
    ground = dataclasses.replace(RUN, seed=8)
    assert judge_replay(ground, RUN, required_seed=7).outcome == Outcome.REJECT
    assert judge_replay(RUN, ground, required_seed=7).outcome == Outcome.INCONCLUSIVE  # our own mistake


def test_derive_seed__the_published_vector__stays_for_ever():
    assert derive_seed(31337, ADDRESS, 1, BLOCK, SPEC) == derive_seed(31337, ADDRESS.upper()[2:], 1, BLOCK, SPEC)
    assert derive_seed(31337, ADDRESS, 1, BLOCK, SPEC) == 934823353


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(["chain", "contract", "job", "block", "spec"]))
def test_derive_seed__any_part_changed__is_another_seed(part):
    parts = {"chain": 31337, "contract": ADDRESS, "job": 1, "block": BLOCK, "spec": SPEC}
    other = {"chain": 1, "contract": "0x" + "12" * 20, "job": 2, "block": b"\x23" * 32, "spec": b"\x34" * 32}
    changed = {**parts, part: other[part]}
    assert derive_seed(*changed.values()) != derive_seed(*parts.values())
    assert 0 <= derive_seed(*changed.values()) < 2**32


@pytest.mark.parametrize(
    "arguments",
    [
        (-1, ADDRESS, 1, BLOCK, SPEC),
        (1, "0x12", 1, BLOCK, SPEC),
        (1, "zz" * 20, 1, BLOCK, SPEC),
        (1, ADDRESS, 2**256, BLOCK, SPEC),
        (1, ADDRESS, 1, BLOCK[:-1], SPEC),
        (1, ADDRESS, 1, BLOCK, b""),
    ],
)
def test_derive_seed__wrong_lengths__are_refused(arguments):
    with pytest.raises(InputError, match="seed"):
        derive_seed(*arguments)


def document():
    return {
        "counts": {"00": 510, "11": 514},
        "shots": 1024,
        "seed": 7,
        "backend": {"method": "statevector", "engine": "aer-statevector", "versions": VERSIONS, "threads": 1},
        "circuit": {"transpiled_digest": "ab" * 32},
    }


def test_of_document__as_an_oracle_writes_it__is_the_run():
    facts = RunFacts.of_document(document())
    assert facts.differences(RUN) == []
    assert judge_replay(facts, RUN, required_seed=7).outcome == Outcome.ACCEPT


@pytest.mark.parametrize("name", ["method", "engine", "versions", "threads"])
@pytest.mark.parametrize("value", [5.5, {"a": 1}, ["x"], "x" * 1000, "\x1b[2J", {str(n): "1" for n in range(300)}])
def test_of_document__odd_backend__is_refused_before_it_can_do_harm(name, value):
    with pytest.raises(InputError):
        RunFacts.of_document({**document(), "backend": {**document()["backend"], name: value}})


@pytest.mark.parametrize("name", ["counts", "shots", "seed", "backend", "circuit"])
def test_of_document__part_missing_or_odd__is_refused(name):
    for value in (None, "x", []):
        with pytest.raises(InputError):
            RunFacts.of_document({**document(), name: value})
    with pytest.raises(InputError):
        RunFacts.of_document({key: value for key, value in document().items() if key != name})


def test_of_run__the_real_simulator_twice__replays_bit_for_bit():
    import time

    from oracle.circuits.limits import CircuitLimits
    from oracle.circuits.run import RunRequest, RunResult
    from oracle.circuits.simulate import simulate

    source = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[3]; creg c[3]; h q; rz(0.3) q[1]; h q[1]; measure q -> c;'
    runs = [
        RunResult(
            **simulate(RunRequest(source, "openqasm2", 500, seed, CircuitLimits()), time.perf_counter()), confinement=""
        )
        for seed in (1, 1, 2)
    ]
    assert judge_replay(runs[0], runs[1], required_seed=1).outcome == Outcome.ACCEPT
    assert judge_replay(runs[2], runs[0], required_seed=1).outcome == Outcome.REJECT
