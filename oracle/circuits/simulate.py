"""Running parsed circuits on Qiskit Aer, stim or qsim. Imported by the sandbox worker; imports Qiskit on first use."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from oracle.circuits import clifford, qsim
from oracle.circuits.analysis import (
    METHODS,
    MPS,
    QSIM,
    REPRODUCIBLE,
    REQUESTS,
    STABILIZER,
    STATEVECTOR,
    STIM,
    Analysis,
    analyse,
    choose,
    choose_or_refuse,
    forecasts,
    hardest,
    probe,
    refuse_unsuitable,
    wants_probe,
)
from oracle.circuits.clifford import as_clifford
from oracle.circuits.instructions import Part
from oracle.circuits.lint import COUNTS, EXPECTATION, MEMORY
from oracle.circuits.load import check_circuit, depth_of, instructions_digest, load_all
from oracle.circuits.noise import NOISY_GATES, aer_model
from oracle.circuits.observables import bases, estimate
from oracle.circuits.run import RunRequest
from oracle.circuits.spread import (
    BYTES_PER_VALUE,
    SAMPLE_SECONDS,
    SAMPLE_SHOTS,
    likely_outcomes,
    most_outcomes,
    refuse_large,
)
from oracle.jobs.errors import CircuitRejected
from oracle.jobs.noise import NOISELESS, Noise

_FUSED_FROM_QUBITS = 14  # Aer's default
_STATEMENTS = ("measure", "reset", "barrier")  # no gate can be called so
# Aer derives a width limit from this machine's memory, for every method; ours is in CircuitLimits.
_WIDEST = 10_000
_DETERMINISTIC = {"max_parallel_threads": 1, "max_parallel_experiments": 1, "max_parallel_shots": 1}


def simulate(request: RunRequest, started: float) -> dict[str, Any]:
    """Parse, transpile and run; the fields of a :class:`~oracle.circuits.run.RunResult` but ``confinement``.

    Raises :class:`CircuitRejected`. Seeded runs are bit-identical: one thread, optimisation level 0.
    """
    seed = secrets.randbits(32) if request.seed is None else request.seed
    seconds = dict.fromkeys(("load", "analyse", "transpile", "run"), 0.0)
    runs: list[dict[str, Any]] = []
    facts: dict[str, Any] = {}
    used: dict[str, str] = {}
    number = 0
    for part, circuit in _timed(load_all(request), seconds, "load", started):
        prepared = list(_prepared(part, circuit, request, seconds))
        began = time.perf_counter()
        measured = [_measured(each, request, (seed + number + n) % 2**32) for n, each in enumerate(prepared)]
        seconds["run"] += time.perf_counter() - began
        place = {"pub": part.pub, "set": part.set, "seed": (seed + number) % 2**32}
        runs.append({**place, **_outcome(part, prepared, measured, request.result)})
        facts = facts or _facts(circuit, prepared[0], measured[0], runs[0]["transpiled_digest"])
        for each in prepared:
            used |= versions(each.method)
        number += len(prepared)
    plain = len(runs) == 1 and request.result == COUNTS
    return {
        **facts,
        "shots": request.shots,
        "seed": seed,
        "versions": used,
        "seconds": {name: round(spent, 6) for name, spent in seconds.items()},
        "threads": request.threads,
        "runs": [] if plain else runs,
        "noise": request.noise.as_dict(),
    }


def analysis_of(request: RunRequest) -> Analysis:
    """What the circuit of ``request`` is, probed where that may help; of several, the one that takes longest.

    Raises :class:`CircuitRejected`, also if the result would be too large to deliver.
    """
    circuits = [
        (basis, turned)
        for part, circuit in load_all(request)
        for basis, turned in _turned(part, _plain(circuit, request), request)
    ]
    analyses = [_analysed(circuit, request) for _, circuit in circuits]
    _refuse_large_result(circuits, analyses, request)
    return hardest(analyses, request.shots, request.limits)


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


def _refuse_large_result(circuits: list[tuple[str, Any]], analyses: list[Analysis], request: RunRequest) -> None:
    """By what the gates allow; where that is too much, by what a few shots show."""
    widths = [_width(basis, circuit) for basis, circuit in circuits]
    beside = sum(len(basis) for basis, _ in circuits)
    beside += BYTES_PER_VALUE * sum(len(part.observables) for part in request.parts())
    kept = {"shots": request.shots, "limits": request.limits, "memory": request.result == MEMORY, "beside": beside}
    bounds = [most_outcomes(analysis, request.shots) for analysis in analyses]
    try:
        refuse_large(bounds, widths, **kept)
    except CircuitRejected:
        pairs = zip(circuits, analyses, bounds, strict=True)
        seen = [min(bound, _sampled(*circuit, analysis, request, bound)) for circuit, analysis, bound in pairs]
        refuse_large(seen, widths, **kept)


def _sampled(basis: str, circuit: Any, analysis: Analysis, request: RunRequest, bound: int) -> int:
    """How many outcomes a sample announces, or ``bound`` if taking one would take long."""
    shots = min(SAMPLE_SHOTS, request.shots)
    method, _ = choose(analysis, shots, request.limits, reproducible=False)
    if not method or forecasts(analysis, shots)[method].seconds > SAMPLE_SECONDS:
        return bound
    prepared = _Prepared(_compiled(circuit, method, request.noise), method, _width(basis, circuit), basis)
    counts = _measured(prepared, replace(request, shots=shots, result=COUNTS), seed=0).counts
    return likely_outcomes(counts, request.shots)


def _width(basis: str, circuit: Any) -> int:
    """Bits of an outcome."""
    return len(basis) - basis.count("I") if basis else circuit.num_clbits


def _timed(items: Iterator[Any], seconds: dict[str, float], phase: str, since: float) -> Iterator[Any]:
    """``items``, with the time each took to come added to ``seconds``."""
    for item in items:
        seconds[phase] += time.perf_counter() - since
        yield item
        since = time.perf_counter()


def _prepared(part: Part, circuit: Any, request: RunRequest, seconds: dict[str, float]) -> Iterator[_Prepared]:
    """What has to run for ``part``: the circuit, or for expectation values one circuit for each basis."""
    began = time.perf_counter()
    for basis, turned in _turned(part, _plain(circuit, request), request):
        method = _method(turned, request)
        analysed = time.perf_counter()
        compiled = _compiled(turned, method, request.noise)
        check_circuit(compiled, request.limits)
        seconds["analyse"] += analysed - began
        seconds["transpile"] += time.perf_counter() - analysed
        yield _Prepared(compiled, method, _width(basis, compiled), basis)
        began = time.perf_counter()


def _plain(circuit: Any, request: RunRequest) -> Any:
    """``circuit`` without definitions, checked again: only now do the angles inside them show."""
    plain = _unfolded(circuit)
    if plain is not circuit:
        check_circuit(plain, request.limits, measured=request.result != EXPECTATION)
    return plain


def _turned(part: Part, circuit: Any, request: RunRequest) -> Iterator[tuple[str, Any]]:
    """``circuit``, or for expectation values what it becomes in each basis; if noise is to follow its gates, in gates
    that every method runs one by one."""
    if request.result != EXPECTATION:
        yield "", _for_noise(circuit, request)
        return
    state = circuit.remove_final_measurements(inplace=False)
    for basis in bases(part.observables, request.limits):
        yield basis, _for_noise(_measured_in(basis, state), request)


def _for_noise(circuit: Any, request: RunRequest) -> Any:
    if not request.noise:
        return circuit
    found, limit = _unfolded_size(circuit), request.limits.expanded_gates
    if found > limit:  # found without unfolding all of it, which takes long
        text = f"it has {found} instructions once unfolded for noise, the limit is {limit}"
        raise CircuitRejected("too_many_gates", text, field="circuit")
    unfolded = _without(circuit, _takes_noise)
    check_circuit(unfolded, request.limits)
    return unfolded


def _unfolded_size(circuit: Any) -> int:
    """How many instructions there will be, going by one gate of each name; blocks count as one."""
    size, numbers = len(circuit.data), circuit.count_ops()
    for step in {step.name: step for step in circuit.data if not step.is_control_flow()}.values():
        if not _takes_noise(step):
            alone = circuit.copy_empty_like()
            alone.append(step)
            size += (len(_without(alone, _takes_noise).data) - 1) * numbers[step.name]
    return size


def _takes_noise(step: Any) -> bool:
    return step.name in NOISY_GATES or step.name in _STATEMENTS


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
        "depth": depth_of(circuit),
        "operations": {name: int(number) for name, number in circuit.count_ops().items()},
        "method": prepared.method,
        "engine": prepared.method if prepared.method in (STIM, QSIM) else f"aer-{prepared.method}",
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


@cache
def pass_manager(method: str) -> Any:
    """What turns a circuit into gates of a method of Aer, built once: that costs far more than a small simulation."""
    if method == STATEVECTOR:
        from qiskit.transpiler import generate_preset_pass_manager

        return generate_preset_pass_manager(0, simulator(method))
    # All that the preset does for a simulator at level 0, but it looks for plugins for a second first.
    from qiskit.circuit.equivalence_library import SessionEquivalenceLibrary
    from qiskit.transpiler import PassManager
    from qiskit.transpiler.passes import BasisTranslator, UnrollCustomDefinitions

    gates = sorted(_native(method)) + [*_STATEMENTS, "if_else"]
    return PassManager([step(SessionEquivalenceLibrary, gates) for step in (UnrollCustomDefinitions, BasisTranslator)])


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
    if method == QSIM:
        return {**named, qsim.PACKAGE: qsim.VERSION}
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
    if request.method in (STIM, QSIM) and request.result == MEMORY:
        raise CircuitRejected("no_memory", f"{request.method} keeps no shots in order", field="method")
    if request.method == QSIM and qsim.absence():
        raise CircuitRejected("not_offered", f"qsim: {qsim.absence()}", field="method")
    if request.method not in METHODS:
        reproducible = request.method == REPRODUCIBLE or request.result == MEMORY
        kept = {"allowed": _offered(request), "insisted": request.insisted}
        return choose_or_refuse(
            _analysed(circuit, request), request.shots, request.limits, reproducible=reproducible, **kept
        )
    refuse_unsuitable(request.method, analyse(circuit, noisy=bool(request.noise)), request.shots, request.limits)
    return request.method


def _offered(request: RunRequest) -> tuple[str, ...]:
    """The methods to choose from. Raises :class:`CircuitRejected` if only qsim is wanted and it is not here."""
    lost = {QSIM} if qsim.absence() or request.result == MEMORY else set()
    offered = tuple(method for method in request.methods if method not in lost)
    if not offered:
        why = qsim.absence() or "it keeps no shots in order"
        raise CircuitRejected("not_offered", f"only qsim may run it: {why}", field="allowed_backends")
    return offered


def _analysed(circuit: Any, request: RunRequest) -> Analysis:
    analysis, fast = analyse(circuit, noisy=bool(request.noise)), _may_go_to_qsim(request)
    if not wants_probe(analysis, request.shots, request.limits, qsim=fast):
        return analysis
    found = probe(_compiled(circuit, MPS), analysis, request.shots, request.limits, qsim=fast)
    return replace(analysis, probe=found)


def _may_go_to_qsim(request: RunRequest) -> bool:
    """Never true for what others repeat unless its spec says so: they have to come to the same choice without it."""
    portable = request.method == REPRODUCIBLE and not request.insisted
    return QSIM in request.methods and request.result != MEMORY and not portable and not qsim.absence()


def _compiled(circuit: Any, method: str, noise: Noise = NOISELESS) -> Any:
    """``circuit``, without gates of its own definition, in instructions that ``method`` knows. With noise it stays
    as it is, whatever the method: noise follows the same gates everywhere."""
    if noise:
        return circuit
    if method in (STABILIZER, STIM):
        return as_clifford(circuit)
    if method == QSIM:
        return circuit
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
        return _without(circuit, _is_basic)
    except RecursionError:
        raise CircuitRejected("nested_too_deeply", "its gates rest on too many others", field="circuit") from None


def _without(circuit: Any, stays: Callable[[Any], bool]) -> Any:
    """``circuit`` with the definitions of its gates in their place, until every one ``stays``."""
    from qiskit.circuit import CONTROL_FLOW_OP_NAMES

    while others := {step.name for step in circuit.data if not (stays(step) or step.is_control_flow())}:
        circuit = circuit.decompose(gates_to_decompose=sorted(others))
    if not any(name in CONTROL_FLOW_OP_NAMES for name in circuit.count_ops()):
        return circuit
    plain = circuit.copy_empty_like()
    for step in circuit.data:
        operation = step.operation
        if step.is_control_flow():
            operation = operation.replace_blocks([_without(block, stays) for block in operation.blocks])
        plain.append(operation, step.qubits, step.clbits)
    return plain


def _is_basic(instruction: Any) -> bool:
    return instruction.is_standard_gate() or instruction.name in _STATEMENTS


def _measured(prepared: _Prepared, request: RunRequest, seed: int) -> _Measured:
    circuit, limits = prepared.circuit, request.limits
    if prepared.method == STIM:
        found = _Measured(clifford.sample(circuit, request.shots, seed, limits.outcomes, request.noise), [])
    elif prepared.method == QSIM:
        found = _Measured(qsim.sample(circuit, request.shots, seed, limits.outcomes), [])
    else:
        asked = {"memory": request.result == MEMORY, "noise": request.noise}
        found = _run(circuit, prepared.method, request.shots, seed, request.threads, **asked)
    if prepared.basis:
        counts: dict[str, int] = {}
        for outcome, number in found.counts.items():
            kept = outcome[: prepared.width]
            counts[kept] = counts.get(kept, 0) + number
        found = _Measured(counts, [])
    if len(found.counts) > limits.outcomes:
        raise CircuitRejected(
            "too_many_outcomes",
            f"it gave {len(found.counts)} distinct outcomes, the limit is {limits.outcomes}",
            remedy="ask for fewer shots or measure fewer qubits",
        )
    return found


def _run(
    circuit: Any,
    method: str,
    shots: int,
    seed: int,
    threads: int = 1,
    *,
    memory: bool = False,
    noise: Noise = NOISELESS,
) -> _Measured:
    options = {"seed_simulator": seed, "max_parallel_threads": threads, "memory": memory}
    if noise:
        options["noise_model"] = aer_model(noise)
    result = simulator(method).run(circuit, shots=shots, **options).result()
    if not result.success:
        status = " ".join(str(result.results[0].status if result.results else result.status).split())[:160]
        code = "too_much_memory" if "memory" in status.lower() or "bad_alloc" in status else "simulation_failed"
        raise CircuitRejected(code, f"the simulator gave up: {status}", field="circuit")
    # Aer's keys are hex numbers of all classical bits; Qiskit's nicer form drops bits without a register.
    width, data = circuit.num_clbits, result.data()
    counts = {f"{int(key, 16):0{width}b}": int(number) for key, number in data["counts"].items()}
    return _Measured(counts, [f"{int(key, 16):0{width}b}" for key in data["memory"]] if memory else [])
