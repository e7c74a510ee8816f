"""The trustless gateway of a node: ``/ipfs/<cid>?format=raw|car`` and an upload route, over HTTP/1.1.

Spec: https://specs.ipfs.tech/http-gateways/trustless-gateway/. Only blocks that are here are served, nothing is
fetched for anybody, and nothing is ever sent that a browser would show. Requester and oracle need no IPFS daemon
between them.

Clients are strangers: each request and each answer is over in bounded time and space, and each client has its
allowance. TLS is left to a proxy in front.
"""

from __future__ import annotations

import io
import json
import re
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import ceil
from socketserver import TCPServer
from time import monotonic

from oracle.content.allowance import Allowance, client_of
from oracle.content.car import car_header, car_parts, import_car
from oracle.content.cid import CID, DAG_PB
from oracle.content.dag import parse_file_node
from oracle.content.exchange import TimedReader
from oracle.content.negotiation import PROBE_BYTES, Refused, Wanted, wanted
from oracle.content.remote import CAR_TYPE, RAW_TYPE, UPLOAD_PATH
from oracle.content.store import MAX_PUBLISHED_BYTES, BlockStore, Needed, nothing
from oracle.content.walk import blocks_under
from oracle.jobs.errors import ContentError, ContentNotFound, ContentUnavailable, InputError

_COLLECT_SECONDS = 600.0  # between two collections of old uploads
_COLLECT_FULL_SECONDS = 30.0  # the same while there is no room
_STOP_SECONDS = 0.2  # until the thread notices that it is to end
_IMMUTABLE = "public, max-age=29030400, immutable"


@dataclass(frozen=True)
class GatewayLimits:
    """What clients may do. Sizes in bytes, times in seconds; rates are for each client.

    ``burst_seconds`` of any rate may be used at once. A peer may be silent for ``idle_seconds``, a whole request may
    take ``request_seconds``, and an answer must flow at ``slowest_bytes_per_second``.
    """

    connections: int = 64
    connections_per_client: int = 16
    uploads_at_once: int = 4
    requests_per_second: float = 50.0
    download_bytes_per_second: float = 16 * 2**20
    upload_bytes_per_second: float = 2 * 2**20
    burst_seconds: float = 10.0
    block_bytes: int = MAX_PUBLISHED_BYTES
    archive_bytes: int = 16 * 2**20
    download_archive_bytes: int = 2**30
    head_bytes: int = 16_384
    idle_seconds: float = 10.0
    request_seconds: float = 60.0
    slowest_bytes_per_second: float = 16_384.0
    upload_age_seconds: float = 86_400.0


class GatewayServer:
    """Serves the blocks of ``store`` in a thread of its own; a context manager.

    With ``uploads``, strangers may leave blocks there: its ``max_bytes`` is their quota, and what is older than
    ``limits.upload_age_seconds`` and not ``needed`` goes when there is no room or time has passed. ``denied`` holds
    digests that are answered with 410 whoever asks. ``complain`` hears of errors nobody expected. Raises
    :class:`InputError` if the address cannot be used.
    """

    def __init__(
        self,
        store: BlockStore,
        host: str = "127.0.0.1",
        port: int = 0,
        limits: GatewayLimits | None = None,
        *,
        uploads: BlockStore | None = None,
        needed: Needed = nothing,
        denied: Collection[bytes] = frozenset(),
        complain: Callable[[str], None] = lambda _: None,
    ):
        service = _Service(store, limits or GatewayLimits(), uploads, needed, denied)
        try:
            self._server = _Server(host, port, service, complain)
        except (OSError, OverflowError) as err:
            raise InputError(
                f"{host}:{port} cannot be listened on ({type(err).__name__})", field="gateway", remedy="choose another"
            ) from None
        self._host = host
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": _STOP_SECONDS}, name="gateway", daemon=True
        )

    @property
    def port(self) -> int:
        """The port listened on."""
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        """Where clients on this machine find it."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    @property
    def answers(self) -> dict[int, int]:
        """How many answers of each HTTP status were given since the start."""
        return dict(self._server.answers)

    def __enter__(self) -> GatewayServer:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.hang_up()


class _Service:
    """What the handlers share: the blocks, the limits and who used how much of them."""

    def __init__(
        self,
        store: BlockStore,
        limits: GatewayLimits,
        uploads: BlockStore | None,
        needed: Needed,
        denied: Collection[bytes],
    ):
        self.limits = limits
        self.uploads = uploads
        self.requests = self._allowance(limits.requests_per_second)
        self.downloads = self._allowance(limits.download_bytes_per_second)
        self.uploaded = self._allowance(limits.upload_bytes_per_second)
        self.upload_slots = threading.BoundedSemaphore(limits.uploads_at_once)
        self._store = store
        self._needed = needed
        self._denied = denied
        self._collecting = threading.Lock()
        self._collected = monotonic()

    def block(self, cid: CID) -> bytes:
        """A block that is here. Raises :class:`Refused` or :class:`ContentError`."""
        if cid.digest in self._denied:
            raise Refused(HTTPStatus.GONE, "this content is not served")
        try:
            return self._store.get_block(cid)
        except ContentNotFound:
            if self.uploads is None:
                raise
            return self.uploads.get_block(cid)

    def take(self, body: bytes, kind: str) -> CID:
        """Keep an upload for a while. Raises :class:`ContentError`, and :class:`ContentUnavailable` without room."""
        assert self.uploads is not None
        self._collect(_COLLECT_SECONDS)
        try:
            return self._keep(self.uploads, body, kind)
        except ContentUnavailable:
            self._collect(_COLLECT_FULL_SECONDS)
            return self._keep(self.uploads, body, kind)

    def _keep(self, uploads: BlockStore, body: bytes, kind: str) -> CID:
        if kind == CAR_TYPE:
            return import_car(uploads, body, max_bytes=self.limits.archive_bytes, pin=False)
        cid = CID.of(body)
        uploads.put_block(cid, body)
        return cid

    def _collect(self, pause: float) -> None:
        """Drop old uploads, unless that was done within ``pause`` seconds or is being done."""
        if monotonic() - self._collected < pause or not self._collecting.acquire(blocking=False):
            return
        try:
            self._collected = monotonic()
            assert self.uploads is not None
            self.uploads.collect(self._needed, self.limits.upload_age_seconds)
        finally:
            self._collecting.release()

    def _allowance(self, rate: float) -> Allowance:
        return Allowance(rate, rate * self.limits.burst_seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, service: _Service, complain: Callable[[str], None]):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.service = service
        self.answers: Counter[int] = Counter()
        self._complain = complain
        self._open: dict[socket.socket, str] = {}
        self._lock = threading.Lock()
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind, without the look-up of this machine's name that the base class does: it can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def process_request(self, request, client_address) -> None:
        """A thread for the connection, if there is one left for this client."""
        client = client_of(client_address[0])
        with self._lock:
            busy = len(self._open) >= self.service.limits.connections
            greedy = list(self._open.values()).count(client) >= self.service.limits.connections_per_client
            if not busy and not greedy:
                self._open[request] = client
        if busy or greedy:
            self._turn_away(request, HTTPStatus.SERVICE_UNAVAILABLE if busy else HTTPStatus.TOO_MANY_REQUESTS)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:
        """Close the connection and free its place."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request, client_address) -> None:
        """Clients that hang up are no news; anything else is a mistake of ours."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self._complain(f"gateway: internal error {type(error).__name__}: {error}")

    def hang_up(self) -> None:
        """End the connections that are still open."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _turn_away(self, request: socket.socket, status: HTTPStatus) -> None:
        self.answers[status] += 1
        answer = f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nRetry-After: 1\r\n"
        with suppress(OSError):
            request.settimeout(0)  # the thread that accepts waits for nobody
            request.sendall(f"{answer}Content-Length: 0\r\n\r\n".encode())
        self.shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "qscrow", ""
    server: _Server

    def setup(self) -> None:
        """Reader and writer that keep to the limits."""
        self.service = self.server.service
        self.limits = self.service.limits
        self.client = client_of(self.client_address[0])
        self.connection = self.request
        self.reader = _RequestReader(self.request, self.limits)
        self.rfile = io.BufferedReader(self.reader)
        self.wfile = _AnswerWriter(self.request, self.limits)

    def finish(self) -> None:
        """Nothing is buffered."""

    def handle_one_request(self) -> None:
        """One request, out of a fresh allowance of bytes and time."""
        self.reader.begin()
        self.requestline, self.request_version, self.command = "", "HTTP/1.1", ""
        try:
            super().handle_one_request()
        except HTTPException:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def do_GET(self) -> None:
        """A block or an archive."""
        self._answer(self._serve)

    def do_HEAD(self) -> None:
        """The same without the body."""
        self._answer(self._serve)

    def do_POST(self) -> None:
        """An upload."""
        self._answer(self._upload)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """One plain line; the base class would send a page, with parts of the request in it."""
        status = HTTPStatus(code)
        self.close_connection = True
        self._send(status, message if explain is None and message and self.command else status.phrase)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: addresses of clients are nobody's business."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Count instead."""
        self.server.answers[int(code)] += 1

    def _answer(self, serve: Callable[[], None]) -> None:
        self.started = False
        try:
            if self.request_version not in ("HTTP/1.0", "HTTP/1.1"):
                raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "speak HTTP/1.1")
            self._spend_request()
            serve()
        except Refused as refused:
            self._refuse(refused)
        except ContentNotFound:
            self._refuse(Refused(HTTPStatus.NOT_FOUND, "this content is not here"))
        except ContentError:
            self._refuse(Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "the content cannot be read now"))

    def _spend_request(self) -> None:
        for allowance in (self.service.requests, self.service.downloads):
            self._check(allowance)
        self.service.requests.spend(self.client, 1)

    def _check(self, allowance: Allowance) -> None:
        wait = allowance.wait(self.client)
        if wait:
            seconds = str(ceil(wait))
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, f"wait {seconds} s", {"Retry-After": seconds})

    # ------------------------------------------------------------------------------------------- reading

    def _serve(self) -> None:
        if "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0":
            self.close_connection = True
            raise Refused(HTTPStatus.BAD_REQUEST, "this request has no body")
        if self.path == UPLOAD_PATH:
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "not this way", {"Allow": "POST"})
        want = wanted(self.path, self.headers.get("Accept"))
        if want.cid is None:
            body = b"" if want.format == "raw" else car_header([PROBE_BYTES])
            return self._send_found(want, body)
        root = self._root(want.cid)
        if self._has_already(want):
            return self._send_head(HTTPStatus.NOT_MODIFIED, {"Etag": want.etag, "Cache-Control": _IMMUTABLE})
        if want.format == "raw":
            self.service.downloads.spend(self.client, len(root))
            return self._send_found(want, root)
        return self._send_archive(want, want.cid, root)

    def _root(self, cid: CID) -> bytes:
        try:
            return self.service.block(cid)
        except ContentNotFound:
            if "only-if-cached" in self.headers.get("Cache-Control", ""):
                raise Refused(HTTPStatus.PRECONDITION_FAILED, "this content is not here") from None
            raise

    def _has_already(self, want: Wanted) -> bool:
        known = [tag.strip() for tag in self.headers.get("If-None-Match", "").split(",")]
        return "*" in known or want.etag.removeprefix("W/") in [tag.removeprefix("W/") for tag in known]

    def _send_found(self, want: Wanted, body: bytes) -> None:
        self._send_head(HTTPStatus.OK, {**self._headers(want), "Content-Length": str(len(body))})
        self._write(body)

    def _send_archive(self, want: Wanted, cid: CID, root: bytes) -> None:
        """Block by block. What is missing shows only later: then the answer ends without its end."""
        chunked = self.request_version == "HTTP/1.1"
        framing = {"Transfer-Encoding": "chunked"} if chunked else {"Connection": "close"}
        self.close_connection = self.close_connection or not chunked
        self._send_head(HTTPStatus.OK, {**self._headers(want), **framing, "Accept-Ranges": "none"})
        if self.command == "HEAD":
            return
        sent = 0
        for part in car_parts([cid], self._blocks(want, cid, root)):
            sent += len(part)
            if sent > self.limits.download_archive_bytes:
                raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "too large")
            self.service.downloads.spend(self.client, len(part))
            self._write(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
        if chunked:
            self._write(b"0\r\n\r\n")

    def _blocks(self, want: Wanted, cid: CID, root: bytes) -> Iterator[tuple[CID, bytes]]:
        if want.scope == "block" or (want.scope == "entity" and not _is_file(cid, root)):
            return iter([(cid, root)])
        return blocks_under(self.service.block, cid)

    def _headers(self, want: Wanted) -> dict[str, str]:
        headers = {
            "Content-Type": want.content_type,
            "Content-Disposition": f'attachment; filename="{want.file_name}"',
            "Cache-Control": _IMMUTABLE,
            "Etag": want.etag,
            "Vary": "Accept",
            "X-Ipfs-Path": f"/ipfs/{want.text}",
            "X-Ipfs-Roots": want.text,
        }
        return headers if want.in_query else {**headers, "Content-Location": want.location}

    # ----------------------------------------------------------------------------------------- uploading

    def _upload(self) -> None:
        if self.path != UPLOAD_PATH:
            self.close_connection = True
            if self.path.startswith("/ipfs/"):
                raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "not this way", {"Allow": "GET, HEAD"})
            raise Refused(HTTPStatus.NOT_FOUND, "nothing is here")
        size = self._upload_size()
        try:
            kind = self._upload_kind(size)
        except Refused:
            self._discard(size)
            raise
        cid = self._take(size, kind)
        document = json.dumps({"cid": str(cid), "size": size}).encode()
        plain = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        self._send_head(HTTPStatus.CREATED, {**plain, "Content-Length": str(len(document))})
        self._write(document)

    def _upload_size(self) -> int:
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) != 1 or not re.fullmatch(r"\d{1,12}", lengths[0]):
            self.close_connection = True  # where this request ends cannot be known
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "say the Content-Length")
        return int(lengths[0])

    def _upload_kind(self, size: int) -> str:
        if self.service.uploads is None:
            raise Refused(HTTPStatus.FORBIDDEN, "uploads are not taken here")
        # Neither type may be sent by a web page without asking first, so no page can fill this store.
        kind = self.headers.get_content_type()
        limit = {RAW_TYPE: self.limits.block_bytes, CAR_TYPE: self.limits.archive_bytes}.get(kind)
        if limit is None:
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {RAW_TYPE} or {CAR_TYPE}")
        if size > limit:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {limit} bytes")
        self._check(self.service.uploaded)
        return kind

    def _take(self, size: int, kind: str) -> CID:
        if not self.service.upload_slots.acquire(blocking=False):
            self._discard(size)
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many uploads at once", {"Retry-After": "1"})
        try:
            self.service.uploaded.spend(self.client, size)
            return self.service.take(self._body(size), kind)
        except ContentUnavailable:
            raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, "there is no room now") from None
        except ContentError as err:
            raise Refused(HTTPStatus.BAD_REQUEST, err.message) from None
        finally:
            self.service.upload_slots.release()

    def _body(self, size: int) -> bytes:
        self.reader.allow(size)
        body = self.rfile.read(size)
        if len(body) != size:
            self.close_connection = True
            raise Refused(HTTPStatus.BAD_REQUEST, "the body is cut off")
        return body

    def _discard(self, size: int) -> None:
        """Read the body of a refused upload: closing before that would cut off the answer as well."""
        self.close_connection = True
        left = min(size, self.limits.archive_bytes)
        self.reader.allow(left)
        with suppress(OSError):
            while left and (part := self.rfile.read(min(left, 65_536))):
                left -= len(part)

    # ------------------------------------------------------------------------------------------ answering

    def _refuse(self, refused: Refused) -> None:
        if self.started:
            self.close_connection = True
        else:
            self._send(refused.status, refused.reason, refused.headers)

    def _send(self, status: HTTPStatus, line: str, headers: Mapping[str, str] | None = None) -> None:
        body = f"{line}\n".encode("ascii", "replace")
        plain = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}
        self._send_head(status, {**plain, **(headers or {}), "Content-Length": str(len(body))})
        self._write(body)

    def _send_head(self, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        self.started = True
        self.send_response(status)
        for name, value in {"X-Content-Type-Options": "nosniff", **headers}.items():
            self.send_header(name, value)
        if self.close_connection and "Connection" not in headers:
            self.send_header("Connection", "close")
        self.end_headers()

    def _write(self, body: bytes) -> None:
        if self.command != "HEAD":
            self.wfile.write(body)


class _RequestReader(TimedReader):
    """Bytes of a request: never more than allowed, never later than allowed."""

    def __init__(self, connection: socket.socket, limits: GatewayLimits):
        super().__init__(connection, limits.idle_seconds, 0.0)
        self._limits = limits
        self._left = 0

    def begin(self) -> None:
        """A new request: time and room for its head."""
        self.deadline = monotonic() + self._limits.request_seconds
        self._left = self._limits.head_bytes

    def allow(self, size: int) -> None:
        """Room for a body."""
        self._left += size

    def readinto(self, buffer) -> int:
        """See :class:`io.RawIOBase`. Raises :class:`HTTPException` if there is no room left."""
        if self._left <= 0:
            raise HTTPException("the head is too long")
        count = super().readinto(memoryview(buffer)[: self._left])
        self._left -= count
        return count


class _AnswerWriter(io.RawIOBase):
    """Bytes of an answer. A client that takes them too slowly loses the connection."""

    def __init__(self, connection: socket.socket, limits: GatewayLimits):
        self._socket = connection
        self._limits = limits

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data) -> int:
        """All of it, or :class:`TimeoutError`."""
        self._socket.settimeout(self._limits.idle_seconds + len(data) / self._limits.slowest_bytes_per_second)
        self._socket.sendall(data)
        return len(data)


def _is_file(cid: CID, block: bytes) -> bool:
    if cid.codec != DAG_PB:
        return False
    try:
        parse_file_node(block)
    except ContentError:
        return False
    return True
