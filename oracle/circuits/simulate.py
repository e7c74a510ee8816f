"""Running a parsed circuit on Qiskit Aer. Imported by the sandbox worker; imports Qiskit on first use."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from oracle.circuits.instructions import Part
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import COUNTS, EXPECTATION, MEMORY
from oracle.circuits.load import check_circuit, instructions_digest, load_all
from oracle.circuits.observables import bases, estimate
from oracle.circuits.run import RunRequest
from oracle.jobs.errors import CircuitRejected

# Of Aer. Never ``automatic`` (it refuses wide circuits whatever they are) nor ``extended_stabilizer`` (its counts are
# wrong, Qiskit/qiskit-aer#2315).
METHODS = ("stabilizer", "statevector", "matrix_product_state", "density_matrix")
THREADS = 1
_CLIFFORD_NAMES = "id x y z h s sdg sx sxdg cx cy cz swap ecr measure reset barrier delay"
_CLIFFORD = frozenset(_CLIFFORD_NAMES.split())
_STATEMENTS = ("measure", "reset", "barrier")  # no gate can be called so
_BYTES_PER_AMPLITUDE = 16
# Aer derives a width limit from this machine's memory, for every method; ours is in CircuitLimits.
_WIDEST = 10_000
_DETERMINISTIC = {"max_parallel_threads": THREADS, "max_parallel_experiments": 1, "max_parallel_shots": 1}


def simulate(request: RunRequest, started: float) -> dict[str, Any]:
    """Parse, transpile and run; the fields of a :class:`~oracle.circuits.run.RunResult` but ``confinement``.

    Raises :class:`CircuitRejected`. Seeded runs are bit-identical: one thread, optimisation level 0.
    """
    seed = secrets.randbits(32) if request.seed is None else request.seed
    seconds = {"load": 0.0, "transpile": 0.0, "run": 0.0}
    runs: list[dict[str, Any]] = []
    facts: dict[str, Any] = {}
    number = 0
    for part, circuit in _timed(load_all(request), seconds, "load", started):
        began = time.perf_counter()
        prepared = list(_prepared(part, circuit, request))
        ready = time.perf_counter()
        measured = [_measured(each, request, (seed + number + n) % 2**32) for n, each in enumerate(prepared)]
        seconds["transpile"] += ready - began
        seconds["run"] += time.perf_counter() - ready
        place = {"pub": part.pub, "set": part.set, "seed": (seed + number) % 2**32}
        runs.append({**place, **_outcome(part, prepared, measured, request.result)})
        facts = facts or _facts(circuit, prepared[0], measured[0], runs[0]["transpiled_digest"])
        number += len(prepared)
    plain = len(runs) == 1 and request.result == COUNTS
    return {
        **facts,
        "shots": request.shots,
        "seed": seed,
        "versions": versions(),
        "seconds": {name: round(spent, 6) for name, spent in seconds.items()},
        "threads": THREADS,
        "runs": [] if plain else runs,
    }


@dataclass(frozen=True)
class _Prepared:
    """A compiled circuit. If it measures in a ``basis``, the first ``width`` bits of its outcomes are the basis's."""

    circuit: Any
    method: str
    width: int
    basis: str = ""


@dataclass(frozen=True)
class _Measured:
    """``memory`` is empty unless it was asked for."""

    counts: dict[str, int]
    memory: list[str]


def _timed(items: Iterator[Any], seconds: dict[str, float], phase: str, since: float) -> Iterator[Any]:
    """``items``, with the time each took to come added to ``seconds``."""
    for item in items:
        seconds[phase] += time.perf_counter() - since
        yield item
        since = time.perf_counter()


def _prepared(part: Part, circuit: Any, request: RunRequest) -> Iterator[_Prepared]:
    """What has to run for ``part``: the circuit, or for expectation values one circuit for each basis."""
    expectation = request.result == EXPECTATION
    compiled = _compiled(circuit)
    check_circuit(compiled, request.limits, measured=not expectation)
    if not expectation:
        method = choose_method(compiled, request.limits, request.method)
        yield _Prepared(compiled, method, compiled.num_clbits)
        return
    state = compiled.remove_final_measurements(inplace=False)
    for basis in bases(part.observables, request.limits):
        turned = _measured_in(basis, state)
        check_circuit(turned, request.limits)
        width = len(basis) - basis.count("I")
        yield _Prepared(turned, choose_method(turned, request.limits, request.method), width, basis)


def _measured_in(basis: str, state: Any) -> Any:
    """``state`` with the qubits of ``basis`` turned and measured, the last letter (qubit 0) into the lowest bit.

    The new bits come last, so their outcomes stand first.
    """
    from qiskit import ClassicalRegister

    qubits = [qubit for qubit, letter in enumerate(reversed(basis)) if letter != "I"]
    turned = state.copy()
    register = ClassicalRegister(len(qubits))
    turned.add_register(register)
    for bit, qubit in enumerate(qubits):
        letter = basis[-1 - qubit]
        if letter == "Y":
            turned.sdg(qubit)
        if letter != "Z":
            turned.h(qubit)
        turned.measure(qubit, register[bit])
    return turned


def _facts(circuit: Any, prepared: _Prepared, measured: _Measured, digest: str) -> dict[str, Any]:
    """What a result says of the circuit that ran first."""
    return {
        "counts": measured.counts,
        "qubits": circuit.num_qubits,
        "clbits": prepared.width,
        "depth": circuit.depth(),
        "operations": {name: int(number) for name, number in circuit.count_ops().items()},
        "method": prepared.method,
        "engine": f"aer-{prepared.method}",
        "transpiled_digest": digest,
    }


def _outcome(part: Part, prepared: list[_Prepared], measured: list[_Measured], result: str) -> dict[str, Any]:
    """An entry of ``runs``, but for its place."""
    first = prepared[0]
    facts: dict[str, Any] = {"method": first.method, "transpiled_digest": instructions_digest(first.circuit)}
    if result == EXPECTATION:
        pairs = [(each.basis, found.counts) for each, found in zip(prepared, measured, strict=True)]
        values, errors = estimate(part.observables, pairs)
        told = [{"basis": basis, "counts": counts} for basis, counts in pairs]
        return {**facts, "values": values, "standard_errors": errors, "bases": told}
    if result == MEMORY:
        facts["memory"] = measured[0].memory
    return {**facts, "counts": measured[0].counts}


def choose_method(circuit: Any, limits: CircuitLimits, wanted: str | None = None) -> str:
    """The ``wanted`` one of :data:`METHODS`; else ``stabilizer`` for Clifford circuits, else ``statevector``.

    Raises :class:`CircuitRejected` if it is not fit for the circuit or its amplitudes do not fit the memory. What a
    matrix product state takes shows only as it runs, within the limits of the process.
    """
    clifford = set(circuit.count_ops()) <= _CLIFFORD
    method = wanted or ("stabilizer" if clifford else "statevector")
    if method not in METHODS:
        raise CircuitRejected("unknown_method", f"{method[:40]!r} is not one of {', '.join(METHODS)}")
    if method == "stabilizer" and not clifford:
        raise CircuitRejected("not_clifford", "it has gates that the stabilizer method lacks", field="circuit")
    qubits = circuit.num_qubits * {"statevector": 1, "density_matrix": 2}.get(method, 0)
    needed = _BYTES_PER_AMPLITUDE << qubits
    if needed > limits.memory_bytes:
        raise CircuitRejected(
            "too_much_memory",
            f"{circuit.num_qubits} qubits need {needed} bytes of amplitudes, the limit is {limits.memory_bytes}",
            field="circuit",
        )
    return method


@cache
def pass_manager() -> Any:
    """Qiskit's preset pass manager for Aer, built once: that costs far more than a small simulation."""
    from qiskit.transpiler import generate_preset_pass_manager

    return generate_preset_pass_manager(0, simulator("statevector"))


@cache
def simulator(method: str) -> Any:
    """One Aer simulator per method, on one thread."""
    from qiskit_aer import AerSimulator

    simulator = AerSimulator(method=method, **_DETERMINISTIC)
    simulator.set_max_qubits(_WIDEST)
    return simulator


@cache
def versions() -> dict[str, str]:
    """What a repeat of the run needs to be the same."""
    import platform

    import qiskit
    import qiskit_aer

    return {
        "python": platform.python_version(),
        "qiskit": qiskit.__version__,
        "qiskit-aer": qiskit_aer.__version__,
    }


@cache
def _native() -> frozenset[str]:
    """The instructions that the simulator takes as they are."""
    return frozenset(simulator("statevector").configuration().basis_gates)


def _compiled(circuit: Any) -> Any:
    try:
        circuit = _unfolded(circuit)
        # The pass manager would give back a copy, and take longer than a small circuit's simulation.
        return circuit if all(map(_is_native, circuit.data)) else pass_manager().run(circuit)
    except RecursionError:
        raise CircuitRejected("nested_too_deeply", "its gates rest on too many others", field="circuit") from None


def _unfolded(circuit: Any) -> Any:
    """``circuit`` without gates of its own definition: Qiskit and Aer know gates by name alone, and would run a
    stranger's ``ecr`` as their own."""
    while own := {step.name for step in circuit.data if not (_is_basic(step) or step.is_control_flow())}:
        circuit = circuit.decompose(gates_to_decompose=sorted(own))
    if not any(step.is_control_flow() for step in circuit.data):
        return circuit
    plain = circuit.copy_empty_like()
    for step in circuit.data:
        operation = step.operation
        if step.is_control_flow():
            operation = operation.replace_blocks([_unfolded(block) for block in operation.blocks])
        plain.append(operation, step.qubits, step.clbits)
    return plain


def _is_native(instruction: Any) -> bool:
    return _is_basic(instruction) and (instruction.name in _native() or instruction.name in _STATEMENTS)


def _is_basic(instruction: Any) -> bool:
    return instruction.is_standard_gate() or instruction.name in _STATEMENTS


def _measured(prepared: _Prepared, request: RunRequest, seed: int) -> _Measured:
    found = _run(prepared.circuit, prepared.method, request.shots, seed, memory=request.result == MEMORY)
    if prepared.basis:
        counts: dict[str, int] = {}
        for outcome, number in found.counts.items():
            kept = outcome[: prepared.width]
            counts[kept] = counts.get(kept, 0) + number
        found = _Measured(counts, [])
    if len(found.counts) > request.limits.outcomes:
        raise CircuitRejected(
            "too_many_outcomes",
            f"it gave {len(found.counts)} distinct outcomes, the limit is {request.limits.outcomes}",
            remedy="ask for fewer shots or measure fewer qubits",
        )
    return found


def _run(circuit: Any, method: str, shots: int, seed: int, *, memory: bool = False) -> _Measured:
    result = simulator(method).run(circuit, shots=shots, seed_simulator=seed, memory=memory).result()
    if not result.success:
        status = " ".join(str(result.results[0].status if result.results else result.status).split())[:160]
        code = "too_much_memory" if "memory" in status.lower() or "bad_alloc" in status else "simulation_failed"
        raise CircuitRejected(code, f"the simulator gave up: {status}", field="circuit")
    # Aer's keys are hex numbers of all classical bits; Qiskit's nicer form drops bits without a register.
    width, data = circuit.num_clbits, result.data()
    counts = {f"{int(key, 16):0{width}b}": int(number) for key, number in data["counts"].items()}
    return _Measured(counts, [f"{int(key, 16):0{width}b}" for key in data["memory"]] if memory else [])
