"""From text to circuit. Only the circuits of this file are parsed here, in the test's own process."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.circuits.analysis import analyse
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.load import check_circuit, depth_of, instructions_digest, load
from oracle.jobs.errors import CircuitRejected

H2 = 'OPENQASM 2.0;\ninclude "qelib1.inc";\n'
H3 = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'


def circuit(text: str, **limits: int):
    format = "openqasm2" if text.startswith("OPENQASM 2") else "openqasm3"
    return load(text.encode(), format, CircuitLimits(**limits))


def code_of(text: str, **limits: int) -> str:
    with pytest.raises(CircuitRejected) as caught:
        circuit(text, **limits)
    return caught.value.code


def test_load__both_formats__same_circuit_same_digest() -> None:
    two = circuit(H2 + "qreg a[2]; creg b[2]; h a[0]; cx a[0],a[1]; rz(pi/4) a[1]; measure a -> b;")
    three = circuit(H3 + "qubit[2] w; bit[2] v; h w[0]; cx w[0], w[1]; rz(pi/4) w[1]; v = measure w;")
    assert instructions_digest(two) == instructions_digest(three)


def test_load__file_that_does_not_lint__never_reaches_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oracle.circuits.load._parse", lambda text, format: pytest.fail("parsed"))
    assert code_of('OPENQASM 2.0; include "/etc/passwd"; qreg q[1];') == "include_not_allowed"


def test_load__parser_error__is_one_printable_line() -> None:
    with pytest.raises(CircuitRejected) as caught:
        circuit(H2 + "qreg q[1]; creg c[1]; rz(ln(0)) q[0]; measure q -> c;")
    assert caught.value.code == "syntax_error"
    assert str(caught.value).isprintable() and len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (RecursionError(), "nested_too_deeply"),
        (ValueError("bad\x1b[2J\nthing"), "syntax_error"),
        (BaseException("a Rust panic is no Exception"), "parser_crash"),
    ],
)
def test_load__parser_fails__is_rejected(monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: str) -> None:
    def fail(text: str, format: str) -> None:
        raise raised

    monkeypatch.setattr("oracle.circuits.load._parse", fail)
    assert code_of(H2 + "qreg q[1]; creg c[1]; measure q -> c;") == code


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(), MemoryError()])
def test_load__not_the_circuits_fault__goes_through(monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> None:
    def fail(text: str, format: str) -> None:
        raise raised

    monkeypatch.setattr("oracle.circuits.load._parse", fail)
    with pytest.raises(type(raised)):
        circuit(H2 + "qreg q[1]; creg c[1]; measure q -> c;")


def test_load__too_deep__is_refused() -> None:
    text = H2 + "qreg q[1]; creg c[1]; " + "h q[0]; " * 20 + "measure q -> c;"
    assert circuit(text, depth=21).depth() == 21
    assert code_of(text, depth=20) == "too_deep"


@pytest.mark.parametrize(
    ("limit", "code"),
    [("qubits", "too_many_qubits"), ("clbits", "too_many_clbits"), ("expanded_gates", "too_many_gates")],
)
def test_check_circuit__parser_made_more_than_the_text_said__is_refused(limit: str, code: str) -> None:
    parsed = circuit(H2 + "qreg q[3]; creg c[3]; h q; measure q -> c;")
    with pytest.raises(CircuitRejected) as caught:
        check_circuit(parsed, CircuitLimits(**{limit: 2}))
    assert caught.value.code == code


def test_check_circuit__no_measurement_unbound_or_endless_angle__is_refused() -> None:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter

    codes = []
    for angle, measured in ((0.5, False), (Parameter("t"), True), (float("inf"), True), (float("nan"), True)):
        made = QuantumCircuit(1, 1)
        made.rz(angle, 0)
        if measured:
            made.measure(0, 0)
        with pytest.raises(CircuitRejected) as caught:
            check_circuit(made, CircuitLimits())
        codes.append(caught.value.code)
    assert codes == ["no_measurement", "unbound_parameters", "bad_number", "bad_number"]


def test_check_circuit__endless_angle_inside_an_if__is_refused() -> None:
    from qiskit import QuantumCircuit

    made = QuantumCircuit(1, 1)
    made.measure(0, 0)
    with made.if_test((made.clbits[0], True)):
        made.rz(float("inf"), 0)
    with pytest.raises(CircuitRejected, match="not finite"):
        check_circuit(made, CircuitLimits())


BODY = "qubit[2] q; bit[2] c; h q[0]; c[0] = measure q[0]; if (c[0]) { x q[1]; } c[1] = measure q[1];"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("h q[0]", "x q[0]"),
        ("h q[0]", "rz(0.1) q[0]"),
        ("x q[1]", "x q[0]"),
        ("x q[1]", "z q[1]"),
        ("if (c[0])", "if (!c[0])"),
        ("if (c[0])", "if (c[1])"),
        ("if (c[0])", "if (c == 1)"),
        ("c[1] = measure q[1]", "c[1] = measure q[0]"),
        ("c[1] = measure q[1]", "c[0] = measure q[1]"),
        ("qubit[2] q", "qubit[3] q"),
        ("if (c[0]) { x q[1]; }", "x q[1];"),
    ],
)
def test_instructions_digest__any_change__changes_it(old: str, new: str) -> None:
    assert old in BODY
    assert instructions_digest(circuit(H3 + BODY)) != instructions_digest(circuit(H3 + BODY.replace(old, new)))


def test_instructions_digest__names_and_layout_changed__stays() -> None:
    renamed = BODY.replace("q[", "wire[").replace("] q;", "] wire;").replace("c[", "d[").replace("] c;", "] d;")
    renamed = renamed.replace("; ", ";\n  // and so on\n  ")
    assert instructions_digest(circuit(H3 + BODY)) == instructions_digest(circuit(H3 + renamed))


@settings(max_examples=30, deadline=None)
@given(st.floats(-10, 10), st.floats(-10, 10))
def test_instructions_digest__angles__are_told_apart_exactly(first: float, second: float) -> None:
    from qiskit import QuantumCircuit

    def turned(angle: float) -> str:
        made = QuantumCircuit(1, 1)
        made.rz(angle, 0)
        return instructions_digest(made)

    assert (turned(first) == turned(second)) == (repr(first) == repr(second))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(0, 30), st.integers(0, 2**16), st.booleans())
def test_depth_of__any_circuit__is_qiskits_own(qubits: int, steps: int, seed: int, branching: bool) -> None:
    from qiskit import QuantumCircuit
    from qiskit.circuit import library

    dice, made = random.Random(seed), QuantumCircuit(qubits, qubits)
    for _ in range(steps):
        kind, place = dice.choice("hmrbgci" if branching else "hmrbgc"), dice.randrange(qubits)
        if kind == "c" and qubits > 1:
            made.cx(*dice.sample(range(qubits), 2))
        elif kind == "m":
            made.measure(place, dice.randrange(qubits))
        elif kind == "r":
            made.reset(place)
        elif kind == "b":
            made.barrier(*dice.sample(range(qubits), dice.randint(1, qubits)))
        elif kind == "i":
            with made.if_test((made.clbits[place], 1)):
                made.x(place)
                made.measure(place, place)
        elif kind == "g":
            made.append(library.GlobalPhaseGate(0.1), [])
        else:
            made.h(place)
    assert depth_of(made) == made.depth() == analyse(made).depth
