"""What an operator does before and beside running a node: looking at the settings and trying out what they name."""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oracle.cli.context import (
    Account,
    ConfigFile,
    PasswordFile,
    Rpc,
    open_account,
    open_sealing_key,
    own_address,
    password,
)
from oracle.cli.output import Json, printable, say, show_json
from oracle.cli.roles import ORACLE, Role
from oracle.cli.settings import Settings, SettingsError, load_settings, read_settings
from oracle.jobs.errors import CheckFailed, InputError, QscrowError

if TYPE_CHECKING:
    from oracle.node.check import Finding, Subject

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}
COMMENT_WIDTH = 110


def check(
    account: Account = None,
    password_file: PasswordFile = None,
    rpc: Rpc = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Try everything a node depends on, and say what to do about what does not work.

    Exit code 0 if a node can run (warnings included), 9 if something fails. It stores one small block and changes
    nothing else; a node may be running meanwhile.
    """
    settings = load_settings(rpc=rpc, account=account, password_file=password_file, config=config)
    check_as(ORACLE, settings, json)


def check_as(role: Role, settings: Settings, json: bool) -> None:
    """Try everything that the process of ``role`` depends on. Raises :class:`CheckFailed` if something fails."""
    from oracle.node.check import Status, run_checks

    findings = run_checks(_subject(role, settings), found=(lambda _: None) if json else _show_finding)
    failed = [finding.check for finding in findings if finding.status == Status.FAIL]
    if json:
        show_json({"ok": not failed, "checks": [finding.as_dict() for finding in findings]})
        raise typer.Exit(CheckFailed.exit_code if failed else 0)
    if failed:
        raise CheckFailed(f"{len(failed)} of {len(findings)} checks failed: {', '.join(failed)}")
    warned = sum(finding.status == Status.WARN for finding in findings)
    say(f"{len(findings)} checks, {warned} {'warning' if warned == 1 else 'warnings'}: the {role.program} can run")


def config(
    template: Annotated[bool, typer.Option("--template", help="Print a file with every setting instead.")] = False,
    account: Account = None,
    password_file: PasswordFile = None,
    rpc: Rpc = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show every setting, its value and where that comes from; secrets are not shown.

    A setting that cannot be used is shown with its default, and everything that is wrong is listed at the end.
    """
    if template:
        document = "\n".join(_template())
        return show_json({"template": document}) if json else say(document)
    settings, problems = read_settings(rpc=rpc, account=account, password_file=password_file, config=config)
    if json:
        values = {
            setting.name: {"value": _plain(text), "from": origin.level, "place": origin.place}
            for setting, text, origin in settings.shown()
        }
        show_json({"home": str(settings.home), "settings": values, "problems": [each.as_dict() for each in problems]})
        raise typer.Exit(InputError.exit_code if problems else 0)
    for line in _listing(settings):
        say(line)
    if problems:
        raise problems[0] if len(problems) == 1 else SettingsError(problems)
    return None


# ------------------------------------------------------------------------------------------------ checks


def _subject(role: Role, settings: Settings) -> Subject:
    from oracle.node.check import Subject

    ask = _asked_now(settings)
    return Subject(
        home=settings.home,
        rpc=settings.rpc,
        config=settings.node,
        limits=settings.limits,
        deployments=settings.deployments,
        journal=partial(role.journal, settings),
        rival=partial(role.rival, settings),
        role=role.name,
        address=lambda: own_address(settings),
        open_account=lambda: open_account(settings, ask),
        open_sealing_key=lambda: open_sealing_key(settings, ask),
        stores=dict(_stores(settings)),
        signer=_external_signer(settings),
    )


def _asked_now(settings: Settings) -> Callable[[], str]:
    """The password, asked for once and in this thread: checks run side by side and could not ask."""
    try:
        secret = password(settings)
    except QscrowError as err:
        problem = err
    else:
        return lambda: secret

    def fail() -> str:
        raise problem

    return fail


def _external_signer(settings: Settings) -> Any:
    if not settings.signer_url:
        return None
    try:
        return open_account(settings)
    except QscrowError:  # the check of the account says so
        return None


def _stores(settings: Settings) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every place the node keeps content in, by a name for people."""
    from oracle.chain.failures import shown_url
    from oracle.content.select import open_places
    from oracle.content.store import BlockStore

    if not settings.kubo_api or settings.gateways or settings.node.gateway_port:
        yield "the embedded store", lambda: BlockStore(settings.content, max_bytes=settings.node.content_max_bytes)
    environment = settings.content_environment()
    for number, url in enumerate((*settings.kubo_api, *settings.gateways)):
        shown = url if url.startswith("/") else shown_url(url)
        yield shown, lambda number=number: open_places(environment)[number]


def _show_finding(finding: Finding) -> None:
    status = typer.style(f"{finding.status:<4}", fg=COLOURS[finding.status])
    typer.echo(f"{status}  {finding.check:<14}  {printable(finding.text)}")
    if finding.remedy:
        say(f"{'':<22}→ {finding.remedy}")


# ---------------------------------------------------------------------------------------------- settings


def _listing(settings: Settings) -> Iterator[str]:
    yield f"# home: {settings.home}"
    for section, entries in groupby(settings.shown(), key=lambda entry: entry[0].section):
        rows = [(f"{setting.key} = {text}", origin) for setting, text, origin in entries]
        width = min(60, max(len(text) for text, _ in rows))
        yield f"\n[{section}]"
        for text, origin in rows:
            source = "default" if origin.level == "default" else f"{origin.level}: {origin.place}"
            yield f"{text:<{width}}  # {source}"


def _template() -> Iterator[str]:
    """A file that sets nothing: every setting with its meaning and its default, commented out."""
    from oracle.cli.catalogue import all_settings
    from oracle.node.kinds import File, Secret

    yield "# Qscrow. Every setting with its default; remove the # in front of what you change."
    yield "# The environment (QSCROW_<SECTION>_<KEY>) beats this file, and options beat the environment."
    for section, settings in groupby(all_settings(), key=lambda setting: setting.section):
        yield f"\n[{section}]"
        for setting in settings:
            kind = "" if str(setting.kind) in ("text", "path") else f" ({setting.kind})"
            yield ""
            yield from textwrap.wrap(f"# {setting.help}{kind}", COMMENT_WIDTH, subsequent_indent="# ")
            if type(setting.kind) is Secret:
                yield f"# Not for this file: set {setting.variable}."
            elif type(setting.kind) is File:
                yield f'#{setting.key} = "/path/to/a/file"'
            else:
                yield f"#{setting.key} = {_default(setting)}"


def _default(setting: Any) -> str:
    # The number of cores is another one on another machine.
    return "4" if setting.name == "execution.workers" else setting.kind.show(setting.default)


def _plain(text: str) -> Any:
    """The value that ``text``, as it would stand in the file, means."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:  # a secret: "set, not shown"
        return text
