"""Reorganisations of every depth up to finality in every phase of a job, and one that goes beyond."""

from __future__ import annotations

import pytest
from conftest import LONG
from harness.world import Point

from oracle.jobs.states import State
from oracle.node.journal import Step

PHASES = [step for step in Step if step not in (Step.SEEN, Step.DECLINING)]
KIND = {Step.DELIVERED: "challenged", Step.SIMULATED: "hardware", Step.SUBMITTED: "hardware"}
SLOTS = (1, 4) if LONG else (1,)
DEPTHS = [(slots, depth) for slots in SLOTS for depth in range(1, 2 * slots + 1)]
# What becomes of the transactions in the blocks that are gone: nobody has them any more, or the network still does.
FATES = ("lost", "pooled")


def short(cases: list) -> list:
    """Every other case, such that each value of each parameter still occurs; all of them in a long run."""
    return cases if LONG else [case for number, case in enumerate(cases) if number.bit_count() % 2 == 0]


def strike(world, depth: int, fate: str) -> None:
    """Replace the newest blocks, and mine a block on top."""
    lost = world.anvil.reorganise(depth)
    if fate == "pooled":
        for raw in lost:
            world.anvil.send_raw(raw)
    world.anvil.mine()


def hold_at(step: Step) -> Point:
    """Stop the job's thread once ``step`` is in the journal."""
    return Point("journal.advance", do="hold:phase", where={"step": step.value})


@pytest.mark.parametrize(
    "step, slots, depth, fate",
    short([(step, *depth, fate) for step in PHASES for depth in DEPTHS for fate in FATES]),
)
def test_node__our_transactions_reorganised_away__does_them_again(make_world, step, slots, depth, fate):
    """The job itself is final; what the node did since is not."""
    world = make_world(epoch_slots=slots)
    job = world.submit(KIND.get(step, "plain"))

    world.start(hold_at(step))
    world.until(lambda: world.reached("phase"), f"the step {step}", mine=1.0)
    strike(world, depth, fate)
    world.release("phase")

    world.verdict()
    assert world.settled(job)


@pytest.mark.parametrize("depth", [1, 2])
def test_node__acceptance_of_an_open_job_reorganised_away__accepts_again(world, depth):
    """Unlike an addressed job, this one can't be delivered by somebody who has not accepted it."""
    world.submit("open")

    world.start(hold_at(Step.RAN))
    world.until(lambda: world.reached("phase"), "the run", mine=1.0)
    strike(world, depth, "lost")
    world.release("phase")

    world.verdict()


@pytest.mark.parametrize("step, depth", short([(step, depth) for step in PHASES for depth in (1, 2)]))
def test_node__acting_without_confirmations__follows_the_chain(world, step, depth):
    """The job's creation goes as well, and somebody creates it again in another block."""
    world.anvil.mine(3)
    job = world.submit(KIND.get(step, "plain"), final=False)

    world.start(hold_at(step), confirmations=0)
    world.until(lambda: world.reached("phase"), f"the step {step}", mine=1.0)
    strike(world, depth, "pooled")
    world.release("phase")

    world.verdict()
    assert world.settled(job)


def test_node__job_reorganised_away_for_good__is_forgotten(world):
    world.anvil.mine(3)
    world.submit(final=False)
    world.start(hold_at(Step.CHECKED), confirmations=0)
    world.until(lambda: world.reached("phase"), "the check", mine=False)

    strike(world, 1, "lost")
    world.release("phase")
    world.until(lambda: set(world.counts()) <= {"closed"}, "the job to be forgotten")
    other = world.submit()

    world.verdict()
    assert other == 1, "the number is used again"
    assert world.settled(other)


def test_node__another_job_under_the_same_number__is_served_instead(world):
    """The counts of the first are in the journal when the chain gives its number to the second."""
    world.anvil.mine(3)
    first = world.submit(final=False)
    world.start(hold_at(Step.SEALED), confirmations=0)
    world.until(lambda: world.reached("phase"), "the sealing", mine=False)

    world.anvil.reorganise(world.anvil.head() - world.history(first).created_block + 1)
    second = world.submit(quantum={"circuit": "ghz.qasm", "shots": 13, "seed": 7})
    world.release("phase")

    world.verdict(reverted=1)  # the acceptance of the first came back from the pool and has to use its nonce up
    assert first == second
    assert world.history(second).charge < 10**14 + 1024 * 10**10


def test_node__reorganisation_while_it_is_down__is_noticed(world):
    world.anvil.mine(3)
    first = world.submit(final=False)
    node = world.start(confirmations=0)
    world.until(lambda: world.settled(first), "the first job", mine=False)
    node.kill()

    strike(world, 2, "lost")
    world.start()

    world.verdict()


def test_node__many_reorganisations_in_a_row__catches_up(make_world):
    import random

    world = make_world(seed=11)
    chance = random.Random(world.seed)
    world.start()
    for _ in range(12 if LONG else 5):
        world.submit(chance.choice(["plain", "open", "challenged"]))
        head = world.anvil.head() + chance.randint(1, 4)
        world.until(lambda head=head: world.anvil.head() >= head, "some blocks")
        strike(world, chance.randint(1, 2), chance.choice(FATES))

    world.verdict()


def test_node__reorganisation_beyond_finality__halts_and_says_so(world):
    """A finalized block is gone: whatever the node did may be undone, and only a person can judge that."""
    job = world.submit()
    node = world.start()
    world.until(lambda: world.settled(job), "the job")
    world.anvil.mine(4)
    world.until(lambda: set(world.counts()) == {"closed"}, "the journal")
    world.until(lambda: world.quiet(), "the node to have seen the head", mine=False)
    sent = len(world.proxy.sent)

    world.anvil.reorganise(6)
    other = world.submit()
    world.until(lambda: node.code is not None, "the node to halt")

    assert node.is_clean(), node.text()
    assert "final" in node.text().splitlines()[-1]
    assert len(world.proxy.sent) == sent, "it acted on a chain that contradicts its journal"
    assert world.state(other) == State.CREATED
    again = world.start()
    world.until(lambda: again.code is not None, "the restarted node to halt as well")
    assert again.is_clean(), again.text()


def test_node__beyond_finality_without_confirmations__halts_too(world):
    """Acting at the head is a choice about speed; what was final stays final."""
    job = world.submit()
    node = world.start(confirmations=0)
    world.until(lambda: world.settled(job), "the job")
    world.anvil.mine(8)
    world.until(lambda: world.quiet(), "the node to have seen the head", mine=False)

    world.anvil.reorganise(8)
    world.anvil.mine(2)
    world.until(lambda: node.code is not None, "the node to halt")

    assert node.is_clean(), node.text()
