"""Where a result says it comes from, and whether that is what was ordered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from oracle.jobs.documents import LOCAL
from oracle.node.config import LOCAL_CHAINS
from oracle.validation.verdict import HARDWARE, SIMULATOR, STAND_IN
from oracle.validator.findings import Wrong

HARDWARE_CHOICE = "ibm_quantum_backend"
# The engine that the IBM adapter names for IBM's own service; any other behind a provider is a stand-in.
HARDWARE_ENGINE = "hardware-claimed"
MOST_READOUT_ERROR = 0.05
"""What is believed of a stated readout error at the most: devices one would pay for publish 0.5 to 3 %. The oracle
writes it, and noise is what garbage looks like."""
_REFERENCE = ("name", "backend", "job_id")


def claim_of(document: Mapping[str, Any], spec: Mapping[str, Any], chain_id: int) -> str:
    """``simulator``, ``hardware-claimed`` or ``hardware-stand-in``.

    Raises :class:`Wrong` if the spec did not ask for it. A stand-in is taken for hardware that was asked for on chains
    for trying out alone.
    """
    claim = _claim(document)
    policy = spec["quantum"]["backend_policy"]
    played = claim == STAND_IN and chain_id not in LOCAL_CHAINS
    if (policy == "simulator" and claim != SIMULATOR) or (policy == "ibm" and (claim == SIMULATOR or played)):
        raise Wrong(f"the spec asks for {policy}, the result says it is {claim}")
    if claim != SIMULATOR and spec["quantum"].get("noise"):
        raise Wrong(f"the spec asks for noise on a simulator, the result says it is {claim}")
    allowed = spec["quantum"]["constraints"]["allowed_backends"]
    if claim != SIMULATOR and allowed and document["provider"]["backend"] not in allowed:
        raise Wrong(f"it ran on {document['provider']['backend'][:60]}, the spec allows {', '.join(allowed)}")
    return claim


def readout_error(document: Mapping[str, Any]) -> float:
    """The rate with which the device reads a bit wrongly, by the provider's calibration as the oracle reports it.

    That of the qubits used, else of the whole device, but at most :data:`MOST_READOUT_ERROR`; 0 if none is stated.
    """
    for scope in ("used", "device"):
        rate = _at(document, "provider", "calibration", scope, "readout_error")
        if isinstance(rate, (int, float)) and not isinstance(rate, bool) and math.isfinite(rate) and rate > 0:
            return min(float(rate), MOST_READOUT_ERROR)
    return 0.0


def _claim(document: Mapping[str, Any]) -> str:
    provider = document.get("provider")
    if provider is None or _at(provider, "name") == LOCAL:
        said = _at(document, "routing", "choice"), _at(document, "backend", "engine")
        if HARDWARE_CHOICE in said or HARDWARE_ENGINE in said:
            raise Wrong("it says it comes from hardware and names no provider of it")
        return SIMULATOR
    if not all(isinstance(_at(provider, name), str) and provider[name] for name in _REFERENCE):
        raise Wrong(f"its provider does not have {', '.join(_REFERENCE)}")
    return HARDWARE if _at(document, "backend", "engine") == HARDWARE_ENGINE else STAND_IN


def _at(document: Any, *path: str) -> Any:
    for name in path:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document
