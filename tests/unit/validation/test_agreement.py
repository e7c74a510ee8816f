from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import xlogy

from oracle.jobs.errors import InputError
from oracle.validation.agreement import commit_counts, judge_agreement, opens
from oracle.validation.counts import Counts
from oracle.validation.distribution import DEPOLARISING, Policy
from oracle.validation.samples import _bound, compare, tells_from_uniform

SALT = bytes(range(32))
QUICK = Policy(draws=99)


def outcomes(verdicts):
    return {name: str(verdict.outcome) for name, verdict in verdicts.items()}


def test_compare__two_samples_of_one_source__are_told_apart_no_more_often_than_stated(random_output, draw, rng):
    p = random_output(4)
    pairs = [(Counts.parse(draw(p, 500, rng)), Counts.parse(draw(p, 700, rng))) for _ in range(100)]
    found = [compare(one, other, risk=0.05, draws=99) for one, other in pairs]
    assert stats.binom.sf(sum(each.p_value <= 0.05 for each in found) - 1, 100, 0.05) > 1e-3
    assert abs(np.mean([each.excess for each in found])) < 0.01


def test_compare__different_sources__are_told_apart(random_output, draw, rng):
    one, other = (Counts.parse(draw(random_output(4, seed), 1000, rng)) for seed in (1, 2))
    assert compare(one, other, risk=0.01).p_value <= 0.01


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("shots", "rare", "seen"), [(4000, 20, 5), (4000, 20, 6), (20_000, 5, 5)])
def test_compare__few_of_a_rare_outcome__has_the_true_p_value_also_at_a_small_risk(shots, rare, seen, seed):
    one = Counts.parse({"0": shots - seen, "1": seen})
    other = Counts.parse({"0": 100_000 - rare + seen} | ({"1": rare - seen} if rare > seen else {}))
    truth = stats.hypergeom.sf(seen - 1, 100_000 + shots, rare, shots)
    assert 5e-5 < compare(one, other, risk=5e-5, seed=seed).p_value < 4 * truth + 5e-5


def test_compare__so_near_the_risk_that_it_would_take_too_long__leaves_the_p_value_above(monkeypatch):
    monkeypatch.setattr("oracle.validation.samples._MOST_WORK", 20_000)
    high, low = {f"{n:08b}": 24 for n in range(256)}, {f"{n:08b}": 16 + n % 2 for n in range(256)}
    one, other = (
        Counts.parse({key: (high if (n + turn) % 2 else low)[key] for n, key in enumerate(high)}) for turn in (0, 1)
    )
    assert compare(one, other, risk=1e-9).p_value > 1e-4


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=2))
def test_bound__two_outcomes__is_no_less_than_the_p_value(pairs):
    numbers = np.array(pairs).T
    (a, b), (c, d) = numbers + np.array([[30, 0], [30, 0]])
    numbers = np.array([[a, b], [c, d]])
    shots, total, rare = a + b, a + b + c + d, b + d
    deals = np.arange(max(0, rare - c - d), min(rare, shots) + 1)
    g = [2 * (xlogy(t, t).sum()) for t in (np.array([[shots - k, k], [c + d - rare + k, rare - k]]) for k in deals)]
    odd = deals[np.array(g) >= 2 * xlogy(numbers, numbers).sum() - 1e-9]
    assert _bound(numbers) >= stats.hypergeom.pmf(odd, total, rare, shots).sum() * (1 - 1e-9)


def test_bound__other_sources__is_tiny():
    assert _bound(np.array([[400, 0], [0, 400]])) < 1e-200


def test_tells_from_uniform__a_million_shots_of_a_thousand_bits__fits_into_memory():
    import tracemalloc

    tracemalloc.start()
    try:
        assert tells_from_uniform(Counts.parse({"0" * 1000: 50_000, "1" * 1000: 50_000}), 10**6, risk=0.05, draws=99)
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()


def test_judge_agreement__one_who_reports_noise__is_rejected_by_the_others(random_output, draw, rng):
    p = random_output(5)
    results = {"a": draw(p, 2000, rng), "b": draw(p, 2000, rng), "c": draw(np.full(32, 1 / 32), 2000, rng)}
    verdicts = judge_agreement(results, QUICK)
    assert outcomes(verdicts) == {"a": "accept", "b": "accept", "c": "reject"}
    assert verdicts["a"].thresholds["outliers"] == ["c"]


def test_judge_agreement__two_who_differ__is_inconclusive_for_both(random_output, draw, rng):
    results = {"a": draw(random_output(5), 2000, rng), "b": draw(random_output(5, 2), 2000, rng)}
    assert outcomes(judge_agreement(results, QUICK)) == {"a": "inconclusive", "b": "inconclusive"}


def test_judge_agreement__alone__has_nobody_to_agree_with(random_output, draw, rng):
    assert outcomes(judge_agreement({"a": draw(random_output(3), 100, rng)}, QUICK)) == {"a": "inconclusive"}


def test_judge_agreement__copied_counts__are_flagged_for_both(random_output, draw, rng):
    p = random_output(5)
    copied = draw(p, 2000, rng)
    verdicts = judge_agreement({"a": copied, "b": dict(copied), "c": draw(p, 2000, rng)}, QUICK)
    assert outcomes(verdicts) == {"a": "flag", "b": "flag", "c": "accept"}


def test_judge_agreement__seeded__needs_equal_counts():
    results = {"a": {"0": 5, "1": 3}, "b": {"0": 5, "1": 3}, "c": {"0": 4, "1": 4}}
    assert outcomes(judge_agreement(results, seeded=True)) == {"a": "accept", "b": "accept", "c": "reject"}


def test_judge_agreement__devices_of_different_quality__still_agree(random_output, draw, rng):
    p, uniform = random_output(4), np.full(16, 1 / 16)
    results = {name: draw(share * p + (1 - share) * uniform, 4000, rng) for name, share in (("a", 0.9), ("b", 0.8))}
    policy = Policy(noise=DEPOLARISING, draws=99)
    assert outcomes(judge_agreement(results, policy)) == {"a": "accept", "b": "accept"}


def test_judge_agreement__so_few_shots_that_noise_would_agree__is_inconclusive(random_output, draw, rng):
    p = random_output(10)
    found = outcomes(judge_agreement({"a": draw(p, 20, rng), "b": draw(p, 20, rng)}, QUICK))
    assert found == {"a": "inconclusive", "b": "inconclusive"}


@pytest.mark.parametrize("bad", [{}, {str(n): {"0": 1} for n in range(13)}, {"a": {"0": 1}, "b": {"00": 1}}])
def test_judge_agreement__unusable_panel__is_an_error(bad):
    with pytest.raises(InputError, match="results"):
        judge_agreement(bad)


def test_commit_counts__opened_by_the_same__and_by_nobody_else():
    made = commit_counts({"0": 3, "1": 5}, SALT, oracle="0xAB", spec="0xcd")
    assert opens("0x" + made.upper(), {"1": 5, "0": 3}, SALT, oracle="0xab", spec="0xCD")
    assert not opens(made, {"0": 3, "1": 5}, SALT, oracle="0xac", spec="0xcd")
    assert not opens(made, {"0": 3, "1": 5}, SALT, oracle="0xab", spec="0xce")
    assert not opens(made, {"0": 4, "1": 4}, SALT, oracle="0xab", spec="0xcd")
    assert not opens(made, {"0": 3, "1": 5}, bytes(32), oracle="0xab", spec="0xcd")
    with pytest.raises(InputError, match="salt"):
        commit_counts({"0": 1}, b"short", oracle="0xab", spec="0xcd")
