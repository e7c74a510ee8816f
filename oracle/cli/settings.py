"""The configuration: flags beat the environment, which beats one TOML file, ``<home>/config.toml``.

Everything is read and checked at once, so that a person gets every mistake in one list.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

from oracle.circuits.limits import CircuitLimits
from oracle.cli.catalogue import PLACES, SECTIONS, all_settings
from oracle.jobs.errors import InputError
from oracle.node.config import NodeConfig, Setting, contradictions, node_settings
from oracle.node.kinds import File, Files, Secret

FLAT = {"rpc": "chain.rpc", "account": "account.name", "password_file": "account.password_file"}
_RANK = {"default": 0, "file": 1, "environment": 2, "flag": 3}
_SIGNERS = ("account.name", "account.env_file", "account.signer_url")


class SettingsError(InputError):
    """Several settings cannot be used; ``problems`` has one error for each."""

    def __init__(self, problems: list[InputError]):
        self.problems = problems
        super().__init__(f"{len(problems)} settings cannot be used")

    def __str__(self) -> str:
        return "\n".join([f"{self.message}:", *(f"  {problem}" for problem in self.problems)])

    def as_dict(self) -> dict[str, Any]:
        """See :class:`~oracle.jobs.errors.QscrowError`; with the list ``problems``."""
        return {**super().as_dict(), "problems": [problem.as_dict() for problem in self.problems]}


@dataclass(frozen=True)
class Origin:
    """Where a value comes from: ``level`` is default, file, environment or flag; ``place`` is what to correct."""

    level: str
    place: str


@dataclass(frozen=True)
class Settings:
    """Resolved settings. Of ``account``, ``env_file`` and ``signer_url`` at most one is set.

    ``origins`` says for ``section.key`` where the value comes from.
    """

    home: Path
    rpc: tuple[str, ...] = field(repr=False)  # may hold credentials, as may the other URLs
    account: str | None
    password_file: Path | None
    env_file: Path | None = None
    signer_url: str = field(default="", repr=False)
    signer_address: str = ""
    signer_kind: str = "clef"
    signer_timeout: float = 30.0
    sealing_key: str = ""
    kubo_api: tuple[str, ...] = field(default=(), repr=False)
    kubo_authorization: str = field(default="", repr=False)
    kubo_authorization_files: tuple[Path | None, ...] = ()
    kubo_client: str = "http"
    gateways: tuple[str, ...] = ()
    log_format: str = "text"
    log_level: str = "info"
    log_file: Path | None = None
    node: NodeConfig = field(default_factory=NodeConfig)
    limits: CircuitLimits = field(default_factory=CircuitLimits)
    origins: Mapping[str, Origin] = field(default_factory=dict, repr=False)

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

    def verdicts(self, chain_id: int, validator: str) -> Path:
        """The journal of the validator that signs as ``validator``."""
        return self.home / "journals" / f"{chain_id}-{validator.lower()}-verdicts.db"

    def content_environment(self) -> dict[str, str]:
        """What :func:`oracle.content.select.open_store` wants to know, under its own names."""
        values = {
            "KUBO_API": ",".join(self.kubo_api),
            "KUBO_AUTHORIZATION": self.kubo_authorization,
            "KUBO_AUTHORIZATION_FILE": ",".join(str(path or "") for path in self.kubo_authorization_files),
            "KUBO_CLIENT": "" if self.kubo_client == "http" else self.kubo_client,
            "QSCROW_GATEWAYS": ",".join(self.gateways),
        }
        return {name: value for name, value in values.items() if value}

    def shown(self) -> list[tuple[Setting, str, Origin]]:
        """Every setting with its value as it would stand in the file, without secrets, and where it comes from."""
        return [
            (setting, setting.kind.show(getattr(self._owner(setting), setting.attribute)), self.origins[setting.name])
            for setting in all_settings()
        ]

    def _owner(self, setting: Setting) -> Any:
        if setting.section == "limits":
            return self.limits
        return self if setting in PLACES else self.node


def load_settings(**options: Any) -> Settings:
    """:func:`read_settings`. Raises :class:`InputError`, a :class:`SettingsError` if there is more than one mistake."""
    settings, problems = read_settings(**options)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise SettingsError(problems)
    return settings


def read_settings(
    *,
    rpc: str | None = None,
    account: str | None = None,
    password_file: Path | None = None,
    config: Path | None = None,
    flags: Mapping[str, Any] = MappingProxyType({}),
    env: Mapping[str, str] = os.environ,
) -> tuple[Settings, list[InputError]]:
    """Settings from flags, environment and file, and everything that is wrong with them.

    ``flags`` has texts (or truth values) by ``section.key``; those that are ``None`` were not given. What is wrong is
    left at its default.
    """
    home = Path(env.get("QSCROW_HOME") or Path.home() / ".qscrow").expanduser()
    given = {"chain.rpc": rpc, "account.name": account, "account.password_file": password_file, **flags}
    reading = _Reading()
    reading.take_file(config or env.get("QSCROW_CONFIG"), home / "config.toml")
    reading.take_environment(env)
    reading.take_flags(given)
    return reading.settings(home), reading.problems


class _Reading:
    """Collects values, where they come from, and what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[InputError] = []
        self._settings = {setting.name: setting for setting in all_settings()}
        self._values = {name: setting.default for name, setting in self._settings.items()}
        self._origins = {name: Origin("default", name) for name in self._settings}

    # ------------------------------------------------------------------------------------------ sources

    def take_file(self, named: str | Path | None, usual: Path) -> None:
        """Read the TOML file. One that was asked for must exist; the usual one may be missing."""
        path = Path(named).expanduser() if named else usual
        try:
            document = tomllib.loads(path.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
            if isinstance(err, FileNotFoundError) and not named:
                return
            reason = err.strerror if isinstance(err, OSError) else " ".join(str(err).split())
            self._complain(str(path), InputError(f"cannot be used ({reason})", remedy="correct it or remove it"))
            return
        for name, place, raw in self._entries(document, path):
            self._take_raw(name, Origin("file", place), raw, path.parent)

    def take_environment(self, env: Mapping[str, str]) -> None:
        """Read the variables. The setting's own name beats the other names it has."""
        known = set()
        for name, setting in self._settings.items():
            for variable in (*setting.names, setting.variable):
                known |= {variable, f"{variable}_FILE"}
                if setting.by_file and (path := env.get(f"{variable}_FILE")):
                    self._take_secret(name, Origin("environment", f"{variable}_FILE"), Path(path).expanduser())
                elif env.get(variable):
                    self._take(name, Origin("environment", variable), setting.kind.parse_text, env[variable])
        sections = tuple(f"QSCROW_{section}_".upper() for section in SECTIONS)
        for variable in sorted(env):
            if variable.startswith(sections) and variable not in known:
                self._complain(variable, InputError("unknown setting", remedy=_suggestion(variable, known)))

    def take_flags(self, given: Mapping[str, Any]) -> None:
        """Read what was given on the command line."""
        for name, raw in given.items():
            if raw is None:
                continue
            setting = self._settings[name]
            if isinstance(raw, (bool, list)):
                self._take(name, Origin("flag", setting.option or name), setting.kind.parse, raw)
            else:
                self._take(name, Origin("flag", setting.option or name), setting.kind.parse_text, str(raw))

    # ------------------------------------------------------------------------------------------- values

    def settings(self, home: Path) -> Settings:
        """What was read, with the defaults for what cannot be used."""
        self._choose_signer()
        self._check_content()
        places, node = self._targets(PLACES), self._targets(node_settings())
        limits = self._targets(setting for setting in self._settings.values() if setting.section == "limits")
        wrong = list(contradictions(SimpleNamespace(**node)))
        for problem in wrong:
            self._complain(self._origins[problem.field or ""].place, problem)
        return Settings(
            home=home,
            **{**places, "account": places["account"] or None},
            node=NodeConfig() if wrong else NodeConfig(**node),
            limits=CircuitLimits(**limits),
            origins=self._origins,
        )

    def _targets(self, settings: Iterable[Setting]) -> dict[str, Any]:
        return {setting.attribute: self._values[setting.name] for setting in settings}

    def _choose_signer(self) -> None:
        """The way to sign that was given at the highest level replaces the others; two at one level contradict."""
        chosen = [name for name in _SIGNERS if self._values[name]]
        rank = {name: _RANK[self._origins[name].level] for name in chosen}
        best = [name for name in chosen if rank[name] == max(rank.values())]
        for name in chosen:
            if name not in best:
                self._values[name] = self._settings[name].default
                self._origins[name] = Origin("default", name)
        if len(best) > 1:
            self._complain(
                self._origins[best[1]].place,
                InputError(f"contradicts {best[0]}", remedy="sign with one of name, env_file and signer_url"),
            )
        if best == ["account.signer_url"] and not self._values["account.signer_address"]:
            self._complain(
                self._origins[best[0]].place,
                InputError("needs signer_address", remedy="say which of the signer's accounts to use"),
            )

    def _check_content(self) -> None:
        nodes = len(self._values["content.kubo_api"])
        for name in ("content.kubo_authorization", "content.kubo_authorization_file"):
            if self._values[name] and not nodes:
                err = InputError("is of no use without kubo_api", remedy="name the Kubo node, or remove it")
                self._complain(self._origins[name].place, err)
        files = self._values["content.kubo_authorization_file"]
        if nodes and files and len(files) != nodes:
            err = InputError(f"has {len(files)} files for {nodes} nodes", remedy="name one for each of kubo_api")
            self._complain(self._origins["content.kubo_authorization_file"].place, err)

    # ------------------------------------------------------------------------------------------- reading

    def _entries(self, document: dict[str, Any], path: Path) -> Iterator[tuple[str, str, Any]]:
        """(setting, where it stands, value) for every entry of the file that is known; complains of the others."""
        for key, value in document.items():
            if key in FLAT and not isinstance(value, dict):
                yield FLAT[key], f"{path}: {key}", value
            elif key not in SECTIONS:
                known = {*SECTIONS, *FLAT}
                self._complain(f"{path}: {key}", InputError("unknown setting", remedy=_suggestion(key, known)))
            elif not isinstance(value, dict):
                self._complain(
                    f"{path}: {key}", InputError("is a section", remedy=f"write [{key}] on a line of its own")
                )
            else:
                yield from self._section(key, value, path)

    def _section(self, section: str, entries: dict[str, Any], path: Path) -> Iterator[tuple[str, str, Any]]:
        known = {s.key: s for s in self._settings.values() if s.section == section}
        files = {f"{key}_file": setting for key, setting in known.items() if setting.by_file}
        for key, value in entries.items():
            if key in known or key in files:
                yield f"{section}.{key}", f"{path}: {section}.{key}", value
            else:
                remedy = _suggestion(key, known.keys() | files.keys())
                self._complain(f"{path}: {section}.{key}", InputError("unknown setting", remedy=remedy))

    def _take_raw(self, name: str, origin: Origin, raw: Any, folder: Path) -> None:
        """Take an entry of the file; paths in it are relative to the file's folder."""
        if name not in self._settings:
            name = name.removesuffix("_file")
            if isinstance(raw, str):
                return self._take_secret(name, origin, folder / Path(raw).expanduser())
            return self._complain(origin.place, InputError("is not a path", remedy="put it in quotes"))
        kind = self._settings[name].kind
        if type(kind) is Secret:
            remedy = f"put it in a file of its own and name that in {name.partition('.')[2]}_file"
            return self._complain(origin.place, InputError("is a secret and does not belong here", remedy=remedy))
        self._take(name, origin, kind.parse, raw)
        value = self._values[name]
        if isinstance(kind, File) and value is not None:
            self._values[name] = folder / value
        if isinstance(kind, Files):
            self._values[name] = tuple(path and folder / path for path in value)
        return None

    def _take_secret(self, name: str, origin: Origin, path: Path) -> None:
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as err:
            reason = err.strerror if isinstance(err, OSError) else "it is not text"
            return self._complain(origin.place, InputError(f"{path} cannot be read ({reason})", remedy="correct it"))
        return self._take(name, origin, self._settings[name].kind.parse_text, text)

    def _take(self, name: str, origin: Origin, parse: Any, raw: Any) -> None:
        try:
            self._values[name] = parse(raw)
            self._origins[name] = origin
        except InputError as err:
            self._complain(origin.place, err)

    def _complain(self, place: str, err: InputError) -> None:
        self.problems.append(InputError(err.message, field=place, remedy=err.remedy))


def _suggestion(name: str, known: Iterable[str]) -> str:
    """The known name that is most like ``name``, or all of them if none is."""
    ordered = sorted(known)
    close = difflib.get_close_matches(name, ordered, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(ordered)}" if len(ordered) <= 12 else "`qscrow oracle config` lists what there is"
