"""Turning what web3, its transport and the contracts raise into errors a person can act on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from oracle.chain.artifacts import errors_by_selector
from oracle.jobs.errors import ChainError, ChainUnavailable, QscrowError
from oracle.jobs.states import State

REMEDIES = {
    "NotAllowed": "use the account the terms name",
    "TermsMismatch": "read the job again; an open job's terms change when it is accepted",
    "WrongState": "look at it with `qscrow inspect`",
    "TooLate": "`qscrow refund` returns the money of an expired job",
    "TooEarly": "wait until the deadline has passed",
    "InsufficientStake": "add stake with `qscrow oracle register --stake`",
    "NothingToWithdraw": "nothing is owed to this account now",
    "StillLocked": "wait for the unstaking delay",
}
_CANNOT_PAY = ("insufficient funds", "sender does not have enough balance", "cannot afford txn gas")
_ERROR_STRING = "0x08c379a0"  # selector of Solidity's own Error(string)


class Reverted(ChainError):
    """A contract refused the call with a custom error: ``name`` and decoded ``arguments``."""

    def __init__(self, name: str, arguments: dict[str, Any]):
        self.name = name
        self.arguments = arguments
        shown = ", ".join(f"{key}={_shown(name, key, value)}" for key, value in arguments.items())
        super().__init__(f"the contract refused: {name}({shown})", remedy=REMEDIES.get(name))


def endpoint_name(w3: Any) -> str:
    """How to name the endpoint to people: its URL without credentials or path secrets, or ``the local chain``."""
    url = getattr(w3.provider, "endpoint_uri", None)
    return shown_url(str(url)) if url else "the local chain"


def shown_url(url: str) -> str:
    """``url`` without credentials, path and query, any of which may hold a secret."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}"


@contextmanager
def translated(url: str = "the chain") -> Iterator[None]:
    """Run web3 calls so that only :class:`ChainError` and its subclasses come out.

    Raises :class:`Reverted` for a contract's custom error, :class:`ChainUnavailable` when the endpoint cannot be
    reached or answers with rubbish that may pass, :class:`ChainError` otherwise.
    """
    try:
        yield
    except QscrowError:
        raise
    except Exception as err:
        raise _translate(err, url) from err


def revert_data(err: Exception) -> bytes | None:
    """The bytes a contract reverted with inside py-evm; eth-tester keeps only their ``repr`` in its message."""
    quoted = str(err).removeprefix("execution reverted: ")
    if type(err).__name__ != "TransactionFailed" or quoted[:2] not in ("b'", 'b"'):
        return None
    try:
        return ast.literal_eval(quoted)
    except (ValueError, SyntaxError):
        return None


def _translate(err: Exception, url: str) -> ChainError:
    import requests
    from web3 import exceptions as web3_errors

    if isinstance(err, (web3_errors.ContractCustomError, web3_errors.ContractLogicError)):
        return _reverted(getattr(err, "data", None), err)
    if type(err).__name__ == "TransactionFailed":  # eth-tester's, which need not be installed
        data = revert_data(err)
        return _reverted(None if data is None else "0x" + data.hex(), err)
    if isinstance(err, web3_errors.TimeExhausted):
        return ChainUnavailable(f"{url} did not confirm in time", remedy="the transaction may still be mined")
    if isinstance(err, web3_errors.BadFunctionCallOutput):
        return ChainError(
            f"no Qscrow contract answers at the configured address on {url}",
            remedy="check the deployment file and the chain",
        )
    if isinstance(err, (requests.RequestException, ConnectionError, TimeoutError)):
        return ChainUnavailable(
            f"cannot reach {url} ({type(err).__name__})", remedy="start it, or give another one with --rpc"
        )
    text = " ".join(str(err).split())[:200]
    if any(words in text.lower() for words in _CANNOT_PAY):
        return ChainError("the account cannot pay for this transaction", remedy="fund it with native currency")
    return ChainError(f"{url} answered: {text or type(err).__name__}")


def _reverted(data: Any, err: Exception) -> ChainError:
    if isinstance(data, dict):
        data = data.get("data")
    if not isinstance(data, str) or len(data) < 10:
        return ChainError(
            f"the contract refused the call ({' '.join(str(err).split())[:160]})",
            remedy="if it is to be Qscrow's, check the deployment file and the chain",
        )
    from eth_abi import decode
    from eth_abi.exceptions import DecodingError

    name, inputs = errors_by_selector().get(data[:10].lower(), (None, []))
    try:
        if data[:10].lower() == _ERROR_STRING:
            (reason,) = decode(["string"], bytes.fromhex(data[10:]))
            return ChainError(f"the contract refused the call ({reason[:160]})")
        values = decode([kind for _, kind in inputs], bytes.fromhex(data[10:]))
    except (DecodingError, ValueError, OverflowError):
        name = None
    if name is None:
        return ChainError(f"the contract refused the call ({data[:138]})")
    return Reverted(name, dict(zip((argument for argument, _ in inputs), values, strict=True)))


def _shown(name: str, key: str, value: Any) -> Any:
    if key == "field":
        return value.rstrip(b"\0").decode("ascii", "replace")
    if name == "WrongState" and key == "state" and value <= max(State):
        return State(value).label
    return "0x" + value.hex() if isinstance(value, bytes) else value
