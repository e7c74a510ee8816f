"""Expectation values from counts: the bases, the values and what their standard errors promise."""

from __future__ import annotations

import math
import random
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.observables import bases, bound, check_observables, estimate, parse_observables
from oracle.jobs.errors import CircuitRejected

LIMITS = CircuitLimits()
WIRES = 4
STRINGS = st.text("IXYZ", min_size=WIRES, max_size=WIRES)
OBSERVABLES = st.lists(
    st.dictionaries(STRINGS, st.floats(-2, 2), min_size=1, max_size=5)
    .filter(lambda terms: set(terms) != {"I" * WIRES})
    .map(lambda terms: list(map(list, terms.items()))),
    min_size=1,
    max_size=4,
).map(parse_observables)


@given(OBSERVABLES)
def test_bases__any_observables__measure_every_term_and_nothing_else(observables: Any) -> None:
    found = bases(observables, LIMITS)
    strings = {string for observable in observables for string, _ in observable}
    for string in strings:
        assert any(all(a in ("I", b) for a, b in zip(string, basis, strict=True)) for basis in found) or not found
    for basis in found:
        assert all(letter == "I" or any(s[n] == letter for s in strings) for n, letter in enumerate(basis))
    assert len(found) == len(set(found)) <= len(strings)


@given(OBSERVABLES)
def test_bases__any_observables__are_those_of_first_fit(observables: Any) -> None:
    """Written out: a string goes to the first basis that has no other letter anywhere. Both sides of a job find it."""
    found: list[str] = []
    for string in dict.fromkeys(string for observable in observables for string, _ in observable):
        pairs = [list(zip(string, basis, strict=True)) for basis in [*found, "I" * WIRES]]
        place = next(n for n, each in enumerate(pairs) if all("I" in pair or len(set(pair)) == 1 for pair in each))
        found[place : place + 1] = ["".join(max(pair, key="IXYZ".index) for pair in pairs[place])]
    assert bases(observables, LIMITS) == [basis for basis in found if set(basis) != {"I"}]


def test_estimate__thousands_of_observables_and_bases__is_done_in_one_pass_over_the_terms() -> None:
    """A spec of 1 MiB has room for many more; once each was held against each, which took a minute."""
    strings = ["".join(letters) for letters in product("XYZ", repeat=8)][:4_000]
    observables = parse_observables([[[string, 2.0]] for string in strings])
    names = bases(observables, CircuitLimits(circuits=4_000))

    values, errors = estimate(observables, [(name, {"0" * 7 + str(n % 2): 1}) for n, name in enumerate(names)])

    assert names == strings
    assert values == [2.0, -2.0] * 2_000
    assert errors == [0.0] * 4_000


def test_bases__terms_that_agree__share_one() -> None:
    assert bases(parse_observables([[["ZZI", 1], ["IZZ", 1], ["XXX", 1]], [["ZIZ", 2], ["IIX", 1]]]), LIMITS) == [
        "ZZZ",
        "XXX",
    ]


def test_bases__more_than_circuits_allowed__are_refused() -> None:
    every = [[["".join(letters), 1.0]] for letters in product("XYZ", repeat=3)]
    assert len(bases(parse_observables(every), CircuitLimits(circuits=27))) == 27
    with pytest.raises(CircuitRejected) as caught:
        bases(parse_observables(every), CircuitLimits(circuits=26))
    assert caught.value.code == "too_many_circuits"


def test_check_observables__terms_at_the_limit__are_taken_and_one_more_is_not() -> None:
    two = parse_observables([[["ZZ", 1.0], ["XX", 0.5]]])
    check_observables(two, 2, CircuitLimits(observable_terms=2))
    with pytest.raises(CircuitRejected) as caught:
        check_observables(two, 2, CircuitLimits(observable_terms=1))
    assert caught.value.code == "too_many_observables"


def test_check_observables__string_of_another_width__is_refused() -> None:
    with pytest.raises(CircuitRejected, match="3 qubits"):
        check_observables(parse_observables([[["ZZ", 1.0]]]), 3, LIMITS)


def test_estimate__known_counts__gives_mean_and_error_by_hand() -> None:
    observables = parse_observables([[["ZZ", 1.0], ["IZ", 0.5], ["XI", 2.0], ["II", -3.0]]])
    measured = [("ZZ", {"00": 60, "01": 40}), ("XI", {"0": 90, "1": 10})]
    values, errors = estimate(observables, measured)
    # In the first basis a shot gives 1.5 or -1.5, in the second 2 or -2.
    assert values == pytest.approx([(60 * 1.5 - 40 * 1.5) / 100 + 2 * 0.8 - 3])
    variance = 1.5**2 * (1 - 0.2**2) + 2**2 * (1 - 0.8**2)
    assert errors == pytest.approx([math.sqrt(variance / 100)])


def test_estimate__terms_of_one_basis__are_known_to_be_correlated() -> None:
    observables = parse_observables([[["ZI", 1.0], ["IZ", -1.0]]])
    assert estimate(observables, [("ZZ", {"00": 50, "11": 50})]) == ([0.0], [0.0])


@settings(max_examples=60, deadline=None)
@given(OBSERVABLES, st.integers(0, 2**32))
def test_estimate__many_shots_of_a_random_state__come_close_to_the_exact_values(observables: Any, seed: int) -> None:
    import numpy as np
    from qiskit.quantum_info import SparsePauliOp, random_statevector

    state = random_statevector(2**WIRES, seed=seed % 1000)
    rng = np.random.default_rng(seed)
    measured = []
    for basis in bases(observables, LIMITS):
        measured.append((basis, sampled(state, basis, 20_000, rng)))
    values, errors = estimate(observables, measured)
    for value, error, observable in zip(values, errors, observables, strict=True):
        exact = state.expectation_value(SparsePauliOp.from_list(list(observable))).real
        assert abs(value - exact) <= 6 * error + 20 * bound(observable) / 20_000
        assert abs(value) <= bound(observable) + 1e-9


def sampled(state: Any, basis: str, shots: int, rng: Any) -> dict[str, int]:
    """Counts of a measurement in ``basis``, from the state itself."""
    from qiskit import QuantumCircuit

    turn = QuantumCircuit(WIRES)
    qubits = [qubit for qubit in range(WIRES) if basis[-1 - qubit] != "I"]
    for qubit in qubits:
        if basis[-1 - qubit] == "Y":
            turn.sdg(qubit)
        if basis[-1 - qubit] != "Z":
            turn.h(qubit)
    odds = state.evolve(turn).probabilities_dict(qubits)
    numbers = rng.multinomial(shots, [p / sum(odds.values()) for p in odds.values()])
    return {key: int(number) for key, number in zip(odds, numbers, strict=True) if number}


def test_estimate__standard_errors__cover_the_truth_as_often_as_they_promise() -> None:
    rng = random.Random(5)
    observables = parse_observables([[["ZZ", 1.0], ["XI", 0.7]]])
    covered = 0
    for _ in range(400):
        ones = [sum(rng.random() < p for _ in range(200)) for p in (0.3, 0.8)]
        measured = [("ZZ", {"00": 200 - ones[0], "01": ones[0]}), ("XI", {"0": 200 - ones[1], "1": ones[1]})]
        values, errors = estimate(observables, measured)
        covered += abs(values[0] - (0.4 + 0.7 * -0.6)) <= 1.96 * errors[0]
    assert 370 <= covered <= 390  # 95 % of 400, three standard deviations either way are 367 and 393
