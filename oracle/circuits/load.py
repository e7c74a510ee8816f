"""From OpenQASM text to a Qiskit circuit. Runs inside the sandbox only: the parsers can hang, abort or panic."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import lint
from oracle.jobs.errors import CircuitRejected


def load(source: bytes, format: str, limits: CircuitLimits) -> Any:
    """The ``QuantumCircuit`` that ``source`` describes. Raises :class:`CircuitRejected`."""
    lint(source, format, limits)
    try:
        circuit = _parse(source.decode("ascii"), format)
    except MemoryError:
        raise
    except Exception as err:
        raise CircuitRejected("syntax_error", f"cannot be parsed: {_one_line(err)}", field="circuit") from None
    except BaseException as err:  # Rust panics are no Exceptions
        if isinstance(err, (KeyboardInterrupt, SystemExit)):
            raise
        raise CircuitRejected("parser_crash", "the parser panicked on it", field="circuit") from None
    _check(circuit, limits)
    return circuit


def instructions_digest(circuit: Any) -> str:
    """Hex sha-256 of the circuit's instructions, one a line: name, parameters (repr), qubit and bit indices."""
    place = {bit: index for index, bit in enumerate(circuit.qubits)}
    place.update({bit: index for index, bit in enumerate(circuit.clbits)})
    hasher = hashlib.sha256(f"{circuit.num_qubits} {circuit.num_clbits}\n".encode())
    for instruction in circuit.data:
        parameters = ",".join(repr(p) if isinstance(p, (int, float)) else type(p).__name__ for p in instruction.params)
        qubits = ",".join(str(place[bit]) for bit in instruction.qubits)
        clbits = ",".join(str(place[bit]) for bit in instruction.clbits)
        hasher.update(f"{instruction.name}({parameters}) {qubits} {clbits}\n".encode())
    return hasher.hexdigest()


def _parse(text: str, format: str) -> Any:
    if format == "openqasm2":
        from qiskit import qasm2

        # No include path: qelib1.inc is built in, and any other path would be opened.
        return qasm2.loads(text, include_path=(), custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS)
    from qiskit import qasm3

    return qasm3.loads(text)


def _check(circuit: Any, limits: CircuitLimits) -> None:
    """The lint's limits again, on what the parser made of the text."""
    figures = (
        ("too_many_qubits", "qubits", circuit.num_qubits, limits.qubits),
        ("too_many_clbits", "classical bits", circuit.num_clbits, limits.clbits),
        ("too_many_gates", "instructions", len(circuit.data), limits.expanded_gates),
        ("too_deep", "layers", circuit.depth(), limits.depth),
    )
    for code, what, found, limit in figures:
        if found > limit:
            raise CircuitRejected(code, f"it has {found} {what}, the limit is {limit}", field="circuit")
    if circuit.parameters:
        raise CircuitRejected("unbound_parameters", "it has parameters without values", field="circuit")
    for instruction in circuit.data:
        if any(isinstance(value, float) and not math.isfinite(value) for value in instruction.params):
            raise CircuitRejected("bad_number", f"an angle of {instruction.name} is not finite", field="circuit")


def _one_line(err: BaseException) -> str:
    text = "".join(c if 32 <= ord(c) < 127 else " " for c in str(err))
    return " ".join(text.split())[:160]
