"""The Aer adapter, with real runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from oracle.backends.aer import AerBackend
from oracle.backends.base import BackendStatus, Backlog
from oracle.circuits.analysis import QSIM
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import Run, RunRequest, RunResult
from oracle.circuits.sandbox import Sandbox
from oracle.jobs.errors import CircuitRejected, InputError
from oracle.routing.candidates import MANAGED

HEAD = b'OPENQASM 2.0;\ninclude "qelib1.inc";\n'
BELL = HEAD + b"qreg q[2]; creg c[2]; h q[0]; cx q[0],q[1]; measure q -> c;"
SPREAD = HEAD + (
    b"qreg q[8]; creg c[8]; h q; t q; cx q[0],q[7]; rx(0.3) q; ry(1.1) q; cx q[3],q[5]; h q;measure q -> c;"
)
CLIFFORD = HEAD + b"qreg q[8]; creg c[8]; h q; s q; cx q[0],q[7]; cz q[3],q[5]; h q; measure q -> c;"
ENDLESS = HEAD + b"qreg q[16]; creg c[16]; h q; t q; reset q[0]; h q; measure q -> c;"


def request(source: bytes = BELL, shots: int = 100, seed: int | None = 1, **limits: int) -> RunRequest:
    return RunRequest(source, "openqasm2", shots, seed, CircuitLimits(**limits))


@pytest.fixture(scope="module")
def backend() -> Iterator[AerBackend]:
    made = AerBackend(Sandbox(1))
    yield made
    made.close()


def test_result__finished_run__is_given_once(backend: AerBackend) -> None:
    reference = backend.submit(request(), "once")
    result = backend.result(reference, timeout=60)
    assert set(result.counts) <= {"00", "11"} and sum(result.counts.values()) == 100
    with pytest.raises(InputError, match="no run is known"):
        backend.result(reference)
    assert backend.reconcile("once") is None


def test_result__circuit_at_fault__raises_its_rejection(backend: AerBackend) -> None:
    reference = backend.submit(request(b"OPENQASM 2.0; qreg q[9999]; creg c[1]; measure q[0] -> c[0];"), "wide")
    with pytest.raises(CircuitRejected) as caught:
        backend.result(reference, timeout=60)
    assert caught.value.code == "too_many_qubits"


def test_submit__tag_already_known__starts_nothing_new(backend: AerBackend) -> None:
    first = backend.submit(request(), "same")
    assert backend.submit(request(), "same") == first == backend.reconcile("same")
    backend.result(first, timeout=60)
    assert backend.submit(request(), "same") != first


def test_reconcile__unknown_tag__is_none(backend: AerBackend) -> None:
    assert backend.reconcile("never") is None


@pytest.mark.parametrize("call", ["status", "cancel", "result"])
def test_any_call__unknown_reference__is_an_input_error(backend: AerBackend, call: str) -> None:
    with pytest.raises(InputError) as caught:
        getattr(backend, call)("aer-999")
    assert caught.value.field == "reference"


def test_status__life_of_runs__queued_running_cancelled_failed() -> None:
    backend = AerBackend(Sandbox(1))
    try:
        slow = backend.submit(request(ENDLESS, 1_000_000, wall_seconds=1), "slow")
        waiting = backend.submit(request(), "waiting")
        assert backend.status(waiting) == BackendStatus.QUEUED
        backend.cancel(waiting)
        assert backend.status(waiting) == BackendStatus.CANCELLED
        with pytest.raises(TimeoutError):
            backend.result(slow, timeout=0.05)
        assert backend.status(slow) == BackendStatus.RUNNING
        with pytest.raises(TimeoutError, match="cancelled"):
            backend.result(waiting)
        last = backend.submit(request(), "last")  # it runs when the slow one has been stopped
        assert backend.result(last, timeout=60).shots == 100
        assert backend.status(slow) == BackendStatus.FAILED
        with pytest.raises(CircuitRejected) as caught:
            backend.result(slow)
        assert caught.value.code == "time_limit"
    finally:
        backend.close()


def test_close__run_under_way__ends_as_cancelled() -> None:
    backend = AerBackend(Sandbox(1))
    slow = backend.submit(request(ENDLESS, 1_000_000), "slow")
    with pytest.raises(TimeoutError):
        backend.result(slow, timeout=0.05)
    backend.close()
    assert backend.status(slow) == BackendStatus.CANCELLED
    with pytest.raises(TimeoutError, match="cancelled"):
        backend.result(slow)


class Stuck:
    """An executor whose one run never ends."""

    workers = 1

    def __init__(self) -> None:
        self.run = Run(lambda run: None)
        self.requests: list[RunRequest] = []

    def submit(self, request: RunRequest) -> Run:
        self.requests.append(request)
        return self.run

    def close(self) -> None: ...


def test_analyse__does_not_end_in_time__says_so_and_is_cancelled() -> None:
    stuck = Stuck()
    with pytest.raises(TimeoutError, match="the analysis did not end within 0 s"):
        AerBackend(stuck).analyse(request(), timeout=0.01)
    assert stuck.run.cancelled()


def test_cancel__run_under_way__stops_it_and_frees_the_worker(backend: AerBackend) -> None:
    slow = backend.submit(request(ENDLESS, 1_000_000), "slow")
    with pytest.raises(TimeoutError):
        backend.result(slow, timeout=0.05)
    backend.cancel(slow)
    with pytest.raises(TimeoutError, match="cancelled"):
        backend.result(slow, timeout=60)
    assert backend.reconcile("slow") is None
    assert backend.result(backend.submit(request(), "next"), timeout=60).shots == 100


def test_backlog__runs_submitted__are_counted_until_they_end() -> None:
    backend = AerBackend(Sandbox(1))
    try:
        assert backend.backlog() == Backlog(0, 0, 0, 1)
        slow = backend.submit(request(ENDLESS, 1_000_000), "slow", expected_seconds=60)
        queued = backend.submit(request(), "queued", expected_seconds=2.5)
        with pytest.raises(TimeoutError):
            backend.result(slow, timeout=0.05)
        assert backend.backlog() == Backlog(queued=1, running=1, seconds=62.5, workers=1)
        backend.cancel(slow)
        backend.result(queued, timeout=60)
        assert backend.backlog() == Backlog(0, 0, 0, 1)
    finally:
        backend.close()


@pytest.mark.parametrize("source", [SPREAD, CLIFFORD], ids=["statevector", "stabilizer"])
def test_result__same_seed_in_other_processes__is_the_same_to_the_bit(backend: AerBackend, source: bytes) -> None:
    def facts(result: RunResult) -> tuple[object, ...]:
        return result.counts, result.transpiled_digest, result.engine, result.operations, result.versions

    wanted = request(source, 5000, 42)
    alone = facts(backend.result(backend.submit(wanted, "alone"), timeout=60))
    many = AerBackend(Sandbox(2))
    try:
        references = [many.submit(wanted, f"copy {n}") for n in range(4)]
        assert [facts(many.result(reference, timeout=60)) for reference in references] == [alone] * 4
    finally:
        many.close()


def test_result__method__is_ours_to_choose_and_recorded(backend: AerBackend) -> None:
    spread = backend.result(backend.submit(request(SPREAD), "spread"), timeout=60)
    clifford = backend.result(backend.submit(request(CLIFFORD), "clifford"), timeout=60)
    assert (spread.method, spread.engine) == ("statevector", "aer-statevector")
    assert (clifford.method, clifford.engine) == ("stabilizer", "aer-stabilizer")


def test_capabilities__limits_given__are_told() -> None:
    backend = AerBackend(Sandbox(1), CircuitLimits(qubits=5, shots=77))
    try:
        capabilities = backend.capabilities()
        assert (capabilities.max_qubits, capabilities.max_shots, capabilities.simulator) == (5, 77, True)
    finally:
        backend.close()


def test_estimate__wider_or_longer_run__costs_more(backend: AerBackend) -> None:
    def seconds(shots: int = 10, qubits: int = 10, gates: int = 100, dynamic: bool = False) -> float:
        return backend.estimate(request(shots=shots), qubits, gates, dynamic=dynamic).seconds

    assert seconds() < min(seconds(shots=10_000), seconds(qubits=20), seconds(gates=1000), seconds(dynamic=True))
    assert backend.estimate(request(), 20).memory_bytes == 16 * 2**20


def test_analyse__circuit__is_weighed_without_a_run(backend: AerBackend) -> None:
    analysis = backend.analyse(request(CLIFFORD), timeout=60)
    assert (analysis.qubits, analysis.clifford) == (8, True)
    assert backend.backlog().running == 0


def test_analyse__circuit_at_fault__raises_its_rejection(backend: AerBackend) -> None:
    with pytest.raises(CircuitRejected) as caught:
        backend.analyse(request(b"OPENQASM 2.0; qreg q[9999]; creg c[1]; measure q[0] -> c[0];"), timeout=60)
    assert caught.value.code == "too_many_qubits"


def test_forecast__method_asked_for__has_its_own_cost(backend: AerBackend) -> None:
    analysis = backend.analyse(request(SPREAD), timeout=60)
    state = backend.forecast(replace(request(SPREAD), method="statevector"), analysis)
    matrix = backend.forecast(replace(request(SPREAD), method="density_matrix"), analysis)
    assert (state.memory_bytes, matrix.memory_bytes) == (16 * 2**8, 16 * 2**16)
    assert state.seconds < matrix.seconds
    assert backend.forecast(request(SPREAD), analysis) == state


def test_forecast__nothing_fits__is_what_the_limits_allow(backend: AerBackend) -> None:
    analysis = replace(backend.analyse(request(SPREAD), timeout=60), active_qubits=60, bond_bits=30)
    estimate = backend.forecast(request(SPREAD, wall_seconds=77, memory_bytes=2**20), analysis)
    assert (estimate.seconds, estimate.memory_bytes) == (77, 2**20)


def test_candidate__place_and_wait__are_told() -> None:
    backend = AerBackend(Sandbox(1), CircuitLimits(qubits=5), kind=MANAGED)
    try:
        assert (backend.candidate().kind, backend.candidate().max_qubits) == (MANAGED, 5)
        assert backend.candidate().queue_seconds == 0
        backend.submit(request(ENDLESS, 1_000_000), "slow", expected_seconds=60)
        backend.submit(request(), "queued", expected_seconds=2.5)
        assert backend.candidate().queue_seconds == 62.5
    finally:
        backend.close()


@pytest.mark.parametrize(
    ("options", "why"), [({"qsim": False}, "switched off"), ({"kind": MANAGED}, "cluster"), ({}, "")]
)
def test_candidate__qsim_absent__says_why_and_no_run_goes_there(options: dict[str, Any], why: str) -> None:
    executor = Stuck()
    backend = AerBackend(executor, **options)
    backend.submit(request(), "run")

    assert (QSIM in executor.requests[0].methods) == (QSIM not in backend.candidate().absent) == (not why)
    assert why in backend.candidate().absent.get(QSIM, "")


def test_submit__threads_given__are_recorded() -> None:
    backend = AerBackend(Sandbox(1), threads=2)
    try:
        assert backend.result(backend.submit(request(), "two"), timeout=60).threads == 2
    finally:
        backend.close()


def test_estimate__a_thousand_qubits__is_what_the_limits_allow(backend: AerBackend) -> None:
    estimate = backend.estimate(request(wall_seconds=77, memory_bytes=2**20), 1000)
    assert (estimate.seconds, estimate.memory_bytes) == (77, 2**20)
