"""Stores of content: what every store can do, and the embedded one on disk."""

from __future__ import annotations

import base64
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from oracle.content.cid import CID, DAG_PB, RAW, SHA2_256
from oracle.content.dag import import_file, links_of, parse_file_node
from oracle.jobs.errors import ContentError, ContentNotFound

MAX_PUBLISHED_BYTES = 2**20
"""Largest object whose digest goes on chain: one raw block that every IPFS implementation takes."""
MAX_BLOCK_BYTES = 2 * 2**20
MAX_DEPTH = 16
MAX_BLOCKS = 100_000


class ContentStore(Protocol):
    """Where bytes live under their CIDs. Every read is verified."""

    def put(self, data: bytes, *, pin: bool = True) -> CID:
        """Store ``data``; up to 1 MiB it is one raw block, above a UnixFS file. Raises :class:`ContentError`."""

    def get(self, cid: CID, *, max_bytes: int) -> bytes:
        """The whole file under ``cid``. Raises :class:`ContentNotFound`, or :class:`ContentError` if it is larger
        than ``max_bytes``, damaged or malformed."""

    def has(self, cid: CID) -> bool:
        """Whether the block ``cid`` is here."""

    def pin(self, cid: CID) -> None:
        """Keep ``cid`` and everything below it."""

    def unpin(self, cid: CID) -> None:
        """Stop keeping ``cid``."""

    def pins(self) -> Iterator[CID]:
        """Everything kept."""


def put_object(store: ContentStore, data: bytes) -> bytes:
    """Store an object whose digest goes on chain; returns the 32-byte digest. Raises :class:`ContentError`."""
    if len(data) > MAX_PUBLISHED_BYTES:
        raise ContentError(f"is {len(data)} bytes, more than the {MAX_PUBLISHED_BYTES} of one block", field="content")
    return store.put(data).digest


def get_object(store: ContentStore, digest: bytes, max_bytes: int) -> bytes:
    """The object behind a digest found on chain. Raises :class:`ContentError`."""
    return store.get(CID.from_digest(digest), max_bytes=min(max_bytes, MAX_PUBLISHED_BYTES))


def read_file(get_block: Callable[[CID], bytes], cid: CID, max_bytes: int) -> bytes:
    """Put the file under ``cid`` together from verified blocks.

    Bounded in bytes, depth and blocks: a few small blocks can name the same child again and again, and a DAG that
    expands a million-fold must cost no more than ``max_bytes``. Raises :class:`ContentError`.
    """
    out = bytearray()
    visited = 0

    def visit(node: CID, depth: int) -> int:
        nonlocal visited
        visited += 1
        if depth > MAX_DEPTH or visited > MAX_BLOCKS:
            raise ContentError(f"{cid} is too deep or has too many blocks", field="content")
        block = get_block(node)
        if node.codec == RAW:
            return append(block)
        file = parse_file_node(block)
        total = append(file.data)
        for child, promised in file.children:
            found = visit(child, depth + 1)
            if found != promised:
                raise ContentError(f"{cid} is malformed: a child has {found} bytes, not {promised}", field="content")
            total += found
        return total

    def append(data: bytes) -> int:
        if len(out) + len(data) > max_bytes:
            raise ContentError(f"{cid} is more than the {max_bytes} bytes allowed", field="content")
        out.extend(data)
        return len(data)

    visit(cid, 0)
    return bytes(out)


class BlockStore:
    """The embedded store: one file a block under ``root``, named by its multihash. Safe for several processes."""

    def __init__(self, root: Path):
        self.root = root
        with self._disk():
            (root / "blocks").mkdir(parents=True, exist_ok=True)
            (root / "pins").mkdir(exist_ok=True)

    def put(self, data: bytes, *, pin: bool = True) -> CID:
        """See :class:`ContentStore`."""
        cid = import_file(data, self.put_block)
        if pin:
            self.pin(cid)
        return cid

    def get(self, cid: CID, *, max_bytes: int) -> bytes:
        """See :class:`ContentStore`."""
        return read_file(self.get_block, cid, max_bytes)

    def has(self, cid: CID) -> bool:
        """See :class:`ContentStore`."""
        return self._path(cid).is_file()

    def put_block(self, cid: CID, block: bytes) -> None:
        """Store one block after checking that it is the one ``cid`` names."""
        if len(block) > MAX_BLOCK_BYTES:
            raise ContentError(f"a block of {len(block)} bytes is too large", field="content")
        cid.verify(block)
        path = self._path(cid)
        with self._disk():
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                _write_durably(path, block)

    def get_block(self, cid: CID) -> bytes:
        """One block, verified. Raises :class:`ContentNotFound`, or :class:`ContentError` if it is damaged."""
        try:
            with self._disk(), self._path(cid).open("rb") as file:
                block = file.read(MAX_BLOCK_BYTES + 1)
        except FileNotFoundError:
            raise ContentNotFound(
                f"{cid} is not in {self.root}", field="cid", remedy="check the link, or pin it here"
            ) from None
        cid.verify(block)
        return block

    def pin(self, cid: CID) -> None:
        """See :class:`ContentStore`."""
        with self._disk():
            (self.root / "pins" / str(_v1(cid))).touch()

    def unpin(self, cid: CID) -> None:
        """See :class:`ContentStore`."""
        with self._disk():
            (self.root / "pins" / str(_v1(cid))).unlink(missing_ok=True)

    def pins(self) -> Iterator[CID]:
        """See :class:`ContentStore`."""
        for path in sorted((self.root / "pins").iterdir()):
            yield CID.parse(path.name)

    def blocks_under(self, cid: CID) -> Iterator[tuple[CID, bytes]]:
        """Every block below ``cid`` once, parents first."""
        seen, waiting = set(), [cid]
        while waiting:
            node = waiting.pop()
            if node.digest in seen:
                continue
            seen.add(node.digest)
            block = self.get_block(node)
            yield node, block
            if node.codec == DAG_PB:
                waiting.extend(reversed(links_of(block)))

    def _path(self, cid: CID) -> Path:
        multihash = bytes((SHA2_256, len(cid.digest))) + cid.digest
        name = base64.b32encode(multihash).decode().rstrip("=")
        return self.root / "blocks" / name[-3:-1] / f"{name}.data"  # the sharding Kubo uses

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as err:
            reason = errno.errorcode.get(err.errno or 0, "unknown error")
            remedy = "free some space" if err.errno == errno.ENOSPC else "check its permissions"
            raise ContentError(f"cannot be used ({reason})", field=str(self.root), remedy=remedy) from None


def _v1(cid: CID) -> CID:
    return CID(1, cid.codec, cid.digest)


def _write_durably(path: Path, data: bytes) -> None:
    """Write beside and rename, so that no reader and no crash ever sees half a block."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
