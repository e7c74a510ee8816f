"""Several places with the same content, and a local store in front of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Protocol, TypeVar

from oracle.content.cid import CID
from oracle.content.dag import import_file
from oracle.content.store import BlockStore, ContentStore
from oracle.content.walk import blocks_under, read_file
from oracle.jobs.errors import ContentError, ContentNotFound, ContentUnavailable

MAX_GET_SECONDS = 600.0
"""How long one file may take, whatever its number of blocks and places."""
MAX_REST_SECONDS = 60.0
MAX_OWED = 10_000
"""Uploads remembered for places that missed them."""
MAX_OWED_BYTES = 64 * 2**20
_PAID_AT_ONCE = 16  # so that one upload never turns into an hour of catching up

T = TypeVar("T")


class Place(ContentStore, Protocol):
    """A store somewhere else. ``name`` is fit for messages: no secrets."""

    name: str

    def get_block(self, cid: CID) -> bytes:
        """One block, verified. Raises :class:`ContentError`."""


class Mirrors:
    """A :class:`~oracle.content.store.ContentStore` spread over ``places``.

    Uploads go to every place and succeed if at least one took them; what the others missed is remembered in the
    folder ``owed`` and made good with later uploads or by :meth:`retry`. Reads take the first good answer. A place
    that fails rests for a second, then two, up to a minute. ``source`` is asked first for uploads to make good;
    ``clock`` is in seconds.
    """

    def __init__(
        self,
        places: Sequence[Place],
        owed: Path,
        *,
        source: ContentStore | None = None,
        clock: Callable[[], float] = monotonic,
    ):
        self._places = list(places)
        self._owed = owed
        self._source = source
        self._clock = clock
        self._failures = dict.fromkeys(range(len(self._places)), 0)
        self._rests_until = dict.fromkeys(range(len(self._places)), 0.0)

    def put(self, data: bytes, *, pin: bool = True) -> CID:
        """Upload to every place. Raises :class:`ContentError` if none takes it."""
        cid = import_file(data, lambda *_: None)
        problems = self._everywhere(lambda place: place.put(data, pin=pin))
        for number, place in enumerate(self._places):
            if number not in problems:
                self._note(place, cid).unlink(missing_ok=True)
            elif isinstance(problems[number], ContentUnavailable):
                self._owe(place, cid, pin)
        self._raise_if_none(problems)
        self.retry(_PAID_AT_ONCE)
        return cid

    def get(self, cid: CID, *, max_bytes: int) -> bytes:
        """The whole file, every block verified. Raises :class:`ContentError`."""
        return read_file(self.get_block, cid, max_bytes, seconds=MAX_GET_SECONDS)

    def has(self, cid: CID) -> bool:
        """Whether a place has the block. Raises :class:`ContentUnavailable` if none has and not all could say."""
        found: list[bool] = []
        problems = self._everywhere(lambda place: found.append(place.has(cid)))
        if not any(found) and problems:
            raise next(iter(problems.values()))
        return any(found)

    def pin(self, cid: CID) -> None:
        """Pin in every place. Raises :class:`ContentError` if none does."""
        self._raise_if_none(self._everywhere(lambda place: place.pin(cid)))

    def unpin(self, cid: CID) -> None:
        """Unpin in every place. Raises :class:`ContentError` if none does."""
        self._raise_if_none(self._everywhere(lambda place: place.unpin(cid)))

    def pins(self) -> Iterator[CID]:
        """What any place that answers has pinned."""
        found: set[CID] = set()
        self._raise_if_none(self._everywhere(lambda place: found.update(place.pins())))
        yield from sorted(found, key=str)

    def get_block(self, cid: CID) -> bytes:
        """One block from the first place that has it, verified.

        Raises :class:`ContentNotFound` if every place says it has none, otherwise :class:`ContentUnavailable`.
        """
        problem: ContentError | None = None
        for number, place in enumerate(self._places):
            try:
                return self._ask(number, lambda place=place: place.get_block(cid))
            except ContentNotFound:
                continue
            except ContentError as err:
                problem = err
        if problem is not None:
            raise problem
        names = ", ".join(place.name for place in self._places)
        raise ContentNotFound(f"{cid} is not at {names}", field="cid", remedy="check the link")

    def owed(self) -> dict[str, int]:
        """How many uploads each place has missed and not been given since, by its name."""
        return {place.name: len(self._owed_to(place)) for place in self._places}

    def retry(self, limit: int = MAX_OWED) -> int:
        """Give every place that is not resting up to ``limit`` uploads it missed; answers how many it took."""
        return sum(self._pay(number, place, limit) for number, place in enumerate(self._places))

    def _pay(self, number: int, place: Place, limit: int) -> int:
        paid = 0
        for note in self._owed_to(place)[:limit]:
            cid = CID.parse(note.name.partition(".")[0])
            try:
                data, pin = self._reread(cid), note.read_bytes() == b"pin"
                self._ask(number, lambda data=data, pin=pin: place.put(data, pin=pin))
            except (ContentUnavailable, OSError):
                break
            except ContentError:  # gone everywhere, or never to be taken: nothing to be done about it
                note.unlink(missing_ok=True)
                continue
            note.unlink(missing_ok=True)
            paid += 1
        return paid

    def _reread(self, cid: CID) -> bytes:
        if self._source is not None:
            with suppress(ContentNotFound):
                return self._source.get(cid, max_bytes=MAX_OWED_BYTES)
        return self.get(cid, max_bytes=MAX_OWED_BYTES)

    def _owe(self, place: Place, cid: CID, pin: bool) -> None:
        """Best effort: the upload has its copies elsewhere."""
        with suppress(OSError):
            self._owed.mkdir(parents=True, exist_ok=True)
            if sum(1 for _ in self._owed.iterdir()) < MAX_OWED:
                self._note(place, cid).write_bytes(b"pin" if pin else b"")

    def _owed_to(self, place: Place) -> list[Path]:
        return sorted(self._owed.glob(f"*.{_short(place)}"))

    def _note(self, place: Place, cid: CID) -> Path:
        return self._owed / f"{cid}.{_short(place)}"

    def _everywhere(self, action: Callable[[Place], object]) -> dict[int, ContentError]:
        """Do it in all places at once; what went wrong, by the place's number."""

        def attempt(number: int) -> ContentError | None:
            try:
                self._ask(number, lambda: action(self._places[number]))
            except ContentError as err:
                return err
            return None

        with ThreadPoolExecutor(len(self._places)) as pool:
            outcomes = list(pool.map(attempt, range(len(self._places))))
        return {number: problem for number, problem in enumerate(outcomes) if problem is not None}

    def _raise_if_none(self, problems: dict[int, ContentError]) -> None:
        if len(problems) == len(self._places):
            raise problems[0]

    def _ask(self, number: int, action: Callable[[], T]) -> T:
        """Do it unless the place rests, and let it rest if it fails."""
        left = self._rests_until[number] - self._clock()
        if left > 0:
            raise ContentUnavailable(
                f"{self._places[number].name} failed {self._failures[number]} times and rests for {left:.0f} s",
                field="content",
                remedy="check that it runs",
            )
        try:
            result = action()
        except ContentUnavailable:
            self._failures[number] += 1
            rest = min(2.0 ** min(self._failures[number] - 1, 10), MAX_REST_SECONDS)
            self._rests_until[number] = self._clock() + rest
            raise
        self._failures[number] = 0
        return result


class CachedStore:
    """A :class:`~oracle.content.store.ContentStore`: ``local`` first, then ``uploads``, then ``mirrors``.

    What is found elsewhere is kept here too, unpinned. ``uploads`` holds what strangers handed to this machine's
    gateway; it is only read. Writing stores here and uploads to the mirrors. With ``uploads`` this machine serves what
    it holds, so that a write succeeds even if no mirror takes it; otherwise one must.
    """

    def __init__(self, local: BlockStore, mirrors: Mirrors | None, *, uploads: BlockStore | None = None):
        self.local = local
        self.mirrors = mirrors
        self.uploads = uploads

    def put(self, data: bytes, *, pin: bool = True) -> CID:
        """Store here and upload. Raises :class:`ContentError`."""
        cid = self.local.put(data, pin=pin)
        if self.mirrors is not None:
            try:
                self.mirrors.put(data, pin=pin)
            except ContentUnavailable:
                if self.uploads is None:
                    raise
        return cid

    def get(self, cid: CID, *, max_bytes: int) -> bytes:
        """The whole file, every block verified. Raises :class:`ContentError`."""
        return read_file(self.get_block, cid, max_bytes, seconds=MAX_GET_SECONDS)

    def has(self, cid: CID) -> bool:
        """Whether the block is here, or with a mirror."""
        here = self.local.has(cid) or (self.uploads is not None and self.uploads.has(cid))
        return here or (self.mirrors is not None and self.mirrors.has(cid))

    def pin(self, cid: CID) -> None:
        """Fetch what is missing, and keep all of it here."""
        for _ in blocks_under(self.get_block, cid):
            pass
        self.local.pin(cid)

    def unpin(self, cid: CID) -> None:
        """Stop keeping it, here and where it was uploaded to."""
        self.local.unpin(cid)
        if self.mirrors is not None:
            with suppress(ContentUnavailable):
                self.mirrors.unpin(cid)

    def pins(self) -> Iterator[CID]:
        """Everything kept here."""
        return self.local.pins()

    def get_block(self, cid: CID) -> bytes:
        """One block, verified. Raises :class:`ContentError`."""
        try:
            return self.local.get_block(cid)
        except ContentError as err:
            missing = err
        for place in self._elsewhere():
            try:
                block = place.get_block(cid)
            except ContentNotFound:
                continue
            with suppress(ContentError):  # no room to keep it is no reason not to read it
                self.local.put_block(cid, block)
            return block
        raise missing

    def _elsewhere(self) -> Iterable[BlockStore | Mirrors]:
        return [place for place in (self.uploads, self.mirrors) if place is not None]


def _short(place: Place) -> str:
    """A file name for the place's name."""
    return hashlib.sha256(place.name.encode()).hexdigest()[:12]
