"""How commands talk: results on stdout, everything else on stderr, and with ``--json`` one document only."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
TOP_OUTCOMES = 16
BAR_WIDTH = 40
MIN_BAR_WIDTH = 10
MAX_LABEL = 64


def show_json(document: Any) -> None:
    """Print ``document`` on stdout, over several lines."""
    typer.echo(json.dumps(document, indent=2, default=str))


def show_json_line(document: Any) -> None:
    """Print ``document`` on stdout as one line, at once: for output that goes on."""
    typer.echo(json.dumps(document, default=str))
    sys.stdout.flush()


def say(text: str = "") -> None:
    """A line of a result, on stdout."""
    typer.echo(printable(text))


def note(text: str) -> None:
    """A remark on progress, on stderr."""
    typer.echo(printable(text), err=True)


def printable(text: str) -> str:
    """``text`` with everything but printable characters and line ends escaped.

    Much of what is shown was written by somebody else and must not steer the reader's terminal.
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def progress(text: str, quiet: bool = False) -> Iterator[None]:
    """Show that something takes a while: a spinner, if stderr is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(f"{escape(printable(text))} …"):
        yield


def facts(rows: Mapping[str, Any]) -> None:
    """Names and values, aligned."""
    width = max(map(len, rows), default=0)
    for name, value in rows.items():
        say(f"  {name:<{width}}  {value}")


def histogram(counts: Mapping[str, int]) -> list[str]:
    """Bars for the most frequent outcomes, one line each, and one for the rest; fits the terminal."""
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ranked[TOP_OUTCOMES:])
    rows = [(_label(key), count) for key, count in ranked[:TOP_OUTCOMES]] + ([("other", rest)] if rest else [])
    width = max(len(key) for key, _ in rows)
    around = width + len("   │ 1234567  100.0 %")
    bars = max(MIN_BAR_WIDTH, min(BAR_WIDTH, shutil.get_terminal_size().columns - around))
    top = max(count for _, count in rows)
    lines = []
    for key, count in rows:
        bar = "█" * round(bars * count / top) or "▏"
        lines.append(f"  {key:>{width}} │{bar:<{bars}} {count:>7}  {100 * count / total:5.1f} %")
    return lines


def when(timestamp: int) -> str:
    """A Unix time as people read it, in UTC."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(timestamp))
    except (ValueError, OverflowError, OSError):
        return f"second {timestamp}"


def _label(outcome: str) -> str:
    return outcome if len(outcome) <= MAX_LABEL else f"{outcome[: MAX_LABEL - 1]}…"
