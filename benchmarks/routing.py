"""The router against Aer's ``automatic`` and against every single method, over a zoo of circuits.

Times are CPU seconds in a fresh confined process per run (``automatic`` in one like it), so that other work on the
machine counts little. ``router`` is everything a node pays for: analysis, probe, compilation for the method, and run;
with the extra ``fast``, and where it then takes qsim, as ``built_in`` without;
``automatic`` is transpilation with a ready pass manager, and run. Loading is the same for all and not in either. A
method that a run may not exceed ``LIMIT`` seconds with counts as that at least. Memory is the peak of the process less
what it had before, against the forecast.

Goals (issue 5): never slower than ``automatic`` beyond noise, ten times faster on wide Clifford circuits and on those
with little entanglement.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import signal
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bench import ROOT, ghz, publish  # noqa: F401  (bench puts the package on the path)

SHOTS, ROUNDS, LIMIT = 1024, 3, 15
OVERHEAD_JOBS = 200
# Less than this is the noise of one process after another.
NOISE_SECONDS, NOISE_FACTOR = 0.01, 1.25


def main() -> None:
    """Measure the zoo, the overhead, and the rate."""
    from oracle.circuits import worker

    worker._warm_up()
    rows = {name: measure(name, source) for name, source in zoo().items()}
    figures = {
        "shots": SHOTS,
        "cpu_seconds_limit": LIMIT,
        "circuits": rows,
        "slower_than_automatic": [name for name, row in rows.items() if slower(row)],
        "overhead": overhead(),
    }
    publish("routing", figures)


def measure(name: str, source: bytes) -> dict[str, Any]:
    """One row: what the router chose, its time and memory, Aer's ``automatic``, and the other methods."""
    from oracle.circuits.analysis import METHODS, QSIM, choose, forecasts

    analysis, _, _ = in_child(lambda: analysis_of(source))
    if isinstance(analysis, str):
        return {"error": analysis}
    found, choice = (
        forecasts(analysis, SHOTS),
        choose(analysis, SHOTS, limits(), reproducible=False, allowed=METHODS)[0],
    )
    row: dict[str, Any] = {"qubits": analysis.qubits, "gates": analysis.gates, "chosen": choice or "none"}
    # In turns, so that a busy moment falls on all.
    measured = {"router": run_routed, "automatic": run_automatic} | (
        {"built_in": run_built_in} if choice == QSIM else {}
    )
    found_by: dict[str, list[dict[str, Any]]] = {name: [] for name in measured}
    for _ in range(ROUNDS):
        for how, run in measured.items():
            if not found_by[how] or found_by[how][0]["seconds"] < 1:
                found_by[how].append(timed(lambda run=run: run(source)))
    row |= {how: middle(runs) for how, runs in found_by.items()}
    singles = {}
    for method in METHODS:
        if not found[method].code and found[method].seconds < LIMIT / 4 and found[method].memory_bytes < 2**32:
            singles[method] = timed(lambda method=method: run_method(source, method))
    row["single"] = singles
    good = {method: each["seconds"] for method, each in singles.items() if "error" not in each}
    if good:
        row["best_single"] = min(good, key=good.__getitem__)
    if choice:
        row["forecast"] = {
            "seconds": round(found[choice].seconds, 4),
            "mib": round(found[choice].memory_bytes / 2**20, 2),
        }
        if "error" not in row["automatic"] or row["automatic"]["seconds"] >= LIMIT:  # then it is at least this
            row["speed_up"] = round(row["automatic"]["seconds"] / row["router"]["seconds"], 2)
    print(name, json.dumps(row), file=sys.stderr, flush=True)
    return row


def slower(row: dict[str, Any]) -> bool:
    """Whether the router lost to ``automatic`` by more than noise."""
    if "error" in row["automatic"] or "error" in row["router"]:
        return "error" in row["router"] and "error" not in row["automatic"]
    return row["router"]["seconds"] > NOISE_FACTOR * row["automatic"]["seconds"] + NOISE_SECONDS


def overhead() -> dict[str, Any]:
    """Milliseconds of wall time inside the child for small jobs, and jobs a second on all cores."""
    from oracle.backends.aer import AerBackend
    from oracle.backends.select import cores
    from oracle.circuits.run import RunRequest
    from oracle.circuits.sandbox import Sandbox
    from oracle.routing.route import route

    small = [layers(qubits, 3) for qubits in (2, 5, 8, 10)] + [ghz(qubits).encode() for qubits in (2, 5, 8, 10)]
    sources = list(itertools.islice(itertools.cycle(small), OVERHEAD_JOBS))
    backend = AerBackend(Sandbox(cores()), limits())
    try:
        requests = [RunRequest(source, "openqasm2", SHOTS, n, limits()) for n, source in enumerate(sources)]
        for reference in [backend.submit(each, f"warm {n}") for n, each in enumerate(requests[:40])]:
            backend.result(reference)
        started = time.perf_counter()
        references = [backend.submit(each, str(n)) for n, each in enumerate(requests)]
        results = [backend.result(reference) for reference in references]
        seconds = time.perf_counter() - started
        analysis = backend.analyse(requests[3])
        started = time.process_time()
        for _ in range(200):
            route(SPEC, analysis, [backend.candidate()])
        routed = (time.process_time() - started) / 200
        alone = []
        for each in requests[:50]:
            started = time.perf_counter()
            backend.analyse(each)
            alone.append(time.perf_counter() - started)
    finally:
        backend.close()
    phases = {
        phase: round(1_000 * statistics.median(result.seconds[phase] for result in results), 3)
        for phase in ("load", "analyse", "transpile", "run")
    }
    return {
        "circuits_per_second": round(len(sources) / seconds, 1),
        "workers": cores(),
        "ms_in_child": phases,
        "ms_cpu_to_route": round(1_000 * routed, 3),
        "ms_analysis_in_a_child_of_its_own": round(1_000 * statistics.median(alone), 2),
    }


# ------------------------------------------------------------------------------------------------ runs


def run_routed(source: bytes) -> str:
    """As a node with the extra ``fast`` runs it, from the loaded circuit on; returns the method."""
    return run_asked(request(source))


def run_built_in(source: bytes) -> str:
    """As a node without any extra runs it; returns the method."""
    from oracle.circuits.analysis import BUILT_IN

    return run_asked(replace(request(source), methods=BUILT_IN))


def run_asked(asked: Any) -> str:
    """By the method that is best for it; returns that."""
    from oracle.circuits.simulate import _method, _unfolded

    circuit = loaded(asked.source)
    begin()
    plain = _unfolded(circuit)
    method = _method(plain, asked)
    sample(plain, method)
    return method


def run_method(source: bytes, method: str) -> str:
    """One method by name, without analysis."""
    from oracle.circuits.simulate import _unfolded

    circuit = loaded(source)
    begin()
    sample(_unfolded(circuit), method)
    return method


def sample(circuit: Any, method: str) -> None:
    """Compile and run."""
    from oracle.circuits import clifford, qsim
    from oracle.circuits.simulate import _compiled, _run

    compiled = _compiled(circuit, method)
    if method in ("stim", "qsim"):
        (clifford if method == "stim" else qsim).sample(compiled, SHOTS, 1, limits().outcomes)
    else:
        _run(compiled, method, SHOTS, 1)


def run_automatic(source: bytes) -> str:
    """Aer as it comes, but for one thread and its pass manager ready; returns the method it picked."""
    from qiskit_aer import AerSimulator

    from oracle.circuits.simulate import pass_manager

    circuit, simulator = loaded(source), AerSimulator(max_parallel_threads=1)
    begin()
    result = simulator.run(pass_manager("statevector").run(circuit), shots=SHOTS, seed_simulator=1).result()
    if not result.success:
        raise RuntimeError(str(result.results[0].status if result.results else result.status))
    result.data()["counts"]
    return result.results[0].metadata["method"]


def analysis_of(source: bytes) -> Any:
    """The router's view of a circuit."""
    from oracle.circuits.simulate import analysis_of as analysed

    begin()
    return analysed(request(source))


def loaded(source: bytes) -> Any:
    """The parsed circuit."""
    from oracle.circuits.load import load

    return load(source, "openqasm2", limits())


def request(source: bytes) -> Any:
    """A run of ``source``, the method left open."""
    from oracle.circuits.run import RunRequest

    return RunRequest(source, "openqasm2", SHOTS, 1, limits())


def limits() -> Any:
    """As a node comes."""
    from oracle.circuits.limits import CircuitLimits

    return CircuitLimits()


SPEC = {
    "quantum": {
        "backend_policy": "simulator",
        "shots": SHOTS,
        "seed": None,
        "constraints": {"max_qubits": None, "max_queue_minutes": None, "allowed_backends": []},
    }
}
_begun = 0.0


def begin() -> None:
    """From here on a child's time counts."""
    global _begun
    _begun = time.process_time()


def timed(run: Callable[[], str]) -> dict[str, Any]:
    """The method, CPU seconds and additional peak memory of ``run`` in a child of its own."""
    answer, seconds, mib = in_child(run)
    figures: dict[str, Any] = {"method": answer, "seconds": round(seconds, 4), "mib": round(mib, 1)}
    return figures if not answer.startswith("!") else {"error": answer[1:90], "seconds": round(seconds, 4)}


def middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The run of median time."""
    return sorted(runs, key=lambda run: run["seconds"])[len(runs) // 2]


def in_child(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """What ``run`` returned in a forked child (``!`` and why, if it failed), its CPU seconds, and MiB beyond the
    child's first."""
    import pickle

    inlet, outlet = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(inlet)
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))
        before = peak()
        try:
            answer = run()
        except BaseException as err:
            answer = f"!{type(err).__name__}: {err}"
        with os.fdopen(outlet, "wb") as pipe:
            pickle.dump((answer, time.process_time() - _begun, peak() - before), pipe)
        os._exit(0)
    os.close(outlet)
    with os.fdopen(inlet, "rb") as pipe:
        data = pipe.read()
    _, status, _ = os.wait4(child, 0)
    if not data:
        return f"!killed by signal {status & 127} ({signal.Signals(status & 127).name})", float(LIMIT), 0.0
    return pickle.loads(data)


def peak() -> float:
    """MiB this process had at most, reset by the fork."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024


# -------------------------------------------------------------------------------------------- circuits


def zoo() -> dict[str, bytes]:
    """Kinds of circuits people run, small and wide."""
    return {
        "GHZ 5": ghz(5).encode(),
        "GHZ 28": ghz(28).encode(),
        "GHZ 200": ghz(200).encode(),
        "GHZ 500": ghz(500).encode(),
        "Clifford all-to-all 20": tangle(20, 20, clifford=True),
        "Clifford all-to-all 100": tangle(100, 50, clifford=True),
        "Clifford all-to-all 300": tangle(300, 60, clifford=True),
        "layers linear 10": layers(10, 4),
        "layers linear 24": layers(24, 4),
        "layers linear 60": layers(60, 4),
        "random all-to-all 10": tangle(10, 10),
        "random all-to-all 16": tangle(16, 20),
        "random all-to-all 18": tangle(18, 20),
        "random all-to-all 20": tangle(20, 20),
        "random all-to-all 22": tangle(22, 20),
        "random all-to-all 24": tangle(24, 4),
        "random all-to-all 26": tangle(26, 4),
        "random all-to-all 40": tangle(40, 40),
        "QFT 12": qft(12),
        "QFT 20": qft(20),
        "QFT 28": qft(28),
        "reset in the middle 8": resets(8),
        "reset in the middle 11": resets(11),
        "feed-forward 6": feed_forward(6),
    }


def head(qubits: int) -> str:
    """Registers of ``qubits`` qubits and as many bits."""
    return f'OPENQASM 2.0;include "qelib1.inc";qreg q[{qubits}];creg c[{qubits}];'


def layers(qubits: int, depth: int) -> bytes:
    """Rotations and a chain of CX between neighbours, ``depth`` times: a variational circuit."""
    dice, text = random.Random(qubits), head(qubits)
    for _ in range(depth):
        text += "".join(f"ry({3 * dice.random()}) q[{i}];rz({3 * dice.random()}) q[{i}];" for i in range(qubits))
        text += "".join(f"cx q[{i}],q[{i + 1}];" for i in range(qubits - 1))
    return (text + "measure q -> c;").encode()


def tangle(qubits: int, depth: int, *, clifford: bool = False) -> bytes:
    """A gate on every qubit and CX on random pairs, ``depth`` times."""
    dice, text = random.Random(qubits), head(qubits)
    for _ in range(depth):
        for place in range(qubits):
            angles = ",".join(str(3 * dice.random()) for _ in range(3))
            text += f"{dice.choice('hsx')} q[{place}];" if clifford else f"u({angles}) q[{place}];"
        order = dice.sample(range(qubits), qubits)
        text += "".join(f"cx q[{a}],q[{b}];" for a, b in zip(order[::2], order[1::2], strict=False))
    return (text + "measure q -> c;").encode()


def qft(qubits: int) -> bytes:
    """The Fourier transform of a product state."""
    text = head(qubits) + "".join(f"ry({0.1 * i + 0.2}) q[{i}];" for i in range(qubits))
    for i in reversed(range(qubits)):
        text += f"h q[{i}];" + "".join(f"cp(pi/{2 ** (i - j)}) q[{j}],q[{i}];" for j in reversed(range(i)))
    return (text + "measure q -> c;").encode()


def resets(qubits: int) -> bytes:
    """Layers with a reset between them."""
    chain = "".join(f"cx q[{i}],q[{i + 1}];" for i in range(qubits - 1))
    return (head(qubits) + f"ry(0.4) q;{chain}reset q[0];ry(0.7) q;{chain}measure q -> c;").encode()


def feed_forward(qubits: int) -> bytes:
    """Gates that depend on a measurement."""
    chain = "".join(f"cx q[{i}],q[{i + 1}];" for i in range(qubits - 1))
    return (head(qubits) + f"ry(0.4) q;{chain}measure q[0] -> c[0];if(c==1) x q[1];{chain}measure q -> c;").encode()


if __name__ == "__main__":
    main()
