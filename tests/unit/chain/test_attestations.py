from __future__ import annotations

import json
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from oracle.chain.artifacts import artifact
from oracle.chain.attestations import Method, Statement
from oracle.chain.client import ChainClient
from oracle.chain.deploy import deploy
from oracle.chain.localnet import dev_accounts, in_process_chain
from oracle.chain.sender import Sender
from oracle.chain.signers import TYPED_METHODS, ExternalSigner
from oracle.jobs.errors import ChainError
from oracle.jobs.terms import ZERO_ADDRESS, Terms

VALIDATOR = Account.from_key(b"\x21" * 32)
STRANGER = Account.from_key(b"\x22" * 32)
ESCROW = "0x" + "77" * 20
TERMS = Terms(*[VALIDATOR.address] * 4, ZERO_ADDRESS, ZERO_ADDRESS, 9, 1, 0, 5, 6, 7, b"s" * 32, b"k" * 32)
STATEMENT = Statement(31337, ESCROW, 7, TERMS, b"r" * 32, True, Method.AGREED, 1234, b"p" * 32)


def test_statement__typed__has_the_digest_the_contract_computes():
    w3 = in_process_chain()
    (deployer,) = dev_accounts(1)
    deployment = deploy(w3, deployer)
    escrow = w3.eth.contract(address=deployment.job_escrow, abi=artifact("JobEscrow")["abi"])
    statement = replace(STATEMENT, chain_id=deployment.chain_id, escrow=deployment.job_escrow)
    attestation = statement.signed_by(VALIDATOR)

    digest = escrow.functions.attestationDigest(7, TERMS.to_abi(), b"r" * 32, tuple(attestation)).call()

    assert Account._recover_hash(digest, signature=attestation.signature) == VALIDATOR.address
    assert attestation[:4] == (True, 3, 1234, b"p" * 32)


def test_signed_by__signer_without_messages__is_a_clear_error():
    class Mute:
        address = VALIDATOR.address

    with pytest.raises(ChainError, match="cannot sign attestations"):
        STATEMENT.signed_by(Mute())


@pytest.fixture
def signer_at():
    """Starts a signer that speaks JSON-RPC and answers with ``answer(method, parameters)``; yields its URL."""
    servers = []

    def start(answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                result = answer(request["method"], request["params"])
                body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def signing(account):
    """What an honest signer with the key of ``account`` answers."""

    def answer(method, parameters):
        asked, message = parameters
        assert asked == VALIDATOR.address
        message = json.loads(message) if method == TYPED_METHODS["web3signer"] else message
        return "0x" + account.sign_typed_data(full_message=message).signature.hex()

    return answer


@pytest.mark.parametrize("kind", TYPED_METHODS)
def test_signed_by__external_signer__is_what_the_key_itself_signs(signer_at, kind):
    signer = ExternalSigner(signer_at(signing(VALIDATOR)), VALIDATOR.address, kind)
    assert STATEMENT.signed_by(signer) == STATEMENT.signed_by(VALIDATOR)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (signing(STRANGER), "did not sign as"),
        (lambda *_: "0x" + "11" * 64, "no signature"),
        (lambda *_: None, "no signature"),
        (lambda *_: {"raw": "0x"}, "no signature"),
    ],
)
def test_signed_by__external_signer_that_signs_something_else__is_refused(signer_at, answer, told):
    with pytest.raises(ChainError, match=told):
        STATEMENT.signed_by(ExternalSigner(signer_at(answer), VALIDATOR.address))


def test_signed_by__mirrored_signature_the_contract_refuses__is_refused(signer_at):
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

    def mirrored(_, parameters):
        signed = VALIDATOR.sign_typed_data(full_message=parameters[1])
        signature = signed.r.to_bytes(32, "big") + (order - signed.s).to_bytes(32, "big") + bytes([55 - signed.v])
        message = encode_typed_data(full_message=parameters[1])
        assert Account.recover_message(message, signature=signature) == VALIDATOR.address
        return "0x" + signature.hex()

    with pytest.raises(ChainError, match="did not sign as"):
        STATEMENT.signed_by(ExternalSigner(signer_at(mirrored), VALIDATOR.address))


def test_key_since__registered_again__is_the_block_of_the_last_change():
    w3 = in_process_chain()
    deployer, validator = dev_accounts(2)
    chain = ChainClient(w3, deploy(w3, deployer))
    sender = Sender(w3, validator)
    assert chain.key_since(validator.address) is None

    blocks = [sender.send(chain.registry.register(key, profile)).block for key, profile in KEYS]

    assert chain.key_since(validator.address) == blocks[2]


KEYS = [(b"a" * 32, b"p" * 32), (b"b" * 32, b"p" * 32), (b"a" * 32, b"p" * 32), (b"a" * 32, b"q" * 32)]
