"""The compiler's process: fits strangers' circuits to one device, each in a confined child.

Started by :class:`oracle.backends.ibm.compiler.Compiler` as ``python -m oracle.backends.ibm.compile``. Its first
message holds the device's configuration and properties; target and pass manager are built from them once.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from oracle.backends.ibm import isa
from oracle.circuits.confine import confine, die_first, die_with_parent, prepare
from oracle.circuits.instructions import Part
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import EXPECTATION
from oracle.circuits.load import check_circuit, load_all
from oracle.circuits.observables import bases
from oracle.circuits.run import RunRequest
from oracle.circuits.simulate import _measured_in as measured_in
from oracle.circuits.simulate import _unfolded as unfolded
from oracle.circuits.worker import as_request, diagnose, read_frame, write_frame
from oracle.jobs.errors import CircuitRejected

OPTIMIZATION_LEVEL = 2
TRANSPILER_SEED = 1
_LONGEST_MESSAGE = 300


def main() -> None:
    """Serve requests until stdin closes."""
    requests, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    target = target_of(read_frame(requests))
    manager = pass_manager(target)
    for format, source in _warm_up(target):
        compiled(RunRequest(source, format, 1, 1, CircuitLimits()), target, manager)
    prepare()
    gc.collect()
    gc.freeze()
    write_frame(answers, {"ready": True})
    while (message := read_frame(requests)) is not None:
        request = as_request(message)
        if sys.platform == "linux":
            write_frame(answers, _forked(request, target, manager))
        else:  # where a warm process cannot safely fork: one circuit, then the next process
            write_frame(answers, _answer(request, target, manager))
            return


def target_of(device: Any) -> Any:
    """The transpiler's target for a device's ``configuration`` and ``properties``, both as IBM's JSON."""
    from qiskit_ibm_runtime.utils.backend_converter import convert_to_target
    from qiskit_ibm_runtime.utils.backend_decoder import configuration_from_server_data, properties_from_server_data

    configuration = configuration_from_server_data(device["configuration"])
    properties = properties_from_server_data(device["properties"]) if device["properties"] else None
    return convert_to_target(configuration, properties)


def pass_manager(target: Any) -> Any:
    """Qiskit's preset pass manager for ``target``; its seed makes a compilation repeatable."""
    from qiskit.transpiler import generate_preset_pass_manager

    return generate_preset_pass_manager(OPTIMIZATION_LEVEL, target=target, seed_transpiler=TRANSPILER_SEED)


def compiled(request: RunRequest, target: Any, manager: Any) -> dict[str, Any]:
    """What has to run, circuit by circuit, with figures of the original that comes first.

    Every entry of ``circuits`` has its place (``pub``, ``set``), the ``circuit`` as :mod:`oracle.backends.ibm.isa`
    describes it, how many seconds one shot takes, and how many of an outcome's bits count; for expectation values
    there is one for each ``basis``. Raises :class:`CircuitRejected`.
    """
    seconds = {"load": 0.0, "transpile": 0.0}
    facts: dict[str, Any] = {}
    circuits: list[dict[str, Any]] = []
    started = time.perf_counter()
    for part, circuit in load_all(request):
        loaded = time.perf_counter()
        if circuit.num_qubits > target.num_qubits:
            text = f"it has {circuit.num_qubits} qubits, the device {target.num_qubits}"
            raise CircuitRejected("too_many_qubits", text, field="circuit")
        facts = facts or _facts(circuit)
        circuits += [_fitted(part, *each, request, target, manager) for each in _variants(part, circuit, request)]
        seconds["load"] += loaded - started
        started = time.perf_counter()
        seconds["transpile"] += started - loaded
    return {**facts, "circuits": circuits, "seconds": {name: round(spent, 6) for name, spent in seconds.items()}}


def _facts(circuit: Any) -> dict[str, Any]:
    return {
        "qubits": circuit.num_qubits,
        "depth": circuit.depth(),
        "operations": {name: int(number) for name, number in circuit.count_ops().items()},
    }


def _variants(part: Part, circuit: Any, request: RunRequest) -> Iterator[tuple[Any, str]]:
    """The circuit itself, or for expectation values one for each basis to measure in."""
    circuit = unfolded(circuit)
    if request.result != EXPECTATION:
        yield circuit, ""
        return
    state = circuit.remove_final_measurements(inplace=False)
    for basis in bases(part.observables, request.limits):
        yield measured_in(basis, state), basis


def _fitted(part: Part, circuit: Any, basis: str, request: RunRequest, target: Any, manager: Any) -> dict[str, Any]:
    fitted = manager.run(circuit)
    check_circuit(fitted, replace(request.limits, qubits=max(request.limits.qubits, fitted.num_qubits)))
    return {
        "pub": part.pub,
        "set": part.set,
        "basis": basis,
        "width": len(basis) - basis.count("I") if basis else fitted.num_clbits,
        "circuit": isa.plain(fitted),
        "duration": duration(fitted, target),
    }


def duration(circuit: Any, target: Any) -> float:
    """Seconds from the first gate to the last measurement: the longest path of the target's own durations."""
    ready = dict.fromkeys((*circuit.qubits, *circuit.clbits), 0.0)
    places = {qubit: index for index, qubit in enumerate(circuit.qubits)}
    for step in circuit.data:
        wires = (*step.qubits, *step.clbits)
        if not wires:
            continue
        known = None
        if step.name in target.operation_names and not step.is_control_flow():
            known = target[step.name].get(tuple(places[qubit] for qubit in step.qubits))
        end = max(ready[wire] for wire in wires) + (getattr(known, "duration", None) or 0.0)
        ready.update(dict.fromkeys(wires, end))
    return max(ready.values(), default=0.0)


def _forked(request: RunRequest, target: Any, manager: Any) -> dict[str, Any]:
    """The answer of a confined child, or why it has none."""
    inlet, outlet = os.pipe()
    parent, child = os.getpid(), os.fork()
    if child == 0:
        _run_child(request, target, manager, outlet, parent)
    os.close(outlet)
    try:
        received, why = _collect(inlet, request.limits)
    finally:
        os.close(inlet)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
    if not why:
        with suppress(ValueError, RecursionError):
            if isinstance(answer := json.loads(received), dict):
                return answer
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return diagnose(number, why, request.limits, used.ru_utime + used.ru_stime)


def _run_child(request: RunRequest, target: Any, manager: Any, outlet: int, parent: int) -> None:
    try:
        die_with_parent(parent)
        die_first()
        os.dup2(outlet, 3)
        os.closerange(4, 1024)
        os.closerange(0, 3)
        data = memoryview(json.dumps(_answer(request, target, manager)).encode())
        while data:
            data = data[os.write(3, data) :]
    finally:
        os._exit(0)


def _answer(request: RunRequest, target: Any, manager: Any) -> dict[str, Any]:
    try:
        confinement = confine(request.limits)
        return {**compiled(request, target, manager), "confinement": confinement}
    except CircuitRejected as err:
        return {"code": err.code, "message": err.message, "field": err.field, "remedy": err.remedy}
    except MemoryError:
        text = f"it needs more than {request.limits.memory_bytes} bytes of memory"
        return {"code": "memory_limit", "message": text}
    except BaseException as err:  # Rust panics too: whatever it is, it is this circuit's own
        text = "".join(c if 32 <= ord(c) < 127 else " " for c in str(err))[:_LONGEST_MESSAGE]
        return {"code": "transpile_failed", "message": f"{type(err).__name__}: {text}"}


def _collect(inlet: int, limits: CircuitLimits) -> tuple[bytes, str]:
    """What the child wrote, and ``time`` or ``output`` if that is not all."""
    deadline, received = time.monotonic() + limits.wall_seconds, bytearray()
    while True:
        ready, _, _ = select.select([inlet], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return b"", "time"
        part = os.read(inlet, 2**16)
        if not part:
            return bytes(received), ""
        received += part
        if len(received) > limits.output_bytes:
            return b"", "output"


def _warm_up(target: Any) -> list[tuple[str, bytes]]:
    """Circuits that make every pass import and build what it needs: a confined child can open nothing any more."""
    width = min(5, target.num_qubits)
    everything = (
        b"t q; x q; y q; z q; s q; sdg q; tdg q; id q; sx q; p(0.3) q; rx(0.1) q; ry(0.2) q; rz(0.3) q; u(1,2,3) q;"
    )
    links = b"".join(b"h q[%d]; cx q[%d],q[%d]; cp(0.3) q[%d],q[%d]; swap q[%d],q[%d];" % (a, a, b, b, a, a, b)
                     for a in range(width) for b in range(width) if a != b)  # fmt: skip
    head = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[%d]; creg c[%d]; h q;' % (width, width)
    feed = b"measure q[0] -> c[0]; if(c==1) x q[1]; reset q[0];" if "if_else" in target.operation_names else b""
    three = b'OPENQASM 3.0; include "stdgates.inc"; qubit[2] q; bit[2] c; h q[0]; cx q[0], q[1]; c = measure q;'
    wide = head + b"ccx q[0],q[1],q[2]; cswap q[0],q[1],q[2];" if width > 2 else head
    return [
        ("openqasm2", head + b"measure q -> c;"),
        ("openqasm2", wide + everything + links + b"barrier q; measure q -> c;"),
        ("openqasm2", head + feed + b"measure q -> c;"),
        ("openqasm3", three),
    ]


if __name__ == "__main__":
    main()
