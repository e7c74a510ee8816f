"""``qscrow watch``, ``inspect`` and ``open``: what became of a job."""

from __future__ import annotations

import json as jsonlib
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oracle.cli import wording
from oracle.cli.canaries import canary_facts, opening_hint
from oracle.cli.context import Account, PasswordFile, Rpc, open_chain, open_content, open_sealing_key
from oracle.cli.output import Json, facts, histogram, note, progress, say, show_json, show_json_line
from oracle.cli.settings import Settings, load_settings
from oracle.jobs.amounts import format_wei
from oracle.jobs.errors import ChainUnavailable, CheckFailed, InputError
from oracle.jobs.noise import Noise
from oracle.jobs.states import State

if TYPE_CHECKING:
    from oracle.chain.client import ChainClient
    from oracle.chain.history import JobHistory
    from oracle.requester.results import OpenedResult

Job = Annotated[int, typer.Argument(min=1, help="Job id.", metavar="JOB")]

WATCH_EXIT_CODES = {
    State.SETTLED: 0,
    State.REJECTED: 10,
    State.EXPIRED: 11,
    State.FAILED: 12,
    State.CANCELLED: 13,
}
WATCH_TIMEOUT_EXIT_CODE = 14
POLL_SECONDS, MAX_POLL_SECONDS = 0.25, 4.0


class WatchTimeout(ChainUnavailable):
    """A watched job has not ended in the time given."""

    exit_code = WATCH_TIMEOUT_EXIT_CODE


def watch(
    job: Job,
    timeout: Annotated[float, typer.Option(min=0, help="Give up after this many seconds.")] = 86_400.0,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Follow a job until it ends.

    Exit code 0: settled, 10: rejected, 11: expired, 12: failed, 13: cancelled, 14: still going on after
    --timeout. With --json, one document a line: a step has `state`, the remark that time is over has `claim`.
    """
    settings = load_settings(rpc=rpc)
    chain = open_chain(settings)
    history = _follow(chain, job, time.monotonic() + timeout, json, partial(opening_hint, settings))
    if not json:
        say(wording.ending(history))
    raise typer.Exit(WATCH_EXIT_CODES[history.state])


def _follow(
    chain: ChainClient, job: int, give_up: float, json: bool, remark: Callable[[JobHistory], str | None]
) -> JobHistory:
    """Print steps as they happen, and once what ``remark`` has to say; returns the history of the ended job."""
    from oracle.chain.history import fetch_job

    history = fetch_job(chain, job)
    seen: set[tuple[bytes, State]] = set()  # by transaction: a reorganised chain may tell another story
    claimed, told, pause = False, None, POLL_SECONDS
    while True:
        fresh = [step for step in history.steps if (step.tx_hash, step.state) not in seen]
        for step in fresh:
            seen.add((step.tx_hash, step.state))
            show_json_line({"job": job, **wording.step_document(step)}) if json else say(wording.step_line(step))
        if history.is_terminal:
            return history
        claimed = claimed or _tell_claim(chain, history, json)
        if told is None and (told := remark(history)):
            show_json_line({"job": job, "hint": told}) if json else note(told)
        if time.monotonic() >= give_up:
            raise WatchTimeout(f"job {job} is still {history.state.label}", field="timeout", remedy="watch again later")
        pause = POLL_SECONDS if fresh else min(pause * 1.5, MAX_POLL_SECONDS)
        time.sleep(max(0.0, min(pause, give_up - time.monotonic())))
        history = _again(chain, history)


def _again(chain: ChainClient, history: JobHistory) -> JobHistory:
    from oracle.chain.history import fetch_job

    try:
        return fetch_job(chain, history.job_id)
    except ChainUnavailable as err:
        note(f"{err.message}; trying again")
        return history


def _tell_claim(chain: ChainClient, history: JobHistory, json: bool) -> bool:
    from oracle.requester.money import claim

    try:
        kind = claim(history, chain)
    except ChainUnavailable:
        return False  # the next poll says so
    if kind is None:
        return False
    hint = wording.claim_hint(history.job_id, kind)
    show_json_line({"job": history.job_id, "claim": kind, "hint": hint}) if json else note(hint)
    return True


def inspect(
    job: Job,
    terms: Annotated[bool, typer.Option("--terms", help="Show every field of the terms.")] = False,
    spec: Annotated[bool, typer.Option("--spec", help="Fetch the spec, check it and show it.")] = False,
    artifacts: Annotated[
        bool, typer.Option("--artifacts", help="List the nine artefacts and check them; with --account, open them.")
    ] = False,
    disclosed: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Check one artefact that its requester disclosed.")
    ] = None,
    account: Account = None,
    password_file: PasswordFile = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """State, terms, money and timeline of a job, from the chain alone.

    Exit code 9: an artefact is not what its digest says.
    """
    from oracle.chain.history import fetch_job
    from oracle.cli import artefacts
    from oracle.requester.money import claim

    settings = load_settings(rpc=rpc, account=account, password_file=password_file)
    chain = open_chain(settings)
    history = fetch_job(chain, job)
    if disclosed is not None:
        return _check_disclosed(history, disclosed, chain, open_content(settings), json)
    kind = claim(history, chain)
    deadline = chain.escrow.deadline_of(job)
    owner = chain.nft.owner_of(job) if history.result else None
    document = _fetch_spec(history, open_content(settings)) if spec else None
    inspection, problem = None, ""
    if artifacts:
        key = open_sealing_key(settings) if account else None
        with progress("checking artefacts", quiet=json):
            inspection, problem = artefacts.inspected(history, chain, open_content(settings), key)
    if json:
        more = {"deadline": deadline, "claim": kind, "owner": owner} | ({"spec": document} if spec else {})
        more |= {"artefacts": inspection.as_dict() | {"problem": problem or None}} if inspection else {}
        show_json(wording.history_document(history) | more)
        return artefacts.require_matches(inspection, problem) if inspection else None
    say(f"Job {job} on chain {chain.chain_id}: {history.state.label}, {history.tier.label.lower()}")
    facts(wording.history_facts(history, deadline, owner))
    if terms:
        say("Terms")
        facts(wording.terms_facts(history.terms))
    say("Timeline")
    for step in history.steps:
        say(wording.step_line(step))
    if spec:
        say("Spec")
        say(jsonlib.dumps(document, indent=2))
    if inspection:
        artefacts.say_artefacts(history, inspection, problem)
    if kind:
        note(wording.claim_hint(job, kind))
    if inspection:
        artefacts.require_matches(inspection, problem)


def _check_disclosed(history: JobHistory, file: Path, chain: ChainClient, store: Any, json: bool) -> None:
    """Hold one artefact of a file against the receipt."""
    from dataclasses import asdict

    from oracle.audit.artefacts import Status, check_disclosed
    from oracle.cli import artefacts

    found = check_disclosed(history, artefacts.read_file(file), chain=chain, store=store)
    show_json({"job": history.job_id, "disclosed": asdict(found)}) if json else say(artefacts.finding_line(found))
    if found.status == Status.MISMATCH:
        raise CheckFailed(f"is not the {found.name} of job {history.job_id}: {found.note}", field=str(file))
    if found.status != Status.VERIFIED:
        raise CheckFailed(f"cannot be checked: {found.note}", field=str(file))


def _fetch_spec(history: JobHistory, store: Any) -> dict[str, Any]:
    from oracle.content.store import get_object
    from oracle.jobs.spec import MAX_SPEC_BYTES, parse_spec

    return parse_spec(get_object(store, history.terms.spec, MAX_SPEC_BYTES))


def open_(
    job: Job,
    out: Annotated[Path | None, typer.Option(help="Write the whole result as JSON to this new file.")] = None,
    artifacts: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write every artefact to a file of its own, which can be shown alone."),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Open the validator's report instead.")] = False,
    account: Account = None,
    password_file: PasswordFile = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Fetch a delivered result, open it, check it and show it."""
    from oracle.audit.artefacts import later_documents
    from oracle.chain.history import fetch_job
    from oracle.cli import artefacts
    from oracle.jobs.documents import job_reference
    from oracle.requester.results import open_result
    from oracle.sealing.artefacts import disclosures

    settings = load_settings(rpc=rpc, account=account, password_file=password_file)
    if report:
        return _open_report(settings, job, out or artifacts, json)
    if out and out.exists():
        raise InputError("exists already", field=str(out), remedy="choose another file")
    if artifacts:
        artefacts.check_folder(artifacts)
    with progress("opening", quiet=json):
        chain = open_chain(settings)
        history = fetch_job(chain, job)
        store, key = open_content(settings), open_sealing_key(settings)
        opened = open_result(history, chain=chain, store=store, key=key)
        later = later_documents(history, chain=chain, store=store, key=key) if artifacts else {}
    hidden = canary_facts(settings, history, opened.document)
    if out:
        _write_result(out, opened.document)
    if artifacts:
        about = job_reference(chain.chain_id, chain.deployment.job_escrow, job, history.terms)
        shown = disclosures(opened.document, about) | later
        artefacts.write_artefacts(artifacts, shown)
    if json:
        document = {"job": job, "tier": history.tier.label, "result": opened.document, "receipt": opened.receipt}
        return show_json(document | ({"canaries": hidden} if hidden else {}))
    say(f"Job {job}: {opened.document['shots']} shots on {_known(opened, 'backend', 'engine')}")
    for line in opened.lines() if opened.document.get("runs") else histogram(opened.counts):
        say(line)
    facts(_result_facts(opened, history) | hidden)
    if out:
        say(f"wrote {out}")
    if artifacts:
        say(f"wrote {len(shown)} artefacts to {artifacts}: `qscrow inspect {job} --disclosed FILE` checks one alone")


def _open_report(settings: Settings, job: int, out: Path | None, json: bool) -> None:
    from oracle.audit.reports import open_report
    from oracle.chain.history import fetch_job

    if out:
        raise InputError("a result is written there, no report", field="out", remedy="use --report --json > FILE")
    with progress("opening", quiet=json):
        chain = open_chain(settings)
        history = fetch_job(chain, job)
        verdict = open_report(history, chain=chain, store=open_content(settings), key=open_sealing_key(settings))
    show_json(verdict.as_document()) if json else say(verdict.as_text())


def _result_facts(opened: OpenedResult, history: JobHistory) -> dict[str, Any]:
    noise = Noise.of_spec((opened.document.get("spec") or {}).get("quantum", {}))
    return {
        "verified": history.tier.label,
        "charge": format_wei(history.charge),
        "oracle": history.terms.oracle,
        "backend": _known(opened, "backend", "name"),
        **({"noise": noise} if noise else {}),
        "seed": _known(opened, "seed"),
        "qubits": _known(opened, "circuit", "qubits"),
        "depth": _known(opened, "circuit", "depth"),
        "transpiled": _known(opened, "circuit", "transpiled_digest"),
        "commitment": _known_in(opened.receipt, "commitment"),
    }


def _known(opened: OpenedResult, *path: str) -> str:
    return _known_in(opened.document, *path)


def _known_in(document: Any, *path: str) -> str:
    """A field the oracle may have left out, short enough for a line."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return "not said" if document is None else str(document)[:120]


def _write_result(path: Path, document: dict[str, Any]) -> None:
    try:
        # For the owner's eyes alone: it was sealed up to here.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            jsonlib.dump(document, file, indent=2)
            file.write("\n")
    except OSError as err:
        raise InputError(f"cannot be written ({err.strerror})", field=str(path), remedy="choose another file") from None
