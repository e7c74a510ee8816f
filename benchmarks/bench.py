"""What the benchmarks share: a chain with thousands of jobs, a node to measure, and how to report a figure.

Every benchmark is a script (``python benchmarks/<name>.py``) that prints one JSON document and, with ``--write``,
stores it as ``benchmarks/results/<name>.json``. Absolute times belong to the machine named in the document; compare
ratios.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "benchmarks" / "results"
STAKE = 10**18
JOBS_PER_TRANSACTION = 100


def machine() -> dict[str, Any]:
    """The machine and the versions a figure belongs to."""
    from importlib.metadata import version

    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = named[0] if named else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("qiskit", "qiskit-aer", "web3", "coincurve")},
    }


def spread(values: list[float], digits: int = 4) -> dict[str, float]:
    """Median, least and greatest of ``values``."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
        "runs": len(values),
    }


def publish(name: str, figures: dict[str, Any]) -> None:
    """Print the figures with the machine; store them if the command line says ``--write``."""
    text = json.dumps({"benchmark": name, "machine": machine(), **figures}, indent=1)
    print(text)
    if "--write" in sys.argv:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(text + "\n")


@dataclass
class World:
    """A chain with the contracts, a requester, a registered oracle and a content store, all in a scratch folder."""

    url: str
    chain: Any
    requester: Any
    operator: Any
    requester_key: Any
    oracle_key: Any
    store: Any
    folder: Path

    def submit(self, count: int, circuit: Callable[[int], str], *, shots: int = 1024, hours: int = 1) -> list[int]:
        """Submit ``count`` jobs addressed to the oracle, ``createJobs`` by ``createJobs``; returns their ids."""
        from oracle.chain.sender import Sender

        sender, ids = Sender(self.chain.w3, self.requester), []
        for first in range(0, count, JOBS_PER_TRANSACTION):
            numbers = range(first, min(first + JOBS_PER_TRANSACTION, count))
            terms = [self._terms(number, circuit(number), shots, hours) for number in numbers]
            known = self.chain.escrow.job_count()
            total = sum(each.budget for each in terms)
            escrow = self.chain.escrow
            sender.send(escrow._call("createJobs", "createJobs", [each.to_abi() for each in terms], value=total))
            ids.extend(range(known + 1, known + 1 + len(terms)))
        return ids

    def _terms(self, number: int, source: str, shots: int, hours: int) -> Any:
        from oracle.content.cid import ipfs_uri
        from oracle.jobs.canonical import canonical_bytes
        from oracle.jobs.identity import did_pkh
        from oracle.jobs.spec import normalise
        from oracle.jobs.terms import ZERO_ADDRESS, Terms

        fields = {
            "job_type": "benchmark",
            "quantum": {"circuit": "c.qasm", "format": "openqasm2", "shots": shots, "seed": number},
            "budget": {"amount": 10**15},
        }
        link = ipfs_uri(self.store.put(source.encode()).digest)
        spec = canonical_bytes(
            normalise(fields, requester=did_pkh(self.chain.chain_id, self.requester.address), circuit=link)
        )
        digest = self.store.put(spec).digest
        now = self.chain.block().timestamp
        return Terms(
            requester=self.requester.address,
            payer=self.requester.address,
            oracle=self.operator.address,
            validator=ZERO_ADDRESS,
            arbiter=ZERO_ADDRESS,
            token=ZERO_ADDRESS,
            budget=10**15,
            validator_fee=0,
            bond=0,
            accept_by=now + hours * 3_600,
            deliver_by=now + 2 * hours * 3_600,
            challenge_period=0,
            spec=digest,
            seal_to=self.requester_key.for_spec(digest).public,
        )


@contextmanager
def world(*, arguments: tuple[str, ...] = ()) -> Iterator[World]:
    """A fresh anvil with everything on it."""
    from oracle.chain.client import ChainClient, connect
    from oracle.chain.deploy import deploy
    from oracle.chain.localnet import dev_accounts, find_anvil, running_anvil
    from oracle.chain.sender import Sender
    from oracle.content.store import BlockStore
    from oracle.sealing.keys import SealingKey

    anvil = find_anvil() or sys.exit("anvil is not installed; run `make contracts-setup`")
    deployer, requester, operator = dev_accounts(3)
    with tempfile.TemporaryDirectory(prefix="qscrow-bench-") as folder, running_anvil(anvil, free_port()) as url:
        w3 = connect(url)
        chain = ChainClient(w3, deploy(w3, deployer))
        key = SealingKey.generate()
        Sender(w3, operator).send(chain.registry.register(key.public, bytes(32), STAKE))
        store = BlockStore(Path(folder) / "content")
        yield World(url, chain, requester, operator, SealingKey.generate(), key, store, Path(folder))


def ghz(qubits: int) -> str:
    """A GHZ state in OpenQASM 2."""
    gates = "".join(f"cx q[{i}],q[{i + 1}];" for i in range(qubits - 1))
    head = f'OPENQASM 2.0;include "qelib1.inc";qreg q[{qubits}];creg c[{qubits}];'
    return f"{head}h q[0];{gates}measure q -> c;"


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(done: Callable[[], bool], seconds: float, pause: float = 0.02) -> float:
    """Wait until ``done()``; returns the seconds it took. Ends the script after ``seconds``."""
    started = time.perf_counter()
    while not done():
        if time.perf_counter() - started > seconds:
            sys.exit(f"gave up after {seconds} s")
        time.sleep(pause)
    return time.perf_counter() - started
