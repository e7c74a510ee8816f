"""Opening the IBM backends an operator has chosen."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from oracle.backends.ibm.account import Account
from oracle.backends.ibm.adapter import IbmBackend
from oracle.backends.ibm.notes import KeptResults, Notes
from oracle.circuits.limits import CircuitLimits
from oracle.jobs.errors import BackendUnavailable, InputError

PATIENCE_SECONDS = 20.0
"""How long whoever is patient waits for IBM's first answer."""


class IbmSettings(Protocol):
    """What :func:`open_ibm` reads of a node's settings; ``docs/ibm.md`` explains each."""

    ibm_backends: str
    ibm_channel: str
    ibm_token_file: str
    ibm_instance: str
    ibm_url: str
    ibm_max_execution_seconds: int
    ibm_max_attempts: int
    ibm_private: bool


@dataclass(frozen=True)
class IbmProvider:
    """The account and its chosen backends, in the operator's order; ``notes`` and ``kept`` are what they write."""

    account: Account
    backends: list[IbmBackend]
    notes: Notes
    kept: KeptResults

    def backend(self, name: str) -> IbmBackend:
        """The one of this name. Raises :class:`BackendUnavailable` if it is not configured (any more)."""
        for backend in self.backends:
            if backend.name == name:
                return backend
        raise BackendUnavailable(f"{name[:60]} is not configured", field="execution.ibm_backends", remedy="name it")

    def reconcile(self, tag: str) -> tuple[IbmBackend, str] | None:
        """The backend that has a job under ``tag``, and its reference. Ask before choosing a backend: queues change,
        and whichever is the least busy after a restart may be another one. Raises :class:`BackendUnavailable`."""
        for backend in self.backends:
            if reference := backend.reconcile(tag):
                return backend, reference
        return None

    def holder(self, tag: str) -> IbmBackend | None:
        """The backend that has a job under ``tag``, by IBM's records alone: for a node that lost its own. Raises
        :class:`BackendUnavailable`."""
        return next((backend for backend in self.backends if backend.holds(tag)), None)

    def close(self) -> None:
        """Release everything; jobs at IBM go on."""
        for backend in self.backends:
            backend.close()
        self.account.close()


def open_ibm(
    settings: IbmSettings, folder: Path, limits: CircuitLimits | None = None, *, patient: bool = False
) -> IbmProvider | None:
    """The backends named in ``settings.ibm_backends``, or ``None`` if there are none. Notes, and results of private
    jobs, are kept in ``folder``.

    Raises :class:`InputError` for settings that cannot work (no token file, a wrong token, an unknown backend) and
    :class:`BackendUnavailable` if IBM does not answer; then whoever is ``patient`` gets backends that have not been
    looked for.
    """
    names = [name.strip() for name in settings.ibm_backends.split(",") if name.strip()]
    if not names:
        return None
    if find_spec("qiskit_ibm_runtime") is None:
        raise InputError(
            "needs qiskit-ibm-runtime", field="execution.ibm_backends", remedy="pip install 'qscrow[ibm]', or name none"
        )
    account = Account(
        channel=settings.ibm_channel,
        token_file=Path(settings.ibm_token_file).expanduser().absolute() if settings.ibm_token_file else None,
        instance=settings.ibm_instance,
        url=settings.ibm_url,
    )
    notes, kept = Notes(folder), KeptResults(folder)
    try:
        if patient:
            _check_soon(names, account)
        else:
            _check_names(names, account.backends())
        backends = [
            IbmBackend(
                account,
                name,
                notes,
                limits=limits,
                max_execution_seconds=settings.ibm_max_execution_seconds,
                most_attempts=settings.ibm_max_attempts,
                private=settings.ibm_private,
                keeper=kept,
            )
            for name in names
        ]
    except BaseException:
        account.close()
        raise
    return IbmProvider(account, backends, notes, kept)


def _check_soon(names: list[str], account: Account) -> None:
    """As :func:`_check_names`, unless IBM takes long to answer, or does not."""
    asked: Future[list[str]] = Future()

    def ask() -> None:
        try:
            asked.set_result(account.backends())
        except Exception as err:
            asked.set_exception(err)

    threading.Thread(target=ask, daemon=True).start()
    with suppress(BackendUnavailable, TimeoutError):
        _check_names(names, asked.result(PATIENCE_SECONDS))


def _check_names(names: list[str], known: list[str]) -> None:
    if not known:
        raise BackendUnavailable("IBM lists no backend for this instance", field="execution.ibm_instance")
    for name in names:
        if name not in known:
            text = f"{name[:60]!r} is none of this instance's backends"
            raise InputError(
                text, field="execution.ibm_backends", remedy=f"use some of {', '.join(sorted(known)[:20])}"
            )
