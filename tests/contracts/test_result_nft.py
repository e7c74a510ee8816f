"""The result token: minted by the escrow alone, honest metadata, standard interfaces."""

from __future__ import annotations

import base64
import json
import xml.etree.ElementTree as ElementTree

import pytest
from world import RESULT, pass_time, refusal

CASES = {
    "settled": (lambda w: w.delivered(w.terms())[0], "Settled", "Unverified"),
    "completed": (lambda w: w.delivered(w.terms(arbitrated=True))[0], "Completed", "Unverified"),
    "pending_rejection": (
        lambda w: w.rejected_by_validator(w.terms(judged=True, arbitrated=True))[0],
        "Completed",
        "Unverified",
    ),
    "refused": (lambda w: w.rejected_by_validator(w.terms(judged=True))[0], "Rejected", "Attested: statistical"),
    "disputed": (lambda w: w.disputed(w.terms(arbitrated=True))[0], "Disputed", "Unverified"),
}


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


def test_result_of__token_that_does_not_exist__is_refused(world):
    with pytest.raises(Exception, match="revert|typed error|0x7e273289"):
        world.nft.resultOf(1)


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
