"""Running a parsed circuit on Qiskit Aer or stim. Imported by the sandbox worker; imports Qiskit on first use."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from functools import cache
from typing import Any

from oracle.circuits.analysis import (
    METHODS,
    MPS,
    REPRODUCIBLE,
    REQUESTS,
    STABILIZER,
    STATEVECTOR,
    STIM,
    Analysis,
    analyse,
    choose_or_refuse,
    probe,
    refuse_unsuitable,
    wants_probe,
)
from oracle.circuits.clifford import as_clifford, sample
from oracle.circuits.load import check_circuit, instructions_digest, load
from oracle.circuits.run import RunRequest
from oracle.jobs.errors import CircuitRejected

_FUSED_FROM_QUBITS = 14  # Aer's default
_STATEMENTS = ("measure", "reset", "barrier")  # no gate can be called so
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
    plain = _unfolded(circuit)
    method = _method(plain, request)
    analysed = time.perf_counter()
    compiled = _compiled(plain, method)
    check_circuit(compiled, limits)
    transpiled = time.perf_counter()
    seed = secrets.randbits(32) if request.seed is None else request.seed
    if method == STIM:
        counts = sample(compiled, request.shots, seed, limits.outcomes)
    else:
        counts = _run(compiled, method, request.shots, seed, request.threads)
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
        "engine": STIM if method == STIM else f"aer-{method}",
        "versions": versions(method),
        "transpiled_digest": instructions_digest(compiled),
        "seconds": {
            "load": round(loaded - started, 6),
            "analyse": round(analysed - loaded, 6),
            "transpile": round(transpiled - analysed, 6),
            "run": round(time.perf_counter() - transpiled, 6),
        },
        "threads": request.threads,
    }


def analysis_of(request: RunRequest) -> Analysis:
    """What the circuit of ``request`` is, probed where that may help. Raises :class:`CircuitRejected`."""
    return _analysed(_unfolded(load(request.source, request.format, request.limits)), request)


@cache
def pass_manager(method: str) -> Any:
    """Qiskit's preset pass manager for a method of Aer, built once: that costs far more than a small simulation."""
    from qiskit.transpiler import generate_preset_pass_manager

    return generate_preset_pass_manager(0, simulator(method))


@cache
def simulator(method: str) -> Any:
    """One Aer simulator per method; on one thread, unless a run asks for more."""
    from qiskit_aer import AerSimulator

    simulator = AerSimulator(method=method, **_DETERMINISTIC)
    simulator.set_max_qubits(_WIDEST)
    return simulator


@cache
def versions(method: str) -> dict[str, str]:
    """What a repeat of a run with ``method`` needs to be the same."""
    import platform

    import qiskit

    named = {"python": platform.python_version(), "qiskit": qiskit.__version__}
    if method == STIM:
        import stim

        return {**named, "stim": stim.__version__}
    import qiskit_aer

    return {**named, "qiskit-aer": qiskit_aer.__version__}


@cache
def _native(method: str) -> frozenset[str]:
    """The instructions that the simulator takes as they are."""
    return frozenset(simulator(method).configuration().basis_gates)


def _method(circuit: Any, request: RunRequest) -> str:
    """The method asked for, or the best one if that is left to us. Raises :class:`CircuitRejected`."""
    if request.method not in REQUESTS:
        raise CircuitRejected("unknown_method", f"{request.method[:40]!r} is not one of {', '.join(METHODS)}")
    if request.method not in METHODS:
        reproducible = request.method == REPRODUCIBLE
        analysis = _analysed(circuit, request)
        return choose_or_refuse(analysis, request.shots, request.limits, reproducible=reproducible)
    refuse_unsuitable(request.method, analyse(circuit), request.shots, request.limits)
    return request.method


def _analysed(circuit: Any, request: RunRequest) -> Analysis:
    analysis = analyse(circuit)
    if not wants_probe(analysis, request.shots, request.limits):
        return analysis
    found = probe(_compiled(circuit, MPS), analysis, request.shots, request.limits)
    return replace(analysis, probe=found)


def _compiled(circuit: Any, method: str) -> Any:
    """``circuit``, without gates of its own definition, in instructions that ``method`` knows."""
    if method in (STABILIZER, STIM):
        return as_clifford(circuit)
    native = _native(method)
    # The pass manager would give back a copy, and take longer than a small circuit's simulation. Of a large one it puts
    # gates on the same qubits together, which Aer can then fuse to fewer: a fifth of the time.
    unfused = method != STATEVECTOR or circuit.num_qubits < _FUSED_FROM_QUBITS
    if unfused and all(_is_basic(step) and (step.name in native or step.name in _STATEMENTS) for step in circuit.data):
        return circuit
    return pass_manager(method).run(circuit)


def _unfolded(circuit: Any) -> Any:
    """``circuit`` without gates of its own definition: Qiskit and Aer know gates by name alone, and would run a
    stranger's ``ecr`` as their own."""
    try:
        return _without_definitions(circuit)
    except RecursionError:
        raise CircuitRejected("nested_too_deeply", "its gates rest on too many others", field="circuit") from None


def _without_definitions(circuit: Any) -> Any:
    while own := {step.name for step in circuit.data if not (_is_basic(step) or step.is_control_flow())}:
        circuit = circuit.decompose(gates_to_decompose=sorted(own))
    if not any(step.is_control_flow() for step in circuit.data):
        return circuit
    plain = circuit.copy_empty_like()
    for step in circuit.data:
        operation = step.operation
        if step.is_control_flow():
            operation = operation.replace_blocks([_without_definitions(block) for block in operation.blocks])
        plain.append(operation, step.qubits, step.clbits)
    return plain


def _is_basic(instruction: Any) -> bool:
    return instruction.is_standard_gate() or instruction.name in _STATEMENTS


def _run(circuit: Any, method: str, shots: int, seed: int, threads: int = 1) -> dict[str, int]:
    job = simulator(method).run(circuit, shots=shots, seed_simulator=seed, max_parallel_threads=threads)
    result = job.result()
    if not result.success:
        status = " ".join(str(result.results[0].status if result.results else result.status).split())[:160]
        code = "too_much_memory" if "memory" in status.lower() or "bad_alloc" in status else "simulation_failed"
        raise CircuitRejected(code, f"the simulator gave up: {status}", field="circuit")
    # Aer's keys are hex numbers of all classical bits; Qiskit's nicer form drops bits without a register.
    width = circuit.num_clbits
    return {f"{int(key, 16):0{width}b}": int(number) for key, number in result.data()["counts"].items()}
