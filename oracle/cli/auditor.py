"""``qscrow audit``: what anyone can check from the chain alone."""

from __future__ import annotations

import typer

from oracle.cli.context import Rpc, open_chain
from oracle.cli.output import Json, facts, say, show_json
from oracle.cli.settings import load_settings
from oracle.jobs.amounts import format_wei
from oracle.jobs.errors import CheckFailed

app = typer.Typer(no_args_is_help=True, help="Rebuild and check what happened, from the chain alone.")


@app.callback()
def _group() -> None:
    """Rebuild and check what happened, from the chain alone."""


@app.command()
def ledger(rpc: Rpc = None, json: Json = False) -> None:
    """Where every wei of every job went, held against the contract. Exit code 9 if anything does not add up."""
    from oracle.audit.ledger import build_ledger

    books = build_ledger(open_chain(load_settings(rpc=rpc)))
    if json:
        show_json(books.as_dict())
    else:
        facts(
            {
                "locked in budgets": format_wei(books.locked),
                "paid to oracles": format_wei(books.to_oracles),
                "paid to validators": format_wei(books.to_validators),
                "back to payers": format_wei(books.to_payers),
                "still held": format_wei(books.held),
                "slashed bonds": format_wei(books.slashed),
                "withdrawn": format_wei(books.withdrawn),
            }
        )
        for check in books.checks:
            say(f"  {'ok  ' if check.ok else 'FAIL'} {check.name} ({check.detail})")
    if not books.balanced:
        raise CheckFailed("the books do not balance", remedy="look at the failed checks")
