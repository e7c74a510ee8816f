"""The sender on a real node with a real mempool: nothing is mined until a test says so."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from eth_account import Account

from oracle.chain.client import connect
from oracle.chain.contracts import Call
from oracle.chain.localnet import CHAIN_ID, MNEMONIC, _when_ready, dev_accounts, find_anvil
from oracle.chain.sender import FeePolicy, MemoryAttemptLog, Sender, Tended, unpack
from oracle.jobs.errors import ChainError, ChainUnavailable

GWEI = 10**9


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    anvil = find_anvil()
    assert anvil, "anvil is not installed; `make integration` needs `make contracts-setup` first"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [anvil, "--silent", "--no-mining", "--port", str(port), "--chain-id", str(CHAIN_ID)]
    command += ["--hardfork", "cancun", "--mnemonic", MNEMONIC, "--slots-in-an-epoch", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield _when_ready(f"http://127.0.0.1:{port}", process)
    finally:
        process.kill()
        process.wait(10)


@dataclass
class Net:
    """anvil with one account's sender; each purpose pays one wei to an address of its own, so that it shows."""

    w3: Any
    account: Any = field(default_factory=lambda: dev_accounts(1)[0])
    log: MemoryAttemptLog = field(default_factory=MemoryAttemptLog)
    policy: FeePolicy = field(default_factory=lambda: FeePolicy(final_after=0, resend_seconds=0))

    def __post_init__(self) -> None:
        self.sender = self.restarted()
        self.payees: dict[str, str] = {}

    def restarted(self) -> Sender:
        return Sender(self.w3, self.account, self.log, policy=self.policy)

    def ask(self, method: str, *parameters: Any) -> Any:
        response = self.w3.provider.make_request(method, list(parameters))
        assert "error" not in response, response
        return response["result"]

    def mine(self, blocks: int = 1, base_fee: int = GWEI) -> Tended:
        """Mine at ``base_fee``, tending after each block."""
        done = Tended()
        for _ in range(blocks):
            self.ask("anvil_setNextBlockBaseFeePerGas", hex(base_fee))
            self.ask("evm_mine")
            done = self.sender.tend()
        return done

    def call(self, purpose: str) -> Call:
        return Call("pay", self.payees.setdefault(purpose, Account.create().address), "0x", 1)

    def start(self, purpose: str):
        return self.sender.start(self.call(purpose), purpose)

    def effect(self, purpose: str) -> int:
        return self.w3.eth.get_balance(self.payees[purpose])


@pytest.fixture
def net(url) -> Iterator[Net]:
    made = Net(connect(url))
    made.mine()  # a revert leaves the base fee as it was
    snapshot = made.ask("evm_snapshot")
    yield made
    made.ask("anvil_dropAllTransactions")
    made.ask("evm_revert", snapshot)


def test_start__from_many_threads__each_purpose_is_mined_once(net):
    purposes = [f"{i}:pay" for i in range(16)]
    calls = {purpose: net.call(purpose) for purpose in purposes}
    net.policy = FeePolicy(final_after=0, max_in_flight=17)
    net.sender = net.restarted()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda purpose: net.sender.start(calls[purpose], purpose), purposes * 2))
    net.mine()

    assert [net.effect(purpose) for purpose in purposes] == [1] * 16
    assert all(net.sender.outcome(purpose) is not None for purpose in purposes)
    assert net.sender.tend().in_flight == 0


def test_tend__fees_rise_above_what_was_signed__is_replaced_and_mined(net):
    first = net.start("pay")

    done = [net.mine(base_fee=60 * GWEI) for _ in range(5)]

    assert [tended.bumped for tended in done] == [0, 0, 0, 1, 0]
    receipt = net.sender.outcome("pay")
    newest = net.log.recorded[-1]
    assert receipt.tx_hash == newest.tx_hash != first.tx_hash
    assert newest.max_fee >= 2 * 60 * GWEI
    assert net.effect("pay") == 1
    assert net.sender.wait(first) == receipt


def test_tend__fees_above_the_cap__waits_and_is_mined_when_they_fall(net):
    net.policy = FeePolicy(final_after=0, resend_seconds=0, max_fee_wei=5 * GWEI)
    net.sender = net.restarted()
    first = net.start("pay")

    net.mine(8, base_fee=60 * GWEI)
    with pytest.raises(ChainUnavailable, match="above the cap of 5000000000 wei"):
        net.start("another")
    assert net.effect("pay") == 0
    assert all(attempt.max_fee <= 5 * GWEI for attempt in net.log.recorded)
    net.mine(2)

    assert net.effect("pay") == 1
    assert net.sender.wait(first)


def test_tend__dropped_below_a_later_one__fills_the_gap_with_the_same_bytes(net):
    first, second = net.start("1:pay"), net.start("2:pay")
    net.ask("anvil_dropTransaction", "0x" + first.tx_hash.hex())

    net.mine(2)

    assert net.sender.outcome("1:pay").tx_hash == first.tx_hash
    assert net.sender.outcome("2:pay").tx_hash == second.tx_hash


def test_tend__reorganised_away__is_sent_again_and_mined_once(net):
    net.policy = FeePolicy(resend_seconds=600)  # final two epochs of one slot later
    net.sender = net.restarted()
    attempts = [net.start(f"{i}:pay") for i in range(3)]
    net.mine()
    assert all(net.sender.outcome(attempt.purpose) for attempt in attempts)

    net.ask("anvil_reorg", 1, [])
    assert net.effect("0:pay") == 0
    assert net.mine().resent == 3
    net.mine()

    assert [net.effect(f"{i}:pay") for i in range(3)] == [1, 1, 1]
    assert [net.sender.outcome(a.purpose).tx_hash for a in attempts] == [a.tx_hash for a in attempts]
    assert net.log.open_attempts(net.account.address)
    net.mine(3)
    assert net.log.open_attempts(net.account.address) == []


def test_tend__chain_rolled_back__is_sent_again(net):
    net.start("pay")
    net.policy = FeePolicy(resend_seconds=600)
    net.sender = net.restarted()
    net.mine()
    net.ask("anvil_rollback", 1)
    assert net.effect("pay") == 0

    net.mine(2)

    assert net.effect("pay") == 1


def test_tend__nonce_never_used_by_the_other_program__is_filled(net):
    nonce = net.w3.eth.get_transaction_count(net.account.address)
    taken = net.account.sign_transaction(plain(nonce, 2 * GWEI))
    net.w3.eth.send_raw_transaction(taken.raw_transaction)
    attempt = net.start("pay")
    assert attempt.nonce == nonce + 1
    net.ask("anvil_dropTransaction", "0x" + taken.hash.hex())

    filled = sum(net.mine().filled for _ in range(6))

    assert filled == 1
    assert net.effect("pay") == 1


def test_start__nonce_stolen_with_higher_fees__is_sent_again_with_another(net):
    stolen = net.start("pay")
    net.w3.eth.send_raw_transaction(
        net.account.sign_transaction(plain(stolen.nonce, 90 * GWEI)).raw_transaction,
    )
    net.mine()
    assert net.sender.overtaken(stolen)
    assert net.sender.outcome("pay") is None

    again = net.start("pay")
    net.mine()

    assert again.nonce == stolen.nonce + 1
    assert net.effect("pay") == 1


def test_cancel__in_flight__uses_the_nonce_up_for_nothing(net):
    net.start("pay")

    cancelled = net.sender.cancel("pay")
    net.mine()

    assert net.sender.outcome(cancelled.purpose) is not None
    assert net.sender.outcome("pay") is None
    assert net.effect("pay") == 0


def test_restart__recorded_and_never_sent__the_same_bytes_are_mined(net):
    lost = net.start("pay")
    net.ask("anvil_dropTransaction", "0x" + lost.tx_hash.hex())
    net.sender = net.restarted()

    assert net.start("pay") == lost
    net.mine(2)

    assert net.sender.outcome("pay").tx_hash == lost.tx_hash
    assert net.effect("pay") == 1


def test_start__reverts_in_the_simulation__is_refused_and_nothing_is_recorded(net):
    with pytest.raises(ChainError):
        net.sender.start(Call("revert", "", "0x5f5ffd"), "revert")  # init code that reverts

    assert net.log.recorded == []


def plain(nonce: int, fee: int) -> dict[str, Any]:
    to = "0x" + "77" * 20
    fees = {"type": 2, "maxFeePerGas": fee, "maxPriorityFeePerGas": fee}
    return {"to": to, "value": 0, "data": "0x", "gas": 21_000, "chainId": CHAIN_ID, "nonce": nonce, **fees}


def test_unpack__what_anvil_accepted__is_what_was_signed(net):
    attempt = net.start("pay")
    known = net.w3.eth.get_transaction(attempt.tx_hash)

    unpacked = unpack(attempt.raw)

    assert (unpacked["to"], unpacked["value"], unpacked["nonce"]) == (known["to"], known["value"], known["nonce"])
    assert unpacked["maxFeePerGas"] == known["maxFeePerGas"]
