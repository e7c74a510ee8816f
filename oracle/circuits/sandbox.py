"""A pool of warm worker processes that run strangers' circuits in confined children.

Shaped like an executor: :meth:`Sandbox.submit` answers a future. Analyses, short and waited for before a job is
accepted, go before runs. A worker that dies takes one job with it and
is replaced; one that has served long or grown large is replaced between two jobs.
"""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Any

from oracle.circuits.analysis import ANALYSE, Analysis
from oracle.circuits.run import Run, RunRequest, RunResult
from oracle.circuits.worker import SINGLE_USE, diagnose, read_frame, write_frame
from oracle.jobs.errors import BackendUnavailable, CircuitRejected

START_SECONDS = 120
GRACE_SECONDS = 15
# A fresh worker has about 130 MB, and starting one costs about as much as a hundred small runs.
RECYCLE_RUNS = 10_000
RECYCLE_BYTES = 512 * 2**20
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_CODE = re.compile(r"[a-z][a-z0-9_]{0,30}")

# So many analyses may go before a run that waits, then it is the run's turn.
ANALYSES_IN_A_ROW = 8

_Item = tuple[RunRequest, Run]


class Sandbox:
    """``workers`` processes, one circuit each at a time. Use as a context manager, or call :meth:`close`.

    ``fork`` says whether a warm worker may fork a child per circuit (a few milliseconds); without it every
    circuit gets a process of its own (a second or two), which is the default wherever numeric libraries do
    not survive a fork.
    """

    def __init__(
        self,
        workers: int,
        *,
        fork: bool = sys.platform == "linux",
        recycle_runs: int = RECYCLE_RUNS,
        recycle_bytes: int = RECYCLE_BYTES,
    ):
        if workers < 1:
            raise ValueError(f"{workers} workers")
        self.workers = workers
        self._queue = _Queue()
        self._lock = threading.Lock()
        self._closed = False
        self._pool = [_Worker(fork, recycle_runs, recycle_bytes) for _ in range(workers)]
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), name=f"sandbox-{number}", daemon=True)
            for number, worker in enumerate(self._pool)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, request: RunRequest) -> Run:
        """Queue ``request``. The future raises :class:`CircuitRejected` if the circuit is at fault, and
        :class:`CancelledError` once cancelled, which also kills the process of a run under way."""
        run = Run(self._stop)
        with self._lock:
            if self._closed:
                raise RuntimeError("the sandbox is closed")
            self._queue.put((request, run))
        return run

    def close(self) -> None:
        """End all workers at once. Jobs queued are cancelled; one that runs ends with
        :class:`CancelledError`."""
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            for worker in self._pool:
                worker.retire()
            self._queue.close()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _stop(self, run: Run) -> None:
        for worker in self._pool:
            worker.cancel(run)

    def _work(self, worker: _Worker) -> None:
        try:
            while (item := self._queue.get()) is not None:
                request, run = item
                if self._closed:
                    run.cancel()
                if not run.set_running_or_notify_cancel():
                    continue
                try:
                    outcome: RunResult | Analysis | BaseException = worker.run(request, run)
                except BaseException as err:  # it belongs to whoever waits for the future
                    outcome = err
                run.settle(outcome)
        finally:
            worker.stop()


class _Queue:
    """Requests in order, analyses before runs, but not more than :data:`ANALYSES_IN_A_ROW` while a run waits."""

    def __init__(self) -> None:
        self._runs: deque[_Item] = deque()
        self._analyses: deque[_Item] = deque()
        self._in_a_row = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: _Item) -> None:
        """Add one."""
        with self._changed:
            (self._analyses if item[0].method == ANALYSE else self._runs).append(item)
            self._changed.notify()

    def close(self) -> None:
        """Let everyone who waits go, once nothing is left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def get(self) -> _Item | None:
        """Wait for the next one; ``None`` once closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._runs or self._analyses or self._closed)
            if self._analyses and (not self._runs or self._in_a_row < ANALYSES_IN_A_ROW):
                self._in_a_row = self._in_a_row + 1 if self._runs else 0
                return self._analyses.popleft()
            self._in_a_row = 0
            return self._runs.popleft() if self._runs else None


class _Worker:
    """One worker process, started when first needed and again after every death."""

    def __init__(self, fork: bool, recycle_runs: int, recycle_bytes: int) -> None:
        self._fork = fork
        self._recycle_runs, self._recycle_bytes = recycle_runs, recycle_bytes
        self._lock = threading.Lock()
        self._retired = False
        self._process: subprocess.Popen[bytes] | None = None
        self._served = 0
        self._sending = threading.Lock()
        self._current: tuple[Run, subprocess.Popen[bytes]] | None = None

    def run(self, request: RunRequest, run: Run) -> RunResult | Analysis:
        """Run one circuit. Raises :class:`CircuitRejected`, and :class:`CancelledError` once retired."""
        process = self._started()
        try:
            return self._run_on(process, request, run)
        finally:
            self._served += 1
            if not self._fork or self._served >= self._recycle_runs or _rss(process.pid) > self._recycle_bytes:
                self.stop()

    def cancel(self, run: Run) -> None:
        """From any thread: end ``run`` if it is the one under way."""
        with self._sending:
            if self._current is None or self._current[0] is not run:
                return
            process = self._current[1]
            if self._fork:
                with suppress(OSError):
                    write_frame(process.stdin, {"cancel": self._served})
            else:
                _kill_group(process)

    def _run_on(self, process: subprocess.Popen[bytes], request: RunRequest, run: Run) -> RunResult | Analysis:
        # A forked child is timed by the worker, and this clock only catches a worker that hangs itself.
        seconds = request.limits.wall_seconds + (GRACE_SECONDS if self._fork else 0)
        limit = 2 * request.limits.output_bytes  # the worker holds its child to one
        why = "died"
        answer = None
        with _Alarm(process, seconds) as alarm:
            try:
                self._send(process, request, run)
                answer = read_frame(process.stdout, limit)
            except ValueError:
                why = "output"
            except OSError:
                pass
            finally:
                self._current = None
        if answer is None or not self._fork:
            self.stop()
        if isinstance(answer, dict) and "result" in answer:
            return request.outcome(answer["result"])
        if self._retired:
            raise CancelledError
        if answer is None and not self._fork:
            answer = diagnose(-process.returncode, "time" if alarm.rang else why, request.limits)
        if answer is None:
            raise CircuitRejected("worker_lost", "the process that ran it was lost", remedy="submit it again")
        raise rejection(answer)

    def _send(self, process: subprocess.Popen[bytes], request: RunRequest, run: Run) -> None:
        with self._sending:
            if run.stopping:
                raise CancelledError
            self._current = run, process
            write_frame(process.stdin, {"number": self._served, **as_message(request)})

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
        self._served = 0
        with _Alarm(process, START_SECONDS):
            ready = read_frame(process.stdout)
        if ready is None:
            self.stop()
            if self._retired:
                raise CancelledError
            raise BackendUnavailable(
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


def _rss(process: int) -> int:
    """Bytes of memory a process has; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def as_message(request: RunRequest) -> dict[str, Any]:
    """``request`` as JSON; :func:`oracle.circuits.worker.as_request` is the way back."""
    return {
        "source": base64.b64encode(request.source).decode(),
        "format": request.format,
        "shots": request.shots,
        "seed": request.seed,
        "limits": request.limits.as_dict(),
        "method": request.method,
        "threads": request.threads,
        "result": request.result,
        "observables": request.observables,
        "noise": request.noise.as_dict(),
        "methods": request.methods,
        "insisted": request.insisted,
    }


def rejection(answer: object) -> CircuitRejected:
    """What a child says of a run without a result; it may have been taken over, so only short printable text is
    believed."""
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
