"""``qscrow oracle run`` as a process of its own, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from oracle.cli.catalogue import all_settings
from oracle.cli.main import load_command
from oracle.jobs import errors
from oracle.node.ingest import FinalityBroken

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def world(new_world):
    return new_world


class Running:
    """A node in the background, whose log lines are read one by one."""

    def __init__(self, *arguments: str):
        command = [sys.executable, "-m", "oracle.cli.main", "oracle", "run", "--account", "oracle", *arguments]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "QSCROW_CHAIN_POLL_SECONDS": "0.05"}
        self.process = subprocess.Popen(
            [*command, "--workers", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
        )
        self.log: list[dict[str, Any]] = []

    def until(self, event: str) -> dict[str, Any]:
        """Read the log up to ``event``."""
        for line in self.process.stderr:
            self.log.append(json.loads(line))
            if self.log[-1]["event"] == event:
                return self.log[-1]
        raise AssertionError(f"no {event} in {self.log}")

    def end(self) -> int:
        """Wait for the end; returns the exit code."""
        out, err = self.process.communicate(timeout=PATIENCE_SECONDS)
        self.out = out
        self.log += [json.loads(line) for line in err.splitlines()]
        return self.process.returncode

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.end()


@pytest.fixture
def node(wallet) -> Iterator[Any]:
    started: list[Running] = []

    def start(*arguments: str) -> Running:
        started.append(Running("--log-format", "json", *arguments))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as err:
        return err.code, err.read()


def test_run__sigterm__drains_and_exits_with_zero(node, wallet):
    port = free_port()
    running = node("--metrics-port", str(port))
    started = running.until("started")

    status, health = get(f"http://127.0.0.1:{port}/health")
    _, metrics = get(f"http://127.0.0.1:{port}/metrics")

    assert running.stop() == 0
    assert (status, json.loads(health)["status"]) == (200, "ok")
    assert b"qscrow_healthy 1.0" in metrics
    assert started["oracle"] == wallet.address("oracle")
    assert [entry["event"] for entry in running.log] == ["watched", "started", "draining", "stopped"]
    assert "correct horse" not in json.dumps(running.log)


def test_run__gateway_configured__serves_while_it_runs(node, monkeypatch):
    port = free_port()
    monkeypatch.setenv("QSCROW_CONTENT_GATEWAY_PORT", str(port))
    running = node()
    running.until("started")

    known = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    status, _ = get(f"http://127.0.0.1:{port}/ipfs/{known}?format=raw")

    assert running.stop() == 0
    assert status == 404
    assert running.log[0] | {"ts": ""} == {
        "ts": "",
        "level": "info",
        "event": "gateway",
        "url": f"http://127.0.0.1:{port}",
    }


def test_run__finality_broken__halts_with_its_own_code(node, home, wallet):
    first = node()
    first.until("started")
    assert first.stop() == 0
    (journal,) = (home / "journals").glob("*.db")
    with closing(sqlite3.connect(journal)) as db, db:
        changed = db.execute("UPDATE meta SET value = '1:' || ? WHERE key = 'final_block'", ("11" * 32,)).rowcount
        assert changed == 1

    second = node()

    assert second.end() == FinalityBroken.exit_code == 11
    assert [entry["event"] for entry in second.log][-2:] == ["halted", "the node ends"]


def test_run__no_chain__ends_with_its_code_and_json_alone(node, monkeypatch):
    monkeypatch.setenv("QSCROW_RPC", "http://user:hunter2@127.0.0.1:9/v3/0123456789abcdef")

    running = node()

    assert running.end() == errors.ChainUnavailable.exit_code
    assert [entry["event"] for entry in running.log] == ["the node ends"]
    assert "hunter2" not in running.log[0]["error"] and "0123456789abcdef" not in running.log[0]["error"]


def test_run__log_to_a_file__steps_and_errors_are_still_shown(qscrow, wallet, tmp_path, monkeypatch):
    monkeypatch.setenv("QSCROW_RPC", "http://127.0.0.1:9")

    ended = qscrow("oracle", "run", "--account", "oracle", "--log-file", tmp_path / "log")

    assert ended.code == 3
    assert "cannot reach http://127.0.0.1:9" in ended.error
    assert "cannot reach http://127.0.0.1:9" in (tmp_path / "log").read_text()


def test_run__port_taken__is_wrong_input(qscrow, wallet):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        ended = qscrow("oracle", "run", "--account", "oracle", "--metrics-port", port)

    assert ended.code == 2
    assert f"127.0.0.1:{port} cannot be used" in ended.error


def test_run__wrong_options__are_all_named(qscrow, wallet):
    ended = qscrow("oracle", "run", "--workers", "0", "--price-base", "cheap", "--confirmations", "soon")

    assert ended.code == 2
    assert all(f"{option}: " in ended.err for option in ("--workers", "--price-base", "--confirmations"))


def test_run__trusted_parties__may_be_names_of_accounts(qscrow, wallet):
    ended = qscrow("oracle", "run", "--trust-validator", "requester", "--trust-arbiter", "nobody")

    assert ended.code == 2
    assert "trust_arbiter: 'nobody' is neither an address nor an account here" in ended.error


def test_run__not_registered__names_the_way(qscrow, wallet):
    ended = qscrow("oracle", "run", "--account", "stranger")

    assert ended.code == 2
    assert "run `qscrow oracle register` first" in ended.error


def test_run__options_of_the_catalogue__exist():
    (run,) = [command for name, command in load_command("oracle").commands.items() if name == "run"]
    known = {option for parameter in run.params for option in parameter.opts}

    assert {setting.option for setting in all_settings() if setting.option} <= known


def test_run__exit_codes_in_its_help__are_those_of_the_errors():
    help_text = " ".join(load_command("oracle").commands["run"].help.split())

    told = {int(number) for number in re.findall(r"\b\d+\b", help_text.partition("Exit codes:")[2])}

    classes = (errors.InputError, errors.ChainError, errors.JournalError, FinalityBroken)
    assert told == {0, *(each.exit_code for each in classes)}
    others = {each.exit_code for each in vars(errors).values() if isinstance(each, type)}
    assert FinalityBroken.exit_code not in others


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_until_told__second_signal_while_draining__ends_at_once(number, tmp_path):
    code = (
        "import threading, time\n"
        "from oracle.cli.running import run_until_told\n"
        "from oracle.node.config import NodeConfig\n"
        "from oracle.node.watch import Watch\n"
        "class Node:\n"
        "    stopped = threading.Event()\n"
        "    stop = stopped.set\n"
        "    def run(self):\n"
        "        print('running', flush=True)\n"
        "        self.stopped.wait()\n"
        "watch = Watch(NodeConfig())\n"
        "run_until_told(Node(), watch)\n"
        "print('draining', watch.health.document()['draining'], flush=True)\n"
        "time.sleep(600)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout.readline() == "running\n"
        process.send_signal(number)
        assert process.stdout.readline() == "draining True\n"
        process.send_signal(number)
        assert process.wait(PATIENCE_SECONDS) == -number
