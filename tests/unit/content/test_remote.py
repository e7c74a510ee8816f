"""The gateway client against gateways that break every rule."""

from __future__ import annotations

import gzip
import json
import threading

import pytest

from oracle.content.cid import CID
from oracle.content.exchange import exchange
from oracle.content.remote import GatewayStore
from oracle.jobs.errors import ContentError, ContentNotFound, ContentUnavailable

DATA = b"hello world"
CID_ = CID.of(DATA)


def answer(body: bytes = DATA, status: str = "200 OK", headers: str = "", length: int | None = None) -> bytes:
    """A whole HTTP answer; ``length`` lies about the body."""
    said = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {said}\r\n{headers}\r\n".encode() + body


def saying(data: bytes):
    return lambda connection, release: connection.sendall(data)


def endlessly(start: bytes, part: bytes):
    """Say ``start`` and then ``part`` for ever."""

    def speak(connection, release):
        connection.sendall(start)
        while not release.is_set():
            connection.sendall(part)

    return speak


def dripping(start: bytes, part: bytes = b"x"):
    """Say ``start`` and then ``part`` every few milliseconds, always just in time for a timeout of silence."""

    def speak(connection, release):
        connection.sendall(start)
        while not release.wait(0.01):
            connection.sendall(part)

    return speak


def hanging(connection, release):
    release.wait(10)


@pytest.fixture
def store_at():
    return lambda url, seconds=15.0: GatewayStore(url, timeout=seconds, seconds=seconds)


def test_get__honest_gateway__is_read(answering, store_at):
    with answering(saying(answer())) as url:
        assert store_at(url).get(CID_, max_bytes=100) == DATA
        assert store_at(url + "/").get_block(CID_) == DATA


@pytest.mark.parametrize(
    "speak",
    [
        saying(answer(b"hello wordl")),
        saying(answer(DATA + b"!")),
        saying(answer(b"")),
        saying(answer(gzip.compress(DATA), headers="Content-Encoding: gzip\r\n")),
        saying(answer(gzip.compress(bytes(10**8)), headers="Content-Encoding: gzip\r\n")),
        saying(answer(length=10**12)),
        saying(answer(length=100)),
        saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\nx"),
        saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx"),
        saying(b"\x00\xff rubbish\r\n\r\n"),
        saying(b""),
        saying(answer(status="200 OK", headers="X: y\r\n" * 200)),
        saying(answer(status="200 OK", headers=f"X: {'y' * 70_000}\r\n")),
        saying(answer(b"", status="302 Found", headers="Location: http://127.0.0.1:1/\r\n")),
        saying(answer(b"", status="307 Temporary Redirect", headers="Location: /ipfs/elsewhere\r\n")),
        saying(answer(b"later", status="429 Too Many Requests")),
        saying(answer(b"oops", status="500 Internal Server Error")),
        endlessly(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65_536)),
        endlessly(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(65_536) + b"\r\n"),
        endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\nX-Long: "),
        dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        dripping(b""),
        hanging,
    ],
    ids=[
        "wrong bytes", "longer", "empty", "gzip", "gzip bomb", "huge length", "cut off", "huge chunk",
        "bad chunk", "rubbish", "silence", "many headers", "long header", "redirect", "redirect to itself", "busy",
        "failing", "endless body", "endless chunks", "endless continue", "dripping body", "dripping header",
        "dripping headers", "dripping status", "hanging",
    ],
)  # fmt: skip
def test_get__gateway_that_misbehaves__is_unavailable_and_says_nothing_about_the_content(answering, store_at, speak):
    with answering(speak) as url, pytest.raises(ContentUnavailable) as caught:
        store_at(url, seconds=0.3).get(CID_, max_bytes=10**6)

    assert caught.value.field == "QSCROW_GATEWAYS"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone", "412 Precondition Failed"])
def test_get__gateway_without_it__is_not_found(answering, store_at, status):
    with answering(saying(answer(b"no", status=status))) as url:
        with pytest.raises(ContentNotFound):
            store_at(url).get(CID_, max_bytes=100)
        assert not store_at(url).has(CID_)


def test_has__gateway_in_trouble__does_not_say_no(answering, store_at):
    with answering(saying(answer(b"no", status="500 Oops"))) as url, pytest.raises(ContentUnavailable):
        store_at(url).has(CID_)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"cid": 5}', b'{"cid": "%s"}' % str(CID.of(b"other")).encode(), b"[" * 60_000, b"\xff"],
    ids=["empty", "list", "nothing", "number", "another", "deep", "binary"],
)
def test_put__gateway_that_names_something_else__is_unavailable(answering, store_at, body):
    with answering(saying(answer(body, status="201 Created"))) as url, pytest.raises(ContentUnavailable):
        store_at(url).put(DATA)


def test_put__gateway_finding_it_too_large__says_so_for_good(answering, store_at):
    with answering(saying(answer(b"no", status="413 Too Large"))) as url, pytest.raises(ContentError) as caught:
        store_at(url).put(DATA)

    assert not isinstance(caught.value, ContentUnavailable)


def test_put__same_cid_in_another_base__is_the_same(answering, store_at):
    body = json.dumps({"cid": f"f{CID_.bytes.hex()}"}).encode()
    with answering(saying(answer(body, status="201 Created"))) as url:
        assert store_at(url).put(DATA) == CID_


def test_get__proxy_in_the_environment__is_not_used(answering, store_at, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    with answering(saying(answer())) as url:
        assert store_at(url).get(CID_, max_bytes=100) == DATA


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://127.0.0.1:9", f"http://{'x' * 70}.invalid:1"])
def test_get__nobody_there__is_unavailable(store_at, url):
    with pytest.raises(ContentUnavailable, match="does not answer"):
        store_at(url).get(CID_, max_bytes=100)


def test_exchange__peer_that_does_not_read__ends_in_time(answering):
    stuck = threading.Event()

    def never_reading(connection, release):
        stuck.set()
        release.wait(10)

    with answering(never_reading) as url, pytest.raises(ContentUnavailable):
        exchange(
            "POST", url, headers={}, body=bytes(2**26), silence=0.3, seconds=0.4, limit=10, field="QSCROW_GATEWAYS"
        )
    assert stuck.is_set()


def test_get__url_with_a_query__does_not_show_it(answering):
    with pytest.raises(ContentUnavailable) as caught:
        exchange("GET", "http://127.0.0.1:9/x?key=s3cret", headers={}, silence=1, seconds=1, limit=1, field="f")
    assert "s3cret" not in str(caught.value)
