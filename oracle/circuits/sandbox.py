"""A pool of warm worker processes that run strangers' circuits in confined children.

Shaped like an executor: :meth:`Sandbox.submit` answers a future. A worker that dies takes one job with it and is
replaced.
"""

from __future__ import annotations

import base64
import os
import queue
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from oracle.circuits.run import RunRequest, RunResult
from oracle.circuits.worker import read_frame, write_frame
from oracle.jobs.errors import CircuitRejected

START_SECONDS = 120
GRACE_SECONDS = 15
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class Sandbox:
    """``workers`` processes, one circuit each at a time. Use as a context manager, or call :meth:`close`."""

    def __init__(self, workers: int):
        self._queue: queue.SimpleQueue[tuple[RunRequest, Future[RunResult]] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"sandbox-{number}", daemon=True) for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, request: RunRequest) -> Future[RunResult]:
        """Queue ``request``. The future raises :class:`CircuitRejected` if the circuit is at fault."""
        if self._closing.is_set():
            raise RuntimeError("the sandbox is closed")
        future: Future[RunResult] = Future()
        self._queue.put((request, future))
        return future

    def close(self) -> None:
        """End all workers; jobs still queued are cancelled."""
        self._closing.set()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        while not self._queue.empty():
            item = self._queue.get()
            if item is not None:
                item[1].cancel()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _work(self) -> None:
        worker = _Worker()
        try:
            while (item := self._queue.get()) is not None and not self._closing.is_set():
                request, future = item
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    future.set_result(worker.run(request))
                except CircuitRejected as err:
                    future.set_exception(err)
                except Exception as err:
                    worker.stop()
                    future.set_exception(err)
            if item is not None:
                item[1].cancel()
        finally:
            worker.stop()


class _Worker:
    """One worker process, started when first needed and again after every death."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, request: RunRequest) -> RunResult:
        process = self._started()
        # The child is timed by its parent; this clock only catches a worker that hangs itself.
        watchdog = threading.Timer(request.limits.wall_seconds + GRACE_SECONDS, process.kill)
        watchdog.start()
        try:
            write_frame(process.stdin, _as_message(request))
            answer = read_frame(process.stdout)
        except (OSError, ValueError):
            answer = None
        finally:
            watchdog.cancel()
        if answer is None:
            self.stop()
            raise CircuitRejected("worker_lost", "the process that ran it was lost", remedy="submit it again")
        if "result" not in answer:
            raise _rejection(answer)
        return RunResult.from_untrusted(answer["result"], request)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", "oracle.circuits.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=_clean_environment(),
            start_new_session=True,  # Ctrl-C is for us to handle
        )
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        try:
            ready = read_frame(process.stdout)
        finally:
            watchdog.cancel()
        if ready is None:
            raise RuntimeError("the sandbox worker did not start; are qiskit and qiskit-aer installed?")
        return process


def _as_message(request: RunRequest) -> dict[str, Any]:
    return {
        "source": base64.b64encode(request.source).decode(),
        "format": request.format,
        "shots": request.shots,
        "seed": request.seed,
        "limits": request.limits.as_dict(),
    }


def _rejection(answer: dict[str, Any]) -> CircuitRejected:
    """The child wrote this; it may have been taken over, so only short printable text is believed."""
    code, message = (_plain(answer.get(name)) for name in ("code", "message"))
    field, remedy = (_plain(answer.get(name)) or None for name in ("field", "remedy"))
    return CircuitRejected(code[:31] or "crashed", message or "it could not be run", field=field, remedy=remedy)


def _plain(value: object) -> str:
    return "".join(c for c in str(value or "") if 32 <= ord(c) < 127)[:300]


def _clean_environment() -> dict[str, str]:
    """No secrets, one thread for every numeric library, and the same package as this process."""
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    path = os.pathsep.join([str(_PACKAGE_ROOT), *(p for p in sys.path if p.endswith("site-packages"))])
    return {"PATH": os.defpath, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8", **threads}
