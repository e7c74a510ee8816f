"""Static analysis of the contracts, with every finding explained.

    python scripts/slither.py            run, compare with scripts/slither.json, check ERC-721 conformance
    python scripts/slither.py --list     print what it finds, as keys for scripts/slither.json

``scripts/slither.json`` maps ``detector: function`` to why that finding is accepted. A finding that is not there fails
the run, and so does an entry that nothing matches any more. Needs Slither (``make analysis``) and forge on PATH.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXPLAINED = Path(__file__).with_name("slither.json")
BIN = Path(sys.executable).parent
COMMON = ("--foundry-out-directory", "build/forge")
SKIPPED = "node_modules|contracts/test|tests/"


def main(arguments: list[str]) -> int:
    """Exit code 0 if every finding is explained and the token conforms."""
    found = findings()
    if "--list" in arguments:
        print("\n".join(sorted(found)))
        return 0
    explained = json.loads(EXPLAINED.read_text())
    problems = [f"not explained: {key}\n  {found[key]}" for key in sorted(set(found) - set(explained))]
    problems += [f"explained but not found: {key}" for key in sorted(set(explained) - set(found))]
    problems += conformance()
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"slither: {len(found)} findings, {len(set(found) & set(explained))} explained, {len(problems)} problems")
    return 1 if problems else 0


def findings() -> dict[str, str]:
    """What Slither reports outside libraries and tests: ``detector: function`` to its description."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        output = _run("slither", ".", *COMMON, "--filter-paths", SKIPPED, "--json", str(report))
        if not report.exists():
            raise SystemExit(f"error: slither did not run:\n{output[-2000:]}")
        document = json.loads(report.read_text())
    if not document["success"]:
        raise SystemExit(f"error: slither failed: {document['error']}")
    return {_key(item): item["description"].strip() for item in document["results"].get("detectors", [])}


def _key(item: dict) -> str:
    """Stable against moved lines; several findings of one kind in one function count as one."""
    element = item["elements"][0]
    parent = element["type_specific_fields"]["parent"]["name"] if element.get("type_specific_fields") else ""
    return f"{item['check']}: {parent}.{element['name']}"


def conformance() -> list[str]:
    """Points of ERC-721 that the result token misses, by a checker of Slither's authors."""
    output = _run("slither-check-erc", ".", "ResultNFT", "--erc", "ERC721", *COMMON)
    points = [line for line in output.splitlines() if line.strip().startswith("[")]
    if len(points) < 30:
        raise SystemExit(f"error: slither-check-erc did not run:\n{output[-2000:]}")
    return [f"ERC-721: {line.strip()}" for line in points if "[✓]" not in line]


def _run(tool: str, *arguments: str) -> str:
    ran = subprocess.run([str(BIN / tool), *arguments], cwd=ROOT, capture_output=True, text=True)
    return ran.stdout + ran.stderr


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
