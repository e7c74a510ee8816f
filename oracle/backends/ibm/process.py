"""A helper process that answers one message at a time: how the node talks to the compiler and to the link."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from oracle.circuits.worker import read_frame, write_frame
from oracle.jobs.errors import BackendUnavailable

START_SECONDS = 120.0
_PACKAGE_ROOT = Path(__file__).resolve().parents[3]
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


class Process:
    """Runs ``python -m module``, started when first needed and again after every death. Thread-safe.

    ``hello()`` is the first message it gets; its answer to that is checked by ``greeted``, which may raise.
    ``environment`` is all it has of one besides what Python needs.
    """

    def __init__(
        self,
        module: str,
        hello: Callable[[], Mapping[str, Any]],
        greeted: Callable[[Mapping[str, Any]], None],
        environment: Mapping[str, str] | None = None,
    ):
        self._module, self._hello, self._greeted = module, hello, greeted
        self._environment = {**_bare_environment(), **(environment or {})}
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def call(self, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to ``message``. Raises :class:`BackendUnavailable` if there is none within ``seconds``."""
        with self._lock:
            return self._exchange(self._started(), message, seconds)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._closed = True
        if (process := self._process) is not None:
            _kill(process)
        with self._lock:
            self._stop()

    def restart(self) -> None:
        """End the process once it is idle; the next call starts another."""
        with self._lock:
            self._stop()

    @property
    def pid(self) -> int | None:
        """Its number, while it runs."""
        return self._process.pid if self._process is not None else None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise BackendUnavailable("it is closed")
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._stop()
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=self._environment,
            start_new_session=True,
        )
        answer = self._exchange(self._process, self._hello(), START_SECONDS)
        try:
            self._greeted(answer)
        except BaseException:
            self._stop()
            raise
        return self._process

    def _exchange(self, process: subprocess.Popen[bytes], message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        timer = threading.Timer(seconds, _kill, (process,))
        timer.daemon = True
        timer.start()
        answer = None
        try:
            write_frame(process.stdin, message)
            answer = read_frame(process.stdout)
        except (OSError, ValueError):
            pass
        finally:
            timer.cancel()
        if isinstance(answer, dict):
            return answer
        self._stop()
        name = self._module.rpartition(".")[2]
        raise BackendUnavailable(f"the {name} process gave no answer within {seconds:g} s, or died")

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _kill(process)
        process.wait()
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):
                stream.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _bare_environment() -> dict[str, str]:
    """No secrets, no settings of whoever runs this, one thread for every library, and the same package."""
    installed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    return {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join([str(_PACKAGE_ROOT), *installed]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        "QISKIT_SETTINGS": os.devnull,
        # Also keeps Rust code from starting threads, which a forked child would wait for in vain.
        "QISKIT_IN_PARALLEL": "TRUE",
        **dict.fromkeys(_THREADS, "1"),
    }
