"""What an auditor and a requester see of a job's artefacts, honest and not."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.audit.artefacts import (
    RECEIPT,
    Finding,
    Inspection,
    Status,
    check_disclosed,
    inspect_artefacts,
    later_documents,
)
from oracle.backends.ibm.result import HARDWARE, METHOD, HardwareResult
from oracle.chain.attestations import Method, Statement
from oracle.chain.client import ChainClient
from oracle.chain.deploy import deploy
from oracle.chain.events import Event
from oracle.chain.history import JobHistory, Step, fetch_job
from oracle.chain.localnet import dev_accounts, in_process_chain
from oracle.chain.sender import Sender
from oracle.circuits.run import RunResult
from oracle.content.store import BlockStore, put_object
from oracle.jobs.canonical import canonical_bytes, digest
from oracle.jobs.documents import check_document, job_reference
from oracle.jobs.errors import ContentUnavailable, InputError
from oracle.jobs.states import State
from oracle.node.documents import result_commitment, result_document
from oracle.requester.draft import load_draft, write_example
from oracle.requester.results import read_result
from oracle.requester.submit import Parties, prepare, submit
from oracle.sealing.artefacts import (
    HIDDEN,
    IN_RECEIPT,
    NAMES,
    REPORT,
    SETTLEMENT,
    SPECS,
    artefact_digests,
    disclosures,
)
from oracle.sealing.capsules import Recipient
from oracle.sealing.context import SealContext
from oracle.sealing.keys import SealingKey
from oracle.sealing.sealed import commit, inspect_sealed, seal
from oracle.validation.verdict import Check, Outcome, Verdict

CHARGE = 3000
COUNTS = {"00000": 500, "11111": 524}
ZERO = "0x" + "00" * 32
RUN = RunResult(
    counts=COUNTS,
    shots=1024,
    seed=7,
    qubits=5,
    clbits=5,
    depth=6,
    operations={"h": 1, "cx": 4},
    method="stabilizer",
    engine="aer-stabilizer",
    versions={"qiskit": "2.6.2"},
    transpiled_digest="ab" * 32,
    confinement="rlimits",
    seconds={"run": 0.5},
)
LOCAL = {"choice": "local_simulator", "backend": "aer", "method": "stabilizer", "reasons": {"aer": "fits"}}
PROMOTED = {"choice": "ibm_quantum_backend", "backend": "ibm_box", "method": None, "reasons": {"ibm_box": "fits"}}
PROVIDER = {"name": "ibm", "backend": "ibm_box", "job_id": "c0ffee"}
DEVICE = HardwareResult(**{**asdict(RUN), "method": METHOD, "engine": HARDWARE}, provider=PROVIDER)
SIMULATION = {"run": asdict(RUN), "salt": "5a" * 32}


@dataclass
class World:
    """A chain inside the process, a store on disk, and an honest job, delivered and settled, with its opened result."""

    chain: ChainClient
    store: BlockStore
    oracle: Sender
    judge: Sender
    requester: Sender
    draft: Any
    key: SealingKey
    job: JobHistory = None  # type: ignore[assignment]
    spec: dict[str, Any] = None  # type: ignore[assignment]

    def order(self, **sections: Any) -> tuple[JobHistory, dict[str, Any]]:
        parties = Parties(oracle=self.oracle.address)
        if sections:
            parties = replace(parties, validator=self.judge.address, validator_fee=1000)
        ready = prepare(
            replace(self.draft, fields={**self.draft.fields, **sections}),
            parties,
            chain=self.chain,
            requester=self.requester.address,
            key=self.key,
        )
        done = submit(ready, chain=self.chain, store=self.store, sender=self.requester)
        return fetch_job(self.chain, done.job_id), ready.spec

    def written(self, run: RunResult = RUN, routing: Any = LOCAL, job: Any = None, spec: Any = None, **before: Any):
        """The result document of an honest node."""
        job = job or self.job
        return result_document(
            job_reference(self.chain.chain_id, self.chain.deployment.job_escrow, job.job_id, job.terms),
            spec or self.spec,
            run,
            routing=routing,
            charge=CHARGE,
            oracle=self.oracle.address,
            before=before,
        )

    def receipt(self, document: dict[str, Any]) -> dict[str, Any]:
        return {
            "version": 1,
            "job": document["job"],
            "oracle": document["oracle"],
            "circuit": document["spec"]["quantum"]["circuit"],
            "engine": document["backend"]["engine"],
            "charge": document["charge"],
            "commitment": result_commitment(document),
            "artefacts": artefact_digests(document),
        }

    def context(self, job: JobHistory, purpose: str = "result") -> SealContext:
        place = (self.chain.chain_id, self.chain.deployment.job_escrow, job.job_id, job.terms.spec, job.terms.requester)
        return SealContext(purpose, *place)

    def pinned(self, document: Any, receipt: Any, job: JobHistory | None = None) -> bytes:
        """The digest of the block an oracle would deliver."""
        job = job or self.job
        sealed = seal(
            canonical_bytes(document),
            self.context(job),
            [Recipient("nacl", job.terms.seal_to)],
            receipt=receipt,
        )
        return put_object(self.store, sealed)

    def seen(self, document: Any, receipt: Any, *, opened: bool = False, job: JobHistory | None = None) -> Inspection:
        """What would be seen of the job had the oracle delivered this."""
        delivered = replace(job or self.job, result=self.pinned(document, receipt, job))
        return self.inspected(delivered, opened=opened)

    def inspected(self, job: JobHistory, *, opened: bool = False, chain: Any = None) -> Inspection:
        document = None
        if opened:
            document, _ = read_result(job, chain=self.chain, store=self.store, key=self.key)
        return inspect_artefacts(
            job, chain=chain or self.chain, store=self.store, document=document, key=self.key if opened else None
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    place = tmp_path_factory.mktemp("artefacts")
    w3 = in_process_chain()
    deployer, requester, oracle, judge = (Sender(w3, account) for account in dev_accounts(4))
    chain = ChainClient(w3, deploy(w3, deployer.account))
    oracle.send(chain.registry.register(b"o" * 32, b"p" * 32, 10**18))
    judge.send(chain.registry.register(b"j" * 32, b"p" * 32))
    write_example(place / "job.yaml", "ghz")
    draft = load_draft(place / "job.yaml")
    made = World(
        chain, BlockStore(place / "content"), oracle, judge, requester, draft, SealingKey.from_bytes(b"r" * 32)
    )
    made.job, made.spec = made.order()
    document = made.written()
    result = made.pinned(document, made.receipt(document))
    oracle.send(chain.escrow.deliver(made.job.job_id, made.job.terms, CHARGE, result))
    made.job = fetch_job(chain, made.job.job_id)
    return made


def by_name(inspection: Inspection) -> dict[str, Finding]:
    return {each.name: each for each in (inspection.receipt, *inspection.artefacts)}


def statuses(inspection: Inspection) -> dict[str, str]:
    assert all(each.note.isprintable() and len(each.note) < 400 for each in by_name(inspection).values())
    return {name: str(each.status) for name, each in by_name(inspection).items()}


# ------------------------------------------------------------------------------------------ honest


def test_inspect_artefacts__without_a_key__shows_the_nine_and_checks_what_is_public(world) -> None:
    found = world.inspected(world.job)

    assert tuple(each.name for each in found.artefacts) == NAMES
    assert statuses(found) == {
        RECEIPT: "public-verified",
        **dict.fromkeys(SPECS, "public-verified"),
        **dict.fromkeys(HIDDEN, "sealed"),
        REPORT: "not-due",
        SETTLEMENT: "public-verified",
    }
    assert not found.mismatches
    assert by_name(found)["original_spec"].digest == "0x" + world.job.terms.spec.hex()
    assert by_name(found)[SETTLEMENT].where.startswith("JobDelivered in block")


def test_inspect_artefacts__with_the_result_opened__verifies_every_digest(world) -> None:
    found = statuses(world.inspected(world.job, opened=True))

    assert {found[name] for name in HIDDEN} == {"verified"}


def test_inspect_artefacts__documents_of_a_node__follow_their_schemas(world) -> None:
    document, receipt = read_result(world.job, chain=world.chain, store=world.store, key=world.key)
    check_document(document, "result")
    check_document(receipt, "receipt")
    check_document(world.written(DEVICE, PROMOTED, simulation=SIMULATION, predicted_distance=0.01), "result")


def test_inspect_artefacts__nothing_delivered_yet__is_pending(world) -> None:
    job, _ = world.order()
    found = statuses(world.inspected(job))

    assert {found[name] for name in (*HIDDEN, SETTLEMENT, RECEIPT)} == {"pending"}
    assert found["original_spec"] == "public-verified"


def test_inspect_artefacts__ended_without_a_result__nothing_is_due_but_the_end_is_known(world) -> None:
    job, _ = world.order()
    world.oracle.send(world.chain.escrow.reject(job.job_id, job.terms, "too_wide"))
    found = statuses(world.inspected(fetch_job(world.chain, job.job_id)))

    assert {found[name] for name in HIDDEN} == {"not-due"} and found[SETTLEMENT] == "public-verified"


def test_inspect_artefacts__spec_that_is_none__is_public_as_published_and_has_no_normal_form(world) -> None:
    published = put_object(world.store, b'{ "version": 1 }')
    terms = replace(world.job.terms, spec=published)
    job = replace(world.job, terms=terms, result=None, state=State.CREATED)
    found = statuses(world.inspected(job))

    assert (found["original_spec"], found["normalised_spec"]) == ("public-verified", "missing")


@pytest.mark.parametrize("opened", [False, True])
def test_inspect_artefacts__result_of_an_earlier_version__says_so_and_is_no_mismatch(world, opened) -> None:
    document = world.written()
    receipt = world.receipt(document)
    del receipt["artefacts"], document["artefacts"]
    found = world.seen(document, receipt, opened=opened)

    assert {each.note for each in found.artefacts if each.name in HIDDEN} == {
        "not in this receipt (written by an earlier version)"
    }
    assert not found.mismatches


def test_inspect_artefacts__hardware_without_a_simulation__misses_it(world) -> None:
    document = world.written(DEVICE, PROMOTED)

    for opened in (False, True):
        found = world.seen(document, world.receipt(document), opened=opened)
        assert statuses(found)["simulation"] == "missing" and not found.mismatches


# ------------------------------------------------------------------------------------------- lies


def lied(world, change, *, opened: bool = True, **fields: Any) -> Inspection:
    document = world.written(**fields)
    receipt = world.receipt(document)
    change(receipt)
    return world.seen(document, receipt, opened=opened)


@pytest.mark.parametrize("name", HIDDEN)
def test_inspect_artefacts__one_digest_is_a_lie__only_that_one_mismatches(world, name) -> None:
    found = lied(world, lambda receipt: receipt["artefacts"].update({name: ZERO}))

    assert [each.name for each in found.mismatches] == [name]


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("opened", [False, True])
def test_inspect_artefacts__digest_of_another_spec__anybody_finds(world, name, opened) -> None:
    found = lied(world, lambda receipt: receipt["artefacts"].update({name: ZERO}), opened=opened)

    assert [each.name for each in found.mismatches] == [name]


def test_inspect_artefacts__two_swapped__both_are_named_with_whose_digest_it_is(world) -> None:
    def swap(receipt: dict[str, Any]) -> None:
        digests = receipt["artefacts"]
        digests["code"], digests["routing"] = digests["routing"], digests["code"]

    found = lied(world, swap)

    assert [(each.name, each.note) for each in found.mismatches] == [
        ("code", "the digest is that of routing"),
        ("routing", "the digest is that of code"),
    ]


@pytest.mark.parametrize("name", HIDDEN)
def test_inspect_artefacts__one_left_out__is_missing_and_opened_a_mismatch(world, name) -> None:
    assert statuses(lied(world, lambda receipt: receipt["artefacts"].pop(name), opened=False))[name] == "missing"
    found = lied(world, lambda receipt: receipt["artefacts"].pop(name))
    assert [each.name for each in found.mismatches] == [name]


def test_inspect_artefacts__all_left_out_to_look_old__is_found_once_opened(world) -> None:
    found = lied(world, lambda receipt: receipt.pop("artefacts"))

    assert {each.name for each in found.mismatches} == set(IN_RECEIPT)


def test_inspect_artefacts__names_that_are_none__are_listed_briefly(world) -> None:
    strange = {f"extra{number}\x1b[2J": ZERO for number in range(3000)}
    found = lied(world, lambda receipt: receipt["artefacts"].update(strange), opened=False)

    assert statuses(found)[RECEIPT] == "MISMATCH"
    assert len(found.artefacts) < 20 and found.artefacts[-1].note == "and 2992 more"
    assert all(each.name.isprintable() for each in found.artefacts)


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize(
    "value", [None, 5, [], "x" * 200_000, {"code": 5}, {"code": {"a": [1]}}, {"code": "0x" + "0" * 9999}]
)
def test_inspect_artefacts__digests_of_another_kind__are_a_mismatch_and_no_traceback(world, value, opened) -> None:
    found = lied(world, lambda receipt: receipt.update(artefacts=value), opened=opened)

    assert statuses(found)[RECEIPT] == "MISMATCH"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"charge": "2999"}, "its charge is '2999', on chain it is '3000'"),
        ({"oracle": "0x" + "11" * 20}, "its oracle is"),
        ({"job": {"chain_id": "1", "contract": "0x" + "11" * 20, "job_id": "1", "spec": ZERO}}, "its job is"),
        ({"job": {}}, "job.chain_id: is missing"),
        ({"charge": 3000}, "charge: 3000 must be of type string"),
        ({"commitment": "0x"}, "commitment: "),
        ({"version": 2}, "version: 2 must be 1"),
    ],
)
def test_inspect_artefacts__receipt_says_something_else_than_the_chain__anybody_sees(world, changes, told) -> None:
    found = lied(world, lambda receipt: receipt.update(changes), opened=False)

    assert found.receipt.status == Status.MISMATCH and told in found.receipt.note


def test_inspect_artefacts__receipt_with_another_charge__does_not_fit_the_settlement(world) -> None:
    found = by_name(lied(world, lambda receipt: receipt.update(charge="2999"), opened=False))

    assert found[SETTLEMENT].status == Status.MISMATCH and "the delivery 3000" in found[SETTLEMENT].note


def test_inspect_artefacts__contract_says_another_state_than_its_events__is_a_mismatch(world) -> None:
    found = by_name(world.inspected(replace(world.job, state=State.FAILED)))[SETTLEMENT]

    assert (found.status, found.note) == (Status.MISMATCH, "the events say Failed, the contract says Settled")


@pytest.mark.parametrize("plain", [[], 5, {}, {"artefacts": 5, "salt": "5a" * 32}, {"salt": "zz"}])
def test_inspect_artefacts__something_else_was_sealed__every_digest_mismatches(world, plain) -> None:
    document = world.written()
    found = world.seen(plain, world.receipt(document), opened=True)

    assert set(HIDDEN) <= {each.name for each in found.mismatches}


def test_inspect_artefacts__result_of_another_job__is_a_mismatch_for_everybody(world) -> None:
    other, _ = world.order()
    document = world.written()
    found = world.inspected(replace(world.job, result=world.pinned(document, world.receipt(document), other)))

    assert found.receipt.status == Status.MISMATCH and "job" in found.receipt.note
    assert statuses(found)["code"] == "missing"


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 100_000, b"\xff" * 1000, b'{"type": "qscrow.sealed"}'])
def test_inspect_artefacts__delivered_rubbish__is_a_mismatch_and_no_traceback(world, data) -> None:
    found = world.inspected(replace(world.job, result=put_object(world.store, data)))

    assert found.receipt.status == Status.MISMATCH


def test_inspect_artefacts__result_that_nobody_has__is_missing(world) -> None:
    found = world.inspected(replace(world.job, result=b"?" * 32))

    assert statuses(found)[RECEIPT] == "missing" and not found.mismatches


def test_inspect_artefacts__store_that_does_not_answer__is_no_finding(world, judged) -> None:
    job, report = judged
    for block in (job.result, job.terms.spec, digest(report)):

        class Silent:
            def get(self, cid, *, max_bytes, block=block):
                if cid.digest == block:
                    raise ContentUnavailable("nobody answers")
                return world.store.get(cid, max_bytes=max_bytes)

        with pytest.raises(ContentUnavailable):
            inspect_artefacts(job, chain=world.chain, store=Silent())


HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=6) | st.just(ZERO),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(IN_RECEIPT) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(
    field=st.sampled_from(["version", "job", "oracle", "circuit", "engine", "charge", "commitment", "artefacts"]),
    part=st.sampled_from(["spec", "counts", "shots", "runs", "routing", "provider", "artefacts", "salt", "charge"]),
    written=HOSTILE,
    sealed=HOSTILE,
)
def test_inspect_artefacts__anything_in_receipt_and_result__is_a_finding_and_no_traceback(
    world, field, part, written, sealed
) -> None:
    document = world.written()
    receipt = {**world.receipt(document), field: written}

    for opened in (False, True):
        found = world.seen({**document, part: sealed}, receipt, opened=opened)
        assert [name for name in statuses(found) if name in NAMES] == list(NAMES)


# ------------------------------------------------------------------------- simulation before hardware


def promoted(world, evidence: str) -> JobHistory:
    """The job as its history were with a simulation reported before the hardware run."""
    step = Step(State.SIMULATED, world.oracle.address, evidence, 7, b"t" * 32)
    return replace(world.job, steps=[*world.job.steps, step])


def test_inspect_artefacts__simulation_committed_to_on_chain__is_held_against_that(world) -> None:
    job = promoted(world, "0x" + commit(bytes.fromhex(SIMULATION["salt"]), canonical_bytes(SIMULATION["run"])).hex())
    honest = world.written(DEVICE, PROMOTED, simulation=SIMULATION)
    later = world.written(DEVICE, PROMOTED, simulation={**SIMULATION, "run": {**asdict(RUN), "seed": 8}})
    odd = world.written(DEVICE, PROMOTED, simulation={"run": 5, "salt": []})

    found = by_name(world.seen(honest, world.receipt(honest), opened=True, job=job))["simulation"]
    assert found.status == Status.VERIFIED and found.note == "its commitment is on chain since block 7"
    for wrong in (later, odd):
        found = by_name(world.seen(wrong, world.receipt(wrong), opened=True, job=job))["simulation"]
        assert found.status == Status.MISMATCH and "committed to before" in found.note


@pytest.mark.parametrize("began", [False, True])
def test_inspect_artefacts__simulated_again_after_a_lost_journal__is_one_of_the_two(world, began) -> None:
    """Both committed to; which one is sealed, and whether it came too late to bind anybody, is told."""
    first = promoted(world, "0x" + "77" * 32)
    sealed = "0x" + commit(bytes.fromhex(SIMULATION["salt"]), canonical_bytes(SIMULATION["run"])).hex()
    submitted = [Step(State.SUBMITTED, world.oracle.address, "", 8, b"t" * 32)] if began else []
    again = Step(State.SIMULATED, world.oracle.address, sealed, 9, b"t" * 32)
    job = replace(first, steps=[*first.steps, *submitted, again])
    document = world.written(DEVICE, PROMOTED, simulation=SIMULATION)

    found = by_name(world.seen(document, world.receipt(document), opened=True, job=job))["simulation"]

    assert found.status == Status.VERIFIED
    late = ", which is after the hardware run began" if began else ""
    assert found.note == f"its commitment is on chain since block 9, one of 2{late}"
    unopened = by_name(world.seen(document, world.receipt(document), opened=False, job=job))["simulation"]
    assert unopened.note == "2 commitments are on chain since block 7"


# ------------------------------------------------------------------------------------------ report


@pytest.fixture(scope="module")
def judged(world) -> tuple[JobHistory, bytes]:
    """A job that a validator accepted, and its sealed report."""
    job, spec = world.order(
        timeouts={"accept_seconds": 3600, "deliver_seconds": 3600, "challenge_seconds": 600},
        validation={"method": "replay"},
        settlement={"release_on": "attestation"},
    )
    document = world.written(job=job, spec=spec)
    result = world.pinned(document, world.receipt(document), job)
    world.oracle.send(world.chain.escrow.deliver(job.job_id, job.terms, CHARGE, result))
    report = reported(world, job, result)
    digest = put_object(world.store, report)
    chain = world.chain
    attestation = Statement(
        chain.chain_id,
        chain.deployment.job_escrow,
        job.job_id,
        job.terms,
        result,
        True,
        Method.REPLAYED,
        0,
        digest,
    ).signed_by(world.judge.account)
    waiting = fetch_job(chain, job.job_id)
    assert statuses(world.inspected(waiting))[REPORT] == "pending"
    world.judge.send(chain.escrow.validate(job.job_id, job.terms, attestation))
    return fetch_job(chain, job.job_id), report


def reported(
    world, job, result: bytes, *, outcome=Outcome.ACCEPT, purpose="report", plain=None, about=None, **receipt
) -> bytes:
    verdict = Verdict(
        method="replay",
        checks=(Check("counts", outcome, "the same counts"),),
        shots=1024,
        subject={"result": "0x" + (about or result).hex()},
    )
    public = {
        "version": 1,
        "validator": world.judge.address,
        "result": result.hex(),
        "verdict": "accept",
        "method": "replay",
    }
    return seal(
        canonical_bytes(verdict.as_document() if plain is None else plain),
        world.context(job, purpose),
        [Recipient("nacl", job.terms.seal_to)],
        receipt={**public, **receipt},
    )


class Telling:
    """A chain on which the attestation names another report."""

    def __init__(self, chain: ChainClient, report: bytes):
        self._chain, self._report = chain, report

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    def job_events(self, *args: Any) -> list[Event]:
        return [
            replace(e, args={**e.args, "report": self._report}) if e.name == "JobValidated" else e
            for e in self._chain.job_events(*args)
        ]


def test_inspect_artefacts__judged__the_report_is_found_through_the_chain_and_opened(world, judged) -> None:
    job, report = judged
    public, opened = by_name(world.inspected(job))[REPORT], by_name(world.inspected(job, opened=True))[REPORT]

    assert (public.status, opened.status) == (Status.SEALED, Status.VERIFIED)
    assert public.where.startswith("attestation in block") and opened.note == "accepted by replay"
    assert inspect_sealed(report).size and world.inspected(job).artefacts[-1].where.startswith("JobSettled in block")


@pytest.mark.parametrize(
    ("changes", "public"),
    [
        ({"purpose": "result"}, "MISMATCH"),
        ({"verdict": "reject"}, "MISMATCH"),
        ({"validator": "0x" + "11" * 20}, "MISMATCH"),
        ({"validator": ["\x1b[2J" * 1000]}, "MISMATCH"),
        ({"result": bytes(32)}, "MISMATCH"),
        ({"outcome": Outcome.REJECT}, "sealed"),
        ({"plain": {"type": "something"}}, "sealed"),
        ({"plain": []}, "sealed"),
        ({"about": bytes(31) + b"1"}, "sealed"),
    ],
)
def test_inspect_artefacts__report_that_does_not_fit_its_attestation__is_a_mismatch(world, judged, changes, public):
    job, _ = judged
    report = reported(world, job, **{"result": job.result, **changes})
    chain = Telling(world.chain, put_object(world.store, report))

    assert statuses(world.inspected(job, chain=chain))[REPORT] == public
    assert statuses(world.inspected(job, chain=chain, opened=True))[REPORT] == "MISMATCH"


@pytest.mark.parametrize(("report", "status"), [(b"?" * 32, "missing"), (b"rubbish", "MISMATCH")])
def test_inspect_artefacts__report_that_is_not_there_or_none__is_said(world, judged, report, status) -> None:
    digest = report if len(report) == 32 else put_object(world.store, report)
    found = world.inspected(judged[0], chain=Telling(world.chain, digest))

    assert statuses(found)[REPORT] == status


def test_later_documents__judged_and_settled__are_report_and_settlement(world, judged) -> None:
    job, _ = judged
    found = later_documents(job, chain=world.chain, store=world.store, key=world.key)

    assert found[REPORT]["verdict"] == "accept"
    assert (found[SETTLEMENT]["event"], found[SETTLEMENT]["charge"]) == ("JobSettled", str(CHARGE))
    unread = later_documents(job, chain=Telling(world.chain, b"?" * 32), store=world.store, key=world.key)
    assert set(unread) == {SETTLEMENT}


# -------------------------------------------------------------------------------------- disclosure


def disclosed(world) -> dict[str, dict[str, Any]]:
    document, _ = read_result(world.job, chain=world.chain, store=world.store, key=world.key)
    return disclosures(document, document["job"])


@pytest.mark.parametrize("name", IN_RECEIPT)
def test_check_disclosed__one_artefact__is_verified_by_somebody_without_a_key(world, name) -> None:
    shown = disclosed(world)[name]
    found = check_disclosed(world.job, json.dumps(shown).encode(), chain=world.chain, store=world.store)
    assert (found.name, found.status) == (name, Status.VERIFIED)

    shown["document"] = {**shown["document"], "more": 1}
    found = check_disclosed(world.job, json.dumps(shown).encode(), chain=world.chain, store=world.store)
    assert found.status == Status.MISMATCH


def test_check_disclosed__for_a_job_without_a_result_or_of_another__is_not_verified(world) -> None:
    data = json.dumps(disclosed(world)["code"]).encode()
    other, _ = world.order()
    with pytest.raises(InputError, match="another job"):
        check_disclosed(other, data, chain=world.chain, store=world.store)

    undelivered = replace(world.job, result=None, state=State.CREATED)
    assert check_disclosed(undelivered, data, chain=world.chain, store=world.store).status == Status.PENDING
