"""What a validator says about a result: a verdict, the checks it rests on, and what it does not show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from oracle.jobs.canonical import canonical_bytes
from oracle.jobs.errors import InputError

DOCUMENT_TYPE = "qscrow.validation"
VERSION = 1
MOST_CHECKS = 64
# A stand-in is a simulator that takes a device's place, noise and all, and says so.
SIMULATOR, STAND_IN, HARDWARE = "simulator", "hardware-stand-in", "hardware-claimed"


class Outcome(StrEnum):
    """What a check or a whole validation comes to. A ``flag`` passes every test, but a person should look."""

    ACCEPT = "accept"
    FLAG = "flag"
    INCONCLUSIVE = "inconclusive"
    REJECT = "reject"


_GRAVITY = (Outcome.ACCEPT, Outcome.FLAG, Outcome.INCONCLUSIVE, Outcome.REJECT)

# Per method: what an acceptance shows, and what it leaves open. Nothing may be claimed beyond these lines.
MEANING: dict[str, tuple[str, str]] = {
    "none": ("the result is well formed", "no property of its figures was tested"),
    "distribution": (
        "the counts are consistent with the baseline",
        "this does not prove who or what produced them: samples from any simulation of the circuit pass as well",
    ),
    "marginals": (
        "single bits and pairs of bits behave as in the baseline",
        "correlations of three bits and more were not looked at, nor who or what produced the counts",
    ),
    "xeb": (
        "the outcomes are as heavy as the circuit's own",
        "a high cross-entropy score is not a proof of the whole distribution, nor of hardware",
    ),
    "replay": (
        "running the job again gave the same counts, bit for bit",
        "this shows the counts are right, not which machine produced them",
    ),
    "canary": (
        "the hidden circuits with known answers came back with those answers",
        "the real circuits were not looked at, and an oracle that simulates all of them passes",
    ),
    "agreement": (
        "a majority of the oracles report the same distribution",
        "oracles that collude, or share one simulator, agree as well",
    ),
    "expectation": (
        "the value follows from the counts and lies within its tolerance",
        "this does not prove who or what produced the counts",
    ),
    "optimization": (
        "the best value comes with its run and is consistent with it",
        "this does not show that the optimum was found",
    ),
    "benchmark": (
        "everything another person needs to repeat the benchmark is there",
        "completeness was checked, not the figures themselves",
    ),
}


@dataclass(frozen=True)
class Check:
    """One test: its ``outcome`` (``None``: for information only), why in one line, the statistic and its bound.

    What does not belong on a line becomes a space: a reason may quote what an oracle wrote.
    """

    name: str
    outcome: Outcome | None
    reason: str
    statistic: float | None = None
    bound: float | None = None

    def __post_init__(self) -> None:
        for name in ("name", "reason"):
            text = "".join(c if c.isprintable() else " " for c in getattr(self, name))
            object.__setattr__(self, name, text)

    def as_dict(self) -> dict[str, Any]:
        """JSON form; numbers to six digits, so that the last bits of an addition do not change a digest."""
        return {
            "name": self.name,
            "outcome": None if self.outcome is None else str(self.outcome),
            "reason": self.reason,
            "statistic": _rounded(self.statistic),
            "bound": _rounded(self.bound),
        }


@dataclass(frozen=True)
class Verdict:
    """The checks of one validation and what they were made with.

    ``confidence`` is the probability that an honest result passes all of them; ``support`` the number of outcomes
    the baseline allows (``None`` without one); ``thresholds`` whatever a repeat needs. ``claim`` is
    ``hardware-claimed`` for a result said to come from hardware, which no test on counts can prove,
    ``hardware-stand-in`` for one from a simulated device, else ``simulator``.
    ``subject`` says which result this is about (job reference, digests): without it a report fits any result.
    """

    method: str
    checks: tuple[Check, ...]
    shots: int
    confidence: float | None = None
    support: int | None = None
    claim: str = SIMULATOR
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    subject: Mapping[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """The gravest outcome among the checks; without any that decides, inconclusive."""
        decided = [check.outcome for check in self.checks if check.outcome is not None]
        return max(decided, key=_GRAVITY.index, default=Outcome.INCONCLUSIVE)

    @property
    def attests(self) -> bool | None:
        """What a validator signs: true to accept, false to reject, ``None`` for silence, which leaves it to the terms.

        A flag is for a person to look at within the challenge period, and so is not signed.
        """
        return {Outcome.ACCEPT: True, Outcome.REJECT: False}.get(self.outcome)

    @property
    def reasons(self) -> tuple[str, ...]:
        """One line per check that decided the outcome; of all checks if none could."""
        return tuple(check.reason for check in self.checks if check.outcome == self.outcome) or tuple(
            check.reason for check in self.checks
        )

    @property
    def statement(self) -> str:
        """The verdict in a sentence that says no more than was shown."""
        shows, leaves_open = MEANING[self.method]
        level = f" at {100 * self.confidence:g} % confidence" if self.confidence else ""
        if self.outcome == Outcome.REJECT:
            return f"rejected{level}: {'; '.join(self.reasons)}"
        if self.outcome == Outcome.INCONCLUSIVE:
            return f"inconclusive: {'; '.join(self.reasons) or 'no check could decide'}"
        odd = f", but look at this: {'; '.join(self.reasons)}" if self.outcome == Outcome.FLAG else ""
        return f"{shows}{level}{odd}; {leaves_open}"

    def as_document(self) -> dict[str, Any]:
        """The validation report: plain JSON for :func:`oracle.jobs.canonical.canonical_bytes`."""
        return {
            "type": DOCUMENT_TYPE,
            "version": VERSION,
            "verdict": str(self.outcome),
            "method": self.method,
            "claim": self.claim,
            "subject": dict(self.subject),
            "confidence": self.confidence,
            "shots": self.shots,
            "support": self.support,
            "thresholds": {
                name: _rounded(value) if isinstance(value, float) else value for name, value in self.thresholds.items()
            },
            "checks": [check.as_dict() for check in self.checks],
            "statement": self.statement,
        }

    def as_bytes(self) -> bytes:
        """The report as canonical JSON: the bytes to pin, whose digest the attestation carries."""
        return canonical_bytes(self.as_document())

    def as_text(self) -> str:
        """The report for a person: a head line, one line per check, the statement."""
        lines = [f"{str(self.outcome).upper()} by {self.method} ({self.claim}, {self.shots} shots{self._size()})"]
        for check in self.checks:
            mark = "note" if check.outcome is None else str(check.outcome)
            lines.append(f"  {mark:<12} {check.name}: {check.reason}{_figures(check)}")
        return "\n".join([*lines, f"  {self.statement}"])

    def _size(self) -> str:
        return "" if self.support is None else f", {self.support} possible outcomes"


def condensed(checks: Sequence[Check]) -> tuple[Check, ...]:
    """``checks`` if they are few, else the gravest of them and a count of the others: for a report people can read."""
    if len(checks) <= MOST_CHECKS:
        return tuple(checks)
    grave = sorted(range(len(checks)), key=lambda place: (-_grade(checks[place]), place))[: MOST_CHECKS - 1]
    rest = [check for place, check in enumerate(checks) if place not in set(grave)]
    passed = sum(check.outcome == Outcome.ACCEPT for check in rest)
    others = Check("others", None, f"{len(rest)} more checks, of which {passed} passed")
    return (*(checks[place] for place in sorted(grave)), others)


def parse_verdict(document: Any) -> Verdict:
    """The verdict in a report somebody else wrote. Raises :class:`InputError` unless it is one, and consistent."""
    try:
        if (document["type"], document["version"]) != (DOCUMENT_TYPE, VERSION):
            raise InputError(f"is not a version {VERSION} {DOCUMENT_TYPE} document", field="type")
        verdict = Verdict(
            method=document["method"],
            checks=tuple(_parsed_check(check) for check in document["checks"]),
            shots=document["shots"],
            confidence=document["confidence"],
            support=document["support"],
            claim=document["claim"],
            thresholds=document["thresholds"],
            subject=document["subject"],
        )
        written = verdict.as_document()
        if verdict.claim not in (SIMULATOR, STAND_IN, HARDWARE) or not all(
            type(number) is int and number >= 0 for number in (verdict.shots, verdict.support or 0)
        ):
            raise InputError("is not a validation report (claim, shots or support)", field="report")
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise InputError(f"is not a validation report ({type(err).__name__})", field="report") from None
    if written != document:
        odd = next((name for name in written if written[name] != document.get(name)), "fields")
        raise InputError("does not follow from the rest of the report", field=f"report.{odd}")
    return verdict


def _parsed_check(check: Any) -> Check:
    outcome = None if check["outcome"] is None else Outcome(check["outcome"])
    return Check(check["name"], outcome, check["reason"], check["statistic"], check["bound"])


def _grade(check: Check) -> int:
    return -1 if check.outcome is None else _GRAVITY.index(check.outcome)


def _rounded(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")


def _figures(check: Check) -> str:
    parts = [
        f"{name} {value:.4g}"
        for name, value in (("statistic", check.statistic), ("bound", check.bound))
        if value is not None
    ]
    return f" ({', '.join(parts)})" if parts else ""
