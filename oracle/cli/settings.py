"""Where things are and which chain to ask: flags beat the environment, which beats ``<home>/config.toml``."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oracle.jobs.errors import InputError

DEFAULT_RPC = "http://127.0.0.1:8545"
_KEYS = ("rpc", "account", "password_file")


@dataclass(frozen=True)
class Settings:
    """Resolved settings. ``account`` and ``password_file`` are ``None`` unless configured."""

    home: Path
    rpc: str
    account: str | None
    password_file: Path | None

    @property
    def accounts(self) -> Path:
        """Keystore-v3 files of signing accounts."""
        return self.home / "accounts"

    @property
    def sealing(self) -> Path:
        """Sealing keys, named like their accounts."""
        return self.home / "sealing"

    @property
    def content(self) -> Path:
        """The embedded content store."""
        return self.home / "content"

    @property
    def default_password(self) -> Path:
        """The password file used when none is named."""
        return self.home / "password"

    def deployments(self, chain_id: int) -> Path:
        """The folder that knows the chain: the home's, else ``./deployments``."""
        own, here = self.home / "deployments", Path("deployments")
        return here if not (own / f"{chain_id}.json").exists() and (here / f"{chain_id}.json").exists() else own

    def journal(self, chain_id: int, oracle: str) -> Path:
        """The journal of the node that signs as ``oracle``."""
        return self.home / "journals" / f"{chain_id}-{oracle.lower()}.db"


def load_settings(
    *,
    rpc: str | None = None,
    account: str | None = None,
    password_file: Path | None = None,
    env: Mapping[str, str] = os.environ,
) -> Settings:
    """Settings from flags (the arguments), environment and file. Raises :class:`InputError`."""
    home = Path(env.get("QSCROW_HOME") or Path.home() / ".qscrow").expanduser()
    stored = _config(home / "config.toml")
    password = password_file or env.get("QSCROW_PASSWORD_FILE") or stored.get("password_file")
    return Settings(
        home=home,
        rpc=rpc or env.get("QSCROW_RPC") or stored.get("rpc") or DEFAULT_RPC,
        account=account or env.get("QSCROW_ACCOUNT") or stored.get("account"),
        password_file=Path(password).expanduser() if password else None,
    )


def _config(path: Path) -> dict[str, str]:
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else " ".join(str(err).split())
        raise InputError(f"cannot be used ({reason})", field=str(path), remedy="correct it or remove it") from None
    for key, value in values.items():
        if key not in _KEYS:
            raise InputError("unknown setting", field=f"{path}: {key}", remedy=f"known: {', '.join(_KEYS)}")
        if not isinstance(value, str):
            raise InputError("must be text", field=f"{path}: {key}", remedy="put it in quotes")
    return values
