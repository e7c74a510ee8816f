"""``qscrow promote``, ``refund``, ``cancel``, ``withdraw`` and ``balance``: what happens to a job's money."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oracle.cli import wording
from oracle.cli.context import (
    Account,
    PasswordFile,
    Rpc,
    account_name,
    open_account,
    open_chain,
    party_address,
)
from oracle.cli.following import Job
from oracle.cli.output import Json, facts, progress, say, show_json
from oracle.cli.settings import Settings, load_settings
from oracle.jobs.amounts import format_wei, parse_amount
from oracle.jobs.errors import InputError
from oracle.jobs.terms import ZERO_ADDRESS

if TYPE_CHECKING:
    from oracle.requester.money import Ended

Token = Annotated[str | None, typer.Option(metavar="ADDRESS", help="An ERC-20 token; default: native currency.")]


def refund(
    job: Job, account: Account = None, password_file: PasswordFile = None, rpc: Rpc = None, json: Json = False
) -> None:
    """End a job whose time is over: money goes where it belongs.

    The payer gets the budget back if nobody accepted, and the oracle's bond as well if it did not deliver. A
    delivered job is settled. Anyone may do it, whoever the money belongs to.
    """
    from oracle.requester.money import end_job

    _end(end_job, job, load_settings(rpc=rpc, account=account, password_file=password_file), json)


def cancel(
    job: Job, account: Account = None, password_file: PasswordFile = None, rpc: Rpc = None, json: Json = False
) -> None:
    """Take back a job that nobody has accepted yet."""
    from oracle.requester.money import cancel_job

    _end(cancel_job, job, load_settings(rpc=rpc, account=account, password_file=password_file), json)


def _end(how: Callable[..., Ended], job: int, settings: Settings, json: bool) -> None:
    from oracle.chain.history import fetch_job
    from oracle.chain.sender import Sender

    with progress("sending", quiet=json):
        chain = open_chain(settings)
        history = fetch_job(chain, job)
        done = how(history, chain=chain, sender=Sender(chain.w3, open_account(settings), chain_id=chain.chain_id))
    transaction = "0x" + done.receipt.tx_hash.hex()
    if json:
        return show_json(wording.history_document(done.job) | {"transaction": transaction})
    say(f"{wording.ending(done.job)} ({transaction})")
    say("`qscrow withdraw` takes it out")


def promote(
    job: Job,
    add: Annotated[str, typer.Option(metavar="AMOUNT", help="Add to the budget, for example '0.5 ether'.")] = "0",
    evidence: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="What it rests on; default: the simulation reported on chain.")
    ] = None,
    account: Account = None,
    password_file: PasswordFile = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Let an accepted job onto hardware; only its requester can, once."""
    from oracle.chain.history import fetch_job
    from oracle.chain.sender import Sender
    from oracle.requester.money import promote_job

    settings = load_settings(rpc=rpc, account=account, password_file=password_file)
    extra, proof = parse_amount(add, "add"), _digest(evidence)
    with progress("sending", quiet=json):
        chain = open_chain(settings)
        history = fetch_job(chain, job)
        sender = Sender(chain.w3, open_account(settings), chain_id=chain.chain_id)
        done = promote_job(history, chain=chain, sender=sender, extra=extra, evidence=proof)
    transaction = "0x" + done.receipt.tx_hash.hex()
    if json:
        return show_json(wording.history_document(done.job) | {"transaction": transaction})
    say(f"job {job} may run on hardware, with a budget of {format_wei(done.job.terms.budget)} ({transaction})")


def _digest(text: str | None) -> bytes | None:
    if text is None:
        return None
    plain = text.removeprefix("ipfs://f01551220").removeprefix("0x")
    if not re.fullmatch("[0-9a-fA-F]{64}", plain):
        raise InputError(f"{text[:60]!r} is not a digest", field="evidence", remedy="give 0x and 64 hex digits")
    return bytes.fromhex(plain)


def withdraw(
    token: Token = None,
    to: Annotated[str | None, typer.Option(help="Address or account to send to; default: your own.")] = None,
    account: Account = None,
    password_file: PasswordFile = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Take out everything the escrow owes you."""
    from oracle.chain.sender import Sender
    from oracle.requester.money import withdraw as take_out

    settings = load_settings(rpc=rpc, account=account, password_file=password_file)
    asset = _token(token)
    recipient = party_address(settings, to, "to") if to else None
    with progress("sending", quiet=json):
        chain = open_chain(settings)
        sender = Sender(chain.w3, open_account(settings), chain_id=chain.chain_id)
        done = take_out(recipient or sender.address, chain=chain, sender=sender, token=asset)
    transaction = "0x" + done.receipt.tx_hash.hex()
    if json:
        gas = {"gas": done.receipt.gas_used, "fee": str(done.receipt.fee)}
        return show_json(
            {
                "amount": str(done.amount),
                "token": _token_name(asset),
                "to": done.to,
                "transaction": transaction,
                **gas,
            }
        )
    say(f"{_amount(done.amount, asset)} sent to {done.to} ({transaction})")


def balance(token: Token = None, account: Account = None, rpc: Rpc = None, json: Json = False) -> None:
    """What an account holds, and what the escrow owes it."""
    settings = load_settings(rpc=rpc, account=account)
    asset = _token(token)
    address = party_address(settings, account_name(settings), "account")
    chain = open_chain(settings)
    held, owed = chain.balance(address), chain.escrow.credit_of(address, asset)
    if json:
        return show_json({"address": address, "balance": str(held), "token": _token_name(asset), "credit": str(owed)})
    rows: dict[str, Any] = {
        "address": address,
        "balance": format_wei(held),
        "owed by the escrow": _amount(owed, asset),
    }
    facts(rows)


def _token(text: str | None) -> str:
    from oracle.jobs.identity import parse_address

    return parse_address(text, "token") if text else ZERO_ADDRESS


def _token_name(token: str) -> str:
    return "native" if token == ZERO_ADDRESS else token


def _amount(value: int, token: str) -> str:
    return format_wei(value) if token == ZERO_ADDRESS else f"{value} of {token}"
