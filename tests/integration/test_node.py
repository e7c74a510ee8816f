"""A node on a real chain with real circuits: whatever kills it and whenever, each job is finished once."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace

import pytest

from oracle.audit.ledger import build_ledger
from oracle.chain.client import ChainClient
from oracle.chain.deploy import deploy
from oracle.chain.history import fetch_job
from oracle.chain.localnet import advance_time, dev_accounts, in_process_chain
from oracle.chain.sender import Sender, Tended
from oracle.content.cid import CID
from oracle.content.store import BlockStore
from oracle.jobs.states import State
from oracle.jobs.terms import ZERO_ADDRESS
from oracle.node.approvals import Approvals
from oracle.node.assembly import opened_node
from oracle.node.config import NodeConfig
from oracle.node.journal import ACTIVE, Journal, Step
from oracle.node.watch import Watch
from oracle.requester.draft import Draft, example_files, load_draft, write_example
from oracle.requester.results import open_result
from oracle.requester.submit import Parties, prepare, submit
from oracle.sealing.keys import SealingKey
from oracle.validation.replay import derive_seed

STAKE, BOND = 10**18, 10**15
PATIENCE_SECONDS = 60
# Steps of jobs that are declined, or that go to hardware (test_ibm.py).
ELSEWHERE = (Step.SEEN, Step.DECLINING, Step.SIMULATED, Step.SUBMITTED)


class Killed(BaseException):
    """What a kill looks like from inside: nothing after it happens, and nothing catches it."""


@dataclass
class Bench:
    """A chain with the contracts, a store, a requester and a registered oracle."""

    chain: ChainClient
    store: BlockStore
    requester: object
    operator: object
    requester_key: SealingKey
    oracle_key: SealingKey
    folder: object

    def submit(self, example: str = "ghz", *, parties: Parties | None = None, **changes) -> int:
        """Submit an example with changed draft fields; returns the job id."""
        path = self.folder / f"{time.monotonic_ns()}" / "job.yaml"
        write_example(path, example)
        draft = load_draft(path)
        draft = replace(draft, fields={**draft.fields, **changes})
        return self.submit_draft(draft, parties=parties)

    def submit_draft(self, draft: Draft, *, parties: Parties | None = None, **terms) -> int:
        """Submit a draft, with other ``terms`` than usual; returns the job id."""
        ready = prepare(
            draft,
            parties or Parties(oracle=self.operator.address),
            chain=self.chain,
            requester=self.requester.address,
            key=self.requester_key,
        )
        ready = replace(ready, terms=replace(ready.terms, **terms))
        sender = Sender(self.chain.w3, self.requester)
        return submit(ready, chain=self.chain, store=self.store, sender=sender).job_id

    def node(self, *, store=None, report=lambda *_: None, **options):
        """An opened node of the operator; the journal is always the same file."""
        config = NodeConfig(**{"workers": 1, "poll_seconds": 0.02, "max_backoff_seconds": 0.1, **options})
        return opened_node(
            self.chain,
            self.operator,
            self.oracle_key,
            store=store or self.store,
            journal=self.folder / "journal.db",
            config=config,
            watch=Watch(config, show=report),
        )

    def journal(self) -> Journal:
        """The journal while no node runs."""
        identity = {"chain_id": self.chain.chain_id, "escrow": self.chain.deployment.job_escrow}
        return Journal(self.folder / "journal.db", oracle=self.operator.address, **identity)

    def run_until_idle(self, node) -> None:
        """Let ``node`` work until none of its jobs is left; raises what killed it."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up:
            if not node.tick() and not node._t.journal.jobs(ACTIVE):
                return
            time.sleep(0.01)
        pytest.fail("the node did not finish in time")

    def deliveries(self, job_id: int) -> int:
        """How often the chain saw a delivery of this job."""
        events = self.chain.job_events(job_id, 0, self.chain.block().number)
        return sum(event.name == "JobDelivered" for event in events)


@pytest.fixture
def bench(tmp_path):
    w3 = in_process_chain()
    deployer, requester, operator = dev_accounts(3)
    chain = ChainClient(w3, deploy(w3, deployer))
    made = Bench(
        chain,
        BlockStore(tmp_path / "content"),
        requester,
        operator,
        SealingKey.generate(),
        SealingKey.generate(),
        tmp_path,
    )
    Sender(w3, operator).send(chain.registry.register(made.oracle_key.public, bytes(32), STAKE))
    return made


def test_node__jobs_of_every_kind__are_settled_or_refused_with_a_reason(bench):
    ghz = bench.submit("ghz")
    open_job = bench.submit("bernstein_vazirani", parties=Parties(bond=BOND))
    too_wide = bench.submit("too_wide")
    too_poor = bench.submit("grover", budget={"amount": 1000})
    hardware = bench.submit("ghz", quantum={"circuit": "ghz.qasm", "backend_policy": "ibm"})

    with bench.node() as node:
        bench.run_until_idle(node)

    for job_id in (ghz, open_job):
        history = fetch_job(bench.chain, job_id)
        opened = open_result(history, chain=bench.chain, store=bench.store, key=bench.requester_key)
        assert history.state == State.SETTLED
        assert sum(opened.counts.values()) == 1024
        assert history.to_oracle == history.charge > 0
    for job_id, reason in ((too_wide, "too_much_memory"), (too_poor, "budget_too_low"), (hardware, "no_backend")):
        history = fetch_job(bench.chain, job_id)
        assert (history.state, history.reason) == (State.REJECTED, reason)
    books = build_ledger(bench.chain)
    assert books.balanced, books.checks


@pytest.mark.parametrize("step", [step for step in Step if step not in ELSEWHERE])
def test_node__killed_after_any_step__finishes_the_job_once(bench, step):
    arbitrated = step == Step.DELIVERED  # only a challenge period makes that step last
    parties = Parties(oracle=bench.operator.address, bond=BOND)
    changes = {}
    if arbitrated:
        arbiter = dev_accounts(5)[4].address
        parties = replace(parties, arbiter=arbiter)
        changes = {"timeouts": {"challenge_seconds": 60}, "settlement": {"release_on": "challenge"}}
    job_id = bench.submit("ghz", parties=parties, **changes)

    def kill_at(_, reached, __):
        if reached == step:
            raise Killed

    trust = {"trusted_arbiters": frozenset({parties.arbiter})} if arbitrated else {}
    with bench.node(report=kill_at, **trust) as node, pytest.raises(Killed):
        bench.run_until_idle(node)
    if arbitrated:
        advance_time(bench.chain.w3, 120)
    with bench.node(**trust) as node:
        bench.run_until_idle(node)

    assert fetch_job(bench.chain, job_id).state == State.SETTLED
    assert bench.deliveries(job_id) == 1
    assert bench.chain.registry.stake_of(bench.operator.address) == (STAKE, 0)
    assert build_ledger(bench.chain).balanced


@pytest.mark.parametrize("action", ["accept", "deliver"])
@pytest.mark.parametrize("moment", ["recorded", "broadcast"])
def test_node__killed_around_a_broadcast__sends_the_same_transaction(bench, monkeypatch, action, moment):
    """Between recording and broadcasting nothing is on the chain yet; after broadcasting it is, unknown to the node."""
    job_id = bench.submit("ghz", parties=Parties(oracle=bench.operator.address, bond=BOND))
    target = "_broadcast_first" if moment == "recorded" else "start"
    real = getattr(Sender, target)

    def dying_before(self, attempt, *args, **options):
        if attempt.purpose.endswith(action):
            raise Killed
        return real(self, attempt, *args, **options)

    def dying_after(self, call, purpose):
        attempt = real(self, call, purpose)
        if purpose.endswith(action):
            raise Killed
        return attempt

    with monkeypatch.context() as patched:
        patched.setattr(Sender, target, dying_before if moment == "recorded" else dying_after)
        patched.setattr(
            Sender, "tend", lambda self: Tended()
        )  # the main loop must not outlive the thread that is killed
        with bench.node() as node, pytest.raises(Killed):
            bench.run_until_idle(node)
    before = bench.chain.w3.eth.get_transaction_count(bench.operator.address)
    with bench.node() as node:
        bench.run_until_idle(node)

    assert fetch_job(bench.chain, job_id).state == State.SETTLED
    assert bench.deliveries(job_id) == 1
    sent = bench.chain.w3.eth.get_transaction_count(bench.operator.address) - before
    left = {"accept": {"recorded": 2, "broadcast": 1}, "deliver": {"recorded": 1, "broadcast": 0}}
    assert sent == left[action][moment]


def test_node__spec_without_a_seed__uses_the_one_that_the_block_of_its_creation_fixes(bench):
    job_id = bench.submit("ghz", quantum={"circuit": "ghz.qasm", "seed": None})

    with bench.node() as node:
        bench.run_until_idle(node)

    history = fetch_job(bench.chain, job_id)
    opened = open_result(history, chain=bench.chain, store=bench.store, key=bench.requester_key)
    contract, block = bench.chain.deployment.job_escrow, bench.chain.block(history.created_block)
    assert opened.document["seed"] == derive_seed(31337, contract, job_id, block.hash, history.terms.spec)


def test_node__content_that_comes_late__is_waited_for(bench, tmp_path):
    job_id = bench.submit("ghz")
    empty = BlockStore(tmp_path / "elsewhere")
    with bench.node(store=empty) as node:
        node.tick()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not node._t.journal.job(job_id).attempts and time.monotonic() < deadline:
            node.tick()
            time.sleep(0.01)
        assert bench.chain.escrow.state_of(job_id) == State.CREATED
        for cid in bench.store.pins():
            empty.put(bench.store.get(cid, max_bytes=2**20))
        bench.run_until_idle(node)

    assert bench.chain.escrow.state_of(job_id) == State.SETTLED


def test_node__spec_that_is_no_spec__is_rejected_with_the_reason(bench):
    job_id = bench.submit("ghz")
    terms = fetch_job(bench.chain, job_id).terms
    rubbish = bench.store.put(b'{"version": 1}')
    sender = Sender(bench.chain.w3, bench.requester)
    sender.send(bench.chain.escrow.create_job(replace(terms, spec=rubbish.digest)))

    with bench.node() as node:
        bench.run_until_idle(node)

    history = fetch_job(bench.chain, job_id + 1)
    assert (history.state, history.reason) == (State.REJECTED, "bad_spec")


def test_node__damaged_block_in_the_store__is_waited_for_and_not_believed(bench):
    job_id = bench.submit("ghz")
    cid = CID.from_digest(fetch_job(bench.chain, job_id).terms.spec)
    spec = bench.store.get(cid, max_bytes=2**16)
    bench.store._path(cid).write_bytes(b"something else")

    with bench.node() as node:
        node.tick()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not node.journal.job(job_id).attempts and time.monotonic() < deadline:
            node.tick()
            time.sleep(0.01)
        assert bench.chain.escrow.state_of(job_id) == State.CREATED
        bench.store.put(spec)  # repairs it
        bench.run_until_idle(node)

    assert bench.chain.escrow.state_of(job_id) == State.SETTLED


def test_node__cancelled_while_it_looks__closes_the_job(bench):
    job_id = bench.submit("ghz")
    terms = fetch_job(bench.chain, job_id).terms
    with bench.node() as node:
        node._ingest.run_once()
        Sender(bench.chain.w3, bench.requester).send(bench.chain.escrow.cancel(job_id, terms))
        bench.run_until_idle(node)
        assert node._t.journal.job(job_id).reason == "Cancelled"

    assert bench.chain.registry.stake_of(bench.operator.address)[1] == 0


@pytest.mark.parametrize("step", [Step.ACCEPTED, Step.RAN, Step.SEALED])
def test_node__promoted_while_it_works__delivers_under_the_new_terms(bench, step):
    job_id = bench.submit("ghz", timeouts={"accept_seconds": 3_600, "deliver_seconds": 10_800})
    requester = Sender(bench.chain.w3, bench.requester)

    def promote_at(_, reached, __):
        if reached == step:
            terms = fetch_job(bench.chain, job_id).terms
            requester.send(bench.chain.escrow.promote(job_id, terms, extra=1))

    with bench.node(report=promote_at) as node:
        bench.run_until_idle(node)

    history = fetch_job(bench.chain, job_id)
    assert history.state == State.SETTLED
    assert State.APPROVED in [past.state for past in history.steps]
    assert bench.deliveries(job_id) == 1
    assert build_ledger(bench.chain).balanced


def test_node__delivered_on_a_chain_in_earnest__is_left_alone_for_ten_back_offs(bench, monkeypatch):
    monkeypatch.setattr("oracle.node.pipeline.LOCAL_CHAINS", frozenset())
    arbiter = dev_accounts(5)[4].address
    changes = {"timeouts": {"challenge_seconds": 600}, "settlement": {"release_on": "challenge"}}
    bench.submit("ghz", parties=Parties(oracle=bench.operator.address, arbiter=arbiter), **changes)
    with bench.node(trusted_arbiters=frozenset({arbiter}), max_backoff_seconds=0.1) as node:
        until = time.monotonic() + PATIENCE_SECONDS
        while not (delivered := [row for row in node.journal.jobs((Step.DELIVERED,)) if row.retry_at]):
            assert time.monotonic() < until
            node.tick()
            time.sleep(0.01)
    assert delivered[0].retry_at - delivered[0].since >= 10 * 0.1


def test_node__judges_it_does_not_trust__are_refused(bench):
    arbiter = dev_accounts(5)[4].address
    changes = {"timeouts": {"challenge_seconds": 60}, "settlement": {"release_on": "challenge"}}
    job_id = bench.submit("ghz", parties=Parties(oracle=bench.operator.address, arbiter=arbiter), **changes)

    with bench.node() as node:
        bench.run_until_idle(node)

    assert fetch_job(bench.chain, job_id).reason == "arbiter_not_trusted"


def test_node__gate_that_asks_its_operator__waits_for_the_word_and_remembers_it(bench):
    first, second = bench.submit("ghz"), bench.submit("grover")
    options = {"gate_apply_to": "all", "gate_validation": False}

    with bench.node(**options) as node:
        approvals = Approvals.beside(node.journal.path)
        while len(approvals.waiting()) < 2:
            node.tick()
        assert {each.causes for each in approvals.waiting()} == {"new_circuit_family, unknown_requester"}
        approvals.answer(first, True)
        approvals.answer(second, False)
        bench.run_until_idle(node)
        again = bench.submit("ghz")
        bench.run_until_idle(node)

    assert [fetch_job(bench.chain, job_id).state for job_id in (first, again)] == [State.SETTLED] * 2
    history = fetch_job(bench.chain, second)
    assert (history.state, history.reason) == (State.REJECTED, "not_approved")


def test_node__quota_of_a_requester_used_up__is_refused(bench):
    job_ids = [bench.submit("ghz") for _ in range(3)]
    options = {"gate_apply_to": "all", "gate_validation": False, "gate_approvals": frozenset()}

    with bench.node(gate_runs_per_requester=2, **options) as node:
        bench.run_until_idle(node)

    ends = [fetch_job(bench.chain, job_id) for job_id in job_ids]
    assert sorted(end.state for end in ends) == [State.SETTLED, State.SETTLED, State.REJECTED]
    assert {end.reason for end in ends if end.state == State.REJECTED} == {"quota_exhausted"}


def test_node__gated_job_without_validation__is_refused(bench):
    job_id = bench.submit("ghz")

    with bench.node(gate_apply_to="all") as node:
        bench.run_until_idle(node)

    assert fetch_job(bench.chain, job_id).reason == "no_validation"


def test_node__circuit_sealed_to_it__is_run(bench):
    job_id = bench.submit("ghz", privacy={"circuit": "sealed"})

    with bench.node() as node:
        bench.run_until_idle(node)

    history = fetch_job(bench.chain, job_id)
    opened = open_result(history, chain=bench.chain, store=bench.store, key=bench.requester_key)
    assert set(opened.counts) == {"00000", "11111"}
    circuit = CID.parse(opened.document["spec"]["quantum"]["circuit"])
    assert b"OPENQASM" not in bench.store.get(circuit, max_bytes=2**20)


def test_node__circuit_sealed_for_another_requester__is_not_opened_for_a_copier(bench):
    victim = bench.submit("ghz", privacy={"circuit": "sealed"})
    spec = bench.store.get(CID.from_digest(fetch_job(bench.chain, victim).terms.spec), max_bytes=2**16)
    thief = dev_accounts(6)[5]
    copied = spec.replace(bench.requester.address.encode(), thief.address.encode())
    stolen = bench.store.put(copied)
    terms = replace(
        fetch_job(bench.chain, victim).terms, requester=thief.address, payer=thief.address, spec=stolen.digest
    )
    Sender(bench.chain.w3, thief).send(bench.chain.escrow.create_job(terms))

    with bench.node() as node:
        bench.run_until_idle(node)

    history = fetch_job(bench.chain, victim + 1)
    assert (history.state, history.reason) == (State.REJECTED, "circuit_not_sealed_to_us")


def test_node__open_jobs_switched_off__takes_only_its_own(bench):
    job_id = bench.submit("ghz", parties=Parties(bond=BOND))

    with bench.node(take_open_jobs=False) as node:
        bench.run_until_idle(node)

    assert bench.chain.escrow.state_of(job_id) == State.CREATED
    assert fetch_job(bench.chain, job_id).terms.oracle == ZERO_ADDRESS


SWEEP = {
    "circuits": [{"wires": 2, "parameters": ["a"], "instructions": [["rx", [0], ["a"]], ["cx", [0, 1], []]]}],
    "pubs": [{"circuit": 0, "parameters": [[0], [3.141592653589793]], "observables": [[["IZ", 1], ["ZZ", 2]]]}],
}
GHZ = example_files("ghz")["ghz.qasm"]


@pytest.mark.parametrize(
    ("quantum", "circuit", "lines"),
    [
        (
            {"format": "qscrow-json", "result": "expectation"},
            json.dumps(SWEEP),
            ["circuit 0, observable 0: 3 ± 0", "circuit 1, observable 0: 1 ± 0"],
        ),
        (
            {"result": "expectation", "observables": [[["IIIZZ", 1]], [["XXXXX", 1]]]},
            GHZ,
            ["circuit 0, observable 0: 1 ± 0", "circuit 0, observable 1: 1 ± 0"],
        ),
    ],
    ids=["parameter sets", "observables of the spec"],
)
def test_node__expectation_values__are_paid_by_what_runs_and_open(bench, quantum, circuit, lines):
    (bench.folder / "circuit").write_text(circuit)
    draft = {"quantum": {"circuit": "circuit", "shots": 100, **quantum}, "budget": {"amount": 1000}}
    (bench.folder / "job.yaml").write_text(json.dumps(draft))
    loaded = load_draft(bench.folder / "job.yaml")
    assert loaded.lint.executions == 2
    job_id = bench.submit_draft(loaded)
    with bench.node(price_base=10, price_per_shot=2) as node:
        bench.run_until_idle(node)
    job = fetch_job(bench.chain, job_id)
    assert (job.state, job.charge) == (State.SETTLED, 10 + 2 * 100 * 2)
    got = open_result(job, chain=bench.chain, store=bench.store, key=bench.requester_key)
    assert list(got.lines()) == lines
    assert len(got.document["values"]) == 2


def test_node__wide_and_dense_circuits_in_one_job__each_takes_its_own_method(bench):
    chain = [["h", [0], []], *(["cx", [n, n + 1], []] for n in range(299)), ["measure", [0, 299], [0, 1]]]
    turned = [["h", [0], []], ["t", [0], []], ["h", [0], []], ["measure", [0], [0]]]
    circuits = {"circuits": [{"wires": 300, "instructions": chain}, {"wires": 1, "instructions": turned}]}
    (bench.folder / "circuit").write_text(json.dumps(circuits))
    draft = {"quantum": {"circuit": "circuit", "shots": 500, "format": "qscrow-json"}, "budget": {"amount": "1 ether"}}
    (bench.folder / "job.yaml").write_text(json.dumps(draft))
    job_id = bench.submit_draft(load_draft(bench.folder / "job.yaml"))
    with bench.node() as node:
        bench.run_until_idle(node)
    job = fetch_job(bench.chain, job_id)
    assert job.state == State.SETTLED
    got = open_result(job, chain=bench.chain, store=bench.store, key=bench.requester_key)
    wide, dense = got.document["runs"]
    assert (wide["method"], dense["method"]) == ("stim", "statevector")
    assert set(wide["counts"]) == {"00", "11"} and set(dense["counts"]) == {"0", "1"}


def test_node__result_too_large_to_deliver__is_refused_before_it_is_accepted(bench):
    steps = [*(["h", [n], []] for n in range(1_000)), ["measure", list(range(1_000)), list(range(1_000))]]
    (bench.folder / "circuit").write_text(json.dumps({"wires": 1_000, "instructions": steps}))
    draft = {"quantum": {"circuit": "circuit", "format": "qscrow-json"}, "budget": {"amount": "1 ether"}}
    (bench.folder / "job.yaml").write_text(json.dumps(draft))
    job_id = bench.submit_draft(load_draft(bench.folder / "job.yaml"))
    with bench.node() as node:
        bench.run_until_idle(node)
    job = fetch_job(bench.chain, job_id)
    assert (job.state, job.reason) == (State.REJECTED, "output_limit")


def test_node__key_that_nothing_can_be_sealed_to__is_refused_before_anything_is_run(bench):
    write_example(bench.folder / "job.yaml", "ghz")
    job_id = bench.submit_draft(load_draft(bench.folder / "job.yaml"), seal_to=b"\x01" + bytes(31))
    with bench.node() as node:
        bench.run_until_idle(node)
        steps = {moment.step for moment in node.journal.history(job_id)}
    job = fetch_job(bench.chain, job_id)
    assert (job.state, job.reason) == (State.REJECTED, "unusable_key")
    assert Step.ACCEPTED not in steps


def test_node__more_circuits_than_the_budget_covers__is_refused(bench):
    (bench.folder / "circuit").write_text(json.dumps(SWEEP))
    quantum = {"circuit": "circuit", "shots": 100, "format": "qscrow-json", "result": "expectation"}
    draft = {"quantum": quantum, "budget": {"amount": 409}}
    (bench.folder / "job.yaml").write_text(json.dumps(draft))
    job_id = bench.submit_draft(load_draft(bench.folder / "job.yaml"))
    with bench.node(price_base=10, price_per_shot=2) as node:
        bench.run_until_idle(node)
    job = fetch_job(bench.chain, job_id)
    assert (job.state, job.reason) == (State.REJECTED, "budget_too_low")
