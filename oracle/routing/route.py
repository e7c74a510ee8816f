"""The routing decision: which backend takes a circuit, with a reason for every candidate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

REVIEW = "reject_requires_review"


@dataclass(frozen=True)
class Candidate:
    """A backend on offer. ``kind`` is ``local_simulator`` or ``ibm_quantum_backend``; ``max_qubits`` its width."""

    name: str
    kind: str
    max_qubits: int


@dataclass(frozen=True)
class Decision:
    """``choice`` is the chosen backend's kind or :data:`REVIEW`, ``backend`` its name.

    ``reasons`` has one line per candidate, taken or not.
    """

    choice: str
    backend: str | None
    reasons: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The artefact stored with the result."""
        return {"choice": self.choice, "backend": self.backend, "reasons": self.reasons}


def route(spec: Mapping[str, Any], qubits: int, candidates: Iterable[Candidate]) -> Decision:
    """Choose the first candidate that the spec's policy and constraints allow; nothing is substituted silently."""
    reasons: dict[str, str] = {}
    chosen: Candidate | None = None
    for candidate in candidates:
        objection = _objection(spec, qubits, candidate)
        if objection:
            reasons[candidate.name] = objection
        elif chosen is None:
            chosen = candidate
            reasons[candidate.name] = f"taken: {qubits} qubits fit, and policy {_policy(spec)} allows it"
        else:
            reasons[candidate.name] = f"eligible, but {chosen.name} comes first"
    if chosen is None:
        return Decision(REVIEW, None, reasons)
    return Decision(chosen.kind, chosen.name, reasons)


def _objection(spec: Mapping[str, Any], qubits: int, candidate: Candidate) -> str:
    constraints = spec["quantum"]["constraints"]
    if candidate.kind == "local_simulator" and _policy(spec) == "ibm":
        return "the spec asks for IBM hardware only"
    if candidate.kind != "local_simulator" and _policy(spec) == "simulator":
        return "the spec asks for a simulator only"
    if constraints["allowed_backends"] and candidate.name not in constraints["allowed_backends"]:
        return "not among the spec's allowed_backends"
    if constraints["max_qubits"] is not None and qubits > constraints["max_qubits"]:
        return f"the circuit has {qubits} qubits, the spec allows {constraints['max_qubits']}"
    if qubits > candidate.max_qubits:
        return f"the circuit has {qubits} qubits, it takes {candidate.max_qubits}"
    return ""


def _policy(spec: Mapping[str, Any]) -> str:
    return spec["quantum"]["backend_policy"]
