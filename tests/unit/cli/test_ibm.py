from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tomllib

import pytest


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
