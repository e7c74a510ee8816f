"""``qscrow oracle``: register, run a node, see how it does, take the earnings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oracle import __version__
from oracle.cli import upkeep
from oracle.cli.context import (
    Account,
    ConfigFile,
    PasswordFile,
    Rpc,
    open_chain,
    open_content,
    open_keys,
    own_address,
    party_address,
)
from oracle.cli.money import withdraw
from oracle.cli.output import Json, facts, note, progress, say, show_json, show_json_line, when
from oracle.cli.running import run_until_told, watched
from oracle.cli.settings import Settings, load_settings, read_settings
from oracle.jobs.amounts import format_wei, parse_amount
from oracle.jobs.errors import InputError, JournalError

if TYPE_CHECKING:
    from oracle.chain.client import ChainClient


app = typer.Typer(no_args_is_help=True, help="Run an oracle: register, stake, earn.")
app.command("withdraw", help="Take out what the escrow owes this oracle.")(withdraw)
app.command("check")(upkeep.check)
app.command("config")(upkeep.config)

Addresses = Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="May be given several times.")]


@app.command()
def register(
    stake: Annotated[str, typer.Option(help="Stake to add, for example '1 ether'; bonds are locked out of it.")] = "0",
    account: Account = None,
    password_file: PasswordFile = None,
    rpc: Rpc = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Publish this oracle's sealing key and profile, and add stake."""
    from oracle.chain.sender import Sender
    from oracle.content.store import put_object
    from oracle.jobs.canonical import canonical_bytes

    settings = load_settings(rpc=rpc, account=account, password_file=password_file, config=config)
    amount = parse_amount(stake, "stake")
    chain = open_chain(settings)
    signer, key = open_keys(settings)
    profile = put_object(open_content(settings), canonical_bytes(_profile(settings)))
    receipt = Sender(chain.w3, signer, chain_id=chain.chain_id).send(
        chain.registry.register(key.public, profile, amount)
    )
    total, locked = chain.registry.stake_of(signer.address)
    rows = {
        "address": signer.address,
        "sealing_key": "0x" + key.public.hex(),
        "profile": f"ipfs://f01551220{profile.hex()}",
        "transaction": "0x" + receipt.tx_hash.hex(),
    }
    if json:
        return show_json({**rows, "stake": str(total), "locked": str(locked), "gas": receipt.gas_used})
    say(f"Registered with a stake of {format_wei(total)}")
    facts(rows)
    say("Next: qscrow oracle run")


@app.command()
def run(
    workers: Annotated[int | None, typer.Option(help="Circuits at a time; default: one per core.")] = None,
    confirmations: Annotated[
        str | None, typer.Option(metavar="BLOCKS", help="Blocks on top of a job; default: the chain's `finalized`.")
    ] = None,
    open_jobs: Annotated[
        bool | None,
        typer.Option("--open-jobs/--no-open-jobs", help="Take jobs that name no oracle; default: yes."),
    ] = None,
    price_base: Annotated[str | None, typer.Option(metavar="AMOUNT", help="Charge per job.")] = None,
    price_per_shot: Annotated[str | None, typer.Option(metavar="AMOUNT", help="Charge per shot.")] = None,
    trust_validator: Addresses = None,
    trust_arbiter: Addresses = None,
    metrics_port: Annotated[str | None, typer.Option(metavar="PORT", help="Port of /metrics and /health.")] = None,
    log_format: Annotated[str | None, typer.Option(metavar="text|json", help="How the log is written.")] = None,
    log_file: Annotated[str | None, typer.Option(metavar="FILE", help="Where; default: stderr.")] = None,
    account: Account = None,
    password_file: PasswordFile = None,
    rpc: Rpc = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Run a node until Ctrl-C or SIGTERM. What it has begun it finishes first; a second signal ends it at once.

    The log goes to stderr; --json prints one line per step on stdout. Everything can be set in a file: see
    `qscrow oracle config`. Exit codes: 0 stopped when asked, 2 wrong settings, 3 no chain, 8 journal in use, missing or
    damaged, 11 halted because the chain took back what it had called final.
    """
    from oracle.node.assembly import opened_node
    from oracle.node.content import open_node_content
    from oracle.node.logs import event

    flags = {
        "execution.workers": workers,
        "chain.confirmations": confirmations,
        "policy.take_open_jobs": open_jobs,
        "prices.base": price_base,
        "prices.per_shot": price_per_shot,
        "policy.trusted_validators": _addresses(trust_validator, "trust_validator"),
        "policy.trusted_arbiters": _addresses(trust_arbiter, "trust_arbiter"),
        "watch.metrics_port": metrics_port,
        "watch.log_format": log_format,
        "watch.log_file": log_file,
    }
    settings = load_settings(rpc=rpc, account=account, password_file=password_file, config=config, flags=flags)
    with watched(settings, shown_steps(settings, json)) as (watch, redactor):
        chain = open_chain(settings)
        signer, key = open_keys(settings, heard=redactor.learn)
        require_registered(chain, signer.address, key.public)
        if settings.verdicts(chain.chain_id, signer.address).exists():
            raise InputError(f"{signer.address} is a validator here", field="account", remedy="use another account")
        journal = settings.journal(chain.chain_id, signer.address)
        with opened_node(
            chain,
            signer,
            key,
            store=open_node_content(settings.content, settings.content_environment(), settings.node),
            journal=journal,
            config=settings.node,
            limits=settings.limits,
            watch=watch,
        ) as node:
            if not json:
                say(f"Oracle {signer.address} on chain {chain.chain_id}; Ctrl-C ends it")
                sys.stdout.flush()
            run_until_told(node, watch, oracle=signer.address, chain_id=chain.chain_id, version=__version__)
        event("stopped")
    if not json and settings.log_format == "text":
        note("the node has stopped; start it again to go on")


@app.command()
def status(
    job: Annotated[int | None, typer.Option(help="Show what happened to this job instead.")] = None,
    account: Account = None,
    rpc: Rpc = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Stake, credits and jobs of this oracle; works while its node runs."""
    from oracle.node.status import read_history, read_status

    settings = load_settings(rpc=rpc, account=account, config=config)
    chain = open_chain(settings)
    address = own_address(settings)
    path = settings.journal(chain.chain_id, address)
    if job is not None:
        story = read_history(path, job)
        if json:
            return show_json([moment._asdict() for moment in story])
        for moment in story:
            say(f"  {when(int(moment.at))}  {moment.step:<10} {moment.note}".rstrip())
        return None
    stake, locked = chain.registry.stake_of(address)
    journal = None
    try:
        journal = read_status(path)
    except JournalError as err:
        if not json:
            note(str(err))
    rows: dict[str, Any] = {
        "address": address,
        "registered": any(chain.registry.sealing_key_of(address)),
        "stake": stake,
        "locked": locked,
        "credit": chain.escrow.credit_of(address),
        "balance": chain.balance(address),
        "jobs": journal.jobs if journal else {},
    }
    if json:
        shown = {name: str(value) if type(value) is int else value for name, value in rows.items()}
        return show_json({**shown, "journal": journal and asdict(journal)})
    jobs = ", ".join(f"{number} {step}" for step, number in rows["jobs"].items()) or "none"
    facts({name: format_wei(v) if type(v) is int else v for name, v in rows.items()} | {"jobs": jobs})
    if journal:
        facts({"last block": journal.last_block, "transactions": f"{journal.open_nonces} not final"})
        for row in journal.open:
            say(f"  job {row.job_id:>6}  {row.step:<10} deadline {when(row.deadline)}  {row.note}".rstrip())


@app.command()
def approve(
    job: Annotated[int | None, typer.Argument(min=1, help="Job id; without it, what waits.", metavar="JOB")] = None,
    comment: Annotated[str, typer.Option("--note", help="Why, for the record.")] = "",
    account: Account = None,
    rpc: Rpc = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Let a job run that a gate put before you; works while the node runs.

    An approval also makes the job's requester and its family of circuits known, so that they are not asked about again.
    """
    _answer(job, True, comment, account, rpc, config, json)


@app.command()
def deny(
    job: Annotated[int, typer.Argument(min=1, help="Job id.", metavar="JOB")],
    comment: Annotated[str, typer.Option("--note", help="Why, for the record.")] = "",
    account: Account = None,
    rpc: Rpc = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Refuse a job that a gate put before you: its payer gets the budget back."""
    _answer(job, False, comment, account, rpc, config, json)


@app.command()
def rebuild(account: Account = None, rpc: Rpc = None, config: ConfigFile = None, json: Json = False) -> None:
    """Make a lost or damaged journal anew from the chain; what is left of the old one is kept beside it."""
    from oracle.node.rebuild import rebuild as rebuilt

    settings = load_settings(rpc=rpc, account=account, config=config)
    chain = open_chain(settings)
    address = own_address(settings)
    path = settings.journal(chain.chain_id, address)
    with progress("Reading the chain", quiet=json):
        report = rebuilt(chain, address, path, settings.node)
    rows = {"journal": str(path), "kept": str(report.kept) if report.kept else None, "last_block": report.last_block}
    rows |= {"nonce": report.nonce, "jobs": report.jobs}
    if json:
        return show_json(rows)
    jobs = ", ".join(f"{number} {step}" for step, number in report.jobs.items()) or "none"
    facts({name: value for name, value in rows.items() if value is not None} | {"jobs": jobs})
    say("Transactions that were signed and not mined are taken for sent; results not delivered are computed again.")
    say("Next: qscrow oracle run")


def _answer(job: int | None, approved: bool, comment: str, account: Any, rpc: Any, config: Any, json: bool) -> None:
    from oracle.node.approvals import Approvals

    settings = load_settings(rpc=rpc, account=account, config=config)
    approvals = Approvals.beside(settings.journal(open_chain(settings).chain_id, own_address(settings)))
    if job is not None:
        answered = approvals.answer(job, approved, comment)
        if json:
            return show_json(asdict(answered))
        return say(f"job {job} is {'approved' if approved else 'denied'}; the node sees it at its next look")
    waiting = approvals.waiting()
    if json:
        return show_json([asdict(each) for each in waiting])
    for each in waiting:
        say(f"  job {each.job_id:>6}  {each.causes}: {each.requester}, budget {format_wei(int(each.budget))}")
    return None if waiting else say("nothing waits for an approval")


def shown_steps(settings: Settings, json: bool) -> Callable[[int, str, str], None]:
    """What is printed for each step. The log tells people already, unless it goes to a file."""

    def line(job_id: int, step: str, text: str) -> None:
        say(f"  job {job_id:>6}  {step:<10} {text}".rstrip())
        sys.stdout.flush()

    if json:
        return lambda job_id, step, text: show_json_line({"job": job_id, "step": str(step), "note": text})
    return line if settings.log_file else lambda *_: None


def require_registered(
    chain: ChainClient, address: str, public: bytes, remedy: str = "run `qscrow oracle register` first"
) -> None:
    """Raise :class:`InputError` unless the chain knows ``address`` with this sealing key."""
    known = chain.registry.sealing_key_of(address)
    if known != public:
        what = "is not registered" if not any(known) else "is registered with another sealing key"
        raise InputError(f"{address} {what}", field="account", remedy=remedy)


def _addresses(texts: list[str] | None, field: str) -> list[str] | None:
    """Addresses or names of accounts, as addresses; ``None`` if none are given."""
    if not texts:
        return None
    settings, _ = read_settings()  # for the home alone, where the accounts are
    return [party_address(settings, text, field) for text in texts]


def _profile(settings: Settings) -> dict[str, Any]:
    """What this oracle offers, for requesters who look for one."""
    from oracle.circuits.lint import FORMATS

    config, limits = settings.node, settings.limits
    devices = [name.strip() for name in config.ibm_backends.split(",") if name.strip()]
    hardware = {"hardware": devices, "price_hardware": str(config.price_hardware)} if devices else {}
    return {
        "type": "qscrow.profile",
        "version": 1,
        "engines": ["aer"],
        "formats": list(FORMATS),
        "max_qubits": limits.qubits,
        "max_shots": limits.shots,
        "price_base": str(config.price_base),
        "price_per_shot": str(config.price_per_shot),
        **hardware,
    }
