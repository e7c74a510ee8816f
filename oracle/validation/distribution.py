"""Counts against an exact baseline, with the shot count in every threshold. Formulas: docs/validation.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import xlogy

from oracle.jobs.errors import InputError
from oracle.validation.baseline import ZERO, Baseline
from oracle.validation.counts import Counts
from oracle.validation.samples import judge_against_samples
from oracle.validation.statistics import (
    Levels,
    chance_of_multiples,
    deviation_bound,
    distance,
    empirical_p,
    noise_floor,
)
from oracle.validation.verdict import HARDWARE, SIMULATOR, Check, Outcome, Verdict

IDEAL, DEPOLARISING = "ideal", "depolarising"
# A simulation in double precision leaves about this much probability where there should be none.
_LEAK = 1e-9
# An outcome expected this often is a cell of its own in the G-test; with less the chi-square limit is not trusted.
_CELL = 20
_RARE_SHARE = 0.05
_POWER_DRAWS = 60
# Where only a flag hangs on it.
_FEWEST_DRAWS = 199
# More would take too many simulated results to be sure of.
MOST_CONFIDENCE = 0.999
# A baseline with more missing than this cannot stand in for exact probabilities.
_MOST_UNSEEN = 0.02
# Bits in a window, and from one window to the next.
_WINDOW, _STEP = 6, 2
# Readout errors drift between calibrations: such multiples of the published one are thought possible too.
_READOUT_FACTORS = (0.5, 1.5, 0.0, 2.0)
# What an honest device is thought to lose per measured bit at the very least, where its calibration is not known.
_LEAST_LOSS = 0.005


@dataclass(frozen=True)
class Policy:
    """What a distribution must satisfy.

    ``max_excess`` bounds the distance (TVD) beyond shot noise, ``confidence`` is the probability that an honest
    result passes, ``min_polarisation`` what a device must keep of the ideal signal. ``noise`` says what the result is
    held against: ``ideal``, the baseline itself, or ``depolarising``, its best mixture with uniform noise after
    flipping each bit with probability ``readout_error``. ``strict`` (ideal only) lets goodness of fit decide; without
    it the counts may be off by ``max_excess``. ``power`` is the probability with which uniform noise must be caught
    before anything is accepted. ``draws`` and ``seed`` make the simulated p-values repeatable. ``tests`` is how many
    results are judged together: each may only be wrongly rejected with that part of the risk (Bonferroni).
    """

    max_excess: float = 0.08
    confidence: float = 0.99
    min_polarisation: float = 0.5
    noise: str = IDEAL
    readout_error: float = 0.0
    strict: bool = True
    power: float = 0.9
    draws: int = 999
    seed: int = 0
    tests: int = 1

    def __post_init__(self) -> None:
        """Raise :class:`InputError` for a policy that makes no sense."""
        for name in ("confidence", "min_polarisation", "power"):
            if not 0 < getattr(self, name) < 1:
                raise InputError("must lie between 0 and 1", field=name)
        if not 0 < self.max_excess <= 1:
            raise InputError("must be more than 0 and at most 1", field="max_excess")
        if self.noise not in (IDEAL, DEPOLARISING):
            raise InputError(f"must be {IDEAL} or {DEPOLARISING}", field="noise")
        if not 0 <= self.readout_error < 0.5 or (self.readout_error and self.noise == IDEAL):
            raise InputError("must be below 0.5, and 0 without noise", field="readout_error")
        if self.confidence > MOST_CONFIDENCE:
            raise InputError(f"can be at most {MOST_CONFIDENCE}", field="confidence", remedy="ask for less certainty")
        if self.draws < 99:
            raise InputError("must be at least 99", field="draws")
        if self.tests < 1:
            raise InputError("must be at least 1", field="tests")

    @property
    def risk(self) -> float:
        """How likely an honest result may be rejected."""
        return (1 - self.confidence) / self.tests

    @classmethod
    def of_spec(cls, validation: Mapping[str, Any], *, claim: str = SIMULATOR, readout_error: float = 0.0) -> Policy:
        """The policy of a spec's validation section.

        ``threshold`` ``auto`` means goodness of fit decides, a number that so much distance beyond shot noise is
        fine; ``confidence`` and ``min_polarisation`` overrule the defaults. A result claimed from a device is held
        against the noisy baseline; ``readout_error`` is the device's published rate, with 0 for other results.
        """
        given = {name: validation[name] for name in ("confidence", "min_polarisation") if name in validation}
        if validation["threshold"] != "auto":
            given |= {"max_excess": validation["threshold"], "strict": False}
        if claim != SIMULATOR:
            given |= {"noise": DEPOLARISING, "readout_error": readout_error}
        return cls(**given)


@dataclass(frozen=True)
class Observed:
    """A result as the tests see it: where its outcomes stand in the baseline (-1: nowhere), and how often they came."""

    places: np.ndarray
    numbers: np.ndarray

    @property
    def shots(self) -> int:
        return int(self.numbers.sum())

    def window(self, shift: int) -> Observed:
        """What was seen of the bits from ``shift`` on, as many as a window has."""
        places = (self.places >> shift) % 2**_WINDOW
        numbers = np.bincount(places, self.numbers, 2**_WINDOW).astype(np.int64)
        return Observed(np.flatnonzero(numbers), numbers[numbers > 0])


class DistributionTest:
    """One baseline, one number of shots, one policy: the null distributions are worked out once, for any results.

    A baseline of samples is taken for exact, with the shots of both sides in the bounds (``precision``); it must have
    seen nearly everything (:func:`judge_distribution` sees to that).
    """

    def __init__(self, baseline: Baseline, shots: int, policy: Policy | None = None):
        self.policy = policy or Policy()
        self.baseline = baseline
        self.shots = shots
        self._noisy = self.policy.noise == DEPOLARISING
        self._ideal = _Source(baseline.probabilities, baseline.size)
        self._model = self._read_out(self.policy.readout_error)
        self.precision = shots if baseline.shots is None else 1 / (1 / shots + 1 / baseline.shots)
        self._by_fit = self.policy.strict and not self._noisy
        self._by_windows = bool(self._shifts) and not self._by_fit
        self._risk = self.policy.risk / (3 + (self._noisy or self._by_fit) + self._by_windows)
        self._slack = deviation_bound(self.precision, self._risk)

    def judge(self, counts: Any, *, claim: str = SIMULATOR) -> Verdict:
        """The verdict on ``counts``. Raises :class:`InputError` if they are malformed or have another shot count."""
        known = Counts.parse(counts, shots=self.shots, width=self.baseline.width)
        observed = Observed(self.baseline.locate(known), known.numbers)
        checks = list(self.checks(observed))
        if not _rejects(checks):
            checks += [*self._oddities(observed, claim), *self._collisions(observed)]
        return Verdict(
            method="distribution",
            checks=(*checks, self._power_check()),
            shots=self.shots,
            confidence=self.policy.confidence,
            support=self.baseline.support,
            claim=claim,
            thresholds=self._thresholds(),
        )

    def checks(self, observed: Observed) -> Iterator[Check]:
        """The checks that can reject, the quickest first."""
        yield self._zeros(observed)
        yield self._repetition(observed)
        if self._noisy:
            yield self._polarisation_check(observed)
        if self._by_fit:
            yield self._fit_check(observed)
        yield self._excess(observed)
        if self._by_windows:
            yield self._windows_check(observed)

    @cached_property
    def detectable(self) -> float | None:
        """The smallest share of uniform noise in the result that is caught with the policy's power, to about 6 %.

        ``None`` if even pure noise is not.
        """
        if self._noise_caught < self.policy.power:
            return None
        low, high = 0.0, 1.0
        while high - low > 1 / 16:
            middle = (low + high) / 2
            low, high = (low, middle) if self._caught(middle) >= self.policy.power else (middle, high)
        return high

    # ------------------------------------------------------------------------------------------- checks

    def _zeros(self, observed: Observed) -> Check:
        """Born's rule: an outcome of probability 0 does not happen, except for as much noise as the policy allows."""
        seen = int(observed.numbers[self._model.at[observed.places] <= ZERO].sum())
        allowed = _LEAK + self.baseline.unseen
        if self._noisy:
            allowed += 1 - self.policy.min_polarisation
        elif not self.policy.strict:
            allowed += self.policy.max_excess
        chance = float(stats.binom.sf(seen - 1, self.shots, min(allowed, 1.0)))
        bad = chance <= self._risk
        reason = f"{seen} of {self.shots} shots gave outcomes that cannot occur"
        return Check("support", _failed(bad), f"{reason}, too many" if bad else reason, seen / self.shots, allowed)

    def _excess(self, observed: Observed) -> Check:
        """The distance beyond what shots alone explain; only what is certain of it counts."""
        found = self.excess(observed)
        slack = self._slack
        bad = found - slack > self.policy.max_excess
        relation = "above" if bad else "within"
        reason = f"the distance beyond shot noise is {found:+.3f} ± {slack:.3f}, {relation} {self.policy.max_excess:g}"
        return Check("excess", _failed(bad), reason, found, self.policy.max_excess + slack)

    def excess(self, observed: Observed) -> float:
        """TVD to the baseline, less the mean TVD of an honest sample.

        The debiased distance: it is on average at most the true one, whatever the counts come from (the proof is in
        docs/validation.md), so that less :func:`deviation_bound` it is a lower confidence bound. With noise, for
        the first that fits of the readout errors a device may have that publishes ``readout_error``, each with its own
        polarisation: being better than its calibration is no offence.
        """
        return self._best_fitting(lambda model: self._excess_over(observed, model), self._slack)

    def _best_fitting(self, excess: Callable[[_Source], float], slack: float) -> float:
        """The excess over the first model that fits, the published readout error first; the least if none does."""
        least = math.inf
        for model in self._models:
            least = min(least, excess(model))
            if least - slack <= self.policy.max_excess:
                break
        return least

    def _excess_over(self, observed: Observed, model: _Source) -> float:
        mixture = min(max(model.polarisation(observed), 0.0), 1.0) if self._noisy else 1.0
        expected = mixture * model.at[observed.places] + (1 - mixture) / model.size
        floor = noise_floor(model.levels.mixed(mixture, model.size), self.precision)
        return distance(observed.numbers / observed.shots, expected) - floor

    def _windows_check(self, observed: Observed) -> Check:
        """The same on a few neighbouring bits at a time, where the shots are not spread thin.

        Forgetting bits never makes two distributions differ more (the data processing inequality), so that what is
        within the threshold as a whole is so in every window.
        """
        slack = deviation_bound(self.precision, self._risk / len(self._shifts))
        found = -math.inf
        for shift in self._shifts:
            seen = observed.window(shift)
            excess = self._best_fitting(
                lambda model, i=shift, seen=seen: self._excess_over(seen, model.window(i)), slack
            )
            found = max(found, excess)
        bad = found - slack > self.policy.max_excess
        relation = "above" if bad else "within"
        reason = f"on {_WINDOW} neighbouring bits it is {found:+.3f} ± {slack:.3f} at most, {relation} the same"
        return Check("windows", _failed(bad), reason, found, self.policy.max_excess + slack)

    @cached_property
    def _shifts(self) -> list[int]:
        """Where the windows begin, in bits from the right; none if the whole is hardly wider or not all known."""
        last = self.baseline.width - _WINDOW
        if last <= 0 or self.baseline.outcomes is not None:
            return []
        return sorted({*range(0, last, _STEP), last})

    def _read_out(self, rate: float) -> _Source:
        return _Source(self.baseline.with_readout_error(rate).probabilities, self.baseline.size)

    @cached_property
    def _models(self) -> list[_Source]:
        rate = self.policy.readout_error
        if not rate:
            return [self._model]
        rates = (factor * rate for factor in _READOUT_FACTORS if factor * rate < 0.5)
        return [self._model, *(self._read_out(each) for each in rates)]

    def _repetition(self, observed: Observed) -> Check:
        """Fewer shots, each counted several times, leave a common divisor."""
        divisor = int(np.gcd.reduce(observed.numbers))
        if divisor == 1:
            return Check("repetition", Outcome.ACCEPT, "the counts have no common divisor", 1)
        chance = chance_of_multiples(observed.numbers, divisor)
        bad = chance <= self._risk
        reason = f"every count is a multiple of {divisor}; chance of that {chance:.2g}"
        return Check("repetition", _failed(bad), reason, chance, self._risk)

    def _polarisation_check(self, observed: Observed) -> Check:
        found = self._model.polarisation(observed)
        if self._model.signal <= 1e-9:
            return Check("polarisation", Outcome.INCONCLUSIVE, "the baseline is uniform and has no signal to lose")
        values = self._model.at[observed.places]
        mean = float(observed.numbers @ values) / observed.shots
        spread = math.sqrt(float(observed.numbers @ (values - mean) ** 2) / observed.shots)
        # Never less than what honest counts scatter: a handful of equal shots shows no spread at all.
        spread = max(spread, *map(self._model.spread, (1.0, self.policy.min_polarisation)))
        error = self.baseline.size * spread / self._model.signal / math.sqrt(self.precision)
        slack = float(stats.norm.isf(self._risk)) * error
        bad = found + slack < self.policy.min_polarisation
        relation = "below" if bad else "compatible with at least"
        reason = f"{found:.3f} ± {slack:.3f} of the signal is left, {relation} {self.policy.min_polarisation:g}"
        return Check("polarisation", _failed(bad), reason, found, self.policy.min_polarisation)

    def _fit_check(self, observed: Observed) -> Check:
        high = self._fit(observed)
        bad = high <= self._risk
        reason = f"such a fit to the baseline or a worse one has probability {high:.2g} ({self._fit_kind})"
        return Check("fit", _failed(bad), reason, high, self._risk)

    def _oddities(self, observed: Observed, claim: str) -> list[Check]:
        """What passes every test and is still strange: flags."""
        impossible = observed.numbers[self._ideal.at[observed.places] <= ZERO].any()
        if impossible or self.baseline.shots is not None:
            return []
        if not self._noisy:
            low = self._too_good(observed)
            reason = f"the counts fit better than shots allow: probability {low:.2g}"
            return [Check("too good", Outcome.FLAG, reason, low, self._risk)] if low <= self._risk else []
        fit = self._fit(observed) if claim == HARDWARE else 0.0
        if fit <= 1 - self.policy.confidence or not self._noise_would_show:
            return []
        reason = "the counts fit the noiseless circuit better than any known device would"
        return [Check("too good", Outcome.FLAG, reason, fit, 1 - self.policy.confidence)]

    def _collisions(self, observed: Observed) -> list[Check]:
        """Pairs of equal outcomes: samples of fewer shots, drawn again, have too many.

        Their number has mean N(N-1)/2 Σ p² and variance N(N-1)/2 (Σ p² - (Σ p²)²) + N(N-1)(N-2) (Σ p³ - (Σ p²)²)
        (Goldreich and Ron, ECCC TR00-020); Cantelli's inequality (1928) bounds the chance of more, whatever the
        distribution. Noise only lowers the mean. A device drawn to one outcome has more as well: a flag.
        """
        second, third = self._ideal.moment, self._ideal.third
        pairs = self.shots * (self.shots - 1) / 2
        seen = float(observed.numbers @ (observed.numbers - 1)) / 2
        variance = pairs * (second - second**2) + 2 * pairs * (self.shots - 2) * max(third - second**2, 0.0)
        beyond = max(seen - pairs * second, 0.0)
        chance = variance / (variance + beyond**2) if beyond else 1.0
        if self.baseline.shots is not None or chance > self._risk:
            return []
        reason = f"{seen:.0f} pairs of shots agree, {pairs * second:.0f} would in independent shots"
        return [Check("collisions", Outcome.FLAG, reason, seen, pairs * second)]

    def _power_check(self) -> Check:
        caught, needed = self._noise_caught, self.policy.power
        share = self.detectable
        if share is None:
            reason = (
                f"uniform noise would be caught with probability {caught:.2f} only: too few shots or a flat baseline"
            )
            return Check("power", Outcome.INCONCLUSIVE, reason, caught, needed)
        reason = f"a share of {share:.2g} or more of uniform noise is caught with probability {needed:g}"
        return Check("power", None, reason, share)

    # ----------------------------------------------------------------------------------- null distributions

    def _fit(self, observed: Observed) -> float:
        """P(a fit as bad or worse) under the noiseless baseline."""
        if self._fit_kind == "chi-square":
            statistic, freedom = self._pooled_g(observed)
            return float(stats.chi2.sf(statistic, freedom))
        return empirical_p(self._g(observed), self._null)

    def _too_good(self, observed: Observed) -> float:
        """P(a fit as good or better): simulated in the tail, where counts come in steps and chi-square does not."""
        if self._fit_kind == "simulated":
            return empirical_p(-self._g(observed), -self._null)
        statistic, freedom = self._pooled_g(observed)
        if stats.chi2.cdf(statistic, freedom) > 10 * self._risk:  # the steps matter in the far tail only
            return float(stats.chi2.cdf(statistic, freedom))
        return empirical_p(-statistic - 1e-9, -self._pooled_null)

    @cached_property
    def _fit_kind(self) -> str:
        """Which null distribution holds: pooled cells and chi-square, or simulation where too much would be pooled."""
        _, rare = self._cells
        pooled_well = rare == 0 or rare >= _CELL
        return "chi-square" if pooled_well and rare <= _RARE_SHARE * self.shots else "simulated"

    @cached_property
    def _cells(self) -> tuple[np.ndarray, float]:
        """How often each outcome with a cell of its own is expected, and all others together."""
        expected = self.shots * self._ideal.at[self._ideal.at > ZERO]
        own = expected >= _CELL
        return expected[own], float(expected[~own].sum())

    def _pooled_g(self, observed: Observed) -> tuple[float, int]:
        """2 Σ O ln(O/E) and its degrees of freedom; outcomes expected too rarely share one cell.

        The likelihood ratio (Wilks, 1938) divided by Williams' correction (Biometrika 63, 1976).
        """
        cells = self._pooled_cells
        wanted = self.shots * self._ideal.at[observed.places]
        own = wanted >= _CELL
        terms = xlogy(observed.numbers[own], observed.numbers[own] / wanted[own]).sum()
        rare = observed.numbers[~own & (wanted > self.shots * ZERO)].sum()
        possible = observed.numbers[own].sum() + rare  # the impossible are the support check's
        terms += xlogy(rare, rare / cells[-1]) - xlogy(possible, possible / self.shots)
        return self._corrected(float(terms)), max(len(cells) - 1, 1)

    def _corrected(self, terms: float) -> float:
        cells = self._pooled_cells
        if len(cells) == 1:
            return 0.0
        correction = 1 + (float((self.shots / cells).sum()) - 1) / (6 * self.shots * (len(cells) - 1))
        return 2 * max(terms, 0.0) / correction

    @cached_property
    def _pooled_cells(self) -> np.ndarray:
        cells, rare = self._cells
        return np.append(cells, rare) if rare else cells

    @cached_property
    def _pooled_null(self) -> np.ndarray:
        rng = np.random.default_rng([self.policy.seed, 6])
        cells = self._pooled_cells
        drawn = (rng.multinomial(self.shots, cells / cells.sum()) for _ in range(self._draws))
        return np.array([self._corrected(float(xlogy(numbers, numbers / cells).sum())) for numbers in drawn])

    @property
    def _draws(self) -> int:
        """How many results to simulate: with fewer, no p-value is as small as the risk."""
        risk = 1 - self.policy.confidence if self._noisy else self._risk
        return max(_FEWEST_DRAWS if self._noisy else self.policy.draws, math.ceil(2 / risk))

    def _g(self, observed: Observed) -> float:
        """2 Σ O ln(O/E), for the simulated null distribution (a parametric bootstrap: Efron and Tibshirani, 1993)."""
        wanted = self.shots * self._ideal.at[observed.places]
        possible = wanted > self.shots * ZERO
        seen = observed.numbers[possible]
        return 2 * float(seen @ np.log(seen / wanted[possible]) - xlogy(seen.sum(), seen.sum() / self.shots))

    @cached_property
    def _null(self) -> np.ndarray:
        rng = np.random.default_rng([self.policy.seed, 1])
        return np.array([self._g(self._sample(rng, self._ideal)) for _ in range(self._draws)])

    @cached_property
    def _noise_would_show(self) -> bool:
        """Whether a device with the least thinkable noise would nearly always miss the noiseless baseline."""
        rng = np.random.default_rng([self.policy.seed, 2])
        share = 0.0 if self.policy.readout_error else 1 - (1 - _LEAST_LOSS) ** self.baseline.width
        shown = 0
        for _ in range(_POWER_DRAWS):
            drawn = self._sample(rng, self._model, share)
            impossible = drawn.numbers[self._ideal.at[drawn.places] <= ZERO].any()
            shown += bool(impossible) or self._fit(drawn) <= 1 - self.policy.confidence
        return shown >= 0.99 * _POWER_DRAWS

    @cached_property
    def _noise_caught(self) -> float:
        return self._caught(1.0)

    def _caught(self, share: float) -> float:
        """How often a result with this share of uniform noise is rejected."""
        rng = np.random.default_rng([self.policy.seed, 3, round(share * 1024)])
        drawn = (self._sample(rng, self._model, share) for _ in range(_POWER_DRAWS))
        return sum(_rejects(self.checks(each)) for each in drawn) / _POWER_DRAWS

    def _sample(self, rng: np.random.Generator, source: _Source, share: float = 0.0) -> Observed:
        """An honest sample of ``source`` in which ``share`` of the shots are uniform noise."""
        noise = int(rng.binomial(self.shots, share)) if share else 0
        places = np.concatenate([source.draw(rng, self.shots - noise), self._uniform_places(rng, noise)])
        found, numbers = np.unique(places, return_counts=True)
        lost = int(numbers[0]) if found[0] < 0 else 0
        if lost:  # outcomes nobody listed: of so many, no two are the same
            found, numbers = np.append(found[1:], np.full(lost, -1)), np.append(numbers[1:], np.ones(lost, np.int64))
        return Observed(found, numbers)

    def _uniform_places(self, rng: np.random.Generator, number: int) -> np.ndarray:
        known = len(self._ideal.at) - 1
        places = rng.integers(0, known, number)
        return np.where(rng.random(number) < known / self.baseline.size, places, -1)

    def _thresholds(self) -> dict[str, Any]:
        return {
            **asdict(self.policy),
            "risk_per_check": self._risk,
            "floor": noise_floor(self._model.levels, self.precision),
            "baseline_shots": self.baseline.shots,
            "effective_support": 1 / self._ideal.moment,
        }


class _Source:
    """Probabilities to look up and to draw from, of ``size`` bit strings.

    ``at[-1]`` is 0: an outcome the baseline does not list.
    """

    def __init__(self, probabilities: np.ndarray, size: float):
        self.at = np.append(probabilities, 0.0)
        self.size = size
        self.moment = float(self.at @ self.at)
        self._parts: dict[int, _Source] = {}

    @property
    def signal(self) -> float:
        """D Σ p² - 1: 0 for the uniform distribution."""
        return self.size * self.moment - 1

    def polarisation(self, observed: Observed) -> float:
        """How much of the signal is in the counts: 1 for samples of this source, 0 for uniform noise.

        (D Σ f p - 1) / (D Σ p² - 1), linear cross entropy (Arute et al., Nature 574, 2019) divided by its value for
        the source itself, unbiased at any number of shots. 0 for a source without signal.
        """
        mean = float(observed.numbers @ self.at[observed.places]) / observed.shots
        return (self.size * mean - 1) / self.signal if self.signal > 1e-9 else 0.0

    def window(self, shift: int) -> _Source:
        """The distribution of the bits from ``shift`` on, as many as a window has."""
        if shift not in self._parts:
            values = self.at[:-1].reshape(-1, 2**_WINDOW, 2**shift).sum(axis=(0, 2))
            self._parts[shift] = _Source(values, 2.0**_WINDOW)
        return self._parts[shift]

    @cached_property
    def levels(self) -> Levels:
        return Levels.of(self.at)

    def spread(self, polarisation: float) -> float:
        """The standard deviation of p(x) for honest x, of which ``1 - polarisation`` are uniform noise."""
        square, mean = (
            polarisation * of_source + (1 - polarisation) * of_noise
            for of_source, of_noise in ((self.third, self.moment / self.size), (self.moment, 1 / self.size))
        )
        return math.sqrt(max(square - mean**2, 0.0))

    @cached_property
    def third(self) -> float:
        """Σ p³."""
        return float(self.at**2 @ self.at)

    @cached_property
    def _table(self) -> Any:
        from scipy.stats.sampling import DiscreteGuideTable

        return DiscreteGuideTable(self.at[:-1])

    def draw(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """Places of ``number`` independent outcomes, in any order."""
        if len(self.at) <= number:
            numbers = rng.multinomial(number, self.at[:-1] / self.at.sum())
            return np.repeat(np.arange(len(numbers)), numbers)
        return self._table.rvs(number, random_state=rng)


def _failed(bad: bool) -> Outcome:
    return Outcome.REJECT if bad else Outcome.ACCEPT


def _rejects(checks: Iterable[Check]) -> bool:
    return any(check.outcome == Outcome.REJECT for check in checks)


def baseline_excess(counts: Any, baseline: Baseline, *, confidence: float = 0.99) -> tuple[float, float]:
    """The distance of ``counts`` to ``baseline`` beyond shot noise, and its slack: for gates that want a number.

    The true distance is at least the difference of the two with probability ``confidence``; an honest sample has
    about 0, at any number of shots. Raises :class:`InputError` for malformed counts.
    """
    known = Counts.parse(counts, width=baseline.width)
    test = DistributionTest(baseline, known.shots, Policy(confidence=confidence))
    found = test.excess(Observed(baseline.locate(known), known.numbers))
    return found, deviation_bound(test.precision, 1 - confidence)


def judge_distribution(
    counts: Mapping[str, int], baseline: Baseline, policy: Policy | None = None, *, claim: str = SIMULATOR
) -> Verdict:
    """Judge ``counts`` against ``baseline``, exact or sampled, in whatever way the baseline allows.

    A sampled baseline makes it a comparison of two samples; if it has missed too much for that, only low-order
    correlations are compared. Raises :class:`InputError` for malformed counts.
    """
    policy = policy or Policy()
    known = Counts.parse(counts, width=baseline.width)
    if baseline.shots is None:
        return DistributionTest(baseline, known.shots, policy).judge(known, claim=claim)
    if policy.noise == DEPOLARISING and baseline.unseen <= _MOST_UNSEEN:
        return DistributionTest(baseline.dense(), known.shots, policy).judge(known, claim=claim)
    return judge_against_samples(known, baseline, policy, claim=claim)
