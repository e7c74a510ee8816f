"""``qscrow ibm``: what an account at IBM offers, and a stand-in for IBM to try things with."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from oracle.cli.context import ConfigFile
from oracle.cli.output import Json, note, progress, say, show_json, show_json_line
from oracle.cli.settings import load_settings
from oracle.jobs.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Backends at IBM, and a stand-in for IBM.")

TOKEN_NAME = "ibm-box.token"


@app.callback()
def _group() -> None:
    """Backends at IBM, and a stand-in for IBM."""


@app.command()
def backends(config: ConfigFile = None, json: Json = False) -> None:
    """What the configured backends are and how long one waits for them. Submits nothing."""
    from dataclasses import asdict

    from oracle.backends.ibm.select import open_ibm

    settings = load_settings(config=config)
    with progress("asking IBM", quiet=json):
        provider = open_ibm(settings.node, settings.home / "ibm", settings.limits)
        if provider is None:
            raise InputError("no backend is named", field="execution.ibm_backends", remedy="see docs/ibm.md")
        try:
            rows = [
                {"name": each.name, **asdict(each.capabilities()), **asdict(each.queue())} for each in provider.backends
            ]
        finally:
            provider.close()
    if json:
        return show_json({"endpoint": provider.account.endpoint, "engine": provider.account.engine, "backends": rows})
    say(f"{provider.account.endpoint}: results are labelled {provider.account.engine}")
    for row in rows:
        state = f"{row['pending']} jobs wait, about {row['seconds']:.0f} s" if row["operational"] else row["message"]
        say(f"  {row['name']}  {row['max_qubits']} qubits, up to {row['max_shots']} shots, {state}")


@app.command()
def box(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on 127.0.0.1; 0 takes a free one.")] = 8290,
    device: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Fake backend to offer. May be given several times.")
    ] = None,
    queue_seconds: Annotated[float, typer.Option(min=0, help="How long a job waits.")] = 3.0,
    run_seconds: Annotated[float, typer.Option(min=0, help="How long it runs beyond its simulation.")] = 1.0,
    fail: Annotated[int, typer.Option(min=0, help="How many of the first jobs fail.")] = 0,
    token_file: Annotated[
        Path | None,
        typer.Option(help="Where to put the API key, a new file or a box's; by default in the home."),
    ] = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Run a stand-in for IBM on this machine: IBM's own client, fake queues, results of a noisy simulation."""
    from oracle.backends.ibm import box as service

    path = (token_file or load_settings(config=config).home / TOKEN_NAME).absolute()
    if token_file:
        _require_no_other_key(path, service.TOKEN_PREFIX)
    try:
        import qiskit_ibm_runtime  # noqa: F401
    except ImportError:
        raise InputError("qiskit-ibm-runtime is missing", remedy="pip install 'qscrow[ibm]'") from None
    with service.Box(
        device or service.DEFAULT_DEVICES, port=port, queue_seconds=queue_seconds, run_seconds=run_seconds
    ) as running:
        running.doom(*[service.FAIL] * fail)
        _write_token(path, running.token)
        settings = {
            "ibm_backends": ",".join(running.backends),
            "ibm_url": running.url,
            "ibm_instance": running.instance,
            "ibm_token_file": str(path),
        }
        if json:
            show_json_line(settings)
        else:
            say(f"IBM in a box on {running.url}. Nothing here is hardware. Settings for a node:")
            say("[execution]")
            for name, value in settings.items():
                say(f'{name} = "{value}"')
            sys.stdout.flush()
        try:
            running.wait_until_closed()
        except KeyboardInterrupt:
            note("stopped")


def _require_no_other_key(path: Path, prefix: str) -> None:
    """Raise :class:`InputError` if there is a file that no box wrote: it may be the only copy of the key to IBM."""
    try:
        with path.open("rb") as file:
            known = file.read(len(prefix)) == prefix.encode()
    except FileNotFoundError:
        return
    except OSError as err:
        raise InputError(f"{path} cannot be read ({err.strerror})", field="token_file") from err
    if not known:
        remedy = "name another file, or remove this one"
        raise InputError(f"{path} is there and holds no key of a box", field="token_file", remedy=remedy)


def _write_token(path: Path, token: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token + "\n")
    except OSError as err:
        raise InputError(f"{path} cannot be written ({err.strerror})", field="token_file") from err
