"""A trustless gateway as a store: read block by block and verified, written through Qscrow's upload route.

Specs: https://specs.ipfs.tech/http-gateways/trustless-gateway/ for reading, docs/content.md for uploading.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from oracle.content.car import car_parts
from oracle.content.cid import CID, RAW
from oracle.content.dag import import_file
from oracle.content.exchange import Answer, exchange, unavailable
from oracle.content.walk import MAX_BLOCK_BYTES, read_file
from oracle.jobs.canonical import is_deeper
from oracle.jobs.errors import ContentError, ContentNotFound

UPLOAD_PATH = "/api/qscrow/v0/blocks"
RAW_TYPE, CAR_TYPE = "application/vnd.ipld.raw", "application/vnd.ipld.car"
TIMEOUT_SECONDS = 15.0
"""How long a gateway may stay silent."""
EXCHANGE_SECONDS = 60.0
"""How long one block, or one upload, may take altogether."""
MAX_ANSWER_BYTES = 65_536
_MAX_ANSWER_DEPTH = 8


class GatewayStore:
    """A :class:`~oracle.content.store.ContentStore` behind the gateway at ``url``.

    Any gateway can be read; uploads need Qscrow's. A gateway keeps uploads only for a while unless a job needs them,
    so pinning does nothing here. Whatever a gateway does wrong is :class:`ContentUnavailable`.
    """

    def __init__(self, url: str, *, timeout: float = TIMEOUT_SECONDS, seconds: float = EXCHANGE_SECONDS):
        self.name = url.rstrip("/")
        self._timeout = timeout
        self._seconds = seconds

    def put(self, data: bytes, *, pin: bool = True) -> CID:
        """Upload ``data``. Raises :class:`ContentError` if the gateway does not take it."""
        blocks: dict[CID, bytes] = {}
        cid = import_file(data, blocks.__setitem__)
        if cid.codec == RAW:
            kind, body = RAW_TYPE, data
        else:
            kind, body = CAR_TYPE, b"".join(car_parts([cid], blocks.items()))
        answer = self._exchange("POST", UPLOAD_PATH, {"Content-Type": kind}, body, MAX_ANSWER_BYTES)
        if answer.status not in (200, 201):
            raise self._refusal(answer, "the upload")
        if _cid_in(answer.body) != cid:
            raise self._unusable(f"stored {cid} as something else")
        return cid

    def get(self, cid: CID, *, max_bytes: int) -> bytes:
        """The whole file, every block verified. Raises :class:`ContentError`."""
        return read_file(self.get_block, cid, max_bytes)

    def has(self, cid: CID) -> bool:
        """Whether the gateway has the block."""
        answer = self._exchange("HEAD", _path(cid), {"Accept": RAW_TYPE}, None, MAX_BLOCK_BYTES)
        if answer.status == 200:
            return True
        refusal = self._refusal(answer, str(cid))
        if isinstance(refusal, ContentNotFound):
            return False
        raise refusal

    def pin(self, cid: CID) -> None:
        """Nothing: the gateway decides what it keeps."""

    def unpin(self, cid: CID) -> None:
        """Nothing: the gateway decides what it keeps."""

    def pins(self) -> Iterator[CID]:
        """Nothing: gateways do not say."""
        return iter(())

    def get_block(self, cid: CID) -> bytes:
        """One block, verified. Raises :class:`ContentError`."""
        answer = self._exchange("GET", _path(cid), {"Accept": RAW_TYPE}, None, MAX_BLOCK_BYTES)
        if answer.status != 200:
            raise self._refusal(answer, str(cid))
        try:
            cid.verify(answer.body)
        except ContentError:
            raise self._unusable(f"answered with bytes that are not those of {cid}") from None
        return answer.body

    def _exchange(self, method: str, path: str, headers: dict[str, str], body: bytes | None, limit: int) -> Answer:
        return exchange(
            method,
            self.name + path,
            headers=headers,
            body=body,
            silence=self._timeout,
            seconds=self._seconds,
            limit=limit,
            field="QSCROW_GATEWAYS",
        )

    def _refusal(self, answer: Answer, what: str) -> ContentError:
        if answer.status in (404, 410, 412):
            return ContentNotFound(f"{self.name} does not have {what}", field="cid", remedy="check the link")
        if answer.status == 413:
            return ContentError(f"is more than {self.name} takes", field="content", remedy="make it smaller")
        return self._unusable(f"answered {answer.status} to {what}")

    def _unusable(self, what: str) -> ContentError:
        return unavailable(self.name, what, "QSCROW_GATEWAYS")


def _path(cid: CID) -> str:
    return f"/ipfs/{cid}?format=raw"


def _cid_in(body: bytes) -> CID | None:
    try:
        answer = None if is_deeper(body, _MAX_ANSWER_DEPTH) else json.loads(body)
        return CID.parse(answer["cid"]) if isinstance(answer, dict) else None
    except (ValueError, KeyError, ContentError):
        return None
