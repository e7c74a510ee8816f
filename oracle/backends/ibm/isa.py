"""A compiled circuit as plain data: what the compiler hands on and the link takes, checked in between.

``{"qubits": n, "registers": [sizes], "steps": [step, ...]}``, where a step is ``[name, params, qubits, clbits]`` with
indices into the whole circuit. An ``if_else`` has two more entries: the condition ``[clbits, value]`` (first bit least
significant) and its one or two blocks of steps.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oracle.jobs.errors import CircuitRejected

# Gates of IBM's devices and simulators of them, with the number of parameters and qubits.
GATES = {
    "id": (0, 1),
    "x": (0, 1),
    "sx": (0, 1),
    "sxdg": (0, 1),
    "rz": (1, 1),
    "rx": (1, 1),
    "cx": (0, 2),
    "cz": (0, 2),
    "ecr": (0, 2),
    "rzz": (1, 2),
    "reset": (0, 1),
}
MAX_QUBITS = 10_000
_DEEPEST = 32


def plain(circuit: Any) -> dict[str, Any]:
    """``circuit``, a compiled ``QuantumCircuit``, as plain data. Raises :class:`CircuitRejected`."""
    places = {bit: index for bits in (circuit.qubits, circuit.clbits) for index, bit in enumerate(bits)}
    registers = [[places[bit] for bit in register] for register in circuit.cregs]
    taken = {bit for register in registers for bit in register}
    registers += [[bit] for bit in range(circuit.num_clbits) if bit not in taken]  # bits of no register
    registers.sort()
    if [bit for register in registers for bit in register] != list(range(circuit.num_clbits)):
        raise CircuitRejected("registers_overlap", "its classical registers share bits", field="circuit")
    return {"qubits": circuit.num_qubits, "registers": [*map(len, registers)], "steps": _steps(circuit, places)}


def checked(document: Any, *, qubits: int, clbits: int, most_steps: int) -> dict[str, Any]:
    """``document`` if it is plain data of such a circuit and nothing else; whoever wrote it may have been taken over.

    Raises :class:`CircuitRejected` with code ``bad_circuit``.
    """
    try:
        problem = _problem(document, qubits, clbits, most_steps)
    except (TypeError, ValueError, KeyError, IndexError, RecursionError):
        problem = "it is malformed"
    if problem:
        raise CircuitRejected("bad_circuit", f"what the compiler made of it cannot be used: {problem}")
    return document


def circuit(document: Mapping[str, Any]) -> Any:
    """The ``QuantumCircuit`` of checked plain data, with classical registers ``c0``, ``c1``, …"""
    from qiskit import ClassicalRegister, QuantumCircuit

    registers = [ClassicalRegister(size, f"c{number}") for number, size in enumerate(document["registers"])]
    made = QuantumCircuit(document["qubits"])
    for register in registers:
        made.add_register(register)
    _append(made, document["steps"], made.qubits, made.clbits)
    return made


def digest(document: Mapping[str, Any]) -> str:
    """Hex sha-256 of the instructions, the same as :func:`oracle.circuits.load.instructions_digest` of the circuit."""
    hasher = hashlib.sha256(f"{document['qubits']} {sum(document['registers'])}\n".encode())
    for line in _lines(document["steps"]):
        hasher.update(line.encode() + b"\n")
    return hasher.hexdigest()


def figures(document: Mapping[str, Any]) -> dict[str, Any]:
    """What is used of the device: ``operations`` by name, ``depth``, ``active`` and ``measured`` qubits, ``pairs``."""
    operations: Counter[str] = Counter()
    active: set[int] = set()
    measured: set[int] = set()
    pairs: set[tuple[int, int]] = set()
    layers: Counter[tuple[str, int]] = Counter()
    for step in walk(document["steps"]):
        name, _, qubits, clbits = step[:4]
        operations[name] += 1
        if name in ("barrier", "if_else"):
            continue
        active.update(qubits)
        if name == "measure":
            measured.update(qubits)
        if len(qubits) == 2:
            pairs.add((qubits[0], qubits[1]))
        wires = [("q", each) for each in qubits] + [("c", each) for each in clbits]
        layer = 1 + max(layers[wire] for wire in wires)
        layers.update({wire: layer - layers[wire] for wire in wires})
    return {
        "operations": dict(operations),
        "depth": max(layers.values(), default=0),
        "active": sorted(active),
        "measured": sorted(measured),
        "pairs": sorted(map(list, pairs)),
    }


def walk(steps: Sequence[Any]) -> Iterator[Any]:
    """All steps, also those in blocks."""
    for step in steps:
        yield step
        for block in step[5] if step[0] == "if_else" else ():
            yield from walk(block)


# ------------------------------------------------------------------------------------------- to plain data


def _steps(circuit: Any, places: Mapping[Any, int]) -> list[list[Any]]:
    steps: list[list[Any]] = []
    for instruction in circuit.data:
        qubits, clbits = [places[bit] for bit in instruction.qubits], [places[bit] for bit in instruction.clbits]
        if instruction.name == "if_else":
            operation = instruction.operation
            inside = [_steps(block, _inner(block, instruction, places)) for block in operation.blocks]
            steps.append(["if_else", [], qubits, clbits, _condition(operation, places), inside])
        elif instruction.name in GATES or instruction.name in ("measure", "barrier"):
            steps.append([instruction.name, [float(value) for value in instruction.params], qubits, clbits])
        else:
            text = f"the device has no {instruction.name[:40]}"
            raise CircuitRejected("unsupported_instruction", text, field="circuit")
    return steps


def _inner(block: Any, instruction: Any, places: Mapping[Any, int]) -> dict[Any, int]:
    pairs = (zip(block.qubits, instruction.qubits, strict=True), zip(block.clbits, instruction.clbits, strict=True))
    return {inner: places[outer] for both in pairs for inner, outer in both}


def _condition(operation: Any, places: Mapping[Any, int]) -> list[Any]:
    if not isinstance(operation.condition, tuple):
        raise CircuitRejected("unsupported_instruction", "it tests an expression", field="circuit")
    tested, value = operation.condition
    bits = [tested] if tested in places else list(tested)
    return [[places[bit] for bit in bits], int(value)]


# ------------------------------------------------------------------------------------------------ checking


def _problem(document: Any, qubits: int, clbits: int, most_steps: int) -> str:
    if set(document) != {"qubits", "registers", "steps"}:
        return "it has other parts"
    width, registers = document["qubits"], document["registers"]
    if not _is_index(width, MAX_QUBITS + 1) or width > qubits:
        return "it is wider than the device"
    if not registers or not all(_is_index(size, clbits + 1) and size for size in registers) or sum(registers) > clbits:
        return "its registers are out of bounds"
    ends = [sum(registers[:number]) for number in range(len(registers) + 1)]
    tested = [list(range(start, end)) for start, end in zip(ends, ends[1:], strict=False)]
    tested += [[bit] for bit in range(ends[-1])]
    return _problem_of(document["steps"], width, ends[-1], tested, [most_steps], 0)


def _problem_of(steps: Any, qubits: int, clbits: int, tested: list[list[int]], left: list[int], depth: int) -> str:
    """``left`` holds how many steps there may still be, over all blocks."""
    left[0] -= len(steps)
    if left[0] < 0 or depth > _DEEPEST:
        return "it is too long or nested too deeply"
    for step in steps:
        name, params, on, into = step[:4]
        if not all(_is_index(bit, qubits) for bit in on) or not all(_is_index(bit, clbits) for bit in into):
            return "a bit is out of range"
        if len(set(on)) != len(on) or len(set(into)) != len(into):
            return "a bit is used twice at once"
        if not all(isinstance(value, float) and math.isfinite(value) for value in params):
            return "a parameter is not a number"
        if name == "if_else":
            if len(step) != 6 or params or step[4][0] not in tested or not 1 <= len(step[5]) <= 2:
                return "a condition is not one"
            if len(step[4]) != 2 or not _is_index(step[4][1], 2 ** len(step[4][0])):
                return "a condition is not one"
            wires, bits = set(on), set(into)
            for block in step[5]:
                if not all(wires.issuperset(inner[2]) and bits.issuperset(inner[3]) for inner in block):
                    return "a block reaches beyond its bits"
                if problem := _problem_of(block, qubits, clbits, tested, left, depth + 1):
                    return problem
            continue
        if len(step) != 4:
            return "a step is not one"
        if name == "barrier":
            fits = not params and not into
        elif name == "measure":
            fits = not params and len(on) == len(into) == 1
        else:
            fits = name in GATES and (len(params), len(on)) == GATES[name] and not into
        if not fits:
            return "an instruction is none of the device's"
    return ""


def _is_index(value: object, bound: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < bound


# ----------------------------------------------------------------------------------------- from plain data


def _append(made: Any, steps: Sequence[Any], qubits: Sequence[Any], clbits: Sequence[Any]) -> None:
    for step in steps:
        name, params = step[0], step[1]
        on, into = [qubits[bit] for bit in step[2]], [clbits[bit] for bit in step[3]]
        if name == "measure":
            made.measure(on[0], into[0])
        elif name == "barrier":
            made.barrier(on)
        elif name == "if_else":
            made.if_else(_tested(made, step[4]), *_blocks(made, step, on, into), on, into)
        else:
            getattr(made, name)(*params, *on)


def _blocks(made: Any, step: Any, on: Sequence[Any], into: Sequence[Any]) -> list[Any]:
    """Both blocks of an ``if_else``, over its own bits; the second may be ``None``."""
    from qiskit import QuantumCircuit

    blocks: list[Any] = []
    for inside in step[5]:
        block = QuantumCircuit(list(on), list(into), *_whole_registers(made, into))
        _append(block, inside, made.qubits, made.clbits)
        blocks.append(block)
    return blocks + [None] * (2 - len(blocks))


def _whole_registers(made: Any, bits: Sequence[Any]) -> list[Any]:
    return [register for register in made.cregs if set(register) <= set(bits)]


def _tested(made: Any, condition: Any) -> tuple[Any, int]:
    bits, value = condition
    for register in made.cregs:
        if [made.find_bit(bit).index for bit in register] == bits and len(bits) > 1:
            return register, value
    if len(bits) == 1:
        return made.clbits[bits[0]], value
    raise ValueError("no register has these bits")


# --------------------------------------------------------------------------------------------------- digest


def _lines(steps: Sequence[Any]) -> Iterator[str]:
    for step in steps:
        name, params, qubits, clbits = step[:4]
        places = f"{','.join(map(str, qubits))} {','.join(map(str, clbits))}"
        if name != "if_else":
            yield f"{name}({','.join(map(repr, params))}) {places}"
            continue
        bits, value = step[4]
        yield f"if_else({','.join(map(str, bits))}=={value}) {places}"
        for block in step[5]:
            yield "{"
            yield from _lines(block)
            yield "}"
