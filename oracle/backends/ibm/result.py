"""The result of a run at IBM: what every run has, and what only a provider can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import EXPECTATION, MEMORY
from oracle.circuits.observables import estimate, parse_observables
from oracle.circuits.run import RunResult
from oracle.jobs.errors import BackendUnavailable

HARDWARE = "hardware-claimed"
METHOD = "device"
STAND_IN, NOISY = "ibm-stand-in", "ibm-fake-backend"


@dataclass(frozen=True)
class HardwareResult(RunResult):
    """A :class:`RunResult` with ``provider``: ``name``, ``endpoint``, ``backend``, ``job_id``, ``private``,
    ``attempts``, ``calibration`` (see :func:`oracle.backends.ibm.calibration.calibration`), ``metrics`` (timestamps,
    seconds charged), ``estimated_seconds`` and for every circuit ``isa`` (operations, depth and seconds per shot of
    what ran, and the physical qubits).

    A sandboxed process cannot claim one: :meth:`RunResult.from_untrusted` knows no ``provider``. ``engine`` is
    ``hardware-claimed`` for IBM's own service alone. ``seed`` is the one asked for; hardware has none.
    """

    provider: dict[str, Any] = field(default_factory=dict)


def measurements(outcomes: Any, note: Mapping[str, Any], limits: CircuitLimits) -> list[dict[str, Any]]:
    """``counts`` (and ``memory``, if asked for) of every circuit, cut to the bits that count.

    Raises :class:`BackendUnavailable` for an answer that is not one to what ``note`` says was asked.
    """
    try:
        pairs = zip(outcomes, note["pieces"], strict=True)
        return [_measurement(outcome, piece, note, limits) for outcome, piece in pairs]
    except (TypeError, ValueError, KeyError, AttributeError) as err:
        raise BackendUnavailable(f"IBM's answer cannot be used: {err}") from None


def runs(measured: Sequence[Mapping[str, Any]], note: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of :attr:`RunResult.runs` for several circuits, memory or expectation values."""
    groups: dict[tuple[int, int], list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for piece, found in zip(note["pieces"], measured, strict=True):
        groups.setdefault((piece["pub"], piece["set"]), []).append((piece, found))
    entries = []
    for ((pub, number), group), observables in zip(groups.items(), note["observables"], strict=True):
        place = {"pub": pub, "set": number, "seed": note["seed"], "method": METHOD}
        entries.append({**place, "transpiled_digest": group[0][0]["digest"], **_told(group, observables, note)})
    return entries


def _told(group: Sequence[Any], observables: Any, note: Mapping[str, Any]) -> dict[str, Any]:
    if note["result"] != EXPECTATION:
        return dict(group[0][1])
    pairs = [(piece["basis"], found["counts"]) for piece, found in group]
    values, errors = estimate(parse_observables(observables), pairs)
    told = [{"basis": basis, "counts": counts} for basis, counts in pairs]
    return {"values": values, "standard_errors": errors, "bases": told}


def _measurement(
    outcome: Mapping[str, Any], piece: Mapping[str, Any], note: Mapping[str, Any], limits: CircuitLimits
) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for key, number in outcome["counts"].items():
        if len(key) != piece["bits"] or set(key) - {"0", "1"} or type(number) is not int or number < 1:
            raise ValueError("an outcome is not one")
        counts[key[: piece["width"]]] += number
    if counts.total() != note["shots"] or len(counts) > limits.outcomes:
        raise ValueError(f"it has {counts.total()} shots and {len(counts)} outcomes")
    if note["result"] != MEMORY:
        return {"counts": dict(counts)}
    if Counter(outcome["memory"]) != counts:
        raise ValueError("its shots are not those of its counts")
    return {"counts": dict(counts), "memory": list(outcome["memory"])}


def run_result(document: Mapping[str, Any]) -> RunResult:
    """The result in what :func:`dataclasses.asdict` made of one."""
    return (HardwareResult if "provider" in document else RunResult)(**document)
