"""An endpoint that fails, lags or lies: one fault at a time, several at random, and two endpoints of which one lies."""

from __future__ import annotations

import random
import time

import pytest
from conftest import LONG
from harness.rpc_proxy import FAULTS, FOREIGN_CHAIN
from harness.world import PATIENCE_SECONDS

from oracle.jobs.states import State

FAULT_SECONDS = 0.7
SEEDS = range(20) if LONG else range(2)
# With these the node is told nothing wrong, only late, little or twice: it must get through while they last.
HARMLESS = ("slow", "logs_doubled", "logs_reversed", "logs_of_another_address", "logs_of_jobs_that_never_were")
HARMLESS += ("logs_capped_by_blocks", "logs_capped_by_results")


def wait(world, seconds: float) -> None:
    """Let blocks come while a fault lasts."""
    end = time.monotonic() + seconds
    world.until(lambda: time.monotonic() > end, "time to pass")


@pytest.mark.parametrize("fault", FAULTS)
def test_rpc__one_fault_while_jobs_come_in__is_survived(world, fault):
    """The fault begins with a job under way and lasts while another comes in."""
    first = world.submit()
    node = world.start()
    world.until(lambda: world.heard_of(1), "the first job to be heard of")

    with world.proxy.misbehaving(fault):
        second = world.submit()
        if fault in HARMLESS:
            world.until(lambda: world.settled(first, second), "both jobs, in spite of the fault")
        else:
            wait(world, FAULT_SECONDS)

    assert node.code is None or node.is_clean(), f"the node ended with {node.code}"
    third = world.submit()
    world.verdict()
    assert world.settled(first, second, third)
    assert all(sent.chain_id != FOREIGN_CHAIN for sent in world.proxy.sent)


@pytest.mark.parametrize("fault", ["reset", "hang", "error_503", "wrong_chain_id", "other_chain", "null_results"])
def test_rpc__fault_at_the_start__ends_it_with_the_reason_or_is_waited_for(world, fault):
    """Nothing has begun yet, so to end is as good as to wait."""
    world.submit()
    with world.proxy.misbehaving(fault):
        node = world.start()
        wait(world, FAULT_SECONDS)
    world.until(lambda: node.is_ready() or node.code is not None, "the node to decide")
    assert node.code is None or node.is_clean(), node.text()

    if node.code is not None:
        world.start()
    world.verdict()


@pytest.mark.parametrize("fault", ["receipts_missing", "send_swallowed", "send_unanswered", "send_underpriced"])
def test_rpc__fault_in_the_middle_of_sending__pays_once(world, fault):
    """The fault is on before the first transaction goes out."""
    world.proxy.misbehave(fault)
    jobs = [world.submit(), world.submit("open")]
    world.start()
    world.until(lambda: world.proxy.sent, "a transaction")
    wait(world, FAULT_SECONDS)

    world.verdict()
    assert world.settled(*jobs)
    assert world.actions()["accept"] <= 2


def test_rpc__log_of_our_job_dropped__is_found_by_the_sweep(world):
    """The provider is fine again, and never says what it left out unless it is asked again."""
    first = world.submit()
    world.start()
    world.until(lambda: world.settled(first), "the first job")
    with world.proxy.misbehaving("logs_dropped"):
        missed = world.submit()
        world.anvil.mine(3)
        world.until(lambda: world.quiet(), "the block of the job to be read", mine=False)

    world.until(lambda: world.settled(missed), "the job that was left out")
    world.verdict()


@pytest.mark.parametrize("seed", SEEDS)
def test_rpc__faults_switched_at_random__are_survived(make_world, seed):
    world = make_world(seed=seed)
    chance = random.Random(seed)
    jobs = [world.submit(kind) for kind in ("plain", "challenged")]
    node = world.start()
    for _ in range(30 if LONG else 8):
        world.proxy.misbehave(*chance.sample(sorted(FAULTS), chance.choice([0, 1, 1, 2])))
        if chance.random() < 0.5:
            jobs.append(world.submit(chance.choice(["plain", "open"])))
        wait(world, chance.uniform(0.1, 0.5))
        assert node.code is None or node.is_clean(), f"the node ended with {node.code}"
        if node.code is not None:
            node = world.start()

    world.verdict(reverted=2)
    assert world.settled(*jobs)


@pytest.mark.parametrize("fault", ["reset", "hang", "error_500", "rate_limit_429", "stale_head", "html_garbage"])
def test_endpoints__one_of_two_is_down__the_other_is_used(make_world, fault):
    world = make_world()
    world.add_proxy()
    world.proxies[0].misbehave(fault)
    job = world.submit()
    world.start()

    world.until(lambda: world.settled(job), "the job, through the other endpoint")
    world.verdict()


@pytest.mark.parametrize("fault", ["wrong_chain_id", "other_chain", "logs_dropped", "logs_of_jobs_that_never_were"])
def test_endpoints__one_of_two_lies__no_harm_is_done(make_world, fault):
    world = make_world()
    liar = world.add_proxy()
    first = world.submit()
    node = world.start()
    world.until(lambda: world.heard_of(1), "the first job to be heard of")
    liar.misbehave(fault)
    second = world.submit()
    wait(world, FAULT_SECONDS)

    assert node.code is None, node.text()
    world.until(lambda: world.settled(first, second), "both jobs", patience=2 * PATIENCE_SECONDS)
    world.verdict()


def test_endpoints__on_different_chains__are_refused_at_the_start(make_world):
    """Which of them is right is not for the node to guess."""
    world = make_world()
    world.add_proxy().misbehave("wrong_chain_id")
    job = world.submit()
    node = world.start()
    world.until(lambda: node.code is not None, "the node to refuse")

    assert node.is_clean(), node.text()
    assert "chain" in node.text()
    assert world.state(job) == State.CREATED
    assert not world.proxy.sent
    world.proxies[1].misbehave()
    world.start()
    world.verdict()
