#!/usr/bin/env python3
"""Write the tables of docs/operators.md anew from the code that they describe; ``--check`` only compares."""

from __future__ import annotations

import re
import sys
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle.chain.endpoints import Health
from oracle.cli.catalogue import all_settings
from oracle.node.kinds import File, Secret
from oracle.node.metrics import Metrics

MANUAL = Path(__file__).resolve().parents[1] / "docs" / "operators.md"


def settings_table() -> str:
    """A table for each section: key, default, meaning and what it may be."""
    parts = []
    for section, settings in groupby(all_settings(), key=lambda setting: setting.section):
        rows = "\n".join(f"| `{s.key}` | {_default(s)} | {_meaning(s)} |" for s in settings)
        parts.append(f"**`[{section}]`**\n\n| key | default | meaning |\n|---|---|---|\n{rows}")
    return "\n\n".join(parts)


def metrics_table() -> str:
    """Name, kind, labels and meaning of every metric of ours."""
    rows, metrics = [], Metrics()
    metrics.endpoints([Health("https://one.example", "ok", 0, "", 1, 0.1)])  # the only ones that wait for their labels
    for family in metrics.registry.collect():
        if family.name.startswith("qscrow_"):
            name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
            labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
            told = f" By {', '.join(f'`{label}`' for label in labels)}." if labels and family.type != "info" else ""
            rows.append(f"| `{name}` | {family.type} | {family.documentation}{told} |")
    return "| metric | kind | meaning |\n|---|---|---|\n" + "\n".join(rows)


def with_tables(text: str) -> str:
    """The manual with its tables as they should be."""
    for name, table in (("settings", settings_table()), ("metrics", metrics_table())):
        place = re.compile(rf"(<!-- {name}: [^>]*-->\n).*?(<!-- end of {name} -->)", re.S)
        if not place.search(text):
            raise SystemExit(f"docs/operators.md has no place for the {name}")
        text = place.sub(lambda match, table=table: f"{match[1]}\n{table}\n\n{match[2]}", text)
    return text


def _default(setting) -> str:
    if setting.name == "execution.workers":
        return "one per core"
    if type(setting.kind) in (File, Secret) or setting.default in ("", (), frozenset()):
        return "–"
    return f"`{setting.kind.show(setting.default)}`"


def _meaning(setting) -> str:
    kind = str(setting.kind)
    kind = "" if kind in ("text", "path", "secret") else f" *{kind[0].upper()}{kind[1:]}.*"
    names = f" Also `{'`, `'.join(setting.names)}`." if setting.names else ""
    return f"{setting.help}{kind}{names}".replace("|", "\\|")


def main() -> int:
    text = MANUAL.read_text()
    wanted = with_tables(text)
    if "--check" in sys.argv[1:]:
        if text != wanted:
            print("docs/operators.md differs from the code; run scripts/operators_tables.py", file=sys.stderr)
        return int(text != wanted)
    MANUAL.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
