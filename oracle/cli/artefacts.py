"""The artefacts of a job for ``inspect`` and ``open``: shown, checked, written to files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oracle.cli.output import say
from oracle.cli.wording import link
from oracle.jobs.errors import CheckFailed, ContentNotFound, InputError, QscrowError, SealError

if TYPE_CHECKING:
    from oracle.audit.artefacts import Finding, Inspection
    from oracle.chain.client import ChainClient
    from oracle.chain.history import JobHistory
    from oracle.content.store import ContentStore
    from oracle.sealing.keys import SealingKey


def inspected(
    history: JobHistory, chain: ChainClient, store: ContentStore, key: SealingKey | None
) -> tuple[Inspection, str]:
    """The artefacts of a job, with ``key`` opened, and what is wrong with its result beyond them; empty: nothing."""
    from oracle.audit.artefacts import inspect_artefacts
    from oracle.requester.results import check_result, read_result

    document, problem = None, ""
    receipt: dict[str, Any] = {}
    if key is not None and history.result is not None:
        try:
            document, receipt = read_result(history, chain=chain, store=store, key=key)
        except ContentNotFound:
            key = None  # the inspection says so
        except SealError as err:
            if err.field == "account":
                raise
            key, problem = None, str(err)
    inspection = inspect_artefacts(history, chain=chain, store=store, document=document, key=key)
    if document is not None and not inspection.mismatches:
        try:
            check_result(document, receipt, history, chain)
        except QscrowError as err:
            problem = str(err)
    return inspection, problem


def say_artefacts(history: JobHistory, inspection: Inspection, problem: str) -> None:
    """A line or two for each artefact."""
    result = link(history.result) if history.result else "not there yet"
    say(f"Artefacts (result: {result})")
    for each in (inspection.receipt, *inspection.artefacts):
        say(finding_line(each))
    if problem:
        say(f"  the result is not what was ordered: {problem}")


def finding_line(found: Finding) -> str:
    """One artefact: name, status and digest, if there is one, and where that stands and what there is to say."""
    about = "; ".join(part for part in (found.where, found.note) if part)
    line = f"  {found.name:<17}  {found.status:<15}  "
    return f"{line}{found.digest}\n      {about}" if found.digest else line + about


def require_matches(inspection: Inspection, problem: str) -> None:
    """Raise :class:`CheckFailed` unless everything is what it should be."""
    wrong = [each.name for each in inspection.mismatches]
    if wrong:
        raise CheckFailed(f"does not match: {', '.join(wrong)}", remedy="dispute the job if its time is not over")
    if problem:
        raise CheckFailed(problem, remedy="dispute the job if its time is not over")


def read_file(path: Path) -> bytes:
    """The bytes of a file that discloses an artefact. Raises :class:`InputError`."""
    from oracle.sealing.artefacts import MAX_DISCLOSED_BYTES

    try:
        with path.open("rb") as file:
            return file.read(MAX_DISCLOSED_BYTES + 1)
    except OSError as err:
        raise InputError(f"cannot be read ({err.strerror})", field=str(path)) from None


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something. Raises :class:`InputError`."""
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as err:
        raise InputError(f"cannot be read ({err.strerror})", field=str(folder)) from None
    if taken:
        raise InputError("is no empty folder", field=str(folder), remedy="name a new one")


def write_artefacts(folder: Path, documents: dict[str, Any]) -> list[Path]:
    """Write a private file for every artefact into ``folder``; answers them. Raises :class:`InputError`."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, document in documents.items():
            path = folder / f"{name}.json"
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(document, file, indent=2)
                file.write("\n")
            written.append(path)
    except OSError as err:
        raise InputError(
            f"cannot be written ({err.strerror})", field=str(folder), remedy="choose another folder"
        ) from None
    return written
