"""Cross entropy: for circuits whose probabilities can be computed outcome by outcome, but not all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.stats import norm

from oracle.jobs.errors import InputError
from oracle.validation.counts import Counts
from oracle.validation.distribution import Policy
from oracle.validation.verdict import SIMULATOR, Check, Outcome, Verdict


def judge_xeb(
    counts: Any,
    probabilities: Mapping[str, float],
    second_moment: float,
    policy: Policy | None = None,
    *,
    claim: str = SIMULATOR,
) -> Verdict:
    """Judge by the linear cross entropy (D Σ f p - 1) / (D Σ p² - 1), 1 for the circuit's own outcomes, 0 for noise.

    Arute et al. (Nature 574, 2019), normalised by the circuit's own value.

    ``probabilities`` are the circuit's for every observed outcome, ``second_moment`` is Σ p² over all of them. Raises
    :class:`InputError` for malformed counts or missing probabilities.
    """
    policy = policy or Policy()
    known = Counts.parse(counts)
    values = np.array([probabilities.get(outcome, -1.0) for outcome in known.outcomes])
    if not np.all(np.isfinite(values)) or values.min() < 0 or values.max() > 1:
        raise InputError("has not got the probability of every outcome", field="probabilities")
    if not 0 < second_moment <= 1:
        raise InputError("must lie between 0 and 1", field="second_moment")
    risk = 1 - policy.confidence
    return Verdict(
        method="xeb",
        checks=(_check(values, known, second_moment, policy, risk),),
        shots=known.shots,
        confidence=policy.confidence,
        claim=claim,
        thresholds={**asdict(policy), "second_moment": second_moment},
    )


def _check(values: np.ndarray, known: Counts, second_moment: float, policy: Policy, risk: float) -> Check:
    size = 2.0**known.width
    signal = size * second_moment - 1
    if signal <= 1e-9:
        return Check("cross entropy", Outcome.INCONCLUSIVE, "the circuit's outcomes are uniform: nothing to score")
    weights = known.numbers / known.shots
    mean = float(weights @ values)
    spread = math.sqrt(float(weights @ (values - mean) ** 2))
    # Of uniform noise the score scatters like this: mean p is 1/D and mean p² is Σ p² / D.
    noise = math.sqrt(size * second_moment - 1) / signal / math.sqrt(known.shots)
    found = (size * mean - 1) / signal
    slack = float(norm.isf(risk)) * max(size * spread / signal / math.sqrt(known.shots), noise)
    reason = f"the score is {found:.3f} ± {slack:.3f}, at least {policy.min_polarisation:g} is asked for"
    if found + slack < policy.min_polarisation:
        return Check("cross entropy", Outcome.REJECT, reason, found, policy.min_polarisation)
    needed = float(norm.isf(risk) + norm.ppf(policy.power)) * noise
    if needed > policy.min_polarisation:
        return Check("cross entropy", Outcome.INCONCLUSIVE, f"{reason}, but uniform noise could score as much", found)
    return Check("cross entropy", Outcome.ACCEPT, reason, found, policy.min_polarisation)
