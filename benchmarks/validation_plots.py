"""Tables and plots of the validation figures, for docs/validation.md."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Any

from bench import ROOT

DOCUMENT = ROOT / "docs" / "validation.md"
IMAGES = ROOT / "docs" / "images"
SHADES = {1024: "#9ecae1", 4000: "#4292c6", 16_000: "#084594"}
Cell = dict[str, Any]


def render(figures: dict[str, Any]) -> None:
    """Write the plots and put the tables between the marks in the document."""
    IMAGES.mkdir(exist_ok=True)
    for tier in ("ideal", "hardware"):
        (IMAGES / f"validation-{tier}.svg").write_text(curves(figures["curves"], tier))
    tables = {
        **{tier: by_source(figures["distribution"], tier) for tier in ("ideal", "hardware", "fixed")},
        "caught": caught(figures),
        "replay": by_source(figures["replay"], "replay"),
        "agreement": agreement(figures["agreement"]),
        "canary": canary(figures["canary"]),
        "run": run(figures),
    }
    text = DOCUMENT.read_text()
    for name, table in tables.items():
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, flags=re.DOTALL
        )
    DOCUMENT.write_text(text)


# -------------------------------------------------------------------------------------------------- tables


def by_source(cells: list[Cell], tier: str) -> str:
    """Acceptance in per cent with its interval: one row per source, one column per size."""
    mine = [cell for cell in cells if cell["tier"] == tier]
    columns = unique((cell["qubits"], cell["shots"]) for cell in mine)
    rows = [["result", *(f"{qubits} q, {shots}" for qubits, shots in columns)]]
    for source in unique(cell["source"] for cell in mine):
        found = {(cell["qubits"], cell["shots"]): cell for cell in mine if cell["source"] == source}
        rows.append([source, *(percent(found[column]) for column in columns)])
    return table(rows)


def caught(figures: dict[str, Any]) -> str:
    """How often each kind of result is not accepted, over all sizes and shots."""
    tiers = (("ideal", "distribution"), ("hardware", "distribution"), ("replay", "replay"))
    rows = [["result", *(f"{tier}: rejected / flagged / inconclusive" for tier, _ in tiers)]]
    for source in unique(cell["source"] for cell in figures["distribution"]):
        row = [source]
        for tier, section in tiers:
            cells = [c for c in figures[section] if c["tier"] == tier and c["source"] == source]
            total = sum(cell["trials"] for cell in cells)
            parts = [sum(c["tally"].get(o, 0) for c in cells) / total for o in ("reject", "flag", "inconclusive")]
            row.append(" / ".join(short(part) for part in parts) + " %")
        rows.append(row)
    return table(rows)


def agreement(cells: list[Cell]) -> str:
    """Acceptance of the third of three oracles."""
    columns = unique((cell["tier"], cell["qubits"]) for cell in cells)
    rows = [["third oracle", *(f"{tier}, {qubits} q" for tier, qubits in columns)]]
    for source in unique(cell["source"] for cell in cells):
        found = {(cell["tier"], cell["qubits"]): cell for cell in cells if cell["source"] == source}
        rows.append([source, *(percent(found[column]) for column in columns)])
    return table(rows)


def canary(cells: list[Cell]) -> str:
    """Acceptance by number of canaries and share of made-up results."""
    shares = unique(cell["faked"] for cell in cells)
    rows = [["canaries among 16 circuits", *(f"{100 * share:g} % made up" for share in shares)]]
    for number in unique(cell["canaries"] for cell in cells):
        found = {cell["faked"]: cell for cell in cells if cell["canaries"] == number}
        rows.append([str(number), *(percent(found[share]) for share in shares)])
    return table(rows)


def run(figures: dict[str, Any]) -> str:
    """The machine and the size of the run."""
    machine = figures["machine"]
    trials = ", ".join(
        f"{3 * number} at {width} qubits" for width, number in figures["method"]["trials_per_family"].items()
    )
    packages = ", ".join(f"{name} {machine['packages'][name]}" for name in ("qiskit", "qiskit-aer"))
    return (
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, {packages}; {figures['seconds']} s."
        f" Results per cell: {trials}."
    )


def percent(cell: Cell) -> str:
    low, high = cell["interval"]
    return f"{short(cell['accepted'])} ({short(low)}–{short(high)})"


def short(share: float) -> str:
    return f"{100 * share:.0f}" if share in (0, 1) or 0.1 <= share < 0.995 else f"{100 * share:.1f}"


def table(rows: list[list[str]]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def unique(values: Iterable[Any]) -> list[Any]:
    """Each value once; sizes in ascending order."""
    once = list(dict.fromkeys(values))
    return once if isinstance(once[0], str) else sorted(once)


# --------------------------------------------------------------------------------------------------- plots


def curves(cells: list[Cell], tier: str) -> str:
    """Acceptance against the share of uniform noise: a panel per width, a line per number of shots."""
    widths = unique(cell["qubits"] for cell in cells)
    panels = "".join(
        panel([cell for cell in cells if cell["qubits"] == width], tier, 50 + 190 * place, f"{width} qubits")
        for place, width in enumerate(widths)
    )
    legend = "".join(
        f'<line x1="{60 + 150 * place}" y1="222" x2="{84 + 150 * place}" y2="222" stroke="{shade}" stroke-width="2"/>'
        f'<text x="{90 + 150 * place}" y="226">{shots} shots</text>'
        for place, (shots, shade) in enumerate(SHADES.items())
    )
    legend += (
        '<line x1="510" y1="222" x2="534" y2="222" stroke="#c33" stroke-dasharray="4 3"/>'
        '<text x="540" y="226">fixed 0.08, 4000 shots</text>'
    )
    title = escape(f"Accepted results by share of uniform noise, policy: {tier}")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 810 236" role="img"'
        ' font-family="sans-serif" font-size="11">'
        f"<title>{title}</title>"
        f'<rect width="810" height="236" fill="#fff"/><text x="50" y="18" font-size="13">{title}</text>'
        f"{panels}{legend}</svg>\n"
    )


def panel(cells: list[Cell], tier: str, left: int, title: str) -> str:
    """One set of axes, 160 by 140, with its lines and the 95 % intervals."""
    parts = [f'<text x="{left}" y="42">{escape(title)}</text>']
    for level in (0, 50, 100):
        y = 190 - 1.4 * level
        parts.append(f'<line x1="{left}" y1="{y:g}" x2="{left + 160}" y2="{y:g}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:g}" text-anchor="end">{level}</text>')
    parts += [
        f'<text x="{left + 160 * share:g}" y="204" text-anchor="middle">{share:g}</text>' for share in (0, 0.5, 1)
    ]
    for shots, shade in SHADES.items():
        mine = [cell for cell in cells if cell["tier"] == tier and cell["shots"] == shots]
        for cell in mine:
            x = left + 160 * cell["share"]
            low, high = (190 - 140 * end for end in cell["interval"])
            parts.append(f'<line x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}" stroke="{shade}"/>')
        parts.append(line(mine, left, shade, 'stroke-width="2"'))
    parts.append(
        line([c for c in cells if c["tier"] == "fixed" and c["shots"] == 4000], left, "#c33", 'stroke-dasharray="4 3"')
    )
    return "".join(parts)


def line(cells: list[Cell], left: int, shade: str, style: str) -> str:
    points = " ".join(
        f"{left + 160 * cell['share']:.1f},{190 - 140 * cell['accepted']:.1f}"
        for cell in sorted(cells, key=lambda cell: cell["share"])
    )
    return f'<polyline points="{points}" fill="none" stroke="{shade}" {style}/>'
