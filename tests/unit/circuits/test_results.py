"""Per-shot memory and expectation values through the real sandbox, and what is made of a child that forges them."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.observables import parse_observables
from oracle.circuits.run import RunRequest, RunResult
from oracle.circuits.sandbox import Sandbox
from oracle.jobs.errors import CircuitRejected

HEAD = b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2]; creg c[2];\n'
BELL = HEAD + b"h q[0]; cx q[0],q[1]; measure q -> c;"
TURNED = HEAD + b"ry(0.6) q[0]; u3(0.4,1.1,0.2) q[1]; cx q[0],q[1]; t q[1]; h q[1];"
WITNESS = parse_observables([[["XX", 1], ["ZZ", 1], ["YY", -1]], [["IZ", 0.5], ["II", 2]], [["ZI", 1]]])


def asked(source: bytes, shots: int = 400, seed: int | None = 3, format: str = "openqasm2", **more: Any) -> RunRequest:
    limits = CircuitLimits(cpu_seconds=20, wall_seconds=40)
    return RunRequest(source, format, shots, seed, limits, **more)


def result_of(sandbox: Sandbox, request: RunRequest) -> RunResult:
    return sandbox.submit(request).result(timeout=120)


def test_memory__every_shot__in_order_and_counted(sandbox: Sandbox) -> None:
    got = result_of(sandbox, asked(BELL, result="memory"))
    (run,) = got.runs
    assert len(run["memory"]) == 400 and set(run["memory"]) == {"00", "11"}
    assert Counter(run["memory"]) == run["counts"] == got.counts
    assert got.counts == result_of(sandbox, asked(BELL)).counts
    assert run["memory"] == result_of(sandbox, asked(BELL, result="memory")).runs[0]["memory"]


def test_expectation__witness_of_a_bell_pair__is_exact_where_there_is_no_spread(sandbox: Sandbox) -> None:
    got = result_of(sandbox, asked(BELL, result="expectation", observables=WITNESS))
    (run,) = got.runs
    assert run["values"][0] == 3 and run["standard_errors"][0] == 0
    assert [basis["basis"] for basis in run["bases"]] == ["XX", "ZZ", "YY"]
    assert run["bases"][0]["counts"] == got.counts and got.clbits == 2
    assert abs(run["values"][1] - 2) <= 5 * run["standard_errors"][1] and 0 < run["standard_errors"][1] < 0.03


@pytest.mark.parametrize("method", ["automatic", "statevector", "matrix_product_state", "density_matrix"])
def test_expectation__any_circuit_and_method__fits_the_exact_value(sandbox: Sandbox, method: str) -> None:
    from qiskit import qasm2
    from qiskit.quantum_info import SparsePauliOp, Statevector

    state = Statevector(qasm2.loads(TURNED.decode()).remove_final_measurements(inplace=False))
    got = result_of(sandbox, asked(TURNED, 20_000, result="expectation", observables=WITNESS, method=method))
    for value, error, observable in zip(got.runs[0]["values"], got.runs[0]["standard_errors"], WITNESS, strict=True):
        exact = state.expectation_value(SparsePauliOp.from_list(list(observable))).real
        assert 0 < error < 0.02 and abs(value - exact) < 5 * error
    assert method in (got.method, "automatic")


def test_expectation__one_letter_on_many_wires__measures_that_wire_alone(sandbox: Sandbox) -> None:
    source = HEAD.replace(b"q[2]", b"q[20]") + b"x q[13]; h q[14];"
    observables = parse_observables([[["IIIIIIZIIIIIIIIIIIII", 1]], [["IIIIIXIIIIIIIIIIIIII", 1]]])
    got = result_of(sandbox, asked(source, 50, result="expectation", observables=observables))
    assert got.runs[0]["values"] == [-1, 1]
    assert got.runs[0]["bases"] == [{"basis": "IIIIIXZIIIIIIIIIIIII", "counts": {"01": 50}}]


def test_expectation__after_a_measurement_in_the_middle__sees_the_collapsed_state(sandbox: Sandbox) -> None:
    source = HEAD + b"h q[0]; measure q[0] -> c[0]; if(c==1) x q[1]; h q[0];"
    observables = parse_observables([[["IX", 1]], [["ZZ", 1]], [["ZI", 1]]])
    got = result_of(sandbox, asked(source, 4000, result="expectation", observables=observables))
    values, errors = got.runs[0]["values"], got.runs[0]["standard_errors"]
    assert all(abs(value) < 5 * error for value, error in zip(values, errors, strict=True))


@pytest.mark.parametrize("method", ["statevector", "matrix_product_state", "density_matrix"])
@pytest.mark.parametrize("format", ["openqasm2", "openqasm3"])
def test_method__gates_it_has_to_be_given_otherwise__work_in_a_confined_child(
    sandbox: Sandbox, method: str, format: str
) -> None:
    body = b"gate f a,b,c { cswap a,b,c; crx(pi) a,b; } x q[0]; x q[1]; f q[0],q[1],q[2]; ch q[3],q[0]; %s"
    two = HEAD.replace(b"[2]", b"[4]") + b"h q[0]; h q[0];" + body % b"cu3(pi,0,pi) q[0],q[1]; measure q -> c;"
    three = b'OPENQASM 3.0; include "stdgates.inc"; qubit[4] q; bit[4] c;' + body % (
        b"cu(pi,0,pi,0) q[0],q[1]; if (c == 0) { ccx q[0],q[2],q[3]; } c = measure q;"
    )
    got = result_of(sandbox, asked(two if format == "openqasm2" else three, 20, format=format, method=method))
    assert got.method == method
    assert got.counts == ({"0101": 20} if format == "openqasm2" else {"1101": 20})


def test_of_spec__section_of_a_spec__is_the_request() -> None:
    quantum = {"format": "openqasm2", "shots": 9, "result": "expectation", "observables": [[["ZZ", 1]]]}
    request = RunRequest.of_spec(b"x", quantum, 5, CircuitLimits())
    assert request == RunRequest(
        b"x", "openqasm2", 9, 5, CircuitLimits(), result="expectation", observables=((("ZZ", 1.0),),)
    )
    plain = RunRequest.of_spec(b"x", {"format": "openqasm3", "shots": 9}, None, CircuitLimits())
    assert plain == RunRequest(b"x", "openqasm3", 9, None, CircuitLimits())


def test_lint__shots_of_all_that_runs__are_limited_together() -> None:
    request = asked(BELL, 100, result="expectation", observables=WITNESS)
    assert request.lint().executions == 3
    tight = RunRequest(**{**vars(request), "limits": CircuitLimits(shots=300)})
    assert tight.lint().executions == 3
    with pytest.raises(CircuitRejected) as caught:
        RunRequest(**{**vars(request), "limits": CircuitLimits(shots=299)}).lint()
    assert caught.value.code == "too_many_shots"


@pytest.fixture(scope="module")
def answers(sandbox: Sandbox) -> dict[str, tuple[dict[str, Any], RunRequest]]:
    requests = {
        "memory": asked(BELL, 40, result="memory"),
        "expectation": asked(BELL, 40, result="expectation", observables=WITNESS),
        "several": asked(
            b'{"circuits":[{"wires":1,"instructions":[["h",[0],[]],["measure",[0],[0]]]}],'
            b'"pubs":[{"circuit":0},{"circuit":0}]}',
            40,
            format="qscrow-json",
        ),
    }
    return {kind: (asdict(result_of(sandbox, request)), request) for kind, request in requests.items()}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("memory", {"memory": ["00"] * 40}),
        ("memory", {"memory": None}),
        ("memory", {"memory": ["00"]}),
        ("memory", {"counts": {"00": 40}}),
        ("memory", {"extra": 1}),
        ("memory", {"seed": -1}),
        ("memory", {"pub": 1}),
        ("memory", {"method": "\x1b[2J"}),
        ("memory", {"transpiled_digest": "x"}),
        ("expectation", {"values": [99.0, 0.0, 0.0]}),
        ("expectation", {"values": [float("nan"), 0.0, 0.0]}),
        ("expectation", {"values": [0.0]}),
        ("expectation", {"values": [True, 0.0, 0.0]}),
        ("expectation", {"values": [10**400, 0.0, 0.0]}),
        ("expectation", {"standard_errors": [-1.0, 0.0, 0.0]}),
        ("expectation", {"standard_errors": [0.0, 0.0, float("inf")]}),
        ("expectation", {"bases": []}),
        ("expectation", {"bases": [{"basis": "ZZ", "counts": {"00": 40}}] * 3}),
        ("several", {"counts": {"2": 40}}),
        ("several", {"counts": {"0": 39}}),
        ("several", {"set": 1}),
    ],
)
def test_from_untrusted__one_thing_of_a_run_wrong__is_refused(answers: Any, kind: str, change: Any) -> None:
    document, request = copy.deepcopy(answers[kind])
    assert RunResult.from_untrusted(copy.deepcopy(document), request).runs == document["runs"]
    document["runs"][-1].update(change)
    with pytest.raises(CircuitRejected) as caught:
        RunResult.from_untrusted(document, request)
    assert caught.value.code == "bad_result"


@pytest.mark.parametrize("runs", [[], [{}], None, 7, "x", [None, None]])
@pytest.mark.parametrize("kind", ["memory", "expectation", "several"])
def test_from_untrusted__other_runs_than_asked_for__are_refused(answers: Any, kind: str, runs: Any) -> None:
    document, request = answers[kind]
    with pytest.raises(CircuitRejected):
        RunResult.from_untrusted({**document, "runs": runs}, request)


def test_from_untrusted__runs_nobody_asked_for__are_refused(sandbox: Sandbox) -> None:
    document = asdict(result_of(sandbox, asked(BELL)))
    assert document["runs"] == []
    with pytest.raises(CircuitRejected):
        RunResult.from_untrusted({**document, "runs": [{"pub": 0}]}, asked(BELL))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["memory", "expectation", "several"]), st.data())
def test_from_untrusted__any_json_in_a_run__gives_a_result_or_a_rejection(answers: Any, kind: str, data: Any) -> None:
    document, request = copy.deepcopy(answers[kind])
    run = document["runs"][0]
    run[data.draw(st.sampled_from(sorted(run)))] = data.draw(JSON)
    try:
        RunResult.from_untrusted(document, request)
    except CircuitRejected as err:
        assert err.code == "bad_result"


def test_run_result__stored_before_there_were_threads__is_still_read(sandbox: Sandbox) -> None:
    document = asdict(result_of(sandbox, asked(BELL)))
    old = {name: value for name, value in document.items() if name not in ("threads", "runs")}
    assert RunResult(**old) == RunResult(**document)
    assert document["threads"] == 1
