"""What a circuit's counts are compared with: exact probabilities, or the counts of a trusted simulation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from oracle.jobs.errors import InputError
from oracle.validation.counts import MAX_OUTCOMES, Counts

DOCUMENT_TYPE = "qscrow.baseline"
VERSION = 1
# Up to here exact probabilities are kept for every bit string (8 MiB), which readout errors need.
DENSE_WIDTH = 20
_WIDEST_DENSE = 28
# Below this a probability is the rounding error of a zero.
ZERO = 1e-12
_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Baseline:
    """``probabilities`` by bit string: read as a number if ``outcomes`` is ``None``, else in the order of ``outcomes``.

    ``shots`` is ``None`` for exact probabilities, else the number of shots they were estimated from. Bit strings
    that are not among ``outcomes`` have probability 0, or were never seen.
    """

    width: int
    probabilities: np.ndarray
    outcomes: tuple[str, ...] | None = None
    shots: int | None = None

    @classmethod
    def exact(cls, probabilities: Mapping[str, float] | np.ndarray) -> Baseline:
        """From bit strings to probabilities, or an array of 2^width of them. Raises :class:`InputError`."""
        if isinstance(probabilities, Mapping):
            return cls._from_mapping(probabilities)
        values = np.asarray(probabilities, dtype=float)
        width = max(len(values), 1).bit_length() - 1
        if values.ndim != 1 or len(values) != 2**width or not 0 < width <= _WIDEST_DENSE:
            raise InputError("is not an array of 2^width probabilities", field="baseline")
        return cls(width, _normalised(values))

    @classmethod
    def sampled(cls, counts: Any) -> Baseline:
        """From the counts of a trusted simulation. Raises :class:`InputError`."""
        known = Counts.parse(counts, field="baseline")
        return cls(known.width, known.numbers / known.shots, known.outcomes, known.shots)

    @classmethod
    def parse(cls, document: Any) -> Baseline:
        """From a baseline document: ``type``, ``version`` and either ``probabilities`` or ``counts``.

        Raises :class:`InputError`.
        """
        if not isinstance(document, Mapping) or (document.get("type"), document.get("version")) != (
            DOCUMENT_TYPE,
            VERSION,
        ):
            raise InputError(f"is not a version {VERSION} {DOCUMENT_TYPE} document", field="baseline")
        kinds = {"probabilities": cls.exact, "counts": cls.sampled}
        given = [name for name in kinds if name in document]
        if len(given) != 1 or not isinstance(document[given[0]], Mapping):
            raise InputError("must have either probabilities or counts", field="baseline")
        return kinds[given[0]](document[given[0]])

    @property
    def size(self) -> float:
        """2^width: how many bit strings there are (from 1 000 bits on, as many as a float carries)."""
        return 2.0 ** min(self.width, 1_000)

    @property
    def support(self) -> int:
        """How many bit strings can occur (or were seen)."""
        return int(np.count_nonzero(self.probabilities > ZERO))

    @property
    def unseen(self) -> float:
        """About how much probability a sampled baseline has missed: Good and Turing's share of outcomes seen once."""
        if self.shots is None:
            return 0.0
        return float(np.count_nonzero(np.rint(self.probabilities * self.shots) == 1)) / self.shots

    def dense(self) -> Baseline:
        """The same with a probability for every bit string, if it is narrow enough for that."""
        if self.outcomes is None or self.width > DENSE_WIDTH:
            return self
        values = np.zeros(2**self.width)
        values[[int(outcome, 2) for outcome in self.outcomes]] = self.probabilities
        return Baseline(self.width, values, None, self.shots)

    def locate(self, counts: Counts) -> np.ndarray:
        """Where each of the counts' outcomes stands among the probabilities; -1 for those that stand nowhere.

        Raises :class:`InputError` for another width.
        """
        if counts.width != self.width:
            raise InputError(f"has outcomes of {counts.width} bits, the baseline of {self.width}", field="counts")
        if self.outcomes is None:
            return np.fromiter((int(outcome, 2) for outcome in counts.outcomes), np.int64, len(counts.outcomes))
        return np.fromiter(
            (self._places.get(outcome, -1) for outcome in counts.outcomes), np.int64, len(counts.outcomes)
        )

    def with_readout_error(self, rate: float) -> Baseline:
        """The probabilities after each bit was flipped with probability ``rate``.

        Raises :class:`InputError` for a baseline too wide to hold them all.
        """
        if rate == 0:
            return self
        if self.outcomes is not None:
            raise InputError(
                f"is too wide for readout errors ({self.width} bits)", field="readout_error", remedy="leave it at 0"
            )
        bits = self.probabilities.reshape((2,) * self.width)
        for axis in range(self.width):
            bits = (1 - rate) * bits + rate * np.flip(bits, axis)
        return Baseline(self.width, bits.reshape(-1), None, self.shots)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {outcome: place for place, outcome in enumerate(self.outcomes or ())}

    @classmethod
    def _from_mapping(cls, probabilities: Mapping[str, float]) -> Baseline:
        keys = sorted(probabilities)
        width = len(keys[0]) if keys and isinstance(keys[0], str) else 0
        if not 0 < len(keys) <= MAX_OUTCOMES or not all(_is_outcome(key, width) for key in keys):
            raise InputError("does not name bit strings of one width", field="baseline")
        if not all(_is_number(probabilities[key]) for key in keys):
            raise InputError("has a probability that is not a number", field="baseline")
        values = _normalised(np.array([probabilities[key] for key in keys], dtype=float))
        return cls(width, values, tuple(keys)).dense()


def _normalised(values: np.ndarray) -> np.ndarray:
    if not np.all(np.isfinite(values)) or values.min() < -ZERO or abs(values.sum() - 1) > _SUM_TOLERANCE:
        raise InputError("has probabilities that are not, or do not add up to 1", field="baseline")
    values = np.maximum(values, 0)
    return values / values.sum()


def _is_outcome(key: Any, width: int) -> bool:
    return isinstance(key, str) and len(key) == width and set(key) <= {"0", "1"}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
