"""IBM for these worlds: a box, and helper processes that are forked rather than started.

The client's and Qiskit's imports take seconds of processor time in every helper. A node server that has loaded them
forks nodes that can fork their helpers; what runs in those is the production code.
"""

from __future__ import annotations

import importlib
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.nodes import NodeServer

FLAG = "--ibm"
MODULES = ("oracle.backends.ibm.link", "oracle.backends.ibm.compile", "qiskit_ibm_runtime", "qiskit.compiler")


class Ibm:
    """A box, the file with its token, and the server for nodes that use it."""

    def __init__(self, folder: Path):
        from oracle.backends.ibm.box import Box

        self.server = NodeServer(FLAG)
        self.box = Box(["fake_manila"], seed=3)
        self.token_file = folder / "ibm.key"
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(self.box.token + "\n")
        self.settings: dict[str, Any] = {
            "ibm_backends": "box_manila",
            "ibm_url": self.box.url,
            "ibm_instance": self.box.instance,
            "ibm_token_file": str(self.token_file),
            "ibm_poll_seconds": 0.05,
            "gate_approvals": [],
            "gate_baseline_distance": None,
            "gate_validation": False,
        }

    def close(self) -> None:
        """End both."""
        self.server.close()
        self.box.close()


def load() -> None:
    """What the helpers load; in the process that forks nodes."""
    for module in MODULES:
        importlib.import_module(module)


def fork_helpers() -> None:
    """From now on this process forks its helpers."""
    from oracle.backends.ibm import process

    process.subprocess = _Forking  # type: ignore[attr-defined]


class _Forking:
    PIPE = DEVNULL = -1

    class Popen:
        """As much of :class:`subprocess.Popen` as a helper process needs."""

        def __init__(self, words: list[str], *, env: dict[str, str], **_: Any):
            theirs_in, ours_out = os.pipe()
            ours_in, theirs_out = os.pipe()
            self.returncode: int | None = None
            self.pid = os.fork()
            if not self.pid:
                _become(words[-1], env, theirs_in, theirs_out)
            os.close(theirs_in)
            os.close(theirs_out)
            self.stdin, self.stdout = os.fdopen(ours_out, "wb", 0), os.fdopen(ours_in, "rb")

        def poll(self) -> int | None:
            """How it ended, if it has."""
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            return self.returncode

        def wait(self) -> int:
            """How it ended."""
            if self.returncode is None:
                self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            return self.returncode


def _become(module: str, env: dict[str, str], stdin: int, stdout: int) -> None:
    """Be the helper until its node closes the pipe, and hold nothing else of the node's: not the journal's lock."""
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        os.closerange(3, 65_536)
        os.environ.clear()
        os.environ.update(env)
        with suppress(BrokenPipeError):
            importlib.import_module(module).main()
    finally:
        os._exit(0)
