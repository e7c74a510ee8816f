"""Entry point of ``qscrow``: the table of commands, and how failures end.

A command's module is imported when the command runs, so that ``--help`` costs no more than Typer itself. A
command is listed once its module is there.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from oracle import __version__
from oracle.jobs.errors import QscrowError

USAGE_ERROR, INTERNAL_ERROR, INTERRUPTED = 2, 70, 130


@dataclass(frozen=True)
class Entry:
    """One command: ``attribute`` of ``module`` is its function, or the Typer app of a group of commands."""

    module: str
    attribute: str
    help: str
    panel: str


REQUESTER, OPERATOR, VALIDATOR, AUDITOR, EVERYONE = (
    "For requesters",
    "For oracle operators",
    "For validators",
    "For auditors",
    "For everyone",
)
COMMANDS = {
    "demo": Entry("demo", "demo", "The whole flow in one process, without any services.", EVERYONE),
    "localnet": Entry("localnet", "localnet", "Run a local chain with the contracts and funded accounts.", EVERYONE),
    "account": Entry("accounts", "app", "Accounts that sign, and the keys results are sealed to.", EVERYONE),
    "balance": Entry("money", "balance", "What an account holds, and what the escrow owes it.", EVERYONE),
    "withdraw": Entry("money", "withdraw", "Take out everything the escrow owes you.", EVERYONE),
    "init": Entry("drafting", "init", "Write a draft and its circuit to start from.", REQUESTER),
    "simulate": Entry("drafting", "simulate", "Run a draft's circuit on this machine, without any chain.", REQUESTER),
    "quote": Entry("drafting", "quote", "What a draft's job will cost at an oracle.", REQUESTER),
    "submit": Entry("drafting", "submit", "Pin circuit and spec, and lock the budget.", REQUESTER),
    "canaries": Entry("canaries", "app", "Open the known-answer circuits mixed into a job.", REQUESTER),
    "watch": Entry("following", "watch", "Follow a job until it ends.", REQUESTER),
    "inspect": Entry("following", "inspect", "State, terms, money and timeline of a job.", REQUESTER),
    "open": Entry("following", "open_", "Fetch a delivered result, open it, check it and show it.", REQUESTER),
    "refund": Entry("money", "refund", "End a job whose time is over: money goes where it belongs.", REQUESTER),
    "promote": Entry("money", "promote", "Let an accepted job onto hardware, and top up its budget.", REQUESTER),
    "cancel": Entry("money", "cancel", "Take back a job that nobody has accepted yet.", REQUESTER),
    "content": Entry("content", "app", "Files and archives in the content store.", EVERYONE),
    "oracle": Entry("operator", "app", "Run an oracle: register, stake, earn.", OPERATOR),
    "validator": Entry("validator", "app", "Judge results: register, run, earn fees.", VALIDATOR),
    "ibm": Entry("ibm", "app", "Backends at IBM, and a stand-in for IBM.", OPERATOR),
    "audit": Entry("auditor", "app", "Rebuild and check what happened, from the chain alone.", AUDITOR),
}


class CommandTable(TyperGroup):
    """The commands of :data:`COMMANDS`, each loaded when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands whose modules exist."""
        return [name for name, entry in COMMANDS.items() if find_spec(f"oracle.cli.{entry.module}")]

    def get_command(self, ctx: Any, name: str) -> Any:
        """What the help page says about a command; :meth:`resolve_command` finds the command itself."""
        if name not in self.list_commands(ctx):
            return None
        entry = COMMANDS[name]
        return TyperCommand(name, help=entry.help, rich_help_panel=entry.panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """The command that ``args`` call, imported now."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(name), rest


def load_command(name: str) -> Any:
    """The command ``name`` with its options, imported from its module."""
    entry = COMMANDS[name]
    target = getattr(import_module(f"oracle.cli.{entry.module}"), entry.attribute)
    if isinstance(target, typer.Typer):
        group = typer.main.get_group(target)
        group.name = name
        return group
    single = typer.Typer(add_completion=False)
    single.command(name)(target)
    return typer.main.get_command(single)


app = typer.Typer(
    name="qscrow",
    cls=CommandTable,
    help="Quantum jobs in escrow: lock a budget, get a sealed result, pay what was earned.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"qscrow {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Quantum jobs in escrow: lock a budget, get a sealed result, pay what was earned."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit. Every expected failure is one line on stderr and its own exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without Unicode gets ? for a bar, not a failure
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        code = app(arguments, standalone_mode=False, prog_name="qscrow")
        sys.stdout.flush()
        if code == INTERRUPTED:  # what Typer makes of Ctrl-C
            return _interrupted(as_json)
        return code if isinstance(code, int) else 0
    except QscrowError as err:
        return _failed(str(err), err.as_dict(), err.exit_code, as_json)
    except (typer.Abort, KeyboardInterrupt):
        return _interrupted(as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads; nothing more to say
        return INTERRUPTED
    except Exception as err:
        if hasattr(err, "format_message"):  # Typer's word for a wrong option or argument
            return _usage_failed(err, as_json)
        return _internal_failed(err, as_json)


def _interrupted(as_json: bool) -> int:
    document = {"error": "Interrupted", "field": None, "message": "interrupted", "remedy": None}
    return _failed("interrupted", document, INTERRUPTED, as_json)


def _usage_failed(err: Any, as_json: bool) -> int:
    ctx = getattr(err, "ctx", None)
    if type(err).__name__ == "NoArgsIsHelpError":
        err.show()
        return USAGE_ERROR
    remedy = f"see `{ctx.command_path if ctx else 'qscrow'} --help`"
    text = " ".join(err.format_message().split()).rstrip(".")
    document = {"error": "UsageError", "field": None, "message": text, "remedy": remedy}
    return _failed(f"{text}; {remedy}", document, USAGE_ERROR, as_json)


def _internal_failed(err: Exception, as_json: bool) -> int:
    if os.environ.get("QSCROW_DEBUG"):
        traceback.print_exc()
    text = f"{type(err).__name__}: {' '.join(str(err).split())[:300]}"
    remedy = "run it again with QSCROW_DEBUG=1 for the traceback, and report it"
    document = {"error": "InternalError", "field": None, "message": text, "remedy": remedy}
    return _failed(f"internal error: {text}; {remedy}", document, INTERNAL_ERROR, as_json)


def _failed(line: str, document: dict[str, Any], code: int, as_json: bool) -> int:
    from oracle.cli.output import printable

    typer.echo(json.dumps(document) if as_json else f"error: {printable(line)}", err=True)
    return code


if __name__ == "__main__":
    main()
