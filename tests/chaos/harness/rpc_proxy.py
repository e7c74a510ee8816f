"""A JSON-RPC endpoint in front of anvil that can be told to misbehave, and that sees everything a node does.

A fault is a function of a request and of the next one to ask: it may answer by itself, alter the answer, or raise one
of the ways a connection breaks. ``FAULTS`` names a maker of each; makers because some remember things.
"""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import requests

from harness.faulty import FaultyServer, Hang, Refuse, Reset, Truncated

Request = dict[str, Any]
Answer = dict[str, Any]
Ask = Callable[[Request], Answer]
Fault = Callable[[Request, Ask], Answer]

TAGS = ("latest", "pending", "safe", "finalized")
FOREIGN_CHAIN = 1


@dataclass(frozen=True)
class Sent:
    """A transaction somebody wanted broadcast. Fees in wei per gas; ``action`` is the contract's function."""

    raw: str
    hash: str
    sender: str
    nonce: int
    max_fee: int
    max_tip: int
    chain_id: int
    action: str


class RpcProxy(FaultyServer):
    """``url`` holds credentials, as a provider's would: they must turn up nowhere else."""

    def __init__(self, upstream: str, user: str, password: str, path_secret: str):
        self._upstream = upstream
        self._local = threading.local()
        self._faults: tuple[Fault, ...] = ()
        self.sent: list[Sent] = []
        self.on_request: Callable[[], None] = lambda: None
        self.on_send: Callable[[str, Sent], None] = lambda moment, sent: None
        super().__init__()
        self.url = f"http://{user}:{password}@127.0.0.1:{self.port}/v3/{path_secret}"

    # ------------------------------------------------------------------------------------------- faults

    def misbehave(self, *faults: str | Fault) -> None:
        """From now on do all of this, the first one outermost; nothing means: behave."""
        self._faults = tuple(FAULTS[fault]() if isinstance(fault, str) else fault for fault in faults)
        self.lift()

    @contextmanager
    def misbehaving(self, *faults: str | Fault) -> Iterator[None]:
        """Misbehave inside the block."""
        self.misbehave(*faults)
        try:
            yield
        finally:
            self.misbehave()

    # ------------------------------------------------------------------------------------------ serving

    def respond(self, path: str, headers: object, body: bytes) -> bytes:
        """See :class:`FaultyServer`."""
        request = json.loads(body)
        if isinstance(request, list):
            return json.dumps([self._serve(one) for one in request]).encode()
        return json.dumps(self._serve(request)).encode()

    def _serve(self, request: Request) -> Answer:
        self.on_request()
        ask: Ask = self._forward
        for fault in reversed(self._faults):
            ask = _wrapped(fault, ask)
        if request["method"] != "eth_sendRawTransaction":
            return ask(request)
        sent = decoded(request["params"][0])
        self.sent.append(sent)
        self.on_send("before", sent)
        answer = ask(request)
        self.on_send("after", sent)
        return answer

    def _forward(self, request: Request) -> Answer:
        if not hasattr(self._local, "http"):
            self._local.http = requests.Session()
            self._local.http.trust_env = False
        try:
            answer = self._local.http.post(self._upstream, json=request, timeout=30).json()
        except requests.RequestException:  # anvil is gone: the test is over
            raise Reset from None
        return {**answer, "id": request.get("id")}


def _wrapped(fault: Fault, ask: Ask) -> Ask:
    return lambda request: fault(request, ask)


def decoded(raw: str) -> Sent:
    """What a signed transaction says."""
    from eth_account import Account
    from eth_account.typed_transactions import TypedTransaction
    from eth_utils import keccak
    from hexbytes import HexBytes

    fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    data = bytes(HexBytes(fields["data"]))
    return Sent(
        raw=raw,
        hash="0x" + keccak(hexstr=raw).hex(),
        sender=Account.recover_transaction(raw),
        nonce=int(fields["nonce"]),
        max_fee=int(fields["maxFeePerGas"]),
        max_tip=int(fields["maxPriorityFeePerGas"]),
        chain_id=int(fields["chainId"]),
        action=_functions().get(data[:4], "transfer" if not data else "other"),
    )


@cache
def _functions() -> dict[bytes, str]:
    from eth_utils.abi import function_abi_to_4byte_selector

    from oracle.chain.artifacts import artifact

    names = {}
    for contract in ("JobEscrow", "OracleRegistry"):
        for entry in artifact(contract)["abi"]:
            if entry["type"] == "function":
                names[bytes(function_abi_to_4byte_selector(entry))] = entry["name"]
    return names


# ------------------------------------------------------------------------------------- faults: transport


def _always(broken: Callable[[], Exception]) -> Callable[[], Fault]:
    def fault(request: Request, ask: Ask) -> Answer:
        raise broken()

    return lambda: fault


def _truncated() -> Fault:
    def fault(request: Request, ask: Ask) -> Answer:
        raise Truncated(json.dumps(ask(request)).encode())

    return fault


def _slow() -> Fault:
    def fault(request: Request, ask: Ask) -> Answer:
        time.sleep(0.08)
        return ask(request)

    return fault


def _error(code: int, message: str, methods: tuple[str, ...] = ()) -> Callable[[], Fault]:
    def fault(request: Request, ask: Ask) -> Answer:
        if methods and request["method"] not in methods:
            return ask(request)
        return {"jsonrpc": "2.0", "id": request.get("id"), "error": {"code": code, "message": message}}

    return lambda: fault


def _result(change: Callable[[Any, Request], Any], *methods: str) -> Callable[[], Fault]:
    """Alter the results of some methods (of all, if none is named)."""

    def fault(request: Request, ask: Ask) -> Answer:
        answer = ask(request)
        if (methods and request["method"] not in methods) or "result" not in answer:
            return answer
        return {**answer, "result": change(copy.deepcopy(answer["result"]), request)}

    return lambda: fault


# ----------------------------------------------------------------------------------- faults: which chain


def _other_chain() -> Fault:
    """Everything of another network: its id, its blocks, none of our contracts' logs."""

    def altered(block: Any, _: Request) -> Any:
        if block:
            block["hash"] = "0x" + bytes(byte ^ 0x5A for byte in bytes.fromhex(block["hash"][2:])).hex()
            block["parentHash"] = "0x" + bytes(byte ^ 0x5A for byte in bytes.fromhex(block["parentHash"][2:])).hex()
        return block

    parts = [
        _result(lambda *_: hex(FOREIGN_CHAIN), "eth_chainId")(),
        _result(lambda *_: str(FOREIGN_CHAIN), "net_version")(),
        _result(altered, "eth_getBlockByNumber", "eth_getBlockByHash")(),
        _result(lambda *_: [], "eth_getLogs")(),
        _result(lambda *_: "0x", "eth_call", "eth_getCode")(),
        _result(lambda *_: None, "eth_getTransactionReceipt", "eth_getTransactionByHash")(),
    ]

    def fault(request: Request, ask: Ask) -> Answer:
        for part in parts:
            ask = _wrapped(part, ask)
        return ask(request)

    return fault


def _stale(every: int = 1, behind: int = 0) -> Callable[[], Fault]:
    """The view of a replica that stopped following: nothing above the block it was at, in any answer.

    With ``every`` = 2 only every other answer comes from it, as behind a load balancer.
    """

    def make() -> Fault:
        frozen: list[int] = []
        lock, served = threading.Lock(), [0]

        def number(text: str, head: int) -> str:
            if text == "finalized":
                return hex(max(head - 2, 0))
            if text == "safe":
                return hex(max(head - 1, 0))
            return hex(head) if text in TAGS else text

        def fault(request: Request, ask: Ask) -> Answer:
            with lock:
                served[0] += 1
                if not frozen:
                    now = ask({**request, "method": "eth_blockNumber", "params": []})
                    frozen.append(max(int(now["result"], 16) - behind, 0))
            if served[0] % every:
                return ask(request)
            head, method = frozen[0], request["method"]
            parameters = copy.deepcopy(request.get("params") or [])
            nothing = {"jsonrpc": "2.0", "id": request.get("id"), "result": None}
            if method == "eth_blockNumber":
                return {**nothing, "result": hex(head)}
            if method == "eth_getBlockByNumber":
                parameters[0] = number(parameters[0], head)
                if int(parameters[0], 16) > head:
                    return nothing
            if method in ("eth_call", "eth_getTransactionCount", "eth_getBalance", "eth_getCode") and parameters[1:]:
                parameters[1] = number(parameters[1], head) if isinstance(parameters[1], str) else parameters[1]
            if method == "eth_getLogs":
                query = parameters[0]
                for end in ("fromBlock", "toBlock"):
                    query[end] = number(query.get(end, "latest"), head)
                if int(query["fromBlock"], 16) > head:
                    return {**nothing, "result": []}
                query["toBlock"] = hex(min(int(query["toBlock"], 16), head))
            answer = ask({**request, "params": parameters})
            if method in ("eth_getTransactionReceipt", "eth_getTransactionByHash") and answer.get("result"):
                block = answer["result"].get("blockNumber")
                if block is None or int(block, 16) > head:
                    return nothing
            return answer

        return fault

    return make


# ----------------------------------------------------------------------------------------- faults: logs


def _logs(change: Callable[[list[Any], Request], Any]) -> Callable[[], Fault]:
    return _result(lambda logs, request: change(logs, request), "eth_getLogs")


def _forged(logs: list[Any], **fields: Any) -> list[Any]:
    """The logs, and a copy of each with other facts."""
    return logs + [{**copy.deepcopy(log), **fields} for log in logs]


def _forged_jobs(logs: list[Any], _: Request) -> list[Any]:
    """Beside every job one that was never created, with a number of its own."""
    made_up = []
    for log in logs:
        if len(log["topics"]) > 1:
            number = int(log["topics"][1], 16) + 1_000
            topics = [log["topics"][0], "0x" + number.to_bytes(32, "big").hex(), *log["topics"][2:]]
            made_up.append({**log, "topics": topics, "logIndex": hex(int(log["logIndex"], 16) + 100)})
    return logs + made_up


def _out_of_range(logs: list[Any], request: Request) -> list[Any]:
    """The same logs once more, said to be of a block nobody asked for."""
    end = request["params"][0].get("toBlock", "0x0")
    beyond = int(end, 16) + 7 if end.startswith("0x") else 10**6
    return _forged(logs, blockNumber=hex(beyond))


def _capped(span: int, message: str, code: int = -32005) -> Callable[[], Fault]:
    """A provider that serves at most ``span`` blocks at a time."""

    def fault(request: Request, ask: Ask) -> Answer:
        if request["method"] == "eth_getLogs":
            query = request["params"][0]
            first, last = query.get("fromBlock", "0x0"), query.get("toBlock", "latest")
            if not last.startswith("0x") or int(last, 16) - int(first, 16) >= span:
                error = {"code": code, "message": message.format(span=span)}
                return {"jsonrpc": "2.0", "id": request.get("id"), "error": error}
        return ask(request)

    return lambda: fault


# ---------------------------------------------------------------------------------- faults: transactions


def _swallow_sends() -> Fault:
    """Says thank you, and throws the transaction away."""

    def fault(request: Request, ask: Ask) -> Answer:
        if request["method"] != "eth_sendRawTransaction":
            return ask(request)
        return {"jsonrpc": "2.0", "id": request.get("id"), "result": decoded(request["params"][0]).hash}

    return fault


def _send_then(broken: Callable[[], Exception]) -> Callable[[], Fault]:
    """Passes the transaction on, and does not say so."""

    def fault(request: Request, ask: Ask) -> Answer:
        answer = ask(request)
        if request["method"] == "eth_sendRawTransaction":
            raise broken()
        return answer

    return lambda: fault


def _count_off_by(difference: int) -> Callable[[], Fault]:
    return _result(lambda count, _: hex(max(int(count, 16) + difference, 0)), "eth_getTransactionCount")


SEND = ("eth_sendRawTransaction",)
FAULTS: dict[str, Callable[[], Fault]] = {
    # transport
    "hang": _always(Hang),
    "reset": _always(Reset),
    "rate_limit_429": _always(lambda: Refuse(429, b"slow down", Retry_After="1")),
    "error_500": _always(lambda: Refuse(500, b"oops")),
    "error_503": _always(lambda: Refuse(503, b"<h1>Service Unavailable</h1>", Content_Type="text/html")),
    "unauthorised_401": _always(lambda: Refuse(401, b'{"error": "invalid project id"}')),
    "html_garbage": _always(lambda: Refuse(200, b"<html>maintenance</html>", Content_Type="text/html")),
    "empty_body": _always(lambda: Refuse(200)),
    "not_json_rpc": _always(lambda: Refuse(200, b"{}")),
    "json_list": _always(lambda: Refuse(200, b"[1, 2]")),
    "truncated": _truncated,
    "slow": _slow,
    # polite errors
    "rate_limit_json": _error(-32005, "project ID request rate exceeded"),
    "internal_error": _error(-32603, "Internal JSON-RPC error."),
    "header_not_found": _error(-32000, "header not found", ("eth_getBlockByNumber", "eth_getLogs", "eth_call")),
    "null_results": _result(lambda *_: None),
    "null_blocks": _result(lambda *_: None, "eth_getBlockByNumber"),
    # which chain, and how much of it
    "wrong_chain_id": _result(lambda *_: hex(FOREIGN_CHAIN), "eth_chainId"),
    "other_chain": _other_chain,
    "stale_head": _stale(),
    "head_goes_back": _stale(behind=6),
    "flapping_head": _stale(every=2, behind=4),
    # logs
    "logs_dropped": _logs(lambda logs, _: []),
    "logs_half_dropped": _logs(lambda logs, _: logs[: len(logs) // 2]),
    "logs_doubled": _logs(lambda logs, _: logs + logs),
    "logs_reversed": _logs(lambda logs, _: logs[::-1]),
    "logs_out_of_range": _logs(_out_of_range),
    "logs_of_another_address": _logs(lambda logs, _: _forged(logs, address="0x" + "ab" * 20)),
    "logs_of_jobs_that_never_were": _logs(_forged_jobs),
    "logs_capped_by_blocks": _capped(2, "eth_getLogs is limited to a {span} range", -32614),
    "logs_capped_by_results": _capped(1, "query returned more than 10000 results"),
    # transactions
    "receipts_missing": _result(lambda *_: None, "eth_getTransactionReceipt"),
    "send_swallowed": _swallow_sends,
    "send_unanswered": _send_then(Reset),
    "send_answered_500": _send_then(lambda: Refuse(500, b"upstream timed out")),
    "send_underpriced": _error(-32000, "transaction underpriced", SEND),
    "send_replacement_underpriced": _error(-32000, "replacement transaction underpriced", SEND),
    "send_pool_full": _error(-32000, "txpool is full", SEND),
    "nonce_too_low_seen": _count_off_by(-1),
    "nonce_too_high_seen": _count_off_by(3),
}
