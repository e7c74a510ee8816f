"""Counts somebody else wrote, checked once and then worked with as arrays."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from oracle.jobs.canonical import canonical_bytes, digest
from oracle.jobs.errors import InputError

MAX_OUTCOMES = 2**20
MAX_SHOTS = 10**9
MAX_WIDTH = 10_000
_OUTCOME = re.compile(r"[01]+")


@dataclass(frozen=True, eq=False)
class Counts:
    """``outcomes`` are distinct bit strings of one width, sorted; ``numbers`` how often each was seen (int64, ≥ 1)."""

    outcomes: tuple[str, ...]
    numbers: np.ndarray

    @classmethod
    def parse(cls, counts: Any, *, shots: int | None = None, width: int | None = None, field: str = "counts") -> Counts:
        """Take ``{"0101": 12, …}``; spaces between registers do not count.

        ``shots`` and ``width`` are what they must add up to and be as wide as, where that is known. Raises
        :class:`InputError`.
        """
        if isinstance(counts, Counts):
            counts._check(shots, width, field)
            return counts
        if not isinstance(counts, Mapping) or not 0 < len(counts) <= MAX_OUTCOMES:
            raise InputError(f"is not a mapping of 1 to {MAX_OUTCOMES} outcomes", field=field)
        merged: dict[str, int] = {}
        for outcome, number in counts.items():
            _check_entry(outcome, number, field)
            bare = outcome.replace(" ", "")
            merged[bare] = merged.get(bare, 0) + number
        found = cls(tuple(sorted(merged)), np.array([merged[key] for key in sorted(merged)], dtype=np.int64))
        found._check(shots, width, field)
        return found

    @property
    def shots(self) -> int:
        """How many times the circuit was measured."""
        return int(self.numbers.sum())

    @property
    def width(self) -> int:
        """Bits per outcome."""
        return len(self.outcomes[0])

    def as_dict(self) -> dict[str, int]:
        """The counts as JSON carries them."""
        return {outcome: int(number) for outcome, number in zip(self.outcomes, self.numbers, strict=True)}

    def digest(self) -> str:
        """Hex sha-256 of the canonical counts: equal exactly for equal counts. Guessable, so never to be published."""
        return digest(canonical_bytes(self.as_dict())).hex()

    def repeat_chance(self) -> float:
        """At most how likely it is that another honest run of the same circuit gives exactly these counts.

        The multinomial probability at the observed frequencies, which of all make the counts likeliest.
        """
        numbers, shots = self.numbers.astype(float), self.shots
        log = math.lgamma(shots + 1) - sum(map(math.lgamma, numbers + 1)) + float(numbers @ np.log(numbers / shots))
        return math.exp(min(log, 0.0))

    def _check(self, shots: int | None, width: int | None, field: str) -> None:
        if set(map(len, self.outcomes)) != {self.width}:
            raise InputError("has outcomes of different widths", field=field)
        if not 0 < self.width <= MAX_WIDTH or (width is not None and self.width != width):
            raise InputError(f"has outcomes of {self.width} bits, not of {width or MAX_WIDTH}", field=field)
        if self.shots > MAX_SHOTS:
            raise InputError(f"adds up to {self.shots} shots, more than {MAX_SHOTS}", field=field)
        if shots is not None and self.shots != shots:
            raise InputError(f"adds up to {self.shots}, not to the {shots} shots", field=field)


def _check_entry(outcome: Any, number: Any, field: str) -> None:
    if not isinstance(outcome, str) or not _OUTCOME.fullmatch(outcome.replace(" ", "")):
        raise InputError(f"has the outcome {str(outcome)[:40]!r}, which is not a bit string", field=field)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number <= MAX_SHOTS:
        raise InputError(f"has a count that is not a whole number from 1 to {MAX_SHOTS}", field=field)
