from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from oracle.validation.correlators import Correlators, _chances, shift_check, slope_check
from oracle.validation.counts import Counts
from oracle.validation.distribution import Policy
from oracle.validation.verdict import Outcome


def test_of__two_bits__are_the_means_of_their_signs():
    found = Correlators.of(Counts.parse({"00": 50, "01": 30, "11": 20}))
    assert found.bits == [(0,), (1,), (0, 1)]
    assert found.values == pytest.approx([0.0, 0.6, 0.4])


def test_shift_check__two_samples_of_one_source__differ_no_more_often_than_stated(random_output, draw, rng):
    p, risk = random_output(5), 0.05
    rejected = 0
    for _ in range(150):
        one, other = (Counts.parse(draw(p, 400, rng)) for _ in range(2))
        rejected += shift_check(one, other, Policy(), risk).outcome == Outcome.REJECT
    assert stats.binom.sf(rejected - 1, 150, risk) > 1e-3


def test_slope_check__noisy_sample__shows_the_share_that_is_left(random_output, draw, rng):
    p, uniform = random_output(5), np.full(32, 1 / 32)
    known = Counts.parse(draw(p, 50_000, rng))
    found = [
        slope_check(Counts.parse(draw(0.7 * p + 0.3 * uniform, 4000, rng)), known, Policy(), 0.01).statistic
        for _ in range(30)
    ]
    assert np.mean(found) == pytest.approx(0.7, abs=0.05)
    noise = slope_check(Counts.parse(draw(uniform, 4000, rng)), known, Policy(), 0.01)
    assert noise.outcome == Outcome.REJECT


@pytest.mark.parametrize("shots", [1, 3, 50])
def test_slope_check__poorest_device_allowed__is_rejected_no_more_often_than_stated(cat_output, draw, rng, shots):
    p, risk = cat_output(10), 0.01
    known, noisy = Counts.parse(draw(p, 50_000, rng)), 0.5 * p + 0.5 / 2**10
    found = [slope_check(Counts.parse(draw(noisy, shots, rng)), known, Policy(), risk).outcome for _ in range(100)]
    assert stats.binom.sf(found.count(Outcome.REJECT) - 1, 100, risk) > 1e-3


@pytest.mark.parametrize("shots", [2, 5, 10])
def test_slope_check__noise_in_a_handful_of_shots__is_not_accepted(cat_output, draw, rng, shots):
    p, uniform = cat_output(12), np.full(2**12, 2.0**-12)
    known = Counts.parse(draw(p, 50_000, rng))
    found = [slope_check(Counts.parse(draw(uniform, shots, rng)), known, Policy(), 0.01).outcome for _ in range(50)]
    assert stats.binom.sf(found.count(Outcome.ACCEPT) - 1, 50, 1 - Policy().power) > 1e-3


def test_chances__far_out_for_rare_events__are_no_smaller_than_the_truth():
    shots, known, events = 4000, 100_000, 800
    here = np.arange(60, 66)
    found = _chances(1 - 2 * here / shots, 1 - 2 * (events - here) / known, shots, known)
    assert found == pytest.approx(2 * stats.hypergeom.sf(here - 1, shots + known, events, shots), rel=1e-6)
