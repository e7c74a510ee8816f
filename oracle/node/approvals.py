"""An operator's word on single jobs, in a folder beside the journal: the node asks, a person answers, files remember.

A file for each, so that a person can answer while the node has its journal to itself. An answer is for the very terms
that were asked about: another job that a reorganisation gives the same number has to be asked about again.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from oracle.jobs.canonical import parse_json
from oracle.jobs.errors import InputError, JournalError
from oracle.node.logs import event

MAX_FILE_BYTES = 16 * 1024


@dataclass(frozen=True)
class Request:
    """What is asked: may this job run? ``causes`` say why a person is asked.

    ``terms`` is the hash of its terms in hex, ``budget`` in wei. ``approved`` is the
    answer, ``None`` until there is one; ``note`` is the person's; times are Unix seconds.
    """

    job_id: int
    terms: str
    requester: str
    family: str
    budget: str
    causes: str
    asked: float
    approved: bool | None = None
    answered: float = 0.0
    note: str = ""


class Approvals:
    """The folder of one node. Raises :class:`JournalError` for files that cannot be read or written."""

    def __init__(self, folder: Path):
        self._folder = folder

    @classmethod
    def beside(cls, journal: Path) -> Approvals:
        """Those of the node with this journal."""
        return cls(journal.with_suffix(".approvals"))

    def ask(self, request: Request) -> Request:
        """Put a question down, unless it was asked before; returns it with its answer, if there is one."""
        known = self.of(request.job_id)
        if known is not None and known.terms == request.terms:
            return known
        asked = replace(request, asked=time.time())
        self._write(asked)
        event("waits for approval", job=request.job_id, reason=request.causes)
        return asked

    def answer(self, job_id: int, approved: bool, note: str = "") -> Request:
        """Answer a question; the last answer counts. Raises :class:`InputError` if nobody asked it."""
        known = self.of(job_id)
        if known is None:
            raise InputError(
                f"nobody asks about job {job_id}", field="job", remedy="`qscrow oracle approve` lists what is asked"
            )
        answered = replace(known, approved=approved, answered=time.time(), note=note)
        self._write(answered)
        return answered

    def withdraw(self, job_id: int) -> None:
        """Remove a question, unless it was answered."""
        known = self.of(job_id)
        if known is not None and known.approved is None:
            try:
                self._path(job_id).unlink(missing_ok=True)
            except OSError as err:
                raise JournalError(f"cannot be removed ({err.strerror})", field=str(self._path(job_id))) from None

    def of(self, job_id: int) -> Request | None:
        """What was asked about a job, and answered."""
        path = self._path(job_id)
        return self._read(path) if path.exists() else None

    def waiting(self) -> list[Request]:
        """What nobody answered yet, the oldest question first."""
        return sorted((each for each in self._all() if each.approved is None), key=lambda each: each.asked)

    def knows_family(self, family: str) -> bool:
        """Whether a circuit of this family was approved once."""
        return any(each.approved and each.family == family for each in self._all())

    def knows_requester(self, requester: str) -> bool:
        """Whether a job of this requester was approved once."""
        return any(each.approved and each.requester == requester for each in self._all())

    def _path(self, job_id: int) -> Path:
        return self._folder / f"{job_id}.json"

    def _all(self) -> Iterator[Request]:
        if self._folder.is_dir():
            yield from map(self._read, sorted(self._folder.glob("*.json")))

    def _read(self, path: Path) -> Request:
        try:
            return Request(**parse_json(path.read_bytes(), path.name, MAX_FILE_BYTES))
        except (OSError, TypeError, InputError) as err:
            raise JournalError(
                f"cannot be read ({type(err).__name__})", field=str(path), remedy="remove it: the node asks again"
            ) from None

    def _write(self, request: Request) -> None:
        path = self._path(request.job_id)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._folder, suffix=".part", delete=False) as file:
                json.dump(asdict(request), file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, path)
        except OSError as err:
            raise JournalError(f"cannot be written ({err.strerror})", field=str(path)) from None
