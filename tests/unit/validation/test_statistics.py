"""The formulas against brute force, simulation and published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from oracle.validation.statistics import (
    Levels,
    chance_of_multiples,
    deviation_bound,
    distance,
    empirical_p,
    noise_floor,
    wilson,
)


@pytest.mark.parametrize("shots", [1, 7, 100, 1024])
def test_noise_floor__any_shots__is_the_mean_absolute_deviation(shots):
    p = np.array([0.5, 0.3, 0.15, 0.05])
    numbers = np.arange(shots + 1)
    brute = sum(stats.binom.pmf(numbers, shots, each) @ np.abs(numbers / shots - each) for each in p) / 2
    assert noise_floor(Levels.of(p), shots) == pytest.approx(brute, rel=1e-9)


@pytest.mark.parametrize("shots", [1024, 4000])
def test_noise_floor__ten_spread_out_qubits__is_far_above_a_fixed_threshold(random_output, shots):
    p = random_output(10)
    floor = noise_floor(Levels.of(p), shots)
    normal_limit = np.sqrt(p * (1 - p) / (2 * np.pi * shots)).sum()
    assert floor == pytest.approx(normal_limit, rel=0.1)
    assert floor > 2 * 0.08


def test_levels__a_million_values__change_the_floor_by_less_than_a_percent(random_output):
    p = random_output(12)
    exact = Levels(p, np.ones(len(p)))
    assert noise_floor(Levels.of(p), 4000) == pytest.approx(noise_floor(exact, 4000), rel=1e-2)


def test_levels_mixed__with_uniform__still_add_up_to_one(random_output):
    mixed = Levels.of(random_output(6)).mixed(0.7, 64)
    assert mixed.values @ mixed.numbers == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.integers(2, 40))
def test_distance_less_floor__counts_from_elsewhere__is_on_average_at_most_the_true_distance(seed, shots, size):
    # E(p - f)⁺ per outcome in closed form, so that the inequality itself is tested and not a sample of it.
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.full(size, 0.3)), rng.dirichlet(np.full(size, 0.3))
    numbers = np.arange(shots + 1) / shots
    mean = sum(stats.binom.pmf(np.arange(shots + 1), shots, b) @ np.abs(numbers - a) for a, b in zip(p, q, strict=True))
    floor = noise_floor(Levels(p, np.ones(size)), shots)
    assert mean / 2 - floor <= np.abs(p - q).sum() / 2 + 1e-9


def test_deviation_bound__many_samples__is_exceeded_no_more_often_than_said(rng):
    p = np.full(8, 1 / 8)
    distances = np.abs(rng.multinomial(500, p, 4000) / 500 - p).sum(axis=1) / 2
    assert np.mean(distances >= noise_floor(Levels.of(p), 500) + deviation_bound(500, 0.05)) <= 0.05


def test_distance__only_observed_outcomes__is_the_total_variation_distance():
    f, p = np.array([0.6, 0.4, 0.0]), np.array([0.5, 0.2, 0.3])
    assert distance(f[:2], p[:2]) == pytest.approx(np.abs(f - p).sum() / 2)


@pytest.mark.parametrize("successes, low, high", [(0, 0.0, 0.0370), (50, 0.4038, 0.5962), (100, 0.9630, 1.0)])
def test_wilson__of_a_hundred__is_the_published_interval(successes, low, high):
    assert wilson(successes, 100) == pytest.approx((low, high), abs=1e-4)


def test_empirical_p__most_extreme__is_not_zero():
    assert empirical_p(10.0, np.zeros(99)) == 0.01


def test_chance_of_multiples__honest_counts__is_no_smaller_than_how_often_it_happens(rng):
    drawn = rng.multinomial(40, [0.3, 0.3, 0.4], 20_000)
    happened = np.mean((drawn % 2 == 0).all(axis=1))
    typical = chance_of_multiples(np.array([12, 12, 16]), 2)
    assert typical == pytest.approx(happened, rel=0.1)


def test_chance_of_multiples__many_counts__is_negligible():
    assert chance_of_multiples(np.full(30, 8), 4) < 1e-12
