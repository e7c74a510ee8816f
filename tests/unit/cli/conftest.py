"""The command line in this process, against a real chain served on the loopback interface."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oracle.chain.accounts import create_account, load_account
from oracle.chain.client import ChainClient, connect
from oracle.chain.deploy import deploy
from oracle.chain.localnet import RpcServer, dev_accounts, in_process_chain
from oracle.chain.sender import Sender
from oracle.cli.main import main
from oracle.sealing.keys import SealingKey

PASSWORD = "correct horse"
STAKE = 10**18
LIGHT = 2


@dataclass
class World:
    """``chain`` is read in process; ``url`` is where commands reach it; ``home`` is copied for each test."""

    chain: ChainClient
    url: str
    home: Path
    oracle: Sender

    def block(self) -> int:
        return self.chain.block().number

    def address(self, name: str) -> str:
        return load_account(self.home / "accounts", name, PASSWORD).address


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Any:
    with made_world(tmp_path_factory) as made:
        yield made


@pytest.fixture(scope="module")
def new_world(tmp_path_factory) -> Any:
    """One on whose chain no time has passed and no oracle has worked."""
    with made_world(tmp_path_factory) as made:
        yield made


@contextmanager
def made_world(tmp_path_factory) -> Iterator[World]:
    """Accounts, keys and a chain of their own."""
    home = tmp_path_factory.mktemp("world") / "home"
    w3 = in_process_chain()
    deployer, requester, oracle, stranger = dev_accounts(4)
    deployment = deploy(w3, deployer)
    deployment.save(home / "deployments")
    (home / "sealing").mkdir()
    accounts = {
        "requester": requester.key,
        "oracle": oracle.key,
        "stranger": stranger.key,
        "pauper": b"\x77" * 32,
    }
    for name, key in accounts.items():
        create_account(home / "accounts", name, PASSWORD, key=bytes(key), n=LIGHT)
        SealingKey.from_bytes(name.encode().ljust(32, b"k")).save(
            home / "sealing" / f"{name}.json", PASSWORD, work_factor=LIGHT
        )
    (home / "password").write_text(PASSWORD + "\n")
    chain, sender = ChainClient(w3, deployment), Sender(w3, oracle)
    oracle_key = SealingKey.load(home / "sealing" / "oracle.json", PASSWORD)
    sender.send(chain.registry.register(oracle_key.public, b"p" * 32, STAKE))
    with RpcServer(w3, 0) as server:
        yield World(ChainClient(connect(server.url), deployment), server.url, home, Sender(w3, oracle))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """An empty home, an empty working folder and no settings from outside."""
    for name in ("RPC", "ACCOUNT", "PASSWORD_FILE", "DEBUG"):
        monkeypatch.delenv(f"QSCROW_{name}", raising=False)
    monkeypatch.delenv("KUBO_API", raising=False)
    monkeypatch.setenv("QSCROW_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return tmp_path / "home"


@pytest.fixture
def wallet(home, world, monkeypatch) -> World:
    """The home of somebody who has accounts and a chain."""
    shutil.copytree(world.home, home)
    monkeypatch.setenv("QSCROW_RPC", world.url)
    monkeypatch.setenv("QSCROW_ACCOUNT", "requester")
    return world


@dataclass
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The documents on stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> str:
        """The one line on stderr of a command that failed as expected, with nothing on stdout."""
        assert self.code != 0 and self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("error: ")
        return line


@pytest.fixture
def qscrow(capsys) -> Any:
    """Runs a command: ``qscrow("watch", 1)``."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(ended.value.code or 0, captured.out, captured.err)

    return run


def files_under(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``, to tell whether something was written."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def untouched(tmp_path, wallet) -> Any:
    """Checks at the end that no file changed and no transaction was mined since the call."""
    checks = []

    def begin() -> None:
        checks.append((wallet.block(), files_under(tmp_path)))

    yield begin
    assert checks, "the test forgot to begin"
    assert (wallet.block(), files_under(tmp_path)) == checks[0]
