"""Jobs on hardware, from the chain to IBM and back: a real node and IBM's unmodified client, with the box for IBM."""

from __future__ import annotations

import json
import time

import pytest

from oracle.audit.ledger import build_ledger
from oracle.backends.ibm.box import Box
from oracle.chain.client import ChainClient
from oracle.chain.deploy import deploy
from oracle.chain.history import fetch_job
from oracle.chain.localnet import dev_accounts, in_process_chain
from oracle.chain.sender import Sender
from oracle.content.store import BlockStore
from oracle.jobs.states import State
from oracle.node.assembly import opened_node
from oracle.node.config import NodeConfig
from oracle.node.journal import ACTIVE, Step
from oracle.requester.draft import load_draft
from oracle.requester.money import promote_job
from oracle.requester.results import open_result
from oracle.requester.submit import Parties, prepare, submit
from oracle.sealing.keys import SealingKey

STAKE, BOND = 10**18, 10**15
PATIENCE_SECONDS = 60
BELL = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\nh q[0];\ncx q[0],q[1];\nmeasure q -> c;\n'


class Lab:
    """A chain, a requester, and an oracle whose IBM is a box."""

    def __init__(self, folder, box):
        w3 = in_process_chain()
        deployer, self.requester, self.operator = dev_accounts(3)
        self.chain = ChainClient(w3, deploy(w3, deployer))
        self.box, self.folder = box, folder
        self.store = BlockStore(folder / "content")
        self.requester_key, self.oracle_key = SealingKey.generate(), SealingKey.generate()
        self.token = folder / "ibm.key"
        self.token.touch(mode=0o600)
        self.token.write_text(box.token + "\n")
        Sender(w3, self.operator).send(self.chain.registry.register(self.oracle_key.public, bytes(32), STAKE))

    def submit(self, circuit=BELL, *, quantum=None, promotion=None, **changes) -> int:
        """A job for hardware; returns its number."""
        folder = self.folder / f"draft{time.monotonic_ns()}"
        folder.mkdir()
        (folder / "circuit.qasm").write_text(circuit)
        asked = {"circuit": "circuit.qasm", "format": "openqasm2", "shots": 500, "backend_policy": "ibm"}
        draft = {
            "quantum": {**asked, **(quantum or {})},
            "budget": {"amount": "0.01 ether"},
            "validation": {"method": "distribution"},
            "timeouts": {"accept_seconds": 3_600, "deliver_seconds": 10_800},
            "promotion": promotion or {},
        }
        (folder / "job.yaml").write_text(json.dumps({**draft, **changes}))
        ready = prepare(
            load_draft(folder / "job.yaml"),
            Parties(oracle=self.operator.address, bond=BOND),
            chain=self.chain,
            requester=self.requester.address,
            key=self.requester_key,
        )
        sender = Sender(self.chain.w3, self.requester)
        return submit(ready, chain=self.chain, store=self.store, sender=sender).job_id

    def node(self, **options):
        """An opened node of the operator; the journal is always the same file."""
        usual = {
            "workers": 1,
            "poll_seconds": 0.02,
            "max_backoff_seconds": 0.1,
            "ibm_backends": "box_manila",
            "ibm_token_file": str(self.token),
            "ibm_instance": self.box.instance,
            "ibm_url": self.box.url,
            "ibm_poll_seconds": 0.05,
            "gate_approvals": frozenset(),
            "gate_baseline_distance": 0.2,
        }
        return opened_node(
            self.chain,
            self.operator,
            self.oracle_key,
            store=self.store,
            journal=self.folder / "journal.db",
            config=NodeConfig(**{**usual, **options}),
        )

    def promote(self, job_id: int, extra: int = 0) -> None:
        """The requester's yes."""
        sender = Sender(self.chain.w3, self.requester)
        promote_job(fetch_job(self.chain, job_id), chain=self.chain, sender=sender, extra=extra)

    def until(self, node, condition, what: str) -> None:
        """Let the node work until ``condition``."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            rows = [(row.job_id, row.step, row.reason) for row in node.journal.jobs()]
            assert time.monotonic() < give_up, f"waited for {what}: {rows}"
            node.tick()
            time.sleep(0.01)

    def until_idle(self, node) -> None:
        """Let the node work until nothing is left to do."""
        self.until(node, lambda: not node.tick() and not node.journal.jobs(ACTIVE), "everything")

    def history(self, job_id: int):
        """As the chain tells it."""
        return fetch_job(self.chain, job_id)

    def opened(self, job_id: int):
        """The result, as its requester opens it."""
        return open_result(self.history(job_id), chain=self.chain, store=self.store, key=self.requester_key)


@pytest.fixture(scope="module")
def box():
    with Box(seed=5) as box:
        yield box


@pytest.fixture
def lab(box, tmp_path):
    box.calm()
    box.jobs.clear()
    return Lab(tmp_path, box)


def waits(node, job_id: int, step: Step):
    """Whether the job stands at ``step`` and could not go on."""

    def look() -> bool:
        row = node.journal.job(job_id)
        return row is not None and row.step == step and row.attempts > 0

    return look


def test_hardware__promoted_job__is_simulated_submitted_and_settled(lab):
    job_id = lab.submit(promotion={"require_manual_approval": True})

    with lab.node() as node:
        lab.until(node, waits(node, job_id, Step.SIMULATED), "the simulation")
        assert not lab.box.jobs
        lab.promote(job_id, extra=5)
        lab.until_idle(node)

    history = lab.history(job_id)
    assert history.state == State.SETTLED
    states = [step.state for step in history.steps]
    assert states == [
        State.CREATED,
        State.ACCEPTED,
        State.SIMULATED,
        State.APPROVED,
        State.SUBMITTED,
        State.COMPLETED,
        State.SETTLED,
    ]
    opened = lab.opened(job_id)
    (job,) = lab.box.jobs.values()
    assert opened.document["provider"]["job_id"] == job.number
    assert opened.document["backend"]["name"] == "box_manila"
    assert opened.document["backend"]["engine"] == "ibm-stand-in"
    assert sum(opened.counts.values()) == 500
    assert build_ledger(lab.chain).balanced
