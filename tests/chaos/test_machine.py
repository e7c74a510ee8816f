"""The machine below the node: full disks, clocks that jump, and circuits that want all of it."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness.nodes import Usage
from harness.world import PATIENCE_SECONDS, Point

from oracle.jobs.states import State
from oracle.node.journal import Step

DAY = 86_400
NOT_PLAIN = (Step.SIMULATED, Step.SUBMITTED, Step.DECLINING, Step.DELIVERED)
LIMITS = {"memory_bytes": 256 * 2**20, "cpu_seconds": 2, "wall_seconds": 4}
TANGLE = b"".join(
    b"cx q[%d], q[%d];\nt q[%d];\n" % (i, (7 * i + 5) % 26, i) for i in range(26) if (7 * i + 5) % 26 != i
)
HOSTILE = {
    "more memory than there is": (26, (b"h q;\n" + TANGLE) * 12, 1024),
    "more time than there is": (22, b"h q;\nt q;\nrx(0.3) q;\ncx q[0], q[21];\n" * 1500, 1024),
    "more outcomes than anybody wants": (20, b"h q;\nt q;\nh q;\n", 900_000),
}


class FullDisk:
    """A disk for one folder that can be filled: a small file system of its own where we may mount one, else a limit
    on the size of the files that the node writes."""

    def __init__(self, folder: Path, size: int):
        self.folder = folder
        self._size = size
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        self.mounted = shutil.which("mount") is not None and subprocess.run(mount, capture_output=True).returncode == 0
        self._node = 0

    def fill(self, pid: int) -> None:
        """From now on nothing more can be written."""
        if not self.mounted:
            self._node = pid
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            return
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            try:
                while ballast.write(bytes(4096)):
                    pass
            except OSError:
                pass

    def free(self) -> None:
        """Somebody cleaned up."""
        if self.mounted:
            (self.folder / "ballast").unlink(missing_ok=True)
        elif Path(f"/proc/{self._node}").exists():
            resource.prlimit(self._node, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def close(self) -> None:
        """Take it away."""
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.fixture
def disk(world):
    """Makes one disk of a world small."""
    disks = []

    def make(folder: Path, size: int) -> FullDisk:
        folder.mkdir(exist_ok=True)
        disks.append(FullDisk(folder, size))
        return disks[-1]

    yield make
    for made in disks:
        made.close()


@pytest.mark.parametrize("step", [step for step in Step if step not in NOT_PLAIN])
def test_disk__of_the_journal_full__nothing_leaves_unrecorded(world, disk, step):
    """The disk is full from the moment a step is in the journal, until somebody makes room."""
    small = disk(world.home / "journals", 2 * 2**20)
    jobs = [world.submit(), world.submit("open")]
    at = {"at": "journal.ingested"} if step == Step.SEEN else {"at": "journal.advance", "where": {"step": step.value}}
    node = world.start(Point(do="hold:full", **at))
    world.until(lambda: world.reached("full"), f"the step {step}", mine=1.0)
    small.fill(node.pid)
    world.release("full")
    end = time.monotonic() + 0.7
    world.until(lambda: time.monotonic() > end, "time to pass")

    small.free()
    assert node.code is None or node.is_clean(), node.text()
    world.verdict()
    assert world.settled(*jobs)


def test_disk__of_the_content_full__delivers_when_there_is_room(world, disk):
    job = world.submit()
    kept = world.folder / "kept"
    shutil.copytree(world.home / "content", kept)
    small = disk(world.home / "content", 2**20)
    shutil.copytree(kept, world.home / "content", dirs_exist_ok=True)
    node = world.start(Point("content.put", do="hold:put", moment="before"))
    world.until(lambda: world.reached("put"), "the result to be pinned", mine=1.0)
    small.fill(node.pid)
    world.release("put")
    end = time.monotonic() + 0.7
    world.until(lambda: time.monotonic() > end, "time to pass")
    assert world.state(job) in (State.ACCEPTED, State.CREATED)

    small.free()
    world.verdict()
    assert world.settled(job)


@pytest.mark.parametrize("jump", [DAY, -DAY])
@pytest.mark.parametrize("step", [Step.CHECKED, Step.RAN, Step.SEALED])
def test_clock__of_the_machine_jumps__changes_nothing(world, step, jump):
    """Deadlines are the chain's; the machine's clock may be set by anybody."""
    job = world.submit()
    world.clock_file.write_text("0")
    world.start(Point("journal.advance", do="hold:jump", where={"step": step.value}))
    world.until(lambda: world.reached("jump"), f"the step {step}", mine=1.0)
    set_clock(world, jump)
    world.release("jump")

    world.verdict()
    assert world.settled(job)


def test_clock__set_back_while_a_job_waits_for_its_next_attempt__does_not_wait_a_day(world):
    job = world.submit()
    kept = world.folder / "kept"
    (world.home / "content").rename(kept)
    (world.home / "content").mkdir()
    world.clock_file.write_text("0")
    world.start()
    world.until(lambda: world.heard_of(1), "the job to be heard of")
    end = time.monotonic() + 0.7
    world.until(lambda: time.monotonic() > end, "an attempt")

    set_clock(world, -DAY)
    shutil.copytree(kept, world.home / "content", dirs_exist_ok=True)
    world.verdict()
    assert world.settled(job)


@pytest.mark.parametrize("step", [Step.SEEN, Step.CHECKED, Step.ACCEPTED, Step.SEALED])
def test_clock__of_the_chain_jumps_past_every_deadline__ends_in_a_refund(world, step):
    """Nobody can deliver any more: the node closes the job, and the payer gets budget and, if accepted, bond."""
    job = world.submit()
    at = {"at": "journal.ingested"} if step == Step.SEEN else {"at": "journal.advance", "where": {"step": step.value}}
    world.start(Point(do="hold:late", **at))
    world.until(lambda: world.reached("late"), f"the step {step}", mine=1.0)
    accepted = world.state(job) == State.ACCEPTED
    world.anvil.pass_time(3 * 3600)
    world.release("late")

    world.verdict(expired=[job], slashed=world.history(job).terms.bond if accepted else 0, reverted=1)


def test_circuits__that_leak_or_spin__end_alone(world):
    """Through the real sandbox: circuits that want everything, and an honest one among them."""
    first = world.submit()
    hostile = [world.submit_circuit(circuit(*what), shots=shots) for *what, shots in HOSTILE.values()]
    last = world.submit()
    node = world.start(real_runs=True, limits=LIMITS)
    patience = 3 * PATIENCE_SECONDS
    world.until(lambda: world.settled(first, last), "the honest jobs", patience=patience)
    world.until(lambda: all(world.history(job).is_terminal for job in hostile), "the hostile ones", patience=patience)
    assert Usage(node.pid).resident < 400 * 2**20

    ends = {job: world.history(job) for job in hostile}
    assert {history.state for history in ends.values()} <= {State.FAILED, State.REJECTED}
    world.verdict(reasons={job: history.reason for job, history in ends.items()})


def circuit(qubits: int, body: bytes) -> bytes:
    """An OpenQASM 2 circuit that measures everything in the end."""
    head = b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[%d];\ncreg c[%d];\n' % (qubits, qubits)
    return head + body + b"measure q -> c;\n"


def test_worker__killed_by_the_system__costs_no_job(world):
    """As the out-of-memory killer does: the worker goes, the node and the job stay."""
    job = world.submit()
    node = world.start(real_runs=True)
    killed = []

    def kill_worker() -> bool:
        for pid in _descendants(node.pid):
            if "circuits.worker" in _command(pid) and not killed:
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)
        return bool(killed)

    world.until(kill_worker, "a worker to kill", patience=3 * PATIENCE_SECONDS)
    world.until(lambda: world.settled(job), "the job", patience=3 * PATIENCE_SECONDS)
    world.verdict()


def test_node__killed__leaves_no_worker_behind(world):
    world.submit()
    node = world.start(real_runs=True)
    workers = world.until(
        lambda: [pid for pid in _descendants(node.pid) if "circuits.worker" in _command(pid)],
        "a worker",
        patience=3 * PATIENCE_SECONDS,
    )
    node.kill()

    world.until(lambda: not any("circuits.worker" in _command(pid) for pid in workers), "the workers to end")


def set_clock(world, seconds: int) -> None:
    """Let the machine's clock be off by so much; in one step, because the node reads it all the time."""
    scratch = world.clock_file.with_suffix(".new")
    scratch.write_text(str(seconds))
    scratch.replace(world.clock_file)


def _descendants(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            try:
                children = [int(child) for child in task.read_text().split()]
            except OSError:  # it ended meanwhile
                continue
            found += children
            waiting += children
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
