"""The executor on a real Dask cluster: a scheduler and two worker processes on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import distributed
import psutil
import pytest

from oracle.backends import cluster as cluster_module
from oracle.backends.aer import AerBackend
from oracle.backends.base import BackendStatus
from oracle.backends.cluster import DaskExecutor
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import RunRequest
from oracle.circuits.sandbox import Sandbox
from oracle.jobs.errors import BackendUnavailable, CircuitRejected, InputError

H2 = b'OPENQASM 2.0;\ninclude "qelib1.inc";\n'
SPREAD = H2 + b"qreg q[6]; creg c[6]; h q; t q; cx q[0],q[5]; h q; measure q -> c;"
ENDLESS = H2 + b"qreg q[16]; creg c[16]; h q; t q; reset q[0]; h q; measure q -> c;"
WORKERS = 2


def request(source: bytes = SPREAD, shots: int = 500, **limits: int) -> RunRequest:
    return RunRequest(source, "openqasm2", shots, 7, CircuitLimits(**limits))


def endless() -> RunRequest:
    return request(ENDLESS, 1_000_000)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(
        n_workers=WORKERS, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as made:
        yield made


@pytest.fixture(scope="module")
def executor(cluster: distributed.LocalCluster) -> Iterator[DaskExecutor]:
    with DaskExecutor(cluster.scheduler_address) as made:
        yield made


@pytest.fixture(autouse=True)
def whole(executor: DaskExecutor) -> None:
    until(lambda: executor.workers == WORKERS)


def confined(executor: DaskExecutor) -> list[psutil.Process]:
    """The children that run circuits now: two processes below a Dask worker."""
    try:
        workers = [psutil.Process(pid) for pid in executor._connected().run(os.getpid).values()]
        return [child for worker in workers for sandbox in worker.children() for child in sandbox.children()]
    except (psutil.NoSuchProcess, OSError):  # of a worker that is just going
        return []


def owner(child: psutil.Process) -> psutil.Process:
    return child.parent().parent()


def test_submit__runs_on_the_cluster__are_those_of_the_pool_to_the_bit(executor: DaskExecutor) -> None:
    runs = [executor.submit(request()) for _ in range(6)]
    with Sandbox(1) as pool:
        here = pool.submit(request()).result(60)
    for run in runs:
        there = run.result(60)
        assert (there.counts, there.transpiled_digest) == (here.counts, here.transpiled_digest)
        assert there.confinement == here.confinement


def test_submit__circuit_at_fault__is_rejected_for_the_same_reason(executor: DaskExecutor) -> None:
    error = executor.submit(request(b"OPENQASM 2.0; qreg q[9999]; creg c[1]; measure q[0] -> c[0];")).exception(60)
    assert isinstance(error, CircuitRejected)
    assert (error.code, error.field) == ("too_many_qubits", "circuit")


def test_child_killed__mid_run__fails_that_run_alone(executor: DaskExecutor) -> None:
    until(lambda: not confined(executor))  # of the test before
    doomed = executor.submit(endless())
    until(lambda: confined(executor))
    (child,) = confined(executor)
    others = [executor.submit(request()) for _ in range(3)]
    child.kill()
    error = doomed.exception(60)
    assert isinstance(error, CircuitRejected) and error.code == "killed"
    assert all(other.result(60).shots == 500 for other in others)


def test_cancel__run_under_way_and_run_waiting__both_end_and_nothing_is_left(executor: DaskExecutor) -> None:
    runs = [executor.submit(endless()) for _ in range(WORKERS + 1)]
    until(lambda: len(confined(executor)) == WORKERS)
    for run in runs:
        assert run.cancel() and run.cancelled()
        with pytest.raises(CancelledError):
            run.result(0)
    until(lambda: not confined(executor))
    assert executor.submit(request()).result(60).shots == 500


def test_dask_worker_killed__mid_run__the_run_starts_again_elsewhere(executor: DaskExecutor) -> None:
    run = executor.submit(endless())
    until(lambda: confined(executor))
    first = confined(executor)[0]
    killed = owner(first)
    killed.kill()
    until(lambda: not first.is_running())  # what it was running goes with it
    until(lambda: any(owner(child) != killed for child in confined(executor)))
    assert not run.done()
    assert run.cancel()


def test_dask_worker_killed__as_often_as_allowed__the_run_is_lost(
    executor: DaskExecutor, cluster: distributed.LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    run = executor.submit(endless())
    until(lambda: confined(executor))
    owner(confined(executor)[0]).kill()
    error = run.exception(60)
    assert isinstance(error, CircuitRejected) and error.code == "worker_lost"
    assert "KilledWorker" in error.message


def test_submit__answer_of_a_lying_worker__is_not_believed(
    executor: DaskExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "run_here", lambda message, name: {"result": {"counts": {"0": 500}}})
    error = executor.submit(request()).exception(60)
    assert isinstance(error, CircuitRejected) and error.code == "bad_result"


def test_submit__task_that_breaks__is_lost_and_not_the_circuits_fault(
    executor: DaskExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "run_here", lambda message, name: 1 // 0)
    error = executor.submit(request()).exception(60)
    assert isinstance(error, CircuitRejected) and error.code == "worker_lost"


def test_backend__on_a_cluster__submits_reconciles_and_cancels(cluster: distributed.LocalCluster) -> None:
    backend = AerBackend(DaskExecutor(cluster.scheduler_address))
    try:
        slow = backend.submit(endless(), "slow", expected_seconds=90)
        assert backend.reconcile("slow") == slow and backend.status(slow) == BackendStatus.RUNNING
        backlog = backend.backlog()
        assert (backlog.running, backlog.seconds, backlog.workers) == (1, 90, WORKERS)
        assert backend.result(backend.submit(request(), "quick"), timeout=60).shots == 500
        backend.cancel(slow)
        assert backend.status(slow) == BackendStatus.CANCELLED
    finally:
        backend.close()


def test_close__with_runs_under_way__cancels_them_and_leaves_the_cluster(executor: DaskExecutor) -> None:
    other = DaskExecutor(executor._address)
    run = other.submit(endless())
    until(lambda: confined(executor))
    other.close()
    assert isinstance(run.exception(1), CancelledError)
    until(lambda: not confined(executor))
    with pytest.raises(RuntimeError, match="closed"):
        other.submit(request())
    assert executor.submit(request()).result(60).shots == 500


def test_open__no_scheduler_there__says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 1)
    with pytest.raises(BackendUnavailable) as caught:
        DaskExecutor("tcp://127.0.0.1:1")
    assert caught.value.field == "dask_scheduler" and "127.0.0.1:1" in str(caught.value)


def test_open__cluster_with_tls__takes_our_certificate_and_nobody_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secured = distributed.Security.temporary()
    paths = []
    for name in ("tls_ca_file", "tls_client_cert", "tls_client_key"):
        (tmp_path / name).write_text(getattr(secured, name))
        paths.append(str(tmp_path / name))
    with distributed.LocalCluster(
        n_workers=0, host="127.0.0.1", protocol="tls://", security=secured, dashboard_address="127.0.0.1:0"
    ) as tls_cluster:
        with DaskExecutor(tls_cluster.scheduler_address, tls=(paths[0], paths[1], paths[2])) as ours:
            assert ours.workers == 0
        monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 1)
        with pytest.raises(BackendUnavailable):
            DaskExecutor(tls_cluster.scheduler_address.replace("tls://", "tcp://"))
        with pytest.raises(InputError):
            DaskExecutor(tls_cluster.scheduler_address)
        with pytest.raises(InputError) as caught:
            DaskExecutor(tls_cluster.scheduler_address, tls=("nowhere.pem", paths[1], paths[2]))
        assert "nowhere.pem" in str(caught.value)
