"""Stores of content: what every store can do, and the embedded one on disk."""

from __future__ import annotations

import base64
import binascii
import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from oracle.content.cid import CID, DAG_PB, DIGEST_SIZE, RAW
from oracle.content.dag import import_file, links_of
from oracle.content.walk import MAX_BLOCK_BYTES, blocks_under, read_file
from oracle.jobs.errors import ContentError, ContentNotFound, ContentUnavailable

MAX_PUBLISHED_BYTES = 2**20
"""Largest object whose digest goes on chain: one raw block that every IPFS implementation takes."""
GRACE_SECONDS = 60.0
"""Blocks younger than this are never collected: their writer may be about to pin them."""
_STALE_SECONDS = 3600.0  # a file still unfinished after this belongs to a process that died
_BATCH = 256  # blocks dropped under one lock, so that writers never wait long
_UNFINISHED = ".new-"


class ContentStore(Protocol):
    """Where bytes live under their CIDs. Every read is verified."""

    def put(self, data: bytes, *, pin: bool = True) -> CID:
        """Store ``data``; up to 1 MiB it is one raw block, above a UnixFS file. Raises :class:`ContentError`."""

    def get(self, cid: CID, *, max_bytes: int) -> bytes:
        """The whole file under ``cid``.

        Raises :class:`ContentNotFound` or :class:`ContentUnavailable` if it may turn up later, and another
        :class:`ContentError` if it is larger than ``max_bytes`` or malformed and always will be.
        """

    def has(self, cid: CID) -> bool:
        """Whether the block ``cid`` is here."""

    def pin(self, cid: CID) -> None:
        """Keep ``cid`` and everything below it."""

    def unpin(self, cid: CID) -> None:
        """Stop keeping ``cid``."""

    def pins(self) -> Iterator[CID]:
        """Everything kept."""


@dataclass(frozen=True)
class Collected:
    """What a collection left and what it dropped: numbers of blocks and their bytes."""

    kept_blocks: int
    kept_bytes: int
    dropped_blocks: int
    dropped_bytes: int


def put_object(store: ContentStore, data: bytes) -> bytes:
    """Store an object whose digest goes on chain; returns the 32-byte digest. Raises :class:`ContentError`."""
    if len(data) > MAX_PUBLISHED_BYTES:
        raise ContentError(f"is {len(data)} bytes, more than the {MAX_PUBLISHED_BYTES} of one block", field="content")
    return store.put(data).digest


def get_object(store: ContentStore, digest: bytes, max_bytes: int) -> bytes:
    """The object behind a digest found on chain. Raises :class:`ContentError`."""
    return store.get(CID.from_digest(digest), max_bytes=min(max_bytes, MAX_PUBLISHED_BYTES))


_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EROFS: "mount it writable",
    errno.EMFILE: "allow more open files",
}


Needed = Callable[[], AbstractContextManager[Iterable[CID]]]
"""What is needed without being pinned, also what is not here. Asked anew for every few blocks that are to go; while
they go, the context is open, and whatever else may come to be needed can wait for its end."""


def nothing() -> AbstractContextManager[Iterable[CID]]:
    """Nothing is needed that is not pinned."""
    return nullcontext(())


class BlockStore:
    """The embedded store: one file a block under ``root``, named by its multihash.

    Safe for several processes and for a crash at any point: a block appears whole or not at all. ``max_bytes`` caps
    the blocks of all processes together. A full or failing disk raises :class:`ContentUnavailable`.
    """

    def __init__(self, root: Path, *, max_bytes: int | None = None):
        self.root = root
        self.max_bytes = max_bytes
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
        with self._disk():
            return self._path(cid).is_file()

    def put_block(self, cid: CID, block: bytes) -> None:
        """Store one block after checking that it is the one ``cid`` names; it counts as new even if it was here."""
        if len(block) > MAX_BLOCK_BYTES:
            raise ContentError(f"a block of {len(block)} bytes is too large", field="content")
        cid.verify(block)
        path = self._path(cid)
        with self._disk():
            if not self._renew(path, block):
                self._write(path, block)

    def get_block(self, cid: CID) -> bytes:
        """One block, verified. Raises :class:`ContentNotFound`, also if it is damaged: storing it again repairs it."""
        with self._disk():
            block = _read(self._path(cid))
        if block is None:
            raise ContentNotFound(f"{cid} is not in {self.root}", field="cid", remedy="check the link, or pin it here")
        try:
            cid.verify(block)
        except ContentError as err:
            raise ContentNotFound(f"{err.message} in {self.root}", field="cid", remedy="store it again") from None
        return block

    def pin(self, cid: CID) -> None:
        """See :class:`ContentStore`. Raises :class:`ContentNotFound` unless all of it is here."""
        with self._disk(), self._locked():
            for _ in blocks_under(self._skim, cid):
                pass
            (self.root / "pins" / str(_v1(cid))).touch()
            _sync_folder(self.root / "pins")

    def unpin(self, cid: CID) -> None:
        """See :class:`ContentStore`."""
        with self._disk():
            (self.root / "pins" / str(_v1(cid))).unlink(missing_ok=True)

    def pins(self) -> Iterator[CID]:
        """See :class:`ContentStore`."""
        yield from map(CID.parse, sorted(self._pin_names()))

    def used_bytes(self) -> int:
        """Bytes of all blocks here."""
        with self._disk(), self._locked():
            return self._used()

    def collect(self, needed: Needed = nothing, min_age: float = GRACE_SECONDS) -> Collected:
        """Drop every block that nobody needs and that was stored more than ``min_age`` seconds ago.

        Kept is what is pinned, what is ``needed``, and everything below either. ``min_age`` is never taken as less
        than ``GRACE_SECONDS``. Others may read, store and pin meanwhile, and a collection that dies is finished by the
        next. Raises :class:`ContentError` and drops nothing if part of something pinned is lost, because nobody can
        tell what lies below it.
        """
        oldest = time.time() - max(min_age, GRACE_SECONDS)
        pinned, marked = set[CID](), set[CID]()
        names = self._pin_names()
        self._mark(map(CID.parse, names), pinned, complete=True)
        dropped: list[int] = []
        with self._disk():
            waiting = [
                (path, digest)
                for path, digest in self._blocks()
                if _is_old(path, oldest) and not _names_any(digest, pinned)
            ]
            for start in range(0, len(waiting), _BATCH):
                with needed() as cids, self._locked():
                    self._mark(map(_v1, cids), marked, complete=False)
                    # What was pinned since must stay; what is pinned later is checked to be whole by `pin`.
                    before, names = names, self._pin_names()
                    self._mark(map(CID.parse, names - before), pinned, complete=True)
                    batch = waiting[start : start + _BATCH]
                    loose = [path for path, digest in batch if not _names_any(digest, pinned, marked)]
                    sizes = [size for path in loose if (size := _drop(path, oldest)) is not None]
                    self._set_used(self._used() - sum(sizes))
                dropped += sizes
            return self._tidy(dropped)

    def _pin_names(self) -> set[str]:
        with self._disk():
            # Hidden files are what desktops leave behind in any folder they show.
            return {name for name in os.listdir(self.root / "pins") if not name.startswith(".")}

    def _tidy(self, dropped: list[int]) -> Collected:
        """Remove what dead processes left unfinished, and count anew: a crash may have left the count off."""
        for path in self.root.glob(f"blocks/*/{_UNFINISHED}*"):
            _drop(path, time.time() - _STALE_SECONDS)
        with self._locked():
            sizes = self._sizes()
            self._set_used(sum(sizes))
        return Collected(len(sizes), sum(sizes), len(dropped), sum(dropped))

    def _mark(self, roots: Iterable[CID], needed: set[CID], *, complete: bool) -> None:
        """Add ``roots`` and all below to ``needed``; only nodes with children are read."""
        waiting = list(roots)
        while waiting:
            node = waiting.pop()
            if node in needed:
                continue
            if node.codec == DAG_PB:
                waiting += self._children(node, complete)
            needed.add(node)

    def _children(self, node: CID, complete: bool) -> list[CID]:
        try:
            block = self.get_block(node)
        except ContentNotFound:
            if not complete:
                return []
            raise ContentError(
                f"part of something pinned is lost: {node}", field=str(self.root), remedy="store it again, or unpin it"
            ) from None
        try:
            return [_v1(child) for child in links_of(block)]
        except ContentError:  # whole, but no DAG that anybody can read: nothing is below it
            return []

    def _renew(self, path: Path, block: bytes) -> bool:
        """Whether the block is here already, and then from now on young. Damaged ones are not: they get written."""
        with self._locked():
            if _read(path) != block:
                return False
            os.utime(path)
            return True

    def _write(self, path: Path, block: bytes) -> None:
        """Write beside and rename, so that no reader and no crash ever sees half a block."""
        new_folder = not path.parent.exists()
        path.parent.mkdir(exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(block)
                file.flush()
                os.fsync(file.fileno())
            with self._locked():
                self._charge(len(block) - _size(path))
                os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        # A digest goes on chain once its block is stored, so the name must survive a power failure too.
        _sync_folder(path.parent)
        if new_folder:
            _sync_folder(path.parent.parent)

    def _charge(self, size: int) -> None:
        used = self._used()
        if self.max_bytes is not None and used + size > self.max_bytes:
            raise ContentUnavailable(
                f"is full: {used} of {self.max_bytes} bytes are used", field=str(self.root), remedy="unpin what can go"
            )
        self._set_used(used + size)  # before the block: dying in between counts too much rather than too little

    def _used(self) -> int:
        """The count kept beside the blocks; made from them if there is none yet."""
        try:
            return int((self.root / "used").read_bytes())
        except (FileNotFoundError, ValueError):
            return sum(self._sizes())

    def _set_used(self, size: int) -> None:
        (self.root / "used").write_bytes(b"%020d" % size)

    def _sizes(self) -> list[int]:
        return [_size(path) for path, _ in self._blocks()]

    def _blocks(self) -> Iterator[tuple[Path, bytes]]:
        for folder in os.scandir(self.root / "blocks"):
            if folder.is_dir():
                for name in os.listdir(folder):
                    digest = _digest_in(name)
                    if digest is not None:
                        yield Path(folder.path, name), digest

    def _skim(self, cid: CID) -> bytes:
        """The block if it can have children, otherwise nothing; it must be here."""
        if cid.codec == DAG_PB:
            return self.get_block(cid)
        if not self._path(cid).is_file():
            raise ContentNotFound(f"{cid} is not in {self.root}", field="cid", remedy="store it before pinning it")
        return b""

    def _path(self, cid: CID) -> Path:
        name = base64.b32encode(cid.multihash).decode().rstrip("=")
        return self.root / "blocks" / name[-3:-1] / f"{name}.data"  # the sharding Kubo uses

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among all threads and processes; every user opens the file itself, because locks go with that."""
        with (self.root / "lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as err:
            reason = errno.errorcode.get(err.errno or 0, "unknown error")
            remedy = _REMEDIES.get(err.errno or 0, "check the folder and its permissions")
            raise ContentUnavailable(f"cannot be used ({reason})", field=str(self.root), remedy=remedy) from None


def _v1(cid: CID) -> CID:
    return CID(1, cid.codec, cid.digest)


def _names_any(digest: bytes, *cids: set[CID]) -> bool:
    """Whether one of the sets holds the block with this digest, whatever it is read as."""
    return any(CID(1, codec, digest) in some for some in cids for codec in (RAW, DAG_PB))


def _digest_in(name: str) -> bytes | None:
    """The digest in a block's file name; ``None`` for files that are something else."""
    stem, dot, ending = name.partition(".")
    if not dot or ending != "data":
        return None
    try:
        multihash = base64.b32decode(stem + "=" * (-len(stem) % 8))
    except binascii.Error:
        return None
    return multihash[2:] if len(multihash) == DIGEST_SIZE + 2 else None


def _read(path: Path) -> bytes | None:
    """What is in the file, up to one byte more than a block may have; ``None`` if there is none."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BLOCK_BYTES + 1)
    except FileNotFoundError:
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _is_old(path: Path, oldest: float) -> bool:
    try:
        return path.stat().st_mtime <= oldest
    except FileNotFoundError:
        return False


def _drop(path: Path, oldest: float) -> int | None:
    """Remove a file last stored before ``oldest`` (Unix time); answers its size, or ``None`` if it stays."""
    try:
        status = path.stat()
        if status.st_mtime > oldest:
            return None
        path.unlink()
    except FileNotFoundError:
        return None
    return status.st_size


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
