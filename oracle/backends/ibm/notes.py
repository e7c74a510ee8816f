"""What the node writes down about a run at IBM before it asks for it: enough to understand the result after a crash.

One small JSON file per intent, named by the hash of its tag. Figures and digests only, neither circuit nor counts. The
results of private jobs are kept beside them, until the journal has them. Only the owner can read either.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from oracle.jobs.errors import JournalError


class ResultKeeper(Protocol):
    """Keeps the results of private jobs, which IBM deletes once they are read: before anything else is done with
    them, and where nobody else can read them."""

    def keep(self, reference: str, answer: bytes) -> None:
        """Keep ``answer`` so that it survives a crash from the moment this returns."""

    def recall(self, reference: str) -> bytes | None:
        """What was kept."""


class Notes:
    """The folder of notes, which is made with the first one."""

    def __init__(self, folder: Path):
        self._folder = folder

    def write(self, tag: str, note: Mapping[str, Any]) -> None:
        """Keep ``note``; it survives a crash from the moment this returns. Raises :class:`JournalError`."""
        _write(self._path(tag), json.dumps({**note, "tag": tag}).encode())

    def read(self, tag: str) -> dict[str, Any] | None:
        """The note about ``tag``. Raises :class:`JournalError` if it is damaged."""
        path = self._path(tag)
        try:
            note = json.loads(path.read_text())
            if note["tag"] == tag:
                return note
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError):
            pass
        raise JournalError(f"{path} is damaged", remedy="remove it; the run it is about will be submitted again")

    def forget(self, tag: str) -> None:
        """Remove the note about ``tag``, if there is one: its job is over."""
        self._path(tag).unlink(missing_ok=True)

    def tags(self) -> Iterator[tuple[str, float]]:
        """What there are notes about, each with the Unix time of its note. Damaged ones are left out."""
        for path in sorted(self._folder.glob("*.json")):
            with suppress(OSError, ValueError, TypeError, KeyError):
                yield str(json.loads(path.read_text())["tag"]), path.stat().st_mtime

    def _path(self, tag: str) -> Path:
        return self._folder / f"{hashlib.sha256(tag.encode()).hexdigest()}.json"


class KeptResults:
    """A :class:`ResultKeeper` in the same folder, one file per result, named by the hash of its reference."""

    def __init__(self, folder: Path):
        self._folder = folder

    def keep(self, reference: str, answer: bytes) -> None:
        """See :class:`ResultKeeper`. Raises :class:`JournalError`."""
        _write(self._path(reference), answer)

    def recall(self, reference: str) -> bytes | None:
        """See :class:`ResultKeeper`. Raises :class:`JournalError`."""
        path = self._path(reference)
        try:
            return path.read_bytes() if path.exists() else None
        except OSError as err:
            raise JournalError(f"{path} cannot be read ({err.strerror})") from err

    def drop(self, needed: Iterable[str], older_than: float) -> None:
        """Remove what was kept before a Unix time for references that are not ``needed``."""
        names = {self._path(reference) for reference in needed}
        for path in self._folder.glob(f"*{_KEPT}"):
            with suppress(OSError):
                if path not in names and path.stat().st_mtime < older_than:
                    path.unlink()

    def _path(self, reference: str) -> Path:
        return self._folder / f"{hashlib.sha256(reference.encode()).hexdigest()}{_KEPT}"


_KEPT = ".result"


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, for the owner alone, and on the disk when this returns. Raises :class:`JournalError`."""
    temporary = path.with_suffix(f"{path.suffix}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as err:
        raise JournalError(f"{path} cannot be written ({err.strerror})") from err
