"""How often each kind of result passes each kind of validation: the operating curves of docs/validation.md.

``python benchmarks/validation.py --write`` measures (about ten minutes on two cores), stores
``results/validation.json`` and renders tables and plots; ``--render`` renders the stored figures again.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
from bench import RESULTS, publish
from validation_plots import render

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import RunRequest
from oracle.circuits.simulate import simulate
from oracle.validation.agreement import judge_agreement
from oracle.validation.baseline import Baseline
from oracle.validation.canary import Canary, judge_canaries
from oracle.validation.counts import Counts
from oracle.validation.distribution import DEPOLARISING, DistributionTest, Policy
from oracle.validation.replay import RunFacts, judge_replay
from oracle.validation.statistics import distance, wilson
from oracle.validation.verdict import HARDWARE, SIMULATOR

FAMILIES = ("ghz", "brickwork", "ansatz")
SHOTS = (1024, 4000, 16_000)
TRIALS = {3: 60, 5: 60, 10: 40, 20: 20}
SHARES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
# A device: depolarising errors per gate and a readout that loses ones more often than zeros.
ONE_QUBIT_ERROR, TWO_QUBIT_ERROR, READ_0, READ_1 = 4e-4, 1e-2, 0.02, 0.026
TRAJECTORIES = 48
REPLAYS = 4
NAIVE = 0.08
POLICIES = {
    "ideal": (Policy(), SIMULATOR),
    "hardware": (Policy(noise=DEPOLARISING, readout_error=(READ_0 + READ_1) / 2), HARDWARE),
}
Tally = dict[str, int]


def main() -> None:
    """Measure everything, or render what was measured."""
    if "--render" not in sys.argv:
        started = time.perf_counter()
        with ProcessPoolExecutor(2) as pool:
            cells = [pool.submit(measured, width, family) for width in reversed(TRIALS) for family in FAMILIES]
            panels = [pool.submit(agreeing, width) for width in (3, 5, 10)]
            canaries = pool.submit(hidden)
            figures = {
                "method": describe(),
                "distribution": pooled([cell for job in cells for cell in job.result()["distribution"]]),
                "replay": pooled([cell for job in cells for cell in job.result()["replay"]]),
                "curves": pooled([cell for job in cells for cell in job.result()["curves"]]),
                "agreement": pooled([cell for job in panels for cell in job.result()]),
                "canary": canaries.result(),
            }
        publish("validation", {**figures, "seconds": round(time.perf_counter() - started)})
    if {"--write", "--render"} & set(sys.argv):
        render(json.loads((RESULTS / "validation.json").read_text()))


def describe() -> dict[str, Any]:
    """What the figures were made with."""
    return {
        "families": list(FAMILIES),
        "trials_per_family": {str(width): trials for width, trials in TRIALS.items()},
        "one_qubit_error": ONE_QUBIT_ERROR,
        "two_qubit_error": TWO_QUBIT_ERROR,
        "readout_error": [READ_0, READ_1],
        "trajectories_at_20_qubits": TRAJECTORIES,
        "naive_threshold": NAIVE,
        "confidence": Policy().confidence,
        "max_excess": Policy().max_excess,
        "min_polarisation": Policy().min_polarisation,
    }


def pooled(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cells that differ in the family only, added up, with Wilson's 95 % interval of the acceptance rate."""
    sums: dict[str, dict[str, Any]] = {}
    for cell in cells:
        key = {name: value for name, value in cell.items() if name not in ("family", "tally")}
        into = sums.setdefault(json.dumps(key), {**key, "tally": {}, "families": {}})
        for outcome, number in cell["tally"].items():
            into["tally"][outcome] = into["tally"].get(outcome, 0) + number
        into["families"][cell["family"]] = rate(cell["tally"])["accepted"]
    return [{**cell, **rate(cell["tally"])} for cell in sums.values()]


def rate(tally: Tally) -> dict[str, Any]:
    """The share of acceptances in a tally, its interval, and the number of trials."""
    trials, accepted = sum(tally.values()), tally.get("accept", 0)
    low, high = wilson(accepted, trials)
    return {"accepted": round(accepted / trials, 4), "interval": [round(low, 4), round(high, 4)], "trials": trials}


# ------------------------------------------------------------------------------------------------ circuits


def circuit_of(family: str, width: int) -> Any:
    """The circuit of a family, without measurements, in u and cx."""
    from qiskit import QuantumCircuit, transpile
    from qiskit.circuit import library

    rng = np.random.default_rng([width, FAMILIES.index(family)])
    circuit = QuantumCircuit(width)
    if family == "ghz":
        circuit.h(0)
        for qubit in range(width - 1):
            circuit.cx(qubit, qubit + 1)
    elif family == "brickwork":
        for layer in range(5):
            for qubit in range(width):
                circuit.u(*rng.uniform(0, 2 * np.pi, 3), qubit)
            for qubit in range(layer % 2, width - 1 if layer < 4 else 0, 2):
                circuit.cx(qubit, qubit + 1)
    else:
        ansatz = library.efficient_su2(width, reps=3, entanglement="linear")
        circuit = ansatz.assign_parameters(rng.uniform(-np.pi, np.pi, ansatz.num_parameters))
    return transpile(circuit, basis_gates=["u", "cx"], optimization_level=0)


def without_a_gate(circuit: Any) -> Any:
    """The circuit without the CX in the middle."""
    places = [place for place, each in enumerate(circuit.data) if each.operation.name == "cx"]
    cut = circuit.copy()
    del cut.data[places[len(places) // 2]]
    return cut


class Case:
    """One circuit and the distributions its results may come from."""

    def __init__(self, family: str, width: int):
        self.family, self.width = family, width
        self.circuit = circuit_of(family, width)
        self.ideal = probabilities(self.circuit)
        self.uniform = np.full(2**width, 2.0**-width)

    @cached_property
    def noisy(self) -> np.ndarray:
        return misread(noisy_probabilities(self.circuit), self.width)

    @cached_property
    def dropped(self) -> np.ndarray:
        return probabilities(without_a_gate(self.circuit))

    @cached_property
    def wrong(self) -> np.ndarray:
        return probabilities(circuit_of(FAMILIES[FAMILIES.index(self.family) - 1], self.width))

    def faded(self, share: float) -> np.ndarray:
        """The ideal distribution with a share of uniform noise, as it could be written down without any device."""
        return (1 - share) * self.ideal + share * self.uniform


def probabilities(circuit: Any) -> np.ndarray:
    from qiskit.quantum_info import Statevector

    values = Statevector(circuit).probabilities()
    return values / values.sum()


def noisy_probabilities(circuit: Any) -> np.ndarray:
    """After gate errors: exact up to ten qubits, beyond that the mean over random error patterns."""
    from qiskit_aer import AerSimulator
    from qiskit_aer.noise import NoiseModel, depolarizing_error

    noise = NoiseModel(basis_gates=["u", "cx"])
    noise.add_all_qubit_quantum_error(depolarizing_error(ONE_QUBIT_ERROR, 1), ["u"])
    noise.add_all_qubit_quantum_error(depolarizing_error(TWO_QUBIT_ERROR, 2), ["cx"])
    exact = circuit.num_qubits <= 10
    simulator = AerSimulator(
        method="density_matrix" if exact else "statevector",
        noise_model=noise,
        seed_simulator=5,
        max_parallel_threads=1,
    )
    saved = circuit.copy()
    saved.save_probabilities()
    values = simulator.run(saved, shots=1 if exact else TRAJECTORIES).result().data()["probabilities"]
    return np.asarray(values)


def misread(values: np.ndarray, width: int) -> np.ndarray:
    """After readout errors on every bit."""
    flips = np.array([[1 - READ_0, READ_1], [READ_0, 1 - READ_1]])
    bits = values.reshape((2,) * width)
    for axis in range(width):
        bits = np.moveaxis(np.tensordot(flips, bits, (1, axis)), 0, axis)
    return bits.reshape(-1) / bits.sum()


# ------------------------------------------------------------------------------------------------- sources


def sources(case: Case, shots: int, rng: np.random.Generator) -> dict[str, Callable[[], dict[str, int]]]:
    """Who may have written the counts, honest ones first."""
    quarter = shots // 4

    def few_resampled() -> np.ndarray:
        seen = sample(case.ideal, quarter, rng)
        return sample(seen / quarter, shots, rng)

    drawn = {
        "honest ideal": lambda: sample(case.ideal, shots, rng),
        "honest noisy": lambda: sample(case.noisy, shots, rng),
        "uniform": lambda: sample(case.uniform, shots, rng),
        "copied ideal": lambda: rounded(case.ideal, shots, rng),
        "dropped gate": lambda: sample(case.dropped, shots, rng),
        "fewer shots, multiplied": lambda: 4 * sample(case.ideal, quarter, rng),
        "fewer shots, resampled": few_resampled,
        "wrong circuit": lambda: sample(case.wrong, shots, rng),
        "replayed old result": lambda: sample(case.ideal, shots, rng),
        "ideal with white noise": lambda: sample(case.faded(0.1), shots, rng),
    }
    return {name: (lambda draw=draw: as_counts(draw(), case.width)) for name, draw in drawn.items()}


def sample(values: np.ndarray, shots: int, rng: np.random.Generator) -> np.ndarray:
    if len(values) < 4 * shots:
        return rng.multinomial(shots, values)
    return np.bincount(rng.choice(len(values), shots, p=values), minlength=len(values))


def rounded(values: np.ndarray, shots: int, rng: np.random.Generator) -> np.ndarray:
    """The ideal probabilities times the shots, rounded at random so that they add up (systematic sampling)."""
    steps = np.floor(np.cumsum(values) * shots + rng.random()).astype(int)
    numbers = np.diff(steps, prepend=0)
    numbers[np.argmax(values)] += shots - numbers.sum()
    return numbers


def as_counts(numbers: np.ndarray, width: int) -> dict[str, int]:
    return {format(place, f"0{width}b"): int(numbers[place]) for place in np.flatnonzero(numbers)}


# --------------------------------------------------------------------------------------------------- tiers


def measured(width: int, family: str) -> dict[str, list[dict[str, Any]]]:
    """Every source against the distribution and replay tiers, for one circuit."""
    case = Case(family, width)
    found: dict[str, list[dict[str, Any]]] = {"distribution": [], "replay": [], "curves": []}
    for shots in SHOTS:
        rng = np.random.default_rng([width, shots, FAMILIES.index(family)])
        tests = {tier: DistributionTest(Baseline.exact(case.ideal), shots, p) for tier, (p, _) in POLICIES.items()}
        cell = {"qubits": width, "shots": shots, "family": family}
        for name, give in sources(case, shots, rng).items():
            results = [give() for _ in range(TRIALS[width])]
            tallies = tallied(case, tests, results)
            found["distribution"] += [{**cell, "source": name, "tier": tier, "tally": t} for tier, t in tallies.items()]
        for share in SHARES:
            results = [as_counts(sample(case.faded(share), shots, rng), width) for _ in range(TRIALS[width] // 2)]
            tallies = tallied(case, tests, results)
            found["curves"] += [{**cell, "share": share, "tier": tier, "tally": t} for tier, t in tallies.items()]
        found["replay"] += [{**cell, **tally} for tally in replayed(case, shots, rng)]
    return found


def tallied(case: Case, tests: dict[str, DistributionTest], results: list[dict[str, int]]) -> dict[str, Tally]:
    """How each tier, and a fixed threshold, judges the results."""
    tallies: dict[str, Tally] = {tier: {} for tier in (*tests, "fixed")}
    for counts in results:
        known = Counts.parse(counts)
        for tier, test in tests.items():
            add(tallies[tier], str(test.judge(known, claim=POLICIES[tier][1]).outcome))
        expected = case.ideal[[int(outcome, 2) for outcome in known.outcomes]]
        far = distance(known.numbers / known.shots, expected) > NAIVE
        add(tallies["fixed"], "reject" if far else "accept")
    return tallies


def add(tally: Tally, outcome: str) -> None:
    tally[outcome] = tally.get(outcome, 0) + 1


def replayed(case: Case, shots: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Real seeded runs, run again; then every cheat against the counts its seed should have given."""
    from qiskit import qasm2

    measured = case.circuit.copy()
    measured.measure_all()
    source = qasm2.dumps(measured).encode()
    honest: Tally = {}
    for seed in range(REPLAYS):
        runs = [run_facts(source, shots, seed) for _ in range(2)]
        add(honest, str(judge_replay(*runs, required_seed=seed).outcome))
    yield {"source": "honest ideal", "tier": "replay", "tally": honest}
    truth = runs[0]
    for name, give in sources(case, shots, rng).items():
        if name == "honest ideal":
            continue
        tally: Tally = {}
        for _ in range(TRIALS[case.width]):
            claimed = RunFacts(Counts.parse(give()), *facts_but_counts(truth))
            add(tally, str(judge_replay(claimed, truth, required_seed=truth.seed).outcome))
        yield {"source": name, "tier": "replay", "tally": tally}


def run_facts(source: bytes, shots: int, seed: int) -> RunFacts:
    run = simulate(RunRequest(source, "openqasm2", shots, seed, CircuitLimits()), time.perf_counter())
    fields = ("seed", "method", "engine", "versions", "transpiled_digest")
    return RunFacts(Counts.parse(run["counts"]), *(run[name] for name in fields), run.get("threads"))


def facts_but_counts(facts: RunFacts) -> tuple[Any, ...]:
    return facts.seed, facts.method, facts.engine, facts.versions, facts.transpiled_digest, facts.threads


def agreeing(width: int) -> list[dict[str, Any]]:
    """Two honest oracles and a third of each kind: how often the third is accepted."""
    shots, found = 4000, []
    for family in ("ansatz",):
        case = Case(family, width)
        for tier, (policy, claim) in POLICIES.items():
            rng = np.random.default_rng([width, FAMILIES.index(family), 7])
            kinds = sources(case, shots, rng)
            honest = kinds["honest noisy" if tier == "hardware" else "honest ideal"]
            for name, give in kinds.items():
                tally: Tally = {}
                for _ in range(8 if width == 10 else 16):
                    results = {"first": honest(), "second": honest(), "third": give()}
                    add(tally, str(judge_agreement(results, policy, claim=claim)["third"].outcome))
                cell = {"qubits": width, "shots": shots, "family": family, "source": name, "tier": tier}
                found.append({**cell, "tally": tally})
    return found


def hidden() -> list[dict[str, Any]]:
    """Canaries among 16 real circuits of 5 qubits, an oracle that makes up a share of the results."""
    found, shots, real, trials = [], 256, 16, 400
    rng, chance = np.random.default_rng(9), random.Random(9)
    for number in (1, 2, 4, 8):
        for share in (0.0, 0.1, 0.25, 0.5, 1.0):
            tally: Tally = {}
            for _ in range(trials):
                positions = sorted(chance.sample(range(real + number), number))
                faked = set(chance.sample(range(real + number), round(share * (real + number))))
                made_up = as_counts(rng.multinomial(shots, np.full(32, 1 / 32)), 5)
                results = [made_up if place in faked else {"10110": shots} for place in range(real + number)]
                canaries = [Canary(place, "10110") for place in positions]
                add(tally, str(judge_canaries(results, canaries).outcome))
            found.append({"canaries": number, "real": real, "faked": share, "tally": tally, **rate(tally)})
    return found


if __name__ == "__main__":
    main()
