"""Circuits as JSON instructions (format ``qscrow-json``), and several circuits in one job.

One circuit is ``{"wires": 2, "instructions": [["h",[0],[]], ["rz",[1],[0.7]], ["measure",[0],[0]]]}``: name, wires,
and angles (for ``measure``: classical bits). Several are ``{"circuits": […], "pubs": […]}``, where a circuit may also
be OpenQASM text and a PUB names a circuit, sets of parameters and observables. docs/circuits.md has every field.

A circuit becomes OpenQASM 2 text here, so that it passes the same gate and the same parser as any other and is the
same circuit. Nothing here takes more than linear time: it runs in the node's own process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.observables import Observable, parse_observables
from oracle.jobs.canonical import MAX_DEPTH, is_deeper, parse_json
from oracle.jobs.errors import CircuitRejected, InputError

JSON = "qscrow-json"
TEXTS = ("openqasm2", "openqasm3")
MAX_MAGNITUDE = 1e15  # of an angle; see oracle.circuits.lint
_HEAD = 'OPENQASM 2.0;include "qelib1.inc";'
# Gates by how many wires and angles they take.
_GATES = {
    name: (wires, angles)
    for wires, angles, names in (
        (1, 0, "h id s sdg sx sxdg t tdg x y z"),
        (1, 1, "p rx ry rz u1"),
        (1, 2, "u2"),
        (1, 3, "u u3"),
        (2, 0, "ch csx cx cy cz swap"),
        (2, 1, "cp crx cry crz cu1 rxx rzz"),
        (2, 3, "cu3"),
        (2, 4, "cu"),
        (3, 0, "ccx cswap rccx"),
        (4, 0, "c3sqrtx c3x rc3x"),
        (5, 0, "c4x"),
    )
    for name in names.split()
}


@dataclass(frozen=True)
class Circuit:
    """OpenQASM text, or instructions that become it. ``parameters`` are the names that stand in place of angles."""

    format: str
    source: bytes = b""
    wires: int = 0
    bits: int = 0
    instructions: Sequence[Any] = ()
    parameters: tuple[str, ...] = ()

    def text(self, values: Sequence[float] | None = None) -> bytes:
        """OpenQASM with ``values`` for the parameters (zeros if ``None``)."""
        if not self.instructions:
            return self.source
        bound = dict(zip(self.parameters, values or [0.0] * len(self.parameters), strict=True))
        head = f"{_HEAD}qreg q[{self.wires}];" + (f"creg c[{self.bits}];" if self.bits else "")
        return "\n".join([head, *(_line(step, bound) for step in self.instructions)]).encode()


@dataclass(frozen=True)
class Pub:
    """A circuit with the parameter sets it runs with (one empty set if it has none) and what to estimate."""

    circuit: int
    sets: tuple[tuple[float, ...], ...] = ((),)
    observables: tuple[Observable, ...] = ()


@dataclass(frozen=True)
class Work:
    """All that one job's circuit document asks for. ``shots`` is what it says itself, if it does."""

    circuits: tuple[Circuit, ...]
    pubs: tuple[Pub, ...] = (Pub(0),)
    shots: int | None = None


@dataclass(frozen=True)
class Part:
    """One circuit with its parameters filled in: set ``set`` of PUB ``pub``."""

    pub: int
    set: int
    format: str
    source: bytes = field(repr=False)
    observables: tuple[Observable, ...] = ()


def read_work(source: bytes, format: str, limits: CircuitLimits, observables: Sequence[Observable] = ()) -> Work:
    """What ``source`` asks for; ``observables`` are those of PUBs that name none.

    OpenQASM text is one circuit that runs once. Raises :class:`CircuitRejected`.
    """
    if format != JSON:
        return Work((Circuit(format, source),), (Pub(0, observables=tuple(observables)),))
    document = _parse(source)
    if "instructions" in document:
        circuit, shots = _circuit(document, "circuit", limits, alone=True), _shots(document)
        if circuit.parameters:
            _refuse("unbound_parameters", "circuit: parameters get their values from PUBs")
        return Work((circuit,), (Pub(0, observables=tuple(observables)),), shots)
    _fields(document, "the document", {"circuits"}, {"pubs", "shots"})
    given = _list(document["circuits"], "circuits")
    if not 0 < len(given) <= limits.circuits:
        _refuse("too_many_circuits" if given else "empty_circuit", f"it has {len(given)}, 1 to {limits.circuits} fit")
    circuits = tuple(_circuit(each, f"circuit {place}", limits) for place, each in enumerate(given))
    pubs = _list(document.get("pubs", [{"circuit": place} for place in range(len(circuits))]), "pubs")
    if not 0 < len(pubs) <= limits.circuits:
        _refuse(
            "too_many_circuits" if pubs else "empty_circuit", f"it has {len(pubs)} PUBs, 1 to {limits.circuits} fit"
        )
    read = tuple(_pub(each, place, circuits, observables, limits) for place, each in enumerate(pubs))
    if {pub.circuit for pub in read} != set(range(len(circuits))):
        _refuse("bad_instruction", "it has a circuit that no PUB runs")
    return Work(circuits, read, _shots(document))


def parts(work: Work) -> Iterator[Part]:
    """The circuits of ``work`` as they run, in order: every PUB's parameter sets one after the other."""
    for place, pub in enumerate(work.pubs):
        circuit = work.circuits[pub.circuit]
        format = circuit.format if circuit.source else "openqasm2"
        for number, values in enumerate(pub.sets):
            yield Part(place, number, format, circuit.text(values), pub.observables)


# ------------------------------------------------------------------------------------------------ reading


def _parse(source: bytes) -> dict[str, Any]:
    if is_deeper(source, MAX_DEPTH):
        _refuse("nested_too_deeply", f"its brackets are nested more than {MAX_DEPTH} deep")
    try:
        document = parse_json(source, "circuit", len(source))
    except InputError as err:
        raise CircuitRejected("bad_json", err.message, field="circuit") from None
    if not isinstance(document, dict):
        _refuse("bad_json", "it is not an object", 'write {"wires": 1, "instructions": [["h",[0],[]]]}')
    return document


def _circuit(document: Any, where: str, limits: CircuitLimits, *, alone: bool = False) -> Circuit:
    if isinstance(document, dict) and "source" in document:
        _fields(document, where, {"format", "source"}, set())
        text = document["source"]
        if document["format"] not in TEXTS or not isinstance(text, str) or not text:
            _refuse("wrong_format", f"{where}: text is one of {', '.join(TEXTS)}")
        return Circuit(document["format"], text.encode("utf-8", "replace"))
    _fields(document, where, {"wires", "instructions"}, {"bits", "parameters", *({"shots"} if alone else ())})
    wires, instructions = document["wires"], _list(document["instructions"], f"{where}: instructions")
    if not _is_whole(wires) or wires < 1:
        _refuse("bad_number", f"{where}: wires is not a positive whole number")
    if wires > limits.qubits:
        _refuse("too_many_qubits", f"{where}: it has {wires} qubits, the limit is {limits.qubits}")
    if not instructions:
        _refuse("empty_circuit", f"{where}: there is nothing in it")
    if len(instructions) > limits.statements:
        _refuse("too_many_statements", f"{where}: it has more than {limits.statements}")
    parameters = _names(document.get("parameters", []), where, limits)
    most = max((_instruction(step, n, where, wires, parameters) for n, step in enumerate(instructions)), default=0)
    bits = document.get("bits", most)
    if not _is_whole(bits):
        _refuse("bad_number", f"{where}: bits is not a whole number")
    if bits > limits.clbits:
        _refuse("too_many_clbits", f"{where}: it has {bits} clbits, the limit is {limits.clbits}")
    if most > bits:
        _refuse("bad_index", f"{where}: it measures into bit {most - 1} of {bits}")
    return Circuit("openqasm2", b"", wires, bits, instructions, tuple(parameters))


def _instruction(step: Any, number: int, where: str, wires: int, parameters: Mapping[str, None]) -> int:
    """Check one instruction; returns one more than the highest bit it measures into."""
    where = f"{where}: instruction {number}"
    if not (isinstance(step, list) and len(step) == 3 and isinstance(step[0], str)):
        _refuse("bad_instruction", f"{where} is not [name, wires, parameters]", 'write ["rz", [1], [0.7]]')
    name, places, values = step
    for list_, limit, what in ((places, wires, "wire"), *(((values, None, "bit"),) if name == "measure" else ())):
        if not isinstance(list_, list) or not all(map(_is_whole, list_)):
            _refuse("bad_instruction", f"{where}: its {what}s are not a list of places")
        if len(set(list_)) != len(list_):
            _refuse("bad_instruction", f"{where} names a {what} twice")
        if limit is not None and any(place >= limit for place in list_):
            _refuse("bad_index", f"{where}: there are only {limit} wires")
    if name == "measure":
        if not places or len(places) != len(values):
            _refuse("bad_arity", f"{where} measures {len(places)} wires into {len(values)} bits")
        return max(values) + 1
    if not isinstance(values, list):
        _refuse("bad_instruction", f"{where}: its parameters are not a list")
    if name == "reset" or name == "barrier":
        arity = (max(len(places), 1) if name == "reset" else len(places), 0)
    elif name in _GATES:
        arity = _GATES[name]
    else:
        _refuse("unknown_gate", f"{where}: {name[:40]!r} is no gate that is known here")
    if (len(places), len(values)) != arity:
        told = f"{where}: {name} takes {arity[0]} wires and {arity[1]} parameters"
        _refuse("bad_arity", f"{told}, not {len(places)} and {len(values)}")
    for value in values:
        if isinstance(value, str):
            if value not in parameters:
                _refuse("unbound_parameters", f"{where}: {value[:40]!r} is not among the circuit's parameters")
        elif not _is_angle(value):
            _refuse("bad_number", f"{where}: {str(value)[:20]} is not a number that can be used")
    return 0


def _names(document: Any, where: str, limits: CircuitLimits) -> dict[str, None]:
    names = _list(document, f"{where}: parameters")
    if not all(isinstance(name, str) and name.isidentifier() for name in names) or len(set(names)) != len(names):
        _refuse("bad_instruction", f"{where}: its parameters are not distinct names")
    if any(len(name) > limits.identifier_length for name in names):
        _refuse("identifier_too_long", f"{where}: a parameter's name is too long")
    return dict.fromkeys(names)


def _pub(
    document: Any, place: int, circuits: Sequence[Circuit], defaults: Sequence[Observable], limits: CircuitLimits
) -> Pub:
    where = f"PUB {place}"
    _fields(document, where, {"circuit"}, {"parameters", "observables"})
    number = document["circuit"]
    if not _is_whole(number) or number >= len(circuits):
        _refuse("bad_index", f"{where}: there is no circuit {str(number)[:20]}")
    names = circuits[number].parameters
    sets = _list(document.get("parameters", [[]]), f"{where}: parameters")
    if not 0 < len(sets) <= limits.circuits:
        _refuse("too_many_circuits", f"{where} has {len(sets)} parameter sets, 1 to {limits.circuits} fit")
    for values in sets:
        if not isinstance(values, list) or len(values) != len(names):
            _refuse("unbound_parameters", f"{where}: a set is not a list of {len(names)} numbers")
        if not all(map(_is_angle, values)):
            _refuse("bad_number", f"{where}: a parameter is not a number that can be used")
    observables = parse_observables(document["observables"]) if "observables" in document else tuple(defaults)
    return Pub(number, tuple(map(tuple, sets)), observables)


def _line(step: Sequence[Any], bound: Mapping[str, float]) -> str:
    name, wires, values = step
    places = ",".join(f"q[{wire}]" for wire in wires)
    if name == "measure":
        return "".join(f"measure q[{wire}]->c[{bit}];" for wire, bit in zip(wires, values, strict=True))
    if name == "reset":
        return "".join(f"reset q[{wire}];" for wire in wires)
    if name == "barrier":
        return f"barrier {places or 'q'};"
    # repr gives a number back exactly. Canonical JSON knows neither -0.0 nor 1.0, and must give the same text.
    angles = ",".join(repr((bound[value] if isinstance(value, str) else value) + 0.0) for value in values)
    return f"{name}({angles}) {places};" if angles else f"{name} {places};"


def _shots(document: Mapping[str, Any]) -> int | None:
    shots = document.get("shots")
    if shots is not None and not (_is_whole(shots) and shots > 0):
        _refuse("bad_number", "shots is not a positive whole number")
    return shots


def _fields(document: Any, where: str, required: set[str], optional: set[str]) -> None:
    if not isinstance(document, dict):
        _refuse("bad_instruction", f"{where} is not an object")
    if missing := sorted(required - document.keys()):
        _refuse("bad_instruction", f"{where} lacks {missing[0]}")
    if unknown := sorted(document.keys() - required - optional):
        _refuse("bad_instruction", f"{where} has a field {unknown[0][:40]!r} that is not known here")


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        _refuse("bad_instruction", f"{what} must be a list")
    return value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_angle(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) <= MAX_MAGNITUDE


def _refuse(code: str, message: str, remedy: str | None = None) -> NoReturn:
    # Of a document that is one circuit the field says already where it is.
    raise CircuitRejected(code, message.removeprefix("circuit: "), field="circuit", remedy=remedy)
