"""Running a parsed circuit on Qiskit Aer. Imported by the sandbox worker; imports Qiskit on first use."""

from __future__ import annotations

import secrets
import time
from functools import cache
from typing import Any

from oracle.circuits.load import check_circuit, instructions_digest, load
from oracle.circuits.run import RunRequest
from oracle.jobs.errors import CircuitRejected

_CLIFFORD_NAMES = "id x y z h s sdg sx sxdg cx cy cz swap ecr measure reset barrier delay"
_CLIFFORD = frozenset(_CLIFFORD_NAMES.split())
_STATEMENTS = ("measure", "reset", "barrier")  # no gate can be called so
_BYTES_PER_AMPLITUDE = 16
# Aer derives a width limit from this machine's memory, for every method; ours is in CircuitLimits.
_WIDEST = 10_000
_DETERMINISTIC = {"max_parallel_threads": 1, "max_parallel_experiments": 1, "max_parallel_shots": 1}


def simulate(request: RunRequest, started: float) -> dict[str, Any]:
    """Parse, transpile and run; the fields of a :class:`~oracle.circuits.run.RunResult` but ``confinement``.

    Raises :class:`CircuitRejected`. Seeded runs are bit-identical: one thread, optimisation level 0.
    """
    limits = request.limits
    if not 1 <= request.shots <= limits.shots:
        code = "too_many_shots" if request.shots > limits.shots else "no_shots"
        raise CircuitRejected(code, f"asks for {request.shots} shots, the limit is {limits.shots}")
    circuit = load(request.source, request.format, limits)
    loaded = time.perf_counter()
    compiled = _compiled(circuit)
    check_circuit(compiled, limits)
    transpiled = time.perf_counter()
    method = choose_method(compiled, limits.memory_bytes)
    seed = secrets.randbits(32) if request.seed is None else request.seed
    counts = _run(compiled, method, request.shots, seed)
    if len(counts) > limits.outcomes:
        raise CircuitRejected(
            "too_many_outcomes",
            f"it gave {len(counts)} distinct outcomes, the limit is {limits.outcomes}",
            remedy="ask for fewer shots or measure fewer qubits",
        )
    return {
        "counts": counts,
        "shots": request.shots,
        "seed": seed,
        "qubits": circuit.num_qubits,
        "clbits": circuit.num_clbits,
        "depth": circuit.depth(),
        "operations": {name: int(number) for name, number in circuit.count_ops().items()},
        "method": method,
        "engine": f"aer-{method}",
        "versions": versions(),
        "transpiled_digest": instructions_digest(compiled),
        "seconds": {
            "load": round(loaded - started, 6),
            "transpile": round(transpiled - loaded, 6),
            "run": round(time.perf_counter() - transpiled, 6),
        },
    }


def choose_method(circuit: Any, memory_bytes: int) -> str:
    """``stabilizer`` for Clifford circuits, else ``statevector`` if its amplitudes fit. Raises
    :class:`CircuitRejected`.

    Never Aer's ``automatic`` (it refuses wide circuits whatever they are) nor ``extended_stabilizer`` (its
    counts are wrong, Qiskit/qiskit-aer#2315).
    """
    if set(circuit.count_ops()) <= _CLIFFORD:
        return "stabilizer"
    needed = _BYTES_PER_AMPLITUDE << circuit.num_qubits
    if needed > memory_bytes:
        raise CircuitRejected(
            "too_much_memory",
            f"{circuit.num_qubits} qubits need {needed} bytes of amplitudes, the limit is {memory_bytes}",
            field="circuit",
        )
    return "statevector"


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


def _run(circuit: Any, method: str, shots: int, seed: int) -> dict[str, int]:
    result = simulator(method).run(circuit, shots=shots, seed_simulator=seed).result()
    if not result.success:
        status = " ".join(str(result.results[0].status if result.results else result.status).split())[:160]
        code = "too_much_memory" if "memory" in status.lower() or "bad_alloc" in status else "simulation_failed"
        raise CircuitRejected(code, f"the simulator gave up: {status}", field="circuit")
    # Aer's keys are hex numbers of all classical bits; Qiskit's nicer form drops bits without a register.
    width = circuit.num_clbits
    return {f"{int(key, 16):0{width}b}": int(number) for key, number in result.data()["counts"].items()}
