"""The gateway server: what the specification asks for, and what strangers try."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import socket
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle.content.allowance import MAX_CLIENTS, Allowance, client_of
from oracle.content.car import CarReader, car_parts, import_car
from oracle.content.cid import CID, DAG_PB
from oracle.content.dag import import_file
from oracle.content.gateway import GatewayLimits, GatewayServer
from oracle.content.remote import CAR_TYPE, RAW_TYPE, UPLOAD_PATH, GatewayStore
from oracle.content.store import BlockStore
from oracle.content.walk import blocks_under
from oracle.jobs.errors import ContentError, ContentUnavailable, InputError

GENEROUS = GatewayLimits(requests_per_second=10**6, burst_seconds=100.0)
BIG = b"a" * 2**20 + b"b" * 2**20 + b"end"


class Bench:
    """A running gateway, its two stores, and what it complained about."""

    def __init__(self, folder, limits=GENEROUS, *, quota=2**26, takes_uploads=True, **options):
        self.store = BlockStore(folder / "store")
        self.uploads = BlockStore(folder / "uploads", max_bytes=quota)
        self.complaints: list[str] = []
        uploads = self.uploads if takes_uploads else None
        self.server = GatewayServer(
            self.store, limits=limits, uploads=uploads, complain=self.complaints.append, **options
        )

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *exc):
        self.server.__exit__(*exc)

    def ask(self, method, path, headers=None, body=None):
        """(status, headers, body) of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def upload(self, body, kind=RAW_TYPE):
        """(status, body) of an upload."""
        status, _, answer = self.ask("POST", UPLOAD_PATH, {"Content-Type": kind}, body)
        return status, answer

    def say(self, data: bytes) -> bytes:
        """Everything that comes back for raw bytes, of which the server need not take all before it hangs up."""
        with self.connect() as connection:
            with contextlib.suppress(OSError):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            return everything(connection)

    def connect(self) -> socket.socket:
        """A connection of its own."""
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=20)


def everything(connection: socket.socket) -> bytes:
    out = b""
    try:
        while part := connection.recv(65_536):
            out += part
    except ConnectionResetError:
        pass
    return out


@pytest.fixture(autouse=True)
def stop_at_once(monkeypatch):
    """Nearly two hundred servers are stopped here."""
    monkeypatch.setattr("oracle.content.gateway._STOP_SECONDS", 0.01)


@pytest.fixture
def gateway(tmp_path):
    with Bench(tmp_path) as bench:
        yield bench
    assert bench.complaints == []


# --------------------------------------------------------------------------------------------------- reading


def test_get__block__comes_as_the_specification_says(gateway):
    cid = gateway.store.put(b"hello")

    status, headers, body = gateway.ask("GET", f"/ipfs/{cid}?format=raw")

    assert (status, body) == (200, b"hello")
    assert headers["Content-Type"] == RAW_TYPE
    assert headers["Content-Length"] == "5"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "public, max-age=29030400, immutable"
    assert headers["Content-Disposition"] == f'attachment; filename="{cid}.bin"'
    assert headers["Etag"] == f'"{cid}.raw"'
    assert headers["X-Ipfs-Path"] == f"/ipfs/{cid}"
    assert headers["Content-Location"] is None


@pytest.mark.parametrize(("query", "scope"), [("", "all"), ("&dag-scope=entity", "entity"), ("&dag-scope=all", "all")])
def test_get__archive__holds_the_whole_file(gateway, query, scope):
    cid = gateway.store.put(BIG)

    status, headers, body = gateway.ask("GET", f"/ipfs/{cid}?format=car{query}")

    assert status == 200
    assert headers["Content-Type"] == f"{CAR_TYPE}; version=1; order=dfs; dups=n"
    assert headers["Content-Disposition"] == f'attachment; filename="{cid}.car"'
    assert headers["Etag"] == f'W/"{cid}.car.{scope}"'
    assert headers["Accept-Ranges"] == "none"
    reader = CarReader(io.BytesIO(body), 2**23)
    assert reader.roots == [cid]
    assert list(reader) == list(blocks_under(gateway.store.get_block, cid))


def test_get__archive_of_the_block_alone__holds_the_root(gateway):
    cid = gateway.store.put(BIG)
    directory = bytes.fromhex("0a020801")  # an empty UnixFS directory
    folder = CID.of(directory, DAG_PB)
    gateway.store.put_block(folder, directory)

    for path in (f"/ipfs/{cid}?format=car&dag-scope=block", f"/ipfs/{folder}?format=car&dag-scope=entity"):
        _, _, body = gateway.ask("GET", path)
        assert len(list(CarReader(io.BytesIO(body), 2**23))) == 1


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (RAW_TYPE, RAW_TYPE),
        (f"text/html, {CAR_TYPE};q=0.5, {RAW_TYPE};q=0.9", RAW_TYPE),
        (f"{RAW_TYPE};q=0, {CAR_TYPE}", CAR_TYPE),
        (f"{CAR_TYPE}; version=1; order=unk; dups=n", CAR_TYPE),
        (f'{CAR_TYPE};order=dfs;dups=y, {CAR_TYPE};order="dfs";dups=n;q=0.5', CAR_TYPE),
        (CAR_TYPE.upper(), CAR_TYPE),
    ],
)
def test_get__accept_header__chooses_the_best_kind_served(gateway, accept, kind):
    cid = gateway.store.put(b"hello")

    status, headers, _ = gateway.ask("GET", f"/ipfs/{cid}", {"Accept": accept})

    assert status == 200
    assert headers["Content-Type"].split(";")[0] == kind
    assert headers["Content-Location"].startswith(f"/ipfs/{cid}?format=")


def test_get__format_and_accept_disagree__format_counts(gateway):
    cid = gateway.store.put(b"hello")

    assert gateway.ask("GET", f"/ipfs/{cid}?format=raw", {"Accept": CAR_TYPE})[1]["Content-Type"] == RAW_TYPE


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/ipfs/{cid}", {}, 400),
        ("/ipfs/{cid}", {"Accept": "*/*"}, 406),
        ("/ipfs/{cid}", {"Accept": "text/html"}, 406),
        ("/ipfs/{cid}", {"Accept": "application/vnd.ipfs.ipns-record"}, 406),
        ("/ipfs/{cid}", {"Accept": f"{CAR_TYPE};version=2"}, 406),
        ("/ipfs/{cid}", {"Accept": f"{CAR_TYPE};dups=y"}, 406),
        ("/ipfs/{cid}", {"Accept": f"{RAW_TYPE};q=0"}, 406),
        ("/ipfs/{cid}?format=dag-json", {}, 406),
        ("/ipfs/{cid}?format=", {}, 406),
        ("/ipfs/{cid}?format=car&car-version=2", {}, 406),
        ("/ipfs/{cid}?format=car&car-dups=y", {}, 406),
        ("/ipfs/{cid}?format=car&dag-scope=some", {}, 400),
        ("/ipfs/{cid}?format=car&entity-bytes=0:9", {}, 400),
        ("/ipfs/{cid}?format=raw&format=car", {}, 400),
        ("/ipfs/{cid}?format=raw&x=%ff", {}, 400),
        ("/ipfs/{cid}?format=raw&" + "&".join(f"a{n}=" for n in range(50)), {}, 400),
        ("/ipfs/{cid}/inside?format=raw", {}, 400),
        ("/ipfs/{cid}/inside?format=car", {}, 404),
        ("/ipfs/{absent}?format=raw", {}, 404),
        ("/ipfs/{absent}?format=car", {}, 404),
        ("/ipfs/{absent}?format=raw", {"Cache-Control": "only-if-cached"}, 412),
        ("/ipfs/nonsense?format=raw", {}, 400),
        ("/ipfs/?format=raw", {}, 400),
        ("/ipfs/../../etc/passwd?format=raw", {}, 400),
        ("/ipfs/%2e%2e%2f%2e%2e%2fetc%2fpasswd?format=raw", {}, 400),
        ("/ipfs/..%5c..%5cetc?format=raw", {}, 400),
        ("/ipfs/{cid}%00?format=raw", {}, 400),
        ("/ipfs//etc/passwd?format=raw", {}, 400),
        ("/ipns/example.org?format=raw", {}, 404),
        ("/pins/{cid}", {}, 404),
        ("/", {}, 404),
        ("/api/v0/pin/ls", {}, 404),
        ("http://elsewhere.example/ipfs/{cid}?format=raw", {}, 404),
        ("/ipfs/" + "b" * 3_000 + "?format=raw", {}, 400),
        (UPLOAD_PATH, {}, 405),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_get__what_is_not_served__has_its_status_and_no_page(gateway, method, path, headers, status):
    known = {"cid": gateway.store.put(b"hello"), "absent": CID.of(b"absent")}

    found, answered, body = gateway.ask(method, path.format(**known), headers)

    assert found == status
    assert answered["Content-Type"] == "text/plain; charset=utf-8"
    assert answered["X-Content-Type-Options"] == "nosniff"
    assert answered["Cache-Control"] == "no-store"
    assert b"hello" not in body and body.count(b"\n") == (method == "GET")


def test_head__whatever_is_served__is_get_without_a_body(gateway):
    cid = gateway.store.put(b"hello")

    for query in ("format=raw", "format=car"):
        path = f"/ipfs/{cid}?{query}"
        status, headers, body = gateway.ask("HEAD", path)
        _, expected, _ = gateway.ask("GET", path)
        assert (status, body) == (200, b"")
        del headers["Date"], expected["Date"]
        assert headers.items() == expected.items()


def test_get__known_etag__is_not_sent_again(gateway):
    cid = gateway.store.put(b"hello")

    for tag in (f'"{cid}.raw"', f'"other", W/"{cid}.raw"', "*"):
        status, headers, body = gateway.ask("GET", f"/ipfs/{cid}?format=raw", {"If-None-Match": tag})
        assert (status, body, headers["Etag"]) == (304, b"", f'"{cid}.raw"')
    assert gateway.ask("GET", f"/ipfs/{cid}?format=raw", {"If-None-Match": '"other"'})[0] == 200
    assert gateway.ask("GET", f"/ipfs/{CID.of(b'absent')}?format=raw", {"If-None-Match": "*"})[0] == 404


def test_get__range__is_answered_with_everything(gateway):
    cid = gateway.store.put(b"hello")

    for kind in ("raw", "car"):
        status, headers, body = gateway.ask("GET", f"/ipfs/{cid}?format={kind}", {"Range": "bytes=1-2"})
        assert (status, headers["Content-Range"]) == (200, None)
        assert body.endswith(b"hello")


def test_get__probe__is_answered(gateway):
    assert gateway.ask("GET", "/ipfs/bafkqaaa?format=raw")[::2] == (200, b"")
    assert gateway.ask("HEAD", "/ipfs/bafkqaaa?format=raw")[0] == 200
    _, _, archive = gateway.ask("GET", "/ipfs/bafkqaaa", {"Accept": CAR_TYPE})
    assert archive == b"\x19\xa2\x65roots\x81\xd8\x2a\x45\x00\x01\x55\x00\x00\x67version\x01"


def test_get__damaged_on_disk__is_not_served(gateway):
    cid = gateway.store.put(b"hello")
    gateway.store._path(cid).write_bytes(b"hellO")

    assert gateway.ask("GET", f"/ipfs/{cid}?format=raw")[0] == 404


def test_get__archive_that_turns_out_incomplete__ends_without_its_end(gateway):
    cid = gateway.store.put(BIG)
    gateway.store._path(CID.of(b"end")).unlink()

    with pytest.raises(http.client.IncompleteRead) as caught:
        gateway.ask("GET", f"/ipfs/{cid}?format=car")
    with pytest.raises(ContentError):
        import_car(gateway.uploads, caught.value.partial, max_bytes=2**23)


def test_get__disk_in_trouble__is_our_fault(gateway, monkeypatch):
    cid = gateway.store.put(b"hello")

    def fail(_path):
        raise OSError(5, "broken")

    monkeypatch.setattr("oracle.content.store._read", fail)
    assert gateway.ask("GET", f"/ipfs/{cid}?format=raw")[0] == 500


def test_get__denied_content__is_gone(tmp_path):
    with Bench(tmp_path, denied={CID.of(b"bad").digest}) as gateway:
        cid = gateway.store.put(b"bad")
        assert [gateway.ask("GET", f"/ipfs/{cid}?format={kind}")[0] for kind in ("raw", "car")] == [410, 410]


def test_get__http_1_0__gets_an_archive_that_ends_with_the_connection(gateway):
    cid = gateway.store.put(b"hello")

    head, _, body = gateway.say(f"GET /ipfs/{cid}?format=car HTTP/1.0\r\n\r\n".encode()).partition(b"\r\n\r\n")

    assert b"Transfer-Encoding" not in head
    assert list(CarReader(io.BytesIO(body), 1_000)) == [(cid, b"hello")]


def test_get__several_on_one_connection__are_answered_in_order(gateway):
    cids = [gateway.store.put(b"%d" % n) for n in range(5)]

    answers = gateway.say(b"".join(f"GET /ipfs/{cid}?format=raw HTTP/1.1\r\n\r\n".encode() for cid in cids))

    assert [part.partition(b"\r\n\r\n")[2] for part in answers.split(b"HTTP/1.1 200 OK")[1:]] == [
        b"%d" % n for n in range(5)
    ]


# ------------------------------------------------------------------------------------------------- uploading


def test_post__block__is_kept_apart_unpinned_and_served(gateway):
    status, answer = gateway.upload(b"circuit")

    cid = CID.of(b"circuit")
    assert (status, json.loads(answer)) == (201, {"cid": str(cid), "size": 7})
    assert gateway.uploads.has(cid) and not gateway.store.has(cid)
    assert list(gateway.uploads.pins()) == []
    assert gateway.ask("GET", f"/ipfs/{cid}?format=raw")[2] == b"circuit"


def test_post__archive__is_kept_whole(gateway):
    blocks: dict[CID, bytes] = {}
    root = import_file(BIG, blocks.__setitem__)

    status, answer = gateway.upload(b"".join(car_parts([root], blocks.items())), CAR_TYPE)

    assert (status, json.loads(answer)["cid"]) == (201, str(root))
    assert gateway.uploads.get(root, max_bytes=2**22) == BIG


@pytest.mark.parametrize("size", [0, 1, 2**20])
def test_post__up_to_the_limit__is_taken(gateway, size):
    assert gateway.upload(bytes(size))[0] == 201


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (bytes(2**20 + 1), RAW_TYPE, 413),
        (bytes(2**24 + 1), CAR_TYPE, 413),
        (b"x", "application/octet-stream", 415),
        (b"x", "text/plain", 415),
        (b"x", "multipart/form-data", 415),
        (b"x", "", 415),
        (b"not an archive", CAR_TYPE, 400),
        (b"", CAR_TYPE, 400),
        (b"".join(car_parts([CID.of(b"missing")], [])), CAR_TYPE, 400),
        (b"".join(car_parts([CID.of(b"a")], [(CID.of(b"a"), b"other")])), CAR_TYPE, 400),
    ],
    ids=[
        "large block",
        "large archive",
        "bytes",
        "text",
        "form",
        "no type",
        "no archive",
        "empty archive",
        "archive without its root",
        "archive with a wrong block",
    ],
)
def test_post__what_is_not_taken__has_its_status_and_leaves_nothing(gateway, body, kind, status):
    assert gateway.upload(body, kind)[0] == status
    assert gateway.uploads.used_bytes() == 0


@pytest.mark.parametrize(
    "head",
    [
        "",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 1_0\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
    ],
)
def test_post__length_unclear__is_refused_and_the_connection_closed(gateway, head):
    smuggled = f"POST {UPLOAD_PATH} HTTP/1.1\r\nContent-Type: {RAW_TYPE}\r\n{head}\r\nxGET / HTTP/1.1\r\n\r\n"

    answer = gateway.say(smuggled.encode())

    assert answer.startswith(b"HTTP/1.1 411 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_post__cut_off__is_refused(gateway):
    head = f"POST {UPLOAD_PATH} HTTP/1.1\r\nContent-Type: {RAW_TYPE}\r\nContent-Length: 100\r\n\r\nshort"

    assert gateway.say(head.encode()).startswith(b"HTTP/1.1 400 ")
    assert gateway.uploads.used_bytes() == 0


def test_post__huge_length__is_refused_before_it_is_sent(gateway):
    head = f"POST {UPLOAD_PATH} HTTP/1.1\r\nContent-Type: {RAW_TYPE}\r\nContent-Length: 999999999999\r\n\r\n"

    assert gateway.say(head.encode()).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/ipfs/bafkqaaa?format=raw", 405),
        ("POST", "/", 404),
        ("POST", UPLOAD_PATH + "?x=1", 404),
        ("PUT", UPLOAD_PATH, 501),
        ("DELETE", "/ipfs/bafkqaaa", 501),
        ("OPTIONS", UPLOAD_PATH, 501),
        ("BREW", "/", 501),
    ],
)
def test_request__wrong_method__is_refused(gateway, method, path, status):
    assert gateway.ask(method, path, {"Content-Type": RAW_TYPE}, b"x")[0] == status


@pytest.mark.parametrize("head", ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"])
def test_get__with_a_body__is_refused_and_the_body_is_no_request(gateway, head):
    answer = gateway.say(f"GET /ipfs/bafkqaaa?format=raw HTTP/1.1\r\n{head}\r\nGET / HTTP/1.1\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_post__uploads_not_wanted__is_forbidden(tmp_path):
    with Bench(tmp_path, takes_uploads=False) as gateway:
        assert gateway.upload(b"x")[0] == 403
        assert gateway.ask("GET", f"/ipfs/{CID.of(b'x')}?format=raw")[0] == 404


def age(store: BlockStore, seconds: float) -> None:
    then = time.time() - seconds
    for path in store.root.glob("blocks/*/*"):
        os.utime(path, (then, then))


def test_post__quota_used_up__makes_room_from_old_uploads_nobody_needs(tmp_path, monkeypatch):
    monkeypatch.setattr("oracle.content.gateway._COLLECT_FULL_SECONDS", 0.0)
    needed = CID.of(b"needed" * 10)
    with Bench(tmp_path, quota=100, needed=lambda: contextlib.nullcontext([needed])) as gateway:
        assert gateway.upload(b"needed" * 10)[0] == 201
        assert gateway.upload(b"x" * 30)[0] == 201
        assert gateway.upload(b"y" * 30)[0] == 507

        age(gateway.uploads, GENEROUS.upload_age_seconds + 1)
        assert gateway.upload(b"y" * 30)[0] == 201

        assert gateway.uploads.has(needed)
        assert not gateway.uploads.has(CID.of(b"x" * 30))


def test_post__old_uploads__go_in_time_even_with_room_left(tmp_path, monkeypatch):
    monkeypatch.setattr("oracle.content.gateway._COLLECT_SECONDS", 0.0)
    with Bench(tmp_path) as gateway:
        gateway.upload(b"old")
        age(gateway.uploads, GENEROUS.upload_age_seconds + 1)

        gateway.upload(b"new")

        assert not gateway.uploads.has(CID.of(b"old"))


# --------------------------------------------------------------------------------------------------- strangers


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"a" * 100_000,
        b"GET /" + b"a" * 15_000 + b" HTTP/1.1\r\n" + b"X: y\r\n" * 2_000 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 60_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
    ids=["endless line", "many headers", "long header", "more headers than allowed"],
)
def test_request__huge_head__is_refused(gateway, data):
    answer = gateway.say(data)

    # Whoever is still sending may lose the answer with the connection.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    assert 431 in gateway.server.answers


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTCPCP/1.0\r\n\r\n",
    ],
    ids=["nothing", "empty line", "TLS", "one word", "HTTP/0.9", "the future", "coffee"],
)
def test_request__not_http__is_refused_and_the_server_goes_on(gateway, data):
    answer = gateway.say(data)

    assert b" 200 " not in answer and b"<" not in answer
    assert gateway.ask("GET", "/ipfs/bafkqaaa?format=raw")[0] == 200


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from([b"", b"GET /ipfs/", b"POST /api/qscrow/v0/blocks HTTP/1.1\r\n"]))
def test_request__any_bytes__get_no_content_and_no_internal_error(gateway, data, start):
    answer = gateway.say(start + data + b"\r\n\r\n")

    assert not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 500"))
    assert gateway.complaints == []


def test_request__slow_drip__is_cut_off(tmp_path):
    limits = replace(GENEROUS, idle_seconds=5.0, request_seconds=0.2)
    with Bench(tmp_path, limits) as gateway, gateway.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        assert everything(connection) == b""


def test_request__silence__is_cut_off(tmp_path):
    limits = replace(GENEROUS, idle_seconds=0.1)
    with Bench(tmp_path, limits) as gateway:
        for said in (b"", b"GET /ipfs/b", f"POST {UPLOAD_PATH} HTTP/1.1\r\nContent-Length: 5\r\n\r\nab".encode()):
            with gateway.connect() as connection:
                connection.sendall(said)
                everything(connection)  # ends


def test_get__client_that_does_not_read__is_cut_off(tmp_path):
    limits = replace(GENEROUS, idle_seconds=0.1, slowest_bytes_per_second=10**9)
    with Bench(tmp_path, limits) as gateway:
        cid = gateway.store.put(b"".join(bytes([n]) * 2**20 for n in range(16)))
        with gateway.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            connection.sendall(f"GET /ipfs/{cid}?format=car HTTP/1.1\r\n\r\n".encode())
            assert connection.recv(1)  # the answer has begun: from here on nothing is read until it was cut off
            wait_until(lambda: not gateway.server._server._open)
            assert len(everything(connection)) < 16 * 2**20


def test_connect__more_than_one_client_may_have__are_turned_away(tmp_path):
    with Bench(tmp_path, replace(GENEROUS, connections_per_client=2)) as gateway:
        held = [gateway.connect() for _ in range(2)]
        wait_until(lambda: len(gateway.server._server._open) == 2)

        with gateway.connect() as one_more:
            assert everything(one_more).startswith(b"HTTP/1.1 429 ")

        for connection in held:
            connection.close()
        wait_until(lambda: not gateway.server._server._open)
        assert gateway.ask("GET", "/ipfs/bafkqaaa?format=raw")[0] == 200


def test_connect__more_than_there_are_places__are_turned_away(tmp_path):
    with Bench(tmp_path, replace(GENEROUS, connections=1)) as gateway, gateway.connect():
        wait_until(lambda: len(gateway.server._server._open) == 1)
        with gateway.connect() as one_more:
            assert everything(one_more).startswith(b"HTTP/1.1 503 ")


def test_get__more_often_than_allowed__has_to_wait(tmp_path):
    limits = replace(GENEROUS, requests_per_second=0.01, burst_seconds=250.0)  # 2.5 requests; the last may overdraw
    with Bench(tmp_path, limits) as gateway:
        statuses = [gateway.ask("GET", "/ipfs/bafkqaaa?format=raw") for _ in range(5)]

    assert [status for status, _, _ in statuses] == [200, 200, 200, 429, 429]
    assert int(statuses[-1][1]["Retry-After"]) > 1


def test_get__more_bytes_than_allowed__has_to_wait(tmp_path):
    limits = replace(GENEROUS, download_bytes_per_second=1.0, burst_seconds=10.0)
    with Bench(tmp_path, limits) as gateway:
        cid = gateway.store.put(b"x" * 100)
        assert [gateway.ask("GET", f"/ipfs/{cid}?format=raw")[0] for _ in range(2)] == [200, 429]


def test_post__more_bytes_than_allowed__has_to_wait(tmp_path):
    limits = replace(GENEROUS, upload_bytes_per_second=1.0, burst_seconds=10.0)
    with Bench(tmp_path, limits) as gateway:
        assert [gateway.upload(b"x" * size)[0] for size in (100, 1)] == [201, 429]


def test_post__more_at_once_than_allowed__is_told_to_come_back(tmp_path):
    with Bench(tmp_path, replace(GENEROUS, uploads_at_once=1)) as gateway:
        with gateway.connect() as slow:
            slow.sendall(
                f"POST {UPLOAD_PATH} HTTP/1.1\r\nContent-Type: {RAW_TYPE}\r\nContent-Length: 5\r\n\r\n".encode()
            )
            slots = gateway.server._server.service.upload_slots
            wait_until(lambda: slots._value == 0)
            assert gateway.upload(b"other")[0] == 503
            slow.sendall(b"12345")
            assert slow.recv(1_000).startswith(b"HTTP/1.1 201 ")
        wait_until(lambda: slots._value == 1)
        assert gateway.upload(b"other")[0] == 201


def test_post__many_at_once__never_exceed_the_quota(tmp_path):
    with Bench(tmp_path, replace(GENEROUS, uploads_at_once=8), quota=10_000) as gateway:
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda n=n: statuses.append(gateway.upload(b"%04d" % n * 250)[0]))
            for n in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert set(statuses) <= {201, 507, 503, 429}
        assert statuses.count(201) <= 10
        assert gateway.uploads.used_bytes() == 1_000 * statuses.count(201)


def test_server__stopped_with_connections_open__stops(tmp_path):
    gateway = Bench(tmp_path).__enter__()
    with gateway.connect() as connection:
        wait_until(lambda: gateway.server._server._open)
        gateway.__exit__(None, None, None)
        assert everything(connection) == b""
    with pytest.raises(ConnectionRefusedError):
        gateway.connect()


def test_server__address_taken__says_so(gateway, tmp_path):
    for host, port in (
        ("127.0.0.1", gateway.server.port),
        ("203.0.113.1", 0),
        ("no such host", 0),
        ("127.0.0.1", 99_999),
    ):
        with pytest.raises(InputError, match="cannot be listened on"):
            GatewayServer(gateway.store, host, port)


def test_server__ipv6__works(tmp_path):
    try:
        server = GatewayServer(BlockStore(tmp_path), "::1")
    except InputError:
        return  # this machine has no IPv6
    with server:
        assert not GatewayStore(server.url).has(CID.of(b"absent"))


def wait_until(holds) -> None:
    give_up = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.005)


# --------------------------------------------------------------------------------------------- both ends together


def test_gateway_store__with_the_server__round_trips(gateway):
    client = GatewayStore(gateway.server.url)

    for data in (b"", b"small", BIG):
        cid = client.put(data)
        assert client.has(cid)
        assert client.get(cid, max_bytes=2**22) == data
    assert not client.has(CID.of(b"absent"))
    assert list(client.pins()) == []


def test_gateway_store__larger_than_the_server_takes__is_told_so_for_good(tmp_path):
    with Bench(tmp_path, replace(GENEROUS, archive_bytes=2**20)) as gateway, pytest.raises(ContentError) as caught:
        GatewayStore(gateway.server.url).put(BIG)

    assert not isinstance(caught.value, ContentUnavailable)


# --------------------------------------------------------------------------------------------------- allowances


def test_allowance__spent__comes_back_with_time():
    now = [0.0]
    allowance = Allowance(2.0, 10.0, clock=lambda: now[0])

    allowance.spend("a", 14)
    assert allowance.wait("a") == 2.0
    assert allowance.wait("b") == 0.0
    now[0] = 2.5
    assert allowance.wait("a") == 0.0
    now[0] = 1_000.0
    allowance.spend("a", 10.5)
    assert allowance.wait("a") == 0.25  # never more than the burst was saved


def test_allowance__more_clients_than_remembered__stays_bounded():
    allowance = Allowance(1.0, 1.0)
    for number in range(MAX_CLIENTS + 10):
        allowance.spend(str(number), 1)

    assert len(allowance._known) == MAX_CLIENTS


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_client_of__addresses__are_grouped_by_who_owns_them(address, client):
    assert client_of(address) == client
