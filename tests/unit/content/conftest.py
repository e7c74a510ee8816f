"""Real HTTP servers for the content tests: a Kubo node in part, and servers that misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from oracle.content.cid import CID, DAG_PB, RAW
from oracle.content.store import BlockStore
from oracle.jobs.errors import ContentNotFound


class QuietServer(ThreadingHTTPServer):
    """A server in a thread that says nothing when a client hangs up: here clients do that on purpose."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]):
        super().__init__(("127.0.0.1", 0), handler)
        self.release = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """Quiet."""

    def stop(self) -> None:
        """Free its port; waiting handlers go on."""
        self.release.set()
        self.shutdown()
        self.server_close()


class FakeKubo(QuietServer):
    """A part of Kubo's RPC over a real block store.

    ``mischief`` names what goes wrong; ``seen`` collects (command, query, authorisation).
    """

    def __init__(self, store: BlockStore):
        self.store = store
        self.mischief = ""
        self.seen: list[tuple[str, dict, str | None]] = []
        super().__init__(KuboHandler)


class KuboHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Quiet."""

    def do_POST(self):
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        command, body = url.path.removeprefix("/api/v0/"), self._body()
        self.server.seen.append((command, query, self.headers.get("Authorization")))
        mischief, store = self.server.mischief, self.server.store
        if mischief == "hang":
            self.server.release.wait(10)
        if mischief in ("401", "500"):
            return self._answer({"Message": "go away"}, int(mischief))
        if mischief == "redirect":
            return self._redirect()
        if mischief == "rubbish":
            return self._answer(b"<html>not what you think</html>")
        cid = CID.parse(query["arg"]) if "arg" in query else None
        try:
            if command == "block/put":
                codec = DAG_PB if query.get("format") == "protobuf" else RAW
                block = self._file(body)
                stored = CID.of(block, codec)
                store.put_block(stored, block)
                named = CID.of(b"something else") if mischief == "wrong cid" else stored
                key = "f" + named.bytes.hex() if mischief == "base16" else str(named)
                return self._answer({"Key": key, "Size": len(block)})
            if command == "block/get":
                if mischief == "endless":
                    return self._answer(bytes(8 * 2**20))
                return self._answer(b"lies" if mischief == "wrong bytes" else store.get_block(cid))
            if command == "block/stat":
                return self._answer({"Key": str(cid), "Size": len(store.get_block(cid))})
            if command == "pin/add":
                store.pin(cid)
                return self._answer({"Pins": [str(cid)]})
            if command == "pin/rm":
                if cid not in store.pins():
                    return self._answer({"Message": "not pinned or pinned indirectly"}, 500)
                store.unpin(cid)
                return self._answer({"Pins": [str(cid)]})
            if command == "pin/ls":
                keys = {str(pin): {"Type": "recursive"} for pin in store.pins()}
                return self._answer({"Keys": {**keys, "bafyreigh2akiscaildc": {"Type": "recursive"}}})
        except ContentNotFound:
            return self._answer({"Message": "block was not found locally (offline): ipld: could not find node"}, 500)
        self._answer({"Message": "unknown"}, 404)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        out = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            out += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(out)

    def _file(self, body: bytes) -> bytes:
        head = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n"
        return BytesParser().parsebytes(head + body).get_payload()[0].get_payload(decode=True)

    def _redirect(self) -> None:
        self.send_response(307)
        self.send_header("Location", f"{self.server.url}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, document, status: int = 200) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def start_kubo(tmp_path) -> Iterator[Callable[[], FakeKubo]]:
    """A factory of Kubo nodes, each with a store of its own."""
    running: list[FakeKubo] = []

    def start() -> FakeKubo:
        running.append(FakeKubo(BlockStore(tmp_path / f"kubo-{len(running)}")))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def kubo(start_kubo) -> FakeKubo:
    """One Kubo node."""
    return start_kubo()


@pytest.fixture
def answering():
    """A context manager: the URL of a server whose every connection is handled by ``speak(socket, release)``.

    It is given the raw connection after the request's head was read, so that it can break any rule.
    """

    @contextmanager
    def serve(speak: Callable) -> Iterator[str]:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                """Quiet."""

            def handle(self):
                while self.rfile.readline().strip():
                    pass
                speak(self.connection, self.server.release)

        server = QuietServer(Handler)
        try:
            yield server.url
        finally:
            server.stop()

    return serve
