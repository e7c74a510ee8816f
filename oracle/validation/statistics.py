"""The formulas validation rests on. f are frequencies, p probabilities, N shots, D the number of bit strings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Levels:
    """A distribution as its probability values and how many bit strings have each; equal to half a percent.

    Sums over all bit strings become sums over a few thousand values.
    """

    values: np.ndarray
    numbers: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray) -> Levels:
        """Group ``probabilities`` (zeros are left out)."""
        positive = probabilities[probabilities > 0]
        _, group = np.unique(np.round(np.log(positive) * 200), return_inverse=True)
        numbers = np.bincount(group)
        return cls(np.bincount(group, positive) / numbers, numbers.astype(float))

    def mixed(self, polarisation: float, size: float) -> Levels:
        """The levels of ``polarisation`` p + (1 - ``polarisation``) uniform over ``size`` bit strings."""
        uniform = (1 - polarisation) / size
        values = np.append(polarisation * self.values + uniform, uniform)
        return Levels(values, np.append(self.numbers, size - self.numbers.sum()))


def noise_floor(levels: Levels, shots: float) -> float:
    """E[TVD(f, p)] of an honest sample: half the sum of the mean absolute deviations of the frequencies.

    Each is de Moivre's 2 k (1 - p) P(X = k) / N with k = ⌊Np⌋ + 1 (Diaconis and Zabell, Statistical Science 6, 1991).
    Exact for whole ``shots``; it bounds the bias from above whatever the counts really come from (docs/validation.md).
    """
    first = np.floor(shots * levels.values) + 1
    deviation = 2 * first * (1 - levels.values) * _binomial_pmf(first, shots, levels.values)
    return float(levels.numbers @ deviation) / (2 * shots)


def _binomial_pmf(k: np.ndarray, n: float, p: np.ndarray) -> np.ndarray:
    from scipy.special import betaln, xlog1py, xlogy

    with np.errstate(divide="ignore", invalid="ignore"):
        log = -betaln(1 + np.maximum(n - k, 0), 1 + k) - math.log(n + 1) + xlogy(k, p) + xlog1py(n - k, -p)
    return np.where((k > n) | (p <= 0), 0.0, np.exp(log))


def deviation_bound(shots: float, risk: float) -> float:
    """t with P(TVD ≥ E[TVD] + t) ≤ ``risk``: √(ln(1/risk) / 2N).

    McDiarmid's inequality (Surveys in Combinatorics, 1989): one shot moves the distance by at most 1/N.
    """
    return math.sqrt(math.log(1 / risk) / (2 * shots))


def distance(frequencies: np.ndarray, probabilities: np.ndarray) -> float:
    """TVD(f, p) = ½ Σ |f - p|, from the observed outcomes alone: the sum of all f - p that are positive.

    The two agree because f and p both add up to 1 (Levin and Peres, Markov Chains and Mixing Times, §4.1).
    """
    return float(np.maximum(frequencies - probabilities, 0).sum())


def chance_of_multiples(numbers: np.ndarray, divisor: int) -> float:
    """About how likely counts of this size are all multiples of ``divisor`` by chance.

    They are taken as Poisson with the observed means; the largest is left out, for the others fix it. The formula is
    Qscrow's own; it is calibrated in the tests.
    """
    log = 0.0
    for mean, times in zip(*np.unique(np.sort(numbers)[:-1], return_counts=True), strict=True):
        reach = 10 * math.sqrt(mean) + 10
        multiples = divisor * np.arange(max(math.ceil((mean - reach) / divisor), 1), (mean + reach) // divisor + 1)
        log += times * math.log(min(float(stats.poisson.pmf(multiples, mean).sum()), 1.0))
    return math.exp(log)


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval for a rate of Wilson (Journal of the American Statistical Association 22, 1927)."""
    z = float(stats.norm.ppf((1 + confidence) / 2))
    rate, spread = successes / trials, z * z / trials
    middle = (rate + spread / 2) / (1 + spread)
    half = math.sqrt(rate * (1 - rate) * spread + spread * spread / 4) / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def empirical_p(statistic: float, null: np.ndarray) -> float:
    """P(null ≥ statistic) from simulated values, counting the observed one among them, so never 0.

    (1 + b) / (1 + m), Phipson and Smyth (Statistical Applications in Genetics and Molecular Biology 9, 2010).
    """
    return (1 + int(np.count_nonzero(null >= statistic))) / (1 + len(null))
