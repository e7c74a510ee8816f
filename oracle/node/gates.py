"""The gates a job passes before a run is spent on it: what was asked, what was observed, and what would pass.

Pure: :func:`evaluate` takes the operator's and the job's policy as data and the facts as they are known now.
``docs/operators.md`` lists the gates.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from oracle.jobs.amounts import format_wei
from oracle.jobs.errors import PolicyDenied
from oracle.jobs.terms import ZERO_ADDRESS
from oracle.node.config import APPROVALS, NodeConfig

NEW_FAMILY, BUDGET_OVER, UNKNOWN_REQUESTER = APPROVALS
_COMMENT = re.compile(rb"//[^\n]*|/\*.*?(?:\*/|\Z)", re.S)
_ARGUMENTS = re.compile(rb"\([^()]*\)")
_DEEPEST = 64


class Passage(StrEnum):
    """Whether a gate lets a job through. ``WAIT``: it cannot say yet, or waits for somebody's word."""

    PASS = "pass"
    WAIT = "wait"
    DENY = "deny"


class Stage(StrEnum):
    """When a gate can first say no: before the job is accepted, or once it was simulated."""

    ACCEPTANCE = "acceptance"
    SUBMISSION = "submission"


@dataclass(frozen=True)
class GateResult:
    """What one gate says. ``code`` is the stable reason, at most 31 ASCII characters; ``needed`` is what would pass."""

    gate: str
    passage: Passage
    code: str
    observed: str
    needed: str
    stage: Stage = Stage.ACCEPTANCE

    def as_dict(self) -> dict[str, str]:
        """JSON form."""
        return {
            "gate": self.gate,
            "passage": str(self.passage),
            "code": self.code,
            "observed": self.observed,
            "needed": self.needed,
        }


@dataclass(frozen=True)
class Gates:
    """The policy: the stricter of the operator's and the job's for each gate. ``None``: not asked for.

    Amounts in wei; ``max_baseline_distance`` is the distance beyond shot noise.
    """

    require_simulation: bool
    max_baseline_distance: float | None
    max_runs_per_day: int | None
    max_runs_per_requester: int | None
    approvals: frozenset[str]
    approval_budget: int
    require_promotion: bool
    require_validation: bool
    max_qubits: int
    max_gates: int
    max_shots: int

    @classmethod
    def of(cls, config: NodeConfig, spec: Mapping[str, Any]) -> Gates:
        """Those of an operator for a job with this spec."""
        promotion = spec["promotion"]
        asked = promotion["max_baseline_distance"]
        signal = spec["validation"].get("min_polarisation")  # what is further away would be rejected, bond and all
        limits = [
            config.gate_baseline_distance,
            None if asked == "auto" else asked,
            None if signal is None else 1 - signal,
        ]
        return cls(
            require_simulation=config.gate_simulation or promotion["require_simulation"],
            max_baseline_distance=min((limit for limit in limits if limit is not None), default=None),
            max_runs_per_day=config.gate_runs_per_day,
            max_runs_per_requester=config.gate_runs_per_requester,
            approvals=config.gate_approvals,
            approval_budget=config.gate_approval_budget_wei,
            require_promotion=promotion["require_manual_approval"],
            require_validation=config.gate_validation,
            max_qubits=config.gate_max_qubits,
            max_gates=config.gate_max_gates,
            max_shots=config.gate_max_shots,
        )


@dataclass(frozen=True)
class Facts:
    """What is known of a job. Amounts in wei, queue times in minutes; ``None``: not known yet, or not asked for.

    ``cap`` is what of the locked budget can be charged; ``runs_today`` and ``requester_runs_today`` do not count this
    job. ``approval`` is the operator's word on this job. ``hardware`` alone needs a simulation, a queue, a promotion.
    """

    hardware: bool
    qubits: int
    gates: int
    shots: int
    charge: int
    cap: int
    budget: int
    validation_method: str
    parties: tuple[str, ...]
    runs_today: int = 0
    requester_runs_today: int = 0
    known_family: bool = False
    known_requester: bool = False
    approval: bool | None = None
    queue_minutes: float | None = None
    queue_tolerance: int | None = None
    simulated: bool = False
    baseline_distance: float | None = None
    promoted: bool = False


class AwaitsApproval(PolicyDenied):
    """Not denied: somebody has to say yes first."""


def evaluate(gates: Gates, facts: Facts) -> list[GateResult]:
    """Every gate's word, in the order in which they are asked."""
    asked = [*_ALWAYS, *(_HARDWARE if facts.hardware else ())]
    return [gate(gates, facts) for gate in asked]


def require(results: Iterable[GateResult], stage: Stage) -> None:
    """Raise for the first gate that denies, else for the first that waits.

    At :attr:`Stage.ACCEPTANCE` only the gates of that stage count. Raises :class:`PolicyDenied` and
    :class:`AwaitsApproval`, both naming the gate, what was observed and what would pass.
    """
    due = [result for result in results if stage == Stage.SUBMISSION or result.stage == Stage.ACCEPTANCE]
    for passage, kind in ((Passage.DENY, PolicyDenied), (Passage.WAIT, AwaitsApproval)):
        for result in due:
            if result.passage == passage:
                raise kind(result.code, result.observed, field=f"gate {result.gate}", remedy=result.needed)


def circuit_family(source: bytes) -> str:
    """Hex digest of what a circuit has in common with its like: its text without layout, comments and angles."""
    text = _COMMENT.sub(b"", source)
    for _ in range(_DEEPEST):
        shorter = _ARGUMENTS.sub(b"", text)
        if shorter == text:
            break
        text = shorter
    return hashlib.sha256(b"".join(text.split())).hexdigest()


# ---------------------------------------------------------------------------------------------- the gates


def _budget(gates: Gates, facts: Facts) -> GateResult:
    found, needed = format_wei(facts.cap), f"lock at least {format_wei(facts.charge)} beyond the validator's fee"
    return _either("locked_budget", facts.charge <= facts.cap, "budget_too_low", f"{found} can be charged", needed)


def _separation(gates: Gates, facts: Facts) -> GateResult:
    named = [party for party in facts.parties if party != ZERO_ADDRESS]
    same = sorted({party for party in named if named.count(party) > 1})
    observed = f"{same[0]} has several parts" if same else "requester, oracle, validator and arbiter differ"
    return _either(
        "separate_keys", not same, "same_key", observed, "let requester, oracle, validator and arbiter differ"
    )


def _limits(gates: Gates, facts: Facts) -> GateResult:
    figures = (
        (facts.qubits, gates.max_qubits, "qubits"),
        (facts.gates, gates.max_gates, "gates"),
        (facts.shots, gates.max_shots, "shots"),
    )
    for found, most, what in figures:
        if found > most:
            return _either("circuit_limits", False, f"too_many_{what}", f"{found} {what}", f"at most {most} {what}")
    return _either("circuit_limits", True, "circuit_limits", "within the limits", "")


def _validation(gates: Gates, facts: Facts) -> GateResult:
    passes = not gates.require_validation or facts.validation_method != "none"
    observed = f"the validation method is {facts.validation_method}"
    return _either("validation_criteria", passes, "no_validation", observed, "name a method in validation.method")


def _per_day(gates: Gates, facts: Facts) -> GateResult:
    return _quota("runs_per_day", gates.max_runs_per_day, facts.runs_today, "runs_exhausted", "runs")


def _per_requester(gates: Gates, facts: Facts) -> GateResult:
    found = facts.requester_runs_today
    return _quota("requester_quota", gates.max_runs_per_requester, found, "quota_exhausted", "runs of this requester")


def _quota(gate: str, most: int | None, found: int, code: str, what: str) -> GateResult:
    passes = most is None or found < most
    return _either(gate, passes, code, f"{found} {what} in 24 hours", f"fewer than {most} in 24 hours: try again later")


def _approval(gates: Gates, facts: Facts) -> GateResult:
    """One word of the operator opens whatever asked for it."""
    asking = {
        NEW_FAMILY: not facts.known_family,
        BUDGET_OVER: facts.budget > gates.approval_budget,
        UNKNOWN_REQUESTER: not facts.known_requester,
    }
    causes = [name for name in APPROVALS if name in gates.approvals and asking[name]]
    observed = ", ".join(causes) or "nothing asks for one"
    needed = "`qscrow oracle approve`"
    if facts.approval is False:
        return GateResult(
            "manual_approval", Passage.DENY, "not_approved", f"the operator denied it ({observed})", needed
        )
    passage = Passage.WAIT if causes and facts.approval is None else Passage.PASS
    return GateResult("manual_approval", passage, "awaits_approval", observed, needed)


def _queue(gates: Gates, facts: Facts) -> GateResult:
    if facts.queue_tolerance is None:
        return _either("queue_tolerance", True, "queue_too_long", "the spec takes any queue", "")
    if facts.queue_minutes is None:
        needed = "wait until the provider tells its queue"
        return GateResult("queue_tolerance", Passage.WAIT, "queue_unknown", "the queue is not known", needed)
    passes = facts.queue_minutes < facts.queue_tolerance
    observed = f"the queue takes {facts.queue_minutes:g} min, the spec takes {facts.queue_tolerance}"
    return _either("queue_tolerance", passes, "queue_too_long", observed, "a higher constraints.max_queue_minutes")


def _simulation(gates: Gates, facts: Facts) -> GateResult:
    passage = Passage.PASS if facts.simulated or not gates.require_simulation else Passage.WAIT
    observed = "simulated" if facts.simulated else "not simulated"
    needed = "a finished simulation"
    return GateResult("simulation", passage, "not_simulated", observed, needed, Stage.SUBMISSION)


def _distance(gates: Gates, facts: Facts) -> GateResult:
    most, found = gates.max_baseline_distance, facts.baseline_distance
    needed = f"a distance beyond shot noise below {most}"
    if most is None or found is None:
        passage = Passage.PASS if most is None else Passage.WAIT
        return GateResult("baseline_distance", passage, "baseline_unknown", "not known", needed, Stage.SUBMISSION)
    passes = found < most
    passage = Passage.PASS if passes else Passage.DENY
    observed = f"the distance beyond shot noise is {found:.4g}"
    return GateResult("baseline_distance", passage, "baseline_too_far", observed, needed, Stage.SUBMISSION)


def _promotion(gates: Gates, facts: Facts) -> GateResult:
    passage = Passage.PASS if facts.promoted or not gates.require_promotion else Passage.WAIT
    observed = "promoted" if facts.promoted else "not promoted by its requester"
    return GateResult("promotion", passage, "not_promoted", observed, "`qscrow promote`", Stage.SUBMISSION)


def _either(gate: str, passes: bool, code: str, observed: str, needed: str) -> GateResult:
    return GateResult(gate, Passage.PASS if passes else Passage.DENY, code, observed, needed)


_Gate = Callable[[Gates, Facts], GateResult]
_ALWAYS: tuple[_Gate, ...] = (_separation, _budget, _limits, _validation, _per_day, _per_requester, _approval)
_HARDWARE: tuple[_Gate, ...] = (_queue, _simulation, _distance, _promotion)
