"""Circuits of at most 10 qubits from text to sealed result: rate, and where the CPU time goes. No chain.

Each job is linted here, parsed and simulated in a confined child of its own, checked, and sealed. Goal (DESIGN §12):
100 jobs/s on 2 cores. Beside it ``calibration`` says how many seconds of CPU a fixed computation takes on the machine
at that moment, because other load slows both.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import ghz, publish, spread

JOBS, ROUNDS, SHOTS = 400, 5, 1024


def main() -> None:
    """Measure ``ROUNDS`` rounds of ``JOBS`` jobs after one that warms everything up."""
    from oracle.backends.select import cores
    from oracle.circuits.sandbox import Sandbox

    jobs = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else JOBS
    rates, own, workers, phases, calibration = [], [], [], [], []
    with Sandbox(cores()) as sandbox:
        run_round(sandbox, 20 * cores())
        for _ in range(ROUNDS):
            calibration.append(fixed_computation())
            before, here, at = worker_cpu(sandbox), time.process_time(), time.perf_counter()
            phases.append(run_round(sandbox, jobs))
            rates.append(jobs / (time.perf_counter() - at))
            own.append(1_000 * (time.process_time() - here) / jobs)
            workers.append(1_000 * (worker_cpu(sandbox) - before) / jobs)
        sizes = [int(status(process, "VmRSS")) >> 10 for process in processes(sandbox)]
    figures = {
        "workers": cores(),
        "jobs_per_round": jobs,
        "jobs_per_second": spread(rates, 1),
        "cpu_ms_per_job": {"node_with_sealing": spread(own, 2), "workers_and_children": spread(workers, 2)},
        "wall_ms_in_child": {name: round(statistics.median(each[name] for each in phases), 2) for name in phases[0]},
        "worker_rss_mb": max(sizes),
        "calibration_cpu_s": spread(calibration, 3),
    }
    publish("execution", figures)


def run_round(sandbox: Any, jobs: int) -> dict[str, float]:
    """Take ``jobs`` from text to sealed result; the mean milliseconds of each phase in the child."""
    from oracle.circuits.limits import CircuitLimits
    from oracle.circuits.lint import lint
    from oracle.circuits.run import RunRequest

    limits, runs = CircuitLimits(), []
    for number, source in enumerate(itertools.islice(itertools.cycle(circuits()), jobs)):
        lint(source, "openqasm2", limits)
        runs.append(sandbox.submit(RunRequest(source, "openqasm2", SHOTS, number, limits)))
    total: dict[str, float] = {}
    for number, run in enumerate(runs):
        result = run.result()
        seal_result(number, result)
        for name, seconds in result.seconds.items():
            total[name] = total.get(name, 0.0) + 1_000 * seconds / jobs
    return total


def circuits() -> Iterator[bytes]:
    """GHZ states (Clifford) and layered rotations (statevector) of 2 to 10 qubits."""
    for qubits in (2, 5, 8, 10):
        yield ghz(qubits).encode()
        yield layers(qubits).encode()


def layers(qubits: int, depth: int = 3) -> str:
    """``depth`` layers of two rotations a qubit and a chain of CX."""
    head = f'OPENQASM 2.0;include "qelib1.inc";qreg q[{qubits}];creg c[{qubits}];'
    body = ""
    for layer in range(depth):
        body += "".join(f"ry(0.{layer + i + 1}) q[{i}];rz(0.{layer + 2 * i + 3}) q[{i}];" for i in range(qubits))
        body += "".join(f"cx q[{i}],q[{i + 1}];" for i in range(qubits - 1))
    return head + body + "measure q -> c;"


def seal_result(number: int, result: Any) -> bytes:
    """Seal as a node does: one capsule, bound to its job."""
    from oracle.jobs.canonical import canonical_bytes
    from oracle.sealing.capsules import Recipient
    from oracle.sealing.context import SealContext
    from oracle.sealing.keys import SealingKey
    from oracle.sealing.sealed import seal

    address = "0x" + "11" * 20
    context = SealContext.for_result(chain_id=31337, contract=address, job_id=number, spec=bytes(32), party=address)
    return seal(canonical_bytes(asdict(result)), context, [Recipient("nacl", SealingKey.generate().public)])


def fixed_computation() -> float:
    """CPU seconds of a computation that never changes."""
    before = time.process_time()
    total = 0
    for number in range(2_000_000):
        total ^= number * number
    return time.process_time() - before


def processes(sandbox: Any) -> list[int]:
    """The ids of the sandbox's worker processes."""
    return [worker._process.pid for worker in sandbox._pool if worker._process is not None]


def worker_cpu(sandbox: Any) -> float:
    """CPU seconds of the workers and of the children they have waited for."""
    tick = 1 / os.sysconf("SC_CLK_TCK")
    spent = 0.0
    for process in processes(sandbox):
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        spent += sum(map(int, fields[11:15])) * tick
    return spent


def status(process: int, name: str) -> str:
    """One line of a process's status, its number."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
