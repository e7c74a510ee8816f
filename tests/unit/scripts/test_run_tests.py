from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "run_tests.py"
GREEN = '<testsuites><testsuite tests="5" failures="0" errors="0" skipped="1"/></testsuites>'
RED = '<testsuites><testsuite tests="5" failures="1" errors="1" skipped="0"/></testsuites>'
EMPTY = '<testsuites><testsuite tests="0" failures="0" errors="0" skipped="0"/></testsuites>'


@pytest.fixture(scope="module")
def runner():
    spec = importlib.util.spec_from_file_location("run_tests", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_tests"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["run_tests"]


def writing(runner, report: str | None, code: int = 0, name: str = "unit"):
    """A suite that leaves ``report`` and exits with ``code``."""
    text = f"open('reports/{name}.xml', 'w').write({report!r})" if report is not None else "pass"
    return runner.Suite(name, (sys.executable, "-c", f"{text}; raise SystemExit({code})"))


@pytest.mark.parametrize(
    ("report", "code", "counts"),
    [
        (GREEN, 0, (4, 0)),
        (GREEN, 1, (4, 1)),
        (RED, 1, (3, 2)),
        (RED, 0, (3, 2)),
        (EMPTY, 0, (0, 1)),
        (EMPTY, 5, (0, 1)),
        (None, 0, (0, 1)),
        (None, 2, (0, 1)),
        ("<testsuites><testsu", 0, (0, 1)),
    ],
)
def test_run__what_a_suite_leaves__is_counted(runner, tmp_path, report, code, counts):
    assert runner.run(writing(runner, report, code), tmp_path) == counts


@pytest.mark.parametrize(("code", "counts"), [(0, (4, 0)), (1, (4, 1))])
def test_run__report_on_standard_output__is_counted(runner, tmp_path, capsys, code, counts):
    command = (sys.executable, "-c", f"print({GREEN!r}); raise SystemExit({code})")

    assert runner.run(runner.Suite("foundry", command, prints_report=True), tmp_path) == counts
    assert (GREEN in capsys.readouterr().out) == bool(code)  # what failed is shown


def test_run__what_a_suite_says__is_shown_and_kept(runner, tmp_path, capsys):
    command = (sys.executable, "-c", "import sys; print('out', flush=True); print('err', file=sys.stderr)")

    runner.run(runner.Suite("lint", command, counted=False), tmp_path)

    assert "out\nerr\n" in capsys.readouterr().out
    assert (tmp_path / "reports" / "lint.log").read_text() == "out\nerr\n"


def test_main__two_lanes__run_side_by_side(runner, tmp_path):
    """Each waits for the other's file, which it would never see if one ran after the other."""
    loop = "for _ in range(600):\n  {other}.exists() and exit(0)\n  time.sleep(.1)\nexit(1)"
    wait = "import pathlib, time\n{own}.touch()\n" + loop
    mine, theirs = (f"pathlib.Path({str(tmp_path / name)!r})" for name in "ab")
    suites = [
        runner.Suite(own[-3], (sys.executable, "-c", wait.format(own=own, other=other)), counted=False, lane=own)
        for own, other in ((mine, theirs), (theirs, mine))
    ]

    assert runner.main(tuple(suites), tmp_path) == 0


def test_run__report_of_an_earlier_run__does_not_count(runner, tmp_path):
    runner.run(writing(runner, GREEN), tmp_path)

    assert runner.run(writing(runner, None), tmp_path) == (0, 1)


def test_run__command_that_is_not_there__is_one_failure(runner, tmp_path):
    assert runner.run(runner.Suite("unit", (str(tmp_path / "absent"),)), tmp_path) == (0, 1)


def test_main__one_suite_fails__the_others_run_and_the_sum_closes(runner, tmp_path, capsys):
    check = runner.Suite("lint", (sys.executable, "-c", "raise SystemExit(1)"), counted=False)

    code = runner.main((check, writing(runner, RED, 1, "unit"), writing(runner, GREEN, 0, "contracts")), tmp_path)

    assert code == 1
    assert capsys.readouterr().out.splitlines()[-2:] == ["failed: lint, unit", "7 passed, 3 failed"]


def test_main__everything_passes__exit_code_is_zero_and_checks_add_nothing(runner, tmp_path, capsys):
    check = runner.Suite("lint", (sys.executable, "-c", ""), counted=False)

    assert runner.main((check, writing(runner, GREEN)), tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "4 passed, 0 failed"
