"""``brownie run deploy`` as a user runs it, without a second Brownie process."""

from __future__ import annotations

import pytest
from brownie import run, web3

from oracle.chain.deployments import Deployment


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
