from __future__ import annotations

import pytest
from hexbytes import HexBytes
from hypothesis import given
from hypothesis import strategies as st
from web3.datastructures import AttributeDict

from oracle.chain.artifacts import artifact
from oracle.chain.events import _decoders, decode_log
from oracle.jobs.terms import Terms

TOPICS = sorted(_decoders())


def log(topics: list[bytes], data: bytes, **changes: object) -> AttributeDict:
    return AttributeDict(
        {
            "address": "0x" + "aa" * 20,
            "topics": [HexBytes(topic) for topic in topics],
            "data": HexBytes(data),
            "blockNumber": 7,
            "blockHash": HexBytes(b"b" * 32),
            "transactionHash": HexBytes(b"t" * 32),
            "transactionIndex": 0,
            "logIndex": 3,
            **changes,
        }
    )


def raw_logs(world) -> list:
    return list(world.client.w3.eth.get_logs({"fromBlock": 0, "toBlock": "latest"}))


def test_decode_log__created_job__carries_its_terms_and_identity(world):
    job_id, terms = world.create()
    (raw,) = [entry for entry in raw_logs(world) if entry["address"] == world.client.escrow.address][-1:]

    event = decode_log(raw)

    assert (event.name, event.job_id) == ("JobCreated", job_id)
    assert Terms.from_abi(event.args["terms"]) == terms
    assert event.key == (bytes(raw["transactionHash"]), bytes(raw["blockHash"]), raw["logIndex"])


def test_decode_log__minted_token__concerns_its_job(world):
    job_id, terms = world.create()
    receipt = world.send("oracle", world.client.escrow.deliver(job_id, terms, 5, b"r" * 32))

    events = {event.name: event for event in map(decode_log, receipt.logs)}

    assert events["Transfer"].job_id == events["JobDelivered"].job_id == job_id


def test_decode_log__stake_event__concerns_no_job(world):
    events = [event for event in map(decode_log, raw_logs(world)) if event and event.name == "StakeAdded"]

    assert [event.job_id for event in events] == [None]


def test_decode_log__removed_by_a_reorganisation__is_none(world):
    world.create()
    raw = raw_logs(world)[-1]

    assert decode_log(raw) is not None
    assert decode_log(AttributeDict({**raw, "removed": True})) is None


@pytest.mark.parametrize("topics", [[], [b"\0" * 32], [b"short"]])
def test_decode_log__not_one_of_ours__is_none(topics):
    assert decode_log(log(topics, b"")) is None


@given(st.sampled_from(TOPICS), st.lists(st.binary(min_size=32, max_size=32), max_size=4), st.binary(max_size=520))
def test_decode_log__malformed_log_with_a_known_topic__is_none_or_decoded(topic, topics, data):
    event = decode_log(log([topic, *topics], data))

    assert event is None or event.block == 7


@given(st.integers(0, 16 * 32 - 1))
def test_decode_log__truncated_terms__is_none(length):
    (topic,) = [topic for topic, decoder in _decoders().items() if decoder.event_name == "JobCreated"]

    assert decode_log(log([topic, *[b"\0" * 32] * 3], (b"\0" * 14 * 32)[: min(length, 14 * 32 - 1)])) is None


def test_decoders__every_event_of_the_contracts__has_one():
    declared = {
        entry["name"]
        for name in ("JobEscrow", "OracleRegistry", "ResultNFT")
        for entry in artifact(name)["abi"]
        if entry["type"] == "event"
    }

    assert {decoder.event_name for decoder in _decoders().values()} == declared
