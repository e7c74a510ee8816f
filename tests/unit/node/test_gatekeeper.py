from __future__ import annotations

import json
from dataclasses import replace

import pytest

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import lint
from oracle.circuits.run import RunRequest
from oracle.jobs.canonical import canonical_bytes
from oracle.jobs.errors import PolicyDenied
from oracle.jobs.spec import normalise
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node.config import NodeConfig
from oracle.node.gatekeeper import HARDWARE_CHOICE, Gatekeeper, family_of
from oracle.node.gates import AwaitsApproval, Stage, circuit_family
from oracle.node.journal import Journal, Step

REQUESTER, OTHER, ORACLE = ("0x" + digits * 20 for digits in ("33", "44", "22"))
SOURCE = b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\nh q[0];\ncx q[0],q[1];\nmeasure q -> c;\n'
TERMS = Terms(REQUESTER, REQUESTER, ORACLE, *[ZERO_ADDRESS] * 3, 10**15, 0, 0, 100, 200, 0, b"s" * 32, b"k" * 32)
SPEC = normalise(
    {"budget": {"amount": 10**15}, "validation": {"method": "distribution"}},
    requester=f"did:pkh:eip155:31337:{REQUESTER}",
    circuit="ipfs://f01551220" + "00" * 32,
)
SIMULATED = {"queue_minutes": 1, "simulated": True, "baseline_distance": 0.01, "promoted": True}
BUDGETS = {"gate_approvals": frozenset({"budget_over"}), "gate_approval_budget_wei": 0}
NO_QUESTIONS = {"gate_approvals": frozenset()}


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path / "journal.db", chain_id=31337, escrow="0x" + "11" * 20, oracle=ORACLE)
    yield opened
    opened.close()


def job(journal, job_id, *, taken=None, requester=REQUESTER):
    """A job just seen, or ``taken`` with that routing choice."""
    journal.add_job(job_id, replace(TERMS, requester=requester), 3, b"h" * 32)
    row = journal.job(job_id)
    if taken:
        row = journal.advance(row, Step.CHECKED, result=json.dumps({"routing": {"choice": taken}}))
    return row


def admit(journal, row, choice=HARDWARE_CHOICE, *, stage=Stage.ACCEPTANCE, config=NO_QUESTIONS, **known):
    limits = CircuitLimits()
    request = RunRequest(SOURCE, "openqasm2", 1_000, 1, limits)
    keeper = Gatekeeper(journal, NodeConfig(**config), ORACLE)
    return keeper.admit(row, SPEC, choice, lint(SOURCE, "openqasm2", limits), request, stage=stage, **known)


def test_admit__simulator__passes_no_gates_unless_all_do(journal):
    row = job(journal, 1)

    assert admit(journal, row, "local_simulator") == []
    assert admit(journal, row, "local_simulator", config={**NO_QUESTIONS, "gate_apply_to": "all"})


def test_admit__hardware__is_asked_about_once(journal):
    row = job(journal, 1)
    with pytest.raises(AwaitsApproval):
        admit(journal, row, config={})

    keeper = Gatekeeper(journal, NodeConfig(), ORACLE)
    (question,) = keeper._approvals.waiting()
    keeper._approvals.answer(1, True)

    assert question.causes == "new_circuit_family, unknown_requester"
    assert admit(journal, row, config={})
    assert admit(journal, job(journal, 2), config={})  # the same requester and family


def test_admit__known_requester__is_asked_about_the_family_alone(journal):
    with pytest.raises(AwaitsApproval, match="new_circuit_family$|new_circuit_family;"):
        admit(journal, job(journal, 1), config={"gate_known_requesters": frozenset({REQUESTER})})


def test_admit__submission__needs_what_the_simulation_tells(journal):
    row = job(journal, 1, taken=HARDWARE_CHOICE)
    with pytest.raises(AwaitsApproval, match="not simulated"):
        admit(journal, row, stage=Stage.SUBMISSION)
    with pytest.raises(PolicyDenied, match="distance"):
        admit(journal, row, stage=Stage.SUBMISSION, **{**SIMULATED, "baseline_distance": 0.5})
    assert admit(journal, row, stage=Stage.SUBMISSION, **SIMULATED)


def test_admit__submission__does_not_count_the_job_itself(journal):
    row = job(journal, 1, taken=HARDWARE_CHOICE)
    assert admit(journal, row, stage=Stage.SUBMISSION, config={**NO_QUESTIONS, "gate_runs_per_day": 1}, **SIMULATED)


def test_admit__submission__others_taken_since_do_not_push_it_out(journal):
    row = job(journal, 1, taken=HARDWARE_CHOICE)
    job(journal, 2, taken=HARDWARE_CHOICE)
    limits = {**NO_QUESTIONS, "gate_runs_per_day": 1, "gate_runs_per_requester": 1}
    assert admit(journal, row, stage=Stage.SUBMISSION, config=limits, **SIMULATED)


@pytest.mark.parametrize(
    ("steps", "counts"),
    [
        ((Step.CLOSED,), False),
        ((Step.ACCEPTED, Step.DECLINING), False),
        ((Step.ACCEPTED, Step.DECLINING, Step.CLOSED), False),
        ((Step.ACCEPTED,), True),
        ((Step.SUBMITTED, Step.DECLINING), True),
        ((Step.SUBMITTED, Step.DECLINING, Step.CLOSED), True),
        ((Step.RAN, Step.DELIVERED, Step.CLOSED), True),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_admit__quota__counts_what_was_run_or_will_be(journal, steps, counts):
    other = job(journal, 2, taken=HARDWARE_CHOICE)
    for step in steps:
        other = journal.advance(other, step)
    limits = {**NO_QUESTIONS, "gate_runs_per_day": 1}
    if counts:
        with pytest.raises(PolicyDenied, match="1 runs in 24 hours"):
            admit(journal, job(journal, 1), config=limits)
    else:
        assert admit(journal, job(journal, 1), config=limits)


def test_admit__instructions__are_one_family_by_their_gates_and_not_by_angles_or_remarks(journal):
    def document(gate, angle, remark):
        steps = [[gate, [0], [angle]], ["measure", [0], [0]]]
        source = f"// {remark}\nOPENQASM 2.0; qreg q[1]; {'h q[0];' * len(remark)}"
        text = {"format": "openqasm2", "source": source}
        return canonical_bytes({"circuits": [text, {"wires": 1, "instructions": steps}]})

    def family(*circuit):
        request = RunRequest(document(*circuit), "qscrow-json", 10, 1, CircuitLimits())
        return family_of(request)

    assert family("rx", 0.5, "a") == family("rx", 1.5, "b")
    assert len({family("rx", 0.5, "a"), family("ry", 0.5, "a"), family("rx", 0.5, "ab")}) == 3
    text = RunRequest(SOURCE, "openqasm2", 10, 1, CircuitLimits())
    assert family_of(text) == circuit_family(SOURCE)


def test_tidy__questions_about_jobs_that_are_over__are_withdrawn_and_answers_kept(journal):
    asked = [job(journal, number, requester=f"0x{number:040x}") for number in (1, 2, 3, 4)]
    for row in asked:
        with pytest.raises(AwaitsApproval):
            admit(journal, row, config={})
    keeper = Gatekeeper(journal, NodeConfig(), ORACLE)
    keeper._approvals.answer(2, False, "no")
    journal.advance(journal.advance(asked[0], Step.DECLINING), Step.CLOSED)
    journal.advance(asked[1], Step.DECLINING)
    journal.add_job(3, TERMS, 3, b"h" * 32)
    journal.rewind(0)
    journal.add_job(4, asked[3].terms, 3, b"h" * 32)

    keeper.tidy()

    assert [question.job_id for question in keeper._approvals.waiting()] == [4]
    assert keeper._approvals.of(2).note == "no" and keeper._approvals.of(1) is None


def test_admit__provider_tells_of_more_runs_than_the_journal__counts_them(journal):
    limits = {**NO_QUESTIONS, "gate_runs_per_day": 3}
    assert admit(journal, job(journal, 1), config=limits, runs_at_provider=2)
    with pytest.raises(PolicyDenied, match="3 runs in 24 hours"):
        admit(journal, job(journal, 2), config=limits, runs_at_provider=3)


@pytest.mark.parametrize(
    ("asked", "later"),
    [
        (TERMS, {"budget": TERMS.budget + 5}),
        (replace(TERMS, oracle=ZERO_ADDRESS), {"oracle": ORACLE}),
        (replace(TERMS, oracle=ZERO_ADDRESS), {"oracle": ORACLE, "budget": TERMS.budget + 5}),
    ],
    ids=["promoted", "taken", "taken and promoted"],
)
def test_admit__approved_job_whose_terms_went_on__stays_approved(journal, asked, later):
    journal.add_job(1, asked, 3, b"h" * 32)
    with pytest.raises(AwaitsApproval):
        admit(journal, journal.job(1), config=BUDGETS)
    keeper = Gatekeeper(journal, NodeConfig(), ORACLE)
    keeper._approvals.answer(1, True)
    row = journal.advance(journal.job(1), Step.CHECKED, terms=replace(asked, **later))

    assert admit(journal, row, config=BUDGETS)
    other = journal.advance(row, Step.CHECKED, terms=replace(row.terms, deliver_by=201))
    with pytest.raises(AwaitsApproval):
        admit(journal, other, config=BUDGETS)


@pytest.mark.parametrize(
    ("taken", "requester", "limits", "code"),
    [
        (HARDWARE_CHOICE, OTHER, {"gate_runs_per_day": 1}, "runs_exhausted"),
        (HARDWARE_CHOICE, REQUESTER, {"gate_runs_per_requester": 1}, "quota_exhausted"),
        (HARDWARE_CHOICE, OTHER, {"gate_runs_per_requester": 1}, None),
        ("local_simulator", REQUESTER, {"gate_runs_per_day": 1, "gate_runs_per_requester": 1}, None),
    ],
)
def test_admit__others_taken_today__count_by_requester_and_choice(journal, taken, requester, limits, code):
    job(journal, 1, taken=taken, requester=requester)
    row, config = job(journal, 2), {**NO_QUESTIONS, **limits}
    if code is None:
        assert admit(journal, row, config=config)
        return
    with pytest.raises(PolicyDenied) as denied:
        admit(journal, row, config=config)
    assert denied.value.code == code
