from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import RunRequest, RunResult
from oracle.jobs.errors import CircuitRejected

REQUEST = RunRequest(b"", "openqasm2", shots=10, seed=7, limits=CircuitLimits(qubits=3, clbits=3, outcomes=4))


def document(**changes: Any) -> dict[str, Any]:
    sound = {
        "counts": {"00": 4, "11": 6},
        "shots": 10,
        "seed": 7,
        "qubits": 2,
        "clbits": 2,
        "depth": 3,
        "operations": {"h": 1, "measure": 2},
        "method": "stabilizer",
        "engine": "aer-stabilizer",
        "versions": {"qiskit": "2.6.2"},
        "transpiled_digest": "ab" * 32,
        "confinement": "rlimits",
        "seconds": {"load": 0.01, "run": 0},
    }
    return {**sound, **changes}


def test_from_untrusted__sound_document__is_the_result() -> None:
    assert RunResult.from_untrusted(document(), REQUEST).counts == {"00": 4, "11": 6}


def test_from_untrusted__unseeded_request__takes_the_seed_that_was_drawn() -> None:
    request = RunRequest(b"", "openqasm2", 10, None, REQUEST.limits)
    assert RunResult.from_untrusted(document(seed=99), request).seed == 99


@pytest.mark.parametrize(
    "changes",
    [
        {"counts": {}},
        {"counts": {"00": 4, "11": 5}},
        {"counts": {"00": 4, "11": 7}},
        {"counts": {"00": 10, "11": 0}},
        {"counts": {"00": 11, "11": -1}},
        {"counts": {"00": 4.0, "11": 6}},
        {"counts": {"00": True, "11": 9}},
        {"counts": {"00": "4", "11": 6}},
        {"counts": {"0": 4, "11": 6}},
        {"counts": {"000": 4, "11": 6}},
        {"counts": {"0x": 10}},
        {"counts": {"0 ": 10}},
        {"counts": {"00\n": 10}},
        {"counts": {"\u0661\u0660": 10}},
        {"counts": [["00", 10]]},
        {"counts": None},
        {"counts": {f"{n:03b}": 2 for n in range(5)}, "clbits": 3},
        {"shots": 11},
        {"shots": True},
        {"seed": 8},
        {"seed": None},
        {"qubits": 0},
        {"qubits": 4},
        {"qubits": 2.0},
        {"clbits": 0, "counts": {"": 10}},
        {"clbits": 4, "counts": {"0000": 10}},
        {"depth": -1},
        {"depth": 2**60},
        {"method": ""},
        {"method": 5},
        {"engine": "x" * 81},
        {"engine": "aer\x1b[2J"},
        {"confinement": "none\nat all"},
        {"transpiled_digest": "AB" * 32},
        {"transpiled_digest": "ab" * 31},
        {"transpiled_digest": None},
        {"operations": {"h": -1}},
        {"operations": {"h": "1"}},
        {"operations": {"\x00": 1}},
        {"operations": [1]},
        {"operations": {f"g{n}": 1 for n in range(300)}},
        {"versions": {"qiskit": 2}},
        {"versions": {"qiskit": "\u202e"}},
        {"seconds": {"run": float("nan")}},
        {"seconds": {"run": float("inf")}},
        {"seconds": {"run": -1}},
        {"seconds": {"run": 10**400}},
        {"seconds": {"run": None}},
        {"extra": 1},
    ],
)
def test_from_untrusted__one_thing_wrong__is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CircuitRejected) as caught:
        RunResult.from_untrusted(document(**changes), REQUEST)
    assert caught.value.code == "bad_result"


@pytest.mark.parametrize("missing", sorted(document()))
def test_from_untrusted__one_thing_missing__is_refused(missing: str) -> None:
    partial = {name: value for name, value in document().items() if name != missing}
    with pytest.raises(CircuitRejected):
        RunResult.from_untrusted(partial, REQUEST)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(document())), JSON) | JSON)
def test_from_untrusted__any_json__gives_a_sound_result_or_a_rejection(changes: Any) -> None:
    answer = document(**changes) if isinstance(changes, dict) and set(changes) <= set(document()) else changes
    try:
        result = RunResult.from_untrusted(answer, REQUEST)
    except CircuitRejected:
        return
    assert sum(result.counts.values()) == REQUEST.shots
    assert all(len(key) == result.clbits for key in result.counts)
