"""Signed verdicts: only the validator's, only for this job, these terms, this result, this contract and chain."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import OddValidator, Wallet, web3
from eth_account import Account
from eth_account.messages import encode_typed_data
from world import CHARGE, REPORT, RESULT, pass_time, refusal, typed_attestation

from oracle.jobs.states import State, Tier

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
FORGERIES = {
    "another_signer": {"signer": Account.from_key("0x" + "6b" * 32)},
    "another_job": {"jobId": 77},
    "other_terms": {"termsHash": b"\x09" * 27 + bytes(5)},
    "another_result": {"result": b"\x12" * 32},
    "flipped_verdict": {"accepted": False},
    "another_method": {"method": 2},
    "another_distance": {"distance": 1},
    "another_report": {"report": bytes(32)},
    "another_chain": {"chain_id": 1},
    "another_contract": {"contract": "0x" + "77" * 20},
}


def with_signature(attestation: tuple, signature: bytes) -> tuple:
    return (*attestation[:4], signature)


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_validate__signature_for_something_else__is_refused(world, forgery):
    job, terms = world.delivered(world.terms(judged=True))
    good = world.attestation(job, terms)
    signed = dict(forgery)
    forged = with_signature(good, _signature(world, job, terms, signed))

    for call, args in (("validate", (forged,)), ("deliverAttested", (CHARGE, RESULT, forged))):
        target = job if call == "validate" else None
        if target is None:
            target, terms = world.accepted(world.terms(judged=True))
            forged = with_signature(good, _signature(world, target, terms, dict(forgery)))
            args = (CHARGE, RESULT, forged)
        function = getattr(world.escrow, call)
        assert refusal(function, target, terms.to_abi(), *args, sender=world.oracle) == "InvalidAttestation"


def _signature(world, job, terms, changes: dict) -> bytes:
    accepted = changes.pop("accepted", True)
    method = changes.pop("method", 0)
    if "jobId" in changes:
        return world.attestation(changes["jobId"], terms, accepted=accepted, method=method)[4]
    return world.attestation(job, terms, accepted=accepted, method=method, **changes)[4]


@pytest.mark.parametrize("shape", ["empty", "short", "long", "zeros", "high_s"])
def test_validate__malformed_signature__is_refused(world, shape):
    job, terms = world.delivered(world.terms(judged=True))
    good = world.attestation(job, terms)
    signature = good[4]
    s = int.from_bytes(signature[32:64], "big")
    malformed = {
        "empty": b"",
        "short": signature[:-1],
        "long": signature + b"\0",
        "zeros": bytes(65),
        "high_s": signature[:32] + (ORDER - s).to_bytes(32, "big") + bytes([55 - signature[64]]),
    }[shape]

    name = refusal(world.escrow.validate, job, terms.to_abi(), with_signature(good, malformed), sender=world.stranger)

    assert name == "InvalidAttestation"


def test_attestation_digest__of_the_contract__is_the_documented_typed_data(world):
    job, terms = world.delivered(world.terms(judged=True))
    good = world.attestation(job, terms)

    digest = world.escrow.attestationDigest(job, terms.to_abi(), RESULT, good)

    assert web3.eth.account._recover_hash(bytes(digest), signature=good[4]) == world.validator.address


def test_validate__after_a_verdict__is_refused(world):
    job, terms = world.rejected_by_validator(world.terms(judged=True, arbitrated=True))

    again = world.attestation(job, terms, accepted=True)

    assert refusal(world.escrow.validate, job, terms.to_abi(), again, sender=world.oracle) == "AlreadyJudged"


def test_validate__replayed_after_settlement__is_refused(world):
    job, terms = world.delivered(world.terms(judged=True))
    good = world.attestation(job, terms)
    world.escrow.validate(job, terms.to_abi(), good, {"from": world.stranger})

    assert refusal(world.escrow.validate, job, terms.to_abi(), good, sender=world.stranger) == "WrongState"


def test_validate__rejection_in_the_last_second__leaves_the_oracle_the_whole_period(world):
    job, terms = world.delivered(world.terms(judged=True, arbitrated=True))
    pass_time(world.escrow.deadlineOf(job) - 1)

    sent = world.escrow.validate(
        job, terms.to_abi(), world.attestation(job, terms, accepted=False), {"from": world.stranger}
    )

    assert world.escrow.deadlineOf(job) == sent.timestamp + terms.challenge_period
    assert world.state(job) == State.COMPLETED
    assert world.tier(job) == Tier.UNVERIFIED  # a pending rejection is no verification


def test_deliver_attested__rejecting__is_refused(world):
    job, terms = world.accepted(world.terms(judged=True))
    rejecting = world.attestation(job, terms, accepted=False)

    name = refusal(world.escrow.deliverAttested, job, terms.to_abi(), CHARGE, RESULT, rejecting, sender=world.oracle)

    assert name == "RejectingAttestation"


def test_deliver_attested__job_without_validator__is_refused(world):
    job, terms = world.accepted(world.terms())
    anybody = world.attestation(job, terms)

    name = refusal(world.escrow.deliverAttested, job, terms.to_abi(), CHARGE, RESULT, anybody, sender=world.oracle)

    assert name == "InvalidAttestation"


def test_validate__contract_as_validator__is_asked_by_erc1271(world):
    wallet = world.stranger.deploy(Wallet, world.validator.address)
    job, terms = world.delivered(replace(world.terms(judged=True), validator=wallet.address))

    world.escrow.validate(job, terms.to_abi(), world.attestation(job, terms), {"from": world.stranger})

    assert world.state(job) == State.SETTLED
    assert world.credit(wallet) == terms.validator_fee


def test_validate__contract_that_does_not_agree__is_refused(world):
    wallet = world.stranger.deploy(Wallet, world.stranger.address)
    job, terms = world.delivered(replace(world.terms(judged=True), validator=wallet.address))
    for validator_signature in (world.attestation(job, terms), with_signature(world.attestation(job, terms), b"")):
        name = refusal(world.escrow.validate, job, terms.to_abi(), validator_signature, sender=world.stranger)
        assert name == "InvalidAttestation"


@pytest.mark.parametrize("answer", range(6), ids=["nothing", "four_bytes", "true", "dirty", "megabyte", "revert"])
def test_validate__contract_that_answers_garbage__is_refused_and_costs_little(world, answer):
    validator = world.stranger.deploy(OddValidator, answer)
    job, terms = world.delivered(replace(world.terms(judged=True), validator=validator.address))
    signed = world.attestation(job, terms)

    assert refusal(world.escrow.validate, job, terms.to_abi(), signed, sender=world.stranger) == "InvalidAttestation"

    cost = web3.eth.estimate_gas
    call = {"from": world.stranger.address, "to": world.escrow.address, "gas": 3_000_000}
    call["data"] = world.escrow.validate.encode_input(job, terms.to_abi(), signed)
    with pytest.raises(ValueError, match="revert"):  # and not for want of gas: the answer is never copied
        cost(call)


@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize("method", range(4))
def test_attestation_digest__of_any_verdict__is_the_one_of_the_typed_data(world, accepted, method):
    job, terms = world.delivered(world.terms(judged=True, arbitrated=True))
    domain = {
        "name": "Qscrow",
        "version": "1",
        "chainId": web3.eth.chain_id,
        "verifyingContract": world.escrow.address,
    }
    message = {
        "jobId": job,
        "termsHash": terms.hash().ljust(32, b"\0"),
        "result": RESULT,
        "accepted": accepted,
        "method": method,
        "distance": 2**32 - 1,
        "report": REPORT,
    }
    made = encode_typed_data(full_message=typed_attestation(domain, message))
    expected = web3.keccak(b"\x19\x01" + made.header + made.body)

    found = world.escrow.attestationDigest(
        job, terms.to_abi(), RESULT, (accepted, method, 2**32 - 1, REPORT, b"whatever")
    )

    assert bytes(found) == bytes(expected)


def test_attestation_typehash__is_the_documented_one(world):
    text = (
        "Attestation(uint256 jobId,bytes32 termsHash,bytes32 result,bool accepted,"
        "uint8 method,uint32 distance,bytes32 report)"
    )

    assert bytes(world.escrow.ATTESTATION_TYPEHASH()) == bytes(web3.keccak(text=text))


def test_attestation__after_the_chain_split__is_worth_nothing_on_the_other_chain(world):
    job, terms = world.delivered(world.terms(judged=True))
    signed = world.attestation(job, terms)
    call = {"from": world.stranger.address, "to": world.escrow.address}
    call["data"] = world.escrow.validate.encode_input(job, terms.to_abi(), signed)
    chain_id = web3.eth.chain_id
    web3.provider.make_request("anvil_setChainId", [4_242])
    try:
        with pytest.raises(ValueError, match="revert"):
            web3.eth.call(call)
    finally:
        web3.provider.make_request("anvil_setChainId", [chain_id])

    web3.eth.call(call)  # where it was signed for it is good


@pytest.mark.parametrize("method", [4, 255])
def test_validate__method_that_does_not_exist__is_refused(world, method):
    job, terms = world.delivered(world.terms(judged=True))
    signed = world.attestation(job, terms, method=method)

    assert refusal(world.escrow.validate, job, terms.to_abi(), signed, sender=world.stranger).startswith("execution")
    assert world.state(job) == State.COMPLETED


def test_attestation__for_an_open_jobs_terms_before_it_was_taken__is_refused(world):
    """What the validator signs names the oracle that did the work."""
    terms = world.terms(judged=True, open=True)
    job = world.create(terms)
    world.escrow.accept(job, terms.to_abi(), {"from": world.oracle})
    early, taken = world.attestation(job, terms), terms.taken_by(world.oracle.address)
    args = (job, taken.to_abi(), CHARGE, RESULT)

    assert refusal(world.escrow.deliverAttested, *args, early, sender=world.oracle) == "InvalidAttestation"
    world.escrow.deliverAttested(*args, world.attestation(job, taken), {"from": world.oracle})


def test_validate__verdict_of_a_twin_job__is_refused(world):
    """Same terms, same result, same validator: only the number differs."""
    terms = world.terms(judged=True)
    first, second = world.create(terms), world.create(terms)
    for job in (first, second):
        world.escrow.deliver(job, terms.to_abi(), CHARGE, RESULT, {"from": world.oracle})
    signed = world.attestation(first, terms)

    assert refusal(world.escrow.validate, second, terms.to_abi(), signed, sender=world.oracle) == "InvalidAttestation"
    world.escrow.validate(first, terms.to_abi(), signed, {"from": world.oracle})


def test_deliver_attested__refused__leaves_the_job_to_be_delivered(world):
    job, terms = world.accepted(world.terms(judged=True))
    before = world.money()
    rejecting = world.attestation(job, terms, accepted=False)
    args = (job, terms.to_abi(), CHARGE, RESULT)
    flipped = (True, *rejecting[1:])

    assert refusal(world.escrow.deliverAttested, *args, rejecting, sender=world.oracle) == "RejectingAttestation"
    assert refusal(world.escrow.deliverAttested, *args, flipped, sender=world.oracle) == "InvalidAttestation"

    assert world.money() == before
    world.escrow.deliver(*args, {"from": world.oracle})
    assert world.state(job) == State.COMPLETED


def test_validate__verdict__is_published_as_it_was_signed(world):
    job, terms = world.delivered(world.terms(judged=True))

    signed = world.attestation(job, terms, accepted=False, method=2)
    sent = world.escrow.validate(job, terms.to_abi(), signed, {"from": world.stranger})

    event = dict(sent.events["JobValidated"])
    assert (event["jobId"], event["validator"]) == (job, world.validator.address)
    assert (event["accepted"], event["method"], event["distance"]) == (False, 2, 12_345)
    assert web3.to_bytes(hexstr=str(event["report"])) == REPORT
