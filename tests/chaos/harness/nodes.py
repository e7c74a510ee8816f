"""Starting, watching and killing node processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("node_process.py")
START_SECONDS = 60


class NodeServer:
    """The process that forks nodes; ``flags`` are for it."""

    def __init__(self, *flags: str) -> None:
        self._changed = threading.Condition()
        self._pids: dict[int, int] = {}
        self._codes: dict[int, int] = {}
        self._nodes = 0
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "--serve", *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, plan: dict[str, Any]) -> NodeProcess:
        """Fork a node; returns when it exists, which is before it is ready."""
        self._nodes += 1
        node, log = self._nodes, Path(plan["log"])
        start = log.stat().st_size if log.exists() else 0
        assert self._process.stdin
        self._process.stdin.write(json.dumps({**plan, "node": node}) + "\n")
        self._process.stdin.flush()
        with self._changed:
            assert self._changed.wait_for(lambda: node in self._pids, START_SECONDS), "the node server is silent"
            return NodeProcess(self, self._pids[node], log, start)

    def code(self, pid: int, timeout: float = 0) -> int | None:
        """How a node ended (negative: by this signal); ``None`` while it runs."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._codes, timeout)
            return self._codes.get(pid)

    def close(self) -> None:
        """End it and every node it started."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            news = json.loads(line)
            with self._changed:
                if "started" in news:
                    self._pids[news["node"]] = news["started"]
                if "ended" in news:
                    self._codes[news["ended"]] = news["code"]
                self._changed.notify_all()


class NodeProcess:
    """One node that runs, or ran."""

    def __init__(self, server: NodeServer, pid: int, log: Path, start: int):
        self.pid = pid
        self._log, self._start = log, start
        self._server = server

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; ``None`` while it runs."""
        return self._server.code(self.pid)

    def wait(self, timeout: float = 30) -> int | None:
        """Its exit code once it has ended; ``None`` if that takes longer."""
        return self._server.code(self.pid, timeout)

    def kill(self) -> None:
        """As ``kill -9``; returns when it is gone."""
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def terminate(self) -> None:
        """As the system does on shutdown."""
        if self.code is None:
            os.kill(self.pid, signal.SIGTERM)

    def text(self) -> str:
        """What it wrote so far."""
        if not self._log.exists():
            return ""
        with self._log.open(errors="replace") as log:
            log.seek(self._start)
            return log.read()

    def is_ready(self) -> bool:
        """Whether it is open and works."""
        return "ready\n" in self.text()

    def is_clean(self) -> bool:
        """Whether it ended with a failure of the expected kind, said in one line."""
        last = self.text().strip().splitlines()[-1:]
        return self.code is not None and 0 < self.code < 64 and bool(last) and last[0].startswith("error: ")


class Usage:
    """What a process holds: resident bytes, open files, threads."""

    def __init__(self, pid: int):
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        self.resident = int(status["VmRSS"].split()[0]) * 1024
        self.threads = int(status["Threads"])
        self.files = len(os.listdir(f"/proc/{pid}/fd"))
        self.at = time.monotonic()
