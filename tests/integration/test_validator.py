"""A validator beside a node on a real chain: what is right is paid, what is wrong is not, the rest is left alone."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from web3.middleware import Web3Middleware

from oracle.audit.ledger import build_ledger
from oracle.audit.reports import open_report
from oracle.chain.client import ChainClient
from oracle.chain.deploy import deploy
from oracle.chain.history import JobHistory, fetch_job
from oracle.chain.localnet import advance_time, dev_accounts, in_process_chain
from oracle.chain.sender import Sender
from oracle.circuits.observables import estimate, parse_observables
from oracle.content.store import BlockStore, get_object
from oracle.jobs.canonical import canonical_bytes, parse_json
from oracle.jobs.errors import InputError, JournalError
from oracle.jobs.states import State, Tier
from oracle.node.assembly import opened_node
from oracle.node.config import NodeConfig
from oracle.node.documents import result_document
from oracle.node.journal import ACTIVE, Journal, Step
from oracle.requester.canaries import Mixed, mix
from oracle.requester.draft import load_draft, write_example
from oracle.requester.submit import Parties, prepare, submit
from oracle.sealing.capsules import Recipient
from oracle.sealing.context import SealContext
from oracle.sealing.keys import SealingKey
from oracle.sealing.sealed import MAX_SEALED_BYTES, open_sealed
from oracle.validation.canary import Canary, CanaryPlan
from oracle.validation.verdict import parse_verdict
from oracle.validator.assembly import opened_validator
from oracle.validator.journal import read_endings, read_judged, read_unsigned

STAKE, BOND, FEE = 10**18, 10**15, 10**14
CHALLENGE = 600
UNDELIVERED = tuple(step for step in ACTIVE if step != Step.DELIVERED)
PATIENCE_SECONDS = 180


class Killed(BaseException):
    """What a kill looks like from inside: nothing after it happens, and nothing catches it."""


@dataclass
class Bench:
    """A chain with the contracts, a store, a requester, two registered oracles and a registered validator."""

    chain: ChainClient
    store: BlockStore
    folder: Path
    accounts: dict[str, Any]
    keys: dict[str, SealingKey]

    def submit(
        self,
        method: str = "replay",
        *,
        parties: Parties | None = None,
        oracle="oracle",
        document: Any = None,
        mixed: Mixed | None = None,
        **fields,
    ) -> int:
        """Submit a job that names the validator; returns its id.

        ``document`` is a circuit document as JSON, ``mixed`` one with canaries.
        """
        path = self.folder / f"{time.monotonic_ns()}" / "job.yaml"
        write_example(path, "ghz")
        draft = load_draft(path)
        if document is not None:
            draft = replace(draft, circuit=canonical_bytes(document), format="qscrow-json")
            fields["quantum"] = {"format": "qscrow-json", "shots": 400, **fields.get("quantum", {})}
        changes = {
            "validation": {"method": method},
            "timeouts": {"challenge_seconds": CHALLENGE},
            "settlement": {"release_on": "attestation"},
            **fields,
        }
        draft = replace(draft, fields={**draft.fields, **changes})
        if mixed:
            draft = replace(draft, circuit=mixed.draft.circuit, format="qscrow-json")
            fields = {**draft.fields, "quantum": {**mixed.draft.fields["quantum"], **draft.fields["quantum"]}}
            draft = replace(draft, fields={**fields, "validation": mixed.draft.fields["validation"]})
        usual = Parties(self.accounts[oracle].address, self.accounts["validator"].address, validator_fee=FEE, bond=BOND)
        requester = self.accounts["requester"]
        ready = prepare(
            draft,
            parties or usual,
            chain=self.chain,
            requester=requester.address,
            key=self.keys["requester"],
        )
        return submit(ready, chain=self.chain, store=self.store, sender=Sender(self.chain.w3, requester)).job_id

    def deliver(self, oracle: str = "oracle") -> None:
        """Let an oracle do all its jobs."""
        with self.node(oracle) as node:
            self.finish(node)

    def finish(self, node) -> None:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while node.tick() or node.journal.jobs(UNDELIVERED):
            assert time.monotonic() < give_up, [
                (row.job_id, str(row.step), node.journal.history(row.job_id)[-1].note)
                for row in node.journal.jobs(UNDELIVERED)
            ]
            time.sleep(0.05)  # each look costs the chain in this process as much as a run costs the sandbox

    def node(self, oracle: str = "oracle", max_backoff_seconds: float = 0.1):
        config = NodeConfig(
            workers=1,
            poll_seconds=0.02,
            max_backoff_seconds=max_backoff_seconds,
            trusted_validators=frozenset({self.accounts["validator"].address}),
        )
        return opened_node(
            self.chain,
            self.accounts[oracle],
            self.keys[oracle],
            store=self.store,
            journal=self.folder / f"{oracle}.db",
            config=config,
        )

    def deliver_wrong(self, change, oracle: str = "oracle") -> None:
        """As :meth:`deliver`, by an oracle that lies about what it ran: ``change`` alters the stored run."""
        with self.node(oracle) as node:
            pipeline = node._pipeline
            honest = pipeline._steps[Step.ACCEPTED]

            def lie(job):
                job = honest(job)
                stored = json.loads(job.result)
                change(stored["run"])
                return node.journal.advance(job, Step.RAN, result=json.dumps(stored))

            pipeline._steps[Step.ACCEPTED] = lie
            self.finish(node)

    def deliver_all(self, lies: dict[int, Any], rewrites: dict[int, Any]) -> None:
        """As :meth:`deliver`; ``lies`` alter the stored runs of some jobs, ``rewrites`` the documents of others."""

        def rewritten(job, *arguments, **options):
            document = result_document(job, *arguments, **options)
            rewrites.get(int(job["job_id"]), lambda _: None)(document)
            return document

        # What is delivered is looked at again and again, which leaves no time for many others if it is done often.
        with pytest.MonkeyPatch.context() as patched, self.node(max_backoff_seconds=5.0) as node:
            patched.setattr("oracle.node.pipeline.result_document", rewritten)
            honest = node._pipeline._steps[Step.ACCEPTED]

            def lie(job):
                job = honest(job)
                stored = json.loads(job.result)
                lies.get(job.job_id, lambda _: None)(stored["run"])
                return node.journal.advance(job, Step.RAN, result=json.dumps(stored))

            node._pipeline._steps[Step.ACCEPTED] = lie
            self.finish(node)

    def validator(self, **options):
        config = NodeConfig(**{"workers": 1, "poll_seconds": 0.02, "max_backoff_seconds": 0.1, **options})
        return opened_validator(
            self.chain,
            self.accounts["validator"],
            self.keys["validator"],
            store=self.store,
            journal=self.verdicts,
            config=config,
        )

    def judge(self, **options) -> None:
        """Let the validator judge what there is to judge."""
        with self.validator(**options) as validator:
            validator.run_once()

    def judge_until(self, validator, left: int) -> None:
        """Let ``validator`` go on until so many jobs still wait for something."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while validator.tick() or len(validator.journal.jobs(ACTIVE)) > left:
            assert time.monotonic() < give_up
            time.sleep(0.05)

    def history(self, job_id: int) -> JobHistory:
        return fetch_job(self.chain, job_id)

    def verdict_count(self, job_id: int) -> int:
        events = self.chain.job_events(job_id, 0, self.chain.block().number)
        return sum(event.name == "JobValidated" for event in events)

    def ending(self, job_id: int) -> tuple[State, str]:
        """The state on chain, and how the validator closed the job."""
        return self.history(job_id).state, read_judged(self.verdicts, job_id).reason

    def statement(self, job_id: int) -> str:
        return read_judged(self.verdicts, job_id).report["statement"]

    @property
    def verdicts(self) -> Path:
        return self.folder / "verdicts.db"


@pytest.fixture
def bench(tmp_path):
    return make_bench(tmp_path)


def make_bench(folder: Path) -> Bench:
    w3 = in_process_chain()
    deployer, *people = dev_accounts(5)
    names = ("requester", "oracle", "second", "validator")
    accounts = dict(zip(names, people, strict=True))
    keys = {name: SealingKey.generate() for name in names}
    chain = ChainClient(w3, deploy(w3, deployer))
    for name in names[1:]:
        call = chain.registry.register(keys[name].public, bytes(32), STAKE)
        Sender(w3, accounts[name]).send(call)
    return Bench(chain, BlockStore(folder / "content"), folder, accounts, keys)


def forged(run):
    """As many shots of something else."""
    run["counts"] = {"0" * run["clbits"]: run["shots"] - 1, "1" * run["clbits"]: 1}


@pytest.mark.parametrize(("method", "tier"), [("replay", Tier.REPLAYED), ("distribution", Tier.STATISTICAL)])
def test_validator__honest_result__is_accepted_settled_and_explained(bench, method, tier):
    job_id = bench.submit(method)
    bench.deliver()

    bench.judge()

    history = bench.history(job_id)
    assert (history.state, history.tier, history.to_validator) == (State.SETTLED, tier, FEE)
    assert history.to_oracle == history.charge > 0
    (judged,) = [e for e in bench.chain.job_events(job_id, 0, bench.chain.block().number) if e.name == "JobValidated"]
    sealed = get_object(bench.store, judged.args["report"], MAX_SEALED_BYTES)
    context = SealContext.for_report(
        chain_id=31337,
        contract=bench.chain.deployment.job_escrow,
        job_id=job_id,
        spec=history.terms.spec,
        party=history.terms.requester,
    )
    for reader in (bench.keys["requester"].for_spec(history.terms.spec), bench.keys["validator"]):
        verdict = parse_verdict(parse_json(open_sealed(sealed, reader, context), "report", 2**20))
        assert (verdict.method, verdict.attests) == (method, True)
        assert verdict.subject["result"] == "0x" + history.result.hex()
    assert read_endings(bench.verdicts) == {"accepted": 1}
    assert build_ledger(bench.chain).balanced


@pytest.mark.parametrize("method", ["replay", "distribution", "none"])
def test_validator__wrong_counts__are_rejected_where_the_method_looks_at_them(bench, method):
    job_id = bench.submit(method)
    bench.deliver_wrong(forged)

    bench.judge()

    history = bench.history(job_id)
    if method == "none":
        assert history.state == State.COMPLETED
        assert read_endings(bench.verdicts) == {"silent: nothing_to_attest": 1}
    else:
        assert (history.state, history.to_oracle, history.slashed) == (State.REJECTED, 0, BOND)
        assert history.to_validator == FEE
        assert read_endings(bench.verdicts) == {"rejected": 1}


def test_validator__other_versions_there__keeps_silent_and_the_period_decides(bench):
    def older(run):
        run["versions"]["qiskit-aer"] = "0.1.0"
        forged(run)

    job_id = bench.submit("replay")
    bench.deliver_wrong(older)

    bench.judge()

    assert bench.history(job_id).state == State.COMPLETED
    assert bench.verdict_count(job_id) == 0
    judged = read_judged(bench.verdicts, job_id)
    assert judged.reason == "silent: inconclusive"
    assert "not comparable" in judged.report["statement"]
    advance_time(bench.chain.w3, CHALLENGE + 1)
    bench.deliver()  # the node settles what nobody objected to
    history = bench.history(job_id)
    assert (history.state, history.tier, history.to_validator) == (State.SETTLED, Tier.UNCHALLENGED, 0)


def test_validator__spec_names_qsim__is_replayed_where_it_is_and_not_comparable_where_it_is_not(bench):
    named = {"quantum": {"shots": 400, "constraints": {"allowed_backends": ["aer.qsim"]}}}
    there = bench.submit("replay", **named)
    bench.deliver()
    bench.judge()
    elsewhere = bench.submit("replay", **named)
    bench.deliver()
    bench.judge(qsim=False)

    assert bench.ending(there) == (State.SETTLED, "accepted")
    assert read_judged(bench.verdicts, there).report["thresholds"]["engine"] == "qsim"
    assert bench.ending(elsewhere) == (State.COMPLETED, "silent: inconclusive")
    assert "not comparable" in bench.statement(elsewhere) and "switched off" in bench.statement(elsewhere)


def test_validator__several_results__are_judged_in_one_transaction(bench):
    job_ids = [bench.submit(quantum={"circuit": "ghz.qasm", "shots": shots}) for shots in (100, 200, 300)]
    bench.deliver()

    bench.judge()

    events = [bench.chain.job_events(job_id, 0, bench.chain.block().number) for job_id in job_ids]
    transactions = {event.tx_hash for job in events for event in job if event.name == "JobValidated"}
    assert len(transactions) == 1
    assert all(bench.history(job_id).state == State.SETTLED for job_id in job_ids)


@pytest.mark.parametrize("step", [Step.RAN, Step.SEALED, Step.CLOSED])
def test_validator__killed_after_any_step__gives_one_verdict(bench, step):
    job_id = bench.submit()
    bench.deliver()

    def kill_at(_, reached, __):
        if reached == step:
            raise Killed

    with pytest.raises(Killed), bench.validator() as validator:
        validator._examination.report = kill_at
        validator.run_once()
    bench.judge()

    assert bench.history(job_id).state == State.SETTLED
    assert bench.verdict_count(job_id) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_validator__killed_around_the_broadcast__sends_the_same_verdict(bench, monkeypatch, moment):
    job_id = bench.submit()
    bench.deliver()
    send = Sender._broadcast_first

    def kill(self, attempt):
        if moment == "after":
            send(self, attempt)
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed), bench.validator() as validator:
        patched.setattr(Sender, "_broadcast_first", kill)
        validator.run_once()
    bench.judge()

    assert bench.history(job_id).state == State.SETTLED
    assert bench.verdict_count(job_id) == 1


def test_validator__lost_journal__does_not_judge_twice(bench):
    job_id = bench.submit()
    bench.deliver_wrong(forged)
    bench.judge()
    for file in bench.folder.glob("verdicts.db*"):
        file.unlink()

    bench.judge()

    assert bench.verdict_count(job_id) == 1
    assert bench.history(job_id).state == State.REJECTED


def test_validator__result_of_its_own_oracle__is_refused(bench):
    job_id = bench.submit()
    bench.deliver()

    bench.judge(validator_own_oracles=frozenset({bench.accounts["oracle"].address}))

    assert bench.history(job_id).state == State.COMPLETED
    assert read_endings(bench.verdicts) == {"silent: oracle_is_validator": 1}


def test_validator__oracle_with_the_same_sealing_key__is_refused(bench):
    job_id = bench.submit()
    bench.deliver()
    call = bench.chain.registry.register(bench.keys["validator"].public, bytes(32), 0)
    Sender(bench.chain.w3, bench.accounts["oracle"]).send(call)

    bench.judge()

    assert bench.history(job_id).state == State.COMPLETED
    assert read_endings(bench.verdicts) == {"silent: oracle_is_validator": 1}


def test_validator__fee_below_its_least__is_left_alone(bench):
    job_id = bench.submit()
    bench.deliver()

    bench.judge(validator_min_fee=FEE + 1)

    assert bench.history(job_id).state == State.COMPLETED
    assert read_endings(bench.verdicts) == {"silent: fee_too_low": 1}


def test_validator__result_that_is_nowhere__is_waited_for_and_then_left(bench):
    job_id = bench.submit()
    bench.deliver()
    store, bench.store = bench.store, BlockStore(bench.folder / "empty")
    with bench.validator() as validator:
        validator.run_once()
        assert [row.step for row in validator.journal.jobs()] == [Step.DELIVERED]
        assert "is not in" in validator.journal.history(job_id)[-1].note

        bench.store = store
        advance_time(bench.chain.w3, CHALLENGE)
        time.sleep(0.2)
        validator.run_once()

    assert read_endings(bench.verdicts) == {"silent: too_late": 1}
    assert bench.history(job_id).state == State.COMPLETED


def test_validator__result_hidden_from_it__is_rejected(bench):
    job_id = bench.submit()
    with bench.node() as node:
        node._pipeline._readers = lambda terms, spec: [Recipient(spec["privacy"]["capsule"], terms.seal_to)]
        bench.finish(node)

    bench.judge()

    assert bench.history(job_id).state == State.REJECTED
    assert "not sealed to its validator" in read_judged(bench.verdicts, job_id).report["statement"]


def test_validator__result_hidden_from_a_key_that_is_newer_than_the_job__is_inconclusive(bench):
    job_id = bench.submit()
    bench.deliver()
    bench.keys["validator"] = SealingKey.generate()
    call = bench.chain.registry.register(bench.keys["validator"].public, bytes(32), 0)
    Sender(bench.chain.w3, bench.accounts["validator"]).send(call)

    bench.judge()

    assert bench.history(job_id).state == State.COMPLETED
    assert read_endings(bench.verdicts) == {"silent: inconclusive": 1}


def test_validator__circuit_sealed_to_both__is_run_again(bench):
    job_id = bench.submit(privacy={"circuit": "sealed"})
    bench.deliver()

    bench.judge()

    assert bench.history(job_id).tier == Tier.REPLAYED


def test_validator__agreement__waits_for_the_others_and_accepts_those_who_agree(bench):
    quantum = {"circuit": "ghz.qasm", "seed": None}
    first = bench.submit("agreement", quantum=quantum)
    bench.deliver()
    with bench.validator() as validator:
        validator.run_once()
        assert "no other oracle has been given the same spec" in validator.journal.history(first)[-1].note
        second = bench.submit("agreement", oracle="second", quantum=quantum)
        give_up = time.monotonic() + PATIENCE_SECONDS
        while "not delivered" not in validator.journal.history(first)[-1].note:
            validator.tick()
            assert time.monotonic() < give_up
            time.sleep(0.05)
    bench.deliver("second")

    with bench.validator() as validator:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while validator.tick() or validator.journal.jobs(ACTIVE):
            assert time.monotonic() < give_up
            time.sleep(0.02)

    assert {bench.history(job_id).tier for job_id in (first, second)} == {Tier.AGREED}


def test_validator__counts_delivered_before_they_were_due__speak_against_nobody_whose_seed_gives_them(bench):
    """Anybody knows the seed of a job once it is created, and so what its oracle will deliver."""
    wires = [*range(6)]
    spread = {"wires": 6, "instructions": [*(["ry", [n], [1.0]] for n in wires), ["measure", wires, wires]]}
    honest = bench.submit("distribution", oracle="second", document=spread)

    def kill_at(_, reached, __):
        if reached == Step.RAN:
            raise Killed

    with pytest.raises(Killed), bench.node("second") as node:
        node._pipeline.report = kill_at
        bench.finish(node)
    owner = {"escrow": bench.chain.deployment.job_escrow, "oracle": bench.accounts["second"].address}
    with closing(Journal(bench.folder / "second.db", chain_id=31337, **owner)) as journal:
        counts = json.loads(journal.job(honest).result)["run"]["counts"]
    foretold = bench.submit("distribution", document=spread)
    bench.deliver_wrong(lambda run: run.update(counts=counts))
    bench.judge()
    copied = bench.submit("distribution", oracle="second", document=spread)
    bench.deliver_wrong(lambda run: run.update(counts=counts), oracle="second")

    bench.judge()

    assert bench.ending(foretold) == (State.SETTLED, "accepted"), bench.statement(foretold)  # they are right as well
    assert bench.ending(honest) == (State.SETTLED, "accepted")
    assert bench.ending(copied) == (State.REJECTED, "rejected")
    assert "the very counts of an earlier result" in bench.statement(copied)


def test_validator__judges_an_open_job_once_it_has_an_oracle(bench):
    open_job = Parties(validator=bench.accounts["validator"].address, validator_fee=FEE, bond=BOND)
    job_id = bench.submit(parties=open_job)
    bench.judge()
    bench.deliver()

    bench.judge()

    assert bench.history(job_id).tier == Tier.REPLAYED


class Mortal(Web3Middleware):
    """The in-process chain calls its head final; with this only what lies 20 blocks below it is."""

    def request_processor(self, method, params):
        if "finalized" in params:
            final = hex(max(0, self._w3.eth.block_number - 20))
            params = [final if each == "finalized" else each for each in params]
        return method, params


@pytest.fixture
def mortal(bench):
    bench.chain.w3.middleware_onion.add(Mortal)
    return bench


@pytest.mark.parametrize("step", [Step.RAN, Step.SEALED])
def test_validator__delivery_replaced_by_a_reorganisation__judges_the_one_that_stays(mortal, step):
    job_id = mortal.submit()
    tester = mortal.chain.w3.provider.ethereum_tester
    fork = tester.take_snapshot()
    mortal.deliver_wrong(forged)

    def kill_at(_, reached, __):
        if reached == step:
            raise Killed

    with pytest.raises(Killed), mortal.validator() as validator:
        validator._examination.report = kill_at
        validator.run_once()
    tester.revert_to_snapshot(fork)
    tester.mine_blocks(3)
    for file in mortal.folder.glob("oracle.db*"):
        file.unlink()
    mortal.deliver()

    with mortal.validator() as validator:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while validator.tick() or validator.journal.jobs(ACTIVE):
            assert time.monotonic() < give_up
            time.sleep(0.02)

    assert mortal.history(job_id).state == State.SETTLED
    assert mortal.verdict_count(job_id) == 1


def test_validator__verdict_undone_by_a_reorganisation__is_sent_again(mortal):
    job_id = mortal.submit()
    mortal.deliver()
    tester = mortal.chain.w3.provider.ethereum_tester
    fork = tester.take_snapshot()
    mortal.judge()
    assert mortal.history(job_id).state == State.SETTLED
    tester.revert_to_snapshot(fork)
    tester.mine_blocks(3)

    with mortal.validator() as validator:
        validator._ingest._swept_at = -1e9
        give_up = time.monotonic() + PATIENCE_SECONDS
        while mortal.history(job_id).state != State.SETTLED:
            validator.tick()
            assert time.monotonic() < give_up
            time.sleep(0.02)

    assert mortal.verdict_count(job_id) == 1


# ------------------------------------------------------- every kind of result, judged by one validator in one go

BELL = {"wires": 2, "instructions": [["h", [0], []], ["cx", [0, 1], []], ["measure", [0, 1], [0, 1]]]}
TILTED = {"wires": 3, "parameters": ["a"], "instructions": [["ry", [2], ["a"]], ["measure", [0, 1, 2], [0, 1, 2]]]}
THREE = {"circuits": [BELL, TILTED], "pubs": [{"circuit": 0}, {"circuit": 1, "parameters": [[0.4], [1.3]]}]}
ISING = [["ZZ", 1.0], ["XI", 0.5], ["IX", 0.5], ["II", 2.0]]
DEVICE = {"name": "ibm", "backend": "ibm_test", "job_id": "d1", "calibration": {"used": {"readout_error": 0.02}}}


def made_up(run):
    """Counts of the right form for every circuit, without running any."""
    for place in run["runs"]:
        width = len(next(iter(place["counts"])))
        half = run["shots"] // 2
        place["counts"] = {"0" * width: half, "1" * width: run["shots"] - half}
    run["counts"] = run["runs"][0]["counts"]


def without_last(run):
    run["runs"].pop()


def of_another_width(run):
    for place in run["runs"]:
        place["counts"] = {"0": run["shots"]}
    run["counts"] = {"0": run["shots"]}


def last_forged(run):
    run["runs"][-1]["counts"] = {"000": run["shots"]}


def invented(run):
    """Values that follow from counts, which nobody measured."""
    (found,) = run["runs"]
    for each in found["bases"]:
        each["counts"] = {"01": run["shots"]}
    pairs = [(each["basis"], each["counts"]) for each in found["bases"]]
    found["values"], found["standard_errors"] = estimate(parse_observables([ISING]), pairs)
    run["counts"] = {"01": run["shots"]}


def misread(run):
    run["runs"][0]["values"] = [3.9]


def without_noise(run):
    run["counts"] = {"00": 198, "11": run["shots"] - 198}


def vague(run):
    run["operations"] = {}


def from_device(flips: float, **changes: Any):
    """The result as a device gives it that reads each bit wrongly so often."""

    def rewrite(document):
        rng = np.random.default_rng(5)
        outcomes = [list(outcome) for outcome, number in document["counts"].items() for _ in range(number)]
        flipped = np.array(outcomes).astype(int) ^ (rng.random(np.shape(outcomes)) < flips)
        document["counts"] = dict(Counter("".join(map(str, row)) for row in flipped))
        document["backend"]["engine"] = "hardware-claimed"
        document.update({"provider": DEVICE, **changes})

    return rewrite


def of_hardware_without_a_name(document):
    document["backend"]["engine"] = "hardware-claimed"


EASY = {"calibration": {"used": {"readout_error": 0.49}}}
ON_DEVICE = {"circuit": "ghz.qasm", "shots": 2000, "seed": None, "backend_policy": "ibm_or_simulator"}
SIMULATED = {**ON_DEVICE, "backend_policy": "simulator"}
NOISY = {"noise": {"one_qubit": 0.01, "two_qubit": 0.1, "readout": 0.05}}
ESTIMATED = {"document": BELL, "quantum": {"result": "expectation", "observables": [ISING]}, "job_type": "optimization"}


def canaries_at(*canaries: Canary) -> CanaryPlan:
    return CanaryPlan((), canaries, bytes(32))


@pytest.fixture(scope="module")
def docket(tmp_path_factory):
    """Jobs by name, all delivered (honestly or not) and judged; ``before`` is what was noted before the opening."""
    bench = make_bench(tmp_path_factory.mktemp("docket"))
    path = bench.folder / "example" / "job.yaml"
    write_example(path, "ghz")
    fields = {**load_draft(path).fields, "quantum": {"format": "qscrow-json"}}
    mixed = mix(replace(load_draft(path), fields=fields, circuit=canonical_bytes(THREE), format="qscrow-json"), 2)
    odd = {
        "no such circuit": canaries_at(Canary(9, "00")),
        "real circuit": canaries_at(Canary(0, "01")),
        "no canary": canaries_at(),
    }
    jobs = {
        "canaries": bench.submit("canary", mixed=mixed, privacy={"circuit": "sealed"}, quantum={"shots": 400}),
        "replay": bench.submit("replay", document=THREE, quantum={"seed": 5}),
        "distribution": bench.submit("distribution", document=THREE),
        "values": bench.submit("distribution", **ESTIMATED),
        "benchmark": bench.submit("distribution", job_type="benchmark"),
        "noisy replay": bench.submit("replay", document=THREE, quantum=NOISY),
        "noisy distribution": bench.submit("distribution", document=BELL, quantum=NOISY),
        "device": bench.submit("distribution", quantum=ON_DEVICE),
        "stand-in": bench.submit("distribution", quantum={**ON_DEVICE, "shots": 2001}),
    }
    for name, plan in odd.items():
        validation = {"method": "canary", "commitment": plan.commitment}
        jobs[name] = bench.submit("canary", document=THREE, validation=validation)
    lies, rewrites = {}, {}
    for number, change in enumerate((made_up, without_last, of_another_width)):
        job_id = bench.submit("canary", mixed=mixed, quantum={"shots": 401 + number})
        jobs[change.__name__], lies[job_id] = job_id, change
    never = replace(mixed, plan=canaries_at(Canary(0, "11")))
    never.draft.fields["validation"]["commitment"] = never.plan.commitment
    jobs["never opened"] = bench.submit("canary", mixed=never, quantum={"shots": 410})
    for name, change, asked in (
        ("replay forged", last_forged, {"method": "replay", "document": THREE, "quantum": {"seed": 6}}),
        ("distribution forged", last_forged, {"document": THREE, "quantum": {"seed": 6}}),
        ("values invented", invented, {**ESTIMATED, "quantum": {**ESTIMATED["quantum"], "shots": 401}}),
        ("values misread", misread, {**ESTIMATED, "quantum": {**ESTIMATED["quantum"], "shots": 402}}),
        ("without noise", without_noise, {"document": BELL, "quantum": {**NOISY, "shots": 401}}),
        ("benchmark vague", vague, {"job_type": "benchmark", "quantum": {"circuit": "ghz.qasm", "shots": 512}}),
    ):
        jobs[name] = bench.submit(**{"method": "distribution", **asked})
        lies[jobs[name]] = change
    rewrites = {
        jobs["device"]: from_device(0.02),
        jobs["stand-in"]: from_device(0.02, backend={"engine": "ibm-stand-in", "name": "box_manila"}),
    }
    for name, rewrite, quantum in (
        ("garbage of a device", from_device(0.5, provider={**DEVICE, **EASY}), ON_DEVICE),
        ("device not wanted", from_device(0.0), SIMULATED),
        ("device without a name", of_hardware_without_a_name, ON_DEVICE),
        ("another device", from_device(0.02), {**ON_DEVICE, "constraints": {"allowed_backends": ["aer", "ibm_fez"]}}),
        ("device wanted", lambda document: None, {**ON_DEVICE, "shots": 2002}),
    ):
        jobs[name] = bench.submit("distribution", quantum=quantum)
        rewrites[jobs[name]] = rewrite
    bench.deliver_all(lies, rewrites)
    with bench.validator(max_backoff_seconds=1.0) as validator:
        validator.run_once()
        before = validator.journal.history(jobs["canaries"])[-1].note
        for plan in (mixed.plan, *odd.values()):
            bench.store.put(plan.block())
        bench.judge_until(validator, left=1)
        seconds = validator._examination._seconds_left(validator.journal.job(jobs["never opened"]))
        advance_time(bench.chain.w3, int(seconds) - 1)  # in time, but with none left to wait
        bench.judge_until(validator, left=0)
    return SimpleNamespace(bench=bench, jobs=jobs, before=before)


@pytest.mark.parametrize(
    "name",
    [
        *("canaries", "replay", "distribution", "values", "benchmark", "device", "stand-in", "device wanted"),
        *("noisy replay", "noisy distribution"),
    ],
)
def test_docket__honest_result__is_accepted(docket, name):
    assert docket.bench.ending(docket.jobs[name]) == (State.SETTLED, "accepted")


@pytest.mark.parametrize(
    "name, why",
    [
        ("made_up", "gave the known answer, too few"),
        ("without_last", "results of 4 circuits, 5 were to run"),
        ("of_another_width", "outcomes of 1 bits"),
        ("replay forged", "not the same results of all"),
        ("distribution forged", "two samples of one source differ as much"),
        ("values invented", "is outside"),
        ("values misread", "are not those of what was counted"),
        ("without noise", "two samples of one source differ as much"),
        ("benchmark vague", "missing: circuit.operations"),
        ("garbage of a device", "of the signal is left, below 0.5"),
        ("device not wanted", "the spec asks for simulator, the result says it is hardware-claimed"),
        ("device without a name", "names no provider"),
        ("another device", "it ran on ibm_test, the spec allows aer, ibm_fez"),
    ],
)
def test_docket__result_of_a_cheat__is_rejected_and_says_why(docket, name, why):
    assert docket.bench.ending(docket.jobs[name]) == (State.REJECTED, "rejected")
    assert why in docket.bench.statement(docket.jobs[name])


@pytest.mark.parametrize(
    "name, why",
    [
        ("never opened", "opening of the canaries"),
        ("no such circuit", "has no circuit 9"),
        ("real circuit", "which no canary has"),
        ("no canary", "malformed"),
    ],
)
def test_docket__requester_who_opens_nothing_or_nonsense__never_costs_the_oracle(docket, name, why):
    assert docket.bench.ending(docket.jobs[name]) == (State.COMPLETED, "silent: inconclusive")
    assert why in docket.bench.statement(docket.jobs[name])


def test_docket__canaries__are_waited_for_and_give_their_own_tier(docket):
    assert "has not opened its canaries" in docket.before
    assert docket.bench.history(docket.jobs["canaries"]).tier == Tier.CANARY


def test_docket__device__keeps_its_label(docket):
    claims = [read_judged(docket.bench.verdicts, docket.jobs[name]).report["claim"] for name in ("device", "stand-in")]
    assert claims == ["hardware-claimed", "hardware-stand-in"]


def test_docket__requester__opens_the_report_on_a_verdict_and_on_none(docket):
    bench, key = docket.bench, docket.bench.keys["requester"]
    accepted, silent = (bench.history(docket.jobs[name]) for name in ("device", "never opened"))
    report = open_report(accepted, chain=bench.chain, store=bench.store, key=key)
    assert (report.attests, report.claim) == (True, "hardware-claimed")
    with pytest.raises(InputError, match="no verdict on chain"):
        open_report(silent, chain=bench.chain, store=bench.store, key=key)
    assert read_unsigned(bench.verdicts)[silent.job_id] == "inconclusive"


def test_journal__of_a_validator__is_refused_to_an_oracle_of_another_name(bench):
    bench.judge()
    with pytest.raises(JournalError, match="is for oracle"):
        Journal(bench.verdicts, chain_id=31337, escrow=bench.chain.deployment.job_escrow, oracle="0x" + "11" * 20)
