"""Every method's counts against exact distributions, in the confined child, over a zoo of circuits.

The exact distribution is worked out here by following every outcome of every measurement, reset and condition with
Qiskit's own linear algebra. Each outcome's count is held against its binomial distribution, at a level that makes a
false alarm anywhere in this file less likely than one in a million; seeds are fixed, so it happens always or never.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from oracle.backends.aer import AerBackend
from oracle.circuits.analysis import METHODS, choose, forecasts
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.load import load
from oracle.circuits.run import RunRequest
from oracle.circuits.sandbox import Sandbox
from oracle.circuits.simulate import simulate
from oracle.routing.route import route

HEAD = 'OPENQASM 2.0; include "qelib1.inc"; '
LIMITS = CircuitLimits()
SHOTS = 20_000
FALSE_ALARMS, MOST_COMPARISONS = 1e-6, 20_000
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


def brickwork(qubits: int, depth: int) -> str:
    """Rotations and pairs of neighbours in turn, as a variational ansatz has them."""
    text = registers(qubits)
    for layer in range(depth):
        text += "".join(
            f"ry({0.31 * i + 0.17 * layer + 0.2}) q[{i}]; rz({0.23 * i + 0.4}) q[{i}]; " for i in range(qubits)
        )
        text += "".join(f"cx q[{i}],q[{i + 1}]; " for i in range(layer % 2, qubits - 1, 2))
    return text + "measure q -> c;"


def w_state(qubits: int) -> str:
    """One excitation, shared evenly: each qubit hands the right part of it on."""
    text = registers(qubits) + "x q[0]; "
    for i in range(qubits - 1):
        angle = 2 * math.acos(math.sqrt(1 / (qubits - i)))
        text += f"cry({angle}) q[{i}],q[{i + 1}]; cx q[{i + 1}],q[{i}]; "
    return text + "measure q -> c;"


def hidden_string(qubits: int, marks: int) -> str:
    """Bernstein and Vazirani's; the last qubit is theirs to ask."""
    asked = "".join(f"cx q[{i}],q[{qubits - 1}]; " for i in range(qubits - 1) if marks >> i & 1)
    ends = "".join(f"h q[{i}]; " for i in range(qubits - 1))
    return (
        registers(qubits)
        + f"x q[{qubits - 1}]; h q; {asked}{ends}"
        + "".join(f"measure q[{i}] -> c[{i}]; " for i in range(qubits - 1))
    )


GROVER = (
    registers(3)
    + "h q; "
    + "x q[1]; h q[2]; ccx q[0],q[1],q[2]; h q[2]; x q[1]; "
    + ("h q; x q; h q[2]; ccx q[0],q[1],q[2]; h q[2]; x q; h q; measure q -> c;")
)
PHASE_ESTIMATION = (
    registers(5)
    + "x q[4]; h q[0]; h q[1]; h q[2]; h q[3]; "
    + "".join(f"cp({2 * math.pi * 0.3 * 2**i}) q[{i}],q[4]; " for i in range(4))
    + "swap q[0],q[3]; swap q[1],q[2]; "
    + "".join(
        "".join(f"cp({-math.pi / 2 ** (i - j)}) q[{j}],q[{i}]; " for j in range(i)) + f"h q[{i}]; " for i in range(4)
    )
    + "measure q -> c;"
)
TELEPORTATION = (
    f"{HEAD}qreg q[3]; creg a[1]; creg b[1]; creg c[1]; ry(1.1) q[0]; rz(0.4) q[0]; h q[1]; cx q[1],q[2]; "
    "cx q[0],q[1]; h q[0]; measure q[0] -> a[0]; measure q[1] -> b[0]; if(b==1) x q[2]; if(a==1) z q[2]; "
    "rz(-0.4) q[2]; measure q[2] -> c[0];"
)
REPETITION_CODE = (  # a turn by 0.6 on the middle qubit; the syndrome finds its flip
    f"{HEAD}qreg d[3]; qreg a[2]; creg m[2]; creg c[3]; x d[0]; cx d[0],d[1]; cx d[0],d[2]; rx(0.6) d[1]; "
    "cx d[0],a[0]; cx d[1],a[0]; cx d[1],a[1]; cx d[2],a[1]; measure a -> m; "
    "if(m==1) x d[0]; if(m==3) x d[1]; if(m==2) x d[2]; measure d -> c;"
)
MID_CIRCUIT = (
    registers(4)
    + "ry(0.9) q[0]; cx q[0],q[1]; measure q[0] -> c[3]; reset q[0]; h q[0]; cx q[0],q[2]; "
    + ("ry(0.5) q[1]; measure q[0] -> c[0]; measure q[1] -> c[1]; measure q[2] -> c[2];")
)
SYNDROMES = (  # Clifford, and measured on the way
    f"{HEAD}qreg q[3]; creg c[4]; h q[0]; cx q[0],q[1]; cx q[0],q[2]; cx q[1],q[2]; measure q[2] -> c[3]; reset q[2]; "
    "h q[2]; s q[2]; h q[2]; measure q[0] -> c[0]; h q[0]; measure q[0] -> c[1]; measure q[2] -> c[2];"
)
ZOO = {
    "GHZ": registers(6) + "h q[0]; " + "".join(f"cx q[{i}],q[{i + 1}]; " for i in range(5)) + "measure q -> c;",
    "Clifford": random_layers(6, 12, 3, "h s sdg x y z sx sxdg id"),
    "Clifford by angles": random_layers(5, 10, 4, "rz(pi/2) rx(-pi/2) ry(pi) u2(0,pi) u(pi/2,pi,pi/2)"),
    "deep Clifford": random_layers(7, 60, 8, "h s sdg x y z sx sxdg"),
    "Clifford and T": random_layers(5, 12, 5, "h t s tdg"),
    "random": random_layers(6, 8, 6),
    "random and shallow": random_layers(7, 2, 9),
    "QFT": qft(6),
    "phase estimation": PHASE_ESTIMATION,
    "Grover": GROVER,
    "Bernstein-Vazirani": hidden_string(7, 0b101101),
    "W": w_state(6),
    "variational": brickwork(6, 4),
    "teleportation": TELEPORTATION,
    "repetition code": REPETITION_CODE,
    "measured on the way": MID_CIRCUIT,
    "syndromes": SYNDROMES,
    "three-qubit gates": registers(4)
    + "ry(0.8) q; ccx q[0],q[1],q[2]; cswap q[3],q[1],q[0]; rccx q[1],q[2],q[3]; h q; measure q -> c;",
    "controlled rotations": registers(3)
    + "ry(0.8) q; crx(0.5) q[0],q[1]; cry(0.6) q[1],q[2]; crz(0.7) q[2],q[0]; cu(0.1,0.2,0.3,0.4) q[0],q[2]; "
    + "ch q[1],q[0]; rxx(0.4) q[0],q[1]; rzz(0.9) q[1],q[2]; csx q[0],q[2]; h q; measure q -> c;",
    "bits in another order": registers(3) + "x q[0]; ry(0.9) q[1]; measure q[0] -> c[2]; measure q[1] -> c[0];",
}
CLIFFORD = {"GHZ", "Clifford", "Clifford by angles", "deep Clifford", "Bernstein-Vazirani", "syndromes"}


@pytest.fixture(scope="module")
def backend() -> Iterator[AerBackend]:
    made = AerBackend(Sandbox(1), LIMITS)
    yield made
    made.close()


def exact(source: str) -> dict[str, float]:
    """Probabilities of all classical bits."""
    circuit = load(source.encode(), "openqasm2", LIMITS)
    start = np.zeros(2**circuit.num_qubits, complex)
    start[0] = 1
    found: dict[str, float] = {}
    for state, bits in followed(circuit, start, {bit: 0 for bit in circuit.clbits}):
        key = "".join(str(bits[bit]) for bit in reversed(circuit.clbits))
        found[key] = found.get(key, 0.0) + float(np.vdot(state, state).real)
    return found


def followed(circuit: Any, state: Any, bits: dict[Any, int], first: int = 0) -> Iterator[tuple[Any, dict[Any, int]]]:
    """Every way through ``circuit`` from instruction ``first``: the state it ends in, its weight the probability, and
    the bits."""
    from qiskit.quantum_info import Statevector

    for number in range(first, len(circuit.data)):
        step = circuit.data[number]
        places = [circuit.find_bit(qubit).index for qubit in step.qubits]
        if step.name in ("measure", "reset"):
            for value in (0, 1):
                part = np.where((np.arange(len(state)) >> places[0] & 1) == value, state, 0)
                if np.vdot(part, part).real < 1e-14:
                    continue
                if step.name == "measure":
                    yield from followed(circuit, part, {**bits, step.clbits[0]: value}, number + 1)
                else:
                    yield from followed(circuit, np.roll(part, -value << places[0]), bits, number + 1)
            return
        operation = step.operation
        if step.name == "if_else":
            tested, wanted = operation.condition
            seen = sum(bits[bit] << place for place, bit in enumerate(tested if hasattr(tested, "size") else [tested]))
            for gate in operation.blocks[0].data if seen == wanted else ():
                inner = [places[operation.blocks[0].find_bit(qubit).index] for qubit in gate.qubits]
                state = np.asarray(Statevector(state).evolve(gate.operation, inner))
        elif step.name != "barrier":
            state = np.asarray(Statevector(state).evolve(operation, places))
    yield state, bits


def assert_fits(counts: dict[str, int], expected: dict[str, float]) -> int:
    """Every outcome's count is a likely one; returns how many were compared."""
    assert sum(counts.values()) == SHOTS
    outcomes = {*counts, *expected}
    for outcome in outcomes:
        seen, chance = counts.get(outcome, 0), min(1.0, expected.get(outcome, 0.0))
        if chance < 1e-12:
            assert seen == 0, outcome
            continue
        tail = min(binom.cdf(seen, SHOTS, chance), binom.sf(seen - 1, SHOTS, chance))
        assert 2 * tail > FALSE_ALARMS / MOST_COMPARISONS or math.isclose(chance, 1), (outcome, seen, SHOTS * chance)
    return len(outcomes)


def test_exact__its_own_sum__is_one_and_finds_what_is_known() -> None:
    assert all(abs(sum(exact(source).values()) - 1) < 1e-9 for source in ZOO.values())
    assert exact(ZOO["Bernstein-Vazirani"])["0101101"] > 1 - 1e-9
    assert {round(chance, 9) for chance in exact(ZOO["W"]).values() if chance > 1e-9} == {round(1 / 6, 9)}
    corrected = exact(ZOO["repetition code"])
    assert sum(chance for outcome, chance in corrected.items() if outcome[:3] == "111") > 1 - 1e-9
    teleported = sum(chance for outcome, chance in exact(ZOO["teleportation"]).items() if outcome[0] == "1")
    assert abs(teleported - math.sin(0.55) ** 2) < 1e-9


def test_zoo__comparisons__are_no_more_than_the_level_is_made_for() -> None:
    most = sum(len(METHODS) * 2 ** load(source.encode(), "openqasm2", LIMITS).num_clbits for source in ZOO.values())
    assert most <= MOST_COMPARISONS


@pytest.mark.parametrize("name", ZOO)
def test_each_method__that_can_take_a_circuit__fits_its_distribution(backend: AerBackend, name: str) -> None:
    request = RunRequest(ZOO[name].encode(), "openqasm2", SHOTS, 11, LIMITS)
    analysis, expected = backend.analyse(request, timeout=60), exact(ZOO[name])
    able = [method for method, forecast in forecasts(analysis, SHOTS).items() if not forecast.code]
    assert ("stim" in able) == ("stabilizer" in able) == analysis.clifford == (name in CLIFFORD)
    assert ("qsim" in able) == (not analysis.dynamic)
    assert {"statevector", "matrix_product_state", "density_matrix"} <= set(able)
    for method in able:
        asked = RunRequest(request.source, request.format, SHOTS, 11, LIMITS, method)
        result = backend.result(backend.submit(asked, f"{name} {method}"), timeout=120)
        assert result.method == method and method in result.engine
        assert_fits(result.counts, expected)


@pytest.mark.parametrize("name", ZOO)
def test_chosen_method__is_the_routers_and_recorded(backend: AerBackend, name: str) -> None:
    request = RunRequest(ZOO[name].encode(), "openqasm2", SHOTS, 11, LIMITS)
    decision = route(SPEC, backend.analyse(request, timeout=60), [backend.candidate()])
    result = backend.result(backend.submit(request, name), timeout=60)
    assert decision.method == result.method in METHODS


@pytest.mark.parametrize("name", ["Clifford and T", "W", "variational", "phase estimation", "bits in another order"])
def test_assert_fits__counts_of_a_circuit_with_one_more_gate__are_found_out(backend: AerBackend, name: str) -> None:
    source = ZOO[name].replace("measure", "ry(0.9) q[0]; measure", 1)
    request = RunRequest(source.encode(), "openqasm2", SHOTS, 11, LIMITS)
    counts = backend.result(backend.submit(request, f"wrong {name}"), timeout=120).counts
    with pytest.raises(AssertionError):
        assert_fits(counts, exact(ZOO[name]))


@pytest.mark.parametrize("method", ["stim", "stabilizer", "matrix_product_state"])
def test_wide_circuits__each_method__has_the_few_outcomes_it_must(backend: AerBackend, method: str) -> None:
    ghz = registers(40) + "h q[0]; " + "".join(f"cx q[{i}],q[{i + 1}]; " for i in range(39)) + "measure q -> c;"
    asked = RunRequest(ghz.encode(), "openqasm2", SHOTS, 11, LIMITS, method)
    counts = backend.result(backend.submit(asked, f"wide {method}"), timeout=120).counts
    assert_fits(counts, {"0" * 40: 0.5, "1" * 40: 0.5})
    marks = random.Random(5).getrandbits(39)
    asked = replace(asked, source=hidden_string(40, marks).encode())
    counts = backend.result(backend.submit(asked, f"hidden {method}"), timeout=120).counts
    assert counts == {f"{marks:040b}": SHOTS}


def test_replay__other_processes_workers_restarts_and_threads__same_counts_to_the_bit(backend: AerBackend) -> None:
    """What a validator's replay rests on; stim promises it on one kind of machine only, which this is."""
    asked = [
        RunRequest(ZOO[name].encode(), "openqasm2", 2_000, 7, LIMITS, method)
        for name in ("Clifford", "variational", "teleportation", "measured on the way", "syndromes")
        for method in METHODS
        if (name in CLIFFORD or method not in ("stim", "stabilizer"))
        and (name in ("Clifford", "variational") or method != "qsim")
    ]
    here = [simulate(each, 0.0)["counts"] for each in asked]  # in this very process
    references = [backend.submit(each, f"replay {number}") for number, each in enumerate(asked)]
    assert [backend.result(reference, timeout=120).counts for reference in references] == here
    with Sandbox(2, recycle_runs=5) as pool:  # two workers that end and start again on the way
        runs = [pool.submit(replace(each, threads=1 + number % 3)) for number, each in enumerate(asked)]
        assert [run.result(120).counts for run in runs] == here


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
