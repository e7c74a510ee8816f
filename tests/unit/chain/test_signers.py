from __future__ import annotations

import json
import logging
import os
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import rlp
from eth_account import Account
from web3 import Web3

from oracle.chain.accounts import create_account
from oracle.chain.attempts import unpack
from oracle.chain.contracts import Call
from oracle.chain.sender import MemoryAttemptLog, Sender
from oracle.chain.signers import MAX_S, METHODS, ExternalSigner, open_signer
from oracle.jobs.errors import ChainError, ChainUnavailable, InputError, QscrowError

KEY = bytes.fromhex("4f3edf983ac636a65a842ce7c78d9aa706d3b113bce9c46f30d7d21715b23b1d")
ACCOUNT = Account.from_key(KEY)
STRANGER = Account.from_key(b"\x66" * 32)
CURVE_ORDER = 2 * MAX_S + 1
DYNAMIC = {"type": 2, "maxFeePerGas": 2 * 10**9, "maxPriorityFeePerGas": 10**9}
LEGACY = {"gasPrice": 3 * 10**9}
COMMON = {"to": STRANGER.address, "value": 7, "data": "0xdeadbeef", "gas": 60_000, "chainId": 31337, "nonce": 5}
SECRET = "".join(("hunt", "er2"))
NUMBERS = ("value", "gas", "nonce", "chainId", "gasPrice", "maxFeePerGas", "maxPriorityFeePerGas")


def from_json(parameters: dict[str, Any]) -> dict[str, Any]:
    """The transaction a signer understands from a request, as ``eth_account`` takes it."""
    return {k: int(v, 16) if k in NUMBERS else v for k, v in parameters.items() if k != "from"}


def clef(parameters: dict[str, Any]) -> Any:
    signed = ACCOUNT.sign_transaction(from_json(parameters))
    tx = {**parameters, "hash": "0x" + signed.hash.hex()}
    return {"result": {"raw": "0x" + signed.raw_transaction.hex(), "tx": tx}}


def web3signer(parameters: dict[str, Any]) -> Any:
    known = {k: v for k, v in from_json(parameters).items() if k != "chainId"}  # it uses the one it is configured for
    return {"result": "0x" + ACCOUNT.sign_transaction({**known, "chainId": 31337}).raw_transaction.hex()}


HONEST = {"clef": clef, "web3signer": web3signer}


@contextmanager
def serving(answer: Callable[[dict[str, Any]], Any], *, status: int = 200) -> Iterator[tuple[str, list[Any]]]:
    """A signer that answers with ``answer`` of the parameters (bytes as they are); yields its URL and its requests."""
    requests: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append(request)
            said = answer(request["params"][0])
            if isinstance(said, dict):
                said = {"jsonrpc": "2.0", "id": request["id"], **said}
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("fees", [DYNAMIC, LEGACY], ids=["dynamic", "legacy"])
@pytest.mark.parametrize("kind", METHODS)
def test_sign_transaction__honest_signer__is_what_the_key_itself_signs(kind, fees):
    transaction = {**COMMON, **fees}
    with serving(HONEST[kind]) as (url, requests):
        signed = ExternalSigner(url, ACCOUNT.address.lower(), kind).sign_transaction(transaction)

    expected = ACCOUNT.sign_transaction(transaction)
    assert (signed.raw_transaction, signed.hash) == (expected.raw_transaction, expected.hash)
    (request,) = requests
    assert request["method"] == METHODS[kind]
    assert request["params"][0]["from"] == ACCOUNT.address
    assert request["params"][0]["nonce"] == "0x5"
    assert "type" not in request["params"][0]


@pytest.mark.parametrize("kind", METHODS)
def test_sign_transaction__contract_creation__has_no_recipient(kind):
    transaction = {**COMMON, **DYNAMIC, "to": ""}
    with serving(HONEST[kind]) as (url, requests):
        signed = ExternalSigner(url, ACCOUNT.address, kind).sign_transaction(transaction)

    assert "to" not in requests[0]["params"][0]
    assert unpack(signed.raw_transaction) == transaction


@pytest.mark.parametrize("kind", METHODS)
def test_sender__external_signer__sends_and_is_mined(world, kind):
    w3, to = world.client.w3, world.address("oracle")
    world.send("stranger", Call("fund", ACCOUNT.address, "0x", 10**18))
    with serving(HONEST[kind]) as (url, _):
        receipt = Sender(w3, ExternalSigner(url, ACCOUNT.address, kind)).send(Call("transfer", to, "0x", 5))

    assert w3.eth.get_transaction(receipt.tx_hash)["from"] == ACCOUNT.address


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("to", ACCOUNT.address),
        ("to", ""),
        ("value", 8),
        ("data", "0xdeadbeee"),
        ("data", "0x"),
        ("nonce", 4),
        ("chainId", 1),
        ("gas", 60_001),
        ("maxFeePerGas", 2 * 10**9 + 1),
        ("maxPriorityFeePerGas", 10**9 - 1),
    ],
)
def test_sign_transaction__signer_changes_a_field__is_refused_naming_it(kind, field, value):
    raw = "0x" + ACCOUNT.sign_transaction({**COMMON, **DYNAMIC, field: value}).raw_transaction.hex()
    with (
        serving(lambda _: {"result": {"raw": raw, "tx": {}} if kind == "clef" else raw}) as (url, _),
        pytest.raises(ChainError, match=rf"changed the transaction \({field}\)"),
    ):
        ExternalSigner(url, ACCOUNT.address, kind).sign_transaction({**COMMON, **DYNAMIC})


def test_sign_transaction__signer_signs_another_kind_of_transaction__is_refused():
    raw = "0x" + ACCOUNT.sign_transaction({**COMMON, **LEGACY}).raw_transaction.hex()
    with (
        serving(lambda _: {"result": raw}) as (url, _),
        pytest.raises(ChainError, match="changed the transaction"),
    ):
        ExternalSigner(url, ACCOUNT.address, "web3signer").sign_transaction({**COMMON, **DYNAMIC})


def test_sign_transaction__access_list_slipped_in__is_refused():
    listed = {**COMMON, **DYNAMIC, "accessList": [{"address": STRANGER.address, "storageKeys": []}]}
    raw = "0x" + ACCOUNT.sign_transaction(listed).raw_transaction.hex()
    with (
        serving(lambda _: {"result": raw}) as (url, _),
        pytest.raises(ChainError, match="no signed transaction"),
    ):
        ExternalSigner(url, ACCOUNT.address, "web3signer").sign_transaction({**COMMON, **DYNAMIC})


def test_sign_transaction__signed_by_another_account__is_refused():
    raw = "0x" + STRANGER.sign_transaction({**COMMON, **DYNAMIC}).raw_transaction.hex()
    with (
        serving(lambda _: {"result": raw}) as (url, _),
        pytest.raises(ChainError, match=f"did not sign as {ACCOUNT.address}"),
    ):
        ExternalSigner(url, ACCOUNT.address, "web3signer").sign_transaction({**COMMON, **DYNAMIC})


def test_sign_transaction__mirrored_signature_the_network_refuses__is_refused():
    fields = rlp.decode(ACCOUNT.sign_transaction({**COMMON, **DYNAMIC}).raw_transaction[1:])
    parity, s = int.from_bytes(fields[9], "big"), int.from_bytes(fields[11], "big")
    mirrored = [*fields[:9], b"" if parity else b"\1", fields[10], (CURVE_ORDER - s).to_bytes(32, "big").lstrip(b"\0")]
    raw = b"\x02" + rlp.encode(mirrored)
    assert Account.recover_transaction(raw) == ACCOUNT.address
    with (
        serving(lambda _: {"result": "0x" + raw.hex()}) as (url, _),
        pytest.raises(ChainError, match="did not sign"),
    ):
        ExternalSigner(url, ACCOUNT.address, "web3signer").sign_transaction({**COMMON, **DYNAMIC})


GOOD = ACCOUNT.sign_transaction({**COMMON, **DYNAMIC}).raw_transaction


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"result": None},
        {"result": 5},
        {"result": []},
        {"result": {}},
        {"result": {"raw": None}},
        {"result": {"raw": ["0x"]}},
        {"result": "0x"},
        {"result": "0xzz"},
        {"result": "0x02"},
        {"result": "0x" + GOOD.hex()[:-2]},
        {"result": "0x" + GOOD.hex() + "00"},
        {"result": "0x01" + GOOD.hex()[2:]},
        {"result": "0x" + "ff" * 400},
        [],
        [{"result": "0x" + GOOD.hex()}],
        5,
        None,
    ],
    ids=repr,
)
def test_sign_transaction__rubbish__is_a_clear_error(answer):
    with serving(lambda _: answer) as (url, _), pytest.raises(ChainError, match="the signer at http://127") as refused:
        ExternalSigner(url, ACCOUNT.address, "web3signer").sign_transaction({**COMMON, **DYNAMIC})

    assert not isinstance(refused.value, ChainUnavailable)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"[" * 50_000, b" " * (4 * 2**20 + 9)], ids=len)
def test_sign_transaction__no_json__is_unavailable(body):
    with serving(lambda _: body, status=502) as (url, _), pytest.raises(ChainUnavailable, match="status 502, no JSON"):
        ExternalSigner(url, ACCOUNT.address).sign_transaction({**COMMON, **DYNAMIC})


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ({"code": -32000, "message": "Request denied"}, "Request denied"),
        ({"code": -32000, "message": "two\nlines " + "x" * 500}, "two lines xxx"),
        ({"code": -32000}, "no reason"),
        ("boo", "no reason"),
    ],
)
def test_sign_transaction__denied__says_what_the_signer_said(error, shown):
    with serving(lambda _: {"error": error}, status=400) as (url, _), pytest.raises(ChainError, match=shown) as refused:
        ExternalSigner(url, ACCOUNT.address).sign_transaction({**COMMON, **DYNAMIC})

    assert "refused to sign" in str(refused.value)
    assert len(str(refused.value)) < 400


def test_sign_transaction__nobody_listens__is_unavailable():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"

    with pytest.raises(ChainUnavailable, match="does not answer"):
        ExternalSigner(url, ACCOUNT.address).sign_transaction({**COMMON, **DYNAMIC})


def test_sign_transaction__signer_hangs__is_unavailable_after_the_timeout():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        with pytest.raises(ChainUnavailable, match="ReadTimeout"):
            ExternalSigner(url, ACCOUNT.address, timeout=0.05).sign_transaction({**COMMON, **DYNAMIC})


def test_sign_transaction__proxy_in_the_environment__is_not_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    with serving(clef) as (url, requests):
        ExternalSigner(url, ACCOUNT.address).sign_transaction({**COMMON, **DYNAMIC})

    assert len(requests) == 1


def test_sender__signer_refuses__nothing_is_recorded(world):
    log = MemoryAttemptLog()
    world.send("stranger", Call("fund", ACCOUNT.address, "0x", 10**18))
    with serving(lambda _: {"error": {"code": 1, "message": "Request denied"}}) as (url, _):
        sender = Sender(world.client.w3, ExternalSigner(url, ACCOUNT.address), log)

        with pytest.raises(ChainError, match="refused to sign"):
            sender.start(Call("transfer", world.address("oracle"), "0x", 5))

    assert log.recorded == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": "ftp://signer"}, "signer_url"),
        ({"url": "http://[::1"}, "signer_url"),
        ({"url": ""}, "signer_url"),
        ({"address": "0x12"}, "signer_address"),
        ({"kind": "ledger"}, "signer_kind"),
        ({"timeout": 0}, "signer_timeout"),
        ({"timeout": "soon"}, "signer_timeout"),
    ],
)
def test_external_signer__bad_configuration__is_refused_naming_the_setting(changes, field):
    with pytest.raises(InputError) as refused:
        ExternalSigner(**{"url": "http://127.0.0.1:8550", "address": ACCOUNT.address, **changes})

    assert refused.value.field == field


@pytest.fixture
def folder(tmp_path):
    create_account(tmp_path, "alice", "pass word", key=KEY, n=2)
    (tmp_path / "password").write_text("pass word\n")
    (tmp_path / "key.env").write_text(f"QSCROW_PRIVATE_KEY=0x{KEY.hex()}\n")
    os.chmod(tmp_path / "key.env", 0o600)
    return tmp_path


@pytest.mark.parametrize(
    "settings",
    [
        {"account": "alice", "accounts": "{folder}", "password_file": "{folder}/password"},
        {"account": "alice", "accounts": "{folder}", "password": "pass word"},
        {"env_file": "{folder}/key.env", "account": None, "signer_url": ""},
    ],
)
def test_open_signer__local__signs_as_the_account(folder, settings):
    signer = open_signer({k: v.format(folder=folder) if v else v for k, v in settings.items()})

    assert signer.address == ACCOUNT.address
    assert signer.sign_transaction({**COMMON, **DYNAMIC}).raw_transaction == GOOD


def test_open_signer__external__signs_as_the_account():
    with serving(web3signer) as (url, _):
        signer = open_signer({"signer_url": url, "signer_address": ACCOUNT.address, "signer_kind": "web3signer"})

        assert signer.sign_transaction({**COMMON, **DYNAMIC}).raw_transaction == GOOD


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({}, "account"),
        ({"account": "alice", "env_file": "key.env"}, "account"),
        ({"env_file": "key.env", "signer_url": "http://127.0.0.1"}, "account"),
        ({"account": "alice", "accounts": "."}, "password_file"),
        ({"signer_url": "http://127.0.0.1:8550"}, "signer_address"),
    ],
)
def test_open_signer__not_exactly_one_way__is_refused(settings, field):
    with pytest.raises(InputError) as refused:
        open_signer(settings)

    assert refused.value.field == field


def lying(_: dict[str, Any]) -> Any:
    return {"result": "0x" + STRANGER.sign_transaction({**COMMON, **DYNAMIC}).raw_transaction.hex()}


def test_signers__no_secret__in_reprs_logs_and_errors(folder, caplog):
    caplog.set_level(logging.INFO)  # below that, urllib3 logs paths
    written: list[str] = []
    with serving(lying) as (url, _):
        local = open_signer({"account": "alice", "accounts": str(folder), "password": "pass word"})
        from_file = open_signer({"env_file": folder / "key.env"})
        external = ExternalSigner(url.replace("://", f"://user:{SECRET}@") + f"/{SECRET}", ACCOUNT.address)
        gone = ExternalSigner(f"http://user:{SECRET}@127.0.0.1:9/{SECRET}", ACCOUNT.address)
        for signer in (local, from_file, external, gone):
            written += [repr(signer), str(signer), repr(Sender(Web3(), signer).account)]
        for attempt in (
            lambda: external.sign_transaction({**COMMON, **DYNAMIC}),
            lambda: gone.sign_transaction({**COMMON, **DYNAMIC}),
            lambda: local.sign_transaction({**COMMON, **DYNAMIC, "gas": "much"}),
            lambda: open_signer({"account": "alice", "accounts": str(folder), "password": SECRET}),
            lambda: ExternalSigner(f"nonsense://user:{SECRET}@host", ACCOUNT.address),
        ):
            with pytest.raises((QscrowError, TypeError)) as refused:
                attempt()
            written += [repr(refused.value), "".join(traceback.format_exception(refused.value))]
    written += [record.getMessage() for record in caplog.records]

    shown = "\n".join(written)
    assert "the signer at http://127.0.0.1" in shown
    for secret in (KEY.hex(), KEY.hex()[2:20], repr(KEY), "pass word\n", SECRET):
        assert secret not in shown
