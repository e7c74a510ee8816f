"""Jobs a node takes from the chain to settled: rate, and CPU beyond the simulator's own time.

The node runs in this process with real confined workers; anvil runs beside it on the same cores and its CPU is not
counted. Goals (DESIGN §12): 100 jobs/s of at most 10 qubits on 2 cores, and 25 ms CPU per job beyond Aer's own time.
"""

from __future__ import annotations

import json
import resource
import sys
import time

from bench import World, ghz, publish, spread, until, world

JOBS, ROUNDS = 400, 3
SHOTS = 1024


def main() -> None:
    """Measure ``ROUNDS`` rounds of ``JOBS`` jobs, with and without acceptance on chain."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else JOBS
    with world() as place:
        figures = {
            "jobs_per_round": jobs,
            "delivered_without_acceptance": measure(place, jobs, accept_above_wei=10**18),
            "accepted_first": measure(place, max(50, jobs // 4), accept_above_wei=0),
        }
    publish("node", figures)


def measure(place: World, jobs: int, **options: int) -> dict[str, object]:
    """Rates and overheads over several rounds, after one that warms everything up."""
    rates, overheads, ratios = [], [], []
    with node(place, **options) as running:
        settle(place, running, 20)
        for _ in range(ROUNDS):
            before = cpu_seconds(running)
            seconds, simulated = settle(place, running, jobs)
            spent = cpu_seconds(running) - before
            rates.append(jobs / seconds)
            overheads.append(1_000 * (spent - simulated) / jobs)
            ratios.append(spent / simulated)
    return {
        "jobs_per_second": spread(rates, 1),
        "overhead_cpu_ms_per_job": spread(overheads, 2),
        "cpu_over_simulators_own": spread(ratios, 2),
    }


def node(place: World, **options: int):
    """An opened node on ``place``, its journal kept between rounds."""
    from oracle.node.assembly import opened_node
    from oracle.node.config import NodeConfig

    config = NodeConfig(workers=2, poll_seconds=0.05, max_jobs_at_once=16, **options)
    return opened_node(
        place.chain,
        place.operator,
        place.oracle_key,
        store=place.store,
        journal=place.folder / f"{time.monotonic_ns()}.db",
        config=config,
    )


def settle(place: World, running, jobs: int) -> tuple[float, float]:
    """Submit ``jobs`` while the node sleeps, then let it settle them: seconds taken, simulator's seconds of CPU."""
    ids = place.submit(jobs, lambda number: ghz(2 + number % 9), shots=SHOTS)
    journal = running._t.journal

    def done() -> bool:
        running.tick()
        return journal.counts().get("closed", 0) >= ids[-1]

    seconds = until(done, 600, pause=0.005)
    simulated = 0.0
    for job_id in ids:
        run = json.loads(journal.job(job_id).result)["run"]
        simulated += sum(run["seconds"].values())
    return seconds, simulated


def cpu_seconds(running) -> float:
    """CPU of this process and, for workers are warm and still alive, of everything below it."""
    import psutil

    own = resource.getrusage(resource.RUSAGE_SELF)
    total = own.ru_utime + own.ru_stime
    for child in psutil.Process().children(recursive=True):
        if child.name().startswith("anvil"):
            continue
        times = child.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


if __name__ == "__main__":
    main()
