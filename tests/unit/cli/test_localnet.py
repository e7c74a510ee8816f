from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from oracle.chain.localnet import RpcServer, in_process_chain
from oracle.cli import localnet, main
from oracle.cli.settings import load_settings

STATE_FIELDS = {"url", "engine", "pid", "chain_id", "job_escrow", "oracle_registry", "result_nft", "accounts"}


@pytest.fixture
def port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def command(monkeypatch):
    """Lets processes that the command starts find this package."""
    monkeypatch.setenv("PYTHONPATH", str(Path(main.__file__).parents[2]))


def test_localnet__detached__serves_funded_accounts_until_stopped(qscrow, home, port, command):
    started = qscrow("localnet", "--detach", "--engine", "tester", "--port", port, "--json")
    try:
        state = started.json
        assert set(state) == STATE_FIELDS
        assert (state["url"], state["engine"]) == (f"http://127.0.0.1:{port}", "py-evm")
        assert set(state["accounts"]) == {"requester", "oracle"}
        assert (home / "password").stat().st_mode & 0o777 == 0o600
        assert {path.stem for path in (home / "sealing").iterdir()} == {"requester", "oracle"}
        assert json.loads((home / "deployments" / "31337.json").read_text())["jobEscrow"] == state["job_escrow"]

        held = qscrow("balance", "--account", "requester", "--rpc", state["url"], "--json").json
        assert int(held["balance"]) >= localnet.FUNDING_WEI

        again = qscrow("localnet", "--detach", "--port", port)
        assert f"a local chain runs already on {state['url']}; end it with" in again.error
    finally:
        stopped = qscrow("localnet", "--stop", "--json")
    assert stopped.json == {"stopped": f"http://127.0.0.1:{port}"}
    assert not (home / "localnet.json").exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_localnet__in_the_foreground__a_signal_ends_it_and_its_traces(home, port, command, number, code):
    arguments = ["localnet", "--engine", "tester", "--port", str(port), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "oracle.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = iter(process.stdout.readline, "}\n")
    state = json.loads("".join(lines) + "}")
    assert state["pid"] == process.pid

    process.send_signal(number)
    _, err = process.communicate(timeout=30)

    assert process.returncode == code
    assert "Traceback" not in err
    assert not (home / "localnet.json").exists()


def test_localnet__accounts_exist_already__are_kept_and_funded(home, wallet):
    w3 = in_process_chain()
    kept = {path.name: path.read_bytes() for path in (home / "accounts").iterdir()}
    with RpcServer(w3, 0) as server:
        state = localnet._prepare(load_settings(), server.url, "py-evm")

    assert {path.name: path.read_bytes() for path in (home / "accounts").iterdir()} == kept
    assert (home / "password").read_text() == "correct horse\n"
    assert all(w3.eth.get_balance(address) >= localnet.FUNDING_WEI for address in state["accounts"].values())
    assert "pauper" in state["accounts"]


@pytest.mark.parametrize(("url", "said"), [("http://127.0.0.1:8545", False), ("http://127.0.0.1:20001", True)])
def test_announce__another_port_than_commands_look_at__says_how_to_name_it(capsys, url, said):
    parts = ("chain_id", "engine", "job_escrow", "oracle_registry", "result_nft")

    localnet._announce({**dict.fromkeys(parts, "x"), "url": url, "accounts": {}}, json=False)

    assert (f"export QSCROW_RPC={url}" in capsys.readouterr().out) == said


@pytest.mark.parametrize("flags", [[], ["--detach"]])
def test_localnet__port_is_taken__says_so_and_writes_nothing(qscrow, home, flags):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        failed = qscrow("localnet", "--port", port, *flags)

    assert failed.code == 3
    assert failed.error == f"error: port: something listens on port {port} already; stop it, or choose another --port"
    assert not home.exists()


def test_localnet__anvil_wanted_and_absent__says_how_to_get_it(qscrow, port, monkeypatch):
    monkeypatch.setattr("oracle.chain.localnet.find_anvil", lambda: None)
    monkeypatch.setattr(localnet.signal, "signal", lambda *_: None)

    failed = qscrow("localnet", "--engine", "anvil", "--port", port)

    assert "engine: anvil is not installed; use --engine tester" in failed.error


def test_stop__nothing_runs__says_so(qscrow):
    failed = qscrow("localnet", "--stop")

    assert failed.code == 3
    assert "no local chain runs; start one with `qscrow localnet --detach`" in failed.error


@pytest.mark.parametrize("content", ["", "[]", "{", '{"pid": "x"}', None])
def test_stop__file_of_a_killed_one__is_removed_and_its_process_number_left_alone(qscrow, home, content):
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        home.mkdir()
        stale = json.dumps({"pid": bystander.pid, "url": "http://127.0.0.1:1"}) if content is None else content
        (home / "localnet.json").write_text(stale)

        assert "no local chain runs" in qscrow("localnet", "--stop").error

        assert not (home / "localnet.json").exists()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.communicate()


def test_keep_time__wall_clock_is_ahead__mines_a_block_at_it(monkeypatch):
    w3 = in_process_chain()
    start = w3.eth.get_block("latest")["timestamp"]
    naps = iter([None])

    def nap(_):
        if next(naps, "over") == "over":
            raise SystemExit

    monkeypatch.setattr(localnet.time, "sleep", nap)
    monkeypatch.setattr(localnet.time, "time", lambda: start + 5000)
    with RpcServer(w3, 0) as server, pytest.raises(SystemExit):
        localnet._keep_time(server.url)

    assert 5000 <= w3.eth.get_block("latest")["timestamp"] - start <= 5002
