from __future__ import annotations

import pytest

from oracle.chain.history import fetch_job
from oracle.jobs.states import State
from oracle.node.approvals import Approvals, Request


@pytest.fixture(scope="module")
def world(new_world):
    return new_world


@pytest.fixture
def accepted(qscrow, wallet, tmp_path) -> int:
    """A job the oracle has accepted."""
    qscrow("init", tmp_path / "job.yaml")
    said = qscrow("submit", tmp_path / "job.yaml", "--oracle", "oracle", "--yes", "--json")
    job_id = int(said.json["job"])
    wallet.oracle.send(wallet.chain.escrow.accept(job_id, fetch_job(wallet.chain, job_id).terms))
    return job_id


def promotion_of(wallet, job_id):
    events = wallet.chain.job_events(job_id, 0, wallet.block())
    (event,) = [event for event in events if event.name == "JobPromoted"]
    return event


def test_promote__accepted_job__may_run_on_hardware_with_more_budget(qscrow, wallet, accepted):
    before = fetch_job(wallet.chain, accepted).terms.budget

    said = qscrow("promote", accepted, "--add", "0.001 ether")

    history = fetch_job(wallet.chain, accepted)
    assert (history.state, history.terms.budget) == (State.APPROVED, before + 10**15)
    assert f"job {accepted} may run on hardware" in said.out
    assert history.steps[-1].note == "budget 0.011 ether"


def test_promote__simulation_was_reported__is_the_evidence(qscrow, wallet, accepted):
    wallet.oracle.send(wallet.chain.escrow.report([(accepted, State.SIMULATED, b"\x07" * 32)]))

    qscrow("promote", accepted)

    assert promotion_of(wallet, accepted).args["evidence"] == b"\x07" * 32


def test_promote__evidence_given__is_on_chain(qscrow, wallet, accepted):
    qscrow("promote", accepted, "--evidence", "ipfs://f01551220" + "0a" * 32)

    assert promotion_of(wallet, accepted).args["evidence"] == b"\x0a" * 32


@pytest.mark.parametrize("evidence", ["0x12", "f" * 63, "g" * 64])
def test_promote__no_digest__is_refused_before_anything_is_sent(qscrow, wallet, accepted, evidence):
    said = qscrow("promote", accepted, "--evidence", evidence)

    assert (said.code, fetch_job(wallet.chain, accepted).state) == (2, State.ACCEPTED)
    assert "evidence" in said.error


def test_promote__twice__is_refused(qscrow, wallet, accepted):
    qscrow("promote", accepted)

    said = qscrow("promote", accepted)

    assert said.code == 3
    assert "is promoted already" in said.error


def test_promote__somebody_else__is_refused(qscrow, wallet, accepted):
    said = qscrow("promote", accepted, "--account", "stranger")

    assert said.code == 3
    assert fetch_job(wallet.chain, accepted).state == State.ACCEPTED


@pytest.fixture
def asked(wallet, home) -> Approvals:
    """The approvals of an oracle whose node asks about job 4."""
    path = home / "journals" / f"31337-{wallet.address('oracle').lower()}.db"
    approvals = Approvals.beside(path)
    approvals.ask(Request(4, "ab" * 27, "0x1", "family", "12", "unknown_requester", 0.0))
    return approvals


def test_approve__without_a_job__lists_what_waits(qscrow, asked):
    said = qscrow("oracle", "approve", "--account", "oracle")
    assert "job      4  unknown_requester: 0x1, budget 12 wei" in said.out


def test_approve__nothing_asked__says_so(qscrow, wallet):
    assert "nothing waits" in qscrow("oracle", "approve", "--account", "oracle").out
    assert qscrow("oracle", "approve", "--account", "oracle", "--json").json == []


@pytest.mark.parametrize(("command", "approved"), [("approve", True), ("deny", False)])
def test_approve_and_deny__asked__is_answered(qscrow, asked, command, approved):
    said = qscrow("oracle", command, 4, "--note", "because", "--account", "oracle", "--json").json

    assert (said["approved"], said["note"]) == (approved, "because")
    assert asked.of(4).approved is approved


def test_deny__nobody_asked__is_refused(qscrow, asked):
    said = qscrow("oracle", "deny", 5, "--account", "oracle")
    assert said.code == 2
    assert "nobody asks about job 5" in said.error
