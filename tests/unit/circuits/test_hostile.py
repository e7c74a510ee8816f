"""A corpus of hostile circuits: each is refused for the right reason, by the gate and by the sandbox behind
it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import NamedTuple

import psutil
import pytest

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import lint
from oracle.circuits.run import RunResult
from oracle.jobs.errors import CircuitRejected

H2 = b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3];\ncreg c[3];\n'
H3 = b'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[3] q;\nbit[3] c;\n'
END2 = b"\nmeasure q -> c;\n"
END3 = b"\nc = measure q;\n"


class Case(NamedTuple):
    name: str
    code: str
    source: bytes
    format: str


def two(name: str, code: str, body: bytes) -> Case:
    return Case(name, code, H2 + body + END2, "openqasm2")


def three(name: str, code: str, body: bytes) -> Case:
    return Case(name, code, H3 + body + END3, "openqasm3")


def raw(name: str, code: str, source: bytes, format: str = "openqasm2") -> Case:
    return Case(name, code, source, format)


def bomb(levels: int) -> bytes:
    body = b"gate g0 a { x a; x a; }"
    for level in range(1, levels):
        body += b"gate g%d a { g%d a; g%d a; }" % (level, level - 1, level - 1)
    return body + b"g%d q[0];" % (levels - 1)


def tower(levels: int) -> bytes:
    body = b"gate g0 a { x a; }" + b"".join(b"gate g%d a { g%d a; }" % (n, n - 1) for n in range(1, levels))
    return body + b"g%d q[0];" % (levels - 1)


SIXTEENTH = b"*".join([b"t"] * 16)
SQUARED = b"gate g(t) a { rz(%b) a; } gate f(t) a { g(%b) a; } f(1e15) q[0];" % (SIXTEENTH, SIXTEENTH)
CASES = [
    # files
    two("include a system file", "include_not_allowed", b'include "/etc/passwd";'),
    two("include a relative path", "include_not_allowed", b'include "../../secret.inc";'),
    two("include a path to the library", "include_not_allowed", b'include "./qelib1.inc";'),
    two("include itself", "include_not_allowed", b'include "circuit.qasm";'),
    two("include a device", "include_not_allowed", b'include "/dev/zero";'),
    two("include without quotes", "bad_character", b"include qelib1.inc;"),
    three("include the other library", "include_not_allowed", b'include "qelib1.inc";'),
    # not what it says
    raw("empty file", "empty_circuit", b""),
    raw("only comments", "empty_circuit", b"// nothing\n" * 50_000),
    raw("only a version", "no_qubits", b"OPENQASM 2.0;"),
    raw("no version", "wrong_format", b"qreg q[1]; creg c[1]; measure q -> c;"),
    raw("version 3 sold as 2", "wrong_format", H3 + END3, "openqasm2"),
    raw("version 2 sold as 3", "wrong_format", H2 + END2, "openqasm3"),
    raw("version 9", "wrong_format", b"OPENQASM 9.0;" + H3[14:] + END3, "openqasm3"),
    two("second version", "wrong_format", b"OPENQASM 3.0;"),
    two("OpenQASM 3 declarations in 2", "construct_not_allowed", b"qubit[2] r;"),
    raw("QPY", "qpy_refused", b"QISKIT\x12\x01\x00\x00" + bytes(64)),
    raw("pickle", "pickle_refused", pickle.dumps({"circuit": 1}, protocol=4)),
    raw("zip", "archive_refused", b"PK\x03\x04" + bytes(64)),
    raw("gzip", "not_text", b"\x1f\x8b\x08\x00" + bytes(64)),
    raw("byte order mark", "not_text", b"\xef\xbb\xbf" + H2 + END2),
    raw("UTF-16", "not_text", (H2 + END2).decode().encode("utf-16")),
    two("NUL byte", "not_text", b"x q[0];\x00"),
    two("unicode name", "not_text", "gate \u03c8 a { x a; }".encode()),
    two("unicode in a comment", "not_text", "// \u202e reversed".encode()),
    two("invalid UTF-8", "not_text", b"// \xc3\x28\n"),
    two("lone carriage return", "not_text", b"// hidden\rqreg r[3000];"),
    two("escape sequence", "not_text", b"// \x1b[2J\n"),
    two("stray punctuation", "bad_character", b"x q[0] ? y q[0];"),
    two("shell in backticks", "bad_character", b"`id`;"),
    # too much
    raw("more bytes than allowed", "circuit_too_large", H2 + b"//" + b"x" * 2**20 + END2),
    two("ten million qubits", "too_many_qubits", b"qreg r[10000000];"),
    two("a billion classical bits", "too_many_clbits", b"creg r[1000000000];"),
    two("many small registers", "too_many_clbits", b"".join(b"creg r%d[1];" % n for n in range(300))),
    two("register of no size", "bad_number", b"qreg r[0];"),
    two("register of negative size", "bad_number", b"qreg r[-1];"),
    two("register of absurd size", "bad_number", b"qreg r[" + b"9" * 5000 + b"];"),
    two("register size by expression", "syntax_error", b"qreg r[2+2];"),
    three("sized by another constant", "bad_number", b"qubit[q] r;"),
    two("hundred thousand statements and one", "too_many_statements", b"barrier q;" * 100_001),
    two("gate bomb of 2^20", "too_many_gates", bomb(20)),
    three("gate bomb of 2^60", "too_many_gates", bomb(60)),
    two("huge broadcast", "too_many_gates", b"qreg r[25];" + b"h r;" * 8_001),
    two("broadcast of a heavy gate", "too_many_gates", b"gate g a {" + b"h a;" * 90_000 + b"} g q;"),
    two(
        "thousands of definitions",
        "too_many_gate_definitions",
        b"".join(b"gate g%d a { x a; }" % n for n in range(300)),
    ),
    two("tower of gates", "nested_too_deeply", tower(150)),
    three("tower of gates in 3", "nested_too_deeply", tower(150)),
    two("deep parentheses", "nested_too_deeply", b"rz(" + b"(" * 100_000 + b"1" + b")" * 100_000 + b") q[0];"),
    two("long chain of signs", "expression_too_long", b"rz(" + b"-" * 100_000 + b"1) q[0];"),
    two("tower of powers", "expression_too_long", b"rz(" + b"9^" * 100_000 + b"9) q[0];"),
    three("long sum", "expression_too_long", b"rz(" + b"1+" * 100_000 + b"1) q[0];"),
    two("name of 100 000 letters", "identifier_too_long", b"gate " + b"g" * 100_000 + b" a { x a; }"),
    three("comment bomb", "circuit_too_large", b"/*" + b"*" * 2**20 + b"*/"),
    three("comment without end", "syntax_error", b"/* " * 1000),
    # numbers
    two("infinite literal", "bad_number", b"rz(1e999) q[0];"),
    two("large literal", "bad_number", b"rz(1e300) q[0];"),
    two("infinity by powers", "bad_number", b"rz(9^9^9^9) q[0];"),
    two("infinity inside a gate", "bad_number", SQUARED),
    two("not a number", "syntax_error", b"rz(0/0) q[0];"),
    two("logarithm of nothing", "syntax_error", b"rz(ln(0)) q[0];"),
    two("named infinity", "syntax_error", b"rz(inf) q[0];"),
    three("named nan", "syntax_error", b"rz(nan) q[0];"),
    three("division by nothing", "syntax_error", b"rz(1/0) q[0];"),
    three("hexadecimal size", "bad_number", b"qubit[0xffffffff] r;"),
    three("underscored size", "bad_number", b"qubit[1_000_000] r;"),
    two("index out of range", "bad_index", b"x q[99999999];"),
    two("negative index", "bad_index", b"x q[-1];"),
    # constructs
    two("opaque gate", "construct_not_allowed", b"opaque secret a;"),
    three("endless loop", "construct_not_allowed", b"while (true) { x q[0]; }"),
    three("long loop", "construct_not_allowed", b"for int i in {1, 2} { x q[0]; }"),
    three("subroutine", "construct_not_allowed", b"def f(qubit a) { f(a); }"),
    three("extern", "construct_not_allowed", b"extern f(int) -> int;"),
    three("calibration", "construct_not_allowed", b"defcal x q { play(); }"),
    three("calibration block", "construct_not_allowed", b"cal { }"),
    three("calibration grammar", "construct_not_allowed", b'defcalgrammar "openpulse";'),
    three("pragma", "construct_not_allowed", b"pragma run /bin/sh\n"),
    three("hash pragma", "bad_character", b"#pragma run /bin/sh\n"),
    three("annotation", "bad_character", b"@run /bin/sh\nx q[0];"),
    three("array", "construct_not_allowed", b"array[int[32], 1000000] a;"),
    three("integer variable", "construct_not_allowed", b"int[64] n = 1;"),
    three("alias", "construct_not_allowed", b"let a = q;"),
    three("input", "construct_not_allowed", b"input float theta;"),
    three("switch", "construct_not_allowed", b"switch (c) { case 1 { x q[0]; } }"),
    three("box", "construct_not_allowed", b"box { x q[0]; }"),
    three("delay", "construct_not_allowed", b"delay[1] q[0];"),
    three("control modifier", "construct_not_allowed", b"ctrl(2) x q[0], q[1], q[2];"),
    three("power modifier", "construct_not_allowed", b"pow(1000000000) x q[0];"),
    three("physical qubit", "bad_character", b"x $1000000;"),
    three("slice", "bad_index", b"x q[{0, 1}];"),
    three("assignment", "construct_not_allowed", b"c = 3;"),
    three("nested if", "nested_if", b"if (c == 1) { if (c == 2) { x q[0]; } }"),
    two("nested if in 2", "nested_if", b"if(c==1) if(c==2) x q[0];"),
    two("thousands of nested ifs", "nested_if", b"if(c==1) " * 10_000 + b"x q[0];"),
    two("if on qubits", "construct_not_allowed", b"if(q==1) x q[0];"),
    two("if compared by expression", "construct_not_allowed", b"if(c==(1)) x q[0];"),
    two("register inside an if", "construct_not_allowed", b"if(c==1) qreg r[2];"),
    three("definition inside an if", "construct_not_allowed", b"if (c == 1) { gate g a { x a; } }"),
    two("gate that calls itself", "unknown_gate", b"gate f a { f a; } f q[0];"),
    two("gates that call each other", "unknown_gate", b"gate f a { g a; } gate g a { f a; } f q[0];"),
    two("measurement in a gate", "construct_not_allowed", b"gate f a { measure a; }"),
    two("unknown gate", "unknown_gate", b"warp q[0];"),
    two("delay by its old name", "construct_not_allowed", b"u0(100000) q[0];"),
    # grammar
    raw("truncated", "syntax_error", H2 + b"gate f a { x a;"),
    two("unclosed string", "bad_character", b'include "qelib1.inc'),
    two("same register twice", "syntax_error", b"qreg q[2];"),
    two("qubits as bits", "syntax_error", b"measure q -> q;"),
    two("one qubit twice", "syntax_error", b"cx q[0],q[0];"),
    two("keyword as a name", "syntax_error", b"qreg measure[2];"),
    two("wrong number of angles", "syntax_error", b"rz(1,2) q[0];"),
    two("mismatched broadcast", "syntax_error", b"qreg r[2]; cx q,r;"),
    raw("no measurement", "no_measurement", H2 + b"h q;"),
    raw("no qubits", "no_qubits", b"OPENQASM 2.0; creg c[1];"),
]
# What only the parser or the compiled circuit can tell.
BEHIND_THE_GATE = {
    "infinity by powers",
    "infinity inside a gate",
    "not a number",
    "logarithm of nothing",
    "named infinity",
    "named nan",
    "division by nothing",
    "one qubit twice",
    "wrong number of angles",
    "mismatched broadcast",
}


def test_corpus__names__are_distinct_and_many() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 100
    assert {case.name for case in CASES} >= BEHIND_THE_GATE


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in BEHIND_THE_GATE], ids=lambda c: c.name)
def test_lint__hostile_circuit__is_refused_with_its_code(case: Case) -> None:
    with pytest.raises(CircuitRejected) as caught:
        lint(case.source, case.format, CircuitLimits())
    assert caught.value.code == case.code
    assert len(caught.value.code) <= 31
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


@pytest.mark.parametrize("case", [case for case in CASES if case.name in BEHIND_THE_GATE], ids=lambda c: c.name)
def test_lint__fault_only_the_parser_sees__passes_the_gate(case: Case) -> None:
    assert lint(case.source, case.format, CircuitLimits()).qubits >= 3


def test_sandbox__whole_corpus__each_is_contained_and_the_worker_survives(
    run: Callable[..., RunResult],
) -> None:
    good = H2 + b"x q[1];" + END2
    assert run(good, "openqasm2", shots=8).counts == {"010": 8}
    before = workers()
    wrong = {}
    for case in CASES:
        with pytest.raises(CircuitRejected) as caught:
            run(case.source, case.format)
        if caught.value.code != case.code or "root" in str(caught.value):
            wrong[case.name] = (case.code, str(caught.value.as_dict()))
    assert wrong == {}
    assert run(good, "openqasm2", shots=8).counts == {"010": 8}
    assert workers() == before


def workers() -> set[int]:
    return {child.pid for child in psutil.Process().children() if "oracle.circuits.worker" in child.cmdline()}
