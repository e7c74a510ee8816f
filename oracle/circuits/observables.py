"""Observables: sums of Pauli strings, the bases they are measured in, and their values from counts.

An observable is a list of terms ``[string, coefficient]``; a string has one of ``I X Y Z`` for every qubit, the last
letter for qubit 0, as in Qiskit. Terms that agree on every qubit where neither is ``I`` share a basis: one circuit,
measured once, serves them all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import and_
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
    found: list[dict[int, str]] = []
    holders = _Holders()
    strings = dict.fromkeys(string for observable in observables for string, _ in observable)
    for letters in map(_letters, strings):
        place = holders.first_to_agree(letters)
        if place == len(found):
            found.append({})
        if len(found) > limits.circuits:
            text = f"they take more than {limits.circuits} bases to measure"
            raise CircuitRejected("too_many_circuits", text, field="observables")
        holders.add(place, letters)
        found[place] |= letters
    qubits = range(len(next(iter(strings))))
    return ["".join(basis.get(qubit, "I") for qubit in qubits) for basis in found if basis]


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
    for (basis, counts), terms in zip(measured, homes, strict=True):
        letters = np.frombuffer("".join(counts).encode(), np.uint8).reshape(len(counts), -1)
        ones = np.ascontiguousarray(letters.T) == ord("1")
        numbers = np.fromiter(counts.values(), float, len(counts))
        shots = numbers.sum()
        columns = {qubit: n for n, qubit in enumerate(q for q, letter in enumerate(basis) if letter != "I")}
        for number, measured_here in terms.items():
            signed = np.zeros(len(counts))
            for string, coefficient in measured_here:
                odd = np.logical_xor.reduce(ones[[columns[qubit] for qubit in _letters(string)]])
                signed += np.where(odd, -coefficient, coefficient)
            mean = (numbers * signed).sum() / shots  # no matrix product: its threads wait longer than so little takes
            values[number] += mean
            variances[number] += (numbers * (signed - mean) ** 2).sum() / shots**2
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


def _homes(observables: Sequence[Observable], names: Sequence[str]) -> list[dict[int, list[tuple[str, float]]]]:
    """For each basis, by number of the observable, the terms it is the first to measure; identities nowhere."""
    holders = _Holders()
    for place, name in enumerate(names):
        holders.add(place, _letters(name))
    homes: list[dict[int, list[tuple[str, float]]]] = [{} for _ in names]
    for number, observable in enumerate(observables):
        for string, coefficient in observable:
            if letters := _letters(string):
                home = homes[holders.first_to_have(letters)]
                home.setdefault(number, []).append((string, coefficient))
    return homes


def _is_identity(string: str) -> bool:
    return set(string) == {"I"}


def _letters(string: str) -> dict[int, str]:
    """The letters but ``I``, by their place from the left."""
    return {place: letter for place, letter in enumerate(string) if letter != "I"}


class _Holders:
    """Which bases have a letter at a place, as a number with one bit for each basis: a string is held against
    thousands of bases in one step a letter."""

    def __init__(self) -> None:
        self._bases: dict[tuple[int, str], int] = {}

    def add(self, basis: int, letters: Mapping[int, str]) -> None:
        """Basis number ``basis`` has these letters, too."""
        for letter in letters.items():
            self._bases[letter] = self._bases.get(letter, 0) | 1 << basis

    def first_to_agree(self, letters: Mapping[int, str]) -> int:
        """The first basis that has no other letter at any of these places; the next new one if all have."""
        others = 0
        for place, letter in letters.items():
            for other in _OTHERS[letter]:
                others |= self._bases.get((place, other), 0)
        return _lowest(~others)

    def first_to_have(self, letters: Mapping[int, str]) -> int:
        """The first basis that has all of these letters; there must be one."""
        return _lowest(reduce(and_, (self._bases[letter] for letter in letters.items())))


_OTHERS = {"X": "YZ", "Y": "XZ", "Z": "XY"}


def _lowest(bits: int) -> int:
    """The place of the lowest bit that is set."""
    return (bits & -bits).bit_length() - 1


def _refuse(message: str) -> NoReturn:
    raise CircuitRejected("bad_observable", message, field="observables", remedy='write [["ZZ", 1.0], ["XI", -0.5]]')
