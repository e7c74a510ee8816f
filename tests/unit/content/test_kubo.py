"""Both clients against a real HTTP server that speaks a part of Kubo's RPC over a real block store, and misbehaves."""

from __future__ import annotations

import json
import threading
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from oracle.content.cid import CID, DAG_PB, RAW
from oracle.content.kubo import HttpRpc, KuboStore
from oracle.content.select import open_store
from oracle.content.store import BlockStore
from oracle.jobs.errors import ContentError, ContentNotFound, ContentUnavailable


class FakeKubo(ThreadingHTTPServer):
    """``mischief`` names what goes wrong; ``seen`` collects requests."""

    def __init__(self, store: BlockStore):
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = store
        self.mischief = ""
        self.seen: list[tuple[str, dict, str | None]] = []
        self.release = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
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
        if mischief == "rubbish":
            return self._answer(b"<html>not what you think</html>")
        cid = CID.parse(query["arg"]) if "arg" in query else None
        try:
            if command == "block/put":
                codec = DAG_PB if query.get("cid-codec") == "dag-pb" else RAW
                block = self._file(body)
                stored = CID.of(block, codec)
                store.put_block(stored, block)
                named = CID.of(b"something else") if mischief == "wrong cid" else stored
                return self._answer(
                    {"Key": "f" + named.bytes.hex() if mischief == "base16" else str(named), "Size": len(block)}
                )
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
                store.unpin(cid)
                return self._answer({"Pins": [str(cid)]})
            if command == "pin/ls":
                return self._answer({"Keys": {str(pin): {"Type": "recursive"} for pin in store.pins()}})
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
        message = BytesParser().parsebytes(
            b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + body
        )
        return message.get_payload()[0].get_payload(decode=True)

    def _answer(self, document, status: int = 200) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header(
            "Content-Type", "application/json" if not isinstance(document, bytes) else "application/octet-stream"
        )
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def kubo(tmp_path):
    server = FakeKubo(BlockStore(tmp_path / "kubo"))
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["httpx", "ipfshttpclient"])
def store(request, kubo, tmp_path):
    return open_store(tmp_path / "unused", {"KUBO_API": kubo.url, "KUBO_CLIENT": request.param})


@pytest.mark.parametrize("size", [0, 10, 3 * 2**20 + 1])
def test_put_get__through_a_node__round_trips_with_our_cids(store, tmp_path, size):
    data = b"q" * size

    cid = store.put(data)

    assert cid == BlockStore(tmp_path / "own").put(data)
    assert store.get(cid, max_bytes=size) == data
    assert store.has(cid)
    assert cid in set(store.pins())


def test_unpin__pinned__is_gone(store):
    cid = store.put(b"short-lived")

    store.unpin(cid)

    assert cid not in set(store.pins())


def test_put__cid_in_another_base__is_the_same_cid(store, kubo):
    kubo.mischief = "base16"

    assert store.put(b"data", pin=False) == CID.of(b"data")


def test_put__node_that_stores_something_else__is_refused(store, kubo):
    kubo.mischief = "wrong cid"

    with pytest.raises(ContentError, match="the node stored"):
        store.put(b"data")


@pytest.mark.parametrize("mischief", ["wrong bytes", "endless"])
def test_get__node_that_lies__is_caught(store, kubo, mischief):
    cid = store.put(b"data")
    kubo.mischief = mischief

    with pytest.raises(ContentError):
        store.get(cid, max_bytes=100)


def test_get__absent__is_not_found(store):
    assert not store.has(CID.of(b"absent"))
    with pytest.raises(ContentNotFound):
        store.get(CID.of(b"absent"), max_bytes=10)


@pytest.mark.parametrize("mischief", ["500", "rubbish"])
def test_put__node_in_trouble__is_a_content_error(store, kubo, mischief):
    kubo.mischief = mischief

    with pytest.raises(ContentError) as caught:
        store.put(b"data")
    assert "\n" not in str(caught.value)


def test_put__node_that_refuses_us__asks_for_authorisation(kubo):
    kubo.mischief = "401"

    with pytest.raises(ContentError) as caught:
        KuboStore(HttpRpc(kubo.url)).put(b"data")
    assert caught.value.field == "KUBO_AUTHORIZATION"


def test_put__with_authorisation__sends_it_and_asks_explicitly(kubo, tmp_path):
    (tmp_path / "auth").write_text("Bearer s3cret\n")
    env = {
        "KUBO_API": f"/ip4/127.0.0.1/tcp/{kubo.server_address[1]}",
        "KUBO_AUTHORIZATION_FILE": str(tmp_path / "auth"),
    }

    open_store(tmp_path, env).put(b"data")

    command, query, authorization = kubo.seen[0]
    assert (command, authorization) == ("block/put", "Bearer s3cret")
    assert query == {"cid-codec": "raw", "mhtype": "sha2-256", "pin": "false"}


def test_get__node_that_hangs__is_unavailable(kubo):
    cid = CID.of(b"data")
    kubo.mischief = "hang"

    with pytest.raises(ContentUnavailable):
        KuboStore(HttpRpc(kubo.url, timeout=0.2)).get(cid, max_bytes=10)


@pytest.mark.parametrize("client", ["httpx", "ipfshttpclient"])
def test_put__nobody_there__is_unavailable(tmp_path, client):
    with pytest.raises(ContentUnavailable) as caught:
        open_store(tmp_path, {"KUBO_API": "http://127.0.0.1:9", "KUBO_CLIENT": client}).put(b"data")
    assert caught.value.field == "KUBO_API"
