"""A Kubo node over its RPC (https://docs.ipfs.tech/reference/kubo/rpc/), trusted with nothing.

CIDs are computed here first and compared with the node's answer; blocks are verified one by one on the way back. Two
clients speak the protocol: plain HTTP, and ``ipfshttpclient`` for whoever has it in use.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any, Protocol

from oracle.content.cid import CID, DAG_PB, RAW
from oracle.content.dag import import_file
from oracle.content.store import MAX_BLOCK_BYTES, read_file
from oracle.jobs.canonical import is_deeper
from oracle.jobs.errors import ContentError, ContentNotFound, ContentUnavailable

TIMEOUT_SECONDS = 15.0
MAX_ANSWER_BYTES = 4 * 2**20
MAX_ANSWER_DEPTH = 16


class KuboRpc(Protocol):
    """The calls needed of a Kubo client."""

    def block_put(self, block: bytes, codec: str) -> str:
        """Store a block; answers its CID as text."""

    def block_get(self, cid: str) -> bytes:
        """One block."""

    def has_local(self, cid: str) -> bool:
        """Whether the node has the block without asking its peers."""

    def pin_add(self, cid: str) -> None:
        """Pin recursively."""

    def pin_rm(self, cid: str) -> None:
        """Unpin."""

    def pin_ls(self) -> list[str]:
        """CIDs pinned recursively."""


class KuboStore:
    """A :class:`~oracle.content.store.ContentStore` on a Kubo node."""

    def __init__(self, rpc: KuboRpc):
        self._rpc = rpc

    def put(self, data: bytes, *, pin: bool = True) -> CID:
        """Store ``data`` block by block. Raises :class:`ContentError` if the node names a block differently."""
        cid = import_file(data, self._put_block)
        if pin:
            self.pin(cid)
        return cid

    def get(self, cid: CID, *, max_bytes: int) -> bytes:
        """The whole file, every block verified. Raises :class:`ContentError`."""
        return read_file(self._get_block, cid, max_bytes)

    def has(self, cid: CID) -> bool:
        """Whether the node has the block itself."""
        return self._rpc.has_local(str(cid))

    def pin(self, cid: CID) -> None:
        """Pin on the node."""
        self._rpc.pin_add(str(cid))

    def unpin(self, cid: CID) -> None:
        """Unpin on the node."""
        self._rpc.pin_rm(str(cid))

    def pins(self) -> Iterator[CID]:
        """What the node has pinned."""
        yield from map(CID.parse, self._rpc.pin_ls())

    def _put_block(self, cid: CID, block: bytes) -> None:
        answered = self._rpc.block_put(block, {RAW: "raw", DAG_PB: "dag-pb"}[cid.codec])
        named = CID.parse(answered)
        if named.bytes != cid.bytes:  # texts differ between implementations, bytes must not
            raise ContentError(f"the node stored {cid} as {named}", field="KUBO_API", remedy="use another node")

    def _get_block(self, cid: CID) -> bytes:
        block = self._rpc.block_get(str(cid))
        cid.verify(block)
        return block


class HttpRpc:
    """Plain HTTP. ``authorization`` is sent as the header of that name; ``url`` is the node's API address."""

    def __init__(self, url: str, *, authorization: str | None = None, timeout: float = TIMEOUT_SECONDS):
        import httpx

        headers = {"Authorization": authorization} if authorization else {}
        self._url = url.rstrip("/")
        # Proxies from the environment would send private circuits somewhere unexpected.
        self._http = httpx.Client(base_url=f"{self._url}/api/v0", headers=headers, timeout=timeout, trust_env=False)

    def block_put(self, block: bytes, codec: str) -> str:
        """See :class:`KuboRpc`."""
        answer = self._post(
            "block/put", files={"file": block}, params={"cid-codec": codec, "mhtype": "sha2-256", "pin": "false"}
        )
        return _text(answer, "Key")

    def block_get(self, cid: str) -> bytes:
        """See :class:`KuboRpc`."""
        return self._post("block/get", params={"arg": cid}, limit=MAX_BLOCK_BYTES)

    def has_local(self, cid: str) -> bool:
        """See :class:`KuboRpc`."""
        try:
            self._post("block/stat", params={"arg": cid, "offline": "true"})
        except ContentNotFound:
            return False
        return True

    def pin_add(self, cid: str) -> None:
        """See :class:`KuboRpc`."""
        self._post("pin/add", params={"arg": cid, "recursive": "true"})

    def pin_rm(self, cid: str) -> None:
        """See :class:`KuboRpc`."""
        self._post("pin/rm", params={"arg": cid})

    def pin_ls(self) -> list[str]:
        """See :class:`KuboRpc`."""
        answer = _object(self._post("pin/ls", params={"type": "recursive"}))
        return list(answer.get("Keys") or {})

    def _post(self, path: str, *, limit: int = MAX_ANSWER_BYTES, **request: Any) -> bytes:
        """The body of a POST, read up to ``limit`` bytes: a node that never stops talking is cut off."""
        import httpx

        try:
            with self._http.stream("POST", path, **request) as response:
                body = bytearray()
                for part in response.iter_bytes():
                    body += part
                    if len(body) > limit:
                        raise ContentError(f"{self._url} sent more than {limit} bytes", field="KUBO_API")
                status = response.status_code
        except httpx.HTTPError as err:
            raise ContentUnavailable(
                f"{self._url} does not answer ({type(err).__name__})",
                field="KUBO_API",
                remedy="check that the node runs",
            ) from None
        if status != 200:
            raise _refusal(self._url, status, bytes(body))
        return bytes(body)


class IpfsHttpClientRpc:
    """The ``ipfshttpclient`` package, by its ``Client``: its ``connect`` refuses every current Kubo."""

    def __init__(self, address: str, *, timeout: float = TIMEOUT_SECONDS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                import ipfshttpclient
            except ImportError:
                raise ContentError(
                    "ipfshttpclient is not installed", field="KUBO_CLIENT", remedy="pip install ipfshttpclient==0.8.0a2"
                ) from None
            self._client = ipfshttpclient.Client(address, timeout=timeout)

    def block_put(self, block: bytes, codec: str) -> str:
        """See :class:`KuboRpc`."""
        from io import BytesIO

        # `format` is what block/put called the codec before Kubo 0.9; current nodes take both.
        names = {"raw": "raw", "dag-pb": "protobuf"}
        answer = self._ask(
            "block.put", BytesIO(block), opts={"cid-codec": codec, "format": names[codec], "mhtype": "sha2-256"}
        )
        return str(answer["Key"])

    def block_get(self, cid: str) -> bytes:
        """See :class:`KuboRpc`."""
        return self._ask("block.get", cid)

    def has_local(self, cid: str) -> bool:
        """See :class:`KuboRpc`."""
        try:
            self._ask("block.stat", cid, opts={"offline": "true"})
        except ContentNotFound:
            return False
        return True

    def pin_add(self, cid: str) -> None:
        """See :class:`KuboRpc`."""
        self._ask("pin.add", cid)

    def pin_rm(self, cid: str) -> None:
        """See :class:`KuboRpc`."""
        self._ask("pin.rm", cid)

    def pin_ls(self) -> list[str]:
        """See :class:`KuboRpc`."""
        return list(self._ask("pin.ls", type="recursive")["Keys"])

    def _ask(self, name: str, *args: Any, **options: Any) -> Any:
        from ipfshttpclient import exceptions

        section, method = name.split(".")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return getattr(getattr(self._client, section), method)(*args, **options)
            except exceptions.ErrorResponse as err:
                raise _refusal("the Kubo node", 500, json.dumps({"Message": str(err)}).encode()) from None
            except exceptions.Error as err:
                raise ContentUnavailable(
                    f"the Kubo node does not answer ({type(err).__name__})",
                    field="KUBO_API",
                    remedy="check that the node runs",
                ) from None


def _refusal(url: str, status: int, body: bytes) -> ContentError:
    if status in (401, 403):
        return ContentError(
            f"{url} refused us ({status})", field="KUBO_AUTHORIZATION", remedy="give the node's authorisation"
        )
    try:
        message = str(_object(body).get("Message", ""))[:160]
    except ContentError:
        message = ""
    if "not found" in message or "could not find" in message:
        return ContentNotFound(message, field="cid")
    return ContentUnavailable(f"{url} answered {status} {message}".rstrip(), field="KUBO_API")


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = None if is_deeper(body, MAX_ANSWER_DEPTH) else json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ContentError("the node's answer is not a JSON object", field="KUBO_API", remedy="use another node")
    return answer


def _text(body: bytes, name: str) -> str:
    value = _object(body).get(name)
    if not isinstance(value, str):
        raise ContentError(f"the node's answer names no {name}", field="KUBO_API", remedy="use another node")
    return value
