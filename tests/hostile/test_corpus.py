"""A corpus of hostile circuits: each is refused for the right reason, by the gate and by the sandbox behind
it."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from typing import Any, NamedTuple

import psutil
import pytest

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import RunRequest
from oracle.circuits.sandbox import Sandbox
from oracle.jobs.errors import CircuitRejected

H2 = b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3];\ncreg c[3];\n'
H3 = b'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[3] q;\nbit[3] c;\n'
END2 = b"\nmeasure q -> c;\n"
END3 = b"\nc = measure q;\n"


class Case(NamedTuple):
    """``limits`` and ``request`` are what the run has beyond the defaults."""

    name: str
    code: str
    source: bytes
    format: str
    limits: dict[str, int] = {}
    request: dict[str, Any] = {}


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


def js(name: str, code: str, document: Any, **request: Any) -> Case:
    source = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Case(name, code, source, "qscrow-json", {}, request)


def step(name: str, code: str, instruction: Any, **fields: Any) -> Case:
    """One instruction in an otherwise good circuit of three wires."""
    return js(name, code, {"wires": 3, "instructions": [instruction, ["measure", [0], [0]]], **fields})


def pub(name: str, code: str, pub: Any, **request: Any) -> Case:
    """One PUB of a good circuit of two wires and one parameter."""
    steps = [["rx", [0], ["t"]], ["measure", [0, 1], [0, 1]]]
    document = {"circuits": [{"wires": 2, "parameters": ["t"], "instructions": steps}], "pubs": [pub]}
    return js(name, code, document, **request)


def bomb_at_run_time(name: str, code: str, body: bytes, limits: dict[str, int], **request: Any) -> Case:
    return Case(name, code, H2 + body + END2, "openqasm2", limits, request)


def zipped(text: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("circuit.json", text)
    return data.getvalue()


def dense(qubits: int, layers: int) -> bytes:
    """Entanglement that no method compresses, on further qubits."""
    body = b"qreg r[%d]; creg d[%d];" % (qubits, qubits)
    for layer in range(layers):
        body += b"".join(b"u3(0.%d,1.%d,2) r[%d];" % (layer + 1, n, n) for n in range(qubits))
        body += b"".join(b"cx r[%d],r[%d];" % (n, n + 1) for n in range(layer % 2, qubits - 1, 2))
    return body + b"measure r -> d;"


def dense_again(qubits: int) -> bytes:
    return b"".join(b"u3(0.1,0.2,0.3) r[%d];" % n for n in range(qubits)) + b"measure r -> d;"


def tangled(qubits: int) -> bytes:
    """Pairs far apart, again and again: no bond dimension holds that."""
    gates = b""
    for layer in range(6):
        gates += b"ry(0.%d) r; t r;" % (layer + 3)
        gates += b"".join(
            b"cx r[%d],r[%d];" % (n, (7 * n + 31 * layer + 5) % qubits)
            for n in range(0, qubits, 2)
            if (7 * n + 31 * layer + 5) % qubits != n
        )
    return gates


WIDE = b"qreg r[997]; creg d[997]; h r;"
SPREAD = b"qreg r[14]; creg d[14]; h r; t r; measure r -> d;"
ONE_WIRE = {"wires": 1, "instructions": [["measure", [0], [0]]]}
PAULIS = [f"{n:03b}".translate(str.maketrans("01", "XZ")) for n in range(8)]
EVERY_BASIS = [[[a + b, 1.0]] for a in PAULIS for b in PAULIS]
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
    two("many small registers", "too_many_registers", b"".join(b"creg r%d[1];" % n for n in range(300))),
    two("one qubit more than a thousand", "too_many_qubits", b"qreg r[998];"),
    two("broadcast over a thousand qubits", "too_many_gates", b"qreg r[997];" + b"h r;" * 201),
    two(
        "gate bomb on a thousand qubits", "too_many_gates", b"qreg r[997];" + bomb(8).replace(b"q[0]", b"r") + b"g7 r;"
    ),
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
    two("same gate twice", "syntax_error", b"gate f a { x a; } gate f a { y a; } f q[0];"),
    two("gate under a register's name", "syntax_error", b"gate q a { x a; }"),
    two("gate with one argument twice", "syntax_error", b"gate f a,a { x a; } f q[0],q[1];"),
    two("gate of too many wires", "syntax_error", b"gate f a { x a; } f q[0],q[1],q[2];"),
    two("measured into too few bits", "syntax_error", b"creg d[2]; measure q -> d;"),
    two("comment end without beginning", "construct_not_allowed", b"*/ x q[0];"),
    two("condition on a number of 40 digits", "bad_number", b"if(c==" + b"9" * 40 + b") x q[0];"),
    two("condition before a place that is not there", "bad_index", b"if(c==0) measure q[9] -> c[0];"),
    # JSON: files and bytes
    js("json: empty file", "bad_json", b""),
    js("json: OpenQASM sold as JSON", "bad_json", H2 + END2),
    js("json: QPY", "qpy_refused", b"QISKIT\x12\x01\x00\x00" + bytes(64)),
    js("json: pickle", "pickle_refused", pickle.dumps(ONE_WIRE, protocol=4)),
    js("json: pickle of protocol 0", "bad_json", pickle.dumps(ONE_WIRE, protocol=0)),
    js("json: zip", "archive_refused", zipped(json.dumps(ONE_WIRE).encode())),
    js("json: byte order mark", "not_text", b"\xef\xbb\xbf" + json.dumps(ONE_WIRE).encode()),
    js("json: NUL byte", "not_text", json.dumps(ONE_WIRE).encode() + b"\x00"),
    js("json: UTF-16", "not_text", json.dumps(ONE_WIRE).encode("utf-16")),
    js("json: unicode name", "not_text", '{"wires":1,"\u03c8":1}'.encode()),
    js("json: more bytes than allowed", "circuit_too_large", b" " * 2**20 + json.dumps(ONE_WIRE).encode()),
    js("json: Qiskit's own, with a type to call", "bad_instruction", {"__type__": "_json", "__module__": "subprocess"}),
    # JSON: grammar
    js("json: 100 000 brackets", "nested_too_deeply", b"[" * 100_000),
    js("json: brackets in an endless string", "bad_json", b'{"' + b"[" * 100_000),
    js("json: escape without end", "bad_json", b'{"\\'),
    js("json: trailing rubbish", "bad_json", json.dumps(ONE_WIRE).encode() + b"}"),
    js("json: comment", "bad_json", b"// hi\n" + json.dumps(ONE_WIRE).encode()),
    js("json: two objects", "bad_json", json.dumps(ONE_WIRE).encode() * 2),
    js("json: same key twice", "bad_json", b'{"wires":1,"wires":2,"instructions":[["measure",[0],[0]]]}'),
    js("json: NaN", "bad_json", b'{"wires":1,"instructions":[["rz",[0],[NaN]],["measure",[0],[0]]]}'),
    js("json: infinity", "bad_json", b'{"wires":1,"instructions":[["rz",[0],[-Infinity]],["measure",[0],[0]]]}'),
    js("json: number beyond any", "bad_json", b'{"wires":1,"instructions":[["rz",[0],[1e999]],["measure",[0],[0]]]}'),
    js("json: integer of 100 000 digits", "bad_json", b'{"wires":' + b"9" * 100_000 + b',"instructions":[]}'),
    js("json: only a list", "bad_json", [["h", [0], []]]),
    js("json: only a number", "bad_json", b"7"),
    js("json: unknown field", "bad_instruction", {**ONE_WIRE, "include": "/etc/passwd"}),
    js("json: no wires", "bad_instruction", {"instructions": [["measure", [0], [0]]]}),
    # JSON: sizes
    js("json: wires of no number", "bad_number", {**ONE_WIRE, "wires": "1"}),
    js("json: true wires", "bad_number", {**ONE_WIRE, "wires": True}),
    js("json: negative wires", "bad_number", {**ONE_WIRE, "wires": -1}),
    js("json: ten million wires", "too_many_qubits", {**ONE_WIRE, "wires": 10_000_000}),
    js("json: a billion bits", "too_many_clbits", {**ONE_WIRE, "bits": 10**9}),
    js(
        "json: measured into bit one million",
        "too_many_clbits",
        {"wires": 1, "instructions": [["measure", [0], [10**6]]]},
    ),
    js("json: one wire more than a thousand", "too_many_qubits", {**ONE_WIRE, "wires": 1_001}),
    js("json: nothing to do", "empty_circuit", {"wires": 1, "instructions": []}),
    js("json: too many instructions", "too_many_statements", b'{"wires":1,"instructions":[' + b"0," * 100_001 + b"0]}"),
    js("json: nothing measured", "no_measurement", {"wires": 1, "instructions": [["h", [0], []]]}),
    js("json: other shots than the job's", "shots_mismatch", {**ONE_WIRE, "shots": 99}),
    js("json: shots of no number", "bad_number", {**ONE_WIRE, "shots": 1.5}),
    # JSON: instructions
    step("json: instruction as an object", "bad_instruction", {"name": "h"}),
    step("json: instruction of two parts", "bad_instruction", ["h", [0]]),
    step("json: name of no text", "bad_instruction", [["h"], [0], []]),
    step("json: unknown gate", "unknown_gate", ["warp", [0], []]),
    step("json: OpenQASM in a gate's name", "unknown_gate", ['x q[0]; include "/etc/passwd"; x', [0], []]),
    step("json: loop", "unknown_gate", ["while", [0], []]),
    step("json: opaque unitary", "unknown_gate", ["unitary", [0], [[1, 0], [0, 1]]]),
    step("json: simulator's own instruction", "unknown_gate", ["save_state", [0], []]),
    step("json: too few wires", "bad_arity", ["cx", [0], []]),
    step("json: too many wires", "bad_arity", ["h", [0, 1], []]),
    step("json: too many angles", "bad_arity", ["rz", [0], [1, 2]]),
    step("json: no angle", "bad_arity", ["rz", [0], []]),
    step("json: one wire twice", "bad_instruction", ["cx", [0, 0], []]),
    step("json: wire that is not there", "bad_index", ["h", [3], []]),
    step("json: negative wire", "bad_instruction", ["h", [-1], []]),
    step("json: wire between two", "bad_instruction", ["h", [0.5], []]),
    step("json: wire by name", "bad_instruction", ["h", ["q"], []]),
    step("json: wires in no list", "bad_instruction", ["h", {"0": 1}, []]),
    step("json: angle beyond meaning", "bad_number", ["rz", [0], [1e300]]),
    step("json: integer angle beyond meaning", "bad_number", ["rz", [0], [10**19]]),
    step("json: angle of no number", "bad_number", ["rz", [0], [None]]),
    step("json: code for an angle", "unbound_parameters", ["rz", [0], ["__import__('os').system('id')"]]),
    step("json: measured into one bit twice", "bad_instruction", ["measure", [0, 1], [0, 0]]),
    step("json: measured into too few bits", "bad_arity", ["measure", [0, 1], [0]]),
    step("json: parameter without a value", "unbound_parameters", ["rz", [0], ["t"]], parameters=["t"]),
    step("json: parameter of a strange name", "bad_instruction", ["h", [0], []], parameters=["a);x q[0];rz(b"]),
    step("json: parameter of a long name", "identifier_too_long", ["h", [0], []], parameters=["a" * 1000]),
    # JSON: several circuits
    js("json: no circuits", "empty_circuit", {"circuits": []}),
    js("json: a thousand circuits", "too_many_circuits", {"circuits": [ONE_WIRE] * 1000}),
    js("json: circuit inside a circuit", "bad_instruction", {"circuits": [{"circuits": [ONE_WIRE]}]}),
    js("json: circuit that nothing runs", "bad_instruction", {"circuits": [ONE_WIRE] * 2, "pubs": [{"circuit": 0}]}),
    js(
        "json: text that includes a file",
        "include_not_allowed",
        {"circuits": [{"format": "openqasm2", "source": 'OPENQASM 2.0;include "/etc/passwd";'}]},
    ),
    js(
        "json: gate bomb in its text",
        "too_many_gates",
        {"circuits": [{"format": "openqasm2", "source": (H2 + bomb(30) + END2).decode()}]},
    ),
    js(
        "json: text of escaped unicode",
        "not_text",
        b'{"circuits":[{"format":"openqasm3","source":"OPENQASM 3.0; // \\u202e \\ud800"}]}',
    ),
    js("json: QPY as text", "wrong_format", {"circuits": [{"format": "qpy", "source": "QISKIT"}]}),
    js(
        "json: good circuits, too many gates together",
        "too_many_gates",
        {
            "circuits": [{"wires": 3, "instructions": [["rccx", [0, 1, 2], []]] * 300 + [["measure", [0], [0]]]}],
            "pubs": [{"circuit": 0}] * 100,
        },
    ),
    pub("json: PUB of no circuit", "bad_index", {"circuit": 7, "parameters": [[0]]}),
    pub("json: PUB without its parameters", "unbound_parameters", {"circuit": 0}),
    pub("json: parameters of the wrong number", "unbound_parameters", {"circuit": 0, "parameters": [[0, 1]]}),
    pub("json: parameter beyond meaning", "bad_number", {"circuit": 0, "parameters": [[1e99]]}),
    pub("json: a million parameter sets", "too_many_circuits", {"circuit": 0, "parameters": [[0]] * 100_000}),
    pub(
        "json: observables nobody asked for",
        "unused_observables",
        {"circuit": 0, "parameters": [[0]], "observables": [[["ZZ", 1]]]},
    ),
    pub("json: nothing to estimate", "no_observables", {"circuit": 0, "parameters": [[0]]}, result="expectation"),
    *(
        pub(
            f"json: observable {what}",
            code,
            {"circuit": 0, "parameters": [[0]], "observables": given},
            result="expectation",
        )
        for what, code, given in (
            ("that is a text", "bad_observable", "ZZ"),
            ("of other letters", "bad_observable", [[["ZQ", 1]]]),
            ("too long", "bad_observable", [[["Z" * 100_000, 1]]]),
            ("of no qubit", "bad_observable", [[["II", 1]]]),
            ("with the same term twice", "bad_observable", [[["ZZ", 1], ["ZZ", 1]]]),
            ("beyond meaning", "bad_observable", [[["ZZ", 1e200]]]),
            ("of too many terms", "too_many_observables", [[["ZZ", 1]]] * 1001),
        )
    ),
    js(
        "json: observables in too many bases",
        "too_many_circuits",
        {
            "circuits": [{"wires": 6, "instructions": [["h", [0], []]]}],
            "pubs": [{"circuit": 0, "observables": EVERY_BASIS}, {"circuit": 0, "observables": EVERY_BASIS}],
        },
        result="expectation",
    ),
    js("json: result of an unknown kind", "unknown_result", ONE_WIRE, result="density"),
    # at run time
    bomb_at_run_time(
        "memory for 25 qubits", "too_much_memory", dense(22, 2), {"memory_bytes": 2**28}, method="statevector"
    ),
    bomb_at_run_time(
        "memory for a density matrix", "too_much_memory", dense(13, 1), {"memory_bytes": 2**28}, method="density_matrix"
    ),
    bomb_at_run_time(
        "memory while parsing",
        "memory_limit",
        b"gate g a { x a; x a; x a; }" + b"g q;" * 8_000,
        {"memory_bytes": 2**24},
    ),
    bomb_at_run_time(
        "depth hidden in a gate", "too_deep", b"gate g a {" + b"x a;" * 1000 + b"}" + b"g q[0];" * 101, {}
    ),
    bomb_at_run_time(
        "CPU: every shot by itself",
        "cpu_limit",
        dense(12, 8) + b"reset r;" + dense_again(12),
        {"cpu_seconds": 1},
        shots=1_000_000,
    ),
    bomb_at_run_time(
        "clock: every shot by itself",
        "time_limit",
        dense(12, 8) + b"reset r;" + dense_again(12),
        {"wall_seconds": 1},
        shots=1_000_000,
    ),
    bomb_at_run_time(
        "CPU: bonds of a matrix product state",
        "cpu_limit",
        dense(24, 40),
        {"cpu_seconds": 1},
        method="matrix_product_state",
    ),
    bomb_at_run_time(
        "outcomes without end",
        "too_many_outcomes",
        b"qreg r[12]; creg d[12]; h r; t r; measure r -> d;",
        {"outcomes": 500},
        shots=20_000,
    ),
    bomb_at_run_time(
        "a result of many long shots",
        "output_limit",
        b"creg d[61]; measure q[0] -> d[60];",
        {},
        shots=20_000,
        result="memory",
    ),
    bomb_at_run_time(
        "a result of many long keys",
        "output_limit",
        SPREAD + b"creg e[47];",
        {},
        shots=60_000,
    ),
    # as wide as a node takes
    bomb_at_run_time("wide: state of 1 000 qubits", "too_much_memory", WIDE + b"t r; h r;", {}, method="statevector"),
    bomb_at_run_time("wide: density matrix", "too_much_memory", WIDE + b"t r; h r;", {}, method="density_matrix"),
    bomb_at_run_time("wide: nothing can take it", "too_much_memory", WIDE + tangled(997) + b"measure r -> d;", {}),
    bomb_at_run_time(
        "wide: a tableau for every shot",
        "cpu_limit",
        WIDE + b"measure r -> d;",
        {"cpu_seconds": 1},
        shots=100_000,
        method="stabilizer",
    ),
    bomb_at_run_time(
        "wide: bonds of a matrix product state",
        "cpu_limit",
        WIDE + tangled(997) + b"measure r -> d;",
        {"cpu_seconds": 1},
        method="matrix_product_state",
    ),
    bomb_at_run_time("wide: outcomes without end", "too_many_outcomes", WIDE + b"measure r -> d;", {}, shots=100_000),
    bomb_at_run_time("wide: keys without end", "output_limit", WIDE + b"measure r -> d;", {}, shots=1_000),
    bomb_at_run_time(
        "wide: analysis of a result too large",
        "output_limit",
        WIDE + b"measure r -> d;",
        {},
        shots=1_000,
        method="analyse",
    ),
    bomb_at_run_time(
        "wide: analysis of every shot",
        "output_limit",
        WIDE + b"measure r -> d;",
        {},
        result="memory",
        shots=600,
        method="analyse",
    ),
    bomb_at_run_time(
        "wide: analysis that unfolds for long",
        "too_deep",
        WIDE + b"gate g a {" + b"t a; h a;" * 90 + b"} gate f a { g a; g a; g a; g a; g a; } " + b"f r[0];" * 200,
        {},
        method="analyse",
    ),
    bomb_at_run_time("more shots than allowed", "too_many_shots", b"x q[0];", {}, shots=10**12),
    bomb_at_run_time("a method for Clifford circuits only", "not_clifford", b"t q[0];", {}, method="stabilizer"),
    bomb_at_run_time(
        "shots in order from a method that keeps none",
        "no_memory",
        b"x q[0];",
        {},
        method="stim",
        result="memory",
    ),
    bomb_at_run_time(
        "a method that gives wrong counts", "unknown_method", b"t q[0];", {}, method="extended_stabilizer"
    ),
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
    "same gate twice",
    "gate under a register's name",
    "gate with one argument twice",
    "gate of too many wires",
    "measured into too few bits",
    "depth hidden in a gate",
    "a result of many long shots",
    "a result of many long keys",
    *(
        f"wide: {what}"
        for what in (
            "state of 1 000 qubits",
            "density matrix",
            "nothing can take it",
            "outcomes without end",
            "keys without end",
            "analysis of a result too large",
            "analysis of every shot",
            "analysis that unfolds for long",
        )
    ),
    "a method for Clifford circuits only",
    "a method that gives wrong counts",
    "shots in order from a method that keeps none",
}


GATED = [case for case in CASES if not case.limits and case.name not in BEHIND_THE_GATE]


def test_corpus__names__are_distinct_and_many() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 200
    assert len({case.code for case in CASES}) >= 40
    assert {case.name for case in CASES} >= BEHIND_THE_GATE


def request(case: Case) -> RunRequest:
    limits = CircuitLimits(**{"cpu_seconds": 20, "wall_seconds": 40, **case.limits})
    asked = {"shots": 100, "seed": 1, **case.request}
    return RunRequest(case.source, case.format, limits=limits, **asked)


@pytest.mark.parametrize("case", GATED, ids=lambda c: c.name)
def test_lint__hostile_circuit__is_refused_with_its_code(case: Case) -> None:
    with pytest.raises(CircuitRejected) as caught:
        request(case).lint()
    assert caught.value.code == case.code
    assert len(caught.value.code) <= 31
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


@pytest.mark.parametrize("case", [case for case in CASES if case not in GATED], ids=lambda c: c.name)
def test_lint__fault_only_the_sandbox_sees__passes_the_gate(case: Case) -> None:
    assert request(case).lint().qubits >= 3


def test_sandbox__whole_corpus__each_is_contained_and_the_worker_survives(sandbox: Sandbox) -> None:
    good = Case("good", "", H2 + b"x q[1];" + END2, "openqasm2")
    assert sandbox.submit(request(good)).result(60).counts == {"010": 100}
    before, memory = workers(), psutil.Process().memory_info().rss
    wrong = {}
    for case in CASES:
        asked = request(case)
        # Not the future's own limit of time: it says that the sandbox did not keep its promise.
        error = sandbox.submit(asked).exception(asked.limits.wall_seconds + 30)
        if not isinstance(error, CircuitRejected) or error.code != case.code or "root" in str(error):
            wrong[case.name] = (case.code, repr(error))
    assert wrong == {}
    assert sandbox.submit(request(good)).result(60).counts == {"010": 100}
    assert workers() == before
    assert psutil.Process().memory_info().rss - memory < 128 * 2**20


def workers() -> set[int]:
    return {child.pid for child in psutil.Process().children() if "oracle.circuits.worker" in child.cmdline()}
