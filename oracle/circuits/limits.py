"""What a circuit may cost a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from oracle.jobs.errors import InputError

MAX_SECONDS = 7 * 24 * 3600
MAX_VALUE = 2**53  # so that every limit survives JSON and, added to what a process has, a 63-bit rlimit


@dataclass(frozen=True)
class CircuitLimits:
    """Upper bounds, each with its own refusal. Sizes in bytes, times in seconds.

    Width alone is no cost: whether a circuit of so many qubits can run is a matter of its method's memory and time.
    ``expanded_gates`` counts after gate definitions and broadcasts are unfolded. ``memory_bytes`` is on top
    of what the warm worker process has already. ``outcomes`` bounds the distinct bit strings of one circuit,
    ``expression_terms`` the tokens of one angle, ``nesting`` both brackets and gates that are defined by
    gates. ``circuits`` counts what one job runs: parameter sets and measurement bases too. Statements, gates,
    ``parameters`` (angles) and shots are those of all these together. ``output_bytes`` leaves room in a sealed
    document of 1 MiB for the rest that a node writes.
    """

    source_bytes: int = 2**20
    qubits: int = 1_000
    clbits: int = 1_000
    registers: int = 256
    depth: int = 100_000
    statements: int = 100_000
    expanded_gates: int = 200_000
    gate_definitions: int = 200
    nesting: int = 64
    expression_terms: int = 64
    identifier_length: int = 64
    parameters: int = 300_000
    circuits: int = 100
    observable_terms: int = 1_000
    shots: int = 1_000_000
    outcomes: int = 65_536
    cpu_seconds: int = 60
    wall_seconds: int = 90
    memory_bytes: int = 6 * 2**30
    output_bytes: int = 512 * 2**10

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{value!r} is not a positive whole number", field=f"limits.{field.name}")
            bound = MAX_SECONDS if field.name.endswith("_seconds") else MAX_VALUE
            if value > bound:
                raise InputError(f"{value} is more than {bound}", field=f"limits.{field.name}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> CircuitLimits:
        """Defaults overlaid with ``values``. Raises :class:`InputError` for unknown names and unusable
        values."""
        known = {field.name for field in fields(cls)}
        for name in values:
            if name not in known:
                raise InputError("unknown limit", field=f"limits.{name}", remedy=f"known: {', '.join(sorted(known))}")
        return cls(**values)

    def as_dict(self) -> dict[str, int]:
        """All limits by name."""
        return asdict(self)
