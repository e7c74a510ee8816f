"""What an examination does with what it gathered; how it is gathered is in tests/integration/test_validator.py."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace

import pytest

from oracle.chain.history import JobHistory, Step
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.observables import estimate, parse_observables
from oracle.content.store import BlockStore
from oracle.jobs.canonical import canonical_bytes
from oracle.jobs.spec import normalise
from oracle.jobs.states import State
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node.config import NodeConfig
from oracle.node.journal import JobRow
from oracle.node.journal import Step as JournalStep
from oracle.validator.evidence import Examiner
from oracle.validator.findings import Wrong
from oracle.validator.journal import ValidatorJournal

CIRCUIT = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[1]; h q[0];'
BELL = {"wires": 2, "instructions": [["h", [0], []], ["cx", [0, 1], []], ["measure", [0, 1], [0, 1]]]}
REQUESTER, ORACLE, VALIDATOR, ESCROW = ("0x" + digits * 20 for digits in ("33", "22", "44", "11"))
SPEC = normalise(
    {
        "budget": {"amount": 100},
        "quantum": {"circuit": "c", "format": "qscrow-json", "shots": 1_000},
        "validation": {"method": "agreement"},
        "timeouts": {"challenge_seconds": 600},
        "settlement": {"release_on": "attestation"},
    },
    requester=f"did:pkh:eip155:31337:{REQUESTER}",
    circuit="ipfs://f01551220" + "00" * 32,
)
TERMS = Terms(
    REQUESTER, REQUESTER, ORACLE, VALIDATOR, *[ZERO_ADDRESS] * 2, 100, 1, 5, 10, 20, 600, b"s" * 32, b"k" * 32
)
RIGHT, ALMOST, WRONG = {"00": 507, "11": 493}, {"00": 489, "11": 511}, {"00": 1_000}


def examined(monkeypatch, delivered, *peers):
    """The finding on a job of which others delivered the counts ``peers``."""
    chain = SimpleNamespace(chain_id=31337, deployment=SimpleNamespace(job_escrow=ESCROW))
    store = SimpleNamespace(get=lambda cid, max_bytes: canonical_bytes(BELL))
    here = {"sender": SimpleNamespace(address=VALIDATOR), "config": NodeConfig(), "limits": CircuitLimits()}
    journal = SimpleNamespace(note_counts=lambda *_: None, counts_seen=lambda *_: False)
    examiner = Examiner(SimpleNamespace(chain=chain, store=store, **here), journal)
    document = {"spec": SPEC, "shots": 1_000, "counts": delivered}
    others = {f"0x{number:040x}": counts for number, counts in enumerate(peers, start=1)}
    monkeypatch.setattr(examiner, "_spec", lambda job: SPEC)
    monkeypatch.setattr(examiner, "_opened", lambda history, spec: document)
    monkeypatch.setattr(examiner, "_peers", lambda *_: others)
    simulated = SimpleNamespace(runs=[], counts={"00": 50_010, "11": 49_990}, clbits=2)
    monkeypatch.setattr(examiner, "_run", lambda request: simulated)
    job = JobRow(1, TERMS, 3, b"h" * 32, JournalStep.DELIVERED)
    steps = [Step(State.COMPLETED, ORACLE, "", 9, b"t")]
    history = JobHistory(1, TERMS, 3, State.COMPLETED, result=b"r" * 32, steps=steps)
    return examiner.examine(job, history, seconds_left=100).verdict


@pytest.mark.parametrize(
    ("delivered", "peers", "outcome"),
    [
        (RIGHT, (ALMOST,), "accept"),
        (WRONG, (RIGHT, ALMOST), "reject"),
        (RIGHT, (WRONG, WRONG), "inconclusive"),
    ],
    ids=["agrees", "wrong", "outvoted by accomplices of its requester"],
)
def test_examine__agreement__rejects_only_what_a_simulation_here_rejects_too(monkeypatch, delivered, peers, outcome):
    assert str(examined(monkeypatch, delivered, *peers).outcome) == outcome


def test_examine__copy_judged_while_its_original_is__is_rejected_and_the_original_is_not(monkeypatch, tmp_path):
    chain = SimpleNamespace(chain_id=31337, deployment=SimpleNamespace(job_escrow=ESCROW))
    spread = {
        "wires": 4,
        "instructions": [*(["h", [n], []] for n in range(4)), ["measure", [0, 1, 2, 3], [0, 1, 2, 3]]],
    }
    here = {"sender": SimpleNamespace(address=VALIDATOR), "config": NodeConfig(), "limits": CircuitLimits()}
    tools = SimpleNamespace(chain=chain, store=SimpleNamespace(get=lambda *_, **__: canonical_bytes(spread)), **here)
    document = {"spec": SPEC, "shots": 1_000, "counts": {f"{n:04b}": 62 + n % 2 for n in range(16)}}
    simulated = SimpleNamespace(runs=[], counts={f"{n:04b}": 6_250 for n in range(16)}, clbits=4)
    spec = SPEC | {"validation": {**SPEC["validation"], "method": "distribution"}}
    verdicts = {}

    def judge(job_id):
        steps = [Step(State.COMPLETED, ORACLE, "", 8 + job_id, b"t")]
        history = JobHistory(job_id, TERMS, 3, State.COMPLETED, result=b"r" * 32, steps=steps)
        found = examiner.examine(journal.job(job_id), history, seconds_left=100).verdict
        verdicts[job_id] = {check.name: str(check.outcome) for check in found.checks}["repeat"]

    def run(_):
        if 1 not in verdicts:  # the copy was opened first, and its original while it is simulated
            verdicts[1] = ""
            judge(1)
        return simulated

    with closing(ValidatorJournal(tmp_path / "v.db", chain_id=31337, escrow=ESCROW, oracle=VALIDATOR)) as journal:
        for job_id in (1, 2):
            journal.add_job(job_id, TERMS, 3, b"h" * 32, step=JournalStep.DELIVERED)
        examiner = Examiner(tools, journal)
        monkeypatch.setattr(examiner, "_spec", lambda job: spec)
        monkeypatch.setattr(examiner, "_opened", lambda history, spec: document)
        monkeypatch.setattr(examiner, "_run", run)
        judge(2)

    assert verdicts == {1: "accept", 2: "reject"}


@pytest.mark.parametrize("method", ["replay", "distribution"])
@pytest.mark.parametrize("place", ["head", "runs"])
def test_evidence__values_that_do_not_follow_from_the_counts__speak_against_the_result(tmp_path, method, place):
    store = BlockStore(tmp_path)
    tools = SimpleNamespace(store=store, limits=CircuitLimits(), sender=SimpleNamespace(address="0x" + "11" * 20))
    observables = [[["X", 1.0]]]
    spec = {
        "quantum": {
            "circuit": str(store.put(CIRCUIT)), "format": "openqasm2", "shots": 10, "seed": 1,
            "result": "expectation", "observables": observables,
        },
        "privacy": {"circuit": "public"},
        "validation": {"method": method},
    }  # fmt: skip
    bases = [{"basis": "X", "counts": {"0": 10}}]
    values, errors = estimate(parse_observables(observables), [("X", bases[0]["counts"])])
    told = {"values": values, "standard_errors": errors}
    run = {"pub": 0, "set": 0, "bases": bases, **told}
    document = {"counts": {"0": 10}, "shots": 10, "runs": [run], **told}
    lie = {"values": [-1.0]}
    document |= lie if place == "head" else {"runs": [run | lie]}
    with pytest.raises(Wrong, match="values"):
        Examiner(tools, None)._evidence(None, None, spec, document, 0.0)
