from __future__ import annotations

import pytest
import yaml

from oracle.chain.history import fetch_job

FEE = "0.0001 ether"


@pytest.fixture(scope="module")
def world(new_world):
    return new_world


@pytest.fixture
def registered(qscrow, wallet):
    qscrow("validator", "register", "--account", "stranger")
    return wallet


def delivered_job(qscrow, wallet, work) -> int:
    """A job that names ``stranger`` as validator, with the digest of nothing delivered."""
    qscrow("init", work / "job.yaml")
    draft = yaml.safe_load((work / "job.yaml").read_text())
    draft["timeouts"] = {"challenge_seconds": 600}
    draft["settlement"] = {"release_on": "attestation"}
    draft["validation"] = {"method": "replay"}
    (work / "job.yaml").write_text(yaml.safe_dump(draft))
    parties = ("--oracle", wallet.address("oracle"), "--validator", wallet.address("stranger"))
    said = qscrow("submit", work / "job.yaml", *parties, "--validator-fee", FEE, "--yes", "--json")
    job_id = int(said.json["job"])
    terms = fetch_job(wallet.chain, job_id).terms
    wallet.oracle.send(wallet.chain.escrow.deliver(job_id, terms, 1, b"\x11" * 32))
    return job_id


def test_register__key__is_known_to_the_chain_and_needs_no_stake(qscrow, wallet):
    said = qscrow("validator", "register", "--account", "stranger", "--json").json

    assert wallet.chain.registry.sealing_key_of(said["address"]).hex() == said["sealing_key"].removeprefix("0x")
    assert wallet.chain.registry.stake_of(said["address"]) == (0, 0)


def test_run__not_registered__is_refused(qscrow, wallet):
    said = qscrow("validator", "run", "--once", "--account", "pauper")

    assert said.code == 2
    assert "qscrow validator register" in said.error


def test_run__account_of_an_oracle__is_refused(qscrow, wallet, home):
    qscrow("oracle", "register", "--account", "oracle")
    journal = home / "journals" / f"31337-{wallet.address('oracle').lower()}.db"
    journal.parent.mkdir()
    journal.touch()

    said = qscrow("validator", "run", "--once", "--account", "oracle")

    assert said.code == 2
    assert "runs an oracle here" in said.error


def test_run__job_that_pays_too_little__is_left_alone_and_listed(qscrow, registered, tmp_path):
    job_id = delivered_job(qscrow, registered, tmp_path)

    steps = qscrow("validator", "run", "--once", "--min-fee", "1 ether", "--account", "stranger", "--json").lines
    status = qscrow("validator", "status", "--account", "stranger", "--json").json
    one = qscrow("validator", "status", "--job", job_id, "--account", "stranger")

    assert {"job": job_id, "step": "closed", "note": "silent: fee_too_low"} in steps
    assert status["endings"] == {"silent: fee_too_low": 1}
    assert "it pays 0.0001 ether, the least here is 1 ether" in one.out


def test_status__result_that_cannot_be_had__is_listed_as_open(qscrow, registered, tmp_path):
    job_id = delivered_job(qscrow, registered, tmp_path)

    qscrow("validator", "run", "--once", "--account", "stranger")
    status = qscrow("validator", "status", "--account", "stranger", "--json").json

    (waiting,) = [each for each in status["open"] if each["job"] == job_id]
    assert waiting["step"] == "delivered"
    assert "cannot be had" in waiting["note"]


def test_status__never_run__says_so(qscrow, wallet):
    said = qscrow("validator", "status", "--account", "pauper")

    assert said.code == 0
    assert "registered  False" in " ".join(said.out.split("   "))


def test_status__job_nobody_knows__is_refused(qscrow, registered):
    qscrow("validator", "run", "--once", "--account", "stranger")

    assert qscrow("validator", "status", "--job", 999, "--account", "stranger").code == 2
