"""A Kubo RPC server over an embedded store that can be told to misbehave."""

from __future__ import annotations

import json
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

from harness.faulty import FaultyServer, Hang, Refuse, Reset, Truncated
from oracle.content.cid import CID, DAG_PB, RAW
from oracle.content.store import BlockStore
from oracle.jobs.errors import ContentError, ContentNotFound

READS = ("block/get", "cat", "dag/get")
FAULTS = (
    "hang",
    "reset",
    "error_500",
    "unauthorised_401",
    "html_garbage",
    "truncated",
    "wrong_bytes",
    "empty_body",
    "endless",
    "not_found",
    "pin_refused",
)


class FaultyKubo(FaultyServer):
    """Speaks what a node needs of https://docs.ipfs.tech/reference/kubo/rpc/ and wants ``authorization``.

    ``fault`` is one of ``FAULTS`` or empty; ``commands`` collects what was asked.
    """

    def __init__(self, store: BlockStore, authorization: str):
        self.store = store
        self.fault = ""
        self.commands: list[str] = []
        self._authorization = authorization
        super().__init__()
        self.url = f"http://127.0.0.1:{self.port}"

    def misbehave(self, fault: str = "") -> None:
        """From now on do this; nothing means: behave."""
        if fault and fault not in FAULTS:
            raise ValueError(fault)
        self.fault = fault
        self.lift()

    def respond(self, path: str, headers: Any, body: bytes) -> bytes:
        """See :class:`FaultyServer`."""
        url = urlsplit(path)
        command = url.path.removeprefix("/api/v0/")
        self.commands.append(command)
        if headers.get("Authorization") != self._authorization:
            raise Refuse(403, b"403 - Forbidden")
        self._break_down(command)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        try:
            answer = self._serve(command, query, headers, body)
        except ContentNotFound:
            raise _complaint("block was not found locally (offline): ipld: could not find node") from None
        except ContentError as err:
            raise _complaint(str(err)) from None
        if self.fault == "truncated":
            raise Truncated(answer)
        return answer

    def _break_down(self, command: str) -> None:
        broken = {
            "hang": Hang(),
            "reset": Reset(),
            "error_500": Refuse(500, b"oops"),
            "unauthorised_401": Refuse(401, b"go away"),
            "html_garbage": Refuse(200, b"<html>not what you think</html>"),
            "empty_body": Refuse(200),
        }.get(self.fault)
        if broken:
            raise broken
        if command in READS:
            answers = {"wrong_bytes": b"lies", "endless": bytes(8 * 2**20)}
            if self.fault in answers:
                raise Refuse(200, answers[self.fault])
            if self.fault == "not_found":
                raise _complaint("block was not found locally (offline): ipld: could not find node")
        if command == "pin/add" and self.fault == "pin_refused":
            raise _complaint("pin: context deadline exceeded")

    def _serve(self, command: str, query: dict[str, str], headers: Any, body: bytes) -> bytes:
        cid = CID.parse(query["arg"].removeprefix("/ipfs/")) if "arg" in query else None
        if command == "block/put":
            block = _file(headers["Content-Type"], body)
            stored = CID.of(block, DAG_PB if query.get("cid-codec") == "dag-pb" else RAW)
            self.store.put_block(stored, block)
            return _json({"Key": str(stored), "Size": len(block)})
        if command == "block/get" and cid:
            return self.store.get_block(cid)
        if command == "block/stat" and cid:
            return _json({"Key": str(cid), "Size": len(self.store.get_block(cid))})
        if command == "pin/add" and cid:
            self.store.pin(cid)
            return _json({"Pins": [str(cid)]})
        if command == "pin/rm" and cid:
            self.store.unpin(cid)
            return _json({"Pins": [str(cid)]})
        if command == "pin/ls":
            return _json({"Keys": {str(pin): {"Type": "recursive"} for pin in self.store.pins()}})
        if command == "version":
            return _json({"Version": "0.42.0", "Commit": "", "Repo": "18"})
        if command == "id":
            return _json({"ID": "12D3KooW", "AgentVersion": "kubo/0.42.0"})
        raise Refuse(404, b"404 page not found")


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _complaint(message: str) -> Refuse:
    return Refuse(500, _json({"Message": message, "Code": 0, "Type": "error"}))


def _file(content_type: str, body: bytes) -> bytes:
    """The first file in a multipart body."""
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    return message.get_payload()[0].get_payload(decode=True)
