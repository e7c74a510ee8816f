"""A node that starts with 100 000 jobs behind it: seconds to its first action, and memory idle and under load.

Goals (DESIGN §12): at most 10 s to the first action, at most 300 MiB idle. The node is a process of its own, as an
operator runs it; "first action" is its acceptance of a job that waited for it, on the chain.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

from backfill import opened_journal
from bench import ROOT, World, ghz, publish, spread, until, world

JOBS, ROUNDS, LOAD = 100_000, 3, 200


def main() -> None:
    """Fill a journal with ended jobs, then start the node on it several times."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else JOBS
    with world() as place:
        path = fill(place, jobs)
        starts = [first_action(place) for _ in range(ROUNDS)]
        idle, busy = memory(place)
        size = path.stat().st_size // 2**20
    publish(
        "restart",
        {
            "jobs_in_the_journal": jobs,
            "journal_mib": size,
            "seconds_to_first_action": spread(starts, 2),
            "idle_mib": idle,
            "under_load_mib": busy,
            "jobs_of_the_load": LOAD,
        },
    )


def fill(place: World, jobs: int) -> Any:
    """A journal of ``jobs`` closed jobs. Their numbers start far above those of the chain."""
    from oracle.node.journal import Placement, Step

    terms = place._terms(0, ghz(2), 1024, 1)
    with opened_journal(place, "journal.db") as journal:
        block = place.chain.block()
        for first in range(0, jobs, 1_000):
            numbers = range(10**9 + first, 10**9 + min(first + 1_000, jobs))
            at = {"block": block.number, "block_hash": block.hash, "placed": block.number}
            journal.ingested(block, [Placement(n, terms, step=Step.CLOSED, reason="Settled", **at) for n in numbers])
        return journal.path


def first_action(place: World) -> float:
    """Seconds from starting the process to its acceptance of a job on the chain."""
    from oracle.jobs.states import State

    (job,) = place.submit(1, lambda _: ghz(3))
    started = time.perf_counter()
    process = start(place)
    until(lambda: place.chain.escrow.state_of(job) != State.CREATED, 120)
    seconds = time.perf_counter() - started
    until(lambda: place.chain.escrow.state_of(job) == State.SETTLED, 120)
    stop(process)
    return seconds


def memory(place: World) -> tuple[dict[str, int], dict[str, int]]:
    """MiB of the node when it has nothing to do, and its most while it settles ``LOAD`` jobs."""
    from oracle.jobs.states import State

    process = start(place)
    (job,) = place.submit(1, lambda _: ghz(3))
    until(lambda: place.chain.escrow.state_of(job) == State.SETTLED, 120)
    time.sleep(3)
    idle = used_mib(process.pid)
    last = place.submit(LOAD, lambda n: ghz(2 + n % 9))[-1]
    most = dict(idle)

    def done() -> bool:
        most.update({name: max(value, most[name]) for name, value in used_mib(process.pid).items()})
        return place.chain.escrow.state_of(last) == State.SETTLED

    until(done, 300, pause=0.2)
    stop(process)
    return idle, most


def used_mib(pid: int) -> dict[str, int]:
    """Resident memory of the node's process, and of it and its workers together with shared pages counted once."""
    import psutil

    node = psutil.Process(pid)
    together = 0
    for process in (node, *node.children(recursive=True)):
        try:
            together += process.memory_full_info().pss
        except psutil.NoSuchProcess:  # a circuit's process, gone meanwhile
            continue
    return {"node_rss": node.memory_info().rss // 2**20, "node_and_workers_pss": together // 2**20}


def start(place: World) -> subprocess.Popen[bytes]:
    """The node as a process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "QSCROW_BENCH": str(place.folder), "QSCROW_URL": place.url}
    key, sealing = bytes(place.operator.key).hex(), place.folder / "sealing.json"
    if not sealing.exists():
        place.oracle_key.save(sealing, "bench", work_factor=2**10)
    deployment = ",".join(str(value) for value in vars(replace(place.chain.deployment)).values())
    command = [sys.executable, __file__, "--node", deployment]
    return subprocess.Popen(command, env={**environment, "QSCROW_BENCH_KEY": key}, cwd=ROOT)


def stop(process: subprocess.Popen[bytes]) -> None:
    """As an operator would."""
    process.send_signal(signal.SIGTERM)
    if process.wait(60):
        sys.exit(f"the node ended with {process.returncode}")


def run_node(deployment: str) -> None:
    """What the process does: a node on the journal until it is told to stop."""
    from pathlib import Path

    from eth_account import Account

    from oracle.chain.client import ChainClient, connect
    from oracle.chain.deployments import Deployment
    from oracle.content.store import BlockStore
    from oracle.node.assembly import opened_node
    from oracle.node.config import NodeConfig
    from oracle.sealing.keys import SealingKey

    folder = Path(os.environ["QSCROW_BENCH"])
    chain_id, block, *addresses = deployment.split(",")
    chain = ChainClient(connect(os.environ["QSCROW_URL"]), Deployment(int(chain_id), int(block), *addresses))
    with opened_node(
        chain,
        Account.from_key(os.environ["QSCROW_BENCH_KEY"]),
        SealingKey.load(folder / "sealing.json", "bench"),
        store=BlockStore(folder / "content"),
        journal=folder / "journal.db",
        config=NodeConfig(workers=2, poll_seconds=0.2),
    ) as node:
        signal.signal(signal.SIGTERM, lambda *_: node.stop())
        node.run()


if __name__ == "__main__":
    run_node(sys.argv[2]) if "--node" in sys.argv else main()
