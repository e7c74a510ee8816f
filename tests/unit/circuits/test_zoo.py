"""A zoo of small circuits on every simulation method we use, against exact distributions.

Expected distributions are worked out by hand or, for circuits that only measure at their end, by Qiskit's own state
vector. The test is a chi-square at a level of one in a million for the whole zoo, with fixed seeds; what cannot happen
must not happen.
"""

from __future__ import annotations

from math import cos, pi, sin

import pytest
from scipy.stats import chi2

from oracle.circuits.analysis import AUTOMATIC, METHODS
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.load import load
from oracle.circuits.run import RunRequest
from oracle.circuits.simulate import simulate
from oracle.jobs.errors import CircuitRejected

SHOTS = 4_000
FALSE_ALARMS = 1e-6  # of the whole zoo together
LIMITS = CircuitLimits()


def two(qubits: int, body: str, bits: int | None = None) -> tuple[str, str]:
    head = f'OPENQASM 2.0; include "qelib1.inc"; qreg q[{qubits}]; creg c[{bits or qubits}]; '
    return head + body, "openqasm2"


def three(qubits: int, bits: int, body: str) -> tuple[str, str]:
    return f'OPENQASM 3.0; include "stdgates.inc"; qubit[{qubits}] q; bit[{bits}] c; {body}', "openqasm3"


def qft(qubits: int) -> str:
    lines = []
    for target in reversed(range(qubits)):
        lines.append(f"h q[{target}];")
        lines += [f"cp(pi/{2 ** (target - control)}) q[{control}],q[{target}];" for control in range(target)]
    return " ".join(lines)


END = "measure q -> c;"
# Circuits that measure once, at the end.
STATIC = {
    "bell": two(2, f"h q[0]; cx q[0],q[1]; {END}"),
    "ghz": two(5, "h q[0]; " + "".join(f"cx q[{n}],q[{n + 1}]; " for n in range(4)) + END),
    "w": two(3, f"ry({2 * 0.9553166181245093}) q[0]; ch q[0],q[1]; cx q[1],q[2]; cx q[0],q[1]; x q[0]; {END}"),
    "bernstein-vazirani": two(4, f"x q[3]; h q; cx q[0],q[3]; cx q[2],q[3]; h q; {END}"),
    "deutsch-jozsa": two(3, f"x q[2]; h q; cx q[0],q[2]; cx q[1],q[2]; h q[0]; h q[1]; {END}"),
    "grover": two(2, f"h q; cz q[0],q[1]; h q; z q; cz q[0],q[1]; h q; {END}"),
    "qft of a product": two(4, f"ry(0.4) q[0]; ry(1.1) q[1]; rx(2) q[2]; h q[3]; {qft(4)} {END}"),
    "phase estimation": two(4, f"x q[3]; h q[0]; h q[1]; h q[2]; cp(pi/4) q[0],q[3]; cp(pi/2) q[1],q[3]; {END}"),
    "adder": two(4, f"h q[0]; x q[1]; ccx q[0],q[1],q[3]; cx q[0],q[1]; ccx q[1],q[2],q[3]; cx q[1],q[2]; {END}"),
    "swap test": two(3, f"ry(0.8) q[1]; ry(2) q[2]; h q[0]; cswap q[0],q[1],q[2]; h q[0]; {END}"),
    "ising": two(4, "h q; rzz(0.7) q[0],q[1]; rzz(0.7) q[1],q[2]; rzz(0.7) q[2],q[3]; "
                 f"rx(0.9) q[0]; rx(0.9) q[1]; rx(0.9) q[2]; rx(0.9) q[3]; {END}"),
    "toffoli phases": two(3, f"h q; t q; rccx q[0],q[1],q[2]; tdg q[1]; h q; {END}"),
    "own gates": two(2, f"gate f(a) x,y {{ ry(a) x; cu3(a,0.1,0.2) x,y; }} f(1.2) q[0],q[1]; f(0.4) q[1],q[0]; {END}"),
    "clifford mix": two(4, f"h q; s q[1]; cz q[0],q[1]; cy q[1],q[2]; sdg q[3]; swap q[0],q[3]; sx q[2]; h q; {END}"),
}  # fmt: skip
# Circuits that measure on the way, with what must come of them, worked out by hand.
DYNAMIC = {
    "reset of an entangled wire": (
        two(2, f"h q[0]; cx q[0],q[1]; reset q[0]; {END}"),
        {"00": 0.5, "10": 0.5},
    ),
    "measured twice": (
        two(1, "h q[0]; measure q[0] -> c[0]; measure q[0] -> c[1];", 2),
        {"00": 0.5, "11": 0.5},
    ),
    "coin, then another": (
        two(1, "h q[0]; measure q[0] -> c[0]; h q[0]; measure q[0] -> c[1];", 2),
        dict.fromkeys(("00", "01", "10", "11"), 0.25),
    ),
    "teleported": (
        three(3, 3, "ry(1.0) q[0]; h q[1]; cx q[1], q[2]; cx q[0], q[1]; h q[0]; c[0] = measure q[0]; "
              "c[1] = measure q[1]; if (c[1]) { x q[2]; } if (c[0]) { z q[2]; } c[2] = measure q[2];"),
        {f"{z}{xy:02b}": (sin(0.5) ** 2 if z else cos(0.5) ** 2) / 4 for z in (0, 1) for xy in range(4)},
    ),
    "corrected to zero": (
        three(1, 2, "h q[0]; c[0] = measure q[0]; if (c[0]) { x q[0]; } c[1] = measure q[0];"),
        {"00": 0.5, "01": 0.5},
    ),
    "condition on a register": (
        two(3, "h q[0]; h q[1]; measure q[0] -> c[0]; measure q[1] -> c[1]; if(c==3) x q[2]; measure q[2] -> c[2];"),
        {"000": 0.25, "001": 0.25, "010": 0.25, "111": 0.25},
    ),
    "tossed until the third": (
        three(1, 3, f"ry({pi / 2}) q[0]; c[0] = measure q[0]; if (!c[0]) {{ h q[0]; }} c[1] = measure q[0]; "
              "if (c == 0) { h q[0]; } c[2] = measure q[0];"),
        {"111": 0.5, "110": 0.25, "100": 0.125, "000": 0.125},
    ),
}  # fmt: skip
# An `if` is more than the stabilizer method is given, whatever stands in it.
CLIFFORD = {
    "bell",
    "ghz",
    "bernstein-vazirani",
    "deutsch-jozsa",
    "grover",
    "clifford mix",
    "reset of an entangled wire",
    "measured twice",
    "coin, then another",
}


def exact(source: str, format: str) -> dict[str, float]:
    from qiskit.quantum_info import Statevector

    circuit = load(source.encode(), format, LIMITS)
    return Statevector(circuit.remove_final_measurements(inplace=False)).probabilities_dict()


def p_value(counts: dict[str, int], expected: dict[str, float]) -> float:
    """Chi-square goodness of fit; outcomes expected less than five times are pooled."""
    cells = [(counts.get(key, 0), SHOTS * p) for key, p in expected.items() if SHOTS * p >= 5]
    rare = (SHOTS - sum(seen for seen, _ in cells), SHOTS - sum(wanted for _, wanted in cells))
    if rare[1] > 0.5:
        cells.append(rare)
    statistic = sum((seen - wanted) ** 2 / wanted for seen, wanted in cells)
    return float(chi2.sf(statistic, max(len(cells) - 1, 1)))


def request(name: str, method: str = AUTOMATIC) -> RunRequest:
    source, format = STATIC[name] if name in STATIC else DYNAMIC[name][0]
    return RunRequest(source.encode(), format, SHOTS, 20_261_121, LIMITS, method=method)


def distribution(name: str) -> dict[str, float]:
    return exact(*STATIC[name]) if name in STATIC else DYNAMIC[name][1]


CLIFFORD_ONLY = ("stabilizer", "stim")
ZOO = (*STATIC, *DYNAMIC)
TAKES = {**dict.fromkeys(METHODS, ZOO), **dict.fromkeys(CLIFFORD_ONLY, CLIFFORD), "qsim": STATIC}
PAIRS = [(name, method) for method in METHODS for name in ZOO if name in TAKES[method]]


def test_zoo__its_size__is_as_promised() -> None:
    assert len(ZOO) >= 20 and set(ZOO) >= CLIFFORD and len(CLIFFORD) >= 8


@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_simulate__circuit_of_the_zoo__fits_its_exact_distribution(name: str, method: str) -> None:
    expected = distribution(name)
    result = simulate(request(name, method), 0.0)
    counts = result["counts"]
    assert (result["method"], result["engine"]) == (method, method if method in ("stim", "qsim") else f"aer-{method}")
    assert abs(sum(expected.values()) - 1) < 1e-9 and sum(counts.values()) == SHOTS
    assert {key for key in counts if expected.get(key, 0) < 1e-9} == set()
    assert p_value(counts, expected) > FALSE_ALARMS / len(PAIRS)


@pytest.mark.parametrize(("name", "method"), [(name, m) for m in METHODS for name in ZOO if name not in TAKES[m]])
def test_simulate__what_a_method_cannot_take__is_refused(name: str, method: str) -> None:
    with pytest.raises(CircuitRejected) as caught:
        simulate(request(name, method), 0.0)
    assert caught.value.code in ("mid_circuit" if method == "qsim" else "not_clifford", "feed_forward")


@pytest.mark.parametrize("name", ZOO)
def test_p_value__counts_of_another_circuit__are_found_out(name: str) -> None:
    expected = distribution(name)
    others = (
        simulate(request(other, "statevector"), 0.0)["counts"] for other in ("ghz", "w", "grover") if other != name
    )
    for counts in others:
        assert any(expected.get(key, 0) < 1e-9 for key in counts) or p_value(counts, expected) < 1e-6
