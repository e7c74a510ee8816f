"""Opening the backend an operator has chosen."""

from __future__ import annotations

import os
import sys
from typing import Protocol

from oracle.backends.aer import AerBackend
from oracle.backends.base import Executor
from oracle.circuits.limits import CircuitLimits
from oracle.routing.candidates import MANAGED


class ExecutorSettings(Protocol):
    """What :func:`open_backend` reads of a node's settings.

    ``executor`` is ``pool`` or ``dask``. ``workers`` is for the pool; 0 means one per core; ``qsim`` says whether it
    may use that where it is installed. ``dask_scheduler`` is an address such as ``tcp://host:8786``; ``tls://`` needs
    the three files, all in PEM.
    """

    executor: str
    qsim: bool
    workers: int
    dask_scheduler: str
    dask_tls_ca: str
    dask_tls_cert: str
    dask_tls_key: str


def open_backend(settings: ExecutorSettings, limits: CircuitLimits | None = None) -> AerBackend:
    """Aer on the executor of ``settings``.

    Raises :class:`~oracle.jobs.errors.InputError` for unusable settings and
    :class:`~oracle.jobs.errors.BackendUnavailable` for a cluster that does not answer.
    """
    if settings.executor == "dask":
        return AerBackend(_executor(settings), limits, kind=MANAGED)
    threads = max(1, cores() // (settings.workers or cores()))
    return AerBackend(_executor(settings), limits, threads=threads, qsim=settings.qsim)


def cores() -> int:
    """Processor cores this process may use: what workers times threads should come to."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _executor(settings: ExecutorSettings) -> Executor:
    if settings.executor == "dask":
        from oracle.backends.cluster import DaskExecutor

        tls = (settings.dask_tls_ca, settings.dask_tls_cert, settings.dask_tls_key)
        return DaskExecutor(settings.dask_scheduler, tls=tls if any(tls) else None)
    from oracle.circuits.sandbox import Sandbox

    return Sandbox(settings.workers or cores())
