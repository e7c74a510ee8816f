"""A gate in front of the parsers: linear in the bytes, and before any Qiskit code sees them.

Qiskit's parsers answer hostile text with hangs, aborts and opened files. This reads the text as a list of
tokens and lets through a straight-line subset of OpenQASM 2 and 3: declarations, gate definitions, gate
calls, measure, reset, barrier and `if` on classical bits without nesting. Whatever is not on that list is
refused with a reason. It does not check types or arity; the parser does, on text that can no longer hurt it.
Circuits written as JSON become OpenQASM first (:mod:`oracle.circuits.instructions`) and are read in the same way.

It runs in the node's own process, so no step may take more than linear time: see ``_tokens``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from oracle.circuits.instructions import JSON, MAX_MAGNITUDE, TEXTS, Circuit, read_work
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.observables import Observable, bases, check_observables
from oracle.jobs.errors import CircuitRejected

FORMATS = (*TEXTS, JSON)
COUNTS, MEMORY, EXPECTATION = RESULTS = ("counts", "memory", "expectation")
_VERSIONS = {"openqasm2": ("2.0",), "openqasm3": ("3", "3.0", "3.1")}
_INCLUDES = {"openqasm2": "qelib1.inc", "openqasm3": "stdgates.inc"}
_BINARY_HEADERS = {b"QISKIT": "qpy_refused", b"\x80": "pickle_refused", b"PK\x03\x04": "archive_refused"}
# A carriage return alone ends a comment for one of Qiskit's parsers and not for the other.
_NOT_TEXT = re.compile(rb"[^\t\n\r\x20-\x7e]|\r(?!\n)")
# Every alternative runs once over what it takes and fails only where the text is refused as a whole; block
# comments, where that does not hold, are found by hand.
_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+|//[^\n]*)"
    r'|(?P<string>"[^"\n]*")'
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?P<tail>[A-Za-z0-9_.]?))"
    r"|(?P<mark>->|==|!|\*\*|[-+*/^()\[\]{},;=])"
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_REFUSED_WORDS = _words(
    """while for def extern cal defcal defcalgrammar pragma array switch case default end box opaque input
    output let const duration stretch delay durationof return break continue ctrl negctrl pow inv int uint
    float angle bool complex else in nop u0"""
)
_COMMON_GATES = _words(
    "CX U ccx ch cp crx cry crz cswap cu cx cy cz h id p rx ry rz s sdg swap sx t tdg u1 u2 u3 x y z"
)
_KNOWN_GATES = {
    "openqasm2": _COMMON_GATES | _words("c3sqrtx c3x c4x csx cu1 cu3 rc3x rccx rxx rzz sxdg u"),
    "openqasm3": _COMMON_GATES | _words("cphase gphase phase"),
}
# Qiskit puts its own in the place of a gate defined under such a name, whatever the definition.
_LIBRARY = _KNOWN_GATES["openqasm2"] | _KNOWN_GATES["openqasm3"]
_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
# Library gates that Aer does not run as one instruction, and how many it runs instead (measured).
_UNFOLDED = {"ch": 7, "rccx": 9, "rc3x": 18, "c3sqrtx": 27}
_STATEMENTS = _words("include gate qreg creg qubit bit if measure reset barrier")


@dataclass(frozen=True)
class LintReport:
    """Sizes found in the text. ``expanded_gates`` is an upper bound for the gates after unfolding; ``dynamic`` says
    that something may follow a measurement or depend on one, so that every shot has to be simulated.

    Of several circuits in one job, the widest gives ``qubits`` and ``clbits``; the rest adds up over ``executions``,
    which counts parameter sets and, for expectation values, the bases to measure in. Each takes the job's shots;
    ``shots`` is what the document itself says of them, if it does. ``values`` counts the expectation values.
    """

    format: str
    qubits: int
    clbits: int
    statements: int
    expanded_gates: int
    dynamic: bool = False
    parameters: int = 0
    executions: int = 1
    shots: int | None = None
    values: int = 0


def lint(
    source: bytes,
    format: str,
    limits: CircuitLimits,
    *,
    result: str = COUNTS,
    observables: Sequence[Observable] = (),
) -> LintReport:
    """Check ``source``; raises :class:`CircuitRejected` with a stable code for the first thing at fault.

    ``result`` is one of :data:`RESULTS`; for ``expectation``, which needs no measurements, ``observables`` are those
    of every circuit that names none itself.
    """
    if result not in RESULTS:
        _refuse("unknown_result", f"{result!r} is not one of {', '.join(RESULTS)}")
    if format not in FORMATS:
        _refuse("wrong_format", f"{format!r} is not one of {', '.join(FORMATS)}")
    for header, code in _BINARY_HEADERS.items():
        if source.startswith(header):
            remedy = f"send {' or '.join(FORMATS)}"
            _refuse(code, "binary circuit files can run code when they are read", remedy)
    if len(source) > limits.source_bytes:
        _refuse("circuit_too_large", f"is {len(source)} bytes, more than the {limits.source_bytes} allowed")
    if odd := _NOT_TEXT.search(source):
        _refuse("not_text", f"byte {odd.start()} is not plain ASCII text", "save it as ASCII, lines ending in \\n")
    work = read_work(source, format, limits, observables)
    reports = [_lint_circuit(circuit, limits, result) for circuit in work.circuits]
    total = LintReport(format, 0, 0, 0, 0, executions=0, shots=work.shots)
    for pub in work.pubs:
        if result == EXPECTATION and not pub.observables:
            _refuse("no_observables", "there is nothing to estimate", "name observables in the spec or in the PUB")
        if result != EXPECTATION and pub.observables:
            _refuse("unused_observables", f"it names observables, and asks for {result}", "ask for expectation")
        report = reports[pub.circuit]
        check_observables(pub.observables, report.qubits, limits)
        times = len(pub.sets) * (len(bases(pub.observables, limits)) if pub.observables else 1)
        total = LintReport(
            format,
            max(total.qubits, report.qubits),
            max(total.clbits, report.clbits),
            total.statements + report.statements * times,
            total.expanded_gates + report.expanded_gates * times,
            total.dynamic or report.dynamic,
            total.parameters + report.parameters * times,
            total.executions + times,
            work.shots,
            total.values + len(pub.sets) * len(pub.observables),
        )
        _check_total(total, limits)
    return total


def _lint_circuit(circuit: Circuit, limits: CircuitLimits, result: str) -> LintReport:
    source = circuit.text()
    if odd := _NOT_TEXT.search(source):  # JSON can spell characters that are not there
        _refuse("not_text", f"byte {odd.start()} of its text is not plain ASCII")
    text = source.decode("ascii")
    linter = _Linter(*_tokens(text, circuit.format, limits), text, circuit.format, limits)
    return linter.run(measured=result != EXPECTATION)


def _check_total(total: LintReport, limits: CircuitLimits) -> None:
    """The bounds that hold for all circuits of a job together."""
    figures = (
        ("too_many_circuits", "circuits to run", total.executions, limits.circuits),
        ("too_many_statements", "statements", total.statements, limits.statements),
        ("too_many_gates", "gates", total.expanded_gates, limits.expanded_gates),
        ("too_many_parameters", "angles", total.parameters, limits.parameters),
    )
    for code, what, found, limit in figures:
        if found > limit:
            _refuse(code, f"with every repetition it has {found} {what}, the limit is {limit}")


def _tokens(text: str, format: str, limits: CircuitLimits) -> tuple[list[str], list[int]]:
    """The tokens of ``text`` and where each begins."""
    tokens: list[str] = []
    starts: list[int] = []
    sound: set[str] = set()  # most tokens come again and again
    position, depth = 0, 0
    while position < len(text):
        start = position
        if format == "openqasm3" and text.startswith("/*", start):
            position = _after_block_comment(text, start)
            continue
        match = _TOKEN.match(text, start)
        if match is None:
            _refuse(
                "bad_character",
                f"{_line(text, start)} holds {text[start]!r}, which has no place in a circuit",
            )
        position = match.end()
        if match.lastgroup == "space":
            continue
        token = match.group()
        if token not in sound:
            if problem := _token_problem(match, limits):
                _refuse(problem[0], f"{_line(text, start)}: {problem[1]}", "send a straight-line circuit")
            sound.add(token)
        if token in _BRACKETS:
            depth += _BRACKETS[token]
            if depth > limits.nesting:
                _refuse(
                    "nested_too_deeply",
                    f"{_line(text, start)}: brackets are nested more than {limits.nesting} deep",
                )
        tokens.append(token)
        starts.append(start)
    return tokens, starts


def _after_block_comment(text: str, start: int) -> int:
    end = text.find("*/", start + 2)
    if end < 0:  # refused at once: looking again from the next /* would be quadratic
        _refuse("syntax_error", f"{_line(text, start)}: a comment is not closed")
    return end + 2


def _token_problem(match: re.Match[str], limits: CircuitLimits) -> tuple[str, str] | None:
    token = match.group()
    if match["word"]:
        if len(token) > limits.identifier_length:
            return "identifier_too_long", f"a name has {len(token)} characters"
        if token in _REFUSED_WORDS:
            return "construct_not_allowed", f"`{token}` is not allowed"
    if match["number"] and (match["tail"] or len(token) > 32 or float(token) > MAX_MAGNITUDE):
        return "bad_number", f"{token[:20]!r} is not a number that can be used"
    return None


@dataclass
class _Gate:
    """A gate definition: ``cost`` in unfolded gates, ``height`` in definitions that rest on one another."""

    cost: int
    height: int


@dataclass
class _Linter:
    tokens: list[str]
    starts: list[int]
    text: str
    format: str
    limits: CircuitLimits
    position: int = 0
    statements: int = 0
    expanded: int = 0
    parameters: int = 0
    measured: bool = False
    dynamic: bool = False
    qubits: dict[str, int] = field(default_factory=dict)
    clbits: dict[str, int] = field(default_factory=dict)
    gates: dict[str, _Gate] = field(default_factory=dict)

    def run(self, *, measured: bool) -> LintReport:
        """``measured`` says whether it has to measure something."""
        if not self.tokens:
            _refuse("empty_circuit", "there is nothing in it")
        self._header()
        while self.position < len(self.tokens):
            self._statement(inside_if=False)
        if not self.qubits:
            _refuse("no_qubits", "it declares no qubits")
        if measured and not self.measured:
            _refuse("no_measurement", "it measures nothing, so there would be no counts", "end it with `measure`")
        qubits, clbits = sum(self.qubits.values()), sum(self.clbits.values())
        return LintReport(self.format, qubits, clbits, self.statements, self.expanded, self.dynamic, self.parameters)

    # ------------------------------------------------------------------------------------- statements

    def _header(self) -> None:
        if self._next() != "OPENQASM":
            self._refuse("wrong_format", "it does not begin with OPENQASM and a version")
        version = self._next()
        if version not in _VERSIONS[self.format]:
            self._refuse("wrong_format", f"it says OPENQASM {version[:20]}, the spec says {self.format}")
        self._expect(";")

    def _statement(self, *, inside_if: bool) -> None:
        self._count_statement()
        word = self._next()
        if word in ("qubit", "bit") and self.format == "openqasm2":
            self._refuse("construct_not_allowed", f"`{word}` is OpenQASM 3", "use qreg and creg")
        if word == "OPENQASM":
            self._refuse("wrong_format", "it has a second version line")
        if inside_if and word == "if":
            self._refuse("nested_if", "an `if` stands inside another")
        if inside_if and word in ("include", "gate", "qreg", "creg", "qubit", "bit"):
            self._refuse("construct_not_allowed", f"`{word}` stands inside an `if`")
        if word in _STATEMENTS:
            self.dynamic |= word in ("if", "reset")
            getattr(self, f"_{word}")()
        elif word in self.clbits and self.format == "openqasm3":
            self._index(word, self.clbits[word])
            self._expect("=")
            self._assigned_measurement()
        elif _is_name(word):
            self.dynamic |= self.measured
            self._call(word)
        else:
            self._refuse("construct_not_allowed", f"a statement begins with {word[:20]!r}")

    def _include(self) -> None:
        name, allowed = self._next(), _INCLUDES[self.format]
        if name != f'"{allowed}"':
            self._refuse("include_not_allowed", f"only {allowed} can be included, not {name[:40]}", "inline the file")
        self._expect(";")

    def _qreg(self) -> None:
        self._declare(self.qubits, self._name(), self._size())
        self._expect(";")

    def _creg(self) -> None:
        self._declare(self.clbits, self._name(), self._size())
        self._expect(";")

    def _qubit(self) -> None:
        size = self._size() if self._peek() == "[" else 1
        self._declare(self.qubits, self._name(), size)
        self._expect(";")

    def _bit(self) -> None:
        size = self._size() if self._peek() == "[" else 1
        self._declare(self.clbits, self._name(), size)
        if self._peek() == "=":
            self._next()
            self._assigned_measurement()
        else:
            self._expect(";")

    def _gate(self) -> None:
        if len(self.gates) >= self.limits.gate_definitions:
            self._refuse("too_many_gate_definitions", f"it defines more than {self.limits.gate_definitions} gates")
        name = self._name()
        if name in _LIBRARY:
            self._refuse("gate_redefined", f"{name} is a gate of the library", f"include {_INCLUDES[self.format]}")
        if self._peek() == "(":
            self._arguments()
        self._names_until("{")
        gate = _Gate(cost=1, height=1)
        while self._peek() != "}":
            self._body_statement(name, gate)
        self._next()
        self._spend(gate.cost)  # a parser may unfold a definition that nothing calls
        self.gates[name] = gate

    def _body_statement(self, name: str, gate: _Gate) -> None:
        """One call in the body of ``name``, added to ``gate``'s figures. The body sees only earlier gates."""
        self._count_statement()
        called = self._next()
        if called == "barrier":
            self._names_until(";")
            return
        if not _is_name(called) or called in _STATEMENTS:
            self._refuse("construct_not_allowed", f"the body of gate {name} holds {called[:20]!r}")
        cost, height = self._figures(called)
        gate.cost += cost
        gate.height = max(gate.height, height + 1)
        if gate.height > self.limits.nesting:
            self._refuse("nested_too_deeply", f"gates rest on each other more than {self.limits.nesting} deep")
        self._check_expansion(gate.cost)
        if self._peek() == "(":
            self._arguments()
        self._names_until(";")

    def _if(self) -> None:
        self._expect("(")
        if self._peek() == "!":
            self._next()
        name = self._name()
        if name not in self.clbits:
            self._refuse("construct_not_allowed", f"`if` may test classical bits only, not {name[:20]}")
        self._index(name, self.clbits[name])
        if self._peek() == "==":
            self._next()
            value = self._next()
            if not (value.isdigit() or value in ("true", "false")):
                self._refuse("construct_not_allowed", f"`if` may compare with a whole number, not {value[:20]!r}")
        self._expect(")")
        if self._peek() != "{" or self.format == "openqasm2":
            self._statement(inside_if=True)
            return
        self._next()
        while self._peek() != "}":
            self._statement(inside_if=True)
        self._next()

    def _measure(self) -> None:
        self.measured = True
        repeated = self._operand(self.qubits)
        self._expect("->")
        self._operand(self.clbits)
        self._expect(";")
        self._spend(repeated)

    def _reset(self) -> None:
        repeated = self._operand(self.qubits)
        self._expect(";")
        self._spend(repeated)

    def _barrier(self) -> None:
        self._operands()
        self._spend(1)

    def _call(self, name: str) -> None:
        cost, _ = self._figures(name)
        if self._peek() == "(":
            self._arguments()
        self._spend(cost * self._operands())

    def _assigned_measurement(self) -> None:
        if self._next() != "measure":
            self._refuse("construct_not_allowed", "only a measurement can be assigned")
        self.measured = True
        repeated = self._operand(self.qubits)
        self._expect(";")
        self._spend(repeated)

    # ------------------------------------------------------------------------------------------- parts

    def _figures(self, gate: str) -> tuple[int, int]:
        """Cost and height of a gate that is called."""
        defined = self.gates.get(gate)
        if defined is None and gate not in _KNOWN_GATES[self.format]:
            self._refuse("unknown_gate", f"{gate[:40]} is no gate that is known here", "define it before its use")
        # The parser may prefer its own gate to a definition of the same name: the dearer counts.
        library = _UNFOLDED.get(gate, 1)
        return (max(defined.cost, library), defined.height) if defined else (library, 0)

    def _operands(self) -> int:
        """Operands up to the semicolon; how many times the statement is repeated by naming whole
        registers."""
        repeated = 1
        if self._peek() != ";":
            repeated = self._operand(self.qubits)
            while self._peek() == ",":
                self._next()
                repeated = max(repeated, self._operand(self.qubits))
        self._expect(";")
        return repeated

    def _operand(self, registers: dict[str, int]) -> int:
        name = self._name()
        if name not in registers:
            kind = "qubits" if registers is self.qubits else "classical bits"
            self._refuse("syntax_error", f"{name[:40]} is not declared as {kind}")
        return 1 if self._index(name, registers[name]) else registers[name]

    def _index(self, name: str, size: int) -> bool:
        """An index behind ``name``, if there is one."""
        if self._peek() != "[":
            return False
        self._next()
        text = self._next()
        if not text.isdigit() or int(text) >= size:
            self._refuse("bad_index", f"{name[:40]} has no place {text[:20]!r}")
        self._expect("]")
        return True

    def _arguments(self) -> None:
        """A list of expressions in parentheses; the parser judges them, once they are known to be short."""
        self._expect("(")
        depth, terms = 1, 0
        while depth:
            token = self._next()
            if not (token in _IN_EXPRESSIONS or token[0] in "0123456789." or _is_name(token)):
                self._refuse("syntax_error", f"{token[:20]!r} stands in an expression")
            depth += (token == "(") - (token == ")")
            terms = 0 if token == "," else terms + 1
            if terms > self.limits.expression_terms:
                self._refuse("expression_too_long", f"it has more than {self.limits.expression_terms} terms")
            self.parameters += terms == 1 and depth > 0  # the first token of an angle
            if self.parameters > self.limits.parameters:
                self._refuse("too_many_parameters", f"its gates have more than {self.limits.parameters} angles")

    def _names_until(self, end: str) -> None:
        """Names, separated by commas: the operands where qubits have no registers."""
        if self._peek() != end:
            self._name()
            while self._peek() == ",":
                self._next()
                self._name()
        self._expect(end)

    def _declare(self, registers: dict[str, int], name: str, size: int) -> None:
        if name in self.qubits or name in self.clbits:
            self._refuse("syntax_error", f"{name} is declared twice")
        registers[name] = size
        if len(self.qubits) + len(self.clbits) > self.limits.registers:
            self._refuse("too_many_registers", f"it declares more than {self.limits.registers}")
        for kind, declared, limit in (
            ("qubits", self.qubits, self.limits.qubits),
            ("clbits", self.clbits, self.limits.clbits),
        ):
            if (total := sum(declared.values())) > limit:
                self._refuse(f"too_many_{kind}", f"it has {total} {kind}, the limit is {limit}")

    def _size(self) -> int:
        self._expect("[")
        text = self._next()
        if not text.isdigit() or int(text) == 0:
            self._refuse("bad_number", f"{text[:20]!r} is not a register size")
        self._expect("]")
        return int(text)

    def _name(self) -> str:
        word = self._next()
        if not _is_name(word) or word in _STATEMENTS:
            self._refuse("syntax_error", f"{word[:20]!r} stands where a name is expected")
        return word

    def _count_statement(self) -> None:
        self.statements += 1
        if self.statements > self.limits.statements:
            self._refuse("too_many_statements", f"it has more than {self.limits.statements}")

    def _spend(self, gates: int) -> None:
        self.expanded += gates
        self._check_expansion(self.expanded)

    def _check_expansion(self, gates: int) -> None:
        if gates > self.limits.expanded_gates:
            self._refuse("too_many_gates", f"it unfolds to more than {self.limits.expanded_gates} gates")

    def _expect(self, wanted: str) -> None:
        token = self._next()
        if token != wanted:
            self._refuse("syntax_error", f"{token[:20]!r} stands where {wanted!r} is expected")

    def _peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def _next(self) -> str:
        if self.position >= len(self.tokens):
            _refuse("syntax_error", "it ends in the middle of a statement")
        self.position += 1
        return self.tokens[self.position - 1]

    def _refuse(self, code: str, message: str, remedy: str | None = None) -> NoReturn:
        _refuse(code, f"{_line(self.text, self.starts[self.position - 1])}: {message}", remedy)


_IN_EXPRESSIONS = frozenset(("+", "-", "*", "/", "^", "**", ",", "(", ")"))


def _is_name(token: str) -> bool:
    return token[0].isalpha() or token[0] == "_"


def _line(text: str, position: int) -> str:
    return f"line {text.count(chr(10), 0, position) + 1}"


def _refuse(code: str, message: str, remedy: str | None = None) -> NoReturn:
    raise CircuitRejected(code, message, field="circuit", remedy=remedy)
