"""The distribution test: what it says in clear cases, and how often it is right in unclear ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from oracle.jobs.errors import InputError
from oracle.validation.baseline import Baseline
from oracle.validation.distribution import (
    DEPOLARISING,
    DistributionTest,
    Policy,
    baseline_excess,
    judge_distribution,
)
from oracle.validation.verdict import HARDWARE, SIMULATOR, Outcome

ACCEPT, FLAG, INCONCLUSIVE, REJECT = Outcome.ACCEPT, Outcome.FLAG, Outcome.INCONCLUSIVE, Outcome.REJECT
NOISY = Policy(noise=DEPOLARISING, readout_error=0.02)


def rates(test, source, draw, rng, trials, claim=SIMULATOR):
    """How often each outcome is reached by samples of ``source``, a distribution or something that gives counts."""
    give = source if callable(source) else lambda: draw(source, test.shots, rng)
    found = [test.judge(give(), claim=claim).outcome for _ in range(trials)]
    return {outcome: found.count(outcome) / trials for outcome in Outcome}


def below(rate, trials, stated):
    """Whether so many of ``trials`` are no evidence against a true rate of at most ``stated``."""
    return stats.binom.sf(round(rate * trials) - 1, trials, stated) > 1e-3


# --------------------------------------------------------------------------------------------- calibration


@pytest.mark.parametrize("width, shots", [(3, 1024), (5, 1024), (5, 4000), (10, 1024), (10, 4000)])
@pytest.mark.parametrize("shape", ["random", "cat"])
def test_judge__honest_results__are_rejected_no_more_often_than_stated(
    random_output, cat_output, draw, rng, width, shots, shape
):
    p = random_output(width) if shape == "random" else cat_output(width)
    trials = 150
    found = rates(DistributionTest(Baseline.exact(p), shots), p, draw, rng, trials)
    assert below(found[REJECT], trials, 0.01)
    assert found[INCONCLUSIVE] == 0
    assert below(found[FLAG], trials, 0.0025)


@pytest.mark.parametrize("shots", [1, 2, 5])
def test_checks__handful_of_shots_of_the_poorest_device_allowed__are_rejected_no_more_often_than_stated(
    cat_output, draw, rng, shots
):
    noisy = 0.5 * cat_output(3) + 0.5 / 8
    test = DistributionTest(Baseline.exact(cat_output(3)), shots, Policy(noise=DEPOLARISING))
    found = rates(test, noisy, draw, rng, 60)
    assert below(found[REJECT], 60, 0.01)


def test_judge__honest_results_at_low_confidence__use_up_most_of_the_risk_they_may(random_output, draw, rng):
    # A test that never rejects would pass the one above: here the risk is large enough to be seen spent.
    p, trials = random_output(4), 400
    found = rates(DistributionTest(Baseline.exact(p), 2000, Policy(confidence=0.6)), p, draw, rng, trials)
    assert below(found[REJECT], trials, 0.4)
    assert found[REJECT] > 0.05


@pytest.mark.parametrize("excess", [0.02, 0.08])
def test_judge__distance_just_within_the_threshold__is_rejected_no_more_often_than_stated(draw, rng, excess):
    p = np.full(64, 1 / 64)
    q = p + np.where(np.arange(64) < 32, excess / 32, -excess / 32)
    policy = Policy(max_excess=excess, strict=False)
    found = rates(DistributionTest(Baseline.exact(p), 2000, policy), q, draw, rng, 300)
    assert below(found[REJECT], 300, 0.01)


@pytest.mark.parametrize("width, shots", [(3, 1024), (5, 1024), (10, 4000)])
@pytest.mark.parametrize("shape", ["random", "cat"])
@pytest.mark.parametrize("policy", [Policy(), NOISY], ids=["ideal", "noisy"])
def test_judge__uniform_noise__is_always_rejected(random_output, cat_output, draw, rng, width, shots, shape, policy):
    p = random_output(width) if shape == "random" else cat_output(width)
    uniform = np.full(2**width, 2.0**-width)
    assert rates(DistributionTest(Baseline.exact(p), shots, policy), uniform, draw, rng, 30)[REJECT] == 1


@pytest.mark.parametrize("width, shots", [(3, 1024), (5, 1024), (10, 1024)])
def test_judge__another_circuit__is_always_rejected(random_output, draw, rng, width, shots):
    test = DistributionTest(Baseline.exact(random_output(width)), shots)
    assert rates(test, random_output(width, seed=2), draw, rng, 30)[REJECT] == 1


def test_judge__detectable_share_of_noise__is_caught_with_the_stated_power(random_output, draw, rng):
    p = random_output(5)
    test = DistributionTest(Baseline.exact(p), 1024)
    share = test.detectable
    assert 0.05 < share < 0.5
    faded = (1 - share) * p + share / 32
    assert (
        stats.binom.cdf(round(200 * rates(test, faded, draw, rng, 200)[REJECT]), 200, test.policy.power - 0.05) > 1e-3
    )
    assert rates(test, 0.7 * share * (1 / 32) + (1 - 0.7 * share) * p, draw, rng, 100)[REJECT] < 0.9


@pytest.mark.parametrize("width", [3, 5, 10])
@pytest.mark.parametrize("polarisation", [0.95, 0.7, 0.5])
def test_judge__device_within_its_minimum__is_rejected_no_more_often_than_stated(
    random_output, draw, rng, width, polarisation
):
    p = random_output(width)
    device = Baseline.exact(polarisation * p + (1 - polarisation) / 2**width).with_readout_error(0.02).probabilities
    found = rates(DistributionTest(Baseline.exact(p), 2000, NOISY), device, draw, rng, 100, HARDWARE)
    assert below(found[REJECT], 100, 0.01)


@pytest.mark.parametrize("factor", [0.3, 0.8, 1.7])
def test_judge__device_whose_readout_drifted__is_not_rejected(cat_output, draw, rng, factor):
    device = Baseline.exact(0.9 * cat_output(8) + 0.1 / 256).with_readout_error(0.02 * factor).probabilities
    found = rates(DistributionTest(Baseline.exact(cat_output(8)), 4000, NOISY), device, draw, rng, 40, HARDWARE)
    assert found[REJECT] == 0


def test_judge__device_below_its_minimum__is_rejected(random_output, draw, rng):
    p = random_output(5)
    device = 0.2 * p + 0.8 / 32
    assert rates(DistributionTest(Baseline.exact(p), 4000, NOISY), device, draw, rng, 30)[REJECT] == 1


def test_judge__ideal_samples_claimed_as_hardware__are_flagged_where_a_device_would_show(cat_output, draw, rng):
    test = DistributionTest(Baseline.exact(cat_output(8)), 4000, NOISY)
    p = cat_output(8)
    assert rates(test, p, draw, rng, 20, HARDWARE)[FLAG] == 1
    assert rates(test, p, draw, rng, 20)[FLAG] == 0  # nobody claimed hardware


def wide_output(local):
    """Fourteen qubits in groups of two, the group in the middle as ``local`` says: far more outcomes than shots."""
    pairs = [np.array([0.4, 0.3, 0.2, 0.1])] * 7
    pairs[3] = local
    whole = np.ones(1)
    for pair in pairs:
        whole = np.kron(whole, pair)
    return whole


def test_judge__local_error_on_a_wide_device__is_seen_in_a_window_and_honest_ones_are_not(draw, rng):
    p = wide_output(np.array([0.4, 0.3, 0.2, 0.1]))
    test = DistributionTest(Baseline.exact(p), 2000, Policy(noise=DEPOLARISING, min_polarisation=0.3))
    found = rates(test, 0.8 * p + 0.2 / 2**14, draw, rng, 40, HARDWARE)
    assert found[REJECT] == 0
    verdict = test.judge(draw(wide_output(np.array([0.1, 0.6, 0.2, 0.1])), 2000, rng))
    assert [each.name for each in verdict.checks if each.outcome == REJECT] == ["windows"]


def test_judge__few_shots_drawn_again__are_flagged_for_their_collisions(draw, rng):
    p = wide_output(np.array([0.4, 0.3, 0.2, 0.1]))
    test = DistributionTest(Baseline.exact(p), 2000, Policy(noise=DEPOLARISING))
    seen = rng.multinomial(500, p)
    verdict = test.judge(draw(seen / 500, 2000, rng))
    assert verdict.outcome in (FLAG, REJECT)
    assert test.judge(draw(p, 2000, rng)).outcome == ACCEPT


# ------------------------------------------------------------------------------------------ single verdicts


def check(verdict, name):
    return next(each for each in verdict.checks if each.name == name)


def test_judge__one_impossible_outcome__is_rejected_by_the_support_check(cat_output):
    verdict = judge_distribution({"000": 500, "111": 523, "010": 1}, Baseline.exact(cat_output(3)))
    assert verdict.outcome == REJECT
    assert check(verdict, "support").outcome == REJECT
    assert "1 of 1024" in check(verdict, "support").reason


def test_judge__impossible_outcomes__leave_the_fit_of_the_others_as_it_is(cat_output):
    test = DistributionTest(Baseline.exact(cat_output(3)), 1024)
    skewed = {"000": 700, "111": 224, "010": 100}
    assert check(test.judge(skewed), "fit").outcome == REJECT
    assert check(test.judge({"000": 460, "111": 464, "010": 100}), "fit").outcome == ACCEPT


def test_judge__impossible_outcomes_within_a_tolerance__pass(cat_output):
    policy = Policy(max_excess=0.05, strict=False)
    verdict = judge_distribution({"000": 500, "111": 494, "010": 30}, Baseline.exact(cat_output(3)), policy)
    assert verdict.outcome == ACCEPT


def test_judge__rounded_ideal__is_flagged_as_too_good(random_output):
    p = random_output(4)
    numbers = np.floor(p * 4096).astype(int)
    numbers[np.argmax(p)] += 4096 - numbers.sum()
    verdict = judge_distribution({format(n, "04b"): int(k) for n, k in enumerate(numbers) if k}, Baseline.exact(p))
    assert verdict.outcome == FLAG
    assert check(verdict, "too good").outcome == FLAG


def test_judge__quarter_of_the_shots_four_times__is_rejected_by_repetition(random_output, draw, rng):
    p = random_output(5)
    counts = {key: 4 * number for key, number in draw(p, 256, rng).items()}
    assert check(judge_distribution(counts, Baseline.exact(p)), "repetition").outcome == REJECT


def test_judge__too_few_shots_to_tell__is_inconclusive(random_output, draw, rng):
    p = random_output(10)
    assert judge_distribution(draw(p, 16, rng), Baseline.exact(p)).outcome == INCONCLUSIVE


@pytest.mark.parametrize("policy", [Policy(), NOISY], ids=["ideal", "noisy"])
def test_judge__uniform_baseline__is_inconclusive_for_it_cannot_be_told_from_noise(draw, rng, policy):
    p = np.full(32, 1 / 32)
    verdict = judge_distribution(draw(p, 4000, rng), Baseline.exact(p), policy)
    assert verdict.outcome == INCONCLUSIVE


def test_judge__same_counts_twice__gives_the_same_report(random_output, draw, rng):
    p = random_output(5)
    counts = draw(p, 1024, rng)
    reports = {judge_distribution(counts, Baseline.exact(p)).as_bytes() for _ in range(2)}
    assert len(reports) == 1


def test_judge__higher_confidence__never_turns_acceptance_into_rejection(random_output, draw, rng):
    p = random_output(4)
    faded = 0.93 * p + 0.07 / 16
    tests = [DistributionTest(Baseline.exact(p), 1024, Policy(confidence=each)) for each in (0.9, 0.999)]
    for _ in range(20):
        counts = draw(faded, 1024, rng)
        low, high = (test.judge(counts) for test in tests)
        assert not (high.outcome == REJECT and low.outcome != REJECT)


def test_judge__confidence_beyond_the_usual_draws__can_still_reject(random_output, draw, rng):
    p = random_output(8)  # most outcomes are rare: the null distribution is simulated
    counts = draw(0.5 * p + 0.5 / 256, 1000, rng)
    verdict = judge_distribution(counts, Baseline.exact(p), Policy(confidence=0.999, draws=99))
    assert check(verdict, "fit").outcome == REJECT


def test_polarisation__mixtures__is_unbiased_at_few_shots(random_output, draw, rng):
    p = random_output(8)
    test = DistributionTest(Baseline.exact(p), 200, Policy(noise=DEPOLARISING))
    found = []
    for _ in range(300):
        verdict = test.judge(draw(0.6 * p + 0.4 / 256, 200, rng))
        found.append(check(verdict, "polarisation").statistic)
    assert np.mean(found) == pytest.approx(0.6, abs=4 * np.std(found) / np.sqrt(300))


def test_judge__sampled_baseline_that_saw_everything__judges_as_an_exact_one_does(random_output, draw, rng):
    p = random_output(3)
    baseline = Baseline.sampled(draw(p, 100_000, rng))
    assert judge_distribution(draw(p, 1024, rng), baseline, NOISY).outcome == ACCEPT
    assert judge_distribution(draw(np.full(8, 1 / 8), 1024, rng), baseline, NOISY).outcome == REJECT


@pytest.mark.parametrize("policy", [Policy(), Policy(noise=DEPOLARISING)], ids=["ideal", "noisy"])
def test_judge__sixty_qubits_against_samples__tells_the_circuit_from_noise(rng, policy):
    def wide(shots, flip):
        bits = np.where(rng.random((shots, 1)) < 0.5, 0, 1) ^ (rng.random((shots, 60)) < flip)
        keys, numbers = np.unique(bits, axis=0, return_counts=True)
        return {"".join(map(str, key)): int(number) for key, number in zip(keys, numbers, strict=True)}

    baseline = Baseline.sampled(wide(2000, 0.0))
    assert judge_distribution(wide(1000, 0.0), baseline, policy).outcome == ACCEPT
    assert judge_distribution(wide(1000, 0.5), baseline, policy).outcome == REJECT


@pytest.mark.parametrize("shots", [200, 1024, 4000])
def test_baseline_excess__honest_samples__is_about_nothing_at_any_number_of_shots(random_output, draw, rng, shots):
    p = random_output(10)
    found = [baseline_excess(draw(p, shots, rng), Baseline.exact(p)) for _ in range(20)]
    assert abs(np.mean([excess for excess, _ in found])) < 0.01
    assert all(excess < slack for excess, slack in found)


def test_baseline_excess__known_distance__is_not_overstated(draw, rng):
    p, q = np.array([0.5, 0.5]), np.array([0.7, 0.3])
    excess, slack = baseline_excess(draw(q, 10_000, rng), Baseline.exact(p))
    assert 0.2 - 2 * slack < excess < 0.2 + slack


def test_judge__wrong_width__is_an_error(cat_output):
    with pytest.raises(InputError, match="of 2 bits, not of 3"):
        judge_distribution({"00": 10}, Baseline.exact(cat_output(3)))


# --------------------------------------------------------------------------------------------------- policy


@pytest.mark.parametrize(
    "bad",
    [
        {"max_excess": 0},
        {"max_excess": 1.1},
        {"confidence": 1},
        {"confidence": 0.9999},
        {"min_polarisation": 0},
        {"noise": "thermal"},
        {"readout_error": 0.1},
        {"readout_error": 0.5, "noise": DEPOLARISING},
        {"power": 1.0},
        {"draws": 10},
        {"max_excess": float("nan")},
    ],
)
def test_policy__senseless__is_refused(bad):
    with pytest.raises(InputError):
        Policy(**bad)


def test_of_spec__auto__lets_the_fit_decide():
    assert Policy.of_spec({"threshold": "auto"}) == Policy()


def test_of_spec__numbers_and_hardware__overrule_the_defaults():
    section = {"threshold": 0.2, "confidence": 0.95, "min_polarisation": 0.3}
    policy = Policy.of_spec(section, claim=HARDWARE, readout_error=0.01)
    expected = Policy(
        max_excess=0.2, strict=False, confidence=0.95, min_polarisation=0.3, noise=DEPOLARISING, readout_error=0.01
    )
    assert dataclasses.asdict(policy) == dataclasses.asdict(expected)
