"""Running a draft's circuit on the requester's own machine, before any money moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import RunRequest, RunResult
from oracle.jobs.errors import CircuitRejected, InputError
from oracle.jobs.spec import DEFAULTS
from oracle.requester.draft import Draft, check_fields

if TYPE_CHECKING:
    from oracle.backends.aer import AerBackend
    from oracle.routing.route import Candidate, Decision

LIMITS = CircuitLimits()


def with_noise(draft: Draft, noise: Mapping[str, float]) -> Draft:
    """``draft`` with ``noise`` instead of its own, to be run here: what it says of hardware and validation need not go
    with it. Rates left out are 0; with none at all there is no noise. Raises :class:`InputError`."""
    quantum = {**draft.fields["quantum"], "noise": dict(noise) or None}
    here = {"quantum": {**quantum, "backend_policy": "simulator"}, "validation": {}}
    check_fields({**draft.fields, **here})
    return replace(draft, fields={**draft.fields, "quantum": quantum})


def simulate(draft: Draft, *, shots: int | None = None, seed: int | None = None) -> RunResult:
    """Run the circuit in the same sandbox an oracle uses, by the method that the router chooses; ``shots`` and
    ``seed`` overrule the draft's. The draft's backend_policy does not matter here.

    Raises :class:`InputError` for unusable numbers, :class:`~oracle.jobs.errors.CircuitRejected` for a circuit that
    no simulator can take, with the reason of each.
    """
    request = _request(draft, _spec(draft, shots, seed))
    with _backend() as backend:
        return backend.result(backend.submit(request, "simulate"))


def explain(
    draft: Draft, *, shots: int | None = None, seed: int | None = None, hardware: tuple[Candidate, ...] = ()
) -> Decision:
    """Where the draft's circuit may run and why, without running it: this machine's simulators, and ``hardware``.

    Raises as :func:`simulate` does, but a circuit that nothing can take is a decision.
    """
    from oracle.routing.route import route

    spec = _spec(draft, shots, seed)
    with _backend() as backend:
        analysis = backend.analyse(_request(draft, spec))
        return route(spec, analysis, [backend.candidate(), *hardware])


@contextmanager
def _backend() -> Iterator[AerBackend]:
    """One worker with all the cores."""
    from oracle.backends.aer import AerBackend
    from oracle.backends.select import cores
    from oracle.circuits.sandbox import Sandbox

    backend = AerBackend(Sandbox(1), LIMITS, threads=cores())
    try:
        yield backend
    finally:
        backend.close()


def _spec(draft: Draft, shots: int | None, seed: int | None) -> dict[str, Any]:
    """As much of the draft's spec as the router reads."""
    quantum = {**DEFAULTS["quantum"], **draft.fields["quantum"]}
    quantum["constraints"] = {**DEFAULTS["quantum"]["constraints"], **(quantum["constraints"] or {})}
    quantum["shots"] = quantum["shots"] if shots is None else shots
    quantum["seed"] = quantum["seed"] if seed is None else seed
    if quantum["shots"] < 1:
        raise InputError(f"{quantum['shots']} is not a positive number", field="shots")
    return {"quantum": quantum, "validation": {**DEFAULTS["validation"], **(draft.fields.get("validation") or {})}}


def _request(draft: Draft, spec: dict[str, Any]) -> RunRequest:
    from oracle.circuits.analysis import AUTOMATIC, REPRODUCIBLE
    from oracle.routing.route import reproducible

    quantum = spec["quantum"]
    if draft.lint.qubits > LIMITS.qubits:
        raise CircuitRejected(
            "too_many_qubits", f"it has {draft.lint.qubits} qubits, the limit is {LIMITS.qubits}", field="circuit"
        )
    request = RunRequest.of_spec(draft.circuit, quantum, quantum["seed"], LIMITS)
    return replace(request, method=REPRODUCIBLE if reproducible(spec) else AUTOMATIC)
