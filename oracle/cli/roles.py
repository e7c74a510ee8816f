"""What ``qscrow oracle`` and ``qscrow validator`` have in common: registering, running, telling how it goes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oracle import __version__
from oracle.cli.context import open_chain, open_content, open_keys, own_address
from oracle.cli.output import note, say, show_json_line, when
from oracle.cli.running import run_until_told, watched
from oracle.cli.settings import Settings
from oracle.jobs.amounts import format_wei
from oracle.jobs.errors import InputError, JournalError

if TYPE_CHECKING:
    from oracle.chain.client import ChainClient
    from oracle.chain.sender import Receipt
    from oracle.node.journal import Moment
    from oracle.node.status import JournalStatus

Workers = Annotated[int | None, typer.Option(help="Circuits at a time; default: one per core.")]
MetricsPort = Annotated[str | None, typer.Option(metavar="PORT", help="Port of /metrics and /health.")]
LogFormat = Annotated[str | None, typer.Option(metavar="text|json", help="How the log is written.")]
LogFile = Annotated[str | None, typer.Option(metavar="FILE", help="Where; default: stderr.")]


@dataclass(frozen=True)
class Role:
    """Somebody who works for others: ``name`` is that of its commands, ``program`` that of its process, ``journal``
    what it remembers. ``rival`` is the journal of whoever must not have the same account, and ``is_rival`` says so."""

    name: str
    program: str
    journal: Callable[[Settings, int, str], Path]
    rival: Callable[[Settings, int, str], Path]
    is_rival: str


ORACLE = Role("oracle", "node", Settings.journal, Settings.verdicts, "is a validator here")
VALIDATOR = Role("validator", "validator", Settings.verdicts, Settings.journal, "runs an oracle here")


@dataclass(frozen=True)
class Standing:
    """Who one is on the chain, and where the journal is; ``rows`` are what the chain knows, amounts in wei."""

    chain: ChainClient
    address: str
    path: Path
    rows: dict[str, Any]

    def shown(self, json: bool) -> dict[str, Any]:
        """``rows`` as people read them, or as JSON carries them."""
        told = str if json else format_wei
        return {name: told(value) if type(value) is int else value for name, value in self.rows.items()}


def publish(
    settings: Settings, profile: dict[str, Any], stake: int = 0
) -> tuple[ChainClient, str, dict[str, str], Receipt]:
    """Register the chosen account's sealing key and ``profile`` and add ``stake``; chain, address, what to show of it,
    and the receipt."""
    from oracle.chain.sender import Sender
    from oracle.content.store import put_object
    from oracle.jobs.canonical import canonical_bytes

    chain = open_chain(settings)
    signer, key = open_keys(settings)
    digest = put_object(open_content(settings), canonical_bytes(profile))
    call = chain.registry.register(key.public, digest, stake)
    receipt = Sender(chain.w3, signer, chain_id=chain.chain_id).send(call)
    rows = {
        "address": signer.address,
        "sealing_key": "0x" + key.public.hex(),
        "profile": f"ipfs://f01551220{digest.hex()}",
        "transaction": "0x" + receipt.tx_hash.hex(),
    }
    return chain, signer.address, rows, receipt


def run_as(
    role: Role,
    settings: Settings,
    opened: Callable[..., AbstractContextManager[Any]],
    json: bool,
    *,
    once: bool = False,
) -> None:
    """Run what ``opened`` puts together until Ctrl-C or SIGTERM, or ``once``: until all that waits now is done."""
    from oracle.node.content import open_node_content
    from oracle.node.logs import event

    with watched(settings, _shown_steps(settings, json)) as (watch, redactor):
        chain = open_chain(settings)
        signer, key = open_keys(settings, heard=redactor.learn)
        _require_registered(role, chain, signer.address, key.public)
        _require_own_account(role, settings, chain.chain_id, signer.address)
        with opened(
            chain,
            signer,
            key,
            store=open_node_content(settings.content, settings.content_environment(), settings.node),
            journal=role.journal(settings, chain.chain_id, signer.address),
            config=settings.node,
            limits=settings.limits,
            watch=watch,
        ) as process:
            if once:
                return process.run_once()
            if not json:
                say(f"{role.name.capitalize()} {signer.address} on chain {chain.chain_id}; Ctrl-C ends it")
                sys.stdout.flush()
            who = {role.name: signer.address}
            run_until_told(process, watch, **who, chain_id=chain.chain_id, version=__version__)
        event("stopped")
    if not json and settings.log_format == "text":
        note(f"the {role.program} has stopped; start it again to go on")
    return None


def standing(role: Role, settings: Settings) -> Standing:
    """How the chosen account stands on the chain; needs no password."""
    chain = open_chain(settings)
    address = own_address(settings)
    rows = {
        "address": address,
        "registered": any(chain.registry.sealing_key_of(address)),
        "credit": chain.escrow.credit_of(address),
        "balance": chain.balance(address),
    }
    return Standing(chain, address, role.journal(settings, chain.chain_id, address), rows)


def journal_status(path: Path, json: bool) -> JournalStatus | None:
    """What the journal says, also while its process runs; what keeps it from being read is remarked."""
    from oracle.node.status import read_status

    try:
        return read_status(path)
    except JournalError as err:
        if not json:
            note(str(err))
        return None


def say_story(story: list[Moment]) -> None:
    """What happened to a job, a line for each."""
    for moment in story:
        say(f"  {when(int(moment.at))}  {moment.step:<10} {moment.note}".rstrip())


def _shown_steps(settings: Settings, json: bool) -> Callable[[int, str, str], None]:
    """What is printed for each step. The log tells people already, unless it goes to a file."""

    def line(job_id: int, step: str, text: str) -> None:
        say(f"  job {job_id:>6}  {step:<10} {text}".rstrip())
        sys.stdout.flush()

    if json:
        return lambda job_id, step, text: show_json_line({"job": job_id, "step": str(step), "note": text})
    return line if settings.log_file else lambda *_: None


def _require_registered(role: Role, chain: ChainClient, address: str, public: bytes) -> None:
    """Raise :class:`InputError` unless the chain knows ``address`` with this sealing key."""
    known = chain.registry.sealing_key_of(address)
    if known != public:
        what = "is not registered" if not any(known) else "is registered with another sealing key"
        raise InputError(f"{address} {what}", field="account", remedy=f"run `qscrow {role.name} register` first")


def _require_own_account(role: Role, settings: Settings, chain_id: int, address: str) -> None:
    """One key, one sender: two processes must not give out one account's nonces."""
    if role.rival(settings, chain_id, address).exists():
        remedy = f"use an account (and keys) of its own for the {role.name}"
        raise InputError(f"{address} {role.is_rival}", field="account", remedy=remedy)
