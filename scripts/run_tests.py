"""Run every suite of ``make test``, go on when one fails, and close with one line: ``N passed, N failed``.

Suites run in two lanes of about the same length, one of each lane at a time; what a suite says is kept in
``reports/<name>.log`` and shown when it ends. The counts come from the suites' own JUnit reports. A suite that fails
without saying which test, leaves no readable report or ran no test counts as one failure. Checks that are not tests
(style, artefacts) add to the failures only.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ANALYSIS = ".venv-analysis/bin/python"  # Slither and halmos do not fit into one environment with Brownie
BROWNIE = (str(BIN / "brownie"), "test")
LEGACY = ("env", "FOUNDRY_PROFILE=legacy")
CHAOS_AT_ONCE = "3"  # these tests wait for timeouts and blocks more than they compute
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:pytest-brownie", "-q")


@dataclass(frozen=True)
class Suite:
    """A command. ``counted`` ones write ``reports/<name>.xml``, or print that report if ``prints_report``; the others
    pass or fail as a whole. Suites of one ``lane`` run one after the other, lanes side by side."""

    name: str
    command: tuple[str, ...]
    counted: bool = True
    prints_report: bool = False
    lane: str = "first"


SUITES = (
    Suite("syntax", (sys.executable, "-m", "compileall", "-q", "oracle", "scripts", "tests"), counted=False),
    Suite("lint", (str(BIN / "ruff"), "check", "."), counted=False),
    Suite("format", (str(BIN / "ruff"), "format", "--check", "."), counted=False),
    Suite("artifacts", (sys.executable, "scripts/artifacts.py", "--check"), counted=False),
    Suite("unit", (*PYTEST, "tests/unit", "--junitxml=reports/unit.xml")),
    Suite("chaos", (*PYTEST, "-n", CHAOS_AT_ONCE, "tests/chaos", "--junitxml=reports/chaos.xml")),
    Suite("foundry", ("forge", "test", "--junit"), prints_report=True, lane="second"),
    Suite("foundry-legacy", (*LEGACY, "forge", "test", "--junit"), prints_report=True, lane="second"),
    Suite("slither", (ANALYSIS, "scripts/slither.py"), counted=False, lane="second"),
    Suite("proofs", (ANALYSIS, "scripts/proofs.py"), lane="second"),
    Suite("hostile", (*PYTEST, "tests/hostile", "--junitxml=reports/hostile.xml"), lane="second"),
    Suite("integration", (*PYTEST, "tests/integration", "--junitxml=reports/integration.xml"), lane="second"),
    Suite("contracts", (*BROWNIE, "tests/contracts", "--junitxml=reports/contracts.xml"), lane="second"),
)
_printing = threading.Lock()


def main(suites: tuple[Suite, ...] = SUITES, root: Path = ROOT) -> int:
    """Run ``suites`` in the folder ``root``; exit code 0 only if every one passed."""
    lanes: dict[str, list[Suite]] = {}
    for suite in suites:
        lanes.setdefault(suite.lane, []).append(suite)
    with ThreadPoolExecutor(len(lanes)) as pool:
        counts = dict(pair for done in pool.map(lambda lane: _run_lane(lane, root), lanes.values()) for pair in done)
    broken = [suite.name for suite in suites if counts[suite.name][1]]
    if broken:
        print(f"failed: {', '.join(broken)}")
    passed, failed = (sum(column) for column in zip(*counts.values(), strict=True))
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if broken else 0


def run(suite: Suite, root: Path) -> tuple[int, int]:
    """Run one suite; returns how many of its tests passed and failed."""
    report, log = _report(suite, root), _log(suite, root)
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)  # an old report must not stand in for a run that died
    _say(f"== {suite.name}: {' '.join(Path(part).name for part in suite.command)}")
    started = time.monotonic()
    code = _exit_code(suite, root)
    good, bad = _counts(report) if suite.counted else (0, 0)
    if not bad and (code or (suite.counted and not good)):
        bad = 1
    outcome = f"{good} passed, {bad} failed" if suite.counted else "failed" if bad else "fine"
    said = [log] if not suite.prints_report else [report, log] if code else []
    words = "".join(path.read_text(errors="replace") for path in said if path.exists())
    _say(f"{words}== {suite.name}: {outcome} in {time.monotonic() - started:.0f} s")
    return good, bad


def _run_lane(suites: Sequence[Suite], root: Path) -> list[tuple[str, tuple[int, int]]]:
    return [(suite.name, run(suite, root)) for suite in suites]


def _say(text: str) -> None:
    with _printing:
        print(text, flush=True)


def _report(suite: Suite, root: Path) -> Path:
    return root / "reports" / f"{suite.name}.xml"


def _log(suite: Suite, root: Path) -> Path:
    return root / "reports" / f"{suite.name}.log"


def _exit_code(suite: Suite, root: Path) -> int:
    out, log = _report(suite, root), _log(suite, root)
    try:
        with (out if suite.prints_report else log).open("wb") as output, log.open("ab") as errors:
            streams = {"stdout": output, "stderr": errors if suite.prints_report else subprocess.STDOUT}
            return subprocess.run(suite.command, cwd=root, check=False, **streams).returncode
    except OSError as err:
        _say(f"{suite.command[0]}: {err.strerror}")
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
    # Started in the background by a shell, we ignore Ctrl-C, and so would every process that the tests send it to.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
