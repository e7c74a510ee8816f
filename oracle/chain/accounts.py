"""Accounts that sign: keystore-v3 files (Web3 Secret Storage) or keys in environment files."""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Any

from oracle.jobs.canonical import parse_json
from oracle.jobs.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def create_account(folder: Path, name: str, password: str, *, key: bytes | None = None, n: int = 2**17) -> str:
    """Write a new account (or the one of ``key``) to ``<folder>/<name>.json``; returns its address.

    ``n`` is scrypt's work factor. Raises :class:`InputError` for a bad name or one that exists.
    """
    from eth_account import Account
    from eth_keyfile import create_keyfile_json

    path = account_path(folder, name)
    if path.exists():
        raise InputError("exists already", field=str(path), remedy="choose another name")
    account = Account.from_key(key) if key else Account.create()
    document = create_keyfile_json(bytes(account.key), password.encode(), kdf="scrypt", iterations=n)
    document["address"] = account.address
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder) as file:  # created with mode 0600, removed on leaving
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
            os.link(file.name, path)  # unlike a rename, never replaces a file that appeared meanwhile
    except FileExistsError:
        raise InputError("exists already", field=str(path), remedy="choose another name") from None
    except OSError as err:
        raise InputError(f"cannot be written ({err.strerror})", field=str(path)) from None
    return account.address


def load_account(folder: Path, name: str, password: str) -> Any:
    """The signing account (``eth_account`` LocalAccount) stored under ``name``. Raises :class:`InputError`."""
    from eth_account import Account

    path = account_path(folder, name)
    document = _keystore(path)
    try:
        return Account.from_key(Account.decrypt(document, password))
    except ValueError:
        raise InputError("wrong password", field=str(path), remedy="give the right --password-file") from None
    except (KeyError, TypeError, AttributeError, NotImplementedError):
        raise InputError("is not a keystore-v3 file", field=str(path)) from None


def account_address(folder: Path, name: str) -> str:
    """Address of the account stored under ``name``, without its password. Raises :class:`InputError`."""
    from oracle.jobs.identity import parse_address

    path = account_path(folder, name)
    address = _keystore(path).get("address")
    if not isinstance(address, str):
        raise InputError("does not name its address", field=str(path))
    return parse_address(address if address.startswith("0x") else "0x" + address, str(path))


def list_accounts(folder: Path) -> dict[str, str]:
    """Names and addresses of the accounts in ``folder``."""
    return {path.stem: account_address(folder, path.stem) for path in sorted(folder.glob("*.json"))}


def load_account_from_env_file(path: Path) -> Any:
    """The account whose key stands as ``QSCROW_PRIVATE_KEY=0x…`` in an environment file. Raises :class:`InputError`."""
    from eth_account import Account

    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise InputError("others can read it", field=str(path), remedy=f"chmod 600 {path}")
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as err:
        said = getattr(err, "strerror", None) or "it is no text"
        raise InputError(f"cannot be read ({said})", field=str(path), remedy="name a file that you can read") from None
    values = [line.split("=", 1)[1].strip() for line in lines if line.startswith("QSCROW_PRIVATE_KEY=")]
    try:
        (value,) = values
        return Account.from_key(bytes.fromhex(value.removeprefix("0x")))
    except Exception:  # whatever the key parser says could quote the key
        raise InputError("must hold one line QSCROW_PRIVATE_KEY=0x<64 hex digits>", field=str(path)) from None


def account_path(folder: Path, name: str) -> Path:
    """File of the account ``name``. Raises :class:`InputError` for a name that is not a plain word."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{name[:60]!r} is not a name", field="account", remedy="use letters, digits, _ . -")
    return folder / f"{name}.json"


def read_password(path: Path) -> str:
    """The first line of a password file. Raises :class:`InputError`."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as err:
        said = getattr(err, "strerror", None) or "it is no text"
        raise InputError(f"cannot be read ({said})", field=str(path), remedy="name a file that you can read") from None
    return text.splitlines()[0] if text else ""


def _keystore(path: Path) -> dict[str, Any]:
    try:
        document = parse_json(path.read_bytes(), str(path), 64 * 1024)
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json"))) or "none"
        raise InputError(
            f"no such account (known: {known})", field=path.stem, remedy="use `qscrow account new`"
        ) from None
    except OSError as err:
        raise InputError(f"cannot be read ({err.strerror})", field=str(path)) from None
    if not isinstance(document, dict):
        raise InputError("is not a keystore-v3 file", field=str(path))
    return document
