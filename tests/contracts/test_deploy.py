"""``brownie run deploy`` as a user runs it, without a second Brownie process."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from brownie import ArbitrationBridge, PanelArbitrator, run, web3

from oracle.chain.artifacts import artifact
from oracle.chain.deployments import Deployment

ROOT = Path(__file__).resolve().parents[2]


def test_deploy__on_a_development_network__writes_a_file_that_qscrow_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QSCROW_DEPLOYMENTS", str(tmp_path))

    run("deploy")

    deployment = Deployment.load(tmp_path, web3.eth.chain_id)
    printed = capsys.readouterr().out
    for address in (deployment.job_escrow, deployment.oracle_registry, deployment.result_nft):
        assert len(web3.eth.get_code(address)) > 1000
        assert address in printed
    assert web3.eth.get_block("latest")["number"] == deployment.block


def test_deploy__account_that_does_not_exist__is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("QSCROW_DEPLOYMENTS", str(tmp_path))
    monkeypatch.setenv("QSCROW_DEPLOYER", "nobody-of-that-name")

    with pytest.raises(FileNotFoundError):
        run("deploy")

    assert not list(tmp_path.iterdir())


def test_arbitration__after_the_escrow__is_a_panel_and_its_bridge(tmp_path, monkeypatch, capsys, accounts):
    members = [account.address for account in accounts[1:4]]
    for name, value in {"DEPLOYMENTS": str(tmp_path), "PANEL": ", ".join(members), "THRESHOLD": "2"}.items():
        monkeypatch.setenv(f"QSCROW_{name}", value)
    run("deploy")
    run("deploy", "arbitration")

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    panel = PanelArbitrator.at(next(line[1] for line in lines if line[:1] == ["PanelArbitrator"]))
    bridge = ArbitrationBridge.at(next(line[1].rstrip(":") for line in lines if line[:1] == ["ArbitrationBridge"]))
    assert (panel.threshold(), panel.size(), panel.fee()) == (2, 3, 0)
    assert bridge.arbitrator() == panel.address
    assert bridge.escrow() == Deployment.load(tmp_path, web3.eth.chain_id).job_escrow


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "QSCROW_PANEL"),
        ({"PANEL": "not an address"}, "QSCROW_PANEL"),
        ({"PANEL": "one", "THRESHOLD": "2"}, "QSCROW_THRESHOLD"),
        ({"PANEL": "one", "THRESHOLD": "many"}, "QSCROW_THRESHOLD"),
        ({"PANEL": "one", "FEE": "-1"}, "QSCROW_FEE"),
        ({"PANEL": "one", "DEPLOYMENTS": "elsewhere"}, "no deployment"),
    ],
    ids=lambda value: str(value),
)
def test_arbitration__bad_settings__say_which(tmp_path, monkeypatch, accounts, settings, says):
    monkeypatch.setenv("QSCROW_DEPLOYMENTS", str(tmp_path))
    run("deploy")
    for name, value in settings.items():
        fixed = {"one": accounts[1].address, "elsewhere": str(tmp_path / "elsewhere")}.get(value, value)
        monkeypatch.setenv(f"QSCROW_{name}", fixed)

    with pytest.raises(SystemExit, match=says):
        run("deploy", "arbitration")


def test_standard_json__compiled_without_any_file__gives_the_bytes_that_ship(tmp_path):
    """What goes to a block explorer is all it needs."""
    import solcx

    spec = importlib.util.spec_from_file_location("artifacts", ROOT / "scripts" / "artifacts.py")
    artifacts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(artifacts)
    target = tmp_path / "verification.json"
    assert artifacts.main(["--standard-json", str(target)]) == 0

    empty = tmp_path / "empty"
    empty.mkdir()
    output = solcx.compile_standard(json.loads(target.read_text()), solc_version=artifacts.SOLC, base_path=str(empty))

    for name, path in artifacts.CONTRACTS.items():
        compiled = output["contracts"][path][name]["evm"]["bytecode"]["object"]
        assert "0x" + compiled == artifact(name)["bytecode"]


def test_artifacts__unknown_option__says_how(capsys):
    spec = importlib.util.spec_from_file_location("artifacts", ROOT / "scripts" / "artifacts.py")
    artifacts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(artifacts)

    assert artifacts.main(["--chekc"]) == 2
    assert "--check" in capsys.readouterr().err
