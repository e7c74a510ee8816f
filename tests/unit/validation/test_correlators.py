from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from oracle.validation.correlators import Correlators, shift_check, slope_check
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
