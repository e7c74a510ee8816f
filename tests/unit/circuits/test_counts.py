"""Counts against exact distributions: the examples that ship, and circuits drawn at random.

The test is a chi-square with a bound of one in a million, at fixed seeds, so it fails for wrong counts and
not by chance; outcomes that cannot happen must not happen.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from scipy.stats import chi2

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.load import load
from oracle.circuits.run import RunResult
from oracle.jobs.errors import CircuitRejected

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
Run = Callable[..., RunResult]
IMPOSSIBLE = 1e-10


def example(name: str) -> tuple[bytes, str]:
    source = (EXAMPLES / f"{name}.qasm").read_bytes()
    return source, "openqasm3" if b"OPENQASM 3" in source else "openqasm2"


def exact(source: bytes, format: str) -> dict[str, float]:
    """Probabilities of a circuit that measures every qubit into the classical bit of its number, at its
    end."""
    from qiskit.quantum_info import Statevector

    circuit = load(source, format, CircuitLimits())
    circuit.remove_final_measurements()
    return Statevector(circuit).probabilities_dict()


def p_value(counts: dict[str, int], expected: dict[str, float]) -> float:
    """Chi-square goodness of fit; outcomes expected less than five times are pooled."""
    shots = sum(counts.values())
    cells = [(counts.get(key, 0), shots * p) for key, p in expected.items() if shots * p >= 5]
    rare = (shots - sum(seen for seen, _ in cells), shots - sum(wanted for _, wanted in cells))
    if rare[1] > 0.5:
        cells.append(rare)
    statistic = sum((seen - wanted) ** 2 / wanted for seen, wanted in cells)
    return float(chi2.sf(statistic, max(len(cells) - 1, 1)))


def assert_fits(counts: dict[str, int], expected: dict[str, float]) -> None:
    assert not [key for key in counts if expected.get(key, 0) < IMPOSSIBLE]
    assert p_value(counts, expected) > 1e-6


@pytest.mark.parametrize("name", ["ghz", "grover", "qft", "vqe_ansatz"])
def test_example__counts__fit_the_exact_distribution(run: Run, name: str) -> None:
    source, format = example(name)
    assert_fits(run(source, format, shots=20_000, seed=11).counts, exact(source, format))


def test_example_ghz__counts__all_or_nothing_and_half_each(run: Run) -> None:
    counts = run(*example("ghz"), shots=4000).counts
    assert set(counts) == {"00000", "11111"}
    assert abs(counts["00000"] - 2000) < 5 * 32  # five standard deviations


def test_example_bernstein_vazirani__counts__are_the_secret(run: Run) -> None:
    assert run(*example("bernstein_vazirani"), shots=1000).counts == {"101101": 1000}


def test_example_grover__counts__find_what_is_marked(run: Run) -> None:
    counts = run(*example("grover"), shots=4000).counts
    assert max(counts, key=counts.__getitem__) == "101"
    assert abs(counts["101"] / 4000 - 0.945) < 0.02


def test_example_qft__counts__are_the_frequency(run: Run) -> None:
    assert run(*example("qft"), shots=1000).counts == {"0101": 1000}


def test_example_vqe_ansatz__counts__lead_with_what_its_header_says(run: Run) -> None:
    counts = run(*example("vqe_ansatz"), shots=20_000).counts
    assert sorted(counts, key=counts.__getitem__, reverse=True)[:2] == ["0010", "0011"]
    assert abs(counts["0010"] / 20_000 - 0.2825) < 0.02
    assert abs(counts["0011"] / 20_000 - 0.1206) < 0.02


def test_example_too_wide__run__is_refused_for_its_memory(run: Run) -> None:
    with pytest.raises(CircuitRejected) as caught:
        run(*example("too_wide"))
    assert caught.value.code == "too_much_memory"
    assert "40" in caught.value.message and "16 TiB" in caught.value.message


def test_examples__every_one__says_first_what_to_expect() -> None:
    for path in EXAMPLES.glob("*.qasm"):
        assert path.read_text().startswith("// "), path.name


ONE = ("h", "x", "y", "z", "s", "sdg", "t", "tdg", "rx", "ry", "rz", "u1", "u2", "u3")
TWO = ("cx", "cz", "swap", "crz", "ch", "cu1")
ANGLES = {"rx": 1, "ry": 1, "rz": 1, "u1": 1, "u2": 2, "u3": 3, "crz": 1, "cu1": 1}
CLIFFORD = ("h", "x", "y", "z", "s", "sdg"), ("cx", "cz", "swap")


def drawn(seed: int, qubits: int, gates: int, ones: tuple[str, ...] = ONE, twos: tuple[str, ...] = TWO) -> bytes:
    rng = random.Random(seed)
    lines = ["OPENQASM 2.0;", 'include "qelib1.inc";', f"qreg q[{qubits}];", f"creg c[{qubits}];"]
    for _ in range(gates):
        name = rng.choice(ones if rng.random() < 0.6 else twos)
        angles = ",".join(f"{rng.uniform(-7, 7):.12f}" for _ in range(ANGLES.get(name, 0)))
        places = rng.sample(range(qubits), 2 if name in twos else 1)
        operands = ",".join(f"q[{place}]" for place in places)
        lines.append(f"{name}{f'({angles})' if angles else ''} {operands};")
    return "\n".join([*lines, "measure q -> c;"]).encode()


@pytest.mark.parametrize("seed", range(6))
def test_random_circuit__counts__fit_the_exact_distribution(run: Run, seed: int) -> None:
    source = drawn(seed, qubits=2 + seed % 4, gates=30)
    result = run(source, "openqasm2", shots=20_000, seed=seed)
    assert result.method == "statevector"
    assert_fits(result.counts, exact(source, "openqasm2"))


@pytest.mark.parametrize("seed", range(3))
def test_random_clifford_circuit__counts__fit_the_exact_distribution(run: Run, seed: int) -> None:
    source = drawn(seed, 4, 25, *CLIFFORD)
    result = run(source, "openqasm2", shots=20_000, seed=seed)
    assert result.method == "stabilizer"
    assert_fits(result.counts, exact(source, "openqasm2"))


def test_p_value__counts_of_another_circuit__are_found_out(run: Run) -> None:
    source = drawn(1, 3, 30)
    counts = run(source, "openqasm2", shots=20_000).counts
    assert p_value({key[::-1]: number for key, number in counts.items()}, exact(source, "openqasm2")) < 1e-6
    assert p_value(counts, exact(drawn(2, 3, 30), "openqasm2")) < 1e-6
