"""Opening a backend from settings. The cluster itself is tried in tests/integration/test_dask.py."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from oracle.backends import cluster
from oracle.backends.select import cores, open_backend
from oracle.circuits.limits import CircuitLimits
from oracle.jobs.errors import BackendUnavailable, InputError


def settings(**changes: object) -> SimpleNamespace:
    pool = {"executor": "pool", "workers": 3, "qsim": True, "dask_scheduler": ""}
    return SimpleNamespace(**{**pool, "dask_tls_ca": "", "dask_tls_cert": "", "dask_tls_key": "", **changes})


@pytest.mark.parametrize(("asked", "made"), [(3, 3), (0, cores())])
def test_open_backend__pool__has_the_workers_asked_for_or_one_per_core(asked: int, made: int) -> None:
    backend = open_backend(settings(workers=asked), CircuitLimits(qubits=9))
    try:
        assert backend.backlog().workers == made >= 1
        assert backend.capabilities().max_qubits == 9
    finally:
        backend.close()


def test_open_backend__cluster_away__is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(BackendUnavailable):
        open_backend(settings(executor="dask", dask_scheduler="tcp://127.0.0.1:1"))


def test_import__of_what_opens_backends__leaves_dask_alone() -> None:
    script = "import sys, oracle.backends.select, oracle.backends.cluster; print('distributed' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("address", ["", "carrier-pigeon://loft", "tcp://127.0.0.1", "tcp://[::1", "tcp://host:nine"])
def test_dask_executor__no_usable_address__is_an_input_error(address: str) -> None:
    with pytest.raises(InputError) as caught:
        cluster.DaskExecutor(address)
    assert caught.value.field == "dask_scheduler"
