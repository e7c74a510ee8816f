from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from oracle.jobs.errors import InputError
from oracle.validation.distribution import DEPOLARISING, Policy
from oracle.validation.estimates import Expected, judge_expectations, parity_mean
from oracle.validation.verdict import Outcome

NOISY = Policy(noise=DEPOLARISING)


def mean_of_signs(value, shots, rng):
    """An honest estimate of a Pauli string's value."""
    return 2 * rng.binomial(shots, (1 + value) / 2) / shots - 1


def test_parity_mean__counts__is_the_mean_of_the_signs():
    counts = {"00": 50, "01": 30, "11": 20}
    assert parity_mean(counts, [0]) == pytest.approx(0.0)
    assert parity_mean(counts, [1]) == pytest.approx(0.6)
    assert parity_mean(counts, [0, 1]) == pytest.approx(0.4)
    with pytest.raises(InputError, match="bits"):
        parity_mean(counts, [2])


@pytest.mark.parametrize("value", [0.0, 0.3, 0.9, -0.99, 1.0])
@pytest.mark.parametrize("shots", [50, 1000])
def test_slack__honest_means__are_missed_no_more_often_than_stated(value, shots, rng):
    slack = Expected(value).slack(shots, 0.05)
    means = 2 * rng.binomial(shots, (1 + value) / 2, 5000) / shots - 1
    assert stats.binom.sf(np.sum(np.abs(means - value) > slack) - 1, 5000, 0.05) > 1e-3


def test_slack__value_near_its_bound__is_tighter_than_hoeffding():
    assert Expected(0.999).slack(4000, 0.01) < Expected(0.0).slack(4000, 0.01) / 5


def test_judge_expectations__honest_values__are_accepted(rng):
    expected = [Expected(value) for value in (0.9, -0.4, 0.0)]
    for _ in range(50):
        values = [mean_of_signs(each.value, 4000, rng) for each in expected]
        assert judge_expectations(values, expected, 4000).outcome == Outcome.ACCEPT


def test_judge_expectations__one_value_off__is_rejected_and_named():
    verdict = judge_expectations([0.9, 0.4], [Expected(0.9), Expected(-0.4)], 4000)
    assert verdict.outcome == Outcome.REJECT
    assert "exact is -0.4" in verdict.statement


def test_judge_expectations__faded_by_a_device__is_fine_down_to_the_minimum():
    def judged(value):
        return judge_expectations([value], [Expected(-0.8)], 100_000, NOISY).outcome

    assert judged(-0.8) == judged(-0.5) == Outcome.ACCEPT
    assert judged(-0.2) == judged(0.0) == Outcome.REJECT
    assert judge_expectations([-0.5], [Expected(-0.8)], 100_000).outcome == Outcome.REJECT


def test_judge_expectations__exact_values__leave_room_for_rounding_only():
    assert judge_expectations([0.5 + 1e-9], [Expected(0.5)], None).outcome == Outcome.ACCEPT
    assert judge_expectations([0.5 + 1e-4], [Expected(0.5)], None).outcome == Outcome.REJECT


@pytest.mark.parametrize("expected", [Expected(0.0), Expected(0.05), Expected(0.9, centre=0.88)])
def test_judge_expectations__noise_would_pass__is_inconclusive(expected):
    assert judge_expectations([expected.value], [expected], 1000).outcome == Outcome.INCONCLUSIVE


@pytest.mark.parametrize("values", [None, [], [0.1, 0.2], "1", [True], [float("nan")], ["0.1"], {"0": 0.1}])
def test_judge_expectations__malformed_values__are_refused(values):
    with pytest.raises(InputError, match="values"):
        judge_expectations(values, [Expected(0.1)], 100)


@pytest.mark.parametrize("arguments", [(float("nan"),), (2.0,), (0.0, 0.0), (0.0, float("inf"))])
def test_expected__no_observable_has_it__is_refused(arguments):
    with pytest.raises(InputError, match="expected"):
        Expected(*arguments)


@pytest.mark.parametrize("value", [0.0, 0.7, 0.999])
def test_slack__simulated_value__covers_the_scatter_of_both(value, rng):
    missed = 0
    for _ in range(400):
        expected = Expected(mean_of_signs(value, 2000, rng), shots=2000)
        missed += abs(mean_of_signs(value, 500, rng) - expected.value) > expected.slack(500, 0.05)
    assert stats.binom.sf(missed - 1, 400, 0.05) > 1e-3
    assert Expected(value, shots=2000).slack(500, 0.05) > Expected(value).slack(500, 0.05)
    assert Expected(value, shots=10**9).slack(500, 0.05) < 1.1 * Expected(value).slack(500, 0.05)


def test_judge_expectations__identity_in_the_observable__only_moves_the_centre():
    moved = Expected(2.8, 1.0, centre=2.0)
    assert moved.slack(1000, 0.01) == pytest.approx(Expected(0.8).slack(1000, 0.01))
    assert judge_expectations([2.8], [moved], 10_000).outcome == Outcome.ACCEPT
    assert judge_expectations([2.0], [moved], 10_000).outcome == Outcome.REJECT
    assert judge_expectations([2.5], [moved], 100_000, NOISY).outcome == Outcome.ACCEPT
    assert judge_expectations([1.2], [moved], 100_000, NOISY).outcome == Outcome.REJECT


@pytest.mark.parametrize(("policy", "truth"), [(NOISY, 0.5), (Policy(strict=False), 0.92)])
@pytest.mark.parametrize("shots", [100, 4000])
def test_judge_expectations__truth_as_far_off_as_is_tolerated__is_rejected_no_more_often_than_stated(
    policy, truth, shots, rng
):
    values = [mean_of_signs(truth, shots, rng) for _ in range(1000)]
    wrong = sum(
        judge_expectations([value], [Expected(1.0)], shots, policy).outcome == Outcome.REJECT for value in values
    )
    assert stats.binom.sf(wrong - 1, 1000, 1 - policy.confidence) > 1e-3
