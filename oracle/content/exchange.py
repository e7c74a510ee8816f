"""One HTTP exchange that is over in bounded time and space, whatever the other side does.

Nothing is followed, unpacked or fetched on the way: no redirects, no proxies from the environment (they would send
private circuits somewhere unexpected), no compression (a small body could unpack to any size).
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from urllib.parse import urlsplit

from oracle.jobs.errors import ContentError, ContentUnavailable

_PART_BYTES = 65_536


@dataclass(frozen=True)
class Answer:
    """What came back: HTTP status, headers by lower-case name, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TimedReader(io.RawIOBase):
    """Bytes off a socket: each within ``silence`` seconds of the last, all before ``deadline`` (monotonic).

    A socket's own timeout starts anew with every byte, so that a peer could keep a reader for days.
    """

    def __init__(self, connection: socket.socket, silence: float, deadline: float):
        self.deadline = deadline
        self._socket = connection
        self._silence = silence

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer) -> int:
        """See :class:`io.RawIOBase`. Raises :class:`TimeoutError`."""
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimeoutError("out of time")
        self._socket.settimeout(min(self._silence, left))
        return self._socket.recv_into(buffer)


def exchange(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    silence: float,
    seconds: float,
    limit: int,
    field: str,
) -> Answer:
    """Send one request and read the answer: at most ``limit`` bytes of body, in ``seconds`` altogether.

    ``silence`` is how many seconds the other side may say nothing; ``field`` names the setting in errors. Raises
    :class:`ContentUnavailable`, also for an answer that is too long: it says nothing about the content.
    """
    deadline = monotonic() + seconds
    name = _without_query(url)
    try:
        connection = _connect(url, silence)
        plain = connection.sock
        try:
            connection.sock = _Timed(plain, silence, deadline)  # type: ignore[assignment]
            connection.request(method, _target(url), body, {"Connection": "close", **headers})
            response = connection.getresponse()
            found = _read(response, limit)
        finally:
            plain.close()
    # A host name that cannot be one fails in the resolver's encoding; TLS errors are OSErrors.
    except (OSError, http.client.HTTPException, UnicodeError, ValueError) as err:
        raise unavailable(name, f"does not answer ({type(err).__name__})", field) from None
    if found is None:
        raise unavailable(name, f"sent more than {limit} bytes", field)
    return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, found)


def unavailable(name: str, what: str, field: str) -> ContentError:
    """The error for a service called ``name`` that cannot be used now."""
    return ContentUnavailable(f"{name} {what}", field=field, remedy="check that it runs, or use another")


class _Timed:
    """As much of a socket as :mod:`http.client` needs."""

    def __init__(self, connection: socket.socket, silence: float, deadline: float):
        self._socket = connection
        self._reader = TimedReader(connection, silence, deadline)

    def makefile(self, *_args, **_options) -> io.BufferedReader:
        return io.BufferedReader(self._reader)

    def sendall(self, data: bytes) -> None:
        # The timeout of `sendall` is that of the whole call.
        self._socket.settimeout(max(self._reader.deadline - monotonic(), 0.001))
        self._socket.sendall(data)

    def close(self) -> None:
        """Not yet: http.client closes before it reads the body."""


def _connect(url: str, timeout: float) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=timeout, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    connection.connect()
    return connection


def _target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"


def _without_query(url: str) -> str:
    return url.partition("?")[0]


def _read(response: http.client.HTTPResponse, limit: int) -> bytes | None:
    """The body, or ``None`` if it is longer than ``limit``."""
    if response.length is not None and response.length > limit:
        return None
    body = bytearray()
    while part := response.read(_PART_BYTES):
        body += part
        if len(body) > limit:
            return None
    if response.length:  # the promised length, less what came
        raise http.client.IncompleteRead(bytes(body[:0]))
    return bytes(body)
