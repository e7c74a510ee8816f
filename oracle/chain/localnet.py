"""Chains that live on this machine: py-evm inside the process, the same served over JSON-RPC, or anvil.

All of them have the same funded development accounts, derived from a public mnemonic: worthless everywhere else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from oracle.chain.failures import revert_data, translated
from oracle.jobs.canonical import parse_json
from oracle.jobs.errors import ChainError, ChainUnavailable, InputError

MNEMONIC = "test test test test test test test test test test test junk"
HD_PATH = "m/44'/60'/0'/0"
CHAIN_ID = 31337
DEV_ACCOUNTS = 10
DEV_BALANCE_ETHER = 10_000
MAX_REQUEST_BYTES = 4 * 1024 * 1024
START_SECONDS = 30


def dev_accounts(count: int = DEV_ACCOUNTS) -> list[Any]:
    """The first ``count`` development accounts (``eth_account`` LocalAccounts, BIP-44 path m/44'/60'/0'/0/i)."""
    from eth_account import Account

    Account.enable_unaudited_hdwallet_features()
    return [Account.from_mnemonic(MNEMONIC, account_path=f"{HD_PATH}/{i}") for i in range(count)]


def in_process_chain() -> Any:
    """A web3 connection to a fresh py-evm chain inside this process."""
    from eth_tester import EthereumTester, PyEVMBackend
    from web3 import Web3
    from web3.providers.eth_tester.defaults import API_ENDPOINTS

    backend = PyEVMBackend.from_mnemonic(
        MNEMONIC,
        num_accounts=DEV_ACCOUNTS,
        hd_path=HD_PATH,
        genesis_state_overrides={"balance": DEV_BALANCE_ETHER * 10**18},
    )
    type(backend.chain).chain_id = CHAIN_ID  # neither of the two lets it be configured
    endpoints = {**API_ENDPOINTS, "eth": {**API_ENDPOINTS["eth"], "chainId": lambda *_: CHAIN_ID}}
    return Web3(_serial_provider()(EthereumTester(backend), api_endpoints=endpoints))


@cache
def _serial_provider() -> type:
    """web3's provider for eth-tester, one call at a time: py-evm is not made for threads."""
    from web3 import EthereumTesterProvider

    class SerialProvider(EthereumTesterProvider):
        def __init__(self, *args: Any, **options: Any):
            super().__init__(*args, **options)
            self._lock = threading.RLock()

        def make_request(self, method: Any, params: Any) -> Any:
            with self._lock:
                return super().make_request(method, params)

    return SerialProvider


def advance_time(w3: Any, seconds: int) -> None:
    """Let ``seconds`` pass on a local chain and mine a block. Raises :class:`ChainError` on any other chain."""
    tester = getattr(w3.provider, "ethereum_tester", None)
    with translated():
        if tester is not None:
            tester.time_travel(w3.eth.get_block("latest")["timestamp"] + seconds)
            tester.mine_block()
            return
        for method, parameters in (("evm_increaseTime", [seconds]), ("evm_mine", [])):
            response = w3.provider.make_request(method, parameters)
            if "error" in response:
                raise ChainError("only a local chain's clock can be moved", remedy="wait for the deadline")


def find_anvil() -> str | None:
    """Path of an anvil executable, if one is installed."""
    native = Path("node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil")
    return shutil.which("anvil") or (str(native.resolve()) if native.exists() else None)


@contextmanager
def running_anvil(executable: str, port: int) -> Iterator[str]:
    """Run anvil on ``port`` of the loopback interface; yields its URL and ends it afterwards."""
    command = [executable, "--silent", "--port", str(port), "--chain-id", str(CHAIN_ID), "--hardfork", "cancun"]
    command += ["--mnemonic", MNEMONIC, "--accounts", str(DEV_ACCOUNTS), "--balance", str(DEV_BALANCE_ETHER)]
    # Transactions are mined at once, and a block every other second keeps the clock moving; two blocks are final.
    command += ["--mixed-mining", "--block-time", "2", "--slots-in-an-epoch", "1"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches us first, and we end it
    )
    try:
        yield _when_ready(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()


def _when_ready(url: str, process: subprocess.Popen[bytes]) -> str:
    import requests
    from web3 import HTTPProvider, Web3

    w3 = Web3(HTTPProvider(url))
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        try:
            if w3.eth.chain_id == CHAIN_ID:
                return url
        except requests.ConnectionError:
            time.sleep(0.05)
    raise ChainUnavailable(f"anvil did not start on {url}", remedy="choose a free --port")


class RpcServer:
    """JSON-RPC over HTTP for a chain inside this process, on the loopback interface."""

    def __init__(self, w3: Any, port: int):
        from web3 import Web3

        # web3's own middleware turns answers into Python objects; the provider's alone speaks JSON-RPC's names.
        bare = Web3(w3.provider, middleware=[])
        try:
            self._http = ThreadingHTTPServer(("127.0.0.1", port), _handler(bare))
        except OSError as err:
            raise ChainUnavailable(
                f"port {port} cannot be used ({os.strerror(err.errno or 0)})", remedy="choose a free --port"
            ) from None
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> RpcServer:
        threading.Thread(target=self._http.serve_forever, name="rpc", daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.shutdown()
        self._http.server_close()


def _handler(w3: Any) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()  # py-evm serves one call at a time

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet: unbuffered, each answer waits for a delayed ACK

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not (length.isascii() and length.isdigit()) or int(length[:20]) > MAX_REQUEST_BYTES:
                self.close_connection = True
                return self._answer(_failure(None, -32600, "request too large, or of unknown length"))
            try:
                request = parse_json(self.rfile.read(int(length)), "request", MAX_REQUEST_BYTES)
            except InputError:
                return self._answer(_failure(None, -32700, "parse error"))
            with lock:
                if isinstance(request, list):
                    self._answer([_serve(w3, item) for item in request])
                else:
                    self._answer(_serve(w3, request))

        def _answer(self, response: Any) -> None:
            body = json.dumps(response).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, *args: Any) -> None:
            """Silence: the caller reports."""

    return Handler


def _serve(w3: Any, request: Any) -> dict[str, Any]:
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return _failure(None, -32600, "invalid request")
    number, parameters = request.get("id"), request.get("params") or []
    try:
        response = _ask(w3, request["method"], parameters)
    except Exception as err:  # whatever py-evm raises is an answer to the caller, not our failure
        data = revert_data(err)
        if data is not None:  # the way geth says it
            failure = _failure(number, 3, "execution reverted")
            failure["error"]["data"] = "0x" + data.hex()
            return failure
        return _failure(number, -32000, str(err) or type(err).__name__)
    if "error" in response:
        error = response["error"]
        return {"jsonrpc": "2.0", "id": number, "error": _plain(error)}
    return {"jsonrpc": "2.0", "id": number, "result": _plain(response.get("result"))}


def _ask(w3: Any, method: str, parameters: Any) -> dict[str, Any]:
    if method == "evm_increaseTime":
        tester = w3.provider.ethereum_tester
        tester.time_travel(w3.eth.get_block("pending")["timestamp"] + int(parameters[0]))
        return {"result": int(parameters[0])}
    if method == "evm_mine":
        w3.provider.ethereum_tester.mine_block()
        return {"result": "0x0"}
    return w3.provider.request_func(w3, w3.middleware_onion)(method, parameters)


def _failure(number: Any, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}


def _plain(value: Any) -> Any:
    """JSON-RPC form: integers as 0x quantities, bytes as 0x data, mappings with their own key names."""
    if isinstance(value, bool) or value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, int):
        return hex(value)
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if hasattr(value, "items"):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value]
