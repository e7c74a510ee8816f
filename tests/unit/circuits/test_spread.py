"""How many outcomes there may be: never fewer than there are, and known before a job is accepted."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector

from oracle.circuits.analysis import ANALYSE, Analysis, analyse, hardest
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import RunRequest
from oracle.circuits.sandbox import Sandbox
from oracle.circuits.spread import likely_outcomes, most_outcomes, refuse_large
from oracle.jobs.errors import CircuitRejected

LIMITS = CircuitLimits()
TIGHT = CircuitLimits(output_bytes=100_000)
MANY_VALUES = {"result": "expectation", "observables": ((("ZZ", 1.0),),) * 1_000, "limits": TIGHT}
HEAD = 'OPENQASM 2.0; include "qelib1.inc"; '
ONE = ("h", "x", "y", "z", "s", "sdg", "t", "tdg", "sx", "sxdg")
TURNED = ("rx", "ry", "rz", "p")
TWO = ("cx", "cy", "cz", "swap", "ch", "csx", "ecr")
TWO_TURNED = ("crx", "cry", "crz", "cp", "rxx", "ryy", "rzz", "rzx")
THREE = ("ccx", "ccz", "cswap", "rccx")


def drawn(qubits: int, gates: int, seed: int) -> QuantumCircuit:
    dice, made = random.Random(seed), QuantumCircuit(qubits, qubits)
    for _ in range(gates):
        name = dice.choice(ONE + TURNED + (TWO + TWO_TURNED if qubits > 1 else ()) + (THREE if qubits > 2 else ()))
        wires = 1 if name in ONE + TURNED else 3 if name in THREE else 2
        angles = (dice.uniform(-3, 3),) if name in TURNED + TWO_TURNED else ()
        getattr(made, name)(*angles, *dice.sample(range(qubits), wires))
    return made


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(0, 14), st.integers(0, 2**16))
def test_most_outcomes__any_circuit__is_no_less_than_can_occur(qubits: int, gates: int, seed: int) -> None:
    circuit = drawn(qubits, gates, seed)
    possible = int(np.count_nonzero(Statevector(circuit).probabilities() > 1e-12))
    assert possible <= most_outcomes(analyse(circuit), 10**6) <= 2**qubits


def test_most_outcomes__wide_state_of_few_branches__is_small() -> None:
    ghz = QuantumCircuit(900, 900)
    ghz.h(0)
    ghz.cx(range(899), range(1, 900))
    assert (most_outcomes(analyse(ghz), 4_000), most_outcomes(analyse(ghz), 1)) == (2, 1)


@pytest.mark.parametrize("kinds", [1, 40, 3_000, 10**9])
def test_likely_outcomes__evenly_spread__is_no_less_than_there_are(kinds: int) -> None:
    dice = np.random.default_rng(kinds)
    for _ in range(20):
        drawn = dice.integers(kinds, size=20_000)
        names, numbers = np.unique(drawn[:2_000], return_counts=True)
        sample = {str(name): int(number) for name, number in zip(names, numbers, strict=True)}
        assert len(np.unique(drawn)) <= likely_outcomes(sample, 20_000) <= 20_000


def test_likely_outcomes__one_for_certain__stays_few() -> None:
    assert likely_outcomes({"1": 2_000}, 100_000) < 200


def test_refuse_large__exactly_as_much_as_allowed__passes() -> None:
    refuse_large([100], [1_000], shots=100, limits=CircuitLimits(output_bytes=110_000))
    for changes in ({"output_bytes": 100_000}, {"outcomes": 99}):
        with pytest.raises(CircuitRejected):
            refuse_large([100], [1_000], shots=100, limits=CircuitLimits(**changes))


def test_hardest__several_circuits__is_the_slowest_and_counts_all() -> None:
    small, large = analyse(drawn(3, 5, 1)), analyse(drawn(6, 200, 2))
    found = hardest([small, large, small], 1_000, LIMITS)
    assert (found.gates, found.qubits) == (large.gates, large.qubits)
    assert 1 < found.repeats < 3
    assert Analysis.from_untrusted(found.as_dict()) == found


def test_hardest__a_quicker_circuit_is_wider__has_its_width() -> None:
    wide, slow = analyse(QuantumCircuit(300, 300)), analyse(drawn(6, 200, 2))
    found = hardest([slow, wide], 1_000, LIMITS)
    assert found == replace(slow, qubits=300, repeats=found.repeats)


@pytest.mark.parametrize("repeats", [0.5, -1, float("nan"), float("inf"), "2"])
def test_from_untrusted__odd_repeats__are_rejected(repeats: Any) -> None:
    with pytest.raises(CircuitRejected):
        Analysis.from_untrusted({**analyse(drawn(2, 2, 1)).as_dict(), "repeats": repeats})


def scrambled(qubits: int) -> str:
    partners = ((n, (7 * n + 3) % qubits) for n in range(0, qubits - 1, 2))
    pairs = "".join(f"cx q[{a}],q[{b}];" for a, b in partners if a != b)
    return f"{HEAD}qreg q[{qubits}]; creg c[{qubits}]; h q; {pairs} s q; h q; {pairs} measure q -> c;"


def hidden(qubits: int) -> str:
    """Bernstein and Vazirani's: two gates on every qubit may branch, and one outcome comes of it."""
    marks = "".join(f"cx q[{n}],q[{qubits - 1}];" for n in range(0, qubits - 1, 3))
    return f"{HEAD}qreg q[{qubits}]; creg c[{qubits}]; x q[{qubits - 1}]; h q; {marks} h q; measure q -> c;"


def spread(qubits: int) -> str:
    return f"{HEAD}qreg q[{qubits}]; creg c[{qubits}]; h q; t q; measure q -> c;"


def analysed(sandbox: Sandbox, source: str, shots: int, **fields: Any) -> Analysis:
    format = "qscrow-json" if source.startswith("{") else "openqasm2"
    request = RunRequest(source.encode(), format, shots, 1, fields.pop("limits", LIMITS), ANALYSE, **fields)
    return sandbox.submit(request).result(120)


@pytest.mark.parametrize(
    ("source", "shots"),
    [(hidden(1_000), 100_000), (scrambled(1_000), 400), (spread(16), 15_000), (spread(10), 100_000)],
    ids=["one outcome", "few shots", "less wide", "narrow"],
)
def test_analysis__result_that_can_be_delivered__passes(sandbox: Sandbox, source: str, shots: int) -> None:
    assert analysed(sandbox, source, shots).gates > 0


@pytest.mark.parametrize(
    ("source", "shots", "fields", "code"),
    [
        (scrambled(1_000), 1_024, {}, "output_limit"),
        (spread(16), 40_000, {}, "output_limit"),
        (hidden(1_000), 1_024, {"result": "memory"}, "output_limit"),
        (spread(20), 100_000, {}, "too_many_outcomes"),
        (
            json.dumps({"circuits": [{"format": "openqasm2", "source": spread(14)}] * 5}),
            10_000, {}, "output_limit",
        ),
        (spread(2), 100, MANY_VALUES, "output_limit"),
    ],
    ids=["wide", "many shots", "every shot", "outcomes", "several circuits", "many values"],
)  # fmt: skip
def test_analysis__result_too_large_to_deliver__is_refused_before_a_run(
    sandbox: Sandbox, source: str, shots: int, fields: dict[str, Any], code: str
) -> None:
    with pytest.raises(CircuitRejected) as caught:
        analysed(sandbox, source, shots, **fields)
    assert caught.value.code == code
    assert "fewer shots" in str(caught.value)
