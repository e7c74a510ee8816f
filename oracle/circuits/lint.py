"""A gate in front of the parsers: linear in the bytes, and before any Qiskit code sees them.

Qiskit's parsers answer hostile text with hangs, aborts and opened files. This reads the text as a list of tokens and
lets through a straight-line subset of OpenQASM 2 and 3: declarations, gate definitions, gate calls, measure, reset,
barrier and `if` without nesting. Whatever is not on that list is refused with a reason. It does not check types or
operands; the parser does, on text that can no longer hurt it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import NoReturn

from oracle.circuits.limits import CircuitLimits
from oracle.jobs.errors import CircuitRejected

FORMATS = ("openqasm2", "openqasm3")
_INCLUDES = {"openqasm2": "qelib1.inc", "openqasm3": "stdgates.inc"}
_BINARY_HEADERS = {b"QISKIT": "qpy_refused", b"\x80": "pickle_refused", b"PK\x03\x04": "archive_refused"}
# A comment or a string ends with its line or with the text; no alternative can match the same text in two ways.
_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+|//[^\n]*|/\*(?:[^*]|\*(?!/))*\*/)"
    r'|(?P<string>"[^"\n]*")'
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<mark>->|==|\*\*|[-+*/^()\[\]{},;=])"
)
_REFUSED_WORDS = frozenset(
    "while for def extern cal defcal defcalgrammar pragma array switch case default end box opaque input output let "
    "const duration stretch delay durationof return break continue ctrl negctrl pow inv int uint float angle bool "
    "complex else in".split()
)


@dataclass(frozen=True)
class LintReport:
    """Sizes found in the text. ``expanded_gates`` is an upper bound for the gates after unfolding."""

    format: str
    qubits: int
    clbits: int
    statements: int
    expanded_gates: int


def lint(source: bytes, format: str, limits: CircuitLimits) -> LintReport:
    """Check ``source``; raises :class:`CircuitRejected` with a stable code for the first thing that is not allowed."""
    if format not in FORMATS:
        _refuse("wrong_format", f"{format!r} is not one of {', '.join(FORMATS)}")
    for header, code in _BINARY_HEADERS.items():
        if source.startswith(header):
            _refuse(code, "binary circuit files can run code when they are read", "send OpenQASM text")
    if len(source) > limits.source_bytes:
        _refuse("circuit_too_large", f"is {len(source)} bytes, more than the {limits.source_bytes} allowed")
    try:
        text = source.decode("ascii")
    except UnicodeDecodeError as err:
        _refuse("not_text", f"byte {err.start} is not ASCII", "send plain OpenQASM text")
    return _Linter(_tokens(text, limits), format, limits).run()


def _tokens(text: str, limits: CircuitLimits) -> list[str]:
    tokens, position, depth = [], 0, 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            line = text.count("\n", 0, position) + 1
            _refuse("bad_character", f"line {line} holds {text[position]!r}, which has no place in a circuit")
        position = match.end()
        kind, token = match.lastgroup, match.group()
        if kind == "space":
            continue
        if kind == "word" and len(token) > limits.identifier_length:
            _refuse("identifier_too_long", f"a name has {len(token)} characters")
        if kind == "word" and token in _REFUSED_WORDS:
            _refuse("construct_not_allowed", f"`{token}` is not allowed", "send a straight-line circuit")
        if kind == "number" and (len(token) > 32 or not math.isfinite(float(token))):
            _refuse("bad_number", f"{token[:20]}… is not a usable number")
        depth += (token in "([{") - (token in ")]}")
        if depth > limits.nesting:
            _refuse("nested_too_deeply", f"brackets are nested more than {limits.nesting} deep")
        tokens.append(token)
    return tokens


@dataclass
class _Linter:
    tokens: list[str]
    format: str
    limits: CircuitLimits
    position: int = 0
    statements: int = 0
    expanded: int = 0
    measured: bool = False
    qubits: dict[str, int] = field(default_factory=dict)
    clbits: dict[str, int] = field(default_factory=dict)
    gates: dict[str, int] = field(default_factory=dict)

    def run(self) -> LintReport:
        if not self.tokens:
            _refuse("empty_circuit", "there is nothing in it")
        self._header()
        while self.position < len(self.tokens):
            self._statement(inside_if=False)
        if not self.qubits:
            _refuse("no_qubits", "it declares no qubits")
        if not self.measured:
            _refuse("no_measurement", "it measures nothing, so there would be no counts", "end it with `measure`")
        return LintReport(
            self.format, sum(self.qubits.values()), sum(self.clbits.values()), self.statements, self.expanded
        )

    # ------------------------------------------------------------------------------------- statements

    def _header(self) -> None:
        if self._peek() != "OPENQASM":
            _refuse("wrong_format", "it does not begin with OPENQASM and a version")
        self._next()
        version = self._next()
        wanted = {"openqasm2": ("2.0",), "openqasm3": ("3", "3.0", "3.1")}[self.format]
        if version not in wanted:
            _refuse("wrong_format", f"it says OPENQASM {version[:20]}, the spec says {self.format}")
        self._expect(";")

    def _statement(self, *, inside_if: bool) -> None:
        self.statements += 1
        if self.statements > self.limits.statements:
            _refuse("too_many_statements", f"it has more than {self.limits.statements}")
        word = self._next()
        if word == "if":
            if inside_if:
                _refuse("nested_if", "an `if` stands inside another")
            self._conditional()
        elif word in ("include", "gate", "qreg", "creg", "qubit", "bit"):
            if inside_if:
                _refuse("construct_not_allowed", f"`{word}` stands inside an `if`")
            getattr(self, f"_{word}")()
        elif word in ("measure", "reset", "barrier"):
            self.measured |= word == "measure"
            self._spend(self._operands_until(";"))
        elif _is_name(word):
            self._call_or_assignment(word)
        else:
            _refuse("construct_not_allowed", f"a statement begins with {word[:20]!r}")

    def _include(self) -> None:
        name = self._next().strip('"')
        if name != _INCLUDES[self.format]:
            allowed = _INCLUDES[self.format]
            _refuse("include_not_allowed", f"only {allowed} can be included, not {name[:40]!r}", "inline the file")
        self._expect(";")

    def _qreg(self) -> None:
        self._register(self.qubits, self._name(), self._size())

    def _creg(self) -> None:
        self._register(self.clbits, self._name(), self._size())

    def _qubit(self) -> None:
        size = self._size() if self._peek() == "[" else 1
        self._register(self.qubits, self._name(), size)

    def _bit(self) -> None:
        size = self._size() if self._peek() == "[" else 1
        name = self._name()
        if self._peek() == "=":
            self._next()
            self._assigned_measurement()
            self._declare(self.clbits, name, size)
        else:
            self._register(self.clbits, name, size)

    def _gate(self) -> None:
        if len(self.gates) >= self.limits.gate_definitions:
            _refuse("too_many_gate_definitions", f"it defines more than {self.limits.gate_definitions} gates")
        name, cost = self._name(), 0
        self._skip_until("{")
        while self._peek() != "}":
            called = self._next()
            if not _is_name(called):
                _refuse("construct_not_allowed", f"the body of gate {name} holds {called[:20]!r}")
            cost += self.gates.get(called, 1)
            self._check_expansion(cost)
            self._skip_until(";")
        self._next()
        self.gates[name] = max(cost, 1)

    def _conditional(self) -> None:
        self._expect("(")
        self._skip_parenthesis()
        if self._peek() != "{":
            self._statement(inside_if=True)
            return
        self._next()
        while self._peek() != "}":
            self._statement(inside_if=True)
        self._next()

    def _call_or_assignment(self, word: str) -> None:
        if word in self.clbits:
            if self._peek() == "[":
                self._next()
                self._skip_until("]")
            self._expect("=")
            self._assigned_measurement()
            return
        if self._peek() == "(":
            self._next()
            self._skip_parenthesis()
        self._spend(self.gates.get(word, 1) * self._operands_until(";"))

    def _assigned_measurement(self) -> None:
        if self._next() != "measure":
            _refuse("construct_not_allowed", "only a measurement can be assigned")
        self.measured = True
        self._spend(self._operands_until(";"))

    # ------------------------------------------------------------------------------------------- parts

    def _operands_until(self, end: str) -> int:
        """Skip operands; returns how many times the statement is repeated by naming whole registers."""
        repeated = 1
        while (token := self._next()) != end:
            if token in "{}":
                _refuse("syntax_error", "a statement does not end with ;")
            if _is_name(token) and self._peek() != "[":
                repeated = max(repeated, self.qubits.get(token, self.clbits.get(token, 1)))
        return repeated

    def _register(self, registers: dict[str, int], name: str, size: int) -> None:
        self._declare(registers, name, size)
        self._expect(";")

    def _declare(self, registers: dict[str, int], name: str, size: int) -> None:
        if name in self.qubits or name in self.clbits:
            _refuse("syntax_error", f"{name} is declared twice")
        registers[name] = size
        if len(self.qubits) + len(self.clbits) > self.limits.registers:
            _refuse("too_many_registers", f"it declares more than {self.limits.registers}")
        for kind, declared, limit in (
            ("qubits", self.qubits, self.limits.qubits),
            ("clbits", self.clbits, self.limits.clbits),
        ):
            if (total := sum(declared.values())) > limit:
                _refuse(f"too_many_{kind}", f"it has {total} {kind}, the limit is {limit}")

    def _size(self) -> int:
        self._expect("[")
        text = self._next()
        if not text.isdigit() or len(text) > 9 or int(text) == 0:
            _refuse("bad_number", f"{text[:20]!r} is not a register size")
        self._expect("]")
        return int(text)

    def _name(self) -> str:
        word = self._next()
        if not _is_name(word):
            _refuse("syntax_error", f"{word[:20]!r} stands where a name is expected")
        return word

    def _spend(self, gates: int) -> None:
        self.expanded += gates
        self._check_expansion(self.expanded)

    def _check_expansion(self, gates: int) -> None:
        if gates > self.limits.expanded_gates:
            _refuse("too_many_gates", f"it unfolds to more than {self.limits.expanded_gates} gates")

    def _skip_parenthesis(self) -> None:
        depth = 1
        while depth:
            token = self._next()
            if token in (";", "{", "}"):
                _refuse("syntax_error", "a parenthesis is not closed")
            depth += (token == "(") - (token == ")")

    def _skip_until(self, end: str) -> None:
        while (token := self._next()) != end:
            if token in (";", "{", "}"):
                _refuse("syntax_error", f"{token!r} stands where {end!r} is expected")

    def _expect(self, wanted: str) -> None:
        token = self._next()
        if token != wanted:
            _refuse("syntax_error", f"{token[:20]!r} stands where {wanted!r} is expected")

    def _peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def _next(self) -> str:
        if self.position >= len(self.tokens):
            _refuse("syntax_error", "it ends in the middle of a statement")
        self.position += 1
        return self.tokens[self.position - 1]


def _is_name(token: str) -> bool:
    return token[0].isalpha() or token[0] == "_"


def _refuse(code: str, message: str, remedy: str | None = None) -> NoReturn:
    raise CircuitRejected(code, message, field="circuit", remedy=remedy)
