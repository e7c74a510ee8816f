"""The gate in front of the parsers. What it refuses is in test_hostile.py; here: what it takes, counts and
costs."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import FORMATS, LintReport, lint
from oracle.jobs.errors import CircuitRejected

ROOT = Path(__file__).resolve().parents[3]
QASM2 = b'OPENQASM 2.0;\ninclude "qelib1.inc";\n'
QASM3 = b'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
BELL2 = QASM2 + b"qreg q[2];\ncreg c[2];\nh q[0];\ncx q[0],q[1];\nmeasure q -> c;\n"
BELL3 = QASM3 + b"qubit[2] q;\nbit[2] c;\nh q[0];\ncx q[0], q[1];\nc = measure q;\n"
RICH2 = QASM2 + (
    b"gate pair(t) a,b { cx a,b; rz(-(t+pi)/2) b; barrier a,b; }\n"
    b"qreg q[3]; qreg r[1]; creg c[3]; creg d[1];\n"
    b"U(0,1e-3,.5) q[0]; CX q[0],q[1]; pair(0.25) q[1],r[0]; reset q; barrier q,r; measure q[0] -> c[0];\n"
    b"if(c==1) x q[2]; measure q -> c; measure r -> d; // the end"
)
RICH3 = QASM3 + (
    b"/* a block\n comment */ gate pair(t) a, b { cx a, b; gphase(t/2); }\n"
    b"qreg q[2]; qubit r; bit[2] c; bit d;\n"
    b"gphase(tau/4); pair(euler) q[0], r; barrier; barrier q; reset r; d = measure r;\n"
    b"if (d) { x q[0]; z q; } if (!c[1]) x q[1]; if (d == true) { reset r; } if (c == 2) { x r; }\n"
    b"c = measure q;"
)


def rejected(source: bytes, format: str = "openqasm2", **limits: int) -> CircuitRejected:
    with pytest.raises(CircuitRejected) as caught:
        lint(source, format, CircuitLimits(**limits))
    return caught.value


@pytest.mark.parametrize(("source", "format"), [(BELL2, "openqasm2"), (BELL3, "openqasm3")])
def test_lint__bell_pair__is_measured(source: bytes, format: str) -> None:
    statements = source.count(b";") - 1  # all but the version line
    assert lint(source, format, CircuitLimits()) == LintReport(format, 2, 2, statements, 4)


@pytest.mark.parametrize(
    ("source", "format", "qubits", "clbits"), [(RICH2, "openqasm2", 4, 4), (RICH3, "openqasm3", 3, 3)]
)
def test_lint__every_allowed_construct__is_taken(source: bytes, format: str, qubits: int, clbits: int) -> None:
    report = lint(source, format, CircuitLimits())
    assert (report.qubits, report.clbits) == (qubits, clbits)


def test_lint__windows_line_ends__are_taken() -> None:
    assert lint(BELL2.replace(b"\n", b"\r\n"), "openqasm2", CircuitLimits()).qubits == 2


def test_lint__nested_gates_and_broadcast__are_unfolded() -> None:
    source = QASM2 + (
        b"gate one a { h a; h a; } gate two a { one a; one a; one a; }qreg q[5]; creg c[5]; two q; measure q -> c;"
    )
    # The body of `one` costs 1 + 2, that of `two` 1 + 3 * 3; the call 10 for each of five qubits, the
    # measurement 5.
    assert lint(source, "openqasm2", CircuitLimits()).expanded_gates == 3 + 10 + 50 + 5


def test_lint__same_register_sizes_at_the_limit__are_taken_and_one_more_is_not() -> None:
    source = QASM2 + b"qreg a[14]; qreg b[14]; creg c[1]; measure a[0] -> c[0];"
    assert lint(source, "openqasm2", CircuitLimits(qubits=28)).qubits == 28
    error = rejected(source, qubits=27)
    assert error.code == "too_many_qubits"
    assert "28" in error.message and "27" in error.message


def test_lint__fault_on_third_line__message_says_so() -> None:
    assert "line 3" in rejected(QASM2 + b"while (true) { }").message


@pytest.mark.parametrize(
    ("limit", "code", "source"),
    [
        ("source_bytes", "circuit_too_large", BELL2),
        ("qubits", "too_many_qubits", BELL2),
        ("clbits", "too_many_clbits", BELL2),
        ("registers", "too_many_registers", BELL2),
        ("statements", "too_many_statements", BELL2),
        ("expanded_gates", "too_many_gates", BELL2),
        ("gate_definitions", "too_many_gate_definitions", QASM2 + b"gate a x { h x; } gate b x { h x; }"),
        ("nesting", "nested_too_deeply", QASM2 + b"qreg q[1]; rz((1)) q[0];"),
        ("expression_terms", "expression_too_long", QASM2 + b"qreg q[1]; rz(1+1) q[0];"),
        ("identifier_length", "identifier_too_long", BELL2),
    ],
)
def test_lint__each_limit_at_one__has_its_own_code(limit: str, code: str, source: bytes) -> None:
    assert rejected(source, **{limit: 1}).code == code


def test_lint__unknown_format__is_refused() -> None:
    assert rejected(BELL2, "qpy").code == "wrong_format"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode), st.sampled_from(FORMATS))
def test_lint__any_bytes__raise_nothing_but_a_rejection(source: bytes, format: str) -> None:
    for prefix in (b"", QASM2, QASM3):
        check_contained(prefix + source, format)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([(BELL2, "openqasm2"), (RICH2, "openqasm2"), (BELL3, "openqasm3"), (RICH3, "openqasm3")]),
    st.randoms(use_true_random=False),
)
def test_lint__mutated_circuit__raises_nothing_but_a_rejection(original: tuple[bytes, str], rng: random.Random) -> None:
    source, format = bytearray(original[0]), original[1]
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(source))
        choice = rng.randrange(4)
        if choice == 0:
            source[at] = rng.choice(b'[](){};,=->!*/+"0123456789aq_.\n\r\x00\xff')
        elif choice == 1:
            del source[at : at + rng.randint(1, 20)]
        elif choice == 2:
            source[at:at] = source[at : at + rng.randint(1, 40)]
        else:
            del source[at:]
        if not source:
            break
    check_contained(bytes(source), format)


def check_contained(source: bytes, format: str) -> None:
    try:
        report = lint(source, format, CircuitLimits())
    except CircuitRejected as err:
        assert len(err.code) <= 31 and err.code.isascii() and err.field == "circuit"
        assert str(err).isprintable() and len(str(err)) < 400
    else:
        assert 0 < report.qubits <= 28 and report.clbits <= 64 and report.expanded_gates <= 200_000


# Kinds of text on which a careless scanner is quadratic. At this size that takes many minutes; the process
# gets a fixed allowance of CPU that a linear scan needs a small part of.
SLOW_KINDS = {
    "open comments": "b'/* ' * n",
    "open comments, no gaps": "b'/*' * n",
    "stars": "b'/*' + b'*' * n",
    "quotes": "b'\"' * n",
    "quotes on lines": "b'\"\\n' * n",
    "digits": "b'1' * n",
    "numbers": "b'1e1' * n",
    "dots": "b'1.' * n",
    "signs": "b'rz(' + b'-' * n",
    "parentheses": "b'(' * n",
    "closing parentheses": "b')' * n",
    "spaces": "b' ' * n",
    "semicolons": "b';' * n",
    "one long name": "b'a' * n",
    "many names": "b'a ' * n",
    "line comments": "b'//' * n",
    "short line comments": "b'//\\n' * n",
    "registers": "b''.join(b'qreg q%d[1];' % i for i in range(n // 12))",
    "gates": "b''.join(b'gate g%d a { h a; }' % i for i in range(n // 20))",
    "carriage returns": "b'\\r\\n' * n",
}


def test_lint__adversarial_text_of_a_quarter_megabyte__stays_within_a_linear_allowance() -> None:
    script = "\n".join(
        [
            "import resource; resource.setrlimit(resource.RLIMIT_CPU, (30, 30))",
            "from oracle.circuits.lint import lint; from oracle.circuits.limits import CircuitLimits",
            "from oracle.jobs.errors import CircuitRejected",
            "n = 2**18",
            f"for kind in ({', '.join(SLOW_KINDS.values())}):",
            "    for format, head in (('openqasm2', b'OPENQASM 2.0;'), ('openqasm3', b'OPENQASM 3.0;')):",
            "        try: lint(head + kind[:n], format, CircuitLimits())",
            "        except CircuitRejected: print('refused')",
        ]
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("refused") == 2 * len(SLOW_KINDS)


@pytest.mark.parametrize(
    ("body", "dynamic"),
    [
        (b"h q; measure q -> c;", False),
        (b"measure q[0] -> c[0]; measure q[1] -> c[1];", False),
        (b"measure q[0] -> c[0]; h q[1]; measure q -> c;", True),
        (b"reset q; measure q -> c;", True),
        (b"if(c==0) x q[0]; measure q -> c;", True),
    ],
)
def test_lint__circuit__says_whether_every_shot_has_to_be_simulated(body: bytes, dynamic: bool) -> None:
    source = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[2];' + body
    assert lint(source, "openqasm2", CircuitLimits()).dynamic is dynamic
