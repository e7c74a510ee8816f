"""The operator's commands about the journal."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from oracle.cli.settings import load_settings
from oracle.node.journal import Journal, Step


@pytest.fixture
def path(wallet, monkeypatch):
    """Where the journal of the oracle is."""
    monkeypatch.setenv("QSCROW_ACCOUNT", "oracle")
    return load_settings().journal(31337, wallet.oracle.address)


@pytest.fixture
def job(qscrow, path) -> int:
    qscrow("init", "job.yaml")
    submit = ("submit", "job.yaml", "--oracle", "oracle", "--account", "requester", "--yes", "--json")
    return qscrow(*submit).json["job"]


def opened(path, wallet):
    deployment = wallet.chain.deployment
    return closing(Journal(path, chain_id=31337, escrow=deployment.job_escrow, oracle=wallet.oracle.address))


def test_rebuild__job_waiting_on_the_chain__has_it_and_says_what_was_kept(qscrow, wallet, path, job):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"scribbled" * 100)

    said = qscrow("oracle", "rebuild", "--json").json

    assert said["journal"] == str(path)
    assert said["kept"] == f"{path}.old-1"
    assert said["jobs"]["seen"] >= 1
    assert said["last_block"] == wallet.block()
    assert said["nonce"] == wallet.chain.transaction_count(wallet.oracle.address)
    with opened(path, wallet) as journal:
        assert journal.job(job).step == Step.SEEN


def test_rebuild__text__says_what_is_lost_and_what_comes_next(qscrow, path, job):
    said = qscrow("oracle", "rebuild").out

    assert "seen" in said and "kept" not in said
    assert "are computed again" in said
    assert "Next: qscrow oracle run" in said


def test_rebuild__while_a_node_runs__is_refused(qscrow, wallet, path):
    with opened(path, wallet):
        failed = qscrow("oracle", "rebuild")

    assert failed.code == 8
    assert "another node is using it" in failed.error


def test_status__while_the_journal_is_open__shows_its_jobs(qscrow, wallet, path, job):
    qscrow("oracle", "rebuild")
    with opened(path, wallet) as journal:
        journal.postpone(journal.job(job), "no content yet", 50.0)

        said = qscrow("oracle", "status", "--json").json
        text = qscrow("oracle", "status").out

    assert said["jobs"]["seen"] >= 1
    assert said["journal"]["jobs"] == said["jobs"]
    mine = next(one for one in said["journal"]["open"] if one["job_id"] == job)
    assert (mine["step"], mine["attempts"], mine["note"]) == ("seen", 1, "no content yet")
    assert said["journal"]["last_block"] == wallet.block()
    assert "no content yet" in text and "last block" in text


def test_status__one_job__tells_its_history(qscrow, wallet, path, job):
    qscrow("oracle", "rebuild")
    with opened(path, wallet) as journal:
        journal.advance(journal.job(job), Step.CHECKED, note="it fits")

    said = qscrow("oracle", "status", "--job", job, "--json").json
    assert [(moment["step"], moment["note"]) for moment in said] == [("seen", ""), ("checked", "it fits")]
    assert "it fits" in qscrow("oracle", "status", "--job", job).out
    assert "knows no job 999999" in qscrow("oracle", "status", "--job", 999999).error


def test_status__no_journal__says_so_and_shows_the_rest(qscrow, path):
    shown = qscrow("oracle", "status")

    assert shown.code == 0 and "there is no journal" in shown.err
    assert json.loads(qscrow("oracle", "status", "--json").out)["journal"] is None
