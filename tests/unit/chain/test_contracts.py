from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.chain.artifacts import artifact
from oracle.chain.contracts import NATIVE, Delivery, reason_bytes, reason_text
from oracle.chain.failures import Reverted
from oracle.jobs.errors import ChainError
from oracle.jobs.states import State, Tier
from oracle.jobs.terms import ZERO_ADDRESS


def test_create_job__native__sends_the_budget_as_value(world):
    terms = world.terms(budget=42)

    assert world.client.escrow.create_job(terms).value == 42
    assert world.client.escrow.create_job(world.terms(token=world.address("stranger"))).value == 0


def test_escrow__job_from_creation_to_withdrawal__reads_back(world):
    escrow, nft = world.client.escrow, world.client.nft
    job_id, terms = world.create(bond=7)

    assert (escrow.state_of(job_id), escrow.tier_of(job_id)) == (State.CREATED, Tier.UNVERIFIED)
    assert escrow.deadline_of(job_id) == terms.accept_by
    assert escrow.matches(job_id, terms)

    world.send("oracle", escrow.accept(job_id, terms))
    assert escrow.state_of(job_id) == State.ACCEPTED
    assert world.client.registry.stake_of(world.address("oracle")) == (10**18, 7)

    world.send("oracle", escrow.report([(job_id, State.SIMULATED, b"\0" * 32), (job_id, State.RUNNING, b"e" * 32)]))
    world.send("oracle", escrow.deliver(job_id, terms, 400_000, b"r" * 32))
    assert escrow.state_of(job_id) == State.SETTLED
    assert escrow.deadline_of(job_id) == 0
    assert escrow.credit_of(world.address("oracle")) == 400_000
    assert escrow.credit_of(terms.payer) == 600_000
    assert nft.owner_of(job_id) == terms.requester
    assert nft.result_of(job_id) == b"r" * 32

    before = world.client.balance(world.address("stranger"))
    world.send("oracle", escrow.withdraw(NATIVE, world.address("stranger")))
    assert world.client.balance(world.address("stranger")) == before + 400_000
    assert escrow.credit_of(world.address("oracle")) == 0


def test_deliver_batch__one_job_moved_on__the_others_are_delivered(world):
    escrow = world.client.escrow
    (first, terms), (gone, its_terms), (judged, judged_terms) = (
        world.create(budget=10),
        world.create(budget=10),
        world.create(budget=10, validator=world.address("validator"), challenge_period=60),
    )
    world.send("requester", escrow.cancel(gone, its_terms))

    world.send(
        "oracle",
        escrow.deliver_batch(
            [
                Delivery(first, terms, 4, b"1" * 32),
                Delivery(gone, its_terms, 4, b"2" * 32),
                Delivery(judged, judged_terms, 5, b"3" * 32),
            ]
        ),
    )

    assert [escrow.state_of(job) for job in (first, gone, judged)] == [State.SETTLED, State.CANCELLED, State.COMPLETED]
    assert world.client.nft.result_of(first) == b"1" * 32
    assert escrow.delivery_of(judged) == (5, False, 0)


def test_deliver_batch__accepting_attestation__settles_at_once(world):
    escrow, validator = world.client.escrow, world.senders["validator"].account
    job_id, terms = world.create(budget=10, validator=validator.address, challenge_period=60)
    contract = world.client.w3.eth.contract(escrow.address, abi=artifact("JobEscrow")["abi"])
    unsigned = (True, 1, 0, b"p" * 32, b"")
    digest = contract.functions.attestationDigest(job_id, terms.to_abi(), b"3" * 32, unsigned).call()
    attestation = (True, 1, 0, b"p" * 32, bytes(validator.unsafe_sign_hash(digest).signature))

    world.send("oracle", escrow.deliver_batch([Delivery(job_id, terms, 5, b"3" * 32, attestation)]))

    assert escrow.state_of(job_id) == State.SETTLED
    assert escrow.tier_of(job_id) == Tier.REPLAYED


def test_delivery_of__waiting_for_challenge__says_charge_and_parties(world):
    job_id, terms = world.create(arbiter=world.address("arbiter"), challenge_period=60)
    world.send("oracle", world.client.escrow.deliver(job_id, terms, 9, b"r" * 32))

    assert world.client.escrow.delivery_of(job_id) == (9, False, 0)
    assert world.client.escrow.state_of(job_id) == State.COMPLETED


def test_token_uri__of_a_result__is_json_inside(world):
    job_id, terms = world.create()
    world.send("oracle", world.client.escrow.deliver(job_id, terms, 9, b"r" * 32))

    head, _, body = world.client.nft.token_uri(job_id).partition(",")

    assert head == "data:application/json;base64"
    assert str(job_id) in json.loads(base64.b64decode(body))["name"]


def test_nft__token_that_does_not_exist__is_a_chain_error(world):
    for read in (world.client.nft.owner_of, world.client.nft.result_of, world.client.nft.token_uri):
        with pytest.raises(ChainError):
            read(999)


def test_state_of__id_never_used__is_none(world):
    assert world.client.escrow.state_of(999) == State.NONE


def test_registry__stake__goes_out_after_the_delay(world):
    registry, oracle = world.client.registry, world.address("oracle")

    assert registry.sealing_key_of(oracle) == b"\x33" * 32
    assert registry.profile_of(oracle) == b"\x44" * 32
    assert registry.sealing_key_of(world.address("stranger")) == b"\0" * 32

    world.send("oracle", registry.request_unstake(10**17))
    amount, available_at = registry.unstaking_of(oracle)
    assert amount == 10**17
    with pytest.raises(Reverted, match="StillLocked"):
        world.send("oracle", registry.unstake(oracle))

    world.wait(available_at - world.client.block().timestamp + 1)
    world.send("oracle", registry.unstake(oracle))
    assert registry.stake_of(oracle) == (9 * 10**17, 0)


@pytest.mark.parametrize(
    ("who", "call", "error"),
    [
        ("stranger", lambda e, i, t: e.cancel(i, t), "NotAllowed"),
        ("stranger", lambda e, i, t: e.accept(i, t), "NotAllowed"),
        ("stranger", lambda e, i, t: e.deliver(i, t, 1, b"r" * 32), "NotAllowed"),
        ("stranger", lambda e, i, t: e.reject(i, t, "no"), "NotAllowed"),
        ("oracle", lambda e, i, t: e.fail(i, t, "no"), "WrongState"),
        ("oracle", lambda e, i, t: e.settle(i, t), "WrongState"),
        ("oracle", lambda e, i, t: e.deliver(i, t, t.budget + 1, b"r" * 32), "ChargeTooHigh"),
        ("oracle", lambda e, i, t: e.deliver(i, t, 1, b"\0" * 32), "EmptyResult"),
        ("oracle", lambda e, i, t: e.accept(i, t.taken_by(ZERO_ADDRESS)), "TermsMismatch"),
        ("stranger", lambda e, i, t: e.claim_refund(i, t), "TooEarly"),
        ("stranger", lambda e, i, t: e.withdraw(NATIVE, t.payer), "NothingToWithdraw"),
        ("oracle", lambda e, i, t: e.report([(i, State.SETTLED, b"\0" * 32)]), "WrongState"),
    ],
)
def test_escrow__call_that_is_not_allowed__is_refused_by_name(world, who, call, error):
    job_id, terms = world.create()

    with pytest.raises(Reverted) as refused:
        world.send(who, call(world.client.escrow, job_id, terms))

    assert refused.value.name == error
    assert refused.value.arguments.get("jobId", job_id) == job_id


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=31))
def test_reason_text__short_ascii_reason__comes_back(reason):
    assert len(reason_bytes(reason)) == 32
    assert reason_text(reason_bytes(reason)) == reason


@given(st.text(max_size=60))
def test_reason_bytes__any_text__fits_the_chain_and_stays_readable(reason):
    data = reason_bytes(reason)

    assert len(data) == 32
    assert data[31] == 0
    reason_text(data)


@given(st.binary(min_size=32, max_size=32))
def test_reason_text__any_evidence__is_printable(evidence):
    assert reason_text(evidence).isprintable()


def test_reason_text__digest__is_hex_and_nothing_is_empty():
    assert reason_text(b"\xff" * 32) == "0x" + "ff" * 32
    assert reason_text(b"\0" * 32) == ""
