"""``qscrow validator``: register, judge deliveries, see how that goes."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from oracle import __version__
from oracle.cli.context import (
    Account,
    ConfigFile,
    PasswordFile,
    Rpc,
    open_chain,
    open_content,
    open_keys,
    own_address,
)
from oracle.cli.money import withdraw
from oracle.cli.operator import require_registered, shown_steps
from oracle.cli.output import Json, facts, note, say, show_json, when
from oracle.cli.running import run_until_told, watched
from oracle.cli.settings import Settings, load_settings
from oracle.jobs.amounts import format_wei
from oracle.jobs.errors import InputError, JournalError

app = typer.Typer(no_args_is_help=True, help="Judge results: register, run, earn fees.")
MOST_LISTED = 20
app.command("withdraw", help="Take out what the escrow owes this validator.")(withdraw)


@app.command()
def register(
    account: Account = None,
    password_file: PasswordFile = None,
    rpc: Rpc = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Publish this validator's sealing key, so that oracles can seal results to it. It needs no stake."""
    from oracle.chain.sender import Sender
    from oracle.content.store import put_object
    from oracle.jobs.canonical import canonical_bytes

    settings = load_settings(rpc=rpc, account=account, password_file=password_file, config=config)
    chain = open_chain(settings)
    signer, key = open_keys(settings)
    profile = put_object(open_content(settings), canonical_bytes(_profile(settings)))
    receipt = Sender(chain.w3, signer, chain_id=chain.chain_id).send(chain.registry.register(key.public, profile))
    rows = {
        "address": signer.address,
        "sealing_key": "0x" + key.public.hex(),
        "profile": f"ipfs://f01551220{profile.hex()}",
        "transaction": "0x" + receipt.tx_hash.hex(),
    }
    if json:
        return show_json({**rows, "gas": receipt.gas_used})
    say("Registered")
    facts(rows)
    say("Next: qscrow validator run")


@app.command()
def run(
    once: Annotated[bool, typer.Option("--once", help="Judge what waits now, see it mined, and end.")] = False,
    min_fee: Annotated[str | None, typer.Option(metavar="AMOUNT", help="Judge no job that pays less.")] = None,
    workers: Annotated[int | None, typer.Option(help="Circuits at a time; default: one per core.")] = None,
    confirmations: Annotated[
        str | None, typer.Option(metavar="BLOCKS", help="Blocks on top of a result; default: the chain's `finalized`.")
    ] = None,
    metrics_port: Annotated[str | None, typer.Option(metavar="PORT", help="Port of /metrics and /health.")] = None,
    log_format: Annotated[str | None, typer.Option(metavar="text|json", help="How the log is written.")] = None,
    log_file: Annotated[str | None, typer.Option(metavar="FILE", help="Where; default: stderr.")] = None,
    account: Account = None,
    password_file: PasswordFile = None,
    rpc: Rpc = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Judge the results of jobs that name this validator, until Ctrl-C or SIGTERM.

    The log goes to stderr; --json prints one line per step on stdout. Exit codes: 0 stopped when asked, 2 wrong
    settings, 3 no chain, 8 journal in use or damaged, 11 halted because the chain took back what it had called final.
    """
    from oracle.node.content import open_node_content
    from oracle.node.logs import event
    from oracle.validator.assembly import opened_validator

    flags = {
        "validator.min_fee": min_fee,
        "execution.workers": workers,
        "chain.confirmations": confirmations,
        "watch.metrics_port": metrics_port,
        "watch.log_format": log_format,
        "watch.log_file": log_file,
    }
    settings = load_settings(rpc=rpc, account=account, password_file=password_file, config=config, flags=flags)
    with watched(settings, shown_steps(settings, json)) as (watch, redactor):
        chain = open_chain(settings)
        signer, key = open_keys(settings, heard=redactor.learn)
        require_registered(chain, signer.address, key.public, remedy="run `qscrow validator register` first")
        _require_own_account(settings, chain.chain_id, signer.address)
        with opened_validator(
            chain,
            signer,
            key,
            store=open_node_content(settings.content, settings.content_environment(), settings.node),
            journal=settings.verdicts(chain.chain_id, signer.address),
            config=settings.node,
            limits=settings.limits,
            watch=watch,
        ) as validator:
            if once:
                validator.run_once()
                return
            if not json:
                say(f"Validator {signer.address} on chain {chain.chain_id}; Ctrl-C ends it")
                sys.stdout.flush()
            run_until_told(validator, watch, validator=signer.address, chain_id=chain.chain_id, version=__version__)
        event("stopped")
    if not json and settings.log_format == "text":
        note("the validator has stopped; start it again to go on")


@app.command()
def status(
    job: Annotated[int | None, typer.Option(help="Show the verdict on this job instead.")] = None,
    account: Account = None,
    rpc: Rpc = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Verdicts and credits of this validator, and where it kept silent; works while it runs."""
    from oracle.node.status import read_status
    from oracle.validator.journal import read_endings, read_unsigned

    settings = load_settings(rpc=rpc, account=account, config=config)
    chain = open_chain(settings)
    address = own_address(settings)
    path = settings.verdicts(chain.chain_id, address)
    if job is not None:
        return _show_job(path, job, json)
    journal, endings, unsigned = None, {}, {}
    try:
        journal, endings, unsigned = read_status(path), read_endings(path), read_unsigned(path)
    except JournalError as err:
        if not json:
            note(str(err))
    rows: dict[str, Any] = {
        "address": address,
        "registered": any(chain.registry.sealing_key_of(address)),
        "credit": chain.escrow.credit_of(address),
        "balance": chain.balance(address),
    }
    waiting = [] if journal is None else [each for each in journal.open if each.step != "seen"]
    if json:
        shown = {name: str(value) if type(value) is int else value for name, value in rows.items()}
        open_jobs = [{"job": each.job_id, "step": each.step, "note": each.note} for each in waiting]
        jobs = journal.jobs if journal else {}
        return show_json({**shown, "jobs": jobs, "endings": endings, "unsigned": unsigned, "open": open_jobs})
    facts({name: format_wei(v) if type(v) is int else v for name, v in rows.items()})
    facts(endings)
    for verdict in ("flag", "inconclusive"):
        if found := [str(number) for number, said in unsigned.items() if said == verdict][-MOST_LISTED:]:
            say(f"  {verdict}: a person should look at `qscrow validator status --job N`, N = {', '.join(found)}")
    for each in waiting:
        say(f"  job {each.job_id:>6}  {each.step:<10} {each.note}".rstrip())


def _show_job(path: Any, job: int, json: bool) -> None:
    """What happened to one job, and the report on its result."""
    from oracle.node.status import read_history
    from oracle.validation.verdict import parse_verdict
    from oracle.validator.journal import read_judged

    judged, story = read_judged(path, job), read_history(path, job)
    if json:
        return show_json(
            {
                "job": job,
                "step": judged.step,
                "reason": judged.reason,
                "report": judged.report,
                "history": [moment._asdict() for moment in story],
            }
        )
    for moment in story:
        say(f"  {when(int(moment.at))}  {moment.step:<10} {moment.note}".rstrip())
    if judged.report is not None:
        say(parse_verdict(judged.report).as_text())
    say(judged.reason or judged.step)


def _require_own_account(settings: Settings, chain_id: int, address: str) -> None:
    """One key, one sender: an account whose nonces a node gives out is not for a validator as well."""
    if settings.journal(chain_id, address).exists():
        raise InputError(
            f"{address} runs an oracle here", field="account", remedy="judge with an account (and keys) of its own"
        )


def _profile(settings: Settings) -> dict[str, Any]:
    """What this validator offers, for requesters who look for one."""
    from oracle.validator.examination import METHODS

    return {
        "type": "qscrow.validator",
        "version": 1,
        "methods": sorted(METHODS),
        "max_qubits": settings.limits.qubits,
        "max_shots": settings.limits.shots,
        "min_fee": str(settings.node.validator_min_fee),
    }
