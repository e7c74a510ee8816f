"""Running a draft's circuit on the requester's own machine, before any money moves."""

from __future__ import annotations

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import RunRequest, RunResult
from oracle.jobs.errors import InputError
from oracle.jobs.spec import DEFAULTS
from oracle.requester.draft import Draft


def simulate(draft: Draft, *, shots: int | None = None, seed: int | None = None) -> RunResult:
    """Run the circuit on Aer in the same sandbox an oracle uses; ``shots`` and ``seed`` overrule the draft's.

    Raises :class:`InputError` for unusable numbers, :class:`~oracle.jobs.errors.CircuitRejected` for a circuit that
    a node with default limits would refuse as well.
    """
    from oracle.backends.aer import AerBackend
    from oracle.circuits.sandbox import Sandbox

    quantum = {**DEFAULTS["quantum"], **draft.fields["quantum"]}
    shots = quantum["shots"] if shots is None else shots
    if shots < 1:
        raise InputError(f"{shots} is not a positive number", field="shots")
    seed = quantum["seed"] if seed is None else seed
    request = RunRequest(draft.circuit, draft.format, shots, seed, CircuitLimits())
    backend = AerBackend(Sandbox(1))
    try:
        return backend.result(backend.submit(request, "simulate"))
    finally:
        backend.close()
