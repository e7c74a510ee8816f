"""One step of an examination: the sealed report."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from eth_account import Account

from oracle.content.store import BlockStore, put_object
from oracle.jobs.canonical import canonical_bytes
from oracle.jobs.spec import normalise
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node.config import NodeConfig
from oracle.node.journal import Step
from oracle.sealing.keys import SealingKey, key_id
from oracle.sealing.sealed import inspect_sealed
from oracle.validator.examination import Examination
from oracle.validator.journal import ValidatorJournal

ESCROW = "0x" + "11" * 20
REQUESTER = "0x" + "44" * 20
ACCOUNT = Account.from_key("0x" + "01" * 32)
KEY = SealingKey.generate()
STORED = {
    "report": {"verdict": "accept", "method": "replay"},
    "result": "55" * 32,
    "accepted": True,
    "method": 1,
    "distance": 0,
}


@pytest.fixture
def sealing(tmp_path):
    """An examination, and how to have it seal the report on a job whose results go to a certain key."""
    store = BlockStore(tmp_path / "content")
    draft = {"quantum": {"circuit": "c"}, "budget": {"amount": "1 ether"}}
    spec = normalise(draft, requester=f"did:pkh:eip155:1:{REQUESTER}", circuit="ipfs://f01551220" + "66" * 32)
    journal = ValidatorJournal(tmp_path / "verdicts.db", chain_id=1, escrow=ESCROW, oracle=ACCOUNT.address)
    tools = SimpleNamespace(
        chain=SimpleNamespace(chain_id=1, deployment=SimpleNamespace(job_escrow=ESCROW)),
        sender=SimpleNamespace(address=ACCOUNT.address, account=ACCOUNT),
        journal=journal,
        store=store,
        key=KEY,
        config=NodeConfig(),
    )
    terms = Terms(
        requester=REQUESTER,
        payer=REQUESTER,
        oracle="0x" + "22" * 20,
        validator=ACCOUNT.address,
        arbiter=ZERO_ADDRESS,
        token=ZERO_ADDRESS,
        budget=10**18,
        validator_fee=1,
        bond=0,
        accept_by=50,
        deliver_by=100,
        challenge_period=100,
        spec=put_object(store, canonical_bytes(spec)),
        seal_to=bytes(32),
    )

    def sealed_to(key: bytes):
        journal.add_job(7, replace(terms, seal_to=key), 3, b"h" * 32, step=Step.DELIVERED)
        row = journal.advance(journal.job(7), Step.RAN, result=json.dumps(STORED))
        return Examination(tools, journal).advance(row)

    yield sealed_to
    journal.close()


def test_seal__requester_reads_with_the_validators_key__is_one_reader(sealing):
    job = sealing(KEY.public)
    assert job.step == Step.SEALED
    assert [capsule.to for capsule in inspect_sealed(job.sealed).capsules] == [key_id(KEY.public)]


def test_seal__key_that_nothing_can_be_sealed_to__keeps_silent(sealing):
    job = sealing(b"\x01" + bytes(31))
    assert (job.step, job.reason) == (Step.CLOSED, "silent: unsealable")
