"""Observables: sums of Pauli strings, the bases they are measured in, and their values from counts.

An observable is a list of terms ``[string, coefficient]``; a string has one of ``I X Y Z`` for every qubit, the last
letter for qubit 0, as in Qiskit. Terms that agree on every qubit where neither is ``I`` share a basis: one circuit,
measured once, serves them all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from oracle.circuits.limits import CircuitLimits
from oracle.jobs.errors import CircuitRejected

Observable = tuple[tuple[str, float], ...]
MAX_COEFFICIENT = 1e9
_PAULIS = re.compile(r"[IXYZ]+")


def parse_observables(document: Any) -> tuple[Observable, ...]:
    """The observables in a JSON list. Raises :class:`CircuitRejected` with code ``bad_observable``."""
    if not isinstance(document, (list, tuple)):
        _refuse("must be a list")
    return tuple(_parsed(place, terms) for place, terms in enumerate(document))


def check_observables(observables: Sequence[Observable], qubits: int, limits: CircuitLimits) -> None:
    """Raise :class:`CircuitRejected` unless every string has ``qubits`` letters and there are not too many."""
    terms = sum(map(len, observables))
    if terms > limits.observable_terms:
        text = f"they have {terms} terms, the limit is {limits.observable_terms}"
        raise CircuitRejected("too_many_observables", text, field="observables")
    for place, observable in enumerate(observables):
        for string, _ in observable:
            if len(string) != qubits:
                _refuse(f"number {place}: {string[:40]} has {len(string)} letters, the circuit {qubits} qubits")


def bases(observables: Sequence[Observable], limits: CircuitLimits) -> list[str]:
    """Strings to measure in, in order of need: every term fits at least one (greedy, first fit).

    Raises :class:`CircuitRejected` if they are more than a job may have circuits.
    """
    found: list[tuple[int, int]] = []
    strings = dict.fromkeys(string for observable in observables for string, _ in observable)
    for masks in map(_masks, strings):
        place = next((n for n, basis in enumerate(found) if _agree(basis, masks)), None)
        if place is None:
            found.append(masks)
        else:
            found[place] = (found[place][0] | masks[0], found[place][1] | masks[1])
        if len(found) > limits.circuits:
            text = f"they take more than {limits.circuits} bases to measure"
            raise CircuitRejected("too_many_circuits", text, field="observables")
    width = len(next(iter(strings)))
    return [_letters(masks, width) for masks in found if any(masks)]


def estimate(
    observables: Sequence[Observable], measured: Sequence[tuple[str, Mapping[str, int]]]
) -> tuple[list[float], list[float]]:
    """Values and standard errors of ``observables`` from the counts in each basis.

    A basis's outcomes have one bit for each letter but ``I``, in the order of the letters. In each basis an observable
    is one number per shot, the signed sum of the terms measured there; its value is the sum of those means, its
    standard error the root of the sum of their variances over the shots (terms of one basis are correlated, and that
    counts; bases are independent).
    """
    import numpy as np

    constants = [math.fsum(c for string, c in observable if _is_identity(string)) for observable in observables]
    values = np.array(constants, float)
    variances = np.zeros(len(observables))
    homes = _homes(observables, [basis for basis, _ in measured])
    for place, (basis, counts) in enumerate(measured):
        ones = np.frombuffer("".join(counts).encode(), np.uint8).reshape(len(counts), -1) == ord("1")
        numbers = np.fromiter(counts.values(), float, len(counts))
        shots = numbers.sum()
        columns = {qubit: n for n, qubit in enumerate(q for q, letter in enumerate(basis) if letter != "I")}
        for number, observable in enumerate(observables):
            signed = np.zeros(len(counts))
            for string, coefficient in observable:
                if homes.get(string) == place:
                    bits = [columns[qubit] for qubit, letter in enumerate(string) if letter != "I"]
                    signed += coefficient * (1 - 2.0 * (ones[:, bits].sum(axis=1) % 2))
            mean = numbers @ signed / shots
            values[number] += mean
            variances[number] += numbers @ (signed - mean) ** 2 / shots**2
    return values.tolist(), np.sqrt(variances).tolist()


def bound(observable: Observable) -> float:
    """No state gives ``observable`` a value beyond ± this: the sum of its coefficients' magnitudes."""
    return math.fsum(abs(coefficient) for _, coefficient in observable)


def _parsed(place: int, terms: Any) -> Observable:
    if not isinstance(terms, (list, tuple)) or not terms:
        _refuse(f"number {place} is not a list of terms")
    for term in terms:
        if not isinstance(term, (list, tuple)) or len(term) != 2:
            _refuse(f"number {place} has a term that is not [string, coefficient]")
        string, coefficient = term
        if not isinstance(string, str) or not _PAULIS.fullmatch(string):
            _refuse(f"number {place} has a term without a string of I, X, Y and Z")
        number = isinstance(coefficient, (int, float)) and not isinstance(coefficient, bool)
        if not number or not abs(coefficient) <= MAX_COEFFICIENT:
            _refuse(f"number {place} has a coefficient that is no number within ±{MAX_COEFFICIENT:g}")
    if all(_is_identity(string) for string, _ in terms):
        _refuse(f"number {place} measures no qubit")
    if len({string for string, _ in terms}) != len(terms):
        _refuse(f"number {place} has the same string twice")
    return tuple((string, float(coefficient)) for string, coefficient in terms)


def _homes(observables: Sequence[Observable], names: Sequence[str]) -> dict[str, int]:
    """The first basis that measures each string but identities."""
    masks = list(map(_masks, names))
    found = {}
    for string in {string for observable in observables for string, _ in observable if not _is_identity(string)}:
        wanted = _masks(string)
        found[string] = next(n for n, basis in enumerate(masks) if _covers(basis, wanted))
    return found


def _is_identity(string: str) -> bool:
    return set(string) == {"I"}


# A string as two numbers, one bit a letter: has it X or Y there, has it Z or Y. Comparing them is fast however long.
_X_BITS, _Z_BITS = str.maketrans("IXYZ", "0110"), str.maketrans("IXYZ", "0011")


def _masks(string: str) -> tuple[int, int]:
    return int(string.translate(_X_BITS), 2), int(string.translate(_Z_BITS), 2)


def _letters(masks: tuple[int, int], width: int) -> str:
    xs, zs = (f"{mask:0{width}b}" for mask in masks)
    return "".join(_LETTER[pair] for pair in zip(xs, zs, strict=True))


_LETTER = {("0", "0"): "I", ("1", "0"): "X", ("1", "1"): "Y", ("0", "1"): "Z"}


def _agree(one: tuple[int, int], other: tuple[int, int]) -> bool:
    both = (one[0] | one[1]) & (other[0] | other[1])
    return not both & ((one[0] ^ other[0]) | (one[1] ^ other[1]))


def _covers(basis: tuple[int, int], string: tuple[int, int]) -> bool:
    return _agree(basis, string) and not (string[0] | string[1]) & ~(basis[0] | basis[1])


def _refuse(message: str) -> NoReturn:
    raise CircuitRejected("bad_observable", message, field="observables", remedy='write [["ZZ", 1.0], ["XI", -0.5]]')
