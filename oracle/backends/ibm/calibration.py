"""What a device's calibration says about a run: the medians that a validator holds a result against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

_DEVICE, _USED = "device", "used"


def calibration(properties: Mapping[str, Any] | None, figures: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Median errors over the whole device and over what a circuit uses of it, from IBM's properties JSON.

    ``figures`` are those of :func:`oracle.backends.ibm.isa.figures`; without them there is no ``used``. The answer has
    ``at`` (when IBM calibrated) and for ``used`` and ``device`` each: ``readout_error``, ``single_qubit_error``
    (``sx``), ``two_qubit_error``, ``t1`` and ``t2`` in seconds. What IBM does not publish is missing; an edge that
    cannot be used counts for nothing.
    """
    if not properties:
        return {}
    everything = range(len(properties["qubits"]))
    scopes: list[tuple[str, Iterable[int], Iterable[int], set[tuple[int, ...]] | None]] = [
        (_DEVICE, everything, everything, None)
    ]
    if figures is not None:
        pairs = {tuple(sorted(pair)) for pair in figures["pairs"]}
        scopes.append((_USED, figures["active"], figures["measured"], pairs))
    facts: dict[str, Any] = {"at": str(properties.get("last_update_date", ""))[:40]}
    for scope, active, measured, among in scopes:
        values = {
            "readout_error": _of_qubits(properties, measured, "readout_error"),
            "single_qubit_error": _of_gates(properties, {(qubit,) for qubit in active}, only="sx"),
            "two_qubit_error": _of_gates(properties, among),
            "t1": _of_qubits(properties, active, "T1"),
            "t2": _of_qubits(properties, active, "T2"),
        }
        facts[scope] = {name: float(f"{median(each):.6g}") for name, each in values.items() if each}
    return facts


def success(properties: Mapping[str, Any], steps: Iterable[Any]) -> float:
    """The probability that none of a circuit's ``steps`` (:func:`oracle.backends.ibm.isa.walk`) goes wrong, if each
    does so by itself and as often as the calibration says: the product of 1 - error over its gates and measurements.

    Known as the estimated success probability (Nishio et al., "Extracting success from IBM's 20-qubit machines using
    error-aware compilation", 2020). Waiting and crosstalk are left out; an error that is not published counts as none.
    """
    gates = {
        (gate["gate"], tuple(gate["qubits"])): entry["value"]
        for gate in properties["gates"]
        for entry in gate["parameters"]
        if entry["name"] == "gate_error" and isinstance(entry["value"], (int, float))
    }
    product = 1.0
    for name, _, qubits, *_ in steps:
        if name == "measure":
            error = max(_of_qubits(properties, qubits, "readout_error"), default=0.0)
        else:
            error = gates.get((name, tuple(qubits)), gates.get((name, tuple(reversed(qubits))), 0.0))
        product *= 1.0 - min(1.0, max(0.0, error))
    return product


def _of_qubits(properties: Mapping[str, Any], qubits: Iterable[int], name: str) -> list[float]:
    return [
        _in_units(entry)
        for qubit in qubits
        for entry in properties["qubits"][qubit]
        if entry["name"] == name and isinstance(entry["value"], (int, float))
    ]


def _of_gates(
    properties: Mapping[str, Any], among: set[tuple[int, ...]] | None, only: str | None = None
) -> list[float]:
    """Errors below 1 (which stands for a broken gate) of the gates on ``among``, or of all on two qubits."""
    return [
        entry["value"]
        for gate in properties["gates"]
        if (len(gate["qubits"]) == 2 if among is None else tuple(sorted(gate["qubits"])) in among)
        and (gate["gate"] == only if only else gate["gate"] in ("cx", "cz", "ecr"))
        for entry in gate["parameters"]
        if entry["name"] == "gate_error" and isinstance(entry["value"], (int, float)) and entry["value"] < 1
    ]


def _in_units(entry: Mapping[str, Any]) -> float:
    scale = {"us": 1e-6, "ms": 1e-3, "ns": 1e-9, "s": 1.0}
    return entry["value"] * scale.get(entry.get("unit") or "", 1.0)
