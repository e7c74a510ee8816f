"""Getting money out: ending jobs whose time is over, cancelling, withdrawing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from oracle.chain.client import ChainClient
from oracle.chain.contracts import NATIVE, Call
from oracle.chain.events import decode_log
from oracle.chain.failures import Reverted
from oracle.chain.history import JobHistory, fetch_job
from oracle.chain.sender import Receipt, Sender
from oracle.jobs.errors import ChainError
from oracle.jobs.states import State
from oracle.requester.sending import send

DELIVERED = (State.COMPLETED, State.DISPUTED)


@dataclass(frozen=True)
class Ended:
    """A job after the transaction that ended it."""

    job: JobHistory
    receipt: Receipt


@dataclass(frozen=True)
class Withdrawn:
    """Money that left the escrow: ``amount`` in the token's smallest unit."""

    amount: int
    token: str
    to: str
    receipt: Receipt


def claim(job: JobHistory, chain: ChainClient) -> str | None:
    """``refund`` or ``settle`` if the job's time is over and anyone can end it that way, else ``None``."""
    if job.is_terminal or chain.block().timestamp <= chain.escrow.deadline_of(job.job_id):
        return None
    return "settle" if job.state in DELIVERED else "refund"


def end_job(job: JobHistory, *, chain: ChainClient, sender: Sender) -> Ended:
    """Refund a job that ran out of time, or settle a delivered one whose period is over.

    Raises :class:`ChainError` if it has ended already or its time is not over; nothing is sent then.
    """
    if job.is_terminal:
        raise ChainError(
            f"job {job.job_id} is {job.state.label} and holds no money",
            field="job",
            remedy="`qscrow withdraw` takes credits out",
        )
    escrow = chain.escrow
    delivered = job.state in DELIVERED
    call = escrow.settle(job.job_id, job.terms) if delivered else escrow.claim_refund(job.job_id, job.terms)
    try:
        return _ended(job, call, chain, sender)
    except Reverted as err:
        if err.name != "TooEarly":
            raise
        until = datetime.fromtimestamp(err.arguments["deadline"], UTC)
        raise ChainError(
            f"job {job.job_id} is {job.state.label} and has time until {until:%Y-%m-%d %H:%M:%S} UTC",
            field="job",
            remedy="try again after that" + (", or use `qscrow cancel`" if job.state == State.CREATED else ""),
        ) from err


def cancel_job(job: JobHistory, *, chain: ChainClient, sender: Sender) -> Ended:
    """Take back a job nobody has accepted. Raises :class:`ChainError`; nothing is sent then."""
    if job.state != State.CREATED:
        remedy = None if job.is_terminal else "it ends by delivery, or by `qscrow refund` after its deadline"
        raise ChainError(f"job {job.job_id} is {job.state.label} and cannot be cancelled", field="job", remedy=remedy)
    return _ended(job, chain.escrow.cancel(job.job_id, job.terms), chain, sender)


@dataclass(frozen=True)
class Promoted:
    """A job whose requester has let it onto hardware."""

    job: JobHistory
    receipt: Receipt


def promote_job(
    job: JobHistory, *, chain: ChainClient, sender: Sender, extra: int = 0, evidence: bytes | None = None
) -> Promoted:
    """Approve hardware for an accepted job, adding ``extra`` (in wei) to its budget.

    ``evidence`` is the 32-byte digest of what the approval rests on; by default what the oracle reported as its
    simulation, if it did. Raises :class:`ChainError`; nothing is sent then.
    """
    if job.state != State.ACCEPTED:
        done = "is promoted already" if job.state == State.APPROVED else f"is {job.state.label} and cannot be promoted"
        raise ChainError(f"job {job.job_id} {done}", field="job", remedy="promote a job once it is Accepted")
    if extra and job.terms.token != NATIVE:
        raise ChainError("pays in a token and cannot be topped up here", field="job", remedy="leave --add out")
    proof = _simulation(job) if evidence is None else evidence
    receipt = send(sender, chain.escrow.promote(job.job_id, job.terms, extra, proof))
    return Promoted(fetch_job(chain, job.job_id, first_block=job.created_block), receipt)


def _simulation(job: JobHistory) -> bytes:
    reported = [step.note for step in job.steps if step.state == State.SIMULATED and step.note]
    return bytes.fromhex(reported[-1].removeprefix("0x")) if reported else bytes(32)


def withdraw(to: str, *, chain: ChainClient, sender: Sender, token: str = NATIVE) -> Withdrawn:
    """Send everything the escrow owes the sender in ``token`` to ``to``. Raises :class:`ChainError`."""
    if chain.escrow.credit_of(sender.address, token) == 0:
        raise ChainError(f"nothing is owed to {sender.address} now", field="account", remedy="see `qscrow balance`")
    receipt = send(sender, chain.escrow.withdraw(token, to))
    events = [event for event in map(decode_log, receipt.logs) if event is not None and event.name == "Withdrawn"]
    amount = sum(event.args["amount"] for event in events if event.address == chain.deployment.job_escrow)
    return Withdrawn(amount, token, to, receipt)


def _ended(job: JobHistory, call: Call, chain: ChainClient, sender: Sender) -> Ended:
    receipt = send(sender, call)
    return Ended(fetch_job(chain, job.job_id, first_block=job.created_block), receipt)
