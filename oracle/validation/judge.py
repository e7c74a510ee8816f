"""The verdict on one delivered result: what its spec asks for, with the evidence a validator has gathered."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from oracle.jobs.errors import InputError
from oracle.validation.agreement import judge_agreement
from oracle.validation.baseline import DENSE_WIDTH, Baseline
from oracle.validation.canary import check_answers, judge_canaries, open_canaries
from oracle.validation.completeness import benchmark_checks, optimization_checks
from oracle.validation.counts import Counts
from oracle.validation.distribution import Policy, judge_distribution
from oracle.validation.estimates import Expected, check_values, judge_expectations
from oracle.validation.replay import RunFacts, judge_replay
from oracle.validation.several import judge_distributions
from oracle.validation.verdict import SIMULATOR, Check, Outcome, Verdict, condensed

if TYPE_CHECKING:
    from oracle.circuits.instructions import Circuit
    from oracle.circuits.run import RunResult

# Equal counts from two jobs are no chance below this.
_NO_CHANCE = 1e-6


@dataclass(frozen=True)
class Evidence:
    """What a validator gathered to judge a result by; what the method does not need may be left out.

    ``baselines`` for ``distribution``, one for each circuit; ``replayed`` (its own run) and ``required_seed`` for
    ``replay``; ``opening`` (the requester's document) and ``asked`` (the circuits of the job) for ``canary``; ``peers``
    (the revealed counts by oracle) and ``oracle`` (who delivered) for ``agreement``; ``expected`` for results that are
    expectation values. ``circuits`` are the counts of each circuit in order, of one alone those of the result; with
    ``widths``, how many bits each measures, their number and form are the oracle's to get right. ``readout_error`` is
    the device's published rate, ``earlier`` the :meth:`~oracle.validation.counts.Counts.digest` of results seen before
    (``None`` if nobody looked).
    """

    baselines: Sequence[Baseline] = ()
    replayed: RunFacts | RunResult | None = None
    required_seed: int | None = None
    opening: Any = None
    asked: Sequence[Circuit] = ()
    circuits: Sequence[Any] = ()
    oracle: str = ""
    peers: Mapping[str, Any] = field(default_factory=dict)
    expected: Sequence[Expected] = ()
    widths: Sequence[int | None] = ()
    readout_error: float = 0.0
    earlier: Collection[str] | None = None


def judge(
    spec: Mapping[str, Any],
    result: Mapping[str, Any],
    evidence: Evidence,
    *,
    claim: str = SIMULATOR,
    subject: Mapping[str, Any] | None = None,
) -> Verdict:
    """The verdict on ``result`` by the method of ``spec`` and the needs of its job type.

    A result that is malformed is rejected. Whatever is not the oracle's fault, such as evidence that is missing or an
    opening that does not fit, is inconclusive. ``subject`` goes into the report. Raises nothing for what an oracle or
    a requester wrote.
    """
    if not evidence.circuits:
        evidence = replace(evidence, circuits=[result.get("counts")])
    problem = _malformed(spec, result, evidence)
    if problem:
        verdict = _alone("none", Check("form", Outcome.REJECT, f"the result is malformed: {problem}"), spec, claim)
    else:
        verdict = _judged(spec, result, evidence, claim)
    extra = [*_by_class(spec, result), *_repeated(spec, result, evidence, claim)]
    return replace(verdict, checks=condensed((*verdict.checks, *extra)), subject=dict(subject or {}))


def _malformed(spec: Mapping[str, Any], result: Mapping[str, Any], evidence: Evidence) -> str:
    """What is wrong with the parts the oracle wrote, or nothing."""
    try:
        if evidence.expected:
            check_values(result.get("values"), evidence.expected)
            return ""
        found, widths = evidence.circuits, evidence.widths or [None] * len(evidence.circuits)
        if len(found) != len(widths):
            return f"it has results of {len(found)} circuits, {len(widths)} were to run"
        for number, (counts, width) in enumerate(zip(found, widths, strict=True)):
            field = f"circuits.{number}" if len(found) > 1 else "counts"
            Counts.parse(counts, shots=spec["quantum"]["shots"], width=width, field=field)
        if spec["validation"]["method"] == "replay":
            RunFacts.of_document(result)
    except InputError as err:
        return str(err)
    return ""


def _judged(spec: Mapping[str, Any], result: Mapping[str, Any], evidence: Evidence, claim: str) -> Verdict:
    method = spec["validation"]["method"]
    if method == "none":
        return _alone(method, Check("form", Outcome.ACCEPT, "the result is well formed"), spec, claim)
    missing = _missing(method, evidence)
    if missing:
        return _alone(method, Check("evidence", Outcome.INCONCLUSIVE, missing), spec, claim)
    try:
        policy = Policy.of_spec(spec["validation"], claim=claim, readout_error=_readout_error(evidence, claim))
        return _METHODS[method](spec, result, evidence, policy, claim)
    except InputError as err:  # the requester's doing, or the validator's: it must not cost the oracle its bond
        return _alone(method, Check("evidence", Outcome.INCONCLUSIVE, f"cannot be judged: {err}"), spec, claim)


def _by_distribution(
    spec: Mapping[str, Any], result: Mapping[str, Any], evidence: Evidence, policy: Policy, claim: str
) -> Verdict:
    if evidence.expected:
        return judge_expectations(result["values"], evidence.expected, spec["quantum"]["shots"], policy, claim=claim)
    if len(evidence.circuits) > 1:
        return judge_distributions(evidence.circuits, evidence.baselines, policy, claim=claim)
    return judge_distribution(evidence.circuits[0], evidence.baselines[0], policy, claim=claim)


def _by_replay(
    spec: Mapping[str, Any], result: Mapping[str, Any], evidence: Evidence, policy: Policy, claim: str
) -> Verdict:
    due = spec["quantum"]["seed"] if evidence.required_seed is None else evidence.required_seed
    return judge_replay(RunFacts.of_document(result), evidence.replayed, required_seed=due)


def _by_canaries(
    spec: Mapping[str, Any], result: Mapping[str, Any], evidence: Evidence, policy: Policy, claim: str
) -> Verdict:
    canaries = open_canaries(evidence.opening, spec["validation"].get("commitment") or "")
    check_answers(evidence.asked, canaries)
    return judge_canaries(evidence.circuits, canaries, policy, claim=claim)


def _by_agreement(
    spec: Mapping[str, Any], result: Mapping[str, Any], evidence: Evidence, policy: Policy, claim: str
) -> Verdict:
    counts = {**evidence.peers, evidence.oracle: result["counts"]}
    known = Counts.parse(result["counts"])
    usable = {name: found for name, found in counts.items() if _is_usable(found, known)}
    seeded = claim == SIMULATOR and spec["quantum"]["seed"] is not None
    return judge_agreement(usable, policy, seeded=seeded, claim=claim)[evidence.oracle]


def _is_usable(counts: Any, known: Counts) -> bool:
    """Whether another oracle's counts can take part, those of as many shots of as many bits as ``known``: a bad peer
    must not spoil an honest result."""
    try:
        Counts.parse(counts, shots=known.shots, width=known.width)
    except InputError:
        return False
    return True


def _missing(method: str, evidence: Evidence) -> str:
    needs = {
        "distribution": (bool(evidence.baselines) or bool(evidence.expected), "a baseline"),
        "replay": (evidence.replayed is not None, "a run of one's own"),
        "canary": (
            evidence.opening is not None and len(evidence.asked) > 0,
            "the opening of the canaries, or the circuits of the job,",
        ),
        "agreement": (bool(evidence.oracle) and len(evidence.peers) > 0, "the results of other oracles"),
    }
    there, name = needs[method]
    return "" if there else f"{name} is missing"


_METHODS = {
    "distribution": _by_distribution,
    "replay": _by_replay,
    "canary": _by_canaries,
    "agreement": _by_agreement,
}


def _by_class(spec: Mapping[str, Any], result: Mapping[str, Any]) -> list[Check]:
    if spec["job_type"] == "benchmark":
        return benchmark_checks(result)
    return optimization_checks(result) if spec["job_type"] == "optimization" else []


def _repeated(spec: Mapping[str, Any], result: Mapping[str, Any], evidence: Evidence, claim: str) -> list[Check]:
    """Whether these very counts were delivered before. A simulator with a seed in the spec does repeat itself."""
    if evidence.earlier is None or (claim == SIMULATOR and spec["quantum"]["seed"] is not None):
        return []
    try:
        counts = Counts.parse(result.get("counts"))
    except InputError:
        return []
    chance = counts.repeat_chance()
    if counts.digest() not in evidence.earlier or chance > _NO_CHANCE:
        return [Check("repeat", Outcome.ACCEPT, "the counts are not those of an earlier result, or could be by chance")]
    reason = f"the very counts of an earlier result; by chance with probability {chance:.2g}"
    return [Check("repeat", Outcome.REJECT, reason, chance, _NO_CHANCE)]


def _readout_error(evidence: Evidence, claim: str) -> float:
    """The rate to use: it needs baselines narrow enough for a probability for every bit string."""
    dense = all(baseline.width <= DENSE_WIDTH for baseline in evidence.baselines)
    return evidence.readout_error if claim != SIMULATOR and dense else 0.0


def _alone(method: str, check: Check, spec: Mapping[str, Any], claim: str) -> Verdict:
    return Verdict(method=method, checks=(check,), shots=spec["quantum"]["shots"], claim=claim)
