"""``qscrow validator``: register, judge deliveries, see how that goes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from oracle.cli.context import Account, ConfigFile, PasswordFile, Rpc, named
from oracle.cli.money import withdraw
from oracle.cli.output import Json, facts, say, show_json
from oracle.cli.roles import (
    VALIDATOR,
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
from oracle.cli.settings import Settings, load_settings
from oracle.cli.upkeep import check_as

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
    settings = load_settings(rpc=rpc, account=account, password_file=password_file, config=config)
    _, _, rows, receipt = publish(settings, _profile(settings))
    if json:
        return show_json({**rows, "gas": receipt.gas_used})
    say("Registered")
    facts(rows)
    say(f"Next: qscrow validator run{named(account)}")


@app.command()
def run(
    once: Annotated[bool, typer.Option("--once", help="Judge what waits now, see it mined, and end.")] = False,
    min_fee: Annotated[str | None, typer.Option(metavar="AMOUNT", help="Judge no job that pays less.")] = None,
    workers: Workers = None,
    confirmations: Annotated[
        str | None, typer.Option(metavar="BLOCKS", help="Blocks on top of a result; default: the chain's `finalized`.")
    ] = None,
    metrics_port: MetricsPort = None,
    log_format: LogFormat = None,
    log_file: LogFile = None,
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
    run_as(VALIDATOR, settings, opened_validator, json, once=once)


@app.command()
def check(
    account: Account = None,
    password_file: PasswordFile = None,
    rpc: Rpc = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Try everything a validator depends on, and say what to do about what does not work.

    Exit code 0 if it can run (warnings included), 9 if something fails. It stores one small block and changes nothing
    else; the validator may be running meanwhile.
    """
    check_as(VALIDATOR, load_settings(rpc=rpc, account=account, password_file=password_file, config=config), json)


@app.command()
def status(
    job: Annotated[int | None, typer.Option(help="Show the verdict on this job instead.")] = None,
    account: Account = None,
    rpc: Rpc = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Verdicts and credits of this validator, and where it kept silent; works while it runs."""
    from oracle.validator.journal import read_endings, read_unsigned

    own = standing(VALIDATOR, load_settings(rpc=rpc, account=account, config=config))
    if job is not None:
        return _show_job(own.path, job, json)
    journal = journal_status(own.path, json)
    endings, unsigned = (read_endings(own.path), read_unsigned(own.path)) if journal else ({}, {})
    waiting = [each for each in journal.open if each.step != "seen"] if journal else []
    if json:
        open_jobs = [{"job": each.job_id, "step": each.step, "note": each.note} for each in waiting]
        jobs = journal.jobs if journal else {}
        shown = own.shown(json)
        return show_json({**shown, "jobs": jobs, "endings": endings, "unsigned": unsigned, "open": open_jobs})
    facts(own.shown(json))
    facts(endings)
    for verdict in ("flag", "inconclusive"):
        if found := [str(number) for number, said in unsigned.items() if said == verdict][-MOST_LISTED:]:
            say(f"  {verdict}: a person should look at `qscrow validator status --job N`, N = {', '.join(found)}")
    for each in waiting:
        say(f"  job {each.job_id:>6}  {each.step:<10} {each.note}".rstrip())
    return None


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
    say_story(story)
    if judged.report is not None:
        say(parse_verdict(judged.report).as_text())
    say(judged.reason or judged.step)


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
