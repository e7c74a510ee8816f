"""What a result holds for each circuit of its job, held against what the circuit document asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from oracle.circuits.instructions import Circuit, Part, read_work
from oracle.circuits.observables import Observable, bound
from oracle.circuits.run import RunRequest, RunResult
from oracle.jobs.errors import InputError, SealError
from oracle.requester.results import check_values
from oracle.validation.counts import Counts
from oracle.validation.estimates import Expected
from oracle.validator.findings import Wrong


def first_counts(document: Mapping[str, Any], spec: Mapping[str, Any]) -> Counts:
    """The counts of what ran first, whatever the method; raises :class:`Wrong` unless it is what was ordered.

    A document without its spec would not be held against it by
    :func:`~oracle.requester.results.check_result`, and could have any form.
    """
    shots = spec["quantum"]["shots"]
    if not document.get("spec"):
        raise Wrong("it does not say what was ordered")
    if document.get("shots") != shots:
        raise Wrong(f"{str(document.get('shots'))[:20]} shots were run, {shots} were ordered")
    try:
        return Counts.parse(document["counts"], shots=shots)
    except InputError as err:
        raise Wrong(str(err)) from err


def runs_of(document: Mapping[str, Any], parts: Sequence[Part]) -> list[Mapping[str, Any]]:
    """The entries of ``runs``, one for each of ``parts`` and in their order; for one plain circuit the document itself.

    Raises :class:`Wrong` if circuits are missing, too many, in another order or not counted, or if the document's head
    says something else than they.
    """
    runs = document.get("runs") or []
    if not runs and len(parts) == 1:
        return [document]
    if len(runs) != len(parts):
        raise Wrong(f"it has results of {len(runs) or 1} circuits, {len(parts)} were to run")
    for place, (run, part) in enumerate(zip(runs, parts, strict=True)):
        if (run.get("pub"), run.get("set")) != (part.pub, part.set):
            raise Wrong(f"result {place} is not of set {part.set} of PUB {part.pub}")
        if not part.observables and "counts" not in run:
            raise Wrong(f"result {place} has no counts")
    first = runs[0]["bases"][0] if runs[0].get("bases") else runs[0]
    if first.get("counts") != document["counts"]:
        raise Wrong("its counts are not those of its first circuit")
    return runs


def values_of(document: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], parts: Sequence[Part]) -> list[float]:
    """All expectation values in order, each worked out again from what was counted. Raises :class:`Wrong`."""
    values = []
    for place, (run, part) in enumerate(zip(runs, parts, strict=True)):
        try:
            check_values(run, part.observables, f"runs.{place}")
        except SealError as err:
            raise Wrong(str(err)) from err
        values += run["values"]
    if document.get("values") != values:
        raise Wrong("its values are not those of its circuits")
    return values


def expected_of(run: RunResult, parts: Sequence[Part]) -> list[Expected]:
    """What the values should be, by a run of one's own."""
    return [
        _expected(value, observable, run.shots)
        for found, part in zip(run.runs, parts, strict=True)
        for value, observable in zip(found["values"], part.observables, strict=True)
    ]


def asked_for(request: RunRequest) -> list[Circuit]:
    """The circuits that ``request`` runs, in order, with numbers for their parameters.

    Nothing is parsed but JSON. Raises :class:`~oracle.jobs.errors.CircuitRejected`.
    """
    request.lint()
    work = read_work(request.source, request.format, request.limits, request.observables)
    return [_filled(work.circuits[pub.circuit], values) for pub in work.pubs for values in pub.sets]


def _expected(value: float, observable: Observable, shots: int) -> Expected:
    centre = sum(coefficient for string, coefficient in observable if set(string) == {"I"})
    most = bound(tuple(term for term in observable if set(term[0]) != {"I"}))
    return Expected(min(max(value, centre - most), centre + most), most, centre, shots)


def _filled(circuit: Circuit, values: Sequence[float]) -> Circuit:
    if not circuit.parameters:
        return circuit
    bound_to = dict(zip(circuit.parameters, values, strict=True))
    return replace(circuit, instructions=list(_bound(circuit, bound_to)), parameters=())


def _bound(circuit: Circuit, values: Mapping[str, float]) -> Iterator[Any]:
    for name, wires, angles in circuit.instructions:
        yield [name, wires, [values[angle] if isinstance(angle, str) else angle for angle in angles]]
