"""Every purpose happens once, whatever the network and the machine do in between.

A chain small enough to be wrong in every way: it loses requests and answers, drops, delays and reorders
transactions, reorganises, lets another program take nonces, and the sender's process dies at any call.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from eth_account import Account
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from web3.exceptions import BlockNotFound, TransactionIndexingInProgress, TransactionNotFound, Web3RPCError

from oracle.chain.contracts import Call
from oracle.chain.sender import (
    DISTRUST_SECONDS,
    MAX_PENDING,
    PLAIN_TRANSFER_GAS,
    Attempt,
    FeePolicy,
    MemoryAttemptLog,
    MinedButReverted,
    Overtaken,
    Sender,
    Tended,
    TooManyInFlight,
    unpack,
)
from oracle.jobs.errors import ChainError, ChainUnavailable

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
        with suppress(Web3RPCError):
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

    def __init__(self, policy: FeePolicy = POLICY, account: Any = ACCOUNT) -> None:
        self.chain = Chain()
        self.log = Log(self.chain)
        self.policy, self.account = policy, account
        self.restart()

    def restart(self) -> None:
        self.eth = Eth(self.chain)
        w3 = SimpleNamespace(eth=self.eth, provider=None)
        clock = lambda: self.chain.seconds  # noqa: E731
        self.sender = Sender(w3, self.account, self.log, policy=self.policy, clock=clock, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        """While somebody waits, a block comes with every look."""
        self.chain.seconds += 1
        self.chain.mine()

    def start(self, purpose: str = "1:deliver") -> Attempt:
        return self.sender.start(Call("deliver", TARGET, PURPOSES[purpose]), purpose)

    def blocks(self, count: int, mine: bool = True) -> Tended:
        """Let ``count`` blocks pass, tending at each; without ``mine`` they are full of others' transactions."""
        done = Tended()
        for _ in range(count):
            if mine:
                self.chain.mine()
            else:
                self.chain.blocks.append([])
            self.chain.seconds += 2
            done = self.sender.tend()
        return done

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

    assert node.eth.requests == 0


def test_tend__everything_final__asks_nothing_any_more():
    node = Node()
    while not node.tick():
        node.chain.mine()
    before = node.eth.requests

    assert node.sender.tend() == Tended()
    assert node.eth.requests == before


def test_tend__sixteen_in_flight__costs_few_requests():
    node = Node(replace(POLICY, max_in_flight=16))
    for i in range(16):
        node.sender.start(Call("deliver", TARGET, "0x09"), f"{i}")
    before = node.eth.requests

    assert node.blocks(1, mine=False) == Tended(in_flight=16)
    assert node.eth.requests - before == 2
    assert node.sender.tend() == Tended(in_flight=16)
    assert node.eth.requests - before == 3  # the same head: nothing can have changed
    assert node.blocks(1).in_flight == 0
    assert node.blocks(FINAL_AFTER).closed == 16
    assert node.eth.requests - before <= 3 + 3 * (1 + FINAL_AFTER)


def test_tend__not_mined__is_replaced_after_some_blocks_and_not_more_often():
    node = Node()
    first = node.start()

    assert [node.blocks(1, mine=False).bumped for _ in range(8)] == [0, 0, 0, 1, 0, 0, 1, 0]

    attempts = node.log.open_attempts(ACCOUNT.address)
    assert attempts[0] == first
    assert {(a.purpose, a.nonce) for a in attempts} == {("1:deliver", 0)}
    assert [unpack(a.raw) | {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0} for a in attempts[1:]] == [
        unpack(first.raw) | {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0}
    ] * 2
    for old, new in zip(attempts, attempts[1:], strict=False):
        assert new.max_fee * 1000 >= old.max_fee * 1125 and new.max_tip * 1000 >= old.max_tip * 1125
    assert node.chain.pool == {0: attempts[-1].raw}
    assert node.blocks(1).in_flight == 0
    assert node.sender.outcome("1:deliver").tx_hash == attempts[-1].tx_hash
    assert node.sender.wait(first).tx_hash == attempts[-1].tx_hash


def test_tend__first_version_is_mined_after_the_replacement__is_the_outcome():
    node = Node()
    first = node.start()
    node.chain.broadcast_faults = ["swallowed"]
    assert node.blocks(4, mine=False).bumped == 1

    node.blocks(1)

    assert node.sender.outcome("1:deliver").tx_hash == first.tx_hash


@pytest.mark.parametrize(
    ("bump_after_blocks", "resent"),
    [(3, [0, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0]), (100, [0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0])],
)
def test_tend__at_the_cap__sends_the_same_again_after_the_blocks_or_the_time(bump_after_blocks, resent):
    """A node drops what is too cheap for its next blocks."""
    cap = 4 * GWEI + 1  # what a new one costs, and no eighth more
    node = Node(replace(POLICY, max_fee_wei=cap, bump_after_blocks=bump_after_blocks))
    first = node.start()
    node.chain.pool.clear()

    done = [node.blocks(1, mine=False) for _ in range(11)]  # two seconds each

    assert [tended.resent for tended in done] == resent
    assert node.log.recorded == [first]
    assert node.chain.pool == {0: first.raw}


def test_tend__network_wants_more_for_a_replacement__offers_more_the_next_time():
    node = Node()
    first = node.start()
    greedy = node.chain.arrive

    def arrive(raw: bytes) -> None:
        if unpack(raw)["maxFeePerGas"] < first.max_fee * 5 // 4:
            raise Web3RPCError("replacement transaction underpriced")
        greedy(raw)

    node.chain.arrive = arrive
    node.blocks(4, mine=False)
    assert node.chain.pool == {0: first.raw}

    node.blocks(3, mine=False)

    assert unpack(node.chain.pool[0])["maxFeePerGas"] >= first.max_fee * 5 // 4


def test_tend__reorganisation_takes_a_transaction_back__it_is_sent_again_unchanged():
    node = Node()
    attempt = node.start()
    assert node.blocks(1).in_flight == 0

    node.chain.reorganise(1, keep=False)
    assert node.chain.pool == {}

    assert node.blocks(1, mine=False) == Tended(resent=1, in_flight=1)
    assert node.chain.pool == {0: attempt.raw}


def test_tend__final__closes_the_nonce_and_not_before():
    node = Node()
    node.start()

    assert [node.blocks(1).closed for _ in range(FINAL_AFTER + 1)] == [0] * FINAL_AFTER + [1]
    assert node.log.open_attempts(ACCOUNT.address) == []


@pytest.mark.parametrize("knows_tag", [True, False])
def test_tend__finalized_tag_or_none__closes_what_is_final(knows_tag):
    node = Node(replace(POLICY, final_after=None))
    node.start()
    count = node.eth.get_transaction_count

    def tagged(address: str, block: int | str) -> int:
        if block == "finalized" and not knows_tag:
            raise Web3RPCError("unknown block tag")
        return count(address, len(node.chain.blocks) - 3 if block == "finalized" else block)

    node.eth.get_transaction_count = tagged

    assert [node.blocks(1).closed for _ in range(66)].index(1) == (2 if knows_tag else 64)


def test_tend__endpoint_without_old_state__says_so_after_its_other_work():
    node = Node()
    node.start("1:deliver")
    node.blocks(FINAL_AFTER)
    node.start("2:deliver")
    node.chain.pool.clear()
    node.chain.seconds += POLICY.resend_seconds
    count = node.eth.get_transaction_count

    def pruned(address: str, block: int | str) -> int:
        if isinstance(block, int):
            raise Web3RPCError("missing trie node")
        return count(address, block)

    node.eth.get_transaction_count = pruned

    with pytest.raises(ChainError, match="does not know what was 4 blocks ago .missing trie node"):
        node.blocks(1, mine=False)
    assert list(node.chain.pool) == [1]


def test_tend__hole_below_waiting_transactions__is_filled_at_no_more_than_a_transfer():
    node = Node()
    node.chain.foreign = {0: 10**9, 1: 10**9}  # another program's, which it will drop
    attempt = node.start()
    assert attempt.nonce == 2
    node.chain.foreign = {}

    assert [node.blocks(1).filled for _ in range(5)] == [0, 0, 0, 2, 0]

    fillers = [unpack(a.raw) for a in node.log.recorded if a.purpose.startswith("fill:")]
    assert [(t["nonce"], t["to"], t["value"], t["gas"]) for t in fillers] == [
        (nonce, ACCOUNT.address, 0, PLAIN_TRANSFER_GAS) for nonce in (0, 1)
    ]
    assert node.sender.outcome("1:deliver") is not None


def test_tend__cap_below_the_base_fee__fills_no_hole_and_does_not_fail():
    node = Node()
    node.chain.foreign = {0: 10**9}
    node.start()
    node.chain.foreign, node.chain.base_fee = {}, 10**6 * GWEI

    assert node.blocks(6).filled == 0


def test_tend__signer_fails__the_others_are_looked_after_first():
    refusing = SimpleNamespace(address=ACCOUNT.address, sign_transaction=ACCOUNT.sign_transaction)
    node = Node(account=refusing)
    node.start("1:deliver")
    node.chain.pool.clear()
    node.blocks(3, mine=False)
    node.chain.seconds += POLICY.resend_seconds

    def refuse(_: Any) -> None:
        raise ChainError("the signer refused to sign")

    refusing.sign_transaction = refuse

    with pytest.raises(ChainError, match="refused to sign"):
        node.blocks(1, mine=False)
    assert list(node.chain.pool) == [0]


def test_tend__fresh_process__sends_what_was_recorded_and_never_sent():
    node = Node()
    for calls in range(20):  # dies one call later each time, until it has recorded something
        node.chain.crash_in = calls
        with pytest.raises(Crash):
            node.start()
        node.restart()
        if node.log.recorded:
            break
    (attempt,) = node.log.recorded
    assert node.chain.pool == {}

    assert node.sender.tend().resent == 1
    assert node.chain.pool == {0: attempt.raw}
    assert node.start() == attempt


def test_start__purpose_in_flight_or_done__returns_it_and_asks_nothing_about_it():
    node = Node()
    attempt = node.start()
    before = node.eth.requests
    assert node.start() == attempt
    assert node.eth.requests == before
    node.blocks(1)

    assert node.start() == attempt
    assert node.sender.outcome("1:deliver").tx_hash == attempt.tx_hash
    assert node.log.recorded == [attempt]


def test_start__no_purpose__is_another_transaction_each_time():
    node = Node()

    first, second = (node.sender.start(Call("fund", TARGET, "0x")) for _ in range(2))

    assert first.nonce != second.nonce
    assert first.purpose != second.purpose


def test_start__many_threads_one_purpose__signs_once():
    node = Node()

    with ThreadPoolExecutor(8) as pool:
        attempts = set(pool.map(lambda _: node.start(), range(32)))

    assert len(attempts) == 1
    assert len(node.log.recorded) == 1


def test_start__nonce_was_stolen__waits_until_that_is_final_then_takes_a_fresh_one():
    node = Node()
    stolen = node.start()
    node.chain.steal()
    node.blocks(1)
    assert node.sender.overtaken(stolen)
    assert node.sender.outcome("1:deliver") is None

    with pytest.raises(ChainUnavailable, match="nonce 0 .1:deliver. was used in vain, which is not final"):
        node.start()
    node.blocks(FINAL_AFTER)
    again = node.start()

    assert again.nonce == 1
    node.blocks(1)
    assert node.sender.outcome("1:deliver").tx_hash == again.tx_hash
    assert not node.sender.overtaken(again)


def test_start__nonce_was_stolen_but_the_job_moved_on__the_simulation_says_so():
    node = Node()
    node.start()
    node.chain.steal()
    node.blocks(FINAL_AFTER + 1)

    def refuse(_: Any) -> None:
        raise Web3RPCError("execution reverted: too late")

    node.eth.estimate_gas = node.eth.call = refuse

    with pytest.raises(ChainError, match="too late"):
        node.start()
    assert len(node.log.recorded) == 1


def test_start__key_used_elsewhere_meanwhile__notices_after_a_pause():
    node = Node()
    node.start("1:deliver")
    node.blocks(1)
    node.chain.steal()
    node.chain.seconds += DISTRUST_SECONDS

    assert node.start("2:deliver").nonce == 2


def test_start__key_used_elsewhere_just_now__is_overtaken_and_sent_again():
    node = Node()
    node.start("1:deliver")
    node.blocks(1)
    node.chain.steal()

    assert node.start("2:deliver").nonce == 1
    assert node.sender.send(Call("deliver", TARGET, "0x02"), "2:deliver")
    assert node.chain.effects() == {"0x01": 1, "0x02": 1}


def test_start__steady_use__asks_for_the_nonce_once():
    node = Node(replace(POLICY, max_in_flight=16))
    node.start("1:deliver")
    asked = node.eth.requests

    node.start("2:deliver")

    assert node.eth.requests - asked == 2  # estimate and broadcast


def test_start__reverted__may_be_started_again_once_that_is_final():
    node = Node()
    node.chain.reverts = 1
    first = node.start()
    node.blocks(1)
    for look in (lambda: node.sender.outcome("1:deliver"), lambda: node.sender.wait(first)):
        with pytest.raises(MinedButReverted, match="was mined but reverted"):
            look()

    with pytest.raises(ChainUnavailable, match="not final yet"):
        node.start()
    node.blocks(FINAL_AFTER)
    second = node.start()
    node.blocks(1)

    assert second.nonce == 1
    assert node.sender.outcome("1:deliver").tx_hash == second.tx_hash


def test_start__too_many_in_flight__is_held_back_until_one_is_mined():
    node = Node()
    for purpose in ("1:deliver", "2:deliver", "3:deliver"):
        node.start(purpose)

    with pytest.raises(TooManyInFlight, match="3 transactions are not mined yet"):
        node.start("4:deliver")
    assert len(node.log.recorded) == 3
    assert node.start("1:deliver").nonce == 0  # what is in flight already is not held back
    assert node.sender.send(Call("deliver", TARGET, "0x04"), "4:deliver")


def test_start__cap_below_the_base_fee__waits_and_signs_nothing():
    node = Node()
    node.chain.base_fee = POLICY.max_fee_wei + 1

    with pytest.raises(ChainUnavailable, match="above the cap of 400000000000 wei"):
        node.start()

    assert node.log.recorded == []


@pytest.mark.parametrize("fault", ["answer lost", "request lost"])
def test_start__no_answer_to_the_broadcast__keeps_the_attempt_and_sends_the_same_again(fault):
    node = Node()
    node.chain.broadcast_faults = [fault]

    with pytest.raises(ChainUnavailable):
        node.start()
    (attempt,) = node.log.recorded
    assert node.start() == attempt
    assert node.sender.tend().resent == 1

    assert node.chain.pool == {0: attempt.raw}


def test_start__endpoint_claims_absurdly_many_transactions__is_refused_and_poisons_nothing():
    node = Node()
    node.chain.pending = lambda: MAX_PENDING + 1

    with pytest.raises(ChainError, match="claims 10001 transactions"):
        node.start()

    assert node.log.next_nonce(ACCOUNT.address) == 0


def test_start__chain_without_base_fees__sends_and_replaces_legacy_transactions():
    node = Node()
    get_block = node.eth.get_block
    node.eth.get_block = lambda which: {k: v for k, v in get_block(which).items() if k != "baseFeePerGas"}
    node.eth.gas_price = 8 * GWEI
    sent: list[bytes] = []
    node.eth.send_raw_transaction = sent.append

    first = node.start()
    node.blocks(4, mine=False)

    assert [unpack(raw)["gasPrice"] for raw in sent] == [8 * GWEI, 9 * GWEI]
    assert all("maxFeePerGas" not in unpack(raw) for raw in sent)
    assert (first.max_fee, first.max_tip) == (8 * GWEI, 8 * GWEI)


def test_cancel__in_flight__is_replaced_by_an_empty_transfer_with_higher_fees():
    node = Node()
    attempt = node.start()

    cancelled = node.sender.cancel("1:deliver")

    assert node.sender.cancel("1:deliver") == cancelled
    plain = unpack(node.chain.pool[0])
    assert (plain["to"], plain["value"], plain["data"], plain["gas"]) == (ACCOUNT.address, 0, "0x", PLAIN_TRANSFER_GAS)
    assert cancelled.nonce == attempt.nonce
    assert cancelled.max_fee * 1000 >= attempt.max_fee * 1125
    node.blocks(1)
    assert node.sender.outcome("1:deliver") is None
    assert node.sender.outcome(cancelled.purpose).tx_hash == cancelled.tx_hash
    assert node.chain.effects() == {}
    with pytest.raises(ChainError, match="nothing is in flight"):
        node.sender.cancel("1:deliver")


def test_cancel__too_late__the_outcome_is_the_transaction():
    node = Node()
    attempt = node.start()
    node.chain.broadcast_faults = ["swallowed"]
    cancelled = node.sender.cancel("1:deliver")
    node.blocks(1)

    assert node.sender.outcome("1:deliver").tx_hash == attempt.tx_hash
    assert node.sender.outcome(cancelled.purpose) is None


def test_cancel__not_mined__is_itself_replaced():
    node = Node()
    node.start()
    cancelled = node.sender.cancel("1:deliver")

    node.blocks(4, mine=False)

    newest = node.log.recorded[-1]
    assert newest.purpose == cancelled.purpose and newest != cancelled
    assert unpack(newest.raw)["data"] == "0x"


def test_cancel__no_room_below_the_caps_or_unknown__is_refused():
    node = Node(replace(POLICY, max_fee_wei=4 * GWEI))
    node.start()

    with pytest.raises(ChainError, match="leave no room"):
        node.sender.cancel("1:deliver")
    with pytest.raises(ChainError, match="nothing is in flight for 'x'"):
        node.sender.cancel("x")


def test_wait__overtaken_for_good__says_so():
    node = Node()
    attempt = node.start()
    node.chain.steal()

    with pytest.raises(Overtaken, match="another transaction took nonce 0 .1:deliver."):
        node.sender.wait(attempt)


def test_wait__attempt_that_is_in_no_log__is_found_when_it_is_mined():
    node = Node()
    attempt = node.start()
    node.log.recorded.clear()
    node.restart()

    assert node.sender.wait(attempt).tx_hash == attempt.tx_hash


def test_wait__stuck_at_a_low_fee__replaces_it_meanwhile():
    node = Node()
    node.start()
    node.chain.base_fee = 100 * GWEI

    receipt = node.sender.send(Call("deliver", TARGET, "0x01"), "1:deliver")

    assert receipt.tx_hash == node.log.recorded[-1].tx_hash
    assert len(node.log.recorded) == 2


def test_outcome__pending__asks_at_most_now_and_then():
    node = Node()
    node.start()
    node.sender.outcome("1:deliver")
    before = node.eth.requests

    assert [node.sender.outcome("1:deliver") for _ in range(50)] == [None] * 50
    assert node.eth.requests == before
    assert node.sender.outcome("unheard of") is None


def test_low_balance__threshold__is_compared():
    node = Node()

    assert not node.sender.low_balance(10**24)
    assert node.sender.low_balance(10**24 + 1)


WRONG = [None, "0x1", -1, 1.5, [], {}, b"", True]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("method", ["get_balance", "estimate_gas", "get_transaction_count", "chain_id", "get_block"])
def test_start__answer_of_another_type__is_a_chain_error_and_records_nothing(method, wrong):
    node = Node()
    setattr(node.eth, method, wrong if method == "chain_id" else lambda *_: wrong)
    node.eth.call = lambda _: b""

    with pytest.raises(ChainError):
        node.start()

    assert node.log.recorded == []


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("field", ["status", "gasUsed", "blockNumber", "effectiveGasPrice", "logs", "transactionHash"])
def test_receipt__answer_of_another_type__is_a_chain_error(field, wrong):
    node = Node()
    attempt = node.start()
    node.blocks(1)
    honest = node.eth.get_transaction_receipt
    node.eth.get_transaction_receipt = lambda tx_hash: {**honest(tx_hash), field: wrong}
    if (field, wrong) in (("blockNumber", None), ("logs", [])):  # a pending transaction's, one without logs
        node.sender.receipt(attempt)
        return

    with pytest.raises(ChainError):
        node.sender.receipt(attempt)


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("field", ["number", "hash"])
def test_tend__head_of_another_type__is_a_chain_error_or_harmless(field, wrong):
    node = Node()
    attempt = node.start()
    node.blocks(1)
    honest = node.eth.get_block
    node.eth.get_block = lambda which: {**honest(which), field: wrong}

    with suppress(ChainError):
        node.sender.tend()

    assert node.log.recorded == [attempt]


def test_start__endpoint_indexes_its_transactions__is_unavailable_rather_than_sent_twice():
    node = Node()
    node.start()
    node.blocks(FINAL_AFTER + 1)

    def indexing(_: Any) -> None:
        raise TransactionIndexingInProgress("later")

    node.eth.get_transaction_receipt = indexing

    with pytest.raises(ChainUnavailable, match="indexing"):
        node.start()
    assert len(node.log.recorded) == 1


def test_tend__replacement_cannot_be_paid_and_the_first_was_dropped__sends_the_first():
    node = Node()
    first = node.start()
    assert node.blocks(4, mine=False).bumped == 1
    node.chain.pool.clear()
    take = node.chain.arrive

    def arrive(raw: bytes) -> None:
        if raw != first.raw:
            raise Web3RPCError("insufficient funds for gas * price + value")
        take(raw)

    node.chain.arrive = arrive
    node.chain.seconds += POLICY.resend_seconds

    assert node.blocks(1, mine=False).resent == 1
    assert node.chain.pool == {0: first.raw}


def test_start__fresh_process_before_it_tends__sends_what_the_network_lost_first():
    node = Node()
    first = node.start("1:deliver")
    node.chain.pool.clear()
    node.restart()

    second = node.start("2:deliver")

    assert node.chain.pool == {0: first.raw, 1: second.raw}


def test_start__thief_is_reorganised_away_during_the_simulation__nothing_else_is_signed():
    node = Node()
    attempt = node.start()
    node.chain.steal()
    node.blocks(1)

    def estimate(_: Any) -> int:
        node.chain.reorganise(2, keep=False)
        node.chain.arrive(attempt.raw)
        for _ in range(FINAL_AFTER + 2):
            node.chain.mine()
        return 50_000

    node.eth.estimate_gas = estimate

    assert node.start() == attempt
    assert node.log.recorded == [attempt]
