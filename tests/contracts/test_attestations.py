"""Signed verdicts: only the validator's, only for this job, these terms, this result, this contract and chain."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import Wallet, web3
from eth_account import Account
from world import CHARGE, RESULT, pass_time, refusal

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
