"""``qscrow oracle``: register, run a node, see how it does, take the earnings."""

from __future__ import annotations

import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oracle.cli.context import (
    Account,
    PasswordFile,
    Rpc,
    account_name,
    open_chain,
    open_content,
    open_keys,
    own_address,
    party_address,
)
from oracle.cli.money import withdraw
from oracle.cli.output import Json, facts, note, progress, say, show_json, show_json_line, when
from oracle.cli.settings import Settings, load_settings
from oracle.jobs.amounts import format_wei, parse_amount
from oracle.jobs.errors import InputError, JournalError

if TYPE_CHECKING:
    from oracle.chain.client import ChainClient
    from oracle.node.config import NodeConfig


app = typer.Typer(no_args_is_help=True, help="Run an oracle: register, stake, earn.")
app.command("withdraw", help="Take out what the escrow owes this oracle.")(withdraw)

Addresses = Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="May be given several times.")]


@app.command()
def register(
    stake: Annotated[str, typer.Option(help="Stake to add, for example '1 ether'; bonds are locked out of it.")] = "0",
    account: Account = None,
    password_file: PasswordFile = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Publish this oracle's sealing key and profile, and add stake."""
    from oracle.chain.sender import Sender
    from oracle.content.store import put_object
    from oracle.jobs.canonical import canonical_bytes
    from oracle.node.config import NodeConfig

    settings = load_settings(rpc=rpc, account=account, password_file=password_file)
    amount = parse_amount(stake, "stake")
    chain = open_chain(settings)
    signer, key = open_keys(settings)
    profile = put_object(open_content(settings), canonical_bytes(_profile(NodeConfig())))
    receipt = Sender(chain.w3, signer).send(chain.registry.register(key.public, profile, amount))
    total, locked = chain.registry.stake_of(signer.address)
    rows = {
        "address": signer.address,
        "sealing_key": "0x" + key.public.hex(),
        "profile": f"ipfs://f01551220{profile.hex()}",
        "transaction": "0x" + receipt.tx_hash.hex(),
    }
    if json:
        return show_json({**rows, "stake": str(total), "locked": str(locked), "gas": receipt.gas_used})
    say(f"Oracle {account_name(settings)} is registered with a stake of {format_wei(total)}")
    facts(rows)
    say("Next: qscrow oracle run")


@app.command()
def run(
    workers: Annotated[int | None, typer.Option(min=1, help="Circuits at a time; default: one per core.")] = None,
    confirmations: Annotated[
        int | None, typer.Option(min=0, help="Blocks on top of a job; default: the chain's `finalized`.")
    ] = None,
    open_jobs: Annotated[bool, typer.Option(help="Also take jobs that name no oracle.")] = True,
    price_base: Annotated[str, typer.Option(help="Charge per job.")] = "0.0001 ether",
    price_per_shot: Annotated[str, typer.Option(help="Charge per shot.")] = "10 gwei",
    trust_validator: Addresses = None,
    trust_arbiter: Addresses = None,
    account: Account = None,
    password_file: PasswordFile = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Run a node until Ctrl-C or SIGTERM; it finishes the step it is in. --json prints one line per step."""
    from oracle.node.config import NodeConfig

    settings = load_settings(rpc=rpc, account=account, password_file=password_file)
    config = NodeConfig(
        confirmations=confirmations,
        workers=workers or _cores(),
        take_open_jobs=open_jobs,
        price_base=parse_amount(price_base, "price_base"),
        price_per_shot=parse_amount(price_per_shot, "price_per_shot"),
        trusted_validators=_addresses(settings, trust_validator, "trust_validator"),
        trusted_arbiters=_addresses(settings, trust_arbiter, "trust_arbiter"),
    )
    chain = open_chain(settings)
    signer, key = open_keys(settings)
    _require_registered(chain, signer.address, key.public)
    journal_path = settings.journal(chain.chain_id, signer.address)
    with _open_node(settings, chain, signer, key, config, journal_path, json) as node:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: node.stop())
        if not json:
            say(f"Oracle {signer.address} on chain {chain.chain_id}, {config.workers} workers; Ctrl-C ends it")
            sys.stdout.flush()
        node.run()
    if not json:
        note("the node has stopped; start it again to go on")


@app.command()
def status(account: Account = None, rpc: Rpc = None, json: Json = False) -> None:
    """Stake, credits and jobs of this oracle; works while its node runs."""
    from oracle.node.status import read_status

    settings = load_settings(rpc=rpc, account=account)
    chain = open_chain(settings)
    address = party_address(settings, account_name(settings), "account")
    stake, locked = chain.registry.stake_of(address)
    journal = None
    try:
        journal = read_status(settings.journal(chain.chain_id, address))
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
        for job in journal.open:
            say(f"  job {job.job_id:>6}  {job.step:<10} deadline {when(job.deadline)}  {job.note}".rstrip())


@app.command()
def rebuild(account: Account = None, rpc: Rpc = None, json: Json = False) -> None:
    """Make a lost or damaged journal anew from the chain; what is left of the old one is kept beside it."""
    from oracle.node.config import NodeConfig
    from oracle.node.rebuild import rebuild as rebuilt

    settings = load_settings(rpc=rpc, account=account)
    chain = open_chain(settings)
    address = own_address(settings)
    path = settings.journal(chain.chain_id, address)
    with progress("Reading the chain", quiet=json):
        report = rebuilt(chain, address, path, NodeConfig())
    rows = {"journal": str(path), "kept": str(report.kept) if report.kept else None, "last_block": report.last_block}
    rows |= {"nonce": report.nonce, "jobs": report.jobs}
    if json:
        return show_json(rows)
    jobs = ", ".join(f"{number} {step}" for step, number in report.jobs.items()) or "none"
    facts({name: value for name, value in rows.items() if value is not None} | {"jobs": jobs})
    say("Transactions that were signed and not mined are taken for sent; results not delivered are computed again.")
    say("Next: qscrow oracle run")


def _open_node(
    settings: Settings,
    chain: ChainClient,
    signer: Any,
    key: Any,
    config: NodeConfig,
    journal: Path,
    json: bool,
) -> Any:
    """A context manager around a node with everything it needs; closes it all in the end."""
    from oracle.node.assembly import opened_node

    def report(job_id: int, step: str, text: str) -> None:
        if json:
            show_json_line({"job": job_id, "step": str(step), "note": text})
        else:
            say(f"  job {job_id:>6}  {step:<10} {text}".rstrip())
            sys.stdout.flush()

    return opened_node(
        chain,
        signer,
        key,
        store=open_content(settings),
        journal=journal,
        config=config,
        report=report,
        complain=note,
    )


def _require_registered(chain: ChainClient, address: str, public: bytes) -> None:
    known = chain.registry.sealing_key_of(address)
    if known != public:
        what = "is not registered" if not any(known) else "is registered with another sealing key"
        raise InputError(f"{address} {what}", field="account", remedy="run `qscrow oracle register` first")


def _addresses(settings: Settings, texts: list[str] | None, field: str) -> frozenset[str]:
    return frozenset(party_address(settings, text, field) for text in texts or ())


def _profile(config: NodeConfig) -> dict[str, Any]:
    """What this oracle offers, for requesters who look for one."""
    from oracle.circuits.limits import CircuitLimits

    limits = CircuitLimits()
    return {
        "type": "qscrow.profile",
        "version": 1,
        "engines": ["aer"],
        "formats": ["openqasm2", "openqasm3"],
        "max_qubits": limits.qubits,
        "max_shots": limits.shots,
        "price_base": str(config.price_base),
        "price_per_shot": str(config.price_per_shot),
    }


def _cores() -> int:
    import os

    return os.cpu_count() or 1
