"""``qscrow content``: files and archives in the content store, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from oracle.cli.context import open_content
from oracle.cli.output import Json, facts, show_json
from oracle.cli.settings import load_settings
from oracle.jobs.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Files and archives in the content store.")

Link = Annotated[str, typer.Argument(metavar="CID", help="A CID, or an ipfs:// link.")]
Source = Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True)]
Target = Annotated[Path, typer.Argument(metavar="FILE", help="Must not exist yet.")]
MaxBytes = Annotated[int, typer.Option(min=1, help="Refuse what is larger.")]


@app.command()
def add(file: Source, json: Json = False) -> None:
    """Store a file and pin it; with gateways or Kubo nodes, upload it."""
    data = file.read_bytes()
    cid = open_content(load_settings()).put(data)
    _show({"cid": str(cid), "link": cid.uri, "bytes": len(data)}, json)


@app.command()
def get(cid: Link, file: Target, max_bytes: MaxBytes = 2**26, json: Json = False) -> None:
    """Fetch a file, every block verified."""
    from oracle.content.cid import CID

    found = CID.parse(cid)
    data = open_content(load_settings()).get(found, max_bytes=max_bytes)
    with _new(file) as out:
        out.write(data)
    _show({"cid": str(found), "file": str(file), "bytes": len(data)}, json)


@app.command("export")
def export_(cid: Link, file: Target, json: Json = False) -> None:
    """Write a CID and all below it to a CAR archive."""
    from oracle.content.car import export_car
    from oracle.content.cid import CID

    root, store = CID.parse(cid), open_content(load_settings())
    with _new(file) as out:
        try:
            blocks = export_car(store, root, out)
        except BaseException:
            file.unlink()  # half an archive is none
            raise
    _show({"cid": str(root), "file": str(file), "blocks": blocks}, json)


@app.command("import")
def import_(file: Source, max_bytes: MaxBytes = 2**28, json: Json = False) -> None:
    """Store a CAR archive's DAG in the embedded store and pin it."""
    from oracle.content.car import import_car
    from oracle.content.store import BlockStore

    with file.open("rb") as archive:
        root = import_car(BlockStore(load_settings().content), archive, max_bytes=max_bytes)
    _show({"cid": str(root), "link": root.uri}, json)


def _new(file: Path) -> BinaryIO:
    try:
        return file.open("xb")
    except OSError as err:
        raise InputError(f"cannot be written ({err.strerror})", field=str(file), remedy="choose another file") from None


def _show(rows: dict[str, object], json: bool) -> None:
    show_json(rows) if json else facts(rows)
