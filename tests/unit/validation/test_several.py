from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from oracle.jobs.errors import InputError
from oracle.validation.baseline import Baseline
from oracle.validation.distribution import DEPOLARISING, Policy
from oracle.validation.several import judge_distributions
from oracle.validation.verdict import Outcome


def job(random_output, draw, rng, circuits=6, shots=1000):
    """Honest counts of several circuits and the baselines they are held against."""
    sources = [random_output(3, seed) for seed in range(circuits)]
    baselines = [Baseline.sampled(draw(p, 20_000, rng)) for p in sources]
    return [draw(p, shots, rng) for p in sources], baselines


def test_judge_distributions__one_circuit_of_many_made_up__is_rejected_and_named(random_output, draw, rng):
    results, baselines = job(random_output, draw, rng)
    results[4] = draw(np.full(8, 1 / 8), 1000, rng)
    verdict = judge_distributions(results, baselines)
    assert verdict.outcome == Outcome.REJECT
    assert [check.name for check in verdict.checks if check.outcome == Outcome.REJECT] == ["circuit 4"]
    assert verdict.shots == 6000


def test_judge_distributions__honest_jobs__are_rejected_no_more_often_than_one_circuit(random_output, draw, rng):
    policy, trials = Policy(confidence=0.9, draws=199), 60
    rejected = 0
    for _ in range(trials):
        results, baselines = job(random_output, draw, rng, circuits=4, shots=300)
        rejected += judge_distributions(results, baselines, policy).outcome == Outcome.REJECT
    assert stats.binom.sf(rejected - 1, trials, 0.1) > 1e-3  # without a share of the risk for each it would be 1/3


def test_judge_distributions__circuit_of_which_nothing_can_be_said__leaves_the_job_open(random_output, draw, rng):
    results, baselines = job(random_output, draw, rng, circuits=2)
    flat = np.full(8, 1 / 8)
    verdict = judge_distributions(
        [*results, draw(flat, 1000, rng)], [*baselines, Baseline.sampled(draw(flat, 20_000, rng))]
    )
    assert verdict.outcome == Outcome.INCONCLUSIVE
    assert "uniform noise" in verdict.statement


def test_judge_distributions__device__is_held_against_the_noisy_baseline(random_output, draw, rng):
    sources = [random_output(3, seed) for seed in range(3)]
    results = [draw(0.8 * p + 0.2 / 8, 1000, rng) for p in sources]
    baselines = [Baseline.sampled(draw(p, 20_000, rng)) for p in sources]
    assert judge_distributions(results, baselines).outcome == Outcome.REJECT
    assert judge_distributions(results, baselines, Policy(noise=DEPOLARISING)).outcome == Outcome.ACCEPT


@pytest.mark.parametrize("number", [0, 1, 3])
def test_judge_distributions__not_one_baseline_each__is_an_error(number):
    with pytest.raises(InputError, match="baselines"):
        judge_distributions([{"0": 1}] * 2 if number else [], [Baseline.exact({"0": 1.0})] * number)
