"""What the faulty servers share: an HTTP server on a thread, and the ways in which an answer can go wrong."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LONGEST_HANG_SECONDS = 60


class Broken(Exception):
    """The answer does not come the way it should."""


class Hang(Broken):
    """Nothing comes until the fault is lifted; then the connection breaks."""


class Reset(Broken):
    """The connection is reset."""


class Truncated(Broken):
    """Half of ``body`` comes, and then the connection closes."""

    def __init__(self, body: bytes):
        self.body = body


class Refuse(Broken):
    """Another HTTP answer than the one asked for."""

    def __init__(self, status: int, body: bytes = b"", **headers: str):
        self.status, self.body, self.headers = status, body, headers


class FaultyServer(ThreadingHTTPServer):
    """Answers every POST with :meth:`respond`; whatever it raises of :class:`Broken` is done to the connection."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = self.server_address[1]
        self.lifted = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def respond(self, path: str, headers: object, body: bytes) -> bytes:
        """The body of the answer."""
        raise NotImplementedError

    def lift(self) -> None:
        """Let go of whoever hangs."""
        self.lifted.set()
        self.lifted = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients are killed all the time here."""

    def close(self) -> None:
        """End it."""
        self.lift()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer
    server: FaultyServer

    def do_POST(self) -> None:
        body = self._body()
        try:
            self._answer(200, self.server.respond(self.path, self.headers, body))
        except Refuse as refusal:
            self._answer(refusal.status, refusal.body, **refusal.headers)
        except Truncated as half:
            self._answer(200, half.body[: len(half.body) // 2], length=len(half.body))
            self.close_connection = True
        except Broken as broken:
            if isinstance(broken, Hang):
                self.server.lifted.wait(LONGEST_HANG_SECONDS)
            self._reset()

    do_GET = do_PUT = do_POST

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _reset(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def finish(self) -> None:
        with contextlib.suppress(Exception):
            super().finish()

    def log_message(self, *args: object) -> None:
        """Quiet."""
