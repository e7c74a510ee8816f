"""Who signs: an account in this process, or a signer that keeps the key to itself (Clef, Web3Signer).

An external signer is trusted with the key and with nothing else: what it answers must be the very transaction it was
asked to sign, signed by the expected account.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from oracle.chain.accounts import load_account, load_account_from_env_file, read_password
from oracle.chain.attempts import unpack
from oracle.jobs.canonical import parse_json
from oracle.jobs.errors import ChainError, ChainUnavailable, InputError

# https://geth.ethereum.org/docs/tools/clef/apis, https://docs.web3signer.consensys.io/reference/api/json-rpc
METHODS = {"clef": "account_signTransaction", "web3signer": "eth_signTransaction"}
TYPED_METHODS = {"clef": "account_signTypedData", "web3signer": "eth_signTypedData"}
TIMEOUT_SECONDS = 30.0
MAX_ANSWER_BYTES = 4 * 2**20
MAX_S = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2  # EIP-2


class Signed(Protocol):
    """A signed transaction: its bytes and their keccak-256."""

    raw_transaction: bytes
    hash: bytes


class Signer(Protocol):
    """Signs for one account. ``eth_account``'s LocalAccount is one."""

    address: str

    def sign_transaction(self, transaction: dict[str, Any]) -> Signed:
        """Sign ``transaction`` (keys as in JSON-RPC, numbers as integers) with ``nonce``, fees and ``chainId``."""


@dataclass(frozen=True)
class SignedTransaction:
    """See :class:`Signed`."""

    raw_transaction: bytes
    hash: bytes


@dataclass(frozen=True)
class SignedMessage:
    """The 65 bytes of a signature over a message."""

    signature: bytes


@dataclass
class ExternalSigner:
    """The account ``address`` of a signer that speaks JSON-RPC at ``url``; ``kind`` is a key of :data:`METHODS`.

    ``timeout`` is in seconds; give people time where they approve each transaction. Raises :class:`InputError` for a
    configuration that cannot work.
    """

    url: str = field(repr=False)  # it may hold credentials
    address: str
    kind: str = "clef"
    timeout: float = TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        from oracle.jobs.identity import parse_address

        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise InputError("is not an http(s) URL", field="signer_url", remedy="give http://host:port")
        if self.kind not in METHODS:
            raise InputError("is unknown", field="signer_kind", remedy=f"use {' or '.join(METHODS)}")
        if not isinstance(self.timeout, (int, float)) or not self.timeout > 0:
            raise InputError("must be a number of seconds above zero", field="signer_timeout")
        self.address = parse_address(self.address, "signer_address")
        self._name = f"the signer at {parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._local = threading.local()

    def sign_transaction(self, transaction: dict[str, Any]) -> SignedTransaction:
        """Have ``transaction`` signed. Raises :class:`ChainUnavailable` when the signer does not answer,
        :class:`ChainError` when it refuses or signs anything else."""
        answer = self._ask(METHODS[self.kind], {"from": self.address, **_as_json(transaction)})
        raw = answer.get("raw") if isinstance(answer, dict) else answer
        return self._verified(transaction, raw)

    def sign_typed_data(self, *, full_message: dict[str, Any]) -> SignedMessage:
        """Have an EIP-712 message signed. Raises as :meth:`sign_transaction` does."""
        from eth_account import Account
        from eth_account.messages import encode_typed_data

        message = json.dumps(full_message) if self.kind == "web3signer" else full_message
        answer = self._ask(TYPED_METHODS[self.kind], self.address, message)
        try:
            signature = bytes.fromhex(answer.removeprefix("0x"))
            signer = Account.recover_message(encode_typed_data(full_message=full_message), signature=signature)
        except Exception:  # whatever the decoders make of hostile bytes
            raise ChainError(f"{self._name} answered with something that is no signature") from None
        if signer != self.address or int.from_bytes(signature[32:64], "big") > MAX_S:
            raise ChainError(f"{self._name} did not sign as {self.address}", remedy="check signer_address")
        return SignedMessage(signature)

    def _ask(self, method: str, *parameters: Any) -> Any:
        import requests

        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        try:
            with self._session().post(
                self.url, json=request, timeout=self.timeout, stream=True, allow_redirects=False
            ) as response:
                body = response.raw.read(MAX_ANSWER_BYTES + 1, decode_content=True)
        except (requests.RequestException, OSError) as err:
            raise self._silent(type(err).__name__) from None  # the cause would quote the URL
        except Exception as err:  # urllib3's own, which requests lets through while a body is read
            raise self._silent(type(err).__name__) from None
        try:
            answer = parse_json(body, "answer", MAX_ANSWER_BYTES)
        except InputError:
            raise self._silent(f"status {response.status_code}, no JSON") from None
        if not isinstance(answer, dict):
            raise ChainError(f"{self._name} answered with something that is no JSON-RPC")
        if answer.get("error") is not None:
            raise self._refused(answer["error"])
        return answer.get("result")

    def _session(self) -> Any:
        """A connection of this thread's own, which goes to the signer and to no proxy the environment names."""
        import requests

        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False
        return self._local.session

    def _silent(self, why: str) -> ChainUnavailable:
        return ChainUnavailable(f"{self._name} does not answer ({why})", remedy="start it, or check signer_url")

    def _refused(self, error: Any) -> ChainError:
        message = error.get("message") if isinstance(error, dict) else None
        text = " ".join(message.split())[:160] if isinstance(message, str) else "no reason"
        return ChainError(f"{self._name} refused to sign ({text})", remedy="approve it there, or allow it in its rules")

    def _verified(self, asked: dict[str, Any], raw: Any) -> SignedTransaction:
        from eth_account import Account
        from eth_utils import keccak

        try:
            data = bytes.fromhex(raw.removeprefix("0x"))
            signed, signer, s = unpack(data), Account.recover_transaction(data), _signature_s(data)
        except Exception:  # whatever the decoders make of hostile bytes
            raise ChainError(f"{self._name} answered with something that is no signed transaction") from None
        expected = {**asked, "to": asked["to"] or "", "data": "0x" + _data(asked["data"]).hex()}
        wrong = sorted(key for key in expected.keys() | signed.keys() if _differ(expected.get(key), signed.get(key)))
        if wrong:
            raise ChainError(f"{self._name} changed the transaction ({', '.join(wrong)})", remedy="do not use it")
        if signer != self.address or s > MAX_S:
            raise ChainError(f"{self._name} did not sign as {self.address}", remedy="check signer_address")
        return SignedTransaction(data, keccak(data))


def open_signer(settings: Mapping[str, Any]) -> Signer:
    """The signer that ``settings`` choose: exactly one of

    - ``account``, with ``accounts`` (folder) and ``password`` or ``password_file``: a keystore-v3 file;
    - ``env_file``: a file with ``QSCROW_PRIVATE_KEY=0x…``;
    - ``signer_url`` with ``signer_address``, optionally ``signer_kind`` and ``signer_timeout`` (seconds).

    Raises :class:`InputError`.
    """
    chosen = [key for key in ("account", "env_file", "signer_url") if settings.get(key)]
    if len(chosen) != 1:
        raise InputError(
            f"{' and '.join(chosen) or 'nothing'} is configured to sign with",
            field="account",
            remedy="give exactly one of account, env_file, signer_url",
        )
    if chosen == ["env_file"]:
        return load_account_from_env_file(Path(settings["env_file"]))
    if chosen == ["signer_url"]:
        if not settings.get("signer_address"):
            raise InputError("is missing", field="signer_address", remedy="say which of the signer's accounts to use")
        kind, timeout = settings.get("signer_kind") or "clef", settings.get("signer_timeout", TIMEOUT_SECONDS)
        return ExternalSigner(settings["signer_url"], settings["signer_address"], kind, timeout)
    password = settings.get("password")
    if password is None:
        if not settings.get("password_file"):
            raise InputError("is missing", field="password_file", remedy="name the file that holds the password")
        password = read_password(Path(settings["password_file"]))
    return load_account(Path(settings["accounts"]), settings["account"], password)


def _as_json(transaction: dict[str, Any]) -> dict[str, Any]:
    """JSON-RPC form. The type follows from the fees, and neither signer knows the field."""
    plain = {key: value for key, value in transaction.items() if key != "type" and value != ""}
    numbers = {key: hex(value) for key, value in plain.items() if isinstance(value, int)}
    return {**plain, **numbers, "data": "0x" + _data(transaction["data"]).hex()}


def _data(data: str | bytes) -> bytes:
    return bytes.fromhex(data.removeprefix("0x")) if isinstance(data, str) else bytes(data)


def _differ(asked: Any, signed: Any) -> bool:
    if isinstance(asked, str) and isinstance(signed, str):
        return asked.lower() != signed.lower()  # a checksum is no part of an address
    return asked != signed


def _signature_s(raw: bytes) -> int:
    import rlp

    return int.from_bytes(rlp.decode(raw[1:] if raw[0] < 0x80 else raw)[-1], "big")
