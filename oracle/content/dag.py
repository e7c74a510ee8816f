"""Files as Merkle DAGs: UnixFS in dag-pb, balanced layout.

Specs: https://specs.ipfs.tech/unixfs/ and the CID profiles of IPIP-0499. A file of one chunk is that chunk's raw block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from oracle.content.cid import CID, DAG_PB, RAW, read_varint, varint
from oracle.jobs.errors import ContentError

_FILE, _RAW_NODE = 2, 0
MAX_LINKS = 16_384

Put = Callable[[CID, bytes], None]


@dataclass(frozen=True)
class Profile:
    """How bytes become blocks: CID version, raw leaves or wrapped ones, chunk size in bytes, links a node."""

    cid_version: int
    raw_leaves: bool
    chunk: int
    width: int


PROFILES = {
    "unixfs-v1-2025": Profile(1, True, 1_048_576, 1024),
    "unixfs-v0-2015": Profile(0, False, 262_144, 174),
    "kubo-v1-256k": Profile(1, True, 262_144, 174),
}
DEFAULT_PROFILE = PROFILES["unixfs-v1-2025"]


@dataclass(frozen=True)
class _Node:
    """A finished subtree: its CID, the file bytes under it, and its size with all blocks below."""

    cid: CID
    file_size: int
    total_size: int


@dataclass(frozen=True)
class FileNode:
    """A parsed UnixFS file node: bytes it carries itself, (child, file bytes below it) in order, and the file bytes
    it says there are altogether (``None`` if it does not say). The sizes are claims; whoever reads checks them."""

    data: bytes
    children: list[tuple[CID, int]]
    size: int | None


def import_file(source: bytes | BinaryIO, put: Put, profile: Profile = DEFAULT_PROFILE) -> CID:
    """Cut ``source`` into blocks, hand each to ``put`` and return the root's CID."""
    levels: list[list[_Node]] = [[]]

    def push(level: int, node: _Node) -> None:
        if level == len(levels):
            levels.append([])
        if len(levels[level]) == profile.width:
            full, levels[level] = levels[level], []
            push(level + 1, _parent(full, put, profile))
        levels[level].append(node)

    for chunk in _chunks(source, profile.chunk):
        push(0, _leaf(chunk, put, profile))
    level = 0
    # Pushing a parent may open another level, so the end is looked for anew each time.
    while level < len(levels) - 1 or len(levels[level]) > 1:
        nodes, levels[level] = levels[level], []
        if nodes:
            push(level + 1, _parent(nodes, put, profile))
        level += 1
    return levels[level][0].cid


def links_of(block: bytes) -> list[CID]:
    """CIDs a dag-pb block links to, in order. Raises :class:`ContentError`."""
    return [cid for cid, _ in _parse_node(block)[1]]


def parse_file_node(block: bytes) -> FileNode:
    """A dag-pb block as part of a UnixFS file. Raises :class:`ContentError` for anything else."""
    data, links = _parse_node(block)
    kind, inner, size, sizes = None, b"", None, []
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 2 and isinstance(value, bytes):
            inner = value
        elif number == 3 and isinstance(value, int):
            size = value
        elif number == 4 and isinstance(value, int):
            sizes.append(value)
    if kind not in (_FILE, _RAW_NODE):
        raise _malformed("it is not a file")
    if len(sizes) != len(links):
        raise _malformed("it names another number of sizes than children")
    return FileNode(inner, [(cid, below) for (cid, _), below in zip(links, sizes, strict=True)], size)


def _chunks(source: bytes | BinaryIO, size: int) -> Iterator[bytes]:
    stream = BytesIO(source) if isinstance(source, (bytes, bytearray)) else source
    chunk = _read_full(stream, size)
    yield chunk  # an empty file is one empty chunk
    while len(chunk) == size and (chunk := _read_full(stream, size)):
        yield chunk


def _read_full(stream: BinaryIO, size: int) -> bytes:
    """``size`` bytes, or what is left: a pipe gives less at a time, and chunk borders decide the CID."""
    chunk = stream.read(size)
    while chunk and len(chunk) < size and (more := stream.read(size - len(chunk))):
        chunk += more
    return chunk


def _leaf(chunk: bytes, put: Put, profile: Profile) -> _Node:
    if profile.raw_leaves:
        return _put_block(chunk, RAW, len(chunk), 0, put, profile)
    return _put_block(_dag_pb(_unixfs(chunk, len(chunk), ()), ()), DAG_PB, len(chunk), 0, put, profile)


def _parent(nodes: list[_Node], put: Put, profile: Profile) -> _Node:
    size = sum(node.file_size for node in nodes)
    block = _dag_pb(_unixfs(b"", size, [node.file_size for node in nodes]), nodes)
    return _put_block(block, DAG_PB, size, sum(node.total_size for node in nodes), put, profile)


def _put_block(block: bytes, codec: int, file_size: int, below: int, put: Put, profile: Profile) -> _Node:
    cid = CID.of(block, codec, 1 if codec == RAW else profile.cid_version)
    put(cid, block)
    return _Node(cid, file_size, below + len(block))


def _unixfs(data: bytes, file_size: int, block_sizes: Iterable[int]) -> bytes:
    out = b"\x08" + varint(_FILE)
    if data:
        out += _bytes_field(2, data)
    out += b"\x18" + varint(file_size)
    return out + b"".join(b"\x20" + varint(size) for size in block_sizes)


def _dag_pb(data: bytes, children: Iterable[_Node]) -> bytes:
    # Links come before data: the canonical order of dag-pb, older than the field numbers suggest.
    links = b""
    for child in children:
        link = _bytes_field(1, child.cid.bytes) + _bytes_field(2, b"") + b"\x18" + varint(child.total_size)
        links += _bytes_field(2, link)
    return links + _bytes_field(1, data)


def _bytes_field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def _parse_node(block: bytes) -> tuple[bytes, list[tuple[CID, int]]]:
    data, links = b"", []
    for number, value in _fields(block):
        if not isinstance(value, bytes):
            raise _malformed("a field has the wrong type")
        if number == 1:
            data = value
        elif number == 2:
            links.append(_parse_link(value))
            if len(links) > MAX_LINKS:
                raise _malformed(f"it has more than {MAX_LINKS} links")
    return data, links


def _parse_link(data: bytes) -> tuple[CID, int]:
    cid, size = None, 0
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            cid, end = CID.read(value)
            if end != len(value):
                raise _malformed("a link has trailing bytes")
        elif number == 3 and isinstance(value, int):
            size = value
    if cid is None:
        raise _malformed("a link names no CID")
    return cid, size


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of every protobuf field; only varints and byte strings occur in dag-pb."""
    position = 0
    while position < len(data):
        key, position = read_varint(data, position)
        if key & 7 == 0:
            value, position = read_varint(data, position)
            yield key >> 3, value
        elif key & 7 == 2:
            size, position = read_varint(data, position)
            if position + size > len(data):
                raise _malformed("a field is cut off")
            yield key >> 3, bytes(data[position : position + size])
            position += size
        else:
            raise _malformed("a field has an unknown type")


def _malformed(why: str) -> ContentError:
    return ContentError(f"not a usable dag-pb block: {why}", field="content")
