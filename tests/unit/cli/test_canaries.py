from __future__ import annotations

import pytest
import yaml

from oracle.chain.history import fetch_job
from oracle.content.cid import CID
from oracle.content.store import BlockStore
from oracle.validation.canary import opening_of


@pytest.fixture(scope="module")
def world(new_world):
    return new_world


@pytest.fixture
def draft(qscrow, wallet, tmp_path):
    """A draft for a validator, whom ``stranger`` plays."""
    qscrow("validator", "register", "--account", "stranger")
    qscrow("init", tmp_path / "job.yaml")
    document = yaml.safe_load((tmp_path / "job.yaml").read_text())
    document["timeouts"] = {"challenge_seconds": 600}
    document["settlement"] = {"release_on": "attestation"}
    document["validation"] = {"method": "canary"}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(document))
    return tmp_path / "job.yaml"


def submitted(qscrow, wallet, draft, *options):
    parties = ("--oracle", wallet.address("oracle"), "--validator", wallet.address("stranger"))
    return qscrow("submit", draft, *parties, "--validator-fee", "0.0001 ether", *options)


def test_canaries__from_submission_to_opening__are_told_to_nobody_too_early(qscrow, wallet, draft, home):
    said = submitted(qscrow, wallet, draft, "--canaries", 2, "--yes").out
    job_id = wallet.chain.escrow.job_count()
    terms = fetch_job(wallet.chain, job_id).terms
    early = qscrow("canaries", "open", job_id)

    assert "3, 2 of them canaries" in said
    assert f"qscrow canaries open {job_id} --wait 7200" in said  # an hour to accept it, and one to deliver
    assert (home / "canaries" / f"{terms.spec.hex()}.json").stat().st_mode & 0o777 == 0o600
    assert early.code == 2 and "could cheat" in early.error
    assert [each["published"] for each in qscrow("canaries", "list", "--json").json] == [False]

    wallet.oracle.send(wallet.chain.escrow.deliver(job_id, terms, 1, b"\x11" * 32))
    watched = qscrow("watch", job_id, "--timeout", 0)
    opened = qscrow("canaries", "open", job_id, "--wait", 5, "--json").json
    again = qscrow("watch", job_id, "--timeout", 0)

    assert f"qscrow canaries open {job_id}" in watched.err
    assert "canaries" not in again.err
    block = BlockStore(home / "content").get(CID.parse(opened["opening"].removeprefix("ipfs://")), max_bytes=2**20)
    assert [each["position"] for each in opening_of(block)["canaries"]] == opened["canaries"]


def test_submit__canaries_only_tried__leaves_nothing_behind(qscrow, wallet, draft, untouched):
    untouched()
    said = submitted(qscrow, wallet, draft, "--canaries", 1, "--dry-run")
    assert said.code == 0
    assert "2, 1 of them canaries" in said.out


@pytest.mark.parametrize(
    "validation, privacy, options, why",
    [
        ({"method": "canary"}, {}, (), "--canaries 2"),
        ({"method": "replay"}, {}, ("--canaries", 1), "does not go with canaries"),
        ({"method": "agreement"}, {"circuit": "sealed"}, (), "another one for each"),
    ],
)
def test_submit__method_that_cannot_work__is_refused(
    qscrow, wallet, draft, untouched, validation, privacy, options, why
):
    document = yaml.safe_load(draft.read_text())
    draft.write_text(yaml.safe_dump({**document, "validation": validation, "privacy": privacy}))
    untouched()
    said = submitted(qscrow, wallet, draft, *options, "--yes")
    assert said.code == 2
    assert why in said.error


def test_open__job_without_canaries__says_where_they_should_be(qscrow, wallet, draft):
    document = yaml.safe_load(draft.read_text())
    draft.write_text(yaml.safe_dump({**document, "validation": {"method": "replay"}}))
    job_id = submitted(qscrow, wallet, draft, "--yes", "--json").json["job"]
    assert "are kept here" in qscrow("canaries", "open", job_id).error


def test_open__report_of_a_job_without_a_verdict__says_where_it_may_be(qscrow, wallet, draft):
    job_id = submitted(qscrow, wallet, draft, "--canaries", 1, "--yes", "--json").json["job"]
    said = qscrow("open", job_id, "--report")
    assert said.code == 2
    assert "no verdict on chain" in said.error
