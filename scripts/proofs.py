"""Run the symbolic proofs (``tests/foundry/proofs/Proofs.t.sol``) with halmos and leave ``reports/proofs.xml``.

Every function whose name starts with ``check_`` must be proved: for all inputs, every path, no time-out. Fewer proofs
than the file has is a failure. Needs halmos (``make analysis-venv``) and forge on PATH.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "tests" / "foundry" / "proofs" / "Proofs.t.sol"
REPORT = ROOT / "reports" / "proofs.xml"
PROVED = 0


def main() -> int:
    """Exit code 0 if everything is proved."""
    wanted = re.findall(r"function (check_\w+)\(", SOURCE.read_text())
    found = run()
    cases = {name: found.get(name, "halmos did not report it") for name in wanted}
    _write(cases)
    for name, fault in cases.items():
        print(f"{'proved' if fault is None else 'FAILED'}  {name}{'' if fault is None else f': {fault}'}")
    failed = sum(fault is not None for fault in cases.values())
    print(f"proofs: {len(cases) - failed} proved, {failed} failed")
    return 1 if failed else 0


def run() -> dict[str, str | None]:
    """Name of each proof to nothing if proved, or what went wrong."""
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "halmos.json"
        command = [
            str(Path(sys.executable).parent / "halmos"),
            "--match-contract",
            "Proofs",
            "--json-output",
            str(result),
            "--forge-build-out",
            "build/forge-proofs",
        ]
        environment = {**os.environ, "FOUNDRY_PROFILE": "proofs"}
        ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if not result.exists():
            raise SystemExit(f"error: halmos did not run:\n{(ran.stdout + ran.stderr)[-3000:]}")
        document = json.loads(result.read_text())
    tests = [test for group in document["test_results"].values() for test in group]
    return {test["name"].split("(")[0]: _fault(test) for test in tests}


def _fault(test: dict) -> str | None:
    if test["exitcode"] == PROVED:
        return None
    return f"exit code {test['exitcode']}, {test.get('num_models')} counterexamples"


def _write(cases: dict[str, str | None]) -> None:
    failures = [name for name, fault in cases.items() if fault is not None]
    suite = ElementTree.Element(
        "testsuite", name="proofs", tests=str(len(cases)), failures=str(len(failures)), errors="0"
    )
    for name, fault in cases.items():
        case = ElementTree.SubElement(suite, "testcase", name=name)
        if fault is not None:
            ElementTree.SubElement(case, "failure", message=fault)
    REPORT.parent.mkdir(exist_ok=True)
    ElementTree.ElementTree(suite).write(REPORT)


if __name__ == "__main__":
    sys.exit(main())
