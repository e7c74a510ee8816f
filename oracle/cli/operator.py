"""``qscrow oracle``: register, run a node, see how it does, take the earnings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from oracle.cli import upkeep
from oracle.cli.context import Account, ConfigFile, PasswordFile, Rpc, named, open_chain, own_address, party_address
from oracle.cli.money import withdraw
from oracle.cli.output import Json, facts, progress, say, show_json, when
from oracle.cli.roles import (
    ORACLE,
    LogFile,
    LogFormat,
    MetricsPort,
    Workers,
    journal_status,
    publish,
    run_as,
    say_story,
    standing,
)
from oracle.cli.settings import Settings, load_settings, read_settings
from oracle.jobs.amounts import format_wei, parse_amount

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
    settings = load_settings(rpc=rpc, account=account, password_file=password_file, config=config)
    chain, address, rows, receipt = publish(settings, _profile(settings), parse_amount(stake, "stake"))
    total, locked = chain.registry.stake_of(address)
    if json:
        return show_json({**rows, "stake": str(total), "locked": str(locked), "gas": receipt.gas_used})
    say(f"Registered with a stake of {format_wei(total)}")
    facts(rows)
    say(f"Next: qscrow oracle run{named(account)}")


@app.command()
def run(
    workers: Workers = None,
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
    metrics_port: MetricsPort = None,
    log_format: LogFormat = None,
    log_file: LogFile = None,
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
    run_as(ORACLE, settings, opened_node, json)


@app.command()
def status(
    job: Annotated[int | None, typer.Option(help="Show what happened to this job instead.")] = None,
    account: Account = None,
    rpc: Rpc = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Stake, credits and jobs of this oracle; works while its node runs."""
    from oracle.node.status import read_history

    own = standing(ORACLE, load_settings(rpc=rpc, account=account, config=config))
    if job is not None:
        story = read_history(own.path, job)
        return show_json([moment._asdict() for moment in story]) if json else say_story(story)
    stake, locked = own.chain.registry.stake_of(own.address)
    own.rows.update(stake=stake, locked=locked)
    journal = journal_status(own.path, json)
    jobs = journal.jobs if journal else {}
    if json:
        return show_json({**own.shown(json), "jobs": jobs, "journal": journal and asdict(journal)})
    facts(own.shown(json) | {"jobs": ", ".join(f"{number} {step}" for step, number in jobs.items()) or "none"})
    if journal:
        facts({"last block": journal.last_block, "transactions": f"{journal.open_nonces} not final"})
        for row in journal.open:
            say(f"  job {row.job_id:>6}  {row.step:<10} deadline {when(row.deadline)}  {row.note}".rstrip())
    return None


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
    say(f"Next: qscrow oracle run{named(account)}")


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
