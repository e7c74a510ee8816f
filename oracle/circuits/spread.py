"""How many different outcomes a circuit may give, and how large a result that makes: known before it runs, so that
nobody accepts a job whose result cannot be delivered.

A bound comes from the gates alone. Where it is too much, a few shots say more: of outcomes that stand in a sample only
once there may be others (Good and Turing), of the rest there are none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from oracle.circuits.analysis import Analysis
from oracle.circuits.limits import CircuitLimits
from oracle.jobs.errors import CircuitRejected

# Of a sample: as many shots, in no more seconds than that, or there is none.
SAMPLE_SHOTS, SAMPLE_SECONDS = 2_000, 5.0
# An expectation value with its error, each up to 24 characters, in two places.
BYTES_PER_VALUE = 100
# As JSON, beside bits and numbers: the result, what it says of each circuit, an outcome in counts, a shot in memory.
_FIXED_BYTES, _BYTES_PER_RUN, _BYTES_PER_OUTCOME, _BYTES_PER_SHOT = 2_048, 512, 6, 4


def most_outcomes(analysis: Analysis, shots: int) -> int:
    """No more than this many different outcomes come of ``shots`` shots: every gate that is more than a permutation
    of bit strings at most doubles the ways through the circuit."""
    return min(shots, 2 ** min(analysis.outcome_bits, 60))


def likely_outcomes(counts: Mapping[str, int], shots: int) -> int:
    """How many different outcomes ``shots`` shots give at most, going by a sample: those in it, and as many more as
    its outcomes seen once announce, with three standard deviations on top."""
    sampled = sum(counts.values())
    once = sum(number == 1 for number in counts.values())
    fresh = min(1.0, (once + 3 * math.sqrt(once) + 3) / sampled)
    return min(shots, len(counts) + math.ceil((shots - sampled) * fresh))


def refuse_large(
    outcomes: Sequence[int],
    widths: Sequence[int],
    *,
    shots: int,
    limits: CircuitLimits,
    memory: bool = False,
    beside: int = 0,
) -> None:
    """Raise :class:`CircuitRejected` if one circuit may give more outcomes than allowed, or if all together make a
    result that cannot be delivered.

    ``outcomes`` and ``widths`` (in bits) have one entry for every circuit; with ``memory`` every shot is kept as well.
    ``beside`` are bytes of what is told beside counts.
    """
    remedy = "ask for fewer shots or observables, or measure fewer qubits"
    if max(outcomes) > limits.outcomes:
        text = f"it may give {max(outcomes)} distinct outcomes, the limit is {limits.outcomes}"
        raise CircuitRejected("too_many_outcomes", text, field="circuit", remedy=remedy)
    sizes = (_counts_bytes(number, width, shots) for number, width in zip(outcomes, widths, strict=True))
    each_shot = shots * sum(width + _BYTES_PER_SHOT for width in widths) if memory else 0
    size = _FIXED_BYTES + beside + len(widths) * _BYTES_PER_RUN + sum(sizes) + each_shot
    if size > limits.output_bytes:
        text = f"its result may take {size} bytes, the limit is {limits.output_bytes}"
        raise CircuitRejected("output_limit", text, field="circuit", remedy=remedy)


def _counts_bytes(outcomes: int, width: int, shots: int) -> int:
    return outcomes * (width + _BYTES_PER_OUTCOME + len(str(shots // max(1, outcomes) + 1)))
