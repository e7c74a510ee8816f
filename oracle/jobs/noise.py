"""The noise a spec may ask a simulator for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Noise:
    """Probabilities: ``one_qubit`` and ``two_qubit`` that what a gate leaves behind is replaced by the maximally mixed
    state of its qubits, E(ρ) = (1 - p) ρ + p tr(ρ) I/2ⁿ (Nielsen and Chuang, Quantum Computation and Quantum
    Information, §8.3.4); ``readout`` that a measured bit is recorded as the other one. False if all are 0."""

    one_qubit: float = 0.0
    two_qubit: float = 0.0
    readout: float = 0.0

    @classmethod
    def of_spec(cls, quantum: Mapping[str, Any]) -> Noise:
        """What the section ``quantum`` of a spec, or of a draft whose fields are checked, asks for."""
        return cls(**(quantum.get("noise") or {}))

    def __bool__(self) -> bool:
        return bool(self.one_qubit or self.two_qubit or self.readout)

    def __str__(self) -> str:
        return ", ".join(f"{name} {rate:g}" for name, rate in asdict(self).items() if rate) or "none"

    def as_dict(self) -> dict[str, float]:
        """As a spec and a result have it; empty without noise."""
        return asdict(self) if self else {}


NOISELESS = Noise()
