"""A Kubo node that hangs, breaks or lies, and an embedded store that loses things."""

from __future__ import annotations

import random
import shutil
import time

import pytest
from conftest import LONG
from harness.kubo import FAULTS
from harness.world import Point

from oracle.chain.sender import Sender
from oracle.content.cid import CID
from oracle.jobs.states import State

FAULT_SECONDS = 0.7


def wait(world, seconds: float = FAULT_SECONDS) -> None:
    """Let blocks come while a fault lasts."""
    end = time.monotonic() + seconds
    world.until(lambda: time.monotonic() > end, "time to pass")


@pytest.mark.parametrize("fault", FAULTS)
def test_kubo__broken_while_a_job_is_read__is_waited_for(make_world, fault):
    """The spec and the circuit are there, but the node's Kubo does not give them, or gives others."""
    world = make_world(kubo=True)
    job = world.submit()
    world.kubo.misbehave(fault)
    world.start()
    world.until(lambda: world.kubo.commands and world.heard_of(1), "the store to be asked")
    wait(world)
    if fault != "pin_refused":  # which is no matter for reading
        assert world.state(job) == State.CREATED, "a store that lies says nothing about the job"

    world.kubo.misbehave()
    world.verdict()
    assert world.settled(job)


@pytest.mark.parametrize("fault", FAULTS)
def test_kubo__broken_while_a_result_is_pinned__delivers_when_it_is(make_world, fault):
    """What is not pinned must not be promised on chain."""
    world = make_world(kubo=True)
    job = world.submit()
    world.start(Point("content.put", do="hold:put", moment="before"))
    world.until(lambda: world.reached("put"), "the result to be pinned", mine=1.0)
    world.kubo.misbehave(fault)
    world.release("put")
    wait(world)
    if fault not in ("wrong_bytes", "endless", "not_found"):  # which concern reading only
        assert world.state(job) == State.ACCEPTED

    world.kubo.misbehave()
    world.verdict()
    assert world.settled(job)


@pytest.mark.parametrize("seed", range(10) if LONG else range(1))
def test_kubo__faults_switched_at_random__are_survived(make_world, seed):
    world = make_world(kubo=True, seed=seed)
    chance = random.Random(seed)
    world.start()
    jobs = []
    for _ in range(30 if LONG else 8):
        world.kubo.misbehave(chance.choice(["", *FAULTS]))
        if chance.random() < 0.6:
            jobs.append(world.submit(chance.choice(["plain", "open"])))
        wait(world, chance.uniform(0.1, 0.4))

    world.verdict()
    assert world.settled(*jobs)


def test_kubo__gone_for_the_whole_time__lets_no_other_wrong_through(make_world):
    """The requester's way out does not need the oracle: after the deadline the budget goes back."""
    world = make_world(kubo=True)
    job = world.submit()
    world.kubo.misbehave("reset")
    world.start()
    wait(world)
    world.anvil.pass_time(3 * 3600)
    terms = world.history(job).terms
    requester = Sender(world.chain.w3, world.keys.accounts["requester"])
    requester.send(world.chain.escrow.claim_refund(job, terms))
    wait(world)

    world.verdict(expired=[job])


def test_store__spec_comes_late__is_waited_for(world):
    job = world.submit()
    kept = world.folder / "kept"
    (world.home / "content").rename(kept)
    (world.home / "content").mkdir()
    world.start()
    world.until(lambda: world.heard_of(1), "the job to be heard of")
    wait(world)
    assert world.state(job) == State.CREATED

    shutil.copytree(kept, world.home / "content", dirs_exist_ok=True)
    world.verdict()


def test_store__sealed_result_lost_before_delivery__is_pinned_again(world):
    """The journal has it, so the store may lose it between two lives."""
    job = world.submit()
    world.start(Point("journal.advance", moment="before", where={"step": "sealed"}))
    world.killed()
    given = {CID.from_digest(world.history(job).terms.spec).digest}
    for cid in list(world.store.pins()):
        if cid.digest not in given and b"qscrow.sealed" in world.store.get(cid, max_bytes=2**20)[:200]:
            world.store._path(cid).unlink()

    world.restart()
    world.verdict()
