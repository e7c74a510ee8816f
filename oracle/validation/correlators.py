"""Single bits and pairs of bits: what is left to compare when the outcomes are too many to repeat.

With s = ±1 for a bit of 0 or 1, the correlators are the means of s_i and of s_i s_j.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import bdtr, bdtrc
from scipy.stats import hypergeom, norm

from oracle.validation.counts import Counts
from oracle.validation.verdict import Check, Outcome

if TYPE_CHECKING:
    from oracle.validation.distribution import Policy

# Of wider circuits only neighbouring bits are paired.
_ALL_PAIRS_WIDTH = 512
_ROWS = 16_384
# With fewer events expected on a side, the normal limit gives way to the binomial.
_NORMAL_EVENTS = 30
# So many correlators, the least likely ones, are looked at exactly. An honest sample has not as many that matter.
_MOST_EXACT = 1_000
# A correlator of the baseline this many standard errors from 0 is signal.
_SIGNIFICANT = 4.0


@dataclass(frozen=True)
class Correlators:
    """Means of the single bits and of the pairs, in this order, and which bits each is of."""

    values: np.ndarray
    bits: list[tuple[int, ...]]

    @classmethod
    def of(cls, counts: Counts) -> Correlators:
        """Both kinds of correlators of ``counts``. Bit 0 is the last character, as in Qiskit."""
        width = counts.width
        first, second = _pairs(width)
        single, double = np.zeros(width), np.zeros(len(first))
        for signs, weights in _rows(counts):
            single += weights @ signs
            if width <= _ALL_PAIRS_WIDTH:
                double += ((signs * weights[:, None]).T @ signs)[first, second]
            else:
                double += weights @ (signs[:, first] * signs[:, second])
        bits = [*((int(bit),) for bit in range(width)), *zip(first.tolist(), second.tolist(), strict=True)]
        return cls(np.clip(np.concatenate([single, double]), -1, 1), bits)


def shift_check(counts: Counts, known: Counts, policy: Policy, risk: float) -> Check:
    """Whether any correlator differs between two samples, all of them taken together (Bonferroni)."""
    one, other = Correlators.of(counts), Correlators.of(known)
    chances = _chances(one.values, other.values, counts.shots, known.shots)
    worst = int(np.argmin(chances))
    chance = min(float(chances[worst]) * len(chances), 1.0)
    needed = norm.isf(risk / 2 / len(chances)) + norm.ppf(policy.power)
    detectable = float(needed) * math.sqrt(1 / counts.shots + 1 / known.shots)
    shift = float(one.values[worst] - other.values[worst])
    tolerated = 0.0 if policy.strict else 2 * policy.max_excess + detectable
    reason = (
        f"the largest shift among {len(chances)} correlators, {shift:+.3f} of {_named(one.bits[worst])},"
        f" has probability {chance:.2g}; from {detectable:.2g} on it would show"
    )
    if chance <= risk and abs(shift) > tolerated:
        return Check("correlators", Outcome.REJECT, reason, chance, risk)
    if float(np.abs(other.values).max()) < detectable:
        return Check("correlators", None, f"{reason}, but the baseline has none as strong", chance, risk)
    return Check("correlators", Outcome.ACCEPT, reason, chance, risk)


def slope_check(counts: Counts, known: Counts, policy: Policy, risk: float) -> Check:
    """How much of the baseline's correlators is left in noisy counts: 1 for all, 0 for uniform noise."""
    other = Correlators.of(known)
    kept = np.where(np.abs(other.values) * math.sqrt(known.shots) > _SIGNIFICANT, other.values, 0.0)
    signal = float(kept @ kept)
    if signal == 0:
        return Check("correlators", None, "the baseline has no correlations of one or two bits that shots can show")
    mean, spread = _projection(counts, kept)
    found, error = mean / signal, spread / signal / math.sqrt(counts.shots)
    # Never less than what the shots of the poorest device allowed scatter, or those of noise: few of them may be alike.
    share, scatter = policy.min_polarisation, _projection(known, kept)[1] ** 2
    poorest = share * (scatter + signal**2) + (1 - share) * signal - (share * signal) ** 2
    least = float(norm.isf(risk)) * math.sqrt(max(poorest, signal) / counts.shots) / signal
    slack = max(float(norm.isf(risk)) * error, least)
    reason = f"{found:.3f} ± {slack:.3f} of the baseline's correlations is left"
    if found + slack < policy.min_polarisation:
        return Check("correlators", Outcome.REJECT, reason, found, policy.min_polarisation)
    needed = least + float(norm.ppf(policy.power)) / math.sqrt(counts.shots * signal)
    if needed > policy.min_polarisation:
        return Check("correlators", None, f"{reason}, but uniform noise could show as much", found, needed)
    return Check("correlators", Outcome.ACCEPT, reason, found, policy.min_polarisation)


def _projection(counts: Counts, kept: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation, over the shots, of each shot's correlators times ``kept``."""
    first, second = _pairs(counts.width)
    mean = square = 0.0
    for signs, weights in _rows(counts):
        values = signs @ kept[: counts.width]
        if counts.width <= _ALL_PAIRS_WIDTH:
            matrix = np.zeros((counts.width, counts.width))
            matrix[first, second] = kept[counts.width :]
            values += ((signs @ matrix) * signs).sum(axis=1)
        else:
            values += (signs[:, first] * signs[:, second]) @ kept[counts.width :]
        mean, square = mean + float(weights @ values), square + float(weights @ values**2)
    return mean, math.sqrt(max(square - mean**2, 0.0))


def _chances(one: np.ndarray, other: np.ndarray, shots: int, known: int) -> np.ndarray:
    """Two-sided p-values of equal means, conditional on the pooled number of the rarer sign.

    The conditional test of Przyborowski and Wilenski (Biometrika 31, 1940), with its normal limit for many events. Far
    out, where one of many correlators has to be to count, the limit is off by a factor of ten and more: there the
    hypergeometric distribution (Fisher's exact test, 1935) has the last word.
    """
    events, others = np.rint(shots * (1 - one) / 2), np.rint(known * (1 - other) / 2)
    flip = events + others > (shots + known) / 2
    events = np.where(flip, shots - events, events)
    total, share = events + np.where(flip, known - others, others), shots / (shots + known)
    spread = np.sqrt(np.maximum(total * share * (1 - share) * (1 - total / (shots + known)), 1e-300))
    normal = 2 * norm.sf(np.abs(events - total * share) / spread)
    exact = 2 * np.minimum(bdtr(events, total, share), np.where(events > 0, bdtrc(events - 1, total, share), 1.0))
    many = total * min(share, 1 - share) >= _NORMAL_EVENTS
    chances = np.where(many, normal, np.minimum(exact, 1.0))
    far = np.argsort(np.where(many, normal, 1.0))[:_MOST_EXACT]
    far = far[many[far]]
    of = (shots + known, total[far], shots)
    tails = np.minimum(hypergeom.cdf(events[far], *of), hypergeom.sf(events[far] - 1, *of))
    chances[far] = np.minimum(2 * tails, 1.0)
    return chances


def _rows(counts: Counts) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Outcomes as rows of ±1 (bit 0 first) with their share of the shots, some thousands at a time."""
    weights = counts.numbers / counts.shots
    for start in range(0, len(weights), _ROWS):
        text = "".join(counts.outcomes[start : start + _ROWS]).encode()
        bits = np.frombuffer(text, np.uint8).reshape(-1, counts.width)[:, ::-1]
        yield 1.0 - 2.0 * (bits - ord("0")), weights[start : start + _ROWS]


def _pairs(width: int) -> tuple[np.ndarray, np.ndarray]:
    if width <= _ALL_PAIRS_WIDTH:
        return np.triu_indices(width, 1)
    return np.arange(width - 1), np.arange(1, width)


def _named(bits: tuple[int, ...]) -> str:
    return f"bit {bits[0]}" if len(bits) == 1 else f"bits {bits[0]} and {bits[1]}"
