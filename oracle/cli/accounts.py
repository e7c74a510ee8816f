"""``qscrow account``: signing accounts and the sealing keys that go with them."""

from __future__ import annotations

from typing import Annotated

import typer

from oracle.cli.context import PasswordFile, password
from oracle.cli.output import Json, facts, progress, say, show_json
from oracle.cli.settings import load_settings
from oracle.jobs.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Accounts that sign, and the keys results are sealed to.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, _ . -")]


@app.command()
def new(name: Name, password_file: PasswordFile = None, json: Json = False) -> None:
    """Make a new account and its sealing key, both as keystore-v3 files."""
    from oracle.chain.accounts import account_path, create_account
    from oracle.sealing.keys import SealingKey

    settings = load_settings(password_file=password_file)
    files = account_path(settings.accounts, name), account_path(settings.sealing, name)
    for path in files:
        if path.exists():
            raise InputError("exists already", field=str(path), remedy="choose another name")
    secret = password(settings, new=True)
    if not secret:
        raise InputError("must not be empty", field="password")
    key = SealingKey.generate()
    with progress("encrypting the keys", quiet=json):
        address = create_account(settings.accounts, name, secret)
        try:
            settings.sealing.mkdir(parents=True, exist_ok=True)
            key.save(files[1], secret)
        except BaseException:
            files[0].unlink()  # an account without its sealing key could submit nothing
            raise
    rows = {
        "address": address,
        "sealing_key": "0x" + key.public.hex(),
        "account_file": str(files[0]),
        "sealing_file": str(files[1]),
    }
    if json:
        return show_json({"name": name, **rows})
    say(f"Account {name}")
    facts(rows)
    say("Back up both files and the password: results sealed to a lost key stay closed for ever.")


@app.command("list")
def list_(json: Json = False) -> None:
    """Names and addresses of all accounts."""
    from oracle.chain.accounts import list_accounts

    known = list_accounts(load_settings().accounts)
    if json:
        return show_json(known)
    facts(known) if known else say("no accounts; make one with `qscrow account new NAME`")


@app.command()
def show(name: Name, json: Json = False) -> None:
    """Address of one account, and where its two files are."""
    from oracle.chain.accounts import account_address, account_path

    settings = load_settings()
    sealing = account_path(settings.sealing, name)
    rows = {
        "address": account_address(settings.accounts, name),
        "account_file": str(account_path(settings.accounts, name)),
        "sealing_file": str(sealing) if sealing.exists() else None,
    }
    if json:
        return show_json({"name": name, **rows})
    say(f"Account {name}")
    facts(rows)
