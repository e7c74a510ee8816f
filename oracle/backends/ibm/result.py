"""The result of a run at IBM: what every run has, and what only a provider can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oracle.circuits.run import RunResult

HARDWARE = "hardware-claimed"
STAND_IN, NOISY = "ibm-stand-in", "ibm-fake-backend"


@dataclass(frozen=True)
class HardwareResult(RunResult):
    """A :class:`RunResult` with ``provider``: ``name``, ``endpoint``, ``backend``, ``job_id``, ``private``,
    ``attempts``, ``calibration`` (see :func:`oracle.backends.ibm.calibration.calibration`), ``metrics`` (timestamps,
    seconds charged) and ``isa`` (operations, depth and seconds per shot of what ran, the physical qubits).

    A sandboxed process cannot claim one: :meth:`RunResult.from_untrusted` knows no ``provider``. ``engine`` is
    ``hardware-claimed`` for IBM's own service alone. ``seed`` is the one asked for; hardware has none.
    """

    provider: dict[str, Any] = field(default_factory=dict)


def run_result(document: Mapping[str, Any]) -> RunResult:
    """The result in what :func:`dataclasses.asdict` made of one."""
    return (HardwareResult if "provider" in document else RunResult)(**document)
