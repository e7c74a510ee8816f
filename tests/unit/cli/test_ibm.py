from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from oracle.backends.ibm.box import TOKEN_PREFIX
from oracle.cli.ibm import _require_no_other_key


@pytest.fixture
def box(tmp_path):
    """``qscrow ibm box`` as a process of its own; the settings it prints."""
    command = [sys.executable, "-m", "oracle.cli.main", "ibm", "box", "--port", "0", "--json", "--device", "fake_lima"]
    environment = {**os.environ, "QSCROW_HOME": str(tmp_path / "box"), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    yield json.loads(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    process.wait()
    process.stdout.close()


def test_backends__settings_the_box_prints__show_what_it_offers(qscrow, tmp_path, box):
    assert stat.S_IMODE(os.stat(box["ibm_token_file"]).st_mode) == 0o600
    _require_no_other_key(Path(box["ibm_token_file"]), TOKEN_PREFIX)  # the next box may replace it
    config = tmp_path / "node.toml"
    config.write_text("[execution]\n" + "\n".join(f'{name} = "{value}"' for name, value in box.items()))
    assert tomllib.loads(config.read_text())["execution"] == box

    shown = qscrow("ibm", "backends", "--config", config, "--json").json

    assert shown["engine"] == "ibm-stand-in"
    (backend,) = shown["backends"]
    assert (backend["name"], backend["max_qubits"], backend["operational"]) == ("box_lima", 5, True)


def test_backends__none_configured__says_where_to_read(qscrow):
    assert "docs/ibm.md" in qscrow("ibm", "backends").err


def test_box__device_that_is_none__is_refused(qscrow):
    assert "'ibm_fez' is none of" in qscrow("ibm", "box", "--port", "0", "--device", "ibm_fez").err


def test_box__token_file_with_a_key_of_somebody_elses__is_refused_and_left_alone(qscrow, tmp_path):
    key = tmp_path / "ibm.key"
    key.write_text("the only copy\n")

    assert "ibm.key is there and holds no key of a box" in qscrow("ibm", "box", "--port", "0", "--token-file", key).err

    assert key.read_text() == "the only copy\n"
