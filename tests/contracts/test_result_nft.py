"""The result token: minted by the escrow alone, honest metadata, standard interfaces."""

from __future__ import annotations

import base64
import hashlib
import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from brownie import Wallet
from world import BUDGET, CHARGE, RESULT, pass_time, refusal, refusal_values

CASES = {
    "settled": (lambda w: w.delivered(w.terms())[0], "Settled", "Unverified"),
    "completed": (lambda w: w.delivered(w.terms(arbitrated=True))[0], "Completed", "Unverified"),
    "pending_rejection": (
        lambda w: w.rejected_by_validator(w.terms(judged=True, arbitrated=True))[0],
        "Completed",
        "Unverified",
    ),
    "refused": (lambda w: w.rejected_by_validator(w.terms(judged=True))[0], "Rejected", "Attested: statistical"),
    "ruled": (lambda w: ruled(w, 5_000), "Settled", "Ruled"),
    "ruled_against": (lambda w: ruled(w, 0), "Rejected", "Ruled"),
    "unchallenged": (lambda w: unchallenged(w, w.delivered), "Settled", "Unchallenged"),
    "refused_unanswered": (lambda w: unchallenged(w, w.rejected_by_validator), "Rejected", "Attested: statistical"),
    "disputed_after_rejection": (lambda w: disputed_rejection(w), "Disputed", "Unverified"),
    "disputed": (lambda w: w.disputed(w.terms(arbitrated=True))[0], "Disputed", "Unverified"),
}


def ruled(world, share: int) -> int:
    job, terms = world.disputed(world.terms(arbitrated=True))
    world.escrow.rule(job, terms.to_abi(), share, {"from": world.arbiter})
    return job


def unchallenged(world, reach) -> int:
    job, terms = reach(world.terms(judged=True, arbitrated=True))
    pass_time(world.escrow.deadlineOf(job) + 1)
    world.escrow.settle(job, terms.to_abi(), {"from": world.stranger})
    return job


def disputed_rejection(world) -> int:
    job, terms = world.rejected_by_validator(world.terms(judged=True, arbitrated=True))
    world.escrow.dispute(job, terms.to_abi(), b"e" * 32, {"from": world.oracle, "value": terms.bond})
    return job


def decoded(uri: str, mime: str) -> bytes:
    prefix = f"data:{mime};base64,"
    assert uri.startswith(prefix)
    return base64.b64decode(uri[len(prefix) :], validate=True)


@pytest.mark.parametrize(("reach", "state", "tier"), CASES.values(), ids=CASES)
def test_token_uri__in_each_state__says_what_is_known_and_no_more(world, reach, state, tier):
    job = reach(world)

    document = json.loads(decoded(world.nft.tokenURI(job), "application/json"))

    traits = {trait["trait_type"]: trait["value"] for trait in document["attributes"]}
    assert traits == {"State": state, "Verification": tier}
    assert document["properties"] == {
        "job": str(job),
        "chain": "eip155:31337",
        "escrow": world.escrow.address.lower(),
        "result": "ipfs://f01551220" + RESULT.hex(),
    }
    image = ElementTree.fromstring(decoded(document["image"], "image/svg+xml"))
    assert image.tag.endswith("svg")
    words = [text.text for text in image.iter() if text.tag.endswith("text")]
    assert words == [f"Job {job}", state, tier]


@pytest.mark.parametrize(
    ("method", "label"), enumerate(["statistical", "replayed", "canary", "agreed"]), ids=lambda value: str(value)
)
def test_token_uri__attested__names_the_method(world, method, label):
    job, terms = world.delivered(world.terms(judged=True))

    sent = world.escrow.validate(
        job, terms.to_abi(), world.attestation(job, terms, method=method), {"from": world.stranger}
    )

    assert f"Attested: {label}".encode() in decoded(world.nft.tokenURI(job), "application/json")
    assert dict(sent.events["MetadataUpdate"]) == {"_tokenId": job}


def test_metadata_update__at_mint__is_not_announced(world):
    job, terms = world.accepted(world.terms())

    sent = world.escrow.deliver(job, terms.to_abi(), 1, RESULT, {"from": world.oracle})

    assert "MetadataUpdate" not in sent.events
    assert dict(sent.events["Transfer"])["tokenId"] == job


def test_metadata_update__whenever_the_json_changes__is_announced(world):
    job, terms = world.delivered(world.terms(arbitrated=True))
    disputed = world.escrow.dispute(job, terms.to_abi(), b"e" * 32, {"from": world.requester, "value": terms.bond})
    pass_time(world.escrow.deadlineOf(job) + 1)
    settled = world.escrow.settle(job, terms.to_abi(), {"from": world.stranger})

    assert "MetadataUpdate" in disputed.events
    assert "MetadataUpdate" in settled.events


def test_mint_and_announce__by_anybody_but_the_escrow__are_refused(world):
    for who in (world.oracle, world.funder, world.requester):
        assert refusal(world.nft.mint, who.address, 1, RESULT, sender=who) == "OnlyEscrow"
        assert refusal(world.nft.announceUpdate, 1, sender=who) == "OnlyEscrow"
        assert refusal(world.nft.mint, who.address, 2**255, RESULT, sender=who) == "OnlyEscrow"


@pytest.mark.parametrize("view", ["resultOf", "resultURI", "tokenURI", "ownerOf"])
def test_views__token_that_does_not_exist__are_refused(world, view):
    world.create(world.terms())  # a job, but nothing delivered

    for token in (0, 1, 2**256 - 1):
        refused = refusal_values(getattr(world.nft, view), token, sender=world.stranger)
        assert refused == ("ERC721NonexistentToken", token)


@pytest.mark.parametrize("content", [b"", b"counts"])
def test_result_uri__of_a_real_digest__is_the_cid_of_the_block(world, content):
    """CIDv1 in base16: f, version 1, codec raw 0x55, sha2-256 0x12, 32 bytes 0x20."""
    digest = hashlib.sha256(content).digest()
    job, terms = world.accepted(world.terms())
    world.escrow.deliver(job, terms.to_abi(), 1, digest, {"from": world.oracle})

    assert world.nft.resultURI(job) == "ipfs://f" + bytes([1, 0x55, 0x12, 0x20]).hex() + digest.hex()


def test_result_uri__digest_with_leading_zeros__keeps_them(world):
    digest = bytes(31) + b"\x01"
    job, terms = world.accepted(world.terms())
    world.escrow.deliver(job, terms.to_abi(), 1, digest, {"from": world.oracle})

    assert world.nft.resultURI(job).endswith("20" + digest.hex())


def test_metadata_update__pending_rejection_changes_no_json__is_not_announced(world):
    job, terms = world.delivered(world.terms(judged=True, arbitrated=True))
    before = world.nft.tokenURI(job)

    signed = world.attestation(job, terms, accepted=False)
    sent = world.escrow.validate(job, terms.to_abi(), signed, {"from": world.stranger})

    assert "MetadataUpdate" not in sent.events
    assert world.nft.tokenURI(job) == before


def test_mint__to_a_contract_without_a_receiver_hook__works_and_it_can_pass_the_token_on(world):
    wallet = world.stranger.deploy(Wallet, world.stranger)
    terms = replace(world.terms(), requester=wallet.address, payer=wallet.address)
    data = world.escrow.createJob.encode_input(terms.to_abi())
    wallet.run(world.escrow, data, {"from": world.stranger, "value": BUDGET})

    world.escrow.deliver(1, terms.to_abi(), CHARGE, RESULT, {"from": world.oracle})

    assert world.nft.ownerOf(1) == wallet
    data = world.nft.transferFrom.encode_input(wallet, world.sponsor, 1)
    wallet.run(world.nft, data, {"from": world.stranger})
    assert world.nft.ownerOf(1) == world.sponsor


def test_transfer__before_the_end__gives_the_buyer_no_say_in_the_job(world):
    """The terms name the requester; the token carries the result, not the job."""
    job, terms = world.delivered(world.terms(arbitrated=True))
    world.nft.transferFrom(world.requester, world.stranger, job, {"from": world.requester})

    args = (job, terms.to_abi(), b"e" * 32)
    assert refusal(world.escrow.dispute, *args, sender=world.stranger, value=terms.bond) == "NotAllowed"


def test_transfer__keeps_the_result_and_moves_only_the_token(world):
    job, _ = world.delivered(world.terms())

    world.nft.transferFrom(world.requester, world.stranger, job, {"from": world.requester})

    assert world.nft.ownerOf(job) == world.stranger
    assert bytes(world.nft.resultOf(job)) == RESULT


@pytest.mark.parametrize(
    ("interface", "supported"),
    [("0x01ffc9a7", True), ("0x80ac58cd", True), ("0x5b5e139f", True), ("0x49064906", True), ("0xffffffff", False)],
)
def test_supports_interface__erc165_721_metadata_4906__as_the_standards_say(world, interface, supported):
    assert world.nft.supportsInterface(interface) is supported
