"""Circuits as JSON: the same circuit as their OpenQASM twin, and several in one job. What is refused is in
tests/hostile/test_corpus.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.circuits.instructions import _GATES, JSON, parts, read_work
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import lint
from oracle.circuits.load import instructions_digest, load, load_all
from oracle.circuits.run import RunRequest
from oracle.circuits.simulate import simulate
from oracle.jobs.canonical import canonical_bytes
from oracle.jobs.errors import CircuitRejected

LIMITS = CircuitLimits()
WIRES = 5
ANGLES = st.floats(-10, 10) | st.sampled_from([0, 1, -3, 1e-300, -0.0, 1e15, 5e-324, 0.1 + 0.2])


@st.composite
def steps(draw: Any) -> list[Any]:
    kind = draw(st.sampled_from(["gate"] * 6 + ["measure", "reset", "barrier"]))
    order = draw(st.permutations(range(WIRES)))
    if kind == "gate":
        name = draw(st.sampled_from(sorted(_GATES)))
        wires, angles = _GATES[name]
        return [name, order[:wires], draw(st.lists(ANGLES, min_size=angles, max_size=angles))]
    some = order[: draw(st.integers(1, WIRES))]
    return [kind, some, draw(st.permutations(range(WIRES)))[: len(some)] if kind == "measure" else []]


CIRCUITS = st.lists(steps(), max_size=12)
END = ["measure", list(range(WIRES)), list(range(WIRES))]


def twin(instructions: list[Any]) -> Any:
    """The same circuit made with Qiskit, not with our text."""
    from qiskit import QuantumCircuit, qasm2

    circuit = QuantumCircuit(WIRES, WIRES)
    classes = {gate.name: gate.constructor for gate in qasm2.LEGACY_CUSTOM_INSTRUCTIONS}
    for name, wires, values in instructions:
        if name == "measure":
            circuit.measure(wires, values)
        elif name in ("reset", "barrier"):
            getattr(circuit, name)(wires)
        else:
            circuit.append(classes[name](*(value + 0.0 for value in values)), wires)
    return circuit


def written(instructions: list[Any]) -> bytes:
    """The same circuit as a person would write it (Qiskit's own writer rounds angles)."""
    lines = ["OPENQASM 2.0;", 'include "qelib1.inc";', f"qreg wire[{WIRES}];", f"creg bits[{WIRES}];"]
    for name, wires, values in instructions:
        places = [f"wire[{wire}]" for wire in wires]
        if name == "measure":
            lines += [f"measure {place} -> bits[{bit}];" for place, bit in zip(places, values, strict=True)]
        elif name == "reset":
            lines += [f"reset {place};" for place in places]
        else:
            angles = f"({', '.join(str(value + 0.0) for value in values)})" if values else ""
            lines.append(f"{name}{angles} {', '.join(places)};")
    return "\n".join(lines).encode()


def document(instructions: list[Any], **fields: Any) -> bytes:
    return json.dumps({"wires": WIRES, "bits": WIRES, "instructions": instructions, **fields}).encode()


@settings(max_examples=150, deadline=None)
@given(CIRCUITS)
def test_load__any_instructions__are_the_circuit_that_qiskit_makes_of_them(instructions: list[Any]) -> None:
    loaded = load(document([*instructions, END]), JSON, LIMITS)
    assert instructions_digest(loaded) == instructions_digest(twin([*instructions, END]))


@settings(max_examples=40, deadline=None)
@given(CIRCUITS, st.integers(0, 2**32 - 1))
def test_simulate__json_and_its_openqasm_twin__same_counts_for_one_seed(instructions: list[Any], seed: int) -> None:
    text = written([*instructions, END])
    facts = []
    for source, format in ((document([*instructions, END]), JSON), (text, "openqasm2")):
        result = simulate(RunRequest(source, format, 50, seed, LIMITS), 0.0)
        facts.append({name: result[name] for name in ("counts", "method", "transpiled_digest", "depth", "runs")})
    assert facts[0] == facts[1]


@pytest.mark.parametrize("name", sorted(_GATES))
def test_load__every_gate__is_known_with_its_wires_and_angles(name: str) -> None:
    wires, angles = _GATES[name]
    values = [0.1 * (n + 1) for n in range(angles)]
    loaded = load(document([[name, list(range(wires)), values], END]), JSON, LIMITS)
    assert instructions_digest(loaded) == instructions_digest(twin([[name, list(range(wires)), values], END]))
    for broken in ([name, list(range(wires - 1)), values], [name, list(range(wires)), [*values, 0.1]]):
        with pytest.raises(CircuitRejected) as caught:
            lint(document([broken, END]), JSON, LIMITS)
        assert caught.value.code == "bad_arity"
        assert str(caught.value).startswith("circuit: instruction 0")


def test_load__form_of_the_ideas_author__is_taken() -> None:
    source = b'{"wires": 2, "shots": 9, "instructions": [["h",[0],[]],["rz",[1],[0.7]],["measure",[0],[0]]]}'
    report = lint(source, JSON, LIMITS)
    assert (report.qubits, report.clbits, report.expanded_gates, report.parameters, report.shots) == (2, 1, 3, 1, 9)
    assert simulate(RunRequest(source, JSON, 9, 1, LIMITS), 0.0)["shots"] == 9


@given(CIRCUITS)
def test_read_work__white_space_and_order_of_fields__change_nothing(instructions: list[Any]) -> None:
    loose = json.dumps(json.loads(document([*instructions, END])), indent=3).encode()
    tight = canonical_bytes(json.loads(loose))
    assert list(parts(read_work(loose, JSON, LIMITS))) == list(parts(read_work(tight, JSON, LIMITS)))


SWEEP = {"wires": 1, "parameters": ["a", "b"], "instructions": [["u2", [0], ["b", "a"]], ["measure", [0], [0]]]}
TEXT = 'OPENQASM 3.0; include "stdgates.inc"; qubit q; bit c; x q; c = measure q;'


def job(*pubs: Any, **fields: Any) -> bytes:
    circuits = [SWEEP, {"format": "openqasm3", "source": TEXT}]
    return json.dumps({"circuits": circuits, "pubs": pubs, **fields}).encode()


def test_load_all__pubs_with_parameter_sets__are_circuits_in_order_with_their_values() -> None:
    source = job({"circuit": 1}, {"circuit": 0, "parameters": [[0.25, 1], [-2, 3]]})
    found = list(load_all(RunRequest(source, JSON, 10, 1, LIMITS)))
    assert [(part.pub, part.set, part.format) for part, _ in found] == [
        (0, 0, "openqasm3"),
        (1, 0, "openqasm2"),
        (1, 1, "openqasm2"),
    ]
    assert [circuit.data[0].params for _, circuit in found] == [[], [1.0, 0.25], [3.0, -2.0]]


def test_lint__several_circuits__adds_up_what_runs() -> None:
    report = lint(job({"circuit": 1}, {"circuit": 0, "parameters": [[0, 1]] * 4}), JSON, LIMITS)
    assert (report.qubits, report.clbits, report.executions, report.expanded_gates, report.parameters) == (
        1,
        1,
        5,
        10,
        8,
    )


def test_read_work__circuits_without_pubs__each_runs_once() -> None:
    source = json.dumps({"circuits": [{"format": "openqasm3", "source": TEXT}] * 3}).encode()
    assert [(part.pub, part.source.decode()) for part in parts(read_work(source, JSON, LIMITS))] == [
        (number, TEXT) for number in range(3)
    ]


def test_simulate__several_circuits__are_what_each_gives_alone_with_its_seed() -> None:
    source = job({"circuit": 0, "parameters": [[0.1, 0.2], [1, 2]]}, {"circuit": 1})
    together = simulate(RunRequest(source, JSON, 200, 2**32 - 1, LIMITS), 0.0)
    assert [run["seed"] for run in together["runs"]] == [2**32 - 1, 0, 1]
    for part, run in zip(RunRequest(source, JSON, 200, 1, LIMITS).parts(), together["runs"], strict=True):
        alone = simulate(RunRequest(part.source, part.format, 200, run["seed"], LIMITS), 0.0)
        assert (run["counts"], run["transpiled_digest"]) == (alone["counts"], alone["transpiled_digest"])
    assert together["counts"] == together["runs"][0]["counts"]


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["h", "rz", "measure", "t"]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["wires", "bits", "instructions", "circuits", "pubs", "parameters"]), inner
            )
        ),
        max_leaves=12,
    ).map(lambda document: json.dumps(document).encode())
)
def test_lint__any_json__raises_nothing_but_a_rejection(source: bytes) -> None:
    try:
        lint(source, JSON, LIMITS)
    except CircuitRejected as err:
        assert len(err.code) <= 31 and str(err).isprintable()
