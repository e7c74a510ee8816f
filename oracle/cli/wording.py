"""How jobs are shown: lines for people, documents for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle.cli.output import when
from oracle.jobs.amounts import format_wei
from oracle.jobs.terms import ZERO_ADDRESS

if TYPE_CHECKING:
    from oracle.chain.history import JobHistory, Step
    from oracle.jobs.terms import Terms


def link(digest: bytes) -> str:
    """The ``ipfs://`` link of a digest found on chain."""
    return f"ipfs://f01551220{digest.hex()}"


def history_document(history: JobHistory) -> dict[str, Any]:
    """All of a job's history; amounts as decimal text, since they exceed what JSON numbers hold."""
    return {
        "job": history.job_id,
        "state": history.state.label,
        "tier": history.tier.label,
        "reason": history.reason,
        "terms": history.terms.to_json(),
        "budget": str(history.terms.budget),
        "charge": str(history.charge),
        "to_oracle": str(history.to_oracle),
        "to_validator": str(history.to_validator),
        "to_payer": str(history.to_payer),
        "slashed": str(history.slashed),
        "held": str(history.held),
        "result": link(history.result) if history.result else None,
        "steps": [step_document(step) for step in history.steps],
    }


def step_document(step: Step) -> dict[str, Any]:
    """One step of a job."""
    return {
        "state": step.state.label,
        "actor": step.actor,
        "note": step.note,
        "block": step.block,
        "transaction": "0x" + step.tx_hash.hex(),
    }


def step_line(step: Step) -> str:
    """One step of a job, for people."""
    return f"  block {step.block:>6}  {step.state.label:<10} {step.actor}  {step.note}".rstrip()


def history_facts(history: JobHistory, deadline: int, owner: str | None) -> dict[str, str]:
    """What matters of a job at one glance."""
    terms = history.terms
    rows = {
        "requester": terms.requester,
        "oracle": "not taken yet" if terms.is_open else terms.oracle,
        "validator": _party(terms.validator),
        "arbiter": _party(terms.arbiter),
        "budget": format_wei(terms.budget),
    }
    if history.result:
        rows["charge"] = format_wei(history.charge)
    rows |= {
        "paid to oracle": format_wei(history.to_oracle),
        "back to payer": format_wei(history.to_payer),
        "still held": format_wei(history.held),
    }
    if history.slashed:
        rows["slashed bond"] = format_wei(history.slashed)
    if history.reason:
        rows["reason"] = history.reason
    rows["spec"] = link(terms.spec)
    if history.result:
        rows |= {"result": link(history.result), "token owner": owner or "unknown"}
    if deadline:
        rows["deadline"] = when(deadline)
    return rows


def terms_facts(terms: Terms) -> dict[str, str]:
    """Every field of the terms, in their order."""
    return {
        "requester": terms.requester,
        "payer": terms.payer,
        "oracle": "any" if terms.is_open else terms.oracle,
        "validator": _party(terms.validator),
        "arbiter": _party(terms.arbiter),
        "token": "native" if terms.token == ZERO_ADDRESS else terms.token,
        "budget": format_wei(terms.budget) if terms.token == ZERO_ADDRESS else str(terms.budget),
        "validator fee": format_wei(terms.validator_fee) if terms.token == ZERO_ADDRESS else str(terms.validator_fee),
        "bond": format_wei(terms.bond),
        "accept by": when(terms.accept_by),
        "deliver by": when(terms.deliver_by),
        "challenge period": f"{terms.challenge_period} s",
        "spec": link(terms.spec),
        "sealed to": "0x" + terms.seal_to.hex(),
    }


def ending(history: JobHistory) -> str:
    """How a job ended and where its money went."""
    parts = [f"Job {history.job_id} is {history.state.label}"]
    if history.reason:
        parts.append(f"reason {history.reason}")
    if history.to_oracle:
        parts.append(f"{format_wei(history.to_oracle)} to the oracle")
    if history.to_validator:
        parts.append(f"{format_wei(history.to_validator)} to the validator")
    parts.append(f"{format_wei(history.to_payer)} back to the payer")
    if history.slashed:
        parts.append(f"and {format_wei(history.slashed)} of the oracle's bond")
    return ", ".join(parts)


def claim_hint(job_id: int, kind: str) -> str:
    """What to do about a job whose time is over: ``kind`` is :func:`oracle.requester.money.claim`'s."""
    what = "settles it" if kind == "settle" else "returns the money"
    return f"its time is over: `qscrow refund {job_id}` {what}"


def _party(address: str) -> str:
    return "none" if address == ZERO_ADDRESS else address
