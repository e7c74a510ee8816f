"""CARv1 archives: a DAG in one file, believed in nothing. Spec: https://ipld.io/specs/transport/car/carv1/

An archive is a header naming its roots and then blocks, each behind its length and CID. What Qscrow writes is what a
trustless gateway sends for ``dag-scope=all; order=dfs; dups=n``; what it reads may come in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import BinaryIO, Protocol

from oracle.content.cid import CID, read_varint, varint
from oracle.content.walk import MAX_BLOCK_BYTES, MAX_BLOCKS, blocks_under
from oracle.jobs.errors import ContentError, ContentNotFound

MAX_ROOTS = 23
"""Roots an archive may name: as many as fit a CBOR array of the shortest form."""
MAX_HEADER_BYTES = 4096
_MAX_CID_BYTES = 64
# The header is DAG-CBOR, whose one allowed encoding of {"roots": [CID], "version": 1} leaves nothing to choose.
_HEADER_START, _HEADER_END = b"\xa2\x65roots", b"\x67version\x01"
_ARRAY, _LINK = 0x80, b"\xd8\x2a\x58"  # tag 42 on a byte string with one byte of length
_CAR_2 = b"\xa1\x67version\x02"


class Blocks(Protocol):
    """What a store must do to be exported from and imported into."""

    def get_block(self, cid: CID) -> bytes:
        """One verified block. Raises :class:`ContentError`."""

    def put_block(self, cid: CID, block: bytes) -> None:
        """Store one block. Raises :class:`ContentError`."""

    def pin(self, cid: CID) -> None:
        """Keep ``cid`` and everything below it."""


def export_car(store: Blocks, root: CID, out: BinaryIO) -> int:
    """Write ``root`` and everything below it to ``out``; answers the number of blocks.

    Raises :class:`ContentError`, for example if a block is missing; ``out`` is then incomplete.
    """
    count = 0
    for part in car_parts([root], blocks_under(store.get_block, root)):
        out.write(part)
        count += 1
    return count - 1  # the first part is the header


def import_car(
    store: Blocks, source: bytes | BinaryIO, root: CID | None = None, *, max_bytes: int, pin: bool = True
) -> CID:
    """Store the DAG under ``root`` out of an archive of at most ``max_bytes``; answers the root.

    Every block is hashed, and everything below the root must be in the archive: nothing is stored before both are
    certain. Blocks outside the DAG are left out. Without ``root`` the archive must name exactly one, and whoever
    expects a certain one compares it. Raises :class:`ContentError`.
    """
    archive = CarReader(BytesIO(source) if isinstance(source, bytes) else source, max_bytes)
    if root is None:
        if len(archive.roots) != 1:
            raise _malformed(f"it names {len(archive.roots)} roots, not one")
        root = archive.roots[0]
    held = {cid.digest: block for cid, block in archive}
    wanted = list(blocks_under(lambda cid: _take(held, cid), root))
    for cid, block in reversed(wanted):  # children first: whoever finds the root finds all of it
        store.put_block(cid, block)
    if pin:
        store.pin(root)
    return root


def car_parts(roots: Sequence[CID], blocks: Iterable[tuple[CID, bytes]]) -> Iterator[bytes]:
    """An archive piece by piece: the header, then one piece a block."""
    yield car_header([root.bytes for root in roots])
    for cid, block in blocks:
        yield varint(len(cid.bytes) + len(block)) + cid.bytes + block


def car_header(roots: Sequence[bytes]) -> bytes:
    """The header of an archive with these binary CIDs for roots, behind its length."""
    links = b"".join(_link(root) for root in roots)
    header = _HEADER_START + bytes((_ARRAY + len(roots),)) + links + _HEADER_END
    return varint(len(header)) + header


class CarReader:
    """An archive as it comes: :attr:`roots`, then iterate over (CID, verified block).

    Never holds more than one block, reads at most ``max_bytes``, and raises :class:`ContentError` for anything that
    is not an archive, is cut off, or holds a block that is not the one its CID names. ``roots`` are a claim.
    """

    def __init__(self, stream: BinaryIO, max_bytes: int):
        self._stream = stream
        self._left = self._max_bytes = max_bytes
        header = self._section(MAX_HEADER_BYTES)
        if header is None:
            raise _malformed("it is empty")
        self.roots = _roots(header)

    def __iter__(self) -> Iterator[tuple[CID, bytes]]:
        count = 0
        while (section := self._section(MAX_BLOCK_BYTES + _MAX_CID_BYTES)) is not None:
            count += 1
            if count > MAX_BLOCKS:
                raise _malformed(f"it has more than {MAX_BLOCKS} blocks")
            cid, start = CID.read(section)
            block = section[start:]
            if len(block) > MAX_BLOCK_BYTES:
                raise _malformed(f"a block has {len(block)} bytes")
            cid.verify(block)
            yield cid, block

    def _section(self, limit: int) -> bytes | None:
        """What is behind the next length; ``None`` at the end of the stream."""
        size = self._size()
        if size is None:
            return None
        if not 0 < size <= limit:
            raise _malformed(f"a part of it has {size} bytes")
        return self._read(size)

    def _size(self) -> int | None:
        prefix = b""
        while not prefix or prefix[-1] & 0x80:
            byte = self._stream.read(1)
            if not byte and not prefix:
                return None
            if not byte or len(prefix) == 9:
                raise _malformed("it is cut off")
            prefix += byte
            self._spend(1)
        return read_varint(prefix, 0)[0]

    def _read(self, size: int) -> bytes:
        self._spend(size)
        out = bytearray()
        while len(out) < size:  # a pipe or a socket gives what it has
            part = self._stream.read(size - len(out))
            if not part:
                raise _malformed("it is cut off")
            out += part
        return bytes(out)

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ContentError(f"is more than the {self._max_bytes} bytes allowed", field="car")


def _link(cid: bytes) -> bytes:
    link = b"\x00" + cid
    # CBOR writes lengths below 24 into the type byte itself; only the probe CID is that short.
    head = _LINK[:2] + bytes((0x40 + len(link),)) if len(link) < 24 else _LINK + bytes((len(link),))
    return head + link


def _roots(header: bytes) -> list[CID]:
    if header == _CAR_2:
        raise ContentError("is a CARv2 archive", field="car", remedy="export it as CARv1")
    position = len(_HEADER_START)
    count = header[position] - _ARRAY if header.startswith(_HEADER_START) and len(header) > position else -1
    if not 0 <= count <= MAX_ROOTS:
        raise _malformed("its header is not that of CARv1")
    roots, position = [], position + 1
    for _ in range(count):
        root, end = CID.read(header, position + len(_LINK) + 2)
        if header[position:end] != _link(root.bytes):
            raise _malformed("its header names no usable roots")
        roots.append(root)
        position = end
    if header[position:] != _HEADER_END:
        raise _malformed("its header is not that of CARv1")
    return roots


def _take(archive: dict[bytes, bytes], cid: CID) -> bytes:
    block = archive.get(cid.digest)
    if block is None:
        raise ContentNotFound(f"the archive lacks {cid}", field="car", remedy="export it again, complete")
    return block


def _malformed(why: str) -> ContentError:
    return ContentError(f"not a usable CAR archive: {why}", field="car", remedy="export it again")
