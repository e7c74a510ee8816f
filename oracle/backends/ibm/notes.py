"""What the node writes down about a run at IBM before it asks for it: enough to understand the result after a crash.

One small JSON file per intent, named by the hash of its tag. Figures and digests only, neither circuit nor counts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from oracle.jobs.errors import JournalError


class ResultKeeper(Protocol):
    """Keeps the results of private jobs, which IBM deletes once they are read: before anything else is done with
    them, and sealed, since such a job is meant for nobody else's eyes."""

    def keep(self, reference: str, answer: bytes) -> None:
        """Keep ``answer`` so that it survives a crash from the moment this returns."""

    def recall(self, reference: str) -> bytes | None:
        """What was kept."""


class Notes:
    """The folder of notes; only its owner can read them."""

    def __init__(self, folder: Path):
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as err:
            raise JournalError(f"{folder} cannot be made ({err.strerror})") from err

    def write(self, tag: str, note: Mapping[str, Any]) -> None:
        """Keep ``note``; it survives a crash from the moment this returns. Raises :class:`JournalError`."""
        path = self._path(tag)
        temporary = path.with_suffix(f".{os.getpid()}")
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump({**note, "tag": tag}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            descriptor = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as err:
            raise JournalError(f"{path} cannot be written ({err.strerror})") from err

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

    def _path(self, tag: str) -> Path:
        return self._folder / f"{hashlib.sha256(tag.encode()).hexdigest()}.json"
