"""Noise that a spec asks for: the same on every engine, and that of its definition.

Exact distributions are worked out here, by density matrices of Qiskit's linear algebra that follow every outcome of
every measurement, reset and misreading; noise is put in by its definition, replacing the state of a gate's qubits.
Seeds are fixed, at a level of one false alarm in a million for the whole file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from oracle.circuits.analysis import DENSITY_MATRIX, METHODS, MPS, STABILIZER, STATEVECTOR, STIM, Analysis, forecasts
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.load import load
from oracle.circuits.noise import stim_words
from oracle.circuits.run import RunRequest, RunResult
from oracle.circuits.sandbox import Sandbox
from oracle.circuits.simulate import analysis_of, simulate
from oracle.jobs.errors import CircuitRejected
from oracle.jobs.noise import NOISELESS, Noise

LIMITS = CircuitLimits()
NOISE = Noise(one_qubit=0.2, two_qubit=0.3, readout=0.1)
HEAD = 'OPENQASM 2.0; include "qelib1.inc"; '
THREE = HEAD + "qreg q[3]; creg c[3]; "
# Drawing noise anew for every shot takes its time; the others say more in less of it.
SHOTS = {STATEVECTOR: 2_000, MPS: 2_000, STABILIZER: 2_000, DENSITY_MATRIX: 100_000, STIM: 400_000}
LEVEL = 1e-6 / 500
STATES = (STATEVECTOR, MPS, DENSITY_MATRIX)
CIRCUITS = {
    "sharp": (HEAD + "qreg q[2]; creg c[2]; x q[0]; cx q[0],q[1]; measure q -> c;", (*STATES, STABILIZER, STIM)),
    "plain Clifford": (
        THREE + "h q[0]; cx q[0],q[1]; id q[2]; s q[1]; rz(pi/2) q[1]; sx q[1]; cy q[1],q[2]; swap q[0],q[2]; "
        "measure q -> c;",
        (*STATES, STABILIZER, STIM),
    ),
    "Clifford by angles": (
        THREE + "u2(0,pi) q[0]; rx(pi/2) q[1]; rz(0) q[0]; rzz(pi/2) q[0],q[1]; cp(pi) q[1],q[2]; ry(pi) q[2]; "
        "rzz(0) q[1],q[2]; measure q -> c;",
        (*STATES, STIM),
    ),
    "measured and reset on the way": (
        HEAD + "qreg q[2]; creg c[3]; x q[0]; cx q[0],q[1]; measure q[0] -> c[2]; reset q[0]; h q[0]; barrier q; "
        "cz q[0],q[1]; h q[0]; measure q[0] -> c[0]; measure q[1] -> c[1];",
        (*STATES, STABILIZER, STIM),
    ),
    "angles": (
        THREE + "ry(0.7) q[0]; u(0.3,0.4,0.5) q[1]; cx q[0],q[1]; cp(0.9) q[1],q[2]; t q[2]; rzz(0.8) q[0],q[2]; "
        "h q[2]; measure q -> c;",
        STATES,
    ),
    "gates that depend on what was read": (
        HEAD + "qreg q[2]; creg a[1]; creg b[1]; ry(0.4) q[0]; measure q[0] -> a[0]; if(a==1) x q[1]; cx q[0],q[1]; "
        "measure q[1] -> b[0];",
        STATES,
    ),
}
# Where something follows a measurement, a density matrix too runs every shot.
DYNAMIC = {"measured and reset on the way", "gates that depend on what was read"}
TOFFOLI = THREE + "ry(0.7) q[0]; h q[1]; {} measure q -> c;"
TOFFOLI_BY_HAND = (
    "h q[2]; cx q[1],q[2]; tdg q[2]; cx q[0],q[2]; t q[2]; cx q[1],q[2]; tdg q[2]; cx q[0],q[2]; t q[1]; t q[2]; "
    "h q[2]; cx q[0],q[1]; t q[0]; tdg q[1]; cx q[0],q[1];"
)


def request(source: str, method: str = "automatic", shots: int = 200, **changes: Any) -> RunRequest:
    return RunRequest(source.encode(), "openqasm2", shots, 5, LIMITS, method, **{"noise": NOISE, **changes})


def ran(asked: RunRequest) -> dict[str, Any]:
    return simulate(asked, 0.0)


def exact(source: str, noise: Noise) -> dict[str, float]:
    """Probabilities of the recorded bits."""
    circuit = load(source.encode(), "openqasm2", LIMITS)
    state = np.zeros((2**circuit.num_qubits,) * 2, complex)
    state[0, 0] = 1
    found: dict[str, float] = {}
    for rest, bits in followed(circuit, list(circuit.data), state, dict.fromkeys(circuit.clbits, 0), noise):
        key = "".join(str(bits[bit]) for bit in reversed(circuit.clbits))
        found[key] = found.get(key, 0.0) + float(np.trace(rest).real)
    return found


def followed(circuit: Any, steps: list[Any], state: Any, bits: dict, noise: Noise) -> Iterator[tuple[Any, dict]]:
    for number, step in enumerate(steps):
        places = [circuit.find_bit(qubit).index for qubit in step.qubits]
        rest = steps[number + 1 :]
        if step.name == "measure":
            for value in (0, 1):
                for read, chance in ((value, 1 - noise.readout), (1 - value, noise.readout)):
                    part = chance * projected(state, places[0], value)
                    yield from followed(circuit, rest, part, {**bits, step.clbits[0]: read}, noise)
            return
        if step.name == "reset":
            state = projected(state, places[0], 0) + flipped(projected(state, places[0], 1), places[0])
        elif step.name == "if_else":
            register, wanted = step.operation.condition
            seen = sum(bits[bit] << place for place, bit in enumerate(register))
            inner = list(step.operation.blocks[0].data) if seen == wanted else []
            names = dict(zip(step.operation.blocks[0].qubits, step.qubits, strict=True))
            moved = [each.replace(qubits=[names[qubit] for qubit in each.qubits]) for each in inner]
            yield from followed(circuit, moved + rest, state, bits, noise)
            return
        elif step.name != "barrier":
            state = noisy(evolved(state, step.operation, places), places, noise)
    yield state, bits


def projected(state: Any, place: int, value: int) -> Any:
    kept = (np.arange(len(state)) >> place & 1) == value
    return np.where(np.outer(kept, kept), state, 0)


def flipped(state: Any, place: int) -> Any:
    order = np.arange(len(state)) ^ (1 << place)
    return state[np.ix_(order, order)]


def evolved(state: Any, operation: Any, places: list[int]) -> Any:
    from qiskit.quantum_info import DensityMatrix

    return DensityMatrix(state).evolve(operation, places).data


def noisy(state: Any, places: list[int], noise: Noise) -> Any:
    """(1 - p) ρ + p tr(ρ) I/2ⁿ on the qubits in ``places``, the rest left as it is."""
    from qiskit.quantum_info import DensityMatrix, SuperOp

    rate, size = (noise.one_qubit if len(places) == 1 else noise.two_qubit), 2 ** len(places)
    identity = np.eye(size).reshape(-1, 1)
    channel = (1 - rate) * np.eye(size**2) + rate * identity @ identity.T / size
    return DensityMatrix(state).evolve(SuperOp(channel), places).data


def assert_fits(counts: dict[str, int], expected: dict[str, float]) -> None:
    shots = sum(counts.values())
    for outcome, chance in expected.items():
        seen = counts.get(outcome, 0)
        tail = min(binom.cdf(seen, shots, chance), binom.sf(seen - 1, shots, chance))
        assert 2 * tail > LEVEL, (outcome, seen, shots * chance)
    assert counts.keys() <= expected.keys()


@pytest.mark.parametrize("name", CIRCUITS)
def test_simulate__with_noise__every_engine_fits_the_exact_distribution(name: str) -> None:
    source, methods = CIRCUITS[name]
    expected = exact(source, NOISE)
    assert abs(sum(expected.values()) - 1) < 1e-9

    shots = SHOTS | ({DENSITY_MATRIX: 2_000} if name in DYNAMIC else {})
    results = [ran(request(source, method, shots[method])) for method in methods]

    for result, method in zip(results, methods, strict=True):
        assert (result["method"], result["noise"]) == (method, NOISE.as_dict())
        assert_fits(result["counts"], expected)
    assert len({result["transpiled_digest"] for result in results}) == 1


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        (DENSITY_MATRIX, replace(NOISE, one_qubit=0.15)),
        (DENSITY_MATRIX, replace(NOISE, two_qubit=0.35)),
        (STIM, replace(NOISE, two_qubit=0.3 * 16 / 15)),  # stim's rates taken for Aer's
        (STIM, replace(NOISE, readout=0.09)),
    ],
)
def test_assert_fits__another_noise_or_convention__is_found_out(method: str, wrong: Noise) -> None:
    source, _ = CIRCUITS["sharp"]
    with pytest.raises(AssertionError):
        assert_fits(ran(request(source, method, SHOTS[method], noise=wrong))["counts"], exact(source, NOISE))


def test_stim_words__rates__are_those_of_stims_channels() -> None:
    assert stim_words(Noise(0.5, 0.8, 0.25)) == ("M(0.25)", {1: "DEPOLARIZE1(0.375)", 2: "DEPOLARIZE2(0.75)"})
    assert stim_words(Noise(1, 0, 0)) == ("M", {1: "DEPOLARIZE1(0.75)"})


def test_simulate__gate_on_three_qubits__is_unfolded_and_each_part_is_noisy() -> None:
    whole = ran(request(TOFFOLI.format("ccx q[0],q[1],q[2];"), DENSITY_MATRIX, SHOTS[DENSITY_MATRIX]))

    assert_fits(whole["counts"], exact(TOFFOLI.format(TOFFOLI_BY_HAND), NOISE))
    assert whole["operations"]["ccx"] == 1  # what was asked for is still told


def test_simulate__gates_of_its_own_and_global_phases__are_noisy_by_what_they_are_made_of() -> None:
    own = request(
        HEAD + "gate pair a,b { u(0.3,0.4,0.5) a; cx a,b; } qreg q[2]; creg c[2]; pair q[0],q[1]; measure q -> c;"
    )
    plain = request(HEAD + "qreg q[2]; creg c[2]; u(0.3,0.4,0.5) q[0]; cx q[0],q[1]; measure q -> c;")
    phase = 'OPENQASM 3.0; include "stdgates.inc"; qubit[2] q; bit[2] c; gphase(0.3); {} cx q[0], q[1]; c = measure q;'
    phased = replace(plain, source=phase.format("u3(0.3, 0.4, 0.5) q[0];").encode(), format="openqasm3")

    assert ran(own)["counts"] == ran(plain)["counts"] == ran(phased)["counts"]


@pytest.mark.parametrize("result", ["counts", "memory"])
def test_sandbox__noise_with_any_number_of_threads__same_to_the_bit(sandbox: Sandbox, result: str) -> None:
    source, methods = CIRCUITS["plain Clifford"]
    asked = [request(source, method, 300, result=result) for method in methods if (method, result) != (STIM, "memory")]
    here = [ran(each) for each in asked]

    runs = [sandbox.submit(replace(each, threads=1 + n)) for n, each in enumerate(asked)]

    there: list[RunResult] = [run.result(120) for run in runs]
    assert [(each.counts, each.noise) for each in there] == [(each["counts"], NOISE.as_dict()) for each in here]
    assert [[run["memory"] for run in each.runs if "memory" in run] for each in there] == [
        [run["memory"] for run in each["runs"] if "memory" in run] for each in here
    ]


def test_simulate__expectation_values__are_those_of_the_noisy_circuit() -> None:
    source = HEAD + "qreg q[2]; creg c[2]; h q[0]; cx q[0],q[1];"
    asked = request(source, DENSITY_MATRIX, 100_000, result="expectation", observables=((("ZZ", 1.0),), (("XX", 1.0),)))

    (run,) = ran(asked)["runs"]

    read = (1 - 2 * NOISE.readout) ** 2
    zz, xx = 0.7 * read, 0.8 * 0.7 * 0.8**2 * read  # h changes ZZ's mean no more than noise on it: it is 0 before cx
    for value, error, wanted in zip(run["values"], run["standard_errors"], (0.8 * 0 + zz, xx), strict=True):
        assert abs(value - wanted) < 6 * error


@pytest.fixture(scope="module")
def wide() -> Analysis:
    chain = "".join(f"cx q[{n}],q[{n + 1}]; " for n in range(19))
    return analysis_of(request(HEAD + f"qreg q[20]; creg c[20]; h q[0]; {chain} measure q -> c;", shots=10))


def test_forecasts__noise__repeats_every_shot_but_those_of_a_density_matrix(wide: Analysis) -> None:
    quiet = forecasts(replace(wide, noisy=False), 1_000)
    noisy = forecasts(wide, 1_000)

    assert wide.noisy and wide.dynamic and wide.outcome_bits == 20
    assert noisy[STATEVECTOR].seconds > 500 * quiet[STATEVECTOR].seconds
    assert noisy[DENSITY_MATRIX].seconds < 1.1 * quiet[DENSITY_MATRIX].seconds
    assert noisy[MPS].seconds > 3 * quiet[MPS].seconds
    assert {noisy[method].code for method in SHOTS} == {""}


def test_forecasts__clifford_gates_that_one_step_does_not_make__are_not_for_aers_stabilizer() -> None:
    source, _ = CIRCUITS["Clifford by angles"]
    found = forecasts(analysis_of(request(source)), 100)

    assert found[STABILIZER].code == "not_one_gate" and "rzz" in found[STABILIZER].text
    assert {method for method in METHODS if not found[method].code} == {*STATES, STIM}
    with pytest.raises(CircuitRejected, match="rzz"):
        ran(request(source, STABILIZER))


def test_analysis__noise_on_entangled_gates__no_probe_speaks_for_it() -> None:
    pairs = ["".join(f"cx q[{m}],q[{m + 1}]; " for m in range(n % 2, 13, 2)) for n in range(9)]
    layers = "".join(f"ry(0.{n + 1}) q; {each}" for n, each in enumerate(pairs))
    source = HEAD + f"qreg q[14]; creg c[14]; {layers * 2} measure q -> c;"

    analysis = analysis_of(request(source, shots=10_000))

    assert analysis.probe is None
    assert "no probe speaks" in forecasts(analysis, 10_000)[MPS].text


def test_simulate__noise_that_unfolds_to_too_many_gates__is_refused() -> None:
    source = TOFFOLI.format("ccx q[0],q[1],q[2]; ccx q[0],q[1],q[2];")
    limits = CircuitLimits(expanded_gates=2 + 2 * 15 + 3 - 1)

    assert ran(replace(request(source, noise=NOISELESS), limits=limits))["shots"] == 200
    with pytest.raises(CircuitRejected, match="35 instructions once unfolded") as refused:
        ran(replace(request(source), limits=limits))
    assert refused.value.code == "too_many_gates"
    fits = replace(limits, expanded_gates=limits.expanded_gates + 1)
    assert ran(replace(request(source), limits=fits))["shots"] == 200
