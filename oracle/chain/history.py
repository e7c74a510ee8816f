"""A job's life as the chain tells it: terms, state, money and every step, rebuilt from events alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from oracle.chain.client import ChainClient
from oracle.chain.contracts import reason_text
from oracle.chain.events import Event
from oracle.jobs.amounts import format_wei
from oracle.jobs.errors import InputError
from oracle.jobs.states import TAKEN, TERMINAL, State, Tier
from oracle.jobs.terms import ZERO_ADDRESS, Terms


@dataclass(frozen=True)
class Step:
    """One thing that happened to a job. ``note`` is a reason, a digest or an amount, for people."""

    state: State
    actor: str
    note: str
    block: int
    tx_hash: bytes


@dataclass
class JobHistory:
    """Everything the chain says about one job.

    ``terms`` are current: an open job's name its oracle once accepted, a promoted job's the new
    budget. ``to_oracle``, ``to_validator`` and
    ``to_payer`` are credits in the job's token; ``slashed`` is the bond credited to the payer, in wei.
    """

    job_id: int
    terms: Terms
    created_block: int
    state: State = State.CREATED
    tier: Tier = Tier.UNVERIFIED
    reason: str = ""
    result: bytes | None = None
    charge: int = 0
    to_oracle: int = 0
    to_validator: int = 0
    to_payer: int = 0
    slashed: int = 0
    steps: list[Step] = field(default_factory=list)

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended for good."""
        return self.state in TERMINAL

    @property
    def ruled(self) -> bool:
        """Whether an arbiter ended the job."""
        return self.tier == Tier.RULED

    @property
    def held(self) -> int:
        """What the escrow still holds of the budget, in the job's token."""
        return self.terms.budget - self.to_oracle - self.to_validator - self.to_payer


def replay(events: Iterable[Event], known: Iterable[JobHistory] = ()) -> dict[int, JobHistory]:
    """Histories by job id from events in chain order, going on from those ``known``.

    Progress reports by anybody but the job's oracle are dropped.
    """
    jobs = {job.job_id: job for job in known}
    for event in events:
        if event.name == "JobCreated":
            job = JobHistory(event.job_id, Terms.from_abi(event.args["terms"]), event.block)
            jobs[event.job_id] = job
            _step(job, event, State.CREATED, job.terms.requester)
        elif event.job_id in jobs and event.name in _APPLY:
            _APPLY[event.name](jobs[event.job_id], event)
    return jobs


def fetch_job(client: ChainClient, job_id: int, *, first_block: int | None = None) -> JobHistory:
    """The history of one job. Raises :class:`InputError` if it does not exist, :class:`ChainError` from the chain."""
    start = client.deployment.block if first_block is None else first_block
    last = client.block().number
    jobs = replay(client.job_events(job_id, start, last) if 0 < job_id < 2**256 else [])
    if job_id not in jobs:
        raise InputError(
            f"there is no job {job_id} on chain {client.chain_id}",
            field="job",
            remedy=f"jobs so far: {client.escrow.job_count()}",
        )
    return jobs[job_id]


def _state_changed(job: JobHistory, event: Event) -> None:
    state, actor = State(event.args["state"]), event.args["actor"]
    evidence = bytes(event.args["evidence"])
    if State.SIMULATED <= state <= State.RUNNING:
        if actor == job.terms.oracle:
            note = "0x" + evidence.hex() if any(evidence) else ""
            job.steps.append(Step(state, actor, note, event.block, event.tx_hash))
        return
    if state == State.ACCEPTED and job.terms.is_open:
        job.terms = job.terms.taken_by(actor)
    if state in TERMINAL:
        job.to_payer = job.terms.budget
    if state == State.EXPIRED and job.state in TAKEN:
        job.slashed = job.terms.bond
    if state in (State.REJECTED, State.FAILED):
        job.reason = reason_text(evidence)
    job.state = state
    _step(job, event, state, actor, job.reason if job.reason else "")


def _promoted(job: JobHistory, event: Event) -> None:
    job.terms = job.terms.promoted_to(event.args["budget"])
    job.state = State.APPROVED
    budget = job.terms.budget
    shown = format_wei(budget) if job.terms.token == ZERO_ADDRESS else budget
    _step(job, event, State.APPROVED, event.args["requester"], f"budget {shown}")


def _delivered(job: JobHistory, event: Event) -> None:
    job.result, job.charge = bytes(event.args["result"]), event.args["charge"]
    oracle = event.args["oracle"]
    _step(job, event, State.COMPLETED, oracle, f"ipfs://f01551220{job.result.hex()}")
    job.state = State(event.args["state"])
    if job.state == State.SETTLED:
        job.tier = Tier(event.args["tier"])
        job.to_oracle = job.charge
        job.to_validator = job.terms.validator_fee if job.tier != Tier.UNVERIFIED else 0
        job.to_payer = job.terms.budget - job.to_oracle - job.to_validator
        _step(job, event, State.SETTLED, oracle, job.tier.label)


def _validated(job: JobHistory, event: Event) -> None:
    verdict = "accepted" if event.args["accepted"] else "rejected"
    _step(job, event, State.VALIDATED, event.args["validator"], verdict)


def _settled(job: JobHistory, event: Event) -> None:
    job.state, job.tier = State(event.args["state"]), Tier(event.args["tier"])
    job.to_oracle, job.to_validator = event.args["toOracle"], event.args["toValidator"]
    job.to_payer = job.terms.budget - job.to_oracle - job.to_validator
    job.slashed = event.args["slashed"]
    _step(job, event, job.state, event.address, job.tier.label)


def _step(job: JobHistory, event: Event, state: State, actor: str, note: str = "") -> None:
    job.steps.append(Step(state, actor, note, event.block, event.tx_hash))


_APPLY = {
    "JobStateChanged": _state_changed,
    "JobPromoted": _promoted,
    "JobDelivered": _delivered,
    "JobValidated": _validated,
    "JobSettled": _settled,
}
