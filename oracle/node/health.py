"""Whether the node is well: what it does for a living, when it last did it, and what stands in its way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from oracle import __version__
from oracle.jobs.amounts import format_wei
from oracle.jobs.errors import InputError
from oracle.node.config import NodeConfig

REQUEST_SECONDS = 5.0
JSON = "application/json"

Page = Callable[[], tuple[int, str, bytes]]
"""Answers one path: status, content type, body."""


class Health:
    """What the node reports about itself, and the verdict on it. Safe to use from any thread.

    ``clock`` counts seconds. A node that was just started is not silent yet.
    """

    def __init__(self, config: NodeConfig, clock: Callable[[], float] = time.monotonic):
        self._config = config
        self._clock = clock
        self._started = self._beaten = clock()
        self._beats = 0
        self._head = self._last = self._behind = 0
        self._balance: int | None = None
        self._troubles: dict[str, str] = {}
        self._draining = False

    # --------------------------------------------------------------------------------- told by the node

    def alive(self) -> None:
        """Something moved, though a look at the chain is not complete: a long catch-up is not silence."""
        self._beaten = self._clock()

    def beat(self) -> None:
        """A look at the chain was completed."""
        self._beats += 1
        self.alive()

    def at(self, head: int, target: int, last: int) -> None:
        """The chain's head, the last block that could be taken in, and the last that was."""
        self._head, self._last, self._behind = head, last, max(0, target - last)

    def holds(self, balance: int) -> None:
        """The account's balance, in wei."""
        self._balance = balance

    def journal(self, trouble: str = "") -> None:
        """The journal could not be written, or (without ``trouble``) could again."""
        self._trouble("journal", trouble)

    def halt(self, reason: str) -> None:
        """The node has stopped working for good and says why."""
        self._trouble("halted", reason)

    def drain(self) -> None:
        """The node takes nothing new and is about to end."""
        self._draining = True

    def _trouble(self, name: str, text: str) -> None:
        self._troubles = {key: value for key, value in self._troubles.items() if key != name} | (
            {name: text} if text else {}
        )

    # -------------------------------------------------------------------------------------- the verdict

    @property
    def is_halted(self) -> bool:
        """Whether :meth:`halt` was called."""
        return "halted" in self._troubles

    def problems(self) -> dict[str, str]:
        """What is wrong: a short name and a sentence for each. Empty if the node is well."""
        found = dict(self._troubles)
        silence = self._clock() - self._beaten
        if silence > self._config.health_silence_seconds and not self._draining:
            found["silent"] = f"no look at the chain was completed for {silence:.0f} s"
        if self._behind > self._config.max_lag_blocks:
            found["behind"] = f"{self._behind} blocks are waiting to be read"
        if self._balance is not None and self._balance < self._config.low_balance_wei:
            wanted = format_wei(self._config.low_balance_wei)
            found["balance"] = f"the account holds {format_wei(self._balance)}, less than {wanted}"
        return found

    def is_ready(self) -> bool:
        """Whether the node takes jobs: it has seen the chain, nothing is wrong, and it is not about to end."""
        return self._beats > 0 and not self._draining and not self.problems()

    def document(self) -> dict[str, Any]:
        """The body of ``/health``."""
        problems, now = self.problems(), self._clock()
        return {
            "status": "failing" if problems else "ok",
            "ready": self.is_ready(),
            "draining": self._draining,
            "problems": problems,
            "seconds_since_tick": round(now - self._beaten, 1),
            "uptime_seconds": round(now - self._started, 1),
            "ticks": self._beats,
            "head": self._head,
            "last_block": self._last,
            "behind": self._behind,
            "balance": None if self._balance is None else str(self._balance),
            "version": __version__,
        }

    def health_page(self) -> tuple[int, str, bytes]:
        """``/health``: 200, or 503 with what is wrong."""
        document = self.document()
        return (503 if document["problems"] else 200), JSON, _body(document)

    def ready_page(self) -> tuple[int, str, bytes]:
        """``/ready``: 200 once the node takes jobs, else 503."""
        ready = self.is_ready()
        return (200 if ready else 503), JSON, _body({"ready": ready})


@contextmanager
def serving(pages: Mapping[str, Page], port: int, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve ``pages`` by path on ``port`` (0: any free one) while the block runs; yields the URL.

    Raises :class:`InputError` if the port cannot be had.
    """
    try:
        server = _Server((host, port), _handler(pages))
    except OSError as err:
        raise InputError(
            f"{host}:{port} cannot be used ({err.strerror})",
            field="watch.metrics_port",
            remedy="choose another port, or stop what uses it",
        ) from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="watch", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a client that is slow to leave does not hold the node up

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no event."""


def _handler(pages: Mapping[str, Page]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS
        server_version, sys_version = "qscrow", ""

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            try:
                status, kind, body = page() if page else (404, JSON, _body({"known": sorted(pages)}))
            except Exception as err:  # a journal that is being closed, for one; the node itself is not to suffer
                status, kind, body = 500, JSON, _body({"error": type(err).__name__})
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            """Who asks how we are is no event."""

    return Handler


def _body(document: Any) -> bytes:
    return (json.dumps(document) + "\n").encode()
