"""Every method's counts against exact distributions, in the confined child, over a zoo of circuits."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import binom

from oracle.backends.aer import AerBackend
from oracle.circuits.analysis import METHODS, choose, forecasts
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.load import load
from oracle.circuits.run import RunRequest
from oracle.circuits.sandbox import Sandbox
from oracle.routing.candidates import LOCAL, Candidate
from oracle.routing.route import route

HEAD = 'OPENQASM 2.0; include "qelib1.inc"; '
LIMITS = CircuitLimits(qubits=1_000, clbits=1_000)
SHOTS = 20_000
SPEC = {
    "quantum": {
        "backend_policy": "simulator",
        "shots": SHOTS,
        "seed": None,
        "constraints": {"max_qubits": None, "max_queue_minutes": None, "allowed_backends": []},
    }
}


def registers(qubits: int) -> str:
    return f"{HEAD}qreg q[{qubits}]; creg c[{qubits}]; "


def random_layers(qubits: int, depth: int, seed: int, gates: str = "") -> str:
    dice, text = random.Random(seed), registers(qubits)
    for _ in range(depth):
        for place in range(qubits):
            angles = ",".join(f"{3 * dice.random():.6f}" for _ in range(3))
            text += f"{dice.choice(gates.split())} q[{place}]; " if gates else f"u({angles}) q[{place}]; "
        a, b = dice.sample(range(qubits), 2)
        text += f"cx q[{a}],q[{b}]; "
    return text + "measure q -> c;"


def qft(qubits: int) -> str:
    text = registers(qubits) + "".join(f"ry({0.3 * i + 0.2}) q[{i}]; " for i in range(qubits))
    for i in reversed(range(qubits)):
        text += f"h q[{i}]; " + "".join(f"cp(pi/{2 ** (i - j)}) q[{j}],q[{i}]; " for j in reversed(range(i)))
    return text + "measure q -> c;"


ZOO = {
    "GHZ": registers(6) + "h q[0]; " + "".join(f"cx q[{i}],q[{i + 1}]; " for i in range(5)) + "measure q -> c;",
    "Clifford": random_layers(6, 12, 3, "h s sdg x y z sx sxdg id"),
    "Clifford by angles": random_layers(5, 10, 4, "rz(pi/2) rx(-pi/2) ry(pi) u2(0,pi) u(pi/2,pi,pi/2)"),
    "Clifford and T": random_layers(5, 12, 5, "h t s tdg"),
    "random": random_layers(6, 8, 6),
    "QFT": qft(6),
    "three-qubit gates": registers(4)
    + "ry(0.8) q; ccx q[0],q[1],q[2]; cswap q[3],q[1],q[0]; rccx q[1],q[2],q[3]; h q; measure q -> c;",
    "controlled rotations": registers(3)
    + "ry(0.8) q; crx(0.5) q[0],q[1]; cry(0.6) q[1],q[2]; crz(0.7) q[2],q[0]; cu(0.1,0.2,0.3,0.4) q[0],q[2]; "
    + "ch q[1],q[0]; rxx(0.4) q[0],q[1]; rzz(0.9) q[1],q[2]; csx q[0],q[2]; h q; measure q -> c;",
    "bits in another order": registers(3) + "x q[0]; ry(0.9) q[1]; measure q[0] -> c[2]; measure q[1] -> c[0];",
}


@pytest.fixture(scope="module")
def backend() -> Iterator[AerBackend]:
    made = AerBackend(Sandbox(1), LIMITS)
    yield made
    made.close()


def exact(source: str) -> dict[str, float]:
    """Probabilities of all classical bits, from Qiskit's own linear algebra."""
    from qiskit.quantum_info import Statevector

    circuit = load(source.encode(), "openqasm2", LIMITS)
    place = {bit: index for index, bit in enumerate(circuit.clbits)}
    qubit = {bit: index for index, bit in enumerate(circuit.qubits)}
    measured = {place[s.clbits[0]]: qubit[s.qubits[0]] for s in circuit.data if s.name == "measure"}
    bare = circuit.copy_empty_like()
    for step in circuit.data:
        if step.name != "measure":
            bare.append(step)
    found: dict[str, float] = {}
    for number, amplitude in enumerate(np.asarray(Statevector(bare))):
        bits = ["0"] * circuit.num_clbits
        for clbit, index in measured.items():
            bits[-1 - clbit] = str(number >> index & 1)
        found["".join(bits)] = found.get("".join(bits), 0.0) + abs(amplitude) ** 2
    return found


def assert_fits(counts: dict[str, int], expected: dict[str, float]) -> None:
    """Every outcome's count is one that happens once in a hundred million runs or more often."""
    assert sum(counts.values()) == SHOTS
    for outcome in {*counts, *expected}:
        seen, chance = counts.get(outcome, 0), min(1.0, expected.get(outcome, 0.0))
        if chance < 1e-12:
            assert seen == 0, outcome
            continue
        tail = min(binom.cdf(seen, SHOTS, chance), binom.sf(seen - 1, SHOTS, chance))
        assert tail > 1e-8 or math.isclose(chance, 1), (outcome, seen, SHOTS * chance)


@pytest.mark.parametrize("name", ZOO)
def test_each_method__that_can_take_a_circuit__fits_its_distribution(backend: AerBackend, name: str) -> None:
    request = RunRequest(ZOO[name].encode(), "openqasm2", SHOTS, 11, LIMITS)
    analysis, expected = backend.analyse(request, timeout=60), exact(ZOO[name])
    able = [method for method, forecast in forecasts(analysis, SHOTS).items() if not forecast.code]
    assert ("stim" in able) == analysis.clifford == ("Clifford" in name and "T" not in name or name == "GHZ")
    for method in able:
        asked = RunRequest(request.source, request.format, SHOTS, 11, LIMITS, method)
        result = backend.result(backend.submit(asked, f"{name} {method}"), timeout=120)
        assert result.method == method and method in result.engine
        assert_fits(result.counts, expected)


@pytest.mark.parametrize("name", ZOO)
def test_chosen_method__is_the_routers_and_recorded(backend: AerBackend, name: str) -> None:
    request = RunRequest(ZOO[name].encode(), "openqasm2", SHOTS, 11, LIMITS)
    decision = route(SPEC, backend.analyse(request, timeout=60), [Candidate("aer", LOCAL, 1_000, limits=LIMITS)])
    result = backend.result(backend.submit(request, name), timeout=60)
    assert decision.method == result.method in METHODS


@pytest.mark.parametrize("method", ["statevector", "matrix_product_state", "density_matrix"])
def test_feed_forward__each_method__teleports_the_state(backend: AerBackend, method: str) -> None:
    source = (
        f"{HEAD}qreg q[3]; creg a[1]; creg b[1]; creg c[1]; ry(1.1) q[0]; h q[1]; cx q[1],q[2]; cx q[0],q[1]; h q[0]; "
        "measure q[0] -> a[0]; measure q[1] -> b[0]; if(b==1) x q[2]; if(a==1) z q[2]; measure q[2] -> c[0];"
    )
    asked = RunRequest(source.encode(), "openqasm2", SHOTS, 11, LIMITS, method)
    counts = backend.result(backend.submit(asked, method), timeout=120).counts
    ones = sum(number for outcome, number in counts.items() if outcome[0] == "1")
    assert min(binom.cdf(ones, SHOTS, math.sin(0.55) ** 2), binom.sf(ones, SHOTS, math.sin(0.55) ** 2)) > 1e-8


def test_reset__density_matrix_is_chosen_and_agrees_with_the_state(backend: AerBackend) -> None:
    source = registers(6) + "ry(0.9) q; cx q[0],q[1]; reset q[0]; cx q[1],q[2]; ry(0.3) q; measure q -> c;"
    request = RunRequest(source.encode(), "openqasm2", SHOTS, 3, LIMITS)
    analysis = backend.analyse(request, timeout=60)
    assert choose(analysis, SHOTS, LIMITS, reproducible=False)[0] == "density_matrix"
    by_matrix = backend.result(backend.submit(request, "matrix"), timeout=60).counts
    asked = RunRequest(source.encode(), "openqasm2", SHOTS, 4, LIMITS, "statevector")
    by_state = backend.result(backend.submit(asked, "state"), timeout=60).counts
    distance = sum(abs(by_matrix.get(k, 0) - by_state.get(k, 0)) for k in {*by_matrix, *by_state}) / (2 * SHOTS)
    assert distance < 0.05  # two honest samples of 64 outcomes are about 0.03 apart
