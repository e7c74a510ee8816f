"""Expectation values: a claimed mean against the exact one, with an interval that no claim can widen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from oracle.jobs.errors import InputError
from oracle.validation.counts import MAX_SHOTS, Counts
from oracle.validation.distribution import DEPOLARISING, Policy
from oracle.validation.verdict import SIMULATOR, Check, Outcome, Verdict

MAX_OBSERVABLES = 100_000
# Two exact simulations agree to about this part of the observable's range.
_ROUNDING = 1e-6
# The part of the risk that a simulated value takes: it has the more shots, and the logarithm makes it cheap.
_FOR_THE_BASELINE = 0.1


@dataclass(frozen=True)
class Expected:
    """What an observable's value should be.

    Uniform noise gives ``centre`` (the coefficient of the identity), and every single shot a number within ±``bound``
    of it (for Σ c P with Pauli strings P: Σ |c| of the others). ``value`` is exact, or the mean of ``shots`` shots of
    a trusted simulation.
    """

    value: float
    bound: float = 1.0
    centre: float = 0.0
    shots: int | None = None

    def __post_init__(self) -> None:
        """Raise :class:`InputError` for numbers that no observable has."""
        if not (all(map(math.isfinite, (self.value, self.bound, self.centre))) and self.bound > 0):
            raise InputError("must be a finite value with a positive bound", field="expected")
        if abs(self.signal) > self.bound * (1 + _ROUNDING):
            raise InputError(f"{self.value} lies beyond the bound of {self.bound}", field="expected")
        if self.shots is not None and not 0 < self.shots <= MAX_SHOTS:
            raise InputError(f"must be 1 to {MAX_SHOTS}", field="expected.shots")

    @property
    def signal(self) -> float:
        """How far the value is from that of uniform noise."""
        return self.value - self.centre

    def slack(self, shots: int | None, risk: float, tolerated: float = 0.0) -> float:
        """t such that an honest mean of ``shots`` misses ``value`` by more than t with probability ≤ ``risk``.

        For a mean around a truth that is ``tolerated`` nearer to ``centre``, t holds from that truth on: it scatters
        more.

        The smaller of Hoeffding's B √(2 L / N) (JASA 58, 1963) and Bernstein's √(2 V L / N) + 2 M L / 3N (1927;
        Boucheron, Lugosi and Massart, Concentration Inequalities, §2.8), with L = ln(2 / risk), M = B + |value| and
        V = B² - value², which no variable within ±B exceeds (Bhatia and Davis, American Mathematical Monthly 107,
        2000), value and B taken from ``centre``. Neither looks at the data, so the smaller one holds. A value summed
        over several bases, each with N shots, keeps to them as well: Σ B_b² ≤ (Σ B_b)², and likewise for V.
        ``shots`` is ``None`` for exact values.

        If ``value`` is itself a mean, a tenth of the risk is for how far it may be from the truth (Hoeffding), which
        widens the interval and allows for a variance as if the truth were as much nearer to 0.
        """
        rounding, off = _ROUNDING * self.bound, 0.0
        if self.shots is not None:
            off = self.bound * math.sqrt(2 * math.log(2 / (_FOR_THE_BASELINE * risk)) / self.shots)
            risk *= 1 - _FOR_THE_BASELINE
        if shots is None:
            return off + rounding
        level = math.log(2 / risk)
        variance = max(self.bound**2 - max(abs(self.signal) - off - tolerated, 0.0) ** 2, 0.0)
        farthest = self.bound + min(abs(self.signal) + off + tolerated, self.bound)
        bernstein = math.sqrt(2 * variance * level / shots) + 2 * farthest * level / (3 * shots)
        return min(self.bound * math.sqrt(2 * level / shots), bernstein) + off + rounding


def parity_mean(counts: Any, bits: Sequence[int]) -> float:
    """⟨Z…Z⟩ on ``bits`` (0 is the last character, as in Qiskit) from counts. Raises :class:`InputError`."""
    known = Counts.parse(counts)
    if any(not 0 <= bit < known.width for bit in bits):
        raise InputError(f"must lie between 0 and {known.width - 1}", field="bits")
    signs = [1 - 2 * (sum(outcome[-1 - bit] == "1" for bit in bits) % 2) for outcome in known.outcomes]
    return sum(sign * int(number) for sign, number in zip(signs, known.numbers, strict=True)) / known.shots


def judge_expectations(
    values: Any,
    expected: Sequence[Expected],
    shots: int | None,
    policy: Policy | None = None,
    *,
    claim: str = SIMULATOR,
) -> Verdict:
    """Judge claimed ``values`` of observables, in the order of ``expected``, each a mean of ``shots`` shots.

    An ideal result must lie within the interval of :meth:`Expected.slack`, widened by ``max_excess`` of the bound if
    the policy is not strict. A noisy one may have shrunk towards noise's as far as ``min_polarisation``. What the
    oracle says its standard errors are plays no part. If uniform noise would pass for every observable, the verdict is
    inconclusive. Raises :class:`InputError`.
    """
    policy = policy or Policy()
    check_values(values, expected)
    if shots is not None and not 0 < shots <= MAX_SHOTS:
        raise InputError(f"must be 1 to {MAX_SHOTS}", field="shots")
    risk = (1 - policy.confidence) / len(expected)
    checks = [_value_check(n, values[n], known, shots, policy, risk) for n, known in enumerate(expected)]
    if not any(_tells(known, shots, policy, risk) for known in expected):
        reason = "values this close to 0 are what uniform noise gives: too few shots or no signal"
        checks.append(Check("power", Outcome.INCONCLUSIVE, reason))
    return Verdict(
        method="expectation",
        checks=tuple(checks),
        shots=shots or 0,
        confidence=policy.confidence,
        claim=claim,
        thresholds={**asdict(policy), "risk_per_value": risk, "exact": shots is None},
    )


def check_values(values: Any, expected: Sequence[Expected]) -> None:
    """Raise :class:`InputError` unless ``values`` is a list of one number for each observable."""
    if not 0 < len(expected) <= MAX_OBSERVABLES:
        raise InputError(f"must be 1 to {MAX_OBSERVABLES} observables", field="expected")
    if not isinstance(values, (list, tuple)) or len(values) != len(expected):
        raise InputError(f"must be a list of {len(expected)} numbers", field="values")
    if not all(_is_number(value) for value in values):
        raise InputError("has an entry that is not a finite number", field="values")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _interval(expected: Expected, shots: int | None, policy: Policy, risk: float) -> tuple[float, float]:
    noisy = policy.noise == DEPOLARISING
    tolerated = policy.max_excess * expected.bound if noisy or not policy.strict else 0.0
    faded = expected.centre + expected.signal * policy.min_polarisation if noisy else expected.value
    slack = tolerated + expected.slack(shots, risk, tolerated + abs(expected.value - faded))
    return min(expected.value, faded) - slack, max(expected.value, faded) + slack


def _value_check(place: int, value: float, expected: Expected, shots: int | None, policy: Policy, risk: float) -> Check:
    low, high = _interval(expected, shots, policy, risk)
    inside = low <= value <= high
    relation = "within" if inside else "outside"
    told = "exact is" if expected.shots is None else "simulated"
    reason = f"{value:.4g} is {relation} {low:.4g} to {high:.4g}, {told} {expected.value:.4g}"
    outcome = Outcome.ACCEPT if inside else Outcome.REJECT
    return Check(f"value {place}", outcome, reason, float(value), low if value < expected.value else high)


def _tells(expected: Expected, shots: int | None, policy: Policy, risk: float) -> bool:
    """Whether the mean of uniform noise would nearly always fall outside."""
    low, high = _interval(expected, shots, policy, risk)
    scatter = Expected(0.0, expected.bound).slack(shots, 1 - policy.power)
    return scatter < max(low - expected.centre, expected.centre - high)
