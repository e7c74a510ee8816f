"""``qscrow canaries``: the openings of circuits with known answers that ``qscrow submit --canaries`` mixed in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oracle.cli.context import Rpc, open_chain, open_content
from oracle.cli.output import Json, facts, progress, say, show_json
from oracle.cli.settings import Settings, load_settings
from oracle.jobs.errors import ChainUnavailable, InputError

if TYPE_CHECKING:
    from oracle.chain.client import ChainClient
    from oracle.chain.history import JobHistory
    from oracle.requester.canaries import Kept, Openings

app = typer.Typer(no_args_is_help=True, help="Open the known-answer circuits that were mixed into a job.")

Job = Annotated[int, typer.Argument(min=1, help="Job id.", metavar="JOB")]
POLL_SECONDS = 1.0


class NotDelivered(ChainUnavailable):
    """The result did not come in the time given."""


@app.command("open")
def open_(
    job: Job,
    wait: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Wait so long for the delivery.")] = 0.0,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Publish the opening of a delivered job's canaries, so that its validator can judge.

    It goes into the content store, from where the validator must be able to fetch it: a Kubo node, or a gateway that
    takes uploads. Before the delivery it is refused. Needs no password and sends no transaction.
    """
    settings = load_settings(rpc=rpc)
    chain = open_chain(settings)
    openings = open_openings(settings)
    with progress("waiting for the result", quiet=json or not wait):
        history = _delivered(chain, job, time.monotonic() + wait)
    kept = _kept(openings, history)
    link = openings.publish(kept, history, open_content(settings))
    where = [canary.position for canary in kept.canaries]
    if json:
        return show_json({"job": job, "opening": link, "canaries": where, "circuits": kept.circuits})
    say(f"Opened the canaries of job {job}: circuits {_listed(where)} of {kept.circuits}")
    facts({"opening": link})
    say(f"Next: qscrow watch {job}")


@app.command("list")
def list_(json: Json = False) -> None:
    """The openings that are kept here."""
    kept = list(open_openings(load_settings()).all())
    rows = [
        {
            "spec": f"ipfs://f01551220{each.spec}",
            "circuits": each.circuits,
            "canaries": len(each.canaries),
            "published": each.published,
        }
        for each in kept
    ]
    if json:
        return show_json(rows)
    if not rows:
        say("no job was submitted with canaries from here")
    for row in rows:
        said = "published" if row["published"] else "not published"
        say(f"  {row['spec']}  {row['canaries']} of {row['circuits']} circuits, {said}")


def open_openings(settings: Settings) -> Openings:
    """Where the openings are kept: ``<home>/canaries``."""
    from oracle.requester.canaries import Openings

    return Openings(settings.home / "canaries")


def canary_facts(settings: Settings, history: JobHistory, document: dict[str, Any]) -> dict[str, Any]:
    """What the requester can see of its own canaries in an opened result; nothing for a job without any."""
    from oracle.requester.canaries import right_shots

    kept = open_openings(settings).of(history.terms.spec)
    if kept is None:
        return {}
    right = right_shots(document, kept)
    real = [place for place in range(kept.circuits) if place not in {canary.position for canary in kept.canaries}]
    answers = ", ".join(f"circuit {place}: {shots} of {document['shots']}" for place, shots in right.items())
    return {"canaries right": answers or "none is in the result", "your circuits": _listed(real)}


def opening_hint(settings: Settings, history: JobHistory) -> str | None:
    """What to do about canaries that nobody has opened yet."""
    if history.result is None or history.is_terminal:
        return None
    kept = open_openings(settings).of(history.terms.spec)
    if kept is None or kept.published:
        return None
    return f"its canaries are not opened: `qscrow canaries open {history.job_id}` lets the validator judge"


def _delivered(chain: ChainClient, job: int, give_up: float) -> JobHistory:
    from oracle.chain.history import fetch_job

    waited = False
    while True:
        history = fetch_job(chain, job)
        if history.result is not None or history.is_terminal:
            return history
        if time.monotonic() >= give_up:
            if not waited:
                return history  # which is refused with its state
            raise NotDelivered(f"job {job} is still {history.state.label}", field="wait", remedy="run it again later")
        waited = True
        time.sleep(min(POLL_SECONDS, max(give_up - time.monotonic(), 0.0)))


def _kept(openings: Openings, history: JobHistory) -> Kept:
    kept = openings.of(history.terms.spec)
    if kept is None:
        raise InputError(
            f"no canaries of job {history.job_id} are kept here",
            field="job",
            remedy=f"run it where the job was submitted, or restore {openings.path(history.terms.spec)}",
        )
    return kept


def _listed(places: list[int]) -> str:
    return ", ".join(map(str, places))
