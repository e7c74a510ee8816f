"""kill -9, wherever it hurts: at every step, every write, every commit, and around everything that leaves the node."""

from __future__ import annotations

import inspect
import re

import pytest
from harness.world import Point

from oracle.jobs.states import State
from oracle.node.journal import Journal, Step

# The kind of job that gets to a step which a plain one never sees. A new step that a plain job does not reach either
# fails its tests until it is listed here.
KIND = {
    Step.SIMULATED: "hardware",
    Step.SUBMITTED: "hardware",
    Step.DELIVERED: "challenged",
    Step.DECLINING: "declined",
}
REASONS = {"declined": "budget_too_low", "failing": "circuit_broke"}
WRITES = sorted(
    name
    for name, method in inspect.getmembers(Journal, inspect.isfunction)
    if not name.startswith("_") and re.search(r"_transaction\(|INSERT|UPDATE|DELETE", inspect.getsource(method))
)
# Writes that this story has no occasion for: they belong to reorganisations, refusals and housekeeping (``needs`` holds
# the journal while content goes).
OTHER_STORIES = {
    "forget",
    "needs",
    "postpone",
    "prune",
    "release",
    "reopen",
    "rewind",
    "start_nonces_at",
    "together",
    "want",
}
FAIL = Point("backend.result", do="reject:circuit_broke", moment="before")
LIVES = 80


def test_node__left_alone__settles_every_kind_of_job(world):
    jobs = {kind: world.submit(kind) for kind in ("plain", "open", "challenged", "declined")}
    world.start()

    world.verdict(reasons={jobs["declined"]: REASONS["declined"]})

    assert world.actions()["accept"] <= 3
    assert world.actions()["reject"] == 1


def test_writes__of_the_journal__are_known_to_these_tests():
    """The list above comes from the journal's source; if it is written differently one day, this says so."""
    assert {"add_job", "advance", "ingested", "record"} <= set(WRITES)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", Step)
def test_node__killed_at_a_step__goes_on_from_there(world, step, moment):
    kind = KIND.get(step, "plain")
    job = world.submit(kind)
    other = world.submit()
    # SEEN is written when the job is taken in, all other steps by an advance.
    at = {"at": "journal.ingested"} if step == Step.SEEN else {"at": "journal.advance", "where": {"step": step.value}}

    world.start(Point(moment=moment, **at))
    world.killed()
    world.restart()

    world.verdict(reasons={job: REASONS[kind]} if kind in REASONS else {})
    assert world.settled(other)
    assert world.actions()["deliver"] + world.actions()["deliverBatch"] <= 2
    assert kind != "hardware" or world.at_ibm() == ["Completed"]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("write", [name for name in WRITES if name not in OTHER_STORIES])
def test_node__killed_at_a_write_of_the_journal__goes_on(world, write, moment):
    world.submit()

    world.start(Point(f"journal.{write}", moment=moment))
    world.killed()
    world.restart()

    world.verdict()


@pytest.mark.parametrize("moment, nth", [("after", 1), ("before", 2)])
def test_node__killed_at_every_single_commit__still_finishes(world, moment, nth):
    """Each life ends with the first thing that was made durable in it, so that every boundary is met."""
    job = world.submit()
    lives = 0
    while not world.settled(job):
        lives += 1
        assert lives < LIVES, "no progress from life to life"
        node = world.start(Point("commit", moment=moment, nth=nth))
        # Blocks only when nothing else happens, or each life would end with having heard of one more.
        world.until(lambda node=node: node.code is not None or node.is_ready(), "the node to be open", mine=False)
        world.until(lambda node=node: node.code is not None or world.settled(job), "a commit", mine=1.0)
    assert lives > 5

    world.restart()
    world.verdict()


@pytest.mark.parametrize("moment", ["unsent", "unanswered", "answered"])
@pytest.mark.parametrize("action", ["accept", "deliver", "settle", "reject", "fail"])
def test_node__killed_around_a_broadcast__sends_it_once(world, action, moment):
    """Unsent: recorded, but no endpoint has it. Unanswered: mined, and the node does not know."""
    kind = {"settle": "challenged", "reject": "declined", "fail": "failing"}.get(action, "plain")
    job = world.submit(kind)
    world.kill_on_send(action, moment)
    faults = [FAIL] if kind == "failing" else []

    world.start(*faults)
    if action == "settle":
        world.until(lambda: world.state(job) == State.COMPLETED, "the delivery")
        world.anvil.pass_time(120)
    world.killed()
    world.start(*faults)

    world.verdict(reasons={job: REASONS[kind]} if kind in REASONS else {})
    done = {name: count for name, count in world.actions().items() if name.startswith(action)}
    assert sum(done.values()) == 1


@pytest.mark.parametrize("action", ["accept", "deliver"])
def test_node__killed_while_its_transaction_is_pending__finds_it_again(world, action):
    world.submit()
    world.kill_on_send(action, "answered")
    if action == "accept":
        world.anvil.automine(False)
    else:
        world.proxy.on_send = _then(world, world.proxy.on_send)

    world.start()
    world.killed(mine=False)
    world.until(world.restart().is_ready, "the restart", mine=False)
    world.anvil.mine()

    world.verdict()
    assert world.actions()["accept"] <= 1
    assert world.actions()["deliver"] + world.actions()["deliverBatch"] == 1


def _then(world, kill):
    """Stop mining just before the delivery arrives."""

    def on_send(when, sent):
        if when == "before" and sent.action.startswith("deliver"):
            world.anvil.automine(False)
        kill(when, sent)

    return on_send


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("at", ["content.put", "backend.submit", "backend.result"])
def test_node__killed_beside_the_journal__does_it_again(world, at, moment):
    world.submit()

    world.start(Point(at, moment=moment))
    world.killed()
    world.restart()

    world.verdict()


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("at", ["provider.submit", "provider.result"])
def test_node__killed_beside_ibm__pays_for_one_run(world, at, moment):
    """After a submission IBM has a job that no journal knows of."""
    world.submit("hardware")

    world.start(Point(at, moment=moment))
    world.killed()
    world.restart()

    world.verdict()
    assert world.at_ibm() == ["Completed"]


def test_node__killed_at_random_times__loses_nothing(make_world):
    """Between two of anything: the moments nobody thought of."""
    import random

    world = make_world(seed=7)
    chance = random.Random(world.seed)
    jobs = [world.submit(kind) for kind in ("plain", "open", "challenged", "plain", "plain")]

    for _ in range(6):
        node = world.start()
        pause = world.anvil.head() + chance.randint(2, 12)
        world.until(lambda pause=pause: world.anvil.head() >= pause, "some blocks")
        node.kill()
    world.restart()

    world.verdict()
    assert world.settled(*jobs)
