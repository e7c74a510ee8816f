"""Every purpose happens once, whatever the network and the machine do in between.

A chain small enough to be wrong in every way: it loses requests and answers, drops, delays and reorders
transactions, reorganises, lets another program take nonces, and the sender's process dies at any call.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from eth_account import Account
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from web3.exceptions import BlockNotFound, TransactionNotFound, Web3RPCError

from oracle.chain.contracts import Call
from oracle.chain.sender import Attempt, FeePolicy, MemoryAttemptLog, MinedButReverted, Sender, unpack
from oracle.jobs.errors import ChainError

ACCOUNT = Account.from_key(b"\x42" * 32)
TARGET = "0x" + "11" * 20
PURPOSES = {f"{i}:deliver": f"0x{i:02x}" for i in range(1, 5)}
FINAL_AFTER = 4
GWEI = 10**9
POLICY = FeePolicy(final_after=FINAL_AFTER, max_fee_wei=400 * GWEI, max_in_flight=3, resend_seconds=10)
PATIENCE = 400  # ticks of a healthy chain


class Crash(BaseException):
    """The process is gone."""


@dataclass
class Mined:
    raw: bytes | None  # None: another program's
    succeeded: bool = True


@dataclass
class Chain:
    """Blocks, a pool with the usual rule for replacements, and faults that wait for their occasion."""

    blocks: list[list[Mined]] = field(default_factory=lambda: [[]])
    base_fee: int = GWEI
    pool: dict[int, bytes] = field(default_factory=dict)
    foreign: dict[int, int] = field(default_factory=dict)  # nonce → mines until another program's is taken
    held: list[tuple[int, bytes]] = field(default_factory=list)
    broadcast_faults: list[str] = field(default_factory=list)
    reverts: int = 0
    outage: int = 0
    crash_in: int | None = None
    forks: int = 0
    longest: int = 0  # in blocks, before the last fork: what was final then stays
    seconds: float = 0

    def count(self, height: int | None = None) -> int:
        return sum(len(block) for block in self.blocks[: None if height is None else height + 1])

    def pending(self) -> int:
        nonce = self.count()
        while nonce in self.pool or nonce in self.foreign:
            nonce += 1
        return nonce

    def arrive(self, raw: bytes) -> None:
        """Take a transaction into the pool, or refuse it the way nodes do."""
        new = unpack(raw)
        nonce = new["nonce"]
        if nonce < self.count():
            raise Web3RPCError("nonce too low")
        if self.pool.get(nonce) == raw:
            raise Web3RPCError("already known")
        if nonce in self.foreign:
            raise Web3RPCError("replacement transaction underpriced")
        old = unpack(self.pool[nonce]) if nonce in self.pool else None
        if old and any(new[f] * 1000 < old[f] * 1125 for f in ("maxFeePerGas", "maxPriorityFeePerGas")):
            raise Web3RPCError("replacement transaction underpriced")
        self.pool[nonce] = raw

    def mine(self) -> None:
        block: list[Mined] = []
        self.blocks.append(block)
        while True:
            nonce = self.count()
            raw = self.pool.get(nonce)
            if raw is not None and unpack(raw)["maxFeePerGas"] >= self.base_fee:
                block.append(Mined(self.pool.pop(nonce), succeeded=not self.reverts))
                self.reverts = max(self.reverts - 1, 0)
            elif self.foreign.get(nonce, 1) == 0:
                self.foreign.pop(nonce)
                block.append(Mined(None))
            else:
                break
        self.foreign = {nonce: max(left - 1, 0) for nonce, left in self.foreign.items()}
        arrived = [raw for left, raw in self.held if left == 0]
        self.held = [(left - 1, raw) for left, raw in self.held if left > 0]
        for raw in arrived:
            self.arrive_quietly(raw)

    def arrive_quietly(self, raw: bytes) -> None:
        with contextlib.suppress(Web3RPCError):
            self.arrive(raw)

    def steal(self) -> None:
        self.pool.pop(self.count(), None)
        self.foreign.pop(self.count(), None)
        self.blocks.append([Mined(None)])

    def reorganise(self, depth: int, keep: bool) -> None:
        self.forks, self.longest = self.forks + 1, max(self.longest, len(self.blocks))
        depth = max(min(depth, len(self.blocks) - max(self.longest - FINAL_AFTER, 1)), 0)
        gone = [mined for _ in range(depth) for mined in reversed(self.blocks.pop())]
        for mined in reversed(gone):
            if keep and mined.raw is not None:
                self.arrive_quietly(mined.raw)

    def effects(self) -> Counter[str]:
        """How often each call had its effect, by its data."""
        mined = [m for block in self.blocks for m in block if m.raw is not None and m.succeeded]
        sent = [unpack(m.raw) for m in mined]
        return Counter(t["data"] for t in sent if t["to"] == TARGET)


class Eth:
    """The part of ``w3.eth`` a sender uses, on a :class:`Chain`."""

    chain_id = 31337

    def __init__(self, chain: Chain):
        self._chain = chain
        self.requests = 0

    def _serve(self) -> None:
        self.requests += 1
        step(self._chain)
        if self._chain.outage:
            self._chain.outage -= 1
            raise ConnectionError("unreachable")

    def get_balance(self, address: str) -> int:
        self._serve()
        return 10**24

    def estimate_gas(self, transaction: dict[str, Any]) -> int:
        self._serve()
        return 50_000

    def get_block(self, which: str) -> dict[str, Any]:
        self._serve()
        number = len(self._chain.blocks) - 1
        identity = (number, self._chain.forks, self._chain.count())
        return {"number": number, "hash": repr(identity).encode(), "baseFeePerGas": self._chain.base_fee}

    def fee_history(self, count: int, newest: str, percentiles: list[float]) -> dict[str, Any]:
        self._serve()
        return {"baseFeePerGas": [self._chain.base_fee] * 2, "gasUsedRatio": [0.5], "reward": [[2 * GWEI]]}

    def get_transaction_count(self, address: str, block: int | str) -> int:
        self._serve()
        if block == "pending":
            return self._chain.pending()
        if isinstance(block, int) and block >= len(self._chain.blocks):
            raise BlockNotFound("unknown")
        return self._chain.count(None if block == "latest" else block)

    def send_raw_transaction(self, raw: bytes) -> None:
        self._serve()
        fault = self._chain.broadcast_faults.pop(0) if self._chain.broadcast_faults else ""
        if fault == "request lost":
            raise ConnectionError("reset")
        if fault.startswith("held"):
            self._chain.held.append((int(fault[-1]), raw))
        elif fault != "swallowed":
            self._chain.arrive(raw)
        if fault == "answer lost":
            raise TimeoutError("no answer")
        step(self._chain)

    def get_transaction(self, tx_hash: bytes) -> None:
        self._serve()
        if not any(keccak(raw) == tx_hash for raw in self._chain.pool.values()):
            raise TransactionNotFound("unknown")

    def get_transaction_receipt(self, tx_hash: bytes) -> dict[str, Any]:
        self._serve()
        for number, block in enumerate(self._chain.blocks):
            for mined in block:
                if mined.raw is not None and keccak(mined.raw) == tx_hash:
                    status = int(mined.succeeded)
                    place = {"transactionHash": tx_hash, "blockNumber": number}
                    return {**place, "gasUsed": 50_000, "effectiveGasPrice": 1, "logs": [], "status": status}
        raise TransactionNotFound("unknown")


class Log(MemoryAttemptLog):
    """Survives its process, which may die before and after each write."""

    def __init__(self, chain: Chain):
        super().__init__()
        self.chain = chain
        self.every: list[Attempt] = []

    def record(self, attempt: Attempt) -> None:
        step(self.chain)
        super().record(attempt)
        self.every.append(attempt)
        step(self.chain)

    def forget(self, attempt: Attempt) -> None:
        step(self.chain)
        super().forget(attempt)
        step(self.chain)

    def close_nonce(self, sender: str, nonce: int) -> None:
        step(self.chain)
        super().close_nonce(sender, nonce)
        step(self.chain)


def step(chain: Chain) -> None:
    """A point at which the process may die."""
    if chain.crash_in is not None:
        chain.crash_in -= 1
        if chain.crash_in < 0:
            chain.crash_in = None
            raise Crash


def keccak(raw: bytes) -> bytes:
    from eth_utils import keccak

    return keccak(raw)


class Node:
    """What a node's pipeline does with its sender; restarted when it died."""

    def __init__(self) -> None:
        self.chain = Chain()
        self.log = Log(self.chain)
        self.restart()

    def restart(self) -> None:
        w3 = SimpleNamespace(eth=Eth(self.chain), provider=None)
        clock = lambda: self.chain.seconds  # noqa: E731
        self.sender = Sender(w3, ACCOUNT, self.log, policy=POLICY, clock=clock)

    def tick(self) -> bool:
        """One round; whether every purpose has been achieved and nothing is open."""
        self.chain.seconds += 1
        try:
            self._try(self.sender.tend)
            done = [self._try(self._achieve, purpose) for purpose in PURPOSES]
        except Crash:
            self.restart()
            return False
        finally:
            assert max(self.chain.effects().values(), default=0) <= 1
        return all(done) and not self.log.open_attempts(ACCOUNT.address)

    def _achieve(self, purpose: str) -> bool:
        try:
            if self.sender.outcome(purpose) is not None:
                return True
        except MinedButReverted:
            pass
        self.sender.start(Call("deliver", TARGET, PURPOSES[purpose]), purpose)
        return False

    @staticmethod
    def _try(what: Any, *args: Any) -> Any:
        try:
            return what(*args)
        except ChainError:
            return None


def happen(chain: Chain, event: str, size: int) -> None:
    match event:
        case "mine":
            for _ in range(size + 1):
                chain.mine()
        case "reorganise":
            chain.reorganise(size, keep=True)
        case "reorganise and drop":
            chain.reorganise(size, keep=False)
        case "evict":
            for nonce in sorted(chain.pool)[size : size + 1]:
                del chain.pool[nonce]
        case "steal":
            chain.steal()
        case "another's pending":
            chain.foreign[chain.pending()] = size
        case "fees":
            chain.base_fee = GWEI * 7**size  # 16 807 gwei at most, above every cap
        case "request lost" | "answer lost" | "swallowed":
            chain.broadcast_faults += [event] * (size + 1)
        case "held":
            chain.broadcast_faults += [f"held {size}"]
        case "revert":
            chain.reverts += 1
        case "outage":
            chain.outage = size * 3
        case "idle":
            chain.seconds += 12 * size
        case "crash":
            chain.crash_in = size
        case "late crash":
            chain.crash_in = 5 + 3 * size


EVENTS = (
    "mine",
    "reorganise",
    "reorganise and drop",
    "evict",
    "steal",
    "another's pending",
    "fees",
    "request lost",
    "answer lost",
    "swallowed",
    "held",
    "revert",
    "outage",
    "idle",
    "crash",
    "late crash",
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(("", "mine", *EVENTS)), st.integers(0, 5)), max_size=50))
@example([("swallowed", 5), ("", 0), ("mine", 5)])  # a gap below transactions that did arrive
@example([("", 0), ("steal", 0), ("mine", 0), ("reorganise", 4), ("mine", 5)])  # the thief's is reorganised away
@example([("fees", 2), ("", 0), ("fees", 4), ("mine", 5), ("crash", 3), ("fees", 0)])
def test_schedule__anything_happens__every_purpose_once_and_no_gap(events):
    node = Node()

    for event, size in events:
        happen(node.chain, event, size)
        node.tick()
    chain = node.chain
    chain.base_fee = min(chain.base_fee, 343 * GWEI)  # below the caps, and above what most were signed for
    chain.reverts, chain.outage, chain.crash_in, chain.broadcast_faults = 0, 0, None, []
    for _ in range(PATIENCE):
        chain.mine()
        if node.tick():
            break
    else:
        pytest.fail(f"not over: {node.log.open_attempts(ACCOUNT.address)}")

    assert chain.effects() == dict.fromkeys(PURPOSES.values(), 1)
    assert node.log.next_nonce(ACCOUNT.address) <= chain.count()
    for nonce in range(chain.count()):
        attempts = [attempt for attempt in node.log.recorded if attempt.nonce == nonce]
        for old, new in zip(attempts, attempts[1:], strict=False):
            assert new.max_fee * 1000 >= old.max_fee * 1125
            assert new.max_tip * 1000 >= old.max_tip * 1125
    assert all(a.max_fee <= POLICY.max_fee_wei and a.max_tip <= POLICY.max_tip_wei for a in node.log.every)


@pytest.mark.parametrize("event", EVENTS)
def test_happen__every_event__is_known(event):
    untouched, touched = Node().chain, Node().chain
    for chain in (untouched, touched):
        chain.arrive(signed(0))
        chain.mine()
        chain.arrive(signed(1))

    happen(touched, event, 0 if event in ("evict", "crash") else 1)

    assert touched != untouched


def signed(nonce: int) -> bytes:
    fees = {"type": 2, "maxFeePerGas": 2 * GWEI, "maxPriorityFeePerGas": GWEI}
    plain = {"to": TARGET, "value": 0, "data": "0x01", "gas": 50_000, "chainId": 31337, "nonce": nonce}
    return bytes(ACCOUNT.sign_transaction({**plain, **fees}).raw_transaction)


def test_tend__nothing_open__asks_nothing():
    node = Node()

    node.sender.tend()

    assert node.sender.w3.eth.requests == 0


def test_tend__everything_final__asks_nothing_any_more():
    node = Node()
    while not node.tick():
        node.chain.mine()
    before = node.sender.w3.eth.requests

    node.sender.tend()

    assert node.sender.w3.eth.requests == before
