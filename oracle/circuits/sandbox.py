"""A pool of warm worker processes that run strangers' circuits in confined children.

Shaped like an executor: :meth:`Sandbox.submit` answers a future. A worker that dies takes one job with it and
is replaced.
"""

from __future__ import annotations

import base64
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from oracle.circuits.run import RunRequest, RunResult
from oracle.circuits.worker import SINGLE_USE, diagnose, read_frame, write_frame
from oracle.jobs.errors import CircuitRejected, QscrowError

START_SECONDS = 120
GRACE_SECONDS = 15
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_CODE = re.compile(r"[a-z][a-z0-9_]{0,30}")

_Item = tuple[RunRequest, "Future[RunResult]"]


class Sandbox:
    """``workers`` processes, one circuit each at a time. Use as a context manager, or call :meth:`close`.

    ``fork`` says whether a warm worker may fork a child per circuit (a few milliseconds); without it every
    circuit gets a process of its own (a second or two), which is the default wherever numeric libraries do
    not survive a fork.
    """

    def __init__(self, workers: int, *, fork: bool = sys.platform == "linux"):
        if workers < 1:
            raise ValueError(f"{workers} workers")
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._workers = [_Worker(fork) for _ in range(workers)]
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), name=f"sandbox-{number}", daemon=True)
            for number, worker in enumerate(self._workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, request: RunRequest) -> Future[RunResult]:
        """Queue ``request``. The future raises :class:`CircuitRejected` if the circuit is at fault."""
        future: Future[RunResult] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the sandbox is closed")
            self._queue.put((request, future))
        return future

    def close(self) -> None:
        """End all workers at once. Jobs queued are cancelled; one that runs ends with
        :class:`CancelledError`."""
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            for worker in self._workers:
                worker.retire()
            for _ in self._threads:
                self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _work(self, worker: _Worker) -> None:
        try:
            while (item := self._queue.get()) is not None:
                request, future = item
                if self._closed:
                    future.cancel()
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    future.set_result(worker.run(request))
                except BaseException as err:  # it belongs to whoever waits for the future
                    future.set_exception(err)
        finally:
            worker.stop()


class _Worker:
    """One worker process, started when first needed and again after every death."""

    def __init__(self, fork: bool) -> None:
        self._fork = fork
        self._lock = threading.Lock()
        self._retired = False
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, request: RunRequest) -> RunResult:
        """Run one circuit. Raises :class:`CircuitRejected`, and :class:`CancelledError` once retired."""
        process = self._started()
        # A forked child is timed by the worker, and this clock only catches a worker that hangs itself.
        seconds = request.limits.wall_seconds + (GRACE_SECONDS if self._fork else 0)
        limit = 2 * request.limits.output_bytes  # the worker holds its child to one
        why = "died"
        answer = None
        with _Alarm(process, seconds) as alarm:
            try:
                write_frame(process.stdin, _as_message(request))
                answer = read_frame(process.stdout, limit)
            except ValueError:
                why = "output"
            except OSError:
                pass
        if answer is None or not self._fork:
            self.stop()
        if isinstance(answer, dict) and "result" in answer:
            return RunResult.from_untrusted(answer["result"], request)
        if self._retired:
            raise CancelledError
        if answer is None and not self._fork:
            answer = diagnose(-process.returncode, "time" if alarm.rang else why, request.limits)
        if answer is None:
            raise CircuitRejected("worker_lost", "the process that ran it was lost", remedy="submit it again")
        raise _rejection(answer)

    def retire(self) -> None:
        """From any thread: end the process and start no other."""
        with self._lock:
            self._retired = True
            if self._process is not None:
                _kill_group(self._process)

    def stop(self) -> None:
        """End the process; the next run starts another."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        _kill_group(process)
        process.wait()
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):  # a request that never got through is still in its buffer
                stream.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        with self._lock:
            if self._retired:
                raise CancelledError
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "oracle.circuits.worker", *(() if self._fork else (SINGLE_USE,))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_clean_environment(),
                start_new_session=True,  # Ctrl-C is for us to handle, and a group can be killed as one
            )
        with _Alarm(process, START_SECONDS):
            ready = read_frame(process.stdout)
        if ready is None:
            self.stop()
            if self._retired:
                raise CancelledError
            raise QscrowError(
                "the sandbox worker did not start", remedy="check that qiskit and qiskit-aer are installed"
            )
        return process


class _Alarm:
    """Kills a worker that takes longer than ``seconds`` over the block; ``rang`` says whether it had to."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float):
        self.rang = False
        self._process = process
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True

    def _ring(self) -> None:
        self.rang = True
        _kill_group(self._process)

    def __enter__(self) -> _Alarm:
        self._timer.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the worker and the child it may have. Until it is waited for, its number is nobody else's."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _as_message(request: RunRequest) -> dict[str, Any]:
    return {
        "source": base64.b64encode(request.source).decode(),
        "format": request.format,
        "shots": request.shots,
        "seed": request.seed,
        "limits": request.limits.as_dict(),
    }


def _rejection(answer: object) -> CircuitRejected:
    """The child wrote this; it may have been taken over, so only short printable text is believed."""
    facts = answer if isinstance(answer, dict) else {}
    code, message, field, remedy = (_plain(facts.get(name)) for name in ("code", "message", "field", "remedy"))
    known = code if _CODE.fullmatch(code) else "crashed"
    return CircuitRejected(known, message or "it could not be run", field=field or None, remedy=remedy or None)


def _plain(value: object) -> str:
    return "".join(c for c in str(value or "") if 32 <= ord(c) < 127)[:300]


def _clean_environment() -> dict[str, str]:
    """No secrets, no settings of whoever runs this, one thread for every library, and the same package."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    installed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    return {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join([str(_PACKAGE_ROOT), *installed]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        "QISKIT_PARALLEL": "FALSE",
        "QISKIT_SETTINGS": os.devnull,
        **dict.fromkeys(threads, "1"),
    }
