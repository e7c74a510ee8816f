"""Jobs a node takes from the chain to settled: rate, and CPU beyond the simulator's own time.

The node runs in this process with real confined workers; anvil runs beside it on the same cores and its CPU is not
counted. Goals (DESIGN §12): 100 jobs/s of at most 10 qubits on 2 cores, and 25 ms CPU per job beyond Aer's own time.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

from bench import World, ghz, publish, spread, until, world

JOBS, ROUNDS = 400, 3
SHOTS = 1024
LOOK_SECONDS = 0.25  # between two looks at the chain; a node's default is a second


def main() -> None:
    """Measure ``ROUNDS`` rounds of ``JOBS`` jobs, with and without acceptance on chain."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else JOBS
    own = simulators_own_ms()
    with world() as place:
        figures = {
            "jobs_per_round": jobs,
            "simulators_own_cpu_ms_per_job": round(own, 3),
            "delivered_without_acceptance": measure(place, jobs, own, accept_above_wei=10**18),
            "accepted_first": measure(place, max(50, jobs // 2), own, accept_above_wei=0),
        }
    publish("node", figures)


def measure(place: World, jobs: int, own_ms: float, **options: int) -> dict[str, object]:
    """Rates and overheads over several rounds, after one that warms everything up."""
    rates, overheads = [], []
    with node(place, **options) as running:
        settle(place, running, 20)
        for _ in range(ROUNDS):
            before = cpu_seconds()
            rates.append(jobs / settle(place, running, jobs))
            overheads.append(1_000 * (cpu_seconds() - before) / jobs - own_ms)
    return {"jobs_per_second": spread(rates, 1), "overhead_cpu_ms_per_job": spread(overheads, 2)}


def simulators_own_ms() -> float:
    """CPU of Aer's run alone, in milliseconds per job, for the circuits of a round: parsed and transpiled before."""
    from qiskit import qasm2, transpile
    from qiskit_aer import AerSimulator

    simulator = AerSimulator(method="automatic", max_parallel_threads=1)
    circuits = [transpile(qasm2.loads(circuit(n), include_path=()), simulator) for n in range(9)]
    simulator.run(circuits[0], shots=SHOTS).result()
    before = time.process_time()
    for circuit_ in circuits * 5:
        simulator.run(circuit_, shots=SHOTS).result()
    return 1_000 * (time.process_time() - before) / (5 * len(circuits))


def circuit(number: int) -> str:
    """2 to 10 qubits."""
    return ghz(2 + number % 9)


def node(place: World, **options: int):
    """An opened node on ``place``, its journal kept between rounds."""
    from oracle.node.assembly import opened_node
    from oracle.node.config import NodeConfig

    config = NodeConfig(workers=2, per_requester_limit=1_000, **options)
    return opened_node(
        place.chain,
        place.operator,
        place.oracle_key,
        store=place.store,
        journal=place.folder / "journal.db",
        config=config,
    )


def settle(place: World, running: Any, jobs: int) -> float:
    """Submit ``jobs`` while the node sleeps, then let it settle them; returns the seconds that took."""
    last = place.submit(jobs, circuit, shots=SHOTS)[-1]

    def done() -> bool:
        running.tick()
        running.work_for(LOOK_SECONDS)
        return running.journal.counts().get("closed", 0) >= last

    return until(done, 600, pause=0)


def cpu_seconds() -> float:
    """CPU of this process and, for workers are warm and still alive, of everything below it but anvil."""
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
