from __future__ import annotations

import json
import socket
from dataclasses import replace

import pytest

from oracle.chain.client import ChainClient, connect, endpoint_name
from oracle.jobs.errors import ChainError, ChainUnavailable, InputError

RUBBISH = [
    b"",
    b"<html><body>Bad gateway</body></html>",
    b"null",
    b"[]",
    b"7",
    b"{}",
    b"\xff\xfe",
    b'{"jsonrpc":"2.0","id":0,"result":null}',
    b'{"jsonrpc":"2.0","id":0,"result":"0xzz"}',
    b'{"jsonrpc":"2.0","id":0,"result":{"a":1}}',
    b'{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"no"}}',
    b'{"jsonrpc":"2.0","id":0,"error":"no"}',
]


def remote(world, url: str) -> ChainClient:
    return ChainClient(connect(url), world.client.deployment)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8545",
        "ftp://node",
        "http://",
        "http://[::1",
        "http://node:port",
        "http://node:99999",
        "file:///etc/passwd",
    ],
)
def test_connect__no_http_url__is_refused(url):
    with pytest.raises(InputError) as refused:
        connect(url)

    assert refused.value.field == "rpc"


def test_connect__no_http_url_with_credentials__does_not_quote_them():
    with pytest.raises(InputError) as refused:
        connect("ws://user:secret@node/key")

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://user:secret@node:8545/v3/apikey?token=x", "http://node:8545"),
        ("https://node/v3/apikey", "https://node"),
        ("http://[::1]:8545", "http://[::1]:8545"),
    ],
)
def test_endpoint_name__url_with_secrets__shows_host_and_port_only(url, name):
    assert endpoint_name(connect(url)) == name


def test_check__the_right_chain__passes(world):
    world.client.check()


def test_check__another_chain__says_both(world):
    client = ChainClient(world.client.w3, replace(world.client.deployment, chain_id=1))

    with pytest.raises(ChainError, match=r"on chain 31337, the contracts are on chain 1;"):
        client.check()


def test_check__no_contract_there__is_refused(world):
    client = ChainClient(world.client.w3, replace(world.client.deployment, job_escrow="0x" + "11" * 20))

    with pytest.raises(ChainError, match="no contract"):
        client.check()


def test_check__remote_endpoint_of_another_chain__says_both(world, endpoint):
    with endpoint(b'{"jsonrpc":"2.0","id":0,"result":"0x1"}') as url, pytest.raises(ChainError, match="on chain 1,"):
        remote(world, url).check()


@pytest.mark.parametrize("body", RUBBISH, ids=lambda body: repr(body[:40]))
def test_check__endpoint_answers_rubbish__is_one_line_of_error(world, endpoint, body):
    with endpoint(body) as url:
        client = remote(world, url)
        for use in (client.check, client.block, lambda: client.events(0, 5), lambda: client.escrow.state_of(1)):
            with pytest.raises(ChainError) as refused:
                use()
            assert "\n" not in str(refused.value)
            assert len(str(refused.value)) < 500


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503])
def test_check__endpoint_answers_with_a_status__is_unavailable_without_its_secrets(
    world, endpoint, status, monkeypatch
):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # web3 waits before it asks again
    with endpoint(b"<html>no</html>", status) as url:
        client = remote(world, url.replace("://", "://user:secret@") + "/apikey")

        with pytest.raises(ChainUnavailable) as refused:
            client.check()

    assert url in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "apikey" not in str(refused.value)


def test_check__nobody_listens__is_unavailable_without_its_secrets(world, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        client = remote(world, f"http://user:secret@127.0.0.1:{port}/apikey")

        with pytest.raises(ChainUnavailable, match=f"cannot reach http://127.0.0.1:{port} ") as refused:
            client.check()

    assert "secret" not in str(refused.value)
    assert "apikey" not in str(refused.value)


def test_events__range__is_inclusive_and_in_chain_order(world):
    first = world.client.block().number + 1
    ids = [world.create()[0] for _ in range(3)]
    last = world.client.block().number

    created = [event for event in world.client.events(first, last) if event.name == "JobCreated"]

    assert [event.job_id for event in created] == ids
    assert [event.block for event in created] == [first, first + 1, last]
    assert [event.job_id for event in world.client.events(last, last)] == ids[-1:]
    assert world.client.events(last, first) == []


def test_job_events__one_job__leaves_out_the_others(world):
    one, terms = world.create()
    world.create()
    world.send("requester", world.client.escrow.cancel(one, terms))

    events = world.client.job_events(one, 0, world.client.block().number)

    assert [(event.name, event.job_id) for event in events] == [("JobCreated", one), ("JobStateChanged", one)]


def test_events__endpoint_answers_outside_the_range__leaves_it_out(world, endpoint):
    world.create()
    (raw,) = world.client.w3.eth.get_logs({"fromBlock": "latest"})
    entry = {
        "address": world.client.escrow.address,
        "topics": ["0x" + bytes(topic).hex() for topic in raw["topics"]],
        "data": "0x" + bytes(raw["data"]).hex(),
        "blockNumber": hex(99),
        "blockHash": "0x" + "bb" * 32,
        "transactionHash": "0x" + "cc" * 32,
        "transactionIndex": "0x0",
        "logIndex": "0x0",
    }
    body = json.dumps({"jsonrpc": "2.0", "id": 0, "result": [entry]}).encode()

    with endpoint(body) as url:
        client = remote(world, url)
        assert client.events(0, 5) == []
        assert len(client.events(0, 99)) == 1


def test_events__endpoint_sends_everything_twice__has_each_once(world):
    logs = list(world.client.w3.eth.get_logs({"fromBlock": "latest"}))
    number = logs[0]["blockNumber"]

    once = world.client._decoded(logs, number, number)
    assert once
    assert world.client._decoded(logs * 2, number, number) == once


def test_block__tags_and_numbers__are_linked_by_their_hashes(world):
    latest = world.client.block()

    assert world.client.block(latest.number) == latest
    assert world.client.block(latest.number - 1).hash == latest.parent_hash
    assert world.client.block("finalized").number <= latest.number


def test_block__beyond_the_end__is_a_chain_error(world):
    with pytest.raises(ChainError):
        world.client.block(10**6)


def test_balance__after_a_payment__has_less(world):
    before = world.client.balance(world.address("requester"))

    world.create(budget=10**18)

    assert world.client.balance(world.address("requester")) <= before - 10**18
    assert world.client.balance(world.client.escrow.address) == 10**18
