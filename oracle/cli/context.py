"""What several commands open: the chain, the store, accounts and their keys."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oracle.cli.settings import Settings
from oracle.jobs.errors import InputError

if TYPE_CHECKING:
    from oracle.chain.client import ChainClient
    from oracle.content.store import ContentStore
    from oracle.sealing.keys import SealingKey

Rpc = Annotated[
    str | None,
    typer.Option("--rpc", metavar="URL", help="Chain endpoint, or several with commas between [QSCROW_RPC]."),
]
Account = Annotated[str | None, typer.Option("--account", metavar="NAME", help="Signing account [QSCROW_ACCOUNT].")]
PasswordFile = Annotated[
    Path | None, typer.Option("--password-file", metavar="FILE", help="Its password [QSCROW_PASSWORD_FILE].")
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings [QSCROW_CONFIG]; default: <home>/config.toml."),
]


def named(account: str | None) -> str:
    """The option that repeats ``account`` in a command to go on with, as written after it; empty if none was given."""
    return f" --account {account}" if account else ""


def open_chain(settings: Settings) -> ChainClient:
    """The chain behind the configured endpoint, with its contracts checked."""
    from oracle.chain.client import ChainClient, connect, endpoint_name
    from oracle.chain.deployments import Deployment
    from oracle.chain.failures import translated

    w3 = connect(settings.rpc)
    with translated(endpoint_name(w3)):
        chain_id = w3.eth.chain_id
    deployment = Deployment.load(settings.deployments(chain_id), chain_id)
    client = ChainClient(w3, deployment, block_range=settings.node.block_range)
    client.check()
    return client


def open_content(settings: Settings) -> ContentStore:
    """The configured content store."""
    from oracle.content.select import open_store

    return open_store(settings.content, settings.content_environment(), max_bytes=settings.node.content_max_bytes)


def account_name(settings: Settings) -> str:
    """The account to sign with: the configured one, or the only one there is."""
    from oracle.chain.accounts import list_accounts

    if settings.account:
        return settings.account
    known = list(list_accounts(settings.accounts))
    if len(known) == 1:
        return known[0]
    remedy = f"give --account, one of: {', '.join(known)}" if known else "make one with `qscrow account new NAME`"
    raise InputError("no account is chosen", field="account", remedy=remedy)


def open_account(settings: Settings, ask: Callable[[], str] | None = None) -> Any:
    """The unlocked signing account, or the external signer; ``ask`` stands in for :func:`password`."""
    if not signs_with_keystore(settings):
        return _other_signer(settings)
    name = _known_account(settings)
    return _signing_account(settings, name, ask() if ask else password(settings))


def open_sealing_key(settings: Settings, ask: Callable[[], str] | None = None) -> SealingKey:
    """The unlocked sealing key of the chosen account; ``ask`` stands in for :func:`password`."""
    name = sealing_name(settings)
    return _sealing_key(settings, name, ask() if ask else password(settings))


def open_keys(settings: Settings, heard: Callable[[str], None] = lambda _: None) -> tuple[Any, SealingKey]:
    """Signing account and sealing key of the chosen account, unlocked with one password, which ``heard`` is told."""
    sealing = sealing_name(settings)
    name = _known_account(settings) if signs_with_keystore(settings) else None
    secret = password(settings)
    heard(secret)
    if name is None:
        return _other_signer(settings), _sealing_key(settings, sealing, secret)
    return _signing_account(settings, name, secret), _sealing_key(settings, sealing, secret)


def own_address(settings: Settings) -> str:
    """Address of whoever signs; needs no password."""
    if not signs_with_keystore(settings):
        return _other_signer(settings).address
    return party_address(settings, account_name(settings), "account")


def signs_with_keystore(settings: Settings) -> bool:
    """Whether a keystore file signs, rather than an environment file or an external signer."""
    return not (settings.env_file or settings.signer_url)


def sealing_name(settings: Settings) -> str:
    """Name of the sealing key: the configured one, or the account's."""
    if settings.sealing_key:
        return settings.sealing_key
    if signs_with_keystore(settings):
        return _known_account(settings)
    raise InputError("is missing", field="account.sealing_key", remedy="name a key made with `qscrow account new`")


def _other_signer(settings: Settings) -> Any:
    from oracle.chain.signers import open_signer

    return open_signer(
        {
            "env_file": settings.env_file,
            "signer_url": settings.signer_url,
            "signer_address": settings.signer_address,
            "signer_kind": settings.signer_kind,
            "signer_timeout": settings.signer_timeout,
        }
    )


def _known_account(settings: Settings) -> str:
    """The chosen account's name, once it is sure that it exists: nobody types a password for nothing."""
    from oracle.chain.accounts import account_address

    name = account_name(settings)
    account_address(settings.accounts, name)
    return name


def _signing_account(settings: Settings, name: str, secret: str) -> Any:
    from oracle.chain.accounts import load_account

    return load_account(settings.accounts, name, secret)


def _sealing_key(settings: Settings, name: str, secret: str) -> SealingKey:
    from oracle.chain.accounts import account_path
    from oracle.sealing.keys import SealingKey

    path = account_path(settings.sealing, name)
    if not path.exists():
        raise InputError(
            "has no sealing key",
            field=name,
            remedy=f"restore {path} from your backup, or make another account",
        )
    return SealingKey.load(path, secret)


def party_address(settings: Settings, text: str, field: str) -> str:
    """An address, or the address of the account of that name. Raises :class:`InputError` naming ``field``."""
    from oracle.chain.accounts import account_address, account_path
    from oracle.jobs.identity import parse_address

    if text.startswith("0x"):
        return parse_address(text, field)
    try:
        known = account_path(settings.accounts, text).exists()
    except InputError:
        known = False
    if not known:
        raise InputError(
            f"{text[:60]!r} is neither an address nor an account here",
            field=field,
            remedy="give 0x and 40 hex digits",
        )
    return account_address(settings.accounts, text)


def password(settings: Settings, *, new: bool = False) -> str:
    """From the named file, the home's, or the terminal; a ``new`` one is asked for twice.

    Raises :class:`InputError` if there is no way to ask, or if it is empty.
    """
    from oracle.chain.accounts import read_password

    path = settings.password_file
    if path is None and settings.default_password.exists():
        path = settings.default_password
    if path is None and not sys.stdin.isatty():
        raise InputError("no password is given", field="password", remedy="use --password-file or QSCROW_PASSWORD_FILE")
    if path is None:
        return typer.prompt("Password", hide_input=True, err=True, confirmation_prompt=new)
    secret = read_password(path)
    if not secret:
        raise InputError("holds no password", field=str(path), remedy="put it on the first line")
    return secret
