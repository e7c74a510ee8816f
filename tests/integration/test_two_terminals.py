"""The README's walk-through, word for word, as separate processes; and the same with a node that is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
QSCROW = str(Path(sys.executable).parent / "qscrow")
PATIENCE_SECONDS = 90


@pytest.fixture
def terminal(tmp_path):
    """A folder, a home and a free port; ends whatever is left running."""
    made = Terminal(tmp_path)
    yield made
    made.close()


class Terminal:
    """Runs commands the way a person at a shell does."""

    def __init__(self, folder: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("QSCROW", "KUBO"))}
        self.env = {**kept, "QSCROW_HOME": str(folder / "home"), "QSCROW_RPC": f"http://127.0.0.1:{self.port}"}
        self.background: list[subprocess.Popen] = []

    def words(self, command: str) -> list[str]:
        """A README line as arguments; the chain gets a port of its own, so that tests do not meet."""
        import shlex

        words = shlex.split(command)
        assert words[0] == "qscrow"
        extra = ["--port", str(self.port)] if words[1:] == ["localnet", "--detach"] else []
        return [QSCROW, *words[1:], *extra]

    def run(self, command: str, *, code: int = 0) -> str:
        """Run to the end; returns stdout."""
        done = subprocess.run(
            self.words(command), cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=PATIENCE_SECONDS
        )
        assert done.returncode == code, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, command: str) -> subprocess.Popen:
        """Run in the background."""
        log = (self.folder / f"log-{len(self.background)}").open("w")
        process = subprocess.Popen(self.words(command), cwd=self.folder, env=self.env, stdout=log, stderr=log)
        self.background.append(process)
        return process

    def close(self) -> None:
        for process in self.background:
            if process.poll() is None:
                process.kill()
                process.wait()
        subprocess.run([QSCROW, "localnet", "--stop"], env=self.env, capture_output=True, timeout=30, check=False)


def readme_commands(heading: str) -> list[str]:
    """The commands of the README's code block below ``heading``."""
    text = (ROOT / "README.md").read_text()
    block = re.search(re.escape(heading) + r".*?```\n(.*?)```", text, re.S)
    assert block, f"the README has no {heading}"
    return block[1].strip().splitlines()


def test_readme__two_terminals__work_as_written(terminal):
    oracle, requester = (
        readme_commands("**Terminal 1, the oracle.**"),
        readme_commands("**Terminal 2, the requester.**"),
    )
    printed = {}

    for command in oracle[:-1]:
        printed[command] = terminal.run(command)
    node = terminal.start(oracle[-1])
    for command in requester:
        printed[command] = terminal.run(command)
    node.send_signal(signal.SIGINT)

    assert node.wait(30) == 0
    shown = printed["qscrow open 1 --account requester"]
    assert re.search(r"00000 │█+ +\d+", shown), shown
    assert "Job 1 is Settled" in printed["qscrow watch 1"]
    assert json.loads(terminal.run("qscrow inspect 1 --json"))["state"] == "Settled"
    assert json.loads(terminal.run("qscrow audit ledger --json"))["balanced"] is True
    assert json.loads(terminal.run("qscrow oracle status --account oracle --json"))["jobs"] == {"closed": 1}
    terminal.run("qscrow localnet --stop")


def test_oracle__killed_in_the_middle__finishes_when_started_again(terminal):
    terminal.run("qscrow localnet --detach")
    terminal.run('qscrow oracle register --account oracle --stake "1 ether"')
    first = terminal.start("qscrow oracle run --account oracle")
    for number in range(1, 4):
        terminal.run(f"qscrow init job{number}/job.yaml --example grover")
        terminal.run(f"qscrow submit job{number}/job.yaml --account requester --oracle oracle --yes")
    first.kill()
    first.wait()

    terminal.start("qscrow oracle run --account oracle")
    for number in range(1, 4):
        terminal.run(f"qscrow watch {number} --timeout 60")
        history = json.loads(terminal.run(f"qscrow inspect {number} --json"))
        assert [step["state"] for step in history["steps"]].count("Completed") == 1

    assert json.loads(terminal.run("qscrow audit ledger --json"))["balanced"] is True


def test_oracle__second_node_on_the_same_account__is_refused(terminal):
    terminal.run("qscrow localnet --detach")
    terminal.run("qscrow oracle register --account oracle")
    terminal.start("qscrow oracle run --account oracle")
    journals = Path(terminal.env["QSCROW_HOME"]) / "journals"
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not list(journals.glob("*.db")) and time.monotonic() < give_up:
        time.sleep(0.1)

    terminal.run("qscrow oracle run --account oracle", code=8)


def test_demo__as_json__holds_every_check(tmp_path):
    done = subprocess.run([QSCROW, "demo", "--json"], capture_output=True, text=True, timeout=120, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["ok"] is True
    assert [job["state"] for job in facts["jobs"]] == ["Settled"] * 5 + ["Rejected", "Expired"]
    assert facts["ledger"]["balanced"] is True
