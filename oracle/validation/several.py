"""Several circuits in one job: each judged by itself, the risk of a wrong rejection shared among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from oracle.jobs.errors import InputError
from oracle.validation.baseline import Baseline
from oracle.validation.counts import Counts
from oracle.validation.distribution import Policy, judge_distribution
from oracle.validation.verdict import SIMULATOR, Check, Outcome, Verdict


def judge_distributions(
    results: Sequence[Any], baselines: Sequence[Baseline], policy: Policy | None = None, *, claim: str = SIMULATOR
) -> Verdict:
    """Judge the counts of every circuit against its baseline.

    Each circuit has an equal part of the risk (Bonferroni), so that an honest job of any number of circuits is rejected
    with probability 1 - confidence at most. The gravest finding is that of the job: a circuit of which nothing can be
    said leaves the job inconclusive, for its counts could have been made up. Raises :class:`InputError`.
    """
    if not 0 < len(results) == len(baselines):
        raise InputError(f"are {len(baselines)} for {len(results)} circuits", field="baselines")
    policy = policy or Policy()
    shared = replace(policy, tests=policy.tests * len(results))
    known = [Counts.parse(counts, field=f"circuits.{place}") for place, counts in enumerate(results)]
    pairs = zip(known, baselines, strict=True)
    verdicts = [judge_distribution(counts, baseline, shared, claim=claim) for counts, baseline in pairs]
    weaker = any(verdict.method == "marginals" for verdict in verdicts)
    return Verdict(
        method="marginals" if weaker else "distribution",
        checks=tuple(_summary(place, verdict) for place, verdict in enumerate(verdicts)),
        shots=sum(counts.shots for counts in known),
        confidence=policy.confidence,
        claim=claim,
        thresholds={**asdict(shared), "circuits": len(results), "risk_per_circuit": shared.risk},
    )


def _summary(place: int, verdict: Verdict) -> Check:
    """What a circuit's own verdict comes to, in one check."""
    outcome = verdict.outcome
    if outcome == Outcome.ACCEPT:
        decided = sum(check.outcome == Outcome.ACCEPT for check in verdict.checks)
        return Check(f"circuit {place}", outcome, f"passed {decided} checks against its own simulation")
    deciding = next((check for check in verdict.checks if check.outcome == outcome), verdict.checks[0])
    return Check(f"circuit {place}", outcome, "; ".join(verdict.reasons), deciding.statistic, deciding.bound)
