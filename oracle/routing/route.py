"""The routing decision: which backend takes a circuit, with a reason for every candidate.

A decision depends on its arguments alone. Nothing is substituted: a candidate that the requester's constraints or the
operator's policy exclude is not taken, whatever else is on offer, and if none is left a person has to look.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from oracle.circuits.analysis import METHODS, QSIM, STATEVECTOR, STIM, Analysis, Forecast, choose, forecasts, size
from oracle.circuits.lint import MEMORY, LintReport
from oracle.circuits.run import named_methods
from oracle.circuits.spread import BYTES_PER_VALUE
from oracle.routing.candidates import IBM, LOCAL, MANAGED, NOT_OFFERED, Candidate, by_method

__all__ = ["IBM", "LOCAL", "MANAGED", "REVIEW", "Candidate", "Decision", "Policy", "Verdict", "needs_analysis", "route"]

REVIEW = "reject_requires_review"
TAKEN, LATER = "taken", "another_comes_first"
SILENT = frozenset({"no_answer", "closed"})
"""Codes of what may pass by itself."""
# Whatever it is, a circuit of so few qubits and gates runs in a moment, and its lint says enough, unless its result may
# be too large.
PLAIN_QUBITS, PLAIN_GATES, PLAIN_RESULT_BYTES = 16, 2_000, 2**18


@dataclass(frozen=True)
class Policy:
    """The operator's side. ``methods`` are the simulation methods allowed, ``hardware`` says whether jobs may go to
    IBM at all, ``max_price`` bounds what a run there may cost (0: the job's budget alone does), ``min_fidelity`` what
    has to be left of the state by the backend's two-qubit errors, from 0 to 1."""

    methods: tuple[str, ...] = METHODS
    hardware: bool = True
    max_price: int = 0
    min_fidelity: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """One candidate's outcome: a stable ``code``, :data:`TAKEN` and :data:`LATER` for those that are eligible, and a
    sentence with what was observed and what would pass. Estimates are ``None`` where nothing is known."""

    name: str
    kind: str
    backend: str
    method: str | None
    code: str
    text: str
    seconds: float | None = None
    memory_bytes: int | None = None
    queue_seconds: float = 0.0
    fidelity: float | None = None

    @property
    def eligible(self) -> bool:
        """Whether it could have been taken."""
        return self.code in (TAKEN, LATER)


@dataclass(frozen=True)
class Decision:
    """``choice`` is the chosen backend's kind or :data:`REVIEW`, ``backend`` its name, ``method`` how it simulates.

    ``verdicts`` has one entry per candidate, in their order, and ``reasons`` the sentence of each.
    """

    choice: str
    backend: str | None
    reasons: dict[str, str]
    method: str | None = None
    verdicts: tuple[Verdict, ...] = ()
    circuit: dict[str, Any] | None = None
    constraints: dict[str, Any] = field(default_factory=dict)

    @property
    def obstacle(self) -> str:
        """Why nothing was taken, as one code: what keeps a simulator from holding the state, which takes any circuit,
        or ``no_backend``."""
        states = (verdict.code for verdict in self.verdicts if verdict.method == STATEVECTOR)
        return next((code for code in states if code in ("too_much_memory", "too_slow")), "no_backend")

    @property
    def reason(self) -> str:
        """Why what was chosen was taken; empty if nothing was."""
        return next((verdict.text for verdict in self.verdicts if verdict.code == TAKEN), "")

    def as_dict(self) -> dict[str, Any]:
        """The artefact stored with the result: plain JSON."""
        return {
            "choice": self.choice,
            "backend": self.backend,
            "method": self.method,
            "reasons": self.reasons,
            "candidates": [asdict(verdict) for verdict in self.verdicts],
            "circuit": self.circuit,
            "constraints": self.constraints,
        }


def needs_analysis(spec: Mapping[str, Any], report: LintReport) -> bool:
    """Whether the lint's figures are too little to route a circuit by: it or its result is large, it may leave the
    simulators, it may only run by methods that its spec names, or noise multiplies what it takes."""
    quantum = spec["quantum"]
    if quantum["backend_policy"] != "simulator" or quantum.get("noise"):
        return True
    if _result_bytes(spec, report) > PLAIN_RESULT_BYTES:
        return True
    if named_methods(spec["quantum"]):
        return True
    return report.qubits > PLAIN_QUBITS or report.expanded_gates > PLAIN_GATES or report.dynamic


def _result_bytes(spec: Mapping[str, Any], report: LintReport) -> int:
    """No result is longer as JSON: every outcome occurs, and every shot and value is told if it has to be."""
    width, shots = max(report.qubits, report.clbits), spec["quantum"]["shots"]
    told = min(shots, 2 ** min(width, 60)) + (shots if spec["quantum"].get("result") == MEMORY else 0)
    return report.executions * told * (width + 14) + report.values * BYTES_PER_VALUE


def reproducible(spec: Mapping[str, Any]) -> bool:
    """Whether other people have to be able to repeat the spec's counts bit for bit: it fixes the seed, or its
    validation compares runs."""
    return spec["quantum"].get("seed") is not None or _validation(spec).get("method") in ("replay", "agreement")


def rehearsal(spec: Mapping[str, Any], circuit: Analysis, simulator: Candidate) -> str | None:
    """The method by which ``simulator`` can simulate a job that goes to hardware, ``None`` if by none: whatever its
    spec says of backends is about the run that counts."""
    constraints = {"max_qubits": None, "max_queue_minutes": None, "allowed_backends": []}
    quantum = {**spec["quantum"], "backend_policy": "simulator", "constraints": constraints}
    return route({**spec, "quantum": quantum}, circuit, [simulator]).method


def route(
    spec: Mapping[str, Any],
    circuit: Analysis | int,
    candidates: Iterable[Candidate],
    policy: Policy | None = None,
) -> Decision:
    """Choose for a circuit: simulators go before hardware, and of either the soonest result.

    ``circuit`` is its analysis, or its width alone; then simulators count as one candidate each and choose their
    method themselves. Names of candidates must differ. Where methods are weighed, engines that are not offered at all
    have their verdicts too, after the candidates'.
    """
    policy = policy or Policy()
    analysis = None if isinstance(circuit, int) else circuit
    offers = [each for candidate in candidates for each in _expanded(candidate, analysis)]
    judged = [_judged(spec, circuit, offer, policy) for offer in offers]
    ranked = sorted((verdict for verdict in judged if verdict.eligible), key=_rank)
    best = _preferred(spec, analysis, ranked, offers, policy)
    verdicts = (*(_placed(verdict, best) for verdict in judged), *_absent(offers))
    return Decision(
        choice=best.kind if best else REVIEW,
        backend=best.backend if best else None,
        method=best.method if best else None,
        reasons={verdict.name: verdict.text for verdict in verdicts},
        verdicts=verdicts,
        circuit=analysis.as_dict() if analysis else None,
        constraints=_constraints(spec, policy),
    )


def _absent(offers: Iterable[Candidate]) -> Iterator[Verdict]:
    """The engines beside the methods of a simulator that nobody has, if methods are weighed at all."""
    if any(offer.method for offer in offers):
        for name, why in NOT_OFFERED.items():
            yield Verdict(name, LOCAL, name, None, "not_offered", why)


def _expanded(candidate: Candidate, analysis: Analysis | None) -> list[Candidate]:
    if analysis is None or not candidate.is_simulator or candidate.method:
        return [candidate]
    return by_method(candidate)


def _judged(spec: Mapping[str, Any], circuit: Analysis | int, offer: Candidate, policy: Policy) -> Verdict:
    """The verdict on ``offer`` alone; if nothing speaks against it, :data:`LATER`."""
    analysis = None if isinstance(circuit, int) else circuit
    qubits = circuit if isinstance(circuit, int) else circuit.qubits
    shots = spec["quantum"].get("shots", 0)
    forecast = forecasts(analysis, shots)[offer.method] if analysis and offer.method else None
    fidelity = _fidelity(offer, analysis)
    code, text = _objection(spec, qubits, offer, policy)
    if not code and offer.is_simulator and forecast and analysis:
        code, text = _simulator_objection(spec, analysis, offer, policy, forecast)
    elif not code and not offer.is_simulator:
        code, text = _hardware_objection(spec, analysis, offer, policy, fidelity)
    return Verdict(
        name=offer.name,
        kind=offer.kind,
        backend=offer.backend,
        method=offer.method,
        code=code or LATER,
        text=text,
        seconds=_rounded(forecast.seconds) if forecast else None,
        memory_bytes=min(forecast.memory_bytes, 2**53 - 1) if forecast else None,
        queue_seconds=offer.queue_seconds,
        fidelity=None if fidelity is None else _rounded(fidelity),
    )


def _objection(spec: Mapping[str, Any], qubits: int, offer: Candidate, policy: Policy) -> tuple[str, str]:
    """What speaks against any kind of candidate."""
    constraints, wanted = spec["quantum"]["constraints"], spec["quantum"]["backend_policy"]
    allowed, most = constraints["allowed_backends"], constraints["max_qubits"]
    if offer.is_simulator and wanted == "ibm":
        return "hardware_only", f"the spec's backend_policy is {wanted}; ibm_or_simulator or simulator would pass"
    if not offer.is_simulator and wanted == "simulator":
        return "simulator_only", f"the spec's backend_policy is {wanted}; ibm or ibm_or_simulator would pass"
    if not offer.is_simulator and spec["quantum"].get("noise"):
        return "noise_is_simulated", "the spec asks for simulated noise, a device has its own; without it it would pass"
    if allowed and not {offer.name, offer.backend}.intersection(allowed):
        return (
            "backend_not_allowed",
            f"the spec allows {', '.join(allowed)} only; {offer.name} is not one",
        )
    if offer.silence:
        return "no_answer", f"nothing is known of it now: {offer.silence}"
    if most is not None and qubits > most:
        return "too_wide_for_spec", f"the circuit has {qubits} qubits, the spec's max_qubits is {most}"
    if qubits > offer.max_qubits:
        return "too_wide", f"the circuit has {qubits} qubits, at most {offer.max_qubits} would pass here"
    waits = constraints["max_queue_minutes"]
    if waits is not None and offer.queue_seconds > 60 * waits:
        minutes = math.ceil(offer.queue_seconds / 60)
        return "queue_too_long", f"the wait is about {minutes} min, the spec's max_queue_minutes is {waits}"
    return "", ""


def _simulator_objection(
    spec: Mapping[str, Any], analysis: Analysis, offer: Candidate, policy: Policy, forecast: Forecast
) -> tuple[str, str]:
    if forecast.method in offer.absent:
        return "not_offered", offer.absent[forecast.method]
    _, objections = _choice(spec, analysis, offer, policy.methods)
    code, text = objections[forecast.method]
    if not code and forecast.method in (STIM, QSIM) and spec["quantum"].get("result") == MEMORY:
        return "no_memory", "it keeps no shots in order; counts or expectation values would pass"
    most = min(offer.limits.cpu_seconds, offer.limits.wall_seconds)
    if not code and forecast.seconds > most:
        return "too_slow", f"would take about {_duration(forecast.seconds)}, a forecast of {_duration(most)} would pass"
    return code, text


def _choice(
    spec: Mapping[str, Any], analysis: Analysis, offer: Candidate, allowed: Collection[str]
) -> tuple[str, dict[str, tuple[str, str]]]:
    """What the simulator would choose among the methods ``allowed``, and what speaks against each."""
    return choose(
        analysis,
        spec["quantum"]["shots"],
        offer.limits,
        reproducible=reproducible(spec),
        allowed=allowed,
        insisted=named_methods(spec["quantum"]) is not None,
    )


def _hardware_objection(
    spec: Mapping[str, Any], analysis: Analysis | None, offer: Candidate, policy: Policy, fidelity: float | None
) -> tuple[str, str]:
    if not policy.hardware:
        return "hardware_not_offered", "the operator runs nothing on hardware; another oracle may"
    if not offer.operational:
        return "closed", "it takes no jobs now; once it is open it would pass"
    budget = int(spec.get("budget", {}).get("amount", 0))
    for bound, whose in ((budget, "job's budget"), (policy.max_price, "operator's max_price")):
        if bound and offer.price > bound:
            return "over_budget", f"a run costs {offer.price}, the {whose} is {bound}"
    if analysis and analysis.feed_forward and not offer.dynamic:
        return "feed_forward", "gates depend on outcomes, which it cannot do; a circuit without `if` would pass"
    if fidelity is not None and fidelity < policy.min_fidelity:
        return "too_noisy", (
            f"its two-qubit gates, at an error of {offer.two_qubit_error} each, leave a fidelity of {fidelity:.2g}; "
            f"{policy.min_fidelity:g} would pass"
        )
    return "", ""


def _fidelity(offer: Candidate, analysis: Analysis | None) -> float | None:
    """What the two-qubit gates leave of the state, as written: routing on the device only adds to them."""
    if analysis is None or offer.two_qubit_error is None:
        return None
    return max(0.0, 1 - offer.two_qubit_error) ** analysis.two_qubit_gates


def _rank(verdict: Verdict) -> tuple[int, float, float]:
    """Simulators before hardware, then the soonest result, then the least error."""
    return (verdict.kind == IBM, verdict.queue_seconds + (verdict.seconds or 0.0), -(verdict.fidelity or 0.0))


def _preferred(
    spec: Mapping[str, Any],
    analysis: Analysis | None,
    ranked: list[Verdict],
    offers: list[Candidate],
    policy: Policy,
) -> Verdict | None:
    """The first; among the methods of its simulator the one it would choose itself, which knows which are equals."""
    if not ranked or ranked[0].method is None or analysis is None:
        return ranked[0] if ranked else None
    first = ranked[0]
    same = {verdict.method: verdict for verdict in ranked if verdict.backend == first.backend}
    offer = next(offer for offer in offers if offer.name == first.name)
    method, _ = _choice(spec, analysis, offer, tuple(method for method in METHODS if method in same))
    return same.get(method, first)


def _placed(verdict: Verdict, best: Verdict | None) -> Verdict:
    """``verdict``, now that the best is known."""
    if not verdict.eligible or best is None:
        return verdict
    figures = _figures(verdict)
    if verdict.name == best.name:
        return Verdict(**{**asdict(verdict), "code": TAKEN, "text": f"taken: {figures}"})
    return Verdict(**{**asdict(verdict), "text": f"eligible ({figures}), but {best.name} comes first"})


def _figures(verdict: Verdict) -> str:
    parts = []
    if verdict.seconds is not None:
        parts.append(f"about {_duration(verdict.seconds)}")
    if verdict.memory_bytes is not None:
        parts.append(size(verdict.memory_bytes))
    if verdict.queue_seconds:
        parts.append(f"a wait of {_duration(verdict.queue_seconds)}")
    if verdict.fidelity is not None:
        parts.append(f"fidelity {verdict.fidelity:.2g}")
    return ", ".join(parts) or "the circuit fits and the spec allows it"


def _constraints(spec: Mapping[str, Any], policy: Policy) -> dict[str, Any]:
    quantum = spec["quantum"]
    return {
        "backend_policy": quantum["backend_policy"],
        **quantum["constraints"],
        "noise": quantum.get("noise"),
        "reproducible": reproducible(spec),
        "operator": {**asdict(policy), "methods": list(policy.methods), "max_price": str(policy.max_price)},
    }


def _validation(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    return spec.get("validation", {})


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h" if seconds < 1e7 else "years"


def _rounded(value: float) -> float:
    """Three digits: more is not known, and documents stay short. Canonical JSON takes no number beyond 2^53."""
    return min(float(f"{value:.3g}"), 1e12)
