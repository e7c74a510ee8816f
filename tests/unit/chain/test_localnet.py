from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from web3 import Web3

from oracle.chain.client import ChainClient, connect
from oracle.chain.contracts import NATIVE
from oracle.chain.deploy import deploy
from oracle.chain.failures import Reverted
from oracle.chain.history import fetch_job
from oracle.chain.localnet import (
    CHAIN_ID,
    DEV_BALANCE_ETHER,
    MAX_REQUEST_BYTES,
    RpcServer,
    advance_time,
    dev_accounts,
    in_process_chain,
)
from oracle.chain.sender import Sender
from oracle.jobs.errors import ChainError, ChainUnavailable
from oracle.jobs.states import State


@pytest.fixture(scope="module")
def server() -> Iterator[RpcServer]:
    with RpcServer(in_process_chain(), 0) as running:
        yield running


def post(server: RpcServer, body: bytes, length: str | None = None) -> object:
    with closing(http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)) as connection:
        connection.putrequest("POST", "/")
        connection.putheader("Content-Length", str(len(body)) if length is None else length)
        connection.endheaders(body)
        return json.loads(connection.getresponse().read())


def ask(server: RpcServer, method: str, *parameters: object) -> object:
    request = {"jsonrpc": "2.0", "id": 5, "method": method, "params": list(parameters)}
    return post(server, json.dumps(request).encode())


def test_dev_accounts__first__are_the_well_known_ones():
    assert [account.address for account in dev_accounts(2)] == [
        "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    ]


def test_in_process_chain__fresh__has_its_own_blocks_and_funded_accounts():
    one, other = in_process_chain(), in_process_chain()

    advance_time(one, 5)

    assert one.eth.chain_id == other.eth.chain_id == CHAIN_ID
    assert one.eth.block_number > 0 == other.eth.block_number
    assert other.eth.get_balance(dev_accounts(1)[0].address) == DEV_BALANCE_ETHER * 10**18


def test_advance_time__in_process__moves_the_clock_that_far(world):
    before = world.client.block().timestamp

    advance_time(world.client.w3, 1000)

    assert world.client.block().timestamp - before >= 1000


def test_advance_time__over_http__moves_the_clock_that_far(server):
    w3 = connect(server.url)
    before = w3.eth.get_block("latest")["timestamp"]

    advance_time(w3, 1000)

    assert w3.eth.get_block("latest")["timestamp"] - before >= 1000


def test_advance_time__chain_that_is_not_ours__is_refused(endpoint):
    body = b'{"jsonrpc":"2.0","id":0,"error":{"code":-32601,"message":"method not found"}}'

    with endpoint(body) as url, pytest.raises(ChainError, match="only a local chain's clock"):
        advance_time(connect(url), 10)


def test_rpc_server__job_over_http__same_as_in_process(server):
    w3 = connect(server.url)
    deployer, requester, oracle = dev_accounts(3)
    client = ChainClient(w3, deploy(w3, deployer))
    client.check()
    Sender(w3, oracle).send(client.registry.register(b"\1" * 32, b"\2" * 32, stake=10**18))
    from oracle.jobs.terms import ZERO_ADDRESS, Terms

    now = client.block().timestamp
    terms = Terms(
        *[requester.address] * 2,
        oracle.address,
        *[ZERO_ADDRESS] * 3,
        9,
        0,
        5,
        now + 600,
        now + 900,
        0,
        b"s" * 32,
        b"k" * 32,
    )

    receipt = Sender(w3, requester).send(client.escrow.create_job(terms))
    with pytest.raises(Reverted) as refused:
        Sender(w3, requester).send(client.escrow.accept(1, terms))
    Sender(w3, oracle).send(client.escrow.accept(1, terms))
    Sender(w3, oracle).send(client.escrow.deliver(1, terms, 4, b"r" * 32))

    assert refused.value.name == "NotAllowed"
    assert refused.value.arguments == {"jobId": 1, "account": requester.address.lower()}
    assert len(receipt.logs) == 1
    assert client.escrow.state_of(1) == State.SETTLED
    assert client.escrow.credit_of(oracle.address, NATIVE) == 4
    job = fetch_job(client, 1)
    assert (job.state, job.terms, job.to_oracle, job.to_payer) == (State.SETTLED, terms, 4, 5)
    assert client.nft.owner_of(1) == requester.address


@pytest.mark.parametrize("method", ["eth_chainId", "eth_blockNumber", "eth_gasPrice", "eth_maxPriorityFeePerGas"])
def test_rpc_server__standard_quantity__is_hexadecimal(server, method):
    answer = ask(server, method)

    assert answer["id"] == 5
    assert int(answer["result"], 16) >= 0
    assert answer["result"].startswith("0x")


def test_rpc_server__block__has_the_names_and_forms_of_json_rpc(server):
    block = ask(server, "eth_getBlockByNumber", "latest", False)["result"]

    assert {"number", "hash", "parentHash", "timestamp", "baseFeePerGas", "gasLimit"} <= set(block)
    assert block["number"].startswith("0x")
    assert len(block["hash"]) == len(block["parentHash"]) == 66


def test_rpc_server__batch__is_answered_one_by_one(server):
    requests = [{"jsonrpc": "2.0", "id": n, "method": "eth_chainId", "params": []} for n in (1, 2)]

    answers = post(server, json.dumps([*requests, 7]).encode())

    assert [answer["id"] for answer in answers] == [1, 2, None]
    assert [answer.get("result") for answer in answers] == [hex(CHAIN_ID), hex(CHAIN_ID), None]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"null",
        b"7",
        b'"eth_chainId"',
        b"{}",
        b'{"method":7}',
        b'{"method":"eth_noSuchThing"}',
        b'{"method":"__class__"}',
        b'{"method":"eth_call"}',
        b'{"method":"eth_call","params":{"to":1}}',
        b'{"method":"eth_call","params":[7]}',
        b'{"method":"eth_getBlockByNumber","params":["0xzz",false]}',
        b'{"method":"eth_getBlockByNumber","params":["0xffffff",false]}',
        b'{"method":"eth_sendRawTransaction","params":["0x00"]}',
        b'{"method":"eth_getLogs","params":["all"]}',
        b'{"method":"evm_increaseTime"}',
        b'{"method":"evm_increaseTime","params":["soon"]}',
        b'{"id":NaN,"method":"eth_chainId"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: repr(body[:60]),
)
def test_rpc_server__rubbish__is_answered_with_an_error_and_the_server_lives(server, body):
    answer = post(server, body)

    assert answer.get("error") or answer.get("result") is None
    assert ask(server, "eth_chainId")["result"] == hex(CHAIN_ID)


@pytest.mark.parametrize("length", ["-1", "many", "", "1e3", str(MAX_REQUEST_BYTES + 1), "9" * 5000, "\u00b2"])
def test_rpc_server__length_it_will_not_read__is_refused_at_once(server, length):
    with closing(http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)) as connection:
        connection.putrequest("POST", "/")
        connection.putheader("Content-Length", length.encode("latin-1"))
        connection.endheaders()
        answer = json.loads(connection.getresponse().read())

    assert "too large" in answer["error"]["message"]
    assert ask(server, "eth_chainId")["result"] == hex(CHAIN_ID)


def test_rpc_server__port_in_use__is_refused(server):
    with pytest.raises(ChainUnavailable, match="cannot be used"):
        RpcServer(Web3(), urlsplit(server.url).port)


def test_rpc_server__address__is_loopback(server):
    assert server.url.startswith("http://127.0.0.1:")
