"""Run every suite of ``make test``, go on when one fails, and close with one line: ``N passed, N failed``.

The counts come from the suites' own JUnit reports. A suite that fails without saying which test, leaves no readable
report or ran no test counts as one failure. Checks that are not tests (style, artefacts) add to the failures only.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ANALYSIS = ".venv-analysis/bin/python"  # Slither and halmos do not fit into one environment with Brownie
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:pytest-brownie", "-q")


@dataclass(frozen=True)
class Suite:
    """A command. ``counted`` ones write ``reports/<name>.xml``, or print that report if ``prints_report``; the others
    pass or fail as a whole."""

    name: str
    command: tuple[str, ...]
    counted: bool = True
    prints_report: bool = False


SUITES = (
    Suite("syntax", (sys.executable, "-m", "compileall", "-q", "oracle", "scripts", "tests"), counted=False),
    Suite("lint", (str(BIN / "ruff"), "check", "."), counted=False),
    Suite("format", (str(BIN / "ruff"), "format", "--check", "."), counted=False),
    Suite("artifacts", (sys.executable, "scripts/artifacts.py", "--check"), counted=False),
    Suite("unit", (*PYTEST, "tests/unit", "--junitxml=reports/unit.xml")),
    Suite("integration", (*PYTEST, "tests/integration", "--junitxml=reports/integration.xml")),
    Suite("foundry", ("forge", "test", "--junit"), prints_report=True),
    Suite("foundry-legacy", ("env", "FOUNDRY_PROFILE=legacy", "forge", "test", "--junit"), prints_report=True),
    Suite("slither", (ANALYSIS, "scripts/slither.py"), counted=False),
    Suite("proofs", (ANALYSIS, "scripts/proofs.py")),
    Suite("contracts", (str(BIN / "brownie"), "test", "tests/contracts", "--junitxml=reports/contracts.xml")),
)


def main(suites: tuple[Suite, ...] = SUITES, root: Path = ROOT) -> int:
    """Run ``suites`` in the folder ``root``; exit code 0 only if every one passed."""
    passed = failed = 0
    broken = []
    for suite in suites:
        good, bad = run(suite, root)
        passed, failed = passed + good, failed + bad
        if bad:
            broken.append(suite.name)
    if broken:
        print(f"failed: {', '.join(broken)}")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if broken else 0


def run(suite: Suite, root: Path) -> tuple[int, int]:
    """Run one suite; returns how many of its tests passed and failed."""
    report = _report(suite, root)
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)  # an old report must not stand in for a run that died
    print(f"== {suite.name}: {' '.join(Path(part).name for part in suite.command)}", flush=True)
    started = time.monotonic()
    code = _exit_code(suite, root)
    good, bad = _counts(report) if suite.counted else (0, 0)
    if not bad and (code or (suite.counted and not good)):
        bad = 1
    outcome = f"{good} passed, {bad} failed" if suite.counted else "failed" if bad else "fine"
    print(f"== {suite.name}: {outcome} in {time.monotonic() - started:.0f} s", flush=True)
    return good, bad


def _report(suite: Suite, root: Path) -> Path:
    return root / "reports" / f"{suite.name}.xml"


def _exit_code(suite: Suite, root: Path) -> int:
    try:
        if not suite.prints_report:
            return subprocess.run(suite.command, cwd=root, check=False).returncode
        with _report(suite, root).open("wb") as out:
            code = subprocess.run(suite.command, cwd=root, check=False, stdout=out).returncode
        if code:
            print(_report(suite, root).read_text(errors="replace"), flush=True)
        return code
    except OSError as err:
        print(f"{suite.command[0]}: {err.strerror}", flush=True)
        return 127


def _counts(report: Path) -> tuple[int, int]:
    """Tests passed and failed; a skipped one is neither."""
    try:
        results = list(ElementTree.parse(report).getroot().iter("testsuite"))
    except (OSError, ElementTree.ParseError):
        return 0, 1
    tests, failures, errors, skipped = (
        sum(int(result.get(name, 0)) for result in results) for name in ("tests", "failures", "errors", "skipped")
    )
    return max(tests - failures - errors - skipped, 0), failures + errors


if __name__ == "__main__":
    for tool in ("anvil", "forge"):
        if shutil.which(tool) is None:
            print(f"error: {tool} is not on PATH; run `make test`", file=sys.stderr)
            sys.exit(2)
    sys.exit(main())
