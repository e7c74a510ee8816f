"""Two samples against each other: where the probabilities are not known, or too many to have been seen."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats
from scipy.special import xlogy

from oracle.jobs.errors import InputError
from oracle.validation.baseline import Baseline
from oracle.validation.correlators import shift_check, slope_check
from oracle.validation.counts import Counts
from oracle.validation.statistics import empirical_p
from oracle.validation.verdict import Check, Outcome, Verdict

if TYPE_CHECKING:
    from oracle.validation.distribution import Policy

# Work per comparison: outcomes × permutations.
_MOST_WORK = 20_000_000
_BATCH = 200_000
# What NumPy deals out at most.
_MOST_SHOTS = 10**9
# Bits of noise that are tried out.
_MOST_BITS = 2**24
# A curve needs so many deals to follow, and so many shots of the smaller sample that are not of the commonest outcome:
# fewer make steps.
_FEWEST, _EVENTS = 99, 30
# So many deals that are worse than the samples leave no doubt that a small p-value is out of reach.
_ENOUGH = 20


@dataclass(frozen=True)
class Comparison:
    """Two samples: ``distance`` (TVD), what it would be by shot noise alone (``floor``), ``p_value`` of equality.

    ``slack`` is how far the distance scatters beyond its mean at most, at the risk asked for.
    """

    distance: float
    floor: float
    slack: float
    p_value: float

    @property
    def excess(self) -> float:
        """The distance beyond shot noise."""
        return self.distance - self.floor


def compare(one: Counts, other: Counts, *, risk: float, draws: int = 999, seed: int = 0) -> Comparison:
    """Compare two samples by permutation: the pooled shots are dealt anew to both sides, which is exact for equals.

    Fisher's permutation test (The Design of Experiments, 1935); ``slack`` is McDiarmid's for two samples.
    The statistic of the p-value is G for homogeneity; the mean distance of the deals is the floor. A risk so small
    that it takes more than ``draws`` deals ends early once it is plain on which side of it the p-value lies. Where even
    so it would take too long, the p-value is left above the risk. Raises :class:`InputError` for a billion shots.
    """
    if one.shots + other.shots >= _MOST_SHOTS:
        raise InputError(f"are {one.shots + other.shots}, from {_MOST_SHOTS} on they cannot be compared", field="shots")
    numbers = _aligned(one, other)
    pooled, shots = numbers.sum(axis=0), (one.shots, other.shots)
    least, due = min(draws, max(_MOST_WORK // len(pooled), _FEWEST)), math.ceil(2 / risk)
    most = max(least, min(due, 2 * _MOST_WORK // len(pooled)))
    rng = np.random.default_rng([seed, 4])
    statistic = float(_homogeneity(numbers[0], numbers[1])) - 1e-9  # ties are as bad, rounding aside
    floor, null = 0.0, np.empty(0)
    p_value = bound if due > least and (bound := _bound(numbers)) <= risk else None
    by_curve = min(shots) * (1 - pooled.max() / pooled.sum()) >= _EVENTS
    while len(null) < (most if p_value is None else least):
        batch = max(min(_BATCH // len(pooled), max(draws, len(null))), 1)
        hands = rng.multivariate_hypergeometric(pooled, shots[0], min(batch, most - len(null)), method="marginals")
        floor += float(_tvd(hands, pooled - hands, shots).sum())
        null = np.append(null, _homogeneity(hands, pooled - hands))
        if p_value is None and least <= len(null) < most:
            p_value = _early(statistic, null, risk, by_curve=by_curve)
    return Comparison(
        distance=float(_tvd(numbers[0], numbers[1], shots)),
        floor=floor / len(null),
        slack=math.sqrt(math.log(1 / risk) / 2 * (1 / shots[0] + 1 / shots[1])),
        p_value=empirical_p(statistic, null) if p_value is None else p_value,
    )


def tells_from_uniform(known: Counts, shots: int, *, risk: float, draws: int = 999, seed: int = 0) -> bool:
    """Whether ``shots`` of uniform noise would be told from ``known``: tried out once, for the answer hardly varies.

    Of wide outcomes with fewer shots: what tells those tells more of them.
    """
    shots = min(shots, _MOST_BITS // known.width)
    bits = np.random.default_rng([seed, 5]).integers(0, 2, (shots, known.width), dtype=np.uint8)
    rows, numbers = np.unique(bits, axis=0, return_counts=True)
    noise = Counts(tuple((row + ord("0")).tobytes().decode() for row in rows), numbers)
    return compare(noise, known, risk=risk, draws=draws, seed=seed).p_value <= risk


def judge_against_samples(counts: Counts, baseline: Baseline, policy: Policy, *, claim: str) -> Verdict:
    """Judge against a sampled baseline: by equality and low-order correlations, with noise by the latter alone.

    A test that could not have told uniform noise says nothing; if that goes for all, the verdict is inconclusive.
    """
    numbers = np.rint(baseline.probabilities * (baseline.shots or 0)).astype(np.int64)
    known = Counts(baseline.outcomes or (), numbers)
    if policy.noise == "ideal":
        risk = policy.risk / 2
        checks = [_equality_check(counts, known, policy, risk), shift_check(counts, known, policy, risk)]
    else:
        risk = policy.risk
        checks = [slope_check(counts, known, policy, risk)]
    by_equality = checks[0].name == "equality" and checks[0].outcome is not None
    return Verdict(
        method="distribution" if by_equality else "marginals",
        checks=tuple(checks),
        shots=counts.shots,
        confidence=policy.confidence,
        support=baseline.support,
        claim=claim,
        thresholds={**asdict(policy), "risk_per_check": risk, "baseline_shots": baseline.shots},
    )


def _equality_check(counts: Counts, known: Counts, policy: Policy, risk: float) -> Check:
    found = compare(counts, known, risk=risk, draws=policy.draws, seed=policy.seed)
    reason = (
        f"the distance beyond shot noise is {found.excess:+.3f} ± {found.slack:.3f};"
        f" two samples of one source differ as much with probability {found.p_value:.2g}"
    )
    if found.p_value <= risk if policy.strict else found.excess - found.slack > policy.max_excess:
        return Check("equality", Outcome.REJECT, reason, found.p_value, risk)
    if not tells_from_uniform(known, counts.shots, risk=risk, draws=policy.draws, seed=policy.seed):
        return Check("equality", None, f"{reason}, but so does uniform noise", found.p_value, risk)
    return Check("equality", Outcome.ACCEPT, reason, found.p_value, risk)


def _early(statistic: float, null: np.ndarray, risk: float, *, by_curve: bool) -> float | None:
    """The p-value, if more deals would not move it to the other side of ``risk``."""
    worse = np.count_nonzero(null >= statistic)
    if worse >= _ENOUGH and worse > risk * len(null):
        return empirical_p(statistic, null)
    tail = _tail(statistic, null) if by_curve else 1.0
    return tail if tail <= risk else None


def _tail(statistic: float, null: np.ndarray) -> float:
    """The p-value by a Pearson type III curve with the moments of the deals (Mielke and Berry, Permutation Methods,
    2007), ten times over, for it is an estimate; 1 where the deals are all the same."""
    mean, spread = float(null.mean()), float(null.std())
    if not spread:
        return 1.0
    skewness = max(float(stats.skew(null)), 1e-3)
    return min(10 * float(stats.pearson3.sf((statistic - mean) / spread, skewness)), 1.0)


def _bound(numbers: np.ndarray) -> float:
    """No less than the p-value, of use where it is tiny: (P + 1) e^(-G/2) is the most that a deal as odd has as its
    probability, and there are no more deals than ways to choose each outcome's number but one.

    By e^(n H(k/n)) / (n + 1) <= C(n, k) <= e^(n H(k/n)) (Cover and Thomas, Elements of Information Theory, 11.1).
    """
    pooled, shots = numbers.sum(axis=0), numbers.sum(axis=1)
    half_g = sum(sign * xlogy(each, each).sum() for sign, each in ((1, numbers), (-1, pooled), (-1, shots)))
    half_g += xlogy(pooled.sum(), pooled.sum())
    ways = np.log1p(np.minimum(pooled, shots.min()))
    return math.exp(min(ways.sum() - ways.max() + math.log1p(pooled.sum()) - half_g, 0.0))


def _aligned(one: Counts, other: Counts) -> np.ndarray:
    """Both counts over the outcomes of either: shape (2, outcomes)."""
    places = {outcome: place for place, outcome in enumerate(sorted({*one.outcomes, *other.outcomes}))}
    numbers = np.zeros((2, len(places)), np.int64)
    for row, counts in enumerate((one, other)):
        numbers[row, [places[outcome] for outcome in counts.outcomes]] = counts.numbers
    return numbers


def _tvd(one: np.ndarray, other: np.ndarray, shots: tuple[int, int]) -> np.ndarray:
    return np.abs(one / shots[0] - other / shots[1]).sum(axis=-1) / 2


def _homogeneity(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """G for equal distributions, up to a constant that the pooled counts fix."""
    return 2 * (xlogy(one, one).sum(axis=-1) + xlogy(other, other).sum(axis=-1))
