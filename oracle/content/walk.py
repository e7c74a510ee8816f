"""Files and DAGs put together from single blocks, bounded whatever the blocks say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic

from oracle.content.cid import CID, DAG_PB, RAW
from oracle.content.dag import FileNode, links_of, parse_file_node
from oracle.jobs.errors import ContentError, ContentUnavailable

MAX_BLOCK_BYTES = 2 * 2**20
MAX_DEPTH = 16
MAX_BLOCKS = 100_000
MAX_FRAMING = 4
"""Bytes of blocks fetched per byte of file allowed: even 32-byte chunks, each with its link, need less."""


def read_file(get_block: Callable[[CID], bytes], cid: CID, max_bytes: int, *, seconds: float | None = None) -> bytes:
    """Put the file under ``cid`` together from verified blocks.

    Bounded in bytes, depth and blocks: a few small blocks can name the same child again and again, and a DAG that
    expands a million-fold must cost no more than a small multiple of ``max_bytes``, also if it expands to nothing.
    Raises :class:`ContentError`, and :class:`ContentUnavailable` if it takes more than ``seconds``.
    """
    out = bytearray()
    visited = fetched = 0
    deadline = None if seconds is None else monotonic() + seconds

    def visit(node: CID, depth: int) -> int:
        nonlocal visited, fetched
        if depth > MAX_DEPTH or visited >= MAX_BLOCKS or fetched > MAX_FRAMING * (max_bytes + MAX_BLOCK_BYTES):
            raise ContentError(f"{cid} is too deep or has too many blocks", field="content")
        if deadline is not None and monotonic() > deadline:
            raise ContentUnavailable(f"{cid} did not arrive in {seconds:.0f} seconds", field="content")
        block = get_block(node)
        visited, fetched = visited + 1, fetched + len(block)
        return append(block) if node.codec == RAW else visit_children(parse_file_node(block), depth)

    def visit_children(file: FileNode, depth: int) -> int:
        total = append(file.data)
        # What is promised is not believed, but a file that says it is too large need not be fetched to find out.
        expect_room(sum(promised for _, promised in file.children))
        for child, promised in file.children:
            found = visit(child, depth + 1)
            if found != promised:
                raise ContentError(f"{cid} is malformed: a child has {found} bytes, not {promised}", field="content")
            total += found
        if file.size not in (None, total):
            raise ContentError(f"{cid} is malformed: it has {total} bytes, not {file.size}", field="content")
        return total

    def append(data: bytes) -> int:
        expect_room(len(data))
        out.extend(data)
        return len(data)

    def expect_room(size: int) -> None:
        if len(out) + size > max_bytes:
            raise ContentError(f"{cid} is more than the {max_bytes} bytes allowed", field="content")

    visit(cid, 0)
    return bytes(out)


def blocks_under(get_block: Callable[[CID], bytes], root: CID) -> Iterator[tuple[CID, bytes]]:
    """``root`` and every block below it once, parents first, depth first: the order of a CAR file.

    Raises :class:`ContentError`, also for more than ``MAX_BLOCKS`` blocks.
    """
    seen, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        # The codec belongs to the key: the same bytes may be a leaf in one place and a node with children in another.
        if (node.codec, node.digest) in seen:
            continue
        if len(seen) >= MAX_BLOCKS:
            raise ContentError(f"{root} has more than {MAX_BLOCKS} blocks", field="content")
        seen.add((node.codec, node.digest))
        block = get_block(node)
        yield node, block
        if node.codec == DAG_PB:
            waiting.extend(reversed(links_of(block)))
