"""Transactions that are dropped, overtaken, too cheap, or hidden from the node."""

from __future__ import annotations

import random
import time
from collections import defaultdict

import pytest
from harness.world import BOND, FAST, Point

from oracle.chain.sender import Sender
from oracle.jobs.states import State

GWEI = 10**9
PENDING = ("accept", "deliver")


def stop_mining_at(world, action: str) -> None:
    """From the moment the node sends ``action``, nothing is mined by itself."""

    def on_send(when, sent):
        if when == "before" and sent.action.startswith(action):
            world.anvil.automine(False)
            world.proxy.on_send = lambda when, sent: None

    world.proxy.on_send = on_send


def waits(world) -> bool:
    """Whether anvil has taken a transaction of the node: one that it refuses is signed anew, not replaced."""
    address = world.keys.accounts["oracle"].address
    return world.anvil.nonce(address, "pending") > world.anvil.nonce(address)


def sends(world, action: str) -> list:
    """What the node broadcast for ``action``, different ones only, in order."""
    found = {sent.hash: sent for sent in world.proxy.sent if sent.action.startswith(action)}
    return list(found.values())


@pytest.mark.parametrize("action", PENDING)
def test_transaction__dropped_from_the_pool__is_sent_again(world, action):
    world.submit()
    stop_mining_at(world, action)
    world.start()
    world.until(lambda: sends(world, action), f"the {action}", mine=False)
    first = sends(world, action)[0]
    world.until(lambda: world.anvil.nonce(first.sender, "pending") > first.nonce, "it to be in the pool", mine=False)

    world.anvil.rpc("anvil_dropTransaction", first.hash)
    world.until(lambda: world.anvil.nonce(first.sender) > first.nonce, "its nonce to be used again")

    world.verdict()


def test_transaction__pool_emptied_again_and_again__gets_through(world):
    """As by a node that restarts with an empty pool every few blocks."""
    job = world.submit()
    world.anvil.automine(False)
    world.start()
    for _ in range(4):
        world.until(lambda: world.proxy.sent, "something to be sent", mine=False)
        for sent in list(world.proxy.sent):
            world.anvil.rpc("anvil_dropTransaction", sent.hash)
        world.anvil.mine()

    world.verdict()
    assert world.settled(job)


@pytest.mark.parametrize("action", PENDING)
def test_nonce__stolen_while_ours_is_pending__is_signed_anew(world, action):
    """The operator's key used somewhere else: a transfer with more fee takes the nonce of a pending transaction."""
    world.submit()
    stop_mining_at(world, action)
    world.start()
    world.until(lambda: sends(world, action), f"the {action}", mine=False)
    ours = sends(world, action)[0]

    steal(world, ours.nonce, fee=4 * ours.max_fee)
    world.anvil.mine()
    assert world.anvil.nonce(ours.sender) == ours.nonce + 1
    assert world.anvil.rpc("eth_getTransactionReceipt", ours.hash) is None, "the theft did not work"

    world.verdict()
    assert world.actions()["transfer"] >= 1


def test_nonce__key_used_between_jobs__is_no_obstacle(world):
    first = world.submit()
    world.start()
    world.until(lambda: world.settled(first), "the first job")
    account = world.keys.accounts["oracle"]
    for _ in range(3):
        nonce = world.anvil.nonce(account.address)
        steal(world, nonce, fee=10 * GWEI)
        world.until(lambda nonce=nonce: world.anvil.nonce(account.address) > nonce, "the transfer")
    world.submit()

    world.verdict()
    assert world.actions()["transfer"] == 3


def test_nonce__recorded_and_never_broadcast__leaves_no_gap(world):
    """Killed between recording and broadcasting, of a job that is then withdrawn: the nonce is still used up."""
    job = world.submit()
    world.kill_on_send("accept", "unsent")
    world.start()
    world.killed()
    terms = world.history(job).terms
    Sender(world.chain.w3, world.keys.accounts["requester"]).send(world.chain.escrow.cancel(job, terms))

    other = world.submit()
    world.start()

    world.verdict(reasons={job: State.CANCELLED.label}, reverted=1)
    assert world.settled(other)


def test_fees__base_fee_rises_above_ours__are_raised_by_an_eighth_each_time(world):
    """Blocks come and go without our transaction. Clients want a tenth more on both fields, some of them 12.5 %."""
    job = world.submit()
    stop_mining_at(world, "accept")
    world.start()
    world.until(lambda: sends(world, "accept") and waits(world), "the acceptance", mine=False)

    spike(world, 40 * GWEI)

    replacements = sends(world, "accept")
    assert len(replacements) > 1, "nothing was replaced"
    for before, after in zip(replacements, replacements[1:], strict=False):
        assert after.nonce == before.nonce
        assert after.max_fee * 1000 >= before.max_fee * 1125
        assert after.max_tip * 1000 >= before.max_tip * 1125
    world.verdict()
    assert world.settled(job)


def test_fees__base_fee_above_the_cap__are_waited_for(world):
    job = world.submit()
    stop_mining_at(world, "deliver")
    world.start(max_fee_wei=20 * GWEI, max_tip_wei=GWEI)
    world.until(lambda: sends(world, "deliver") and waits(world), "the delivery", mine=False)

    spike(world, 200 * GWEI, blocks=12)
    assert world.state(job) != State.SETTLED
    assert all(sent.max_fee <= 20 * GWEI for sent in world.proxy.sent)

    spike(world, GWEI)
    world.verdict()


def test_fees__spike_before_anything_is_signed__is_waited_for(world):
    """With a base fee above the cap there is no price at which to send at all."""
    job = world.submit()
    spike(world, 900 * GWEI, blocks=2)
    world.anvil.automine(False)
    world.start()
    spike(world, 900 * GWEI, blocks=8)
    assert all(sent.max_fee <= FAST["max_fee_wei"] for sent in world.proxy.sent)

    spike(world, GWEI)
    world.verdict()
    assert world.settled(job)


def test_balance__too_low_for_gas__waits_for_money(world):
    job = world.submit()
    address = world.keys.accounts["oracle"].address
    world.anvil.rpc("anvil_setBalance", address, hex(10**9))
    world.start()
    world.until(lambda: world.heard_of(1), "the job to be heard of")
    head = world.anvil.head() + 12
    world.until(lambda: world.anvil.head() >= head, "some blocks")
    assert world.state(job) == State.CREATED

    world.anvil.rpc("anvil_setBalance", address, hex(10**18))
    world.verdict()


def test_purposes__killed_and_restarted_over_and_over__never_use_two_nonces(make_world):
    """However often it dies around its broadcasts, each thing is signed for one nonce and mined once."""
    world = make_world(seed=3)
    chance = random.Random(world.seed)
    for _ in range(3):
        world.submit()
    for _ in range(6):
        world.kill_on_send(chance.choice(["accept", "deliver"]), chance.choice(["unsent", "unanswered", "answered"]))
        node = world.start()
        seen = world.anvil.head() + 25
        world.until(lambda node=node, seen=seen: node.code is not None or world.anvil.head() > seen, "a kill")
        node.kill()
    world.restart()

    world.verdict()
    nonces = defaultdict(set)
    for sent in world.proxy.sent:
        nonces[sent.nonce].add(sent.action)
    assert all(len(actions) == 1 for actions in nonces.values()), nonces


def test_batch__one_delivery_comes_too_late__does_not_take_the_others_along(world):
    """The clock passes the deadline of one job while its delivery, perhaps together with others, is on its way."""
    hasty = world.submit("open", timeouts={"accept_seconds": 600, "deliver_seconds": 600})
    others = [world.submit("open") for _ in range(2)]

    def on_send(when, sent):
        if when == "before" and sent.action.startswith("deliver"):
            world.proxy.on_send = lambda when, sent: None
            world.anvil.pass_time(1_300)

    world.proxy.on_send = on_send
    hold = Point("journal.advance", do="hold:sealed", where={"step": "sealed", "job.job_id": hasty})
    world.start(hold, batch_delay_seconds=0.3)
    world.until(lambda: world.reached("sealed"), "the sealing", mine=1.0)
    world.until(lambda: world.history(hasty).state == State.ACCEPTED, "the acceptance", mine=False)
    world.release("sealed")
    world.until(lambda: world.settled(*others), "the others")

    delivered_in_time = world.settled(hasty)
    world.verdict(expired=[] if delivered_in_time else [hasty], slashed=0 if delivered_in_time else BOND, reverted=2)


def spike(world, base_fee: int, blocks: int = 30) -> None:
    """Mine blocks at this base fee, one every 0.15 s, until our pending transactions are in or the blocks are over."""
    address = world.keys.accounts["oracle"].address
    for _ in range(blocks):
        before = world.anvil.nonce(address)
        world.anvil.mine_at(base_fee)
        if world.anvil.nonce(address) > before:
            return
        time.sleep(0.15)


def steal(world, nonce: int, fee: int) -> None:
    """Use the operator's key elsewhere: a transfer to itself."""
    account = world.keys.accounts["oracle"]
    signed = account.sign_transaction(
        {
            "to": account.address,
            "value": 0,
            "nonce": nonce,
            "gas": 21_000,
            "maxFeePerGas": fee,
            "maxPriorityFeePerGas": fee,
            "chainId": world.chain.chain_id,
            "type": 2,
        }
    )
    assert world.anvil.send_raw("0x" + bytes(signed.raw_transaction).hex()), "the theft was refused"
