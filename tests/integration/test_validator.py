"""A validator beside a node on a real chain: what is right is paid, what is wrong is not, the rest is left alone."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from web3.middleware import Web3Middleware

from oracle.audit.ledger import build_ledger
from oracle.chain.client import ChainClient
from oracle.chain.deploy import deploy
from oracle.chain.history import JobHistory, fetch_job
from oracle.chain.localnet import advance_time, dev_accounts, in_process_chain
from oracle.chain.sender import Sender
from oracle.content.store import BlockStore, get_object
from oracle.jobs.canonical import canonical_bytes, parse_json
from oracle.jobs.errors import InputError, JournalError
from oracle.jobs.states import State, Tier
from oracle.node.assembly import opened_node
from oracle.node.config import NodeConfig
from oracle.node.journal import ACTIVE, Journal, Step
from oracle.requester.canaries import Kept, Openings, mix
from oracle.requester.draft import load_draft, write_example
from oracle.requester.submit import Parties, prepare, submit
from oracle.sealing.capsules import Recipient
from oracle.sealing.context import SealContext
from oracle.sealing.keys import SealingKey
from oracle.sealing.sealed import MAX_SEALED_BYTES, open_sealed
from oracle.validation.canary import Canary, CanaryPlan
from oracle.validation.verdict import parse_verdict
from oracle.validator.assembly import opened_validator
from oracle.validator.journal import read_endings, read_judged

STAKE, BOND, FEE = 10**18, 10**15, 10**14
CHALLENGE = 600
UNDELIVERED = tuple(step for step in ACTIVE if step != Step.DELIVERED)
PATIENCE_SECONDS = 60


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
        canaries: int = 0,
        **fields,
    ) -> int:
        """Submit a job that names the validator; returns its id. ``document`` is a circuit document as JSON."""
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
        mixed = mix(draft, canaries) if canaries else None
        draft = mixed.draft if mixed else draft
        usual = Parties(self.accounts[oracle].address, self.accounts["validator"].address, validator_fee=FEE, bond=BOND)
        requester = self.accounts["requester"]
        ready = prepare(
            draft,
            parties or usual,
            chain=self.chain,
            requester=requester.address,
            key=self.keys["requester"],
        )
        if mixed:
            self.openings.keep(ready.terms.spec, mixed.plan)
        return submit(ready, chain=self.chain, store=self.store, sender=Sender(self.chain.w3, requester)).job_id

    def deliver(self, oracle: str = "oracle") -> None:
        """Let an oracle do all its jobs."""
        with self.node(oracle) as node:
            self.finish(node)

    def finish(self, node) -> None:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while node.tick() or node.journal.jobs(UNDELIVERED):
            assert time.monotonic() < give_up
            time.sleep(0.01)

    def node(self, oracle: str = "oracle"):
        config = NodeConfig(
            workers=1,
            poll_seconds=0.02,
            max_backoff_seconds=0.1,
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

    def deliver_wrong(self, change) -> None:
        """As :meth:`deliver`, by an oracle that lies about what it ran: ``change`` alters the stored run."""
        with self.node() as node:
            pipeline = node._pipeline
            honest = pipeline._steps[Step.ACCEPTED]

            def lie(job):
                job = honest(job)
                stored = json.loads(job.result)
                change(stored["run"])
                return node.journal.advance(job, Step.RAN, result=json.dumps(stored))

            pipeline._steps[Step.ACCEPTED] = lie
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

    def history(self, job_id: int) -> JobHistory:
        return fetch_job(self.chain, job_id)

    def verdict_count(self, job_id: int) -> int:
        events = self.chain.job_events(job_id, 0, self.chain.block().number)
        return sum(event.name == "JobValidated" for event in events)

    @property
    def openings(self) -> Openings:
        return Openings(self.folder / "canaries")

    def open_canaries(self, job_id: int) -> Kept:
        """What the requester does once the result is there."""
        history = self.history(job_id)
        kept = self.openings.of(history.terms.spec)
        self.openings.publish(kept, history, self.store)
        return kept

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
    w3 = in_process_chain()
    deployer, *people = dev_accounts(5)
    names = ("requester", "oracle", "second", "validator")
    accounts = dict(zip(names, people, strict=True))
    keys = {name: SealingKey.generate() for name in names}
    chain = ChainClient(w3, deploy(w3, deployer))
    for name in names[1:]:
        call = chain.registry.register(keys[name].public, bytes(32), STAKE)
        Sender(w3, accounts[name]).send(call)
    return Bench(chain, BlockStore(tmp_path / "content"), tmp_path, accounts, keys)


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
    second = bench.submit("agreement", oracle="second", quantum=quantum)
    bench.deliver()
    with bench.validator() as validator:
        validator.run_once()
        assert "not delivered" in validator.journal.history(first)[-1].note
    bench.deliver("second")

    with bench.validator() as validator:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while validator.tick() or validator.journal.jobs(ACTIVE):
            assert time.monotonic() < give_up
            time.sleep(0.02)

    assert {bench.history(job_id).tier for job_id in (first, second)} == {Tier.AGREED}


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


THREE = {
    "circuits": [
        {"wires": 2, "instructions": [["h", [0], []], ["cx", [0, 1], []], ["measure", [0, 1], [0, 1]]]},
        {"wires": 3, "parameters": ["a"], "instructions": [["ry", [2], ["a"]], ["measure", [0, 1, 2], [0, 1, 2]]]},
    ],
    "pubs": [{"circuit": 0}, {"circuit": 1, "parameters": [[0.4], [1.3]]}],
}


def test_validator__canaries_come_back_right__are_accepted_once_they_are_opened(bench):
    job_id = bench.submit("canary", document=THREE, canaries=2, privacy={"circuit": "sealed"})
    with pytest.raises(InputError, match="could cheat"):
        bench.open_canaries(job_id)
    bench.deliver()
    with bench.validator() as validator:
        validator.run_once()
        assert "has not opened its canaries" in validator.journal.history(job_id)[-1].note

        bench.open_canaries(job_id)
        time.sleep(0.2)  # more than the pause before it looks again
        validator.run_once()

    assert bench.ending(job_id) == (State.SETTLED, "accepted")
    assert bench.history(job_id).tier == Tier.CANARY
    assert "2 circuits" not in bench.statement(job_id)


def made_up(run):
    """Plausible counts of the right form for every circuit, without running any."""
    for place in run["runs"]:
        width = len(next(iter(place["counts"])))
        half = run["shots"] // 2
        place["counts"] = {"0" * width: half, "1" * width: run["shots"] - half}
    run["counts"] = run["runs"][0]["counts"]


def without_last(run):
    run["runs"].pop()


def with_another_width(run):
    for place in run["runs"]:
        place["counts"] = {"0": run["shots"]}
    run["counts"] = {"0": run["shots"]}


@pytest.mark.parametrize("cheat", [made_up, without_last, with_another_width])
def test_validator__canaries_of_a_cheat__are_rejected(bench, cheat):
    job_id = bench.submit("canary", document=THREE, canaries=2)
    bench.deliver_wrong(cheat)
    bench.open_canaries(job_id)

    bench.judge()

    assert bench.ending(job_id) == (State.REJECTED, "rejected")


def test_validator__canaries_never_opened__are_left_to_the_challenge_period(bench):
    job_id = bench.submit("canary", document=THREE, canaries=1)
    bench.deliver()
    with bench.validator(max_backoff_seconds=1.0) as validator:
        validator.run_once()
        advance_time(bench.chain.w3, CHALLENGE - 7)
        time.sleep(1.2)
        validator.run_once()

    assert bench.ending(job_id) == (State.COMPLETED, "silent: inconclusive")
    assert "opening of the canaries" in bench.statement(job_id)


@pytest.mark.parametrize(
    "canaries, why",
    [
        ([Canary(9, "00")], "has no circuit 9"),
        ([Canary(0, "01")], "which no canary has"),
        ([], "malformed"),
    ],
)
def test_validator__opening_that_fits_no_canary__never_costs_the_oracle(bench, canaries, why):
    plan = CanaryPlan((), tuple(canaries), bytes(32))
    validation = {"method": "canary", "commitment": plan.commitment}
    job_id = bench.submit("canary", document=THREE, validation=validation)
    bench.deliver()
    bench.store.put(plan.block())

    bench.judge()

    assert bench.ending(job_id) == (State.COMPLETED, "silent: inconclusive")
    assert why in bench.statement(job_id)


@pytest.mark.parametrize("method", ["distribution", "replay"])
def test_validator__several_circuits__are_all_judged(bench, method):
    def last_forged(run):
        run["runs"][-1]["counts"] = {"000": run["shots"]}

    honest = bench.submit(method, document=THREE, quantum={"seed": 5})
    bench.deliver()
    forged = bench.submit(method, document=THREE, quantum={"seed": 6})
    bench.deliver_wrong(last_forged)

    bench.judge()

    assert bench.ending(honest) == (State.SETTLED, "accepted")
    assert bench.ending(forged) == (State.REJECTED, "rejected")


ISING = [["ZZ", 1.0], ["XI", 0.5], ["IX", 0.5], ["II", 2.0]]


def test_validator__expectation_values__are_held_against_its_own(bench):
    def shifted(run):
        """Counts and the values that follow from them, of nothing."""
        from oracle.circuits.observables import estimate, parse_observables

        (found,) = run["runs"]
        for each in found["bases"]:
            each["counts"] = {"01": run["shots"]}
        pairs = [(each["basis"], each["counts"]) for each in found["bases"]]
        found["values"], found["standard_errors"] = estimate(parse_observables([ISING]), pairs)
        run["counts"] = {"01": run["shots"]}

    def claimed(run):
        run["runs"][0]["values"] = [3.9]

    quantum = {"circuit": "ghz.qasm", "result": "expectation", "observables": [ISING], "seed": None}
    bell = THREE["circuits"][0]
    jobs = []
    for deliver in (bench.deliver, lambda: bench.deliver_wrong(shifted), lambda: bench.deliver_wrong(claimed)):
        jobs.append(bench.submit("distribution", document=bell, quantum=quantum, job_type="optimization"))
        deliver()

    bench.judge()

    assert [bench.ending(job_id)[1] for job_id in jobs] == ["accepted", "rejected", "rejected"]
    assert "outside" in bench.statement(jobs[1])
    assert "are not those of what was counted" in bench.statement(jobs[2])


def test_validator__benchmark__has_to_be_repeatable_as_well(bench):
    def vague(run):
        run["operations"] = {}

    whole = bench.submit("distribution", job_type="benchmark")
    bench.deliver()
    vague_one = bench.submit("distribution", job_type="benchmark")
    bench.deliver_wrong(vague)

    bench.judge()

    assert bench.ending(whole) == (State.SETTLED, "accepted")
    assert bench.ending(vague_one) == (State.REJECTED, "rejected")
    assert "missing: circuit.operations" in bench.statement(vague_one)


def test_journal__of_a_validator__is_refused_to_an_oracle_of_another_name(bench):
    bench.judge()
    with pytest.raises(JournalError, match="is for oracle"):
        Journal(bench.verdicts, chain_id=31337, escrow=bench.chain.deployment.job_escrow, oracle="0x" + "11" * 20)
