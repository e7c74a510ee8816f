"""From a circuit document to Qiskit circuits. Runs inside the sandbox only: the parsers can hang, abort or
panic."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from oracle.circuits.instructions import Part, parts, read_work
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import EXPECTATION, lint
from oracle.circuits.run import RunRequest
from oracle.jobs.errors import CircuitRejected


def load(source: bytes, format: str, limits: CircuitLimits) -> Any:
    """The ``QuantumCircuit`` that ``source`` describes, the first if it has several. Raises
    :class:`CircuitRejected`."""
    lint(source, format, limits)
    circuit = _parsed(next(parts(read_work(source, format, limits))))
    check_circuit(circuit, limits)
    return circuit


def load_all(request: RunRequest) -> Iterator[tuple[Part, Any]]:
    """Every circuit to run, in order, with the part of the job it stands for. Raises :class:`CircuitRejected`.

    What speaks against the request as a whole is found before its first circuit is parsed.
    """
    request.lint()
    for part in request.parts():
        circuit = _parsed(part)
        check_circuit(circuit, request.limits, measured=request.result != EXPECTATION)
        yield part, circuit


def _parsed(part: Part) -> Any:
    try:
        return _parse(part.source.decode("ascii"), part.format)
    except MemoryError:
        raise
    except RecursionError:
        raise CircuitRejected("nested_too_deeply", "the parser cannot follow its nesting", field="circuit") from None
    except Exception as err:
        raise CircuitRejected("syntax_error", f"cannot be parsed: {_one_line(err)}", field="circuit") from None
    except BaseException as err:  # Rust panics are no Exceptions
        if isinstance(err, (KeyboardInterrupt, SystemExit)):
            raise
        raise CircuitRejected("parser_crash", "the parser panicked on it", field="circuit") from None


def check_circuit(circuit: Any, limits: CircuitLimits, *, measured: bool = True) -> None:
    """The lint's limits again, on what Qiskit made of the text. Raises :class:`CircuitRejected`.

    ``measured`` says whether it has to measure something.

    Called for the circuit as parsed and as compiled: only the second shows the angles inside gate
    definitions.
    """
    figures = (
        ("too_many_qubits", "qubits", circuit.num_qubits, limits.qubits),
        ("too_many_clbits", "classical bits", circuit.num_clbits, limits.clbits),
        ("too_many_gates", "instructions", len(circuit.data), limits.expanded_gates),
        # It has no more layers than instructions, and counting them takes a while.
        ("too_deep", "layers", depth_of(circuit) if len(circuit.data) > limits.depth else 0, limits.depth),
    )
    for code, what, found, limit in figures:
        if found > limit:
            raise CircuitRejected(code, f"it has {found} {what}, the limit is {limit}", field="circuit")
    if circuit.parameters:
        raise CircuitRejected("unbound_parameters", "it has parameters without values", field="circuit")
    measures = False
    for instruction in _all_instructions(circuit):
        measures |= instruction.name == "measure"
        if any(isinstance(value, float) and not math.isfinite(value) for value in instruction.params):
            raise CircuitRejected("bad_number", f"an angle of {instruction.name} is not finite", field="circuit")
    if measured and not measures:
        raise CircuitRejected("no_measurement", "it measures nothing, so there would be no counts", field="circuit")


def depth_of(circuit: Any) -> int:
    """Layers of ``circuit``: Qiskit's ``depth()``, but three times as fast, as most circuits have no `if`."""
    layers = dict.fromkeys((*circuit.qubits, *circuit.clbits), 0)
    for step in circuit.data:
        bits = step.qubits
        if step.name == "measure" or step.is_control_flow():
            bits += step.clbits
        if len(bits) == 1 and step.name != "barrier":
            layers[bits[0]] += 1
            continue
        layer = max([layers[bit] for bit in bits], default=0) + (step.name != "barrier")
        for bit in bits:
            layers[bit] = layer
    return max(layers.values(), default=0)


def instructions_digest(circuit: Any) -> str:
    """Hex sha-256 of the circuit's instructions, one a line: name, parameters (repr), qubit and bit indices.

    The blocks of an `if` follow it between braces. Names of registers and bits do not count, places do.
    """
    places = {bit: index for bits in (circuit.qubits, circuit.clbits) for index, bit in enumerate(bits)}
    hasher = hashlib.sha256(f"{circuit.num_qubits} {circuit.num_clbits}\n".encode())
    for line in _lines(circuit, places):
        hasher.update(line.encode() + b"\n")
    return hasher.hexdigest()


def _parse(text: str, format: str) -> Any:
    if format == "openqasm2":
        from qiskit import qasm2

        # No include path: qelib1.inc is built in, and any other path would be opened.
        return qasm2.loads(text, include_path=(), custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS)
    from qiskit import qasm3

    return qasm3.loads(text)  # never loads_experimental: it prints files and segfaults


def _all_instructions(circuit: Any) -> Iterator[Any]:
    for instruction in circuit.data:
        yield instruction
        for block in _blocks(instruction):
            yield from _all_instructions(block)


def _blocks(instruction: Any) -> tuple[Any, ...]:
    return getattr(instruction.operation, "blocks", ()) if instruction.is_control_flow() else ()


def _lines(circuit: Any, places: Mapping[Any, int]) -> Iterator[str]:
    for instruction in circuit.data:
        qubits = ",".join(str(places[bit]) for bit in instruction.qubits)
        clbits = ",".join(str(places[bit]) for bit in instruction.clbits)
        blocks = _blocks(instruction)
        if not blocks:
            yield f"{instruction.name}({','.join(map(_parameter, instruction.params))}) {qubits} {clbits}"
            continue
        yield f"{instruction.name}({_condition(instruction.operation, places)}) {qubits} {clbits}"
        for block in blocks:
            inner = (
                zip(block.qubits, instruction.qubits, strict=True),
                zip(block.clbits, instruction.clbits, strict=True),
            )
            yield "{"
            yield from _lines(block, {bit: places[outer] for pairs in inner for bit, outer in pairs})
            yield "}"


def _condition(operation: Any, places: Mapping[Any, int]) -> str:
    tested, value = operation.condition
    bits = [tested] if tested in places else list(tested)
    return f"{','.join(str(places[bit]) for bit in bits)}=={int(value)}"


def _parameter(value: Any) -> str:
    return repr(float(value)) if isinstance(value, (int, float)) else type(value).__name__


def _one_line(err: BaseException) -> str:
    text = "".join(c if 32 <= ord(c) < 127 else " " for c in str(err))
    return " ".join(text.split())[:160]
