"""Jobs on hardware, from the chain to IBM and back: a real node and IBM's unmodified client, with the box for IBM."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from oracle.audit.artefacts import Status, inspect_artefacts
from oracle.audit.ledger import build_ledger
from oracle.backends.aer import AerBackend
from oracle.backends.ibm.box import CANCEL, FAIL, HOLD, OVERRUN, Box
from oracle.backends.ibm.process import Process
from oracle.chain.client import ChainClient
from oracle.chain.deploy import deploy
from oracle.chain.history import fetch_job
from oracle.chain.localnet import advance_time, dev_accounts, in_process_chain
from oracle.chain.sender import Sender
from oracle.circuits.sandbox import Sandbox
from oracle.content.store import BlockStore
from oracle.jobs.states import State
from oracle.node.approvals import Approvals
from oracle.node.assembly import opened_node
from oracle.node.config import NodeConfig
from oracle.node.documents import require_room
from oracle.node.journal import ACTIVE, Journal, Step
from oracle.node.rebuild import rebuild
from oracle.requester.draft import load_draft
from oracle.requester.money import promote_job
from oracle.requester.results import open_result
from oracle.requester.submit import Parties, prepare, submit
from oracle.sealing.artefacts import HIDDEN
from oracle.sealing.keys import SealingKey

STAKE, BOND = 10**18, 10**15
PATIENCE_SECONDS = 60
BELL = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\nh q[0];\ncx q[0],q[1];\nmeasure q -> c;\n'


class Lab:
    """A chain, a requester, and an oracle whose IBM is a box."""

    def __init__(self, folder, box, token):
        w3 = in_process_chain()
        deployer, self.requester, self.operator = dev_accounts(3)
        self.chain = ChainClient(w3, deploy(w3, deployer))
        self.box, self.folder = box, folder
        self.store = BlockStore(folder / "content")
        self.requester_key, self.oracle_key = SealingKey.generate(), SealingKey.generate()
        self.token = token
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


@pytest.fixture(scope="module")
def helpers():
    """The helper processes of all nodes here: a node that ends leaves them to the next, which saves starting them."""
    known: dict[tuple, Process] = {}

    def process(module, hello, greeted, environment=None):
        key = (module, json.dumps(hello(), sort_keys=True))
        if key not in known:
            known[key] = Lasting(module, hello, greeted, environment)
        return known[key]

    yield process
    for each in known.values():
        Process.close(each)


class Lasting(Process):
    """Outlives its node."""

    def close(self) -> None:
        """Not yet."""


class LastingAer(AerBackend):
    """Outlives its node."""

    def close(self) -> None:
        """Not yet."""


@pytest.fixture(scope="module")
def aer():
    """The simulator of all nodes here."""
    with Sandbox(1) as sandbox:
        yield LastingAer(sandbox)


@pytest.fixture
def lab(box, helpers, aer, tmp_path, tmp_path_factory, monkeypatch):
    box.calm()
    box.jobs.clear()
    for module in ("account", "compiler"):
        monkeypatch.setattr(f"oracle.backends.ibm.{module}.Process", helpers)
    monkeypatch.setattr("oracle.node.assembly.open_backend", lambda *_: aer)
    monkeypatch.setattr("oracle.backends.ibm.adapter.QUEUE_SECONDS", 0.0)
    monkeypatch.setattr("oracle.node.hardware.SILENCE_SECONDS", 0.1)
    monkeypatch.setattr("oracle.node.service.TIDY_SECONDS", 0.0)
    token = tmp_path_factory.getbasetemp() / "ibm.key"
    token.touch(mode=0o600)
    token.write_text(box.token + "\n")
    return Lab(tmp_path, box, token)


class Killed(BaseException):
    """What a kill looks like from inside: nothing after it happens, and nothing catches it."""


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
    seen = inspect_artefacts(history, chain=lab.chain, store=lab.store, document=opened.document, key=lab.requester_key)
    found = {each.name: each for each in seen.artefacts}
    assert {found[name].status for name in HIDDEN} == {Status.VERIFIED}
    assert re.fullmatch("its commitment is on chain since block [0-9]+", found["simulation"].note)


def test_hardware__nobody_asks_for_a_promotion__runs_beside_simulators(lab):
    hardware = lab.submit()
    simulator = lab.submit(quantum={"backend_policy": "simulator"})
    either = lab.submit(quantum={"backend_policy": "ibm_or_simulator"})

    with lab.node(price_hardware=10**14) as node:
        lab.until_idle(node)

    assert len(lab.box.jobs) == 1  # what a simulator can do, no hardware does
    charges = {job_id: lab.history(job_id).charge for job_id in (hardware, simulator, either)}
    assert charges[hardware] == charges[simulator] + 10**14
    assert charges[either] == charges[simulator]
    routing = lab.opened(either).document["routing"]
    assert "comes first" in routing["reasons"]["box_manila"]


def test_hardware__node_restarted_while_ibm_works__takes_up_the_same_job(lab):
    lab.box.queue_seconds = 1.0
    job_id = lab.submit()
    with lab.node() as node:
        lab.until(node, waits(node, job_id, Step.SUBMITTED), "the submission")
    with lab.node() as node:
        lab.until_idle(node)

    assert lab.history(job_id).state == State.SETTLED
    assert len(lab.box.jobs) == 1


@pytest.mark.parametrize("step", [Step.SUBMITTED, Step.RAN])
def test_hardware__killed_before_a_step_is_written__pays_ibm_once(lab, monkeypatch, step):
    """Before SUBMITTED is written IBM has the job, and the node does not know as what."""
    job_id = lab.submit()
    real = Journal.advance

    def dying(self, job, reached, **changes):
        if reached == step:
            raise Killed
        return real(self, job, reached, **changes)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "advance", dying)
        with lab.node() as node, pytest.raises(Killed):
            lab.until_idle(node)
    with lab.node() as node:
        lab.until_idle(node)

    assert lab.history(job_id).state == State.SETTLED
    assert len(lab.box.jobs) == 1


def test_hardware__journal_lost_while_ibm_works__finds_its_run_again(lab):
    lab.box.queue_seconds = 1.0
    job_id = lab.submit()
    with lab.node() as node:
        lab.until(node, waits(node, job_id, Step.SUBMITTED), "the submission")
    path = lab.folder / "journal.db"
    shutil.rmtree(path.with_suffix(".ibm"))
    rebuild(lab.chain, lab.operator.address, path, NodeConfig())

    with lab.node() as node:
        lab.until_idle(node)

    assert lab.history(job_id).state == State.SETTLED
    assert len(lab.box.jobs) == 1


def test_hardware__ibm_fails_the_job_once__submits_it_again(lab):
    lab.box.doom(FAIL)
    job_id = lab.submit()

    with lab.node() as node:
        lab.until_idle(node)

    assert lab.history(job_id).state == State.SETTLED
    assert [job.status for job in lab.box.jobs.values()] == ["Failed", "Completed"]


@pytest.mark.parametrize(
    ("fates", "reason"),
    [
        ([FAIL, FAIL], "provider_failed"),
        ([OVERRUN], "hardware_time_limit"),
        ([CANCEL], "provider_cancelled"),
    ],
)
def test_hardware__ibm_does_not_run_it__fails_with_the_reason(lab, fates, reason):
    lab.box.doom(*fates)
    job_id = lab.submit()

    with lab.node() as node:
        lab.until_idle(node)

    history = lab.history(job_id)
    assert (history.state, history.reason) == (State.FAILED, reason)
    assert len(lab.box.jobs) == len(fates)
    assert lab.chain.registry.stake_of(lab.operator.address) == (STAKE, 0)


def test_hardware__result_that_never_comes__is_given_up_in_time_and_cancelled(lab):
    lab.box.doom(HOLD)
    job_id = lab.submit()
    with lab.node() as node:
        lab.until(node, waits(node, job_id, Step.SUBMITTED), "the submission")
        left = lab.history(job_id).terms.deliver_by - lab.chain.block().timestamp
        advance_time(lab.chain.w3, left - 5)
        lab.until_idle(node)

    history = lab.history(job_id)
    assert (history.state, history.reason) == (State.FAILED, "too_little_time")
    assert [job.status for job in lab.box.jobs.values()] == ["Cancelled"]


def test_hardware__refunded_while_ibm_works__is_cancelled_there(lab):
    lab.box.doom(HOLD)
    job_id = lab.submit()
    with lab.node() as node:
        lab.until(node, waits(node, job_id, Step.SUBMITTED), "the submission")
        advance_time(lab.chain.w3, 20_000)
        terms = lab.history(job_id).terms
        Sender(lab.chain.w3, lab.requester).send(lab.chain.escrow.claim_refund(job_id, terms))
        lab.until_idle(node)

    assert lab.history(job_id).state == State.EXPIRED
    assert [job.status for job in lab.box.jobs.values()] == ["Cancelled"]


def test_hardware__ibm_silent_when_a_job_is_given_up__cancels_it_later(lab):
    lab.box.doom(HOLD)
    job_id = lab.submit()
    with lab.node() as node:
        lab.until(node, waits(node, job_id, Step.SUBMITTED), "the submission")
        lab.box.inject("POST /jobs/*/cancel", 400, times=2)
        left = lab.history(job_id).terms.deliver_by - lab.chain.block().timestamp
        advance_time(lab.chain.w3, left - 5)
        lab.until_idle(node)
        assert lab.history(job_id).state == State.FAILED
        lab.until(node, lambda: [job.status for job in lab.box.jobs.values()] == ["Cancelled"], "the cancellation")
        lab.until(node, lambda: not list(node._t.provider.notes.tags()), "the note to be removed")


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        ("POST /jobs", 429),
        ("GET /jobs/*", 429),
        ("GET /jobs/*/results", 429),
        ("GET /backends/*/status", 429),
    ],
)
def test_hardware__ibm_answers_badly_for_a_while__is_asked_again(lab, request_, what):
    lab.box.inject(request_, what, times=2)
    job_id = lab.submit()

    with lab.node() as node:
        lab.until_idle(node)

    assert lab.history(job_id).state == State.SETTLED
    assert sum(job.status == "Completed" for job in lab.box.jobs.values()) == 1


def test_hardware__backend_closed__keeps_no_simulator_job_waiting(lab):
    lab.box.offline.add("box_manila")
    hardware = lab.submit()
    simulator = lab.submit(quantum={"backend_policy": "ibm_or_simulator"})

    with lab.node() as node:
        settled = lambda job_id: lab.history(job_id).state == State.SETTLED  # noqa: E731
        lab.until(node, lambda: settled(simulator), "the simulator job")
        lab.until(node, waits(node, hardware, Step.SEEN), "the hardware job to wait")
        assert lab.history(hardware).state == State.CREATED
        lab.box.offline.clear()
        lab.until_idle(node)

    assert settled(hardware)


def test_hardware__ibm_out_of_reach__node_starts_and_declines_in_time(lab):
    hardware = lab.submit()
    simulator = lab.submit(quantum={"backend_policy": "simulator"})

    with lab.node(ibm_url="http://127.0.0.1:9", margin_seconds=600) as node:
        lab.until(node, lambda: lab.history(simulator).state == State.SETTLED, "the simulator job")
        lab.until(node, waits(node, hardware, Step.SEEN), "the hardware job to wait")
        advance_time(lab.chain.w3, 3_200)
        lab.until_idle(node)

    history = lab.history(hardware)
    assert (history.state, history.reason) == (State.REJECTED, "no_backend")


def test_hardware__no_provider__is_declined(lab):
    job_id = lab.submit()

    with lab.node(ibm_backends="") as node:
        lab.until_idle(node)

    assert lab.history(job_id).reason == "no_backend"


@pytest.mark.parametrize(
    ("promotion", "reason"),
    [
        ({"max_baseline_distance": 0.001}, "baseline_too_far"),
        ({"require_manual_approval": True}, "not_promoted"),
    ],
)
def test_gates__deny_after_the_simulation__say_so_on_chain_and_spend_nothing(lab, promotion, reason):
    job_id = lab.submit(promotion=promotion)
    with lab.node() as node:
        if reason == "not_promoted":
            lab.until(node, waits(node, job_id, Step.SIMULATED), "the simulation")
            advance_time(lab.chain.w3, 11_000)
        lab.until_idle(node)

    history = lab.history(job_id)
    assert (history.state, history.reason) == (State.FAILED, reason)
    assert not lab.box.jobs
    assert build_ledger(lab.chain).balanced


@pytest.mark.parametrize(("required", "state"), [(True, State.REJECTED), (False, State.SETTLED)])
def test_gates__circuit_that_cannot_be_simulated__runs_only_where_nobody_asks(lab, monkeypatch, required, state):
    monkeypatch.setattr("oracle.node.pipeline.rehearsal", lambda *_: None)
    job_id = lab.submit(promotion={"require_simulation": False})
    with lab.node(gate_simulation=required) as node:
        lab.until_idle(node)

    history = lab.history(job_id)
    assert (history.state, history.reason) == (state, "not_simulated" if required else "")
    assert len(lab.box.jobs) == (not required)


def test_hardware__result_may_not_fit_one_document__is_refused_before_ibm_has_it(lab, monkeypatch):
    monkeypatch.setattr("oracle.node.hardware.require_room", partial(require_room, limit=2_000))
    job_id = lab.submit()
    with lab.node() as node:
        lab.until_idle(node)

    history = lab.history(job_id)
    assert (history.state, history.reason) == (State.FAILED, "output_limit")
    assert not lab.box.jobs


def test_gates__queue_grows_after_acceptance__is_denied(lab):
    job_id = lab.submit(quantum={"constraints": {"max_queue_minutes": 10}}, promotion={"require_manual_approval": True})
    with lab.node() as node:
        lab.until(node, waits(node, job_id, Step.SIMULATED), "the simulation")
        lab.box.waiting["box_manila"] = 100
        lab.promote(job_id)
        lab.until_idle(node)

    assert lab.history(job_id).reason == "queue_too_long"
    assert not lab.box.jobs


def test_gates__operator_takes_the_word_back__is_denied(lab):
    job_id = lab.submit(promotion={"require_manual_approval": True})
    with lab.node(gate_approvals=frozenset({"unknown_requester"})) as node:
        approvals = Approvals.beside(node.journal.path)
        lab.until(node, approvals.waiting, "the question")
        approvals.answer(job_id, True)
        lab.until(node, waits(node, job_id, Step.SIMULATED), "the simulation")
        lab.promote(job_id, extra=7)
        approvals.answer(job_id, False)
        lab.until_idle(node)

    assert lab.history(job_id).reason == "not_approved"


def test_gates__operators_word__is_good_for_the_promoted_job(lab):
    job_id = lab.submit(promotion={"require_manual_approval": True})
    with lab.node(gate_approvals=frozenset({"unknown_requester"})) as node:
        approvals = Approvals.beside(node.journal.path)
        lab.until(node, approvals.waiting, "the question")
        approvals.answer(job_id, True)
        lab.until(node, waits(node, job_id, Step.SIMULATED), "the simulation")
        lab.promote(job_id, extra=7)
        lab.until_idle(node)

    assert lab.history(job_id).state == State.SETTLED


def test_gates__no_time_for_a_promotion__is_refused_before_acceptance(lab):
    timeouts = {"accept_seconds": 60, "deliver_seconds": 60}
    job_id = lab.submit(promotion={"require_manual_approval": True}, timeouts=timeouts)

    with lab.node() as node:
        lab.until_idle(node)

    history = lab.history(job_id)
    assert (history.state, history.reason) == (State.REJECTED, "not_promoted")


def test_private__result__is_kept_until_the_job_is_over(lab, monkeypatch):
    monkeypatch.setattr("oracle.node.hardware.ORPHAN_SECONDS", 0.0)
    job_id = lab.submit()
    real = Journal.advance

    def dying(self, job, reached, **changes):
        if reached == Step.RAN:
            raise Killed
        return real(self, job, reached, **changes)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "advance", dying)
        with lab.node(ibm_private=True) as node, pytest.raises(Killed):
            lab.until_idle(node)
    (job,) = lab.box.jobs.values()
    assert job.body["private"] and job.result is None  # IBM has it no more
    folder = lab.folder / "journal.ibm"
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    with lab.node(ibm_private=True) as node:
        lab.until_idle(node)
        lab.until(node, lambda: not list(folder.iterdir()), "the folder to be empty")

    assert lab.history(job_id).state == State.SETTLED
    assert lab.opened(job_id).document["provider"]["private"]


def test_token__after_a_whole_run__is_in_its_file_alone(lab, caplog, capfd):
    job_id = lab.submit()
    denied = lab.submit(promotion={"max_baseline_distance": 0.001})
    with lab.node() as node:
        lab.until(node, lambda: lab.box.jobs, "the submission")
        processes = {os.getpid(), *_descendants(os.getpid())}
        environments = [Path(f"/proc/{process}/environ").read_bytes() for process in processes]
        lab.until_idle(node)

    assert len(processes) > 3  # link, compiler, worker
    assert lab.history(job_id).state == State.SETTLED and lab.history(denied).state == State.FAILED
    told = capfd.readouterr()
    opened = json.dumps(lab.opened(job_id).document)
    files = [path.read_bytes() for path in lab.folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    texts = [text.encode() for text in (told.out, told.err, caplog.text, opened)]
    assert not any(lab.box.token.encode() in text for text in (*texts, *files, *environments))


def _descendants(process: int) -> list[int]:
    found, waiting = [], [process]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with suppress(OSError):
                children = [int(child) for child in task.read_text().split()]
                found += children
                waiting += children
    return found
