from __future__ import annotations

from dataclasses import replace

import pytest

from oracle.chain.history import fetch_job
from oracle.content.cid import CID, ipfs_uri
from oracle.content.store import get_object
from oracle.jobs.canonical import digest
from oracle.jobs.errors import ChainError, ChainUnavailable, ContentError, InputError
from oracle.jobs.spec import parse_spec
from oracle.jobs.states import State
from oracle.jobs.terms import ZERO_ADDRESS
from oracle.requester.draft import Draft
from oracle.requester.submit import Parties, prepare, submit
from oracle.sealing.context import SealContext
from oracle.sealing.sealed import open_sealed

BUDGET = 10**16
CHALLENGED = {"timeouts": {"challenge_seconds": 60}}


def with_fields(draft: Draft, **sections) -> Draft:
    return replace(draft, fields={**draft.fields, **sections})


def prepared(world, draft, parties=None):
    parties = parties or Parties(oracle=world.oracle.address)
    return prepare(draft, parties, chain=world.chain, requester=world.requester.address, key=world.key)


def test_prepare__addressed__terms_say_what_the_draft_says(world, draft):
    before = world.block()

    ready = prepared(world, draft, Parties(oracle=world.oracle.address, bond=5))

    terms, now = ready.terms, world.chain.block().timestamp
    assert (terms.requester, terms.payer, terms.oracle) == (
        world.requester.address,
        world.requester.address,
        world.oracle.address,
    )
    assert (terms.validator, terms.arbiter, terms.token) == (ZERO_ADDRESS,) * 3
    assert (terms.budget, terms.validator_fee, terms.bond, terms.challenge_period) == (BUDGET, 0, 5, 0)
    assert (terms.accept_by, terms.deliver_by) == (now + 3600, now + 7200)
    assert terms.spec == digest(ready.spec_bytes)
    assert terms.seal_to == world.key.for_spec(terms.spec).public
    assert parse_spec(ready.spec_bytes)["quantum"]["circuit"] == ipfs_uri(digest(draft.circuit))
    assert world.block() == before


def test_submit__prepared_job__is_on_chain_as_promised_and_pinned(world, store, draft):
    ready = prepared(world, draft)

    done = submit(ready, chain=world.chain, store=store, sender=world.requester)

    job = fetch_job(world.chain, done.job_id)
    assert (job.terms, job.state) == (ready.terms, State.CREATED)
    assert world.chain.escrow.matches(done.job_id, ready.terms)
    assert parse_spec(get_object(store, job.terms.spec, 2**20)) == ready.spec
    assert get_object(store, CID.parse(ready.spec["quantum"]["circuit"]).digest, 2**20) == draft.circuit
    assert len(list(store.pins())) == 2


def test_submit__sealed_circuit__only_the_oracle_can_read_it(world, store, draft):
    ready = prepared(world, with_fields(draft, privacy={"circuit": "sealed"}))

    submit(ready, chain=world.chain, store=store, sender=world.requester)

    pinned = get_object(store, CID.parse(ready.spec["quantum"]["circuit"]).digest, 2**20)
    assert draft.circuit not in pinned
    context = SealContext.for_circuit(
        chain_id=world.chain.chain_id,
        contract=world.chain.deployment.job_escrow,
        party=world.requester.address,
    )
    assert open_sealed(pinned, world.oracle_key, context) == draft.circuit


def test_submit__validator_and_arbiter__reach_the_terms(world, store, draft):
    world.stranger.send(world.chain.registry.register(b"v" * 32, b"p" * 32))
    parties = Parties(
        oracle=world.oracle.address,
        validator=world.stranger.address,
        arbiter=world.requester.address,
        validator_fee=7,
        bond=9,
    )
    judged = with_fields(draft, **CHALLENGED, settlement={"release_on": "attestation"})

    done = submit(prepared(world, judged, parties), chain=world.chain, store=store, sender=world.requester)

    terms = fetch_job(world.chain, done.job_id).terms
    assert (terms.validator, terms.arbiter) == (world.stranger.address, world.requester.address)
    assert (terms.validator_fee, terms.bond, terms.challenge_period) == (7, 9, 60)


@pytest.mark.parametrize(
    ("parties", "sections", "field"),
    [
        ({}, {}, "bond"),
        ({"oracle": "requester"}, {}, "oracle"),
        ({"oracle": "requester"}, {"privacy": {"circuit": "sealed"}}, "oracle"),
        ({"bond": 1}, {"privacy": {"circuit": "sealed"}}, "privacy.circuit"),
        ({"oracle": "oracle", "bond": 2 * 10**18}, {}, "bond"),
        ({"oracle": "oracle"}, {"budget": {}}, "budget.amount"),
        ({"oracle": "oracle"}, {"budget": {"amount": 5, "token": "0x" + "11" * 20}}, "budget.token"),
        ({"oracle": "oracle", "validator_fee": 1}, {}, "validator_fee"),
        ({"oracle": "oracle", "validator": "oracle"}, {}, "validator"),
        ({"oracle": "oracle", "validator": "requester"}, {}, "validator"),
        ({"oracle": "oracle", "validator": "stranger", "validator_fee": BUDGET}, {}, "validator_fee"),
        ({"oracle": "oracle", "arbiter": "oracle"}, {}, "arbiter"),
        ({"oracle": "oracle", "arbiter": "requester"}, {}, "timeouts.challenge_seconds"),
        (
            {"oracle": "oracle"},
            {**CHALLENGED, "settlement": {"release_on": "challenge"}},
            "timeouts.challenge_seconds",
        ),
        ({"oracle": "oracle", "arbiter": "requester"}, CHALLENGED, "settlement.release_on"),
        (
            {"oracle": "oracle", "arbiter": "requester"},
            {**CHALLENGED, "settlement": {"release_on": "attestation"}},
            "settlement.release_on",
        ),
    ],
)
def test_prepare__what_the_contract_or_the_oracle_would_refuse__names_the_field(world, draft, parties, sections, field):
    known = {name: getattr(world, name).address for name in ("oracle", "requester", "stranger")}
    resolved = Parties(**{name: known.get(value, value) for name, value in parties.items()})

    with pytest.raises(InputError) as caught:
        prepared(world, with_fields(draft, **sections), resolved)

    assert caught.value.field == field
    assert caught.value.remedy


class LyingStore:
    """Says that it keeps something else."""

    def put(self, data, *, pin=True):
        return CID.of(data + b"!")


def test_submit__store_keeps_something_else__nothing_is_sent(world, draft):
    before = world.block()

    with pytest.raises(ContentError) as caught:
        submit(prepared(world, draft), chain=world.chain, store=LyingStore(), sender=world.requester)

    assert caught.value.field == "quantum.circuit"
    assert world.block() == before


def test_submit__cannot_pay__nothing_is_pinned_or_sent(world, store, draft):
    rich = with_fields(draft, budget={"amount": "20000 ether"})
    before = world.block()

    with pytest.raises(ChainError) as caught:
        submit(prepared(world, rich), chain=world.chain, store=store, sender=world.requester)

    assert caught.value.field == "account"
    assert (world.block(), list(store.pins())) == (before, [])


def test_submit__answer_lost_after_broadcast__names_the_transaction(world, store, draft, monkeypatch):
    def lost(attempt, timeout=0):
        raise ChainUnavailable("the endpoint went away")

    monkeypatch.setattr(world.requester, "wait", lost)
    before = world.block()

    with pytest.raises(ChainUnavailable, match="0x[0-9a-f]{64} was sent and may still be mined"):
        submit(prepared(world, draft), chain=world.chain, store=store, sender=world.requester)

    assert world.block() == before + 1
