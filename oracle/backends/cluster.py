"""An executor on a Dask cluster: when one machine is not enough.

Every Dask worker keeps a :class:`~oracle.circuits.sandbox.Sandbox` of its own, with as many processes as the worker
has threads, so a circuit runs as confined there as here. The cluster itself is trusted: Dask moves pickles, so
whoever can join it can act as the node. Keep it on a private network, or use TLS with certificates of its own.

Needs Qscrow and the extra ``dask`` on every machine.
"""

from __future__ import annotations

import gc
import threading
import uuid
from collections import deque
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from oracle.circuits.analysis import ANALYSE, Analysis
from oracle.circuits.run import Run, RunRequest, RunResult
from oracle.circuits.sandbox import Sandbox, as_message, rejection
from oracle.circuits.worker import as_request
from oracle.jobs.errors import BackendUnavailable, CircuitRejected, InputError

if TYPE_CHECKING:
    import distributed

CONNECT_SECONDS = 20
CANCELLED = "cancelled"


class DaskExecutor:
    """Runs on the cluster whose scheduler is at ``address``. Use as a context manager, or call :meth:`close`.

    ``tls`` holds the paths of the CA's certificate, our certificate and our key. A run whose Dask worker dies starts
    again on another one, as often as the scheduler's ``allowed-failures`` says (3); then it ends with code
    ``worker_lost``. A cluster does not tell when a run starts, so all count as running.
    """

    def __init__(self, address: str, *, tls: tuple[str, str, str] | None = None):
        self._address, self._tls = address, tls
        self._lock = threading.Lock()
        self._runs: dict[Run, distributed.Future] = {}
        self._closed = False
        self._client: distributed.Client | None = None
        if not _is_usable(address):
            raise InputError("is no address of a Dask scheduler", field="dask_scheduler", remedy="use tcp://host:port")
        self._connected()

    @property
    def workers(self) -> int:
        """Threads of all Dask workers together; 0 while the scheduler cannot be reached."""
        try:
            info = self._connected().scheduler_info(n_workers=-1)
        except (OSError, BackendUnavailable):
            return 0
        return sum(worker["nthreads"] for worker in info["workers"].values())

    def submit(self, request: RunRequest) -> Run:
        """See :class:`~oracle.backends.base.Executor`."""
        client = self._connected()
        run, name = Run(self._stop), f"qscrow-{uuid.uuid4().hex}"
        run.set_running_or_notify_cancel()
        try:
            urgent = int(request.method == ANALYSE)  # it is waited for before a job is accepted, and short
            future = client.submit(run_here, as_message(request), name, key=name, pure=False, priority=urgent)
        except (OSError, RuntimeError) as err:
            raise self._unavailable(err) from err
        with self._lock:
            self._runs[run] = future
        future.add_done_callback(lambda done: self._ended(run, request, done))
        return run

    def close(self) -> None:
        """Cancel all runs and leave the cluster, which goes on."""
        with self._lock:
            self._closed = True
            client, runs = self._client, dict(self._runs)
        for run in runs:
            run.settle(CancelledError())
        if client is not None:
            _kill(client, list(runs.values()))
            client.close()

    def __enter__(self) -> DaskExecutor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _ended(self, run: Run, request: RunRequest, future: distributed.Future) -> None:
        run.settle(_outcome(future, request))
        with self._lock:
            self._runs.pop(run, None)
        future.release()

    def _stop(self, run: Run) -> None:
        with self._lock:
            client, future = self._client, self._runs.get(run)
        if client is not None and future is not None:
            _kill(client, [future])
        run.settle(CancelledError())

    def _connected(self) -> distributed.Client:
        """The client, a new one if the last gave up. It reconnects by itself to a scheduler that is away for less."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor is closed")
            if self._client is None or self._client.status in ("closing", "closed"):
                try:
                    self._client = self._new_client()
                except OSError as err:  # TimeoutError too
                    raise self._unavailable(err) from err
            return self._client

    def _new_client(self) -> distributed.Client:
        """A client that fails to connect leaves itself to the garbage collector. Should that come by while the next one
        starts its event loop, both wait for one lock for ever (distributed 2026.8.0), so it may not."""
        from distributed import Client

        gc.collect()
        gc.disable()
        try:
            return Client(self._address, security=self._security(), timeout=CONNECT_SECONDS, set_as_default=False)
        finally:
            gc.enable()

    def _security(self) -> Any:
        from distributed import Security

        if self._tls is None:
            if self._address.startswith("tls://"):
                raise InputError("tls:// needs certificates", field="dask_scheduler", remedy="set the dask_tls files")
            return None
        ca, certificate, key = self._tls
        security = Security(tls_ca_file=ca, tls_client_cert=certificate, tls_client_key=key, require_encryption=True)
        try:
            security.get_connection_args("client")
        except OSError as err:  # SSLError too
            files = ", ".join(self._tls)
            raise InputError(
                f"the TLS files {files} cannot be used ({err.strerror or err})", field="dask_tls_ca"
            ) from err
        return security

    def _unavailable(self, err: Exception) -> BackendUnavailable:
        text = f"the Dask scheduler {self._address} does not answer ({type(err).__name__})"
        return BackendUnavailable(text, field="dask_scheduler", remedy="start it, or correct the address")


def _is_usable(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.scheme in ("tcp", "tls") and parts.hostname and parts.port)
    except ValueError:  # unbalanced brackets, a port that is no number
        return False


def _kill(client: distributed.Client, futures: list[distributed.Future]) -> None:
    if not futures:
        return
    with suppress(OSError, RuntimeError):  # without a connection the scheduler forgets them by itself
        client.cancel(futures)
        client.run(stop_here, [future.key for future in futures], on_error="ignore")


def _outcome(future: distributed.Future, request: RunRequest) -> RunResult | Analysis | Exception:
    try:
        if future.status != "finished":
            return CircuitRejected("worker_lost", f"the cluster lost it ({_reason(future)})", remedy="submit it again")
        answer = future.result()
        if isinstance(answer, dict) and "result" in answer:
            return request.outcome(answer["result"])
        return rejection(answer)
    except CircuitRejected as err:
        return err
    except Exception as err:  # nobody waits for a run that ends in silence
        return CircuitRejected("worker_lost", f"its result was lost ({type(err).__name__})", remedy="submit it again")


def _reason(future: distributed.Future) -> str:
    error = future.exception() if future.status == "error" else None
    return type(error).__name__ if error else future.status


# ------------------------------------------------------------------------------------ on a Dask worker

_guard = threading.Lock()
_sandbox: Sandbox | None = None
_running: dict[str, Run] = {}
_stopped: deque[str] = deque(maxlen=10_000)  # also runs that an order to stop overtook on their way here


def run_here(message: dict[str, Any], name: str) -> dict[str, Any]:
    """Run the request in ``message`` on this Dask worker; its result, or what speaks against it, as plain data."""
    run = _start(as_request(message), name)
    if run is None:
        return {"code": CANCELLED}
    try:
        return {"result": asdict(run.result())}
    except CircuitRejected as err:
        return {"code": err.code, "message": err.message, "field": err.field, "remedy": err.remedy}
    except CancelledError:
        return {"code": CANCELLED}
    finally:
        with _guard:
            _running.pop(name, None)


def stop_here(names: list[str]) -> None:
    """Kill those of the runs ``names`` that are on this Dask worker."""
    with _guard:
        _stopped.extend(names)
        runs = [_running[name] for name in names if name in _running]
    for run in runs:
        run.cancel()


def _start(request: RunRequest, name: str) -> Run | None:
    global _sandbox
    from distributed import get_worker

    with _guard:
        if name in _stopped:
            return None
        if _sandbox is None:
            _sandbox = Sandbox(get_worker().state.nthreads)
        run = _running[name] = _sandbox.submit(request)
    return run
