"""Ten thousand random circuits on every run, through gate, parser and analysis in confined processes; see fuzz.py."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
CASES = 10_000


def fuzz(*arguments: str) -> tuple[int, dict[str, Any]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False, timeout=300)
    return done.returncode, json.loads(done.stdout)


def test_fuzz__ten_thousand_circuits__nothing_but_circuits_and_rejections(capsys: pytest.CaptureFixture[str]) -> None:
    seed = os.environ.get("QSCROW_FUZZ_SEED") or str(secrets.randbits(32))
    with capsys.disabled():
        print(f"\nfuzzing {CASES} circuits with seed {seed} (QSCROW_FUZZ_SEED={seed} repeats them)")
    code, report = fuzz(str(HERE / "fuzz.py"), seed, str(CASES))
    assert (code, report["faults"]) == (0, [])
    ends = report["ends"]
    assert sum(ends.values()) == CASES
    # The gate must not keep everything from the parser, nor wave everything through.
    assert ends["accepted"] > CASES // 20 and ends["syntax_error"] > CASES // 20
    assert len(ends) > 10


BROKEN = """
import dataclasses, os, sys, fuzz
fuzz.LIMITS = dataclasses.replace(fuzz.LIMITS, wall_seconds=2)
whole = fuzz.analysis_of
def analysis_of(request):
    if request.source == fuzz.case(5, 7).source:
        {deed}
    return whole(request)
fuzz.analysis_of = analysis_of
sys.exit(fuzz.main(5, 20))
"""


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("os.abort()", "case 7 ended the process"),
        ("while True: pass", "case 7 ran out of time"),
        ("raise KeyError('x')", "uncontained case 7: KeyError"),
        ("raise type('PanicException', (BaseException,), {})('x')", "uncontained case 7: PanicException"),
        ("raise fuzz.CircuitRejected('parser_crash', 'x')", "parser_crash case 7"),
    ],
)
def test_fuzz__parser_that_breaks__is_found_out(deed: str, told: str) -> None:
    code, report = fuzz("-c", BROKEN.replace("{deed}", deed))
    assert code == 1
    assert len(report["faults"]) == 1 and told in report["faults"][0]
