"""What a circuit may cost a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from oracle.jobs.errors import InputError


@dataclass(frozen=True)
class CircuitLimits:
    """Upper bounds, each with its own refusal. Sizes in bytes, times in seconds.

    ``expanded_gates`` counts after gate definitions and broadcasts are unfolded. ``memory_bytes`` is on top of what the
    warm worker process has already. ``outcomes`` bounds the distinct bit strings in a result.
    """

    source_bytes: int = 2**20
    qubits: int = 28
    clbits: int = 64
    registers: int = 256
    depth: int = 100_000
    statements: int = 100_000
    expanded_gates: int = 200_000
    gate_definitions: int = 200
    nesting: int = 64
    identifier_length: int = 64
    shots: int = 1_000_000
    outcomes: int = 65_536
    cpu_seconds: int = 60
    wall_seconds: int = 90
    memory_bytes: int = 6 * 2**30
    output_bytes: int = 8 * 2**20

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
                raise InputError(f"{value!r} is not a positive whole number", field=f"limits.{field.name}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> CircuitLimits:
        """Defaults overlaid with ``values``. Raises :class:`InputError` for unknown names and unusable values."""
        known = {field.name for field in fields(cls)}
        for name in values:
            if name not in known:
                raise InputError("unknown limit", field=f"limits.{name}", remedy=f"known: {', '.join(sorted(known))}")
        return cls(**values)

    def as_dict(self) -> dict[str, int]:
        """All limits by name."""
        return asdict(self)
