"""Several nodes, orderly endings, and journals that are lost, damaged or somebody else's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from conftest import LONG
from harness.anvil import CHAIN_ID
from harness.node_process import ROOT
from harness.world import BOND, STAKE, Point

from oracle.jobs.errors import JournalError
from oracle.jobs.states import State
from oracle.node.journal import Step

ORACLES = ("oracle", "rival")


@pytest.fixture
def command(world):
    """Starts a ``qscrow`` command in the background; ends what is left."""
    running = []

    def start(*words: str) -> subprocess.Popen:
        with (world.folder / "cli.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "oracle.cli.main", *words], env=world.cli_env, cwd=ROOT, stdout=log, stderr=log
            )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def printed(world) -> str:
    """What all commands of this world have printed."""
    return (world.folder / "cli.log").read_text()


# ------------------------------------------------------------------------------------------ several nodes


def test_node__second_one_on_the_same_journal__refuses_and_harms_nobody(world):
    first = world.submit()
    node = world.start()
    world.until(node.is_ready, "the first node")

    second = world.start()
    world.until(lambda: second.code is not None, "the second node to refuse")
    world.nodes["oracle"] = node

    assert second.code == JournalError.exit_code
    assert "another node is using it" in second.text()
    assert node.code is None
    world.verdict()
    assert world.settled(first)


def test_command__second_run_on_the_same_account__exits_with_the_journals_code(world, command):
    world.start()
    world.until(world.nodes["oracle"].is_ready, "the first node")

    shown = world.cli("oracle", "run", "--account", "oracle", code=JournalError.exit_code)

    assert "another node is using it" in shown
    assert "Traceback" not in shown
    world.verdict()


@pytest.mark.parametrize("round_number", range(8 if LONG else 2))
def test_oracles__racing_for_open_jobs__one_of_them_gets_each(make_world, round_number):
    world = make_world(oracles=ORACLES, seed=round_number)
    jobs = [world.submit("open") for _ in range(4)]
    for name in ORACLES:
        world.start(name=name)
    jobs += [world.submit("open") for _ in range(2)]

    world.verdict(reverted=len(jobs))

    winners = [world.history(job).terms.oracle for job in jobs]
    assert set(winners) <= {world.keys.accounts[name].address for name in ORACLES}
    accepted = sum(world.actions(name)["accept"] for name in ORACLES)
    assert accepted == len(jobs)


def test_oracles__racing_with_both_transactions_pending__loser_closes_the_job(make_world):
    """Both simulate well, both are in the pool, one is mined first: the other is mined in vain, and never repeated."""
    world = make_world(oracles=ORACLES)
    job = world.submit("open")
    world.anvil.automine(False)
    for name in ORACLES:
        world.start(name=name)
    world.until(lambda: len({sent.sender for sent in world.proxy.sent}) == 2, "both acceptances", mine=False)
    world.anvil.mine()

    world.verdict(reverted=1)

    assert sum(world.actions(name)["accept"] for name in ORACLES) == 1
    assert world.settled(job)
    loser = next(n for n in ORACLES if world.keys.accounts[n].address != world.history(job).terms.oracle)
    assert world.chain.registry.stake_of(world.keys.accounts[loser].address) == (STAKE, 0)


def test_oracles__one_dies_after_accepting__bond_goes_to_the_payer(make_world):
    """The other cannot have the job any more; the money is not stuck either."""
    world = make_world(oracles=ORACLES)
    job = world.submit("open")
    dead = world.start(Point("journal.advance", where={"step": "accepted"}))
    world.killed()
    world.start(name="rival")
    world.until(lambda: world.heard_of(1, "rival"), "the rival to hear of it")
    world.anvil.pass_time(3 * 3600)

    assert dead.code == -9
    world.restart()
    world.verdict(expired=[job], slashed=BOND, reverted=1)


# ---------------------------------------------------------------------------------------- orderly endings


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("step", [Step.CHECKED, Step.RAN, Step.SEALED])
def test_node__told_to_stop_in_the_middle__finishes_the_step_and_goes_on_later(world, step, number):
    import os

    job = world.submit()
    node = world.start(Point("journal.advance", do="hold:stop", moment="before", where={"step": step.value}))
    world.until(lambda: world.reached("stop"), f"the step {step}", mine=1.0)
    os.kill(node.pid, number)
    world.release("stop")
    world.until(lambda: node.code is not None, "the node to end")

    assert node.code == 0, node.text()
    assert "stopped" in node.text()
    world.start()
    world.verdict()
    assert world.settled(job)


def test_node__told_to_stop_while_the_endpoint_hangs__still_ends(world):
    world.submit()
    node = world.start()
    world.until(node.is_ready, "the node")
    world.proxy.misbehave("hang")
    node.terminate()
    world.until(lambda: node.code is not None, "the node to end", patience=60)
    assert node.code == 0, node.text()

    world.start()
    world.verdict()


def test_command__sigterm__drains_and_a_restart_goes_on(world, command):
    jobs = [world.submit() for _ in range(2)]
    first = command("oracle", "run", "--account", "oracle", "--workers", "1")
    world.until(lambda: world.heard_of(2), "the jobs to be heard of", patience=60)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0, printed(world)
    assert "Traceback" not in printed(world)

    command("oracle", "run", "--account", "oracle", "--workers", "1")
    world.until(lambda: world.settled(*jobs), "the jobs", patience=90)


# -------------------------------------------------------------------------------------- lost journals


def damage(world, how: str) -> None:
    """What happens to a journal on an unlucky day."""
    path = world.journal_path()
    if how == "missing":
        for part in path.parent.glob(f"{path.stem}*"):
            part.unlink()
        return
    data = bytearray(path.read_bytes())
    for part in path.parent.glob(f"{path.name}-*"):
        part.unlink()
    if how == "scribbled":
        data[: len(data) // 2] = b"\x5a" * (len(data) // 2)
    if how == "truncated":
        del data[len(data) // 2 :]
    if how == "empty":
        data.clear()
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["missing", "empty", "scribbled", "truncated"])
def test_command__journal_gone_bad_with_a_known_key__is_refused_and_rebuilt(world, how):
    """A node without memory could accept again, sign for a nonce again and give up what it has accepted."""
    done = world.submit()
    challenged = world.submit("challenged")
    world.start()
    world.until(lambda: world.settled(done) and world.state(challenged) == State.COMPLETED, "the deliveries")
    world.until(lambda: world.counts().get("closed") == 1, "the journal")
    world.anvil.mine(4)
    world.nodes["oracle"].terminate()
    assert world.nodes["oracle"].wait() == 0
    sent = len(world.proxy.sent)
    damage(world, how)

    shown = world.cli("oracle", "run", "--account", "oracle", code=JournalError.exit_code)
    assert "rebuild" in shown
    assert "Traceback" not in shown
    assert len(world.proxy.sent) == sent

    world.cli("oracle", "rebuild", "--account", "oracle")
    another = world.submit()
    world.start()
    world.verdict()
    assert world.settled(done, challenged, another)


def test_command__rebuild_with_a_job_accepted_and_unfinished__finishes_it(world):
    """The counts are lost with the journal, the acceptance is not: the bond is at stake."""
    job = world.submit()
    world.start(Point("journal.advance", where={"step": "ran"}))
    world.killed()
    damage(world, "missing")
    world.anvil.mine(4)

    world.cli("oracle", "rebuild", "--account", "oracle")
    world.start()
    world.verdict()
    assert world.settled(job)
    assert world.actions()["accept"] == 1


def test_command__status_while_the_node_runs__tells_the_truth(world):
    job = world.submit()
    world.start()
    world.until(lambda: world.settled(job) and world.counts() == {"closed": 1}, "the job")

    facts = json.loads(world.cli("oracle", "status", "--account", "oracle", "--json"))
    assert facts["jobs"] == {"closed": 1}
    world.verdict()


def test_journal__of_another_chain__is_refused(world):
    world.start()
    world.until(world.nodes["oracle"].is_ready, "the node")
    world.nodes["oracle"].terminate()
    assert world.nodes["oracle"].wait() == 0
    other = world.home / "journals" / f"{CHAIN_ID}-{world.keys.accounts['rival'].address.lower()}.db"
    world.journal_path().rename(other)

    with pytest.raises(JournalError, match="is for oracle"):
        world.journal("rival")
