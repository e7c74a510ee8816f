"""A Kubo node over its RPC (https://docs.ipfs.tech/reference/kubo/rpc/), trusted with nothing.

Files are cut into blocks here and go over block by block, so that no default of the node decides a CID; each CID is
compared with the node's answer, and every block is verified on the way back. Two clients carry the calls: plain HTTP,
and ``ipfshttpclient`` for whoever has it in use.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import warnings
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any
from urllib.parse import urlencode, urlsplit

from oracle.content.cid import CID, DAG_PB, RAW
from oracle.content.dag import import_file
from oracle.content.exchange import exchange, unavailable
from oracle.content.walk import MAX_BLOCK_BYTES, read_file
from oracle.jobs.canonical import is_deeper
from oracle.jobs.errors import ContentError, ContentNotFound, ContentUnavailable, InputError

TIMEOUT_SECONDS = 15.0
"""How long a node may stay silent."""
MAX_CALL_TIMEOUTS = 4
"""How many times that one call may take altogether: a node could say a byte every few seconds for ever."""
MAX_ANSWER_BYTES = 2**20
MAX_PINS_BYTES = 64 * 2**20
MAX_ANSWER_DEPTH = 16
_PART_BYTES = 65_536
CLIENTS = ("http", "ipfshttpclient")

# Kubo calls dag-pb by its old name here. This option is the one that every version takes: nodes before 0.12 ignore
# its successor `cid-codec`, and later ones refuse both at once.
_FORMATS = {RAW: "raw", DAG_PB: "protobuf"}

Post = Callable[[str, dict[str, str], bytes | None, int], tuple[int, bytes]]
"""One RPC call: path below ``/api/v0/``, parameters, a file if any, most bytes of answer → status and body."""


class KuboStore:
    """A :class:`~oracle.content.store.ContentStore` on the Kubo node at ``api_url`` (without ``/api/v0``).

    ``authorization`` is sent as the header of that name, ``timeout`` is in seconds, ``client`` one of ``CLIENTS``.
    Whatever a node does wrong is :class:`ContentUnavailable`: it says something about the node, not the content.
    Raises :class:`InputError` for another client or one that is not installed.
    """

    def __init__(
        self,
        api_url: str,
        *,
        authorization: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        client: str = "http",
    ):
        self.name = api_url.rstrip("/")
        headers = {"Authorization": authorization} if authorization else {}
        self._post = _client(client)(self.name, headers, timeout)

    def put(self, data: bytes, *, pin: bool = True) -> CID:
        """Store ``data`` block by block. Raises :class:`ContentError` if the node names a block differently."""
        cid = import_file(data, self.put_block)
        if pin:
            self.pin(cid)
        return cid

    def get(self, cid: CID, *, max_bytes: int) -> bytes:
        """The whole file, every block verified. Raises :class:`ContentError`."""
        return read_file(self.get_block, cid, max_bytes)

    def has(self, cid: CID) -> bool:
        """Whether the node has the block itself, without asking its peers."""
        try:
            self._call("block/stat", arg=str(cid), offline="true")
        except ContentNotFound:
            return False
        return True

    def pin(self, cid: CID) -> None:
        """Pin recursively on the node."""
        self._call("pin/add", arg=str(cid), recursive="true")

    def unpin(self, cid: CID) -> None:
        """Unpin on the node; nothing happens if it was not pinned."""
        try:
            self._call("pin/rm", arg=str(cid), recursive="true")
        except ContentUnavailable as err:
            if "not pinned" not in err.message:
                raise

    def pins(self) -> Iterator[CID]:
        """What the node has pinned recursively, as far as it could be Qscrow's: a node may serve others as well."""
        keys = self._json("pin/ls", limit=MAX_PINS_BYTES, type="recursive").get("Keys") or {}
        if not isinstance(keys, dict):
            raise self._unusable("lists no pins")
        for text in keys:
            try:
                cid = CID.parse(text)
            except ContentError:
                continue
            yield cid

    def put_block(self, cid: CID, block: bytes) -> None:
        """Store one block. Raises :class:`ContentError` if it is another than ``cid`` names, here or for the node."""
        cid.verify(block)
        answer = self._json("block/put", file=block, format=_FORMATS[cid.codec], mhtype="sha2-256", pin="false")
        key = answer.get("Key")
        if not isinstance(key, str):
            raise self._unusable("names no CID")
        try:
            named = CID.parse(key)
        except ContentError:
            raise self._unusable("names no CID") from None
        # Implementations write one CID in several bases, and version 0 comes back as version 1.
        if (named.codec, named.digest) != (cid.codec, cid.digest):
            raise self._unusable(f"stored {cid} as {named}")

    def get_block(self, cid: CID) -> bytes:
        """One block, verified. Raises :class:`ContentError`."""
        block = self._call("block/get", limit=MAX_BLOCK_BYTES, arg=str(cid))
        try:
            cid.verify(block)
        except ContentError:
            raise self._unusable(f"answered with bytes that are not those of {cid}") from None
        return block

    def _json(self, path: str, *, file: bytes | None = None, limit: int = MAX_ANSWER_BYTES, **params: str) -> Any:
        body = self._call(path, file=file, limit=limit, **params)
        answer = _object(body)
        if answer is None:
            raise self._unusable("does not answer with a JSON object")
        return answer

    def _call(self, path: str, *, file: bytes | None = None, limit: int = MAX_ANSWER_BYTES, **params: str) -> bytes:
        status, body = self._post(path, params, file, limit)
        if status != 200:
            raise self._refusal(status, body)
        return body

    def _refusal(self, status: int, body: bytes) -> ContentError:
        if status in (401, 403):
            return ContentUnavailable(
                f"{self.name} refused us ({status})",
                field="KUBO_AUTHORIZATION",
                remedy="give the node's authorisation",
            )
        message = str((_object(body) or {}).get("Message", ""))[:160]
        if "not found" in message or "could not find" in message:
            return ContentNotFound(f"{self.name} does not have it ({message})", field="cid", remedy="check the link")
        return self._unusable(f"answered {status} {message}".rstrip())

    def _unusable(self, what: str) -> ContentError:
        return unavailable(self.name, what, "KUBO_API")


def _client(name: str) -> Callable[[str, dict[str, str], float], Post]:
    known = {"http": _http, "ipfshttpclient": _ipfshttpclient}
    if name not in known:
        raise InputError(f"{name!r} is not a client", field="KUBO_CLIENT", remedy=f"use {' or '.join(CLIENTS)}")
    return known[name]


def _http(url: str, headers: dict[str, str], timeout: float) -> Post:
    """Plain HTTP."""

    def post(path: str, params: dict[str, str], file: bytes | None, limit: int) -> tuple[int, bytes]:
        body, content = (None, {}) if file is None else _multipart(file)
        answer = exchange(
            "POST",
            f"{url}/api/v0/{path}?{urlencode(params)}",
            headers=headers | content,
            body=body,
            silence=timeout,
            seconds=MAX_CALL_TIMEOUTS * timeout,
            limit=limit,
            field="KUBO_API",
        )
        return answer.status, answer.body

    return post


def _multipart(file: bytes) -> tuple[bytes, dict[str, str]]:
    """The form with one file that Kubo takes uploads in (RFC 7578)."""
    boundary = secrets.token_hex(16)  # not in the file, whatever the file: nobody can guess it
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
    head += "Content-Type: application/octet-stream\r\n\r\n"
    body = head.encode() + file + f"\r\n--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def _ipfshttpclient(url: str, headers: dict[str, str], timeout: float) -> Post:
    """The ``ipfshttpclient`` package, by its ``Client``: its ``connect`` refuses every current Kubo.

    Its public calls read answers of any size into memory, so this goes one layer below them, to the method they all
    use. The package is no longer developed and its version is pinned exactly, so that layer stays where it is.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import ipfshttpclient
            from ipfshttpclient import exceptions, http_requests
        except ImportError:
            raise InputError(
                "ipfshttpclient is not installed", field="KUBO_CLIENT", remedy="pip install ipfshttpclient==0.8.0a2"
            ) from None
    base = f"{urlsplit(url).path.strip('/')}/api/v0".lstrip("/")
    identity = {"Accept-Encoding": "identity"}  # a compressed body could unpack to any size before it is counted
    client = ipfshttpclient.Client(_multiaddr(url), base, headers=headers | identity, timeout=timeout)._client
    if not isinstance(client, http_requests.ClientSync):
        raise InputError("must not be set", field="PY_IPFS_HTTP_CLIENT_PREFER_HTTPX", remedy="unset it")
    # No proxies from the environment. Errors are taken before the package reads them, however long, and redirects too.
    client._session_props.update(trust_env=False, hooks={"response": [_raise_status]})

    def post(path: str, params: dict[str, str], file: bytes | None, limit: int) -> tuple[int, bytes]:
        deadline = monotonic() + MAX_CALL_TIMEOUTS * timeout
        closables: list[Any] = []
        try:
            try:
                closables, parts = _send(client, path, params, file)
                status = 200
            except _Status as refused:
                closables, status = [refused.response], refused.response.status_code
                parts = refused.response.iter_content(_PART_BYTES)
            body = bytearray()
            for part in parts:
                body += part
                if len(body) > limit:
                    raise unavailable(url, f"sent more than {limit} bytes", "KUBO_API")
                if monotonic() > deadline:
                    raise unavailable(url, "did not finish its answer in time", "KUBO_API")
            return status, bytes(body)
        except (exceptions.Error, OSError, UnicodeError) as err:  # `requests` fails with an OSError inside a body
            raise unavailable(url, f"does not answer ({type(err).__name__})", "KUBO_API") from None
        finally:
            for closable in closables:
                closable.close()

    return post


def _send(client: Any, path: str, params: dict[str, str], file: bytes | None) -> tuple[list[Any], Iterator[bytes]]:
    from io import BytesIO

    from ipfshttpclient.multipart import stream_files

    body, headers = (None, None) if file is None else stream_files(BytesIO(file))
    with warnings.catch_warnings():  # of every call, about an argument urllib3 will drop
        warnings.simplefilter("ignore")
        return client._request(
            "POST",
            path,
            list(params.items()),
            auth=None,
            data=body,
            headers=headers,
            timeout=None,
            chunk_size=_PART_BYTES,
        )


class _Status(Exception):
    """An answer other than 200, still unread."""

    def __init__(self, response: Any):
        self.response = response


def _raise_status(response: Any, *_args: Any, **_options: Any) -> None:
    if response.status_code != 200:
        raise _Status(response)


def _multiaddr(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        kind = f"ip{ipaddress.ip_address(host).version}"
    except ValueError:
        kind = "dns"
    return f"/{kind}/{host}/tcp/{parts.port or (443 if parts.scheme == 'https' else 80)}/{parts.scheme}"


def _object(body: bytes) -> dict[str, Any] | None:
    """``body`` as a JSON object, or ``None`` if it is anything else."""
    try:
        answer = None if is_deeper(body, MAX_ANSWER_DEPTH) else json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None
