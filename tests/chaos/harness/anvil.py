"""An anvil of one's own, with every handle that chaos needs."""

from __future__ import annotations

import socket
import subprocess
import time
from typing import Any

import pytest
import requests

from oracle.chain.localnet import DEV_ACCOUNTS, MNEMONIC, find_anvil

CHAIN_ID = 424_242  # not the development chain's: a node waits for finality here
START_SECONDS = 30
NORMAL_BASE_FEE = 10**9


class Anvil:
    """A chain whose ``finalized`` block is ``2 × epoch_slots`` behind its head. Transactions are mined at once."""

    def __init__(self, *, epoch_slots: int = 1):
        executable = find_anvil()
        if executable is None:
            pytest.fail("anvil is not installed: run `make contracts-setup`")
        self.finality = 2 * epoch_slots
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._http = requests.Session()
        command = [executable, "--silent", "--port", str(self.port), "--chain-id", str(CHAIN_ID)]
        command += ["--hardfork", "cancun", "--mnemonic", MNEMONIC, "--accounts", str(DEV_ACCOUNTS)]
        command += ["--slots-in-an-epoch", str(epoch_slots), "--threads", "2"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                self.rpc("eth_chainId")
                return
            except requests.ConnectionError:
                if self._process.poll() is not None or time.monotonic() > give_up:
                    self.close()
                    raise
                time.sleep(0.01)

    def close(self) -> None:
        """End it; what was on it is gone."""
        self._process.kill()
        self._process.wait()
        self._http.close()

    def rpc(self, method: str, *parameters: Any) -> Any:
        """The result of one call. Raises :class:`RuntimeError` with anvil's complaint."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        answer = self._http.post(self.url, json=request, timeout=30).json()
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def head(self) -> int:
        """Number of the latest block."""
        return int(self.rpc("eth_blockNumber"), 16)

    def block(self, which: str | int = "latest") -> dict[str, Any]:
        """A block as JSON-RPC tells it, with transaction hashes."""
        return self.rpc("eth_getBlockByNumber", hex(which) if isinstance(which, int) else which, False)

    def timestamp(self) -> int:
        """The chain's clock, Unix seconds."""
        return int(self.block()["timestamp"], 16)

    def mine(self, blocks: int = 1) -> None:
        """Mine empty blocks, or what is pending."""
        for _ in range(blocks):
            self.rpc("evm_mine")

    def automine(self, on: bool) -> None:
        """Whether a transaction is mined as soon as it arrives."""
        self.rpc("evm_setAutomine", on)

    def pass_time(self, seconds: int) -> None:
        """Move the chain's clock and mine a block."""
        self.rpc("evm_increaseTime", seconds)
        self.mine()

    def reorganise(self, depth: int) -> list[str]:
        """Replace the last ``depth`` blocks by empty ones; returns the raw transactions that were in them."""
        head, lost = self.head(), []
        for number in range(head - depth + 1, head + 1):
            lost += [self.rpc("debug_getRawTransaction", name) for name in self.block(number)["transactions"]]
        self.rpc("anvil_reorg", depth, [])
        return lost

    def mine_at(self, base_fee: int) -> None:
        """Mine a block whose base fee, in wei per gas, is forced."""
        self.rpc("anvil_setNextBlockBaseFeePerGas", hex(base_fee))
        self.mine()

    def send_raw(self, raw: str) -> str | None:
        """Broadcast; ``None`` if anvil does not want it (any more)."""
        try:
            return self.rpc("eth_sendRawTransaction", raw)
        except RuntimeError:
            return None

    def nonce(self, address: str, block: str = "latest") -> int:
        """How many transactions of ``address`` are mined."""
        return int(self.rpc("eth_getTransactionCount", address, block), 16)


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
