"""Where every wei went: the books of the escrow, rebuilt from events and held against the chain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from oracle.chain.client import ChainClient
from oracle.chain.contracts import NATIVE
from oracle.chain.events import Event
from oracle.chain.history import JobHistory, replay
from oracle.jobs.states import State


@dataclass(frozen=True)
class Check:
    """One thing that must hold, and the figures that show whether it does."""

    name: str
    ok: bool
    detail: str


@dataclass
class Ledger:
    """Totals of jobs paid in native currency, in wei.

    ``locked`` went in as budgets; it is now ``to_oracles``, ``to_validators``, ``to_payers`` or still ``held``.
    ``slashed`` bonds went to payers on top. ``credits`` are owed to accounts and not withdrawn yet.
    """

    jobs: dict[int, JobHistory]
    locked: int = 0
    to_oracles: int = 0
    to_validators: int = 0
    to_payers: int = 0
    held: int = 0
    slashed: int = 0
    withdrawn: int = 0
    credits: dict[str, int] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    @property
    def balanced(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """The same figures for ``--json``; amounts as decimal text in wei."""
        names = ("locked", "to_oracles", "to_validators", "to_payers", "held", "slashed", "withdrawn")
        return {
            **{name: str(getattr(self, name)) for name in names},
            "credits": {account: str(amount) for account, amount in sorted(self.credits.items())},
            "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in self.checks],
            "balanced": self.balanced,
        }


def build_ledger(client: ChainClient) -> Ledger:
    """Read all events up to the newest block and check the books against contract and balances.

    Raises :class:`ChainError`.
    """
    events = client.events(client.deployment.block, client.block().number)
    ledger = Ledger({number: job for number, job in replay(events).items() if job.terms.token == NATIVE})
    _sum_jobs(ledger)
    _sum_credits(ledger, events)
    _check_against_chain(ledger, client, events)
    return ledger


def _sum_jobs(ledger: Ledger) -> None:
    for job in ledger.jobs.values():
        ledger.locked += job.terms.budget
        ledger.to_oracles += job.to_oracle
        ledger.to_validators += job.to_validator
        ledger.to_payers += job.to_payer
        ledger.held += job.held
        ledger.slashed += job.slashed
    parts = ledger.to_oracles + ledger.to_validators + ledger.to_payers + ledger.held
    ledger.checks.append(
        Check("in = paid + refunded + held", ledger.locked == parts, f"{ledger.locked} wei = {parts} wei")
    )
    stuck = [job.job_id for job in ledger.jobs.values() if job.is_terminal and job.held]
    ledger.checks.append(Check("no ended job holds money", not stuck, f"jobs {stuck}" if stuck else "none does"))


def _sum_credits(ledger: Ledger, events: Iterable[Event]) -> None:
    owed: dict[str, int] = defaultdict(int)
    for job in ledger.jobs.values():
        owed[job.terms.oracle] += job.to_oracle
        owed[job.terms.validator] += job.to_validator
        owed[job.terms.payer] += job.to_payer + job.slashed
        _add_dispute_bond(owed, job)
    for event in events:
        if event.name == "Withdrawn" and event.args["token"] == NATIVE:
            owed[event.args["account"]] -= event.args["amount"]
            ledger.withdrawn += event.args["amount"]
        if event.name == "RelayerCredited" and event.args["token"] == NATIVE:
            owed[event.args["account"]] -= event.args["fee"]
            owed[event.args["relayer"]] += event.args["fee"]
    ledger.credits = {account: amount for account, amount in owed.items() if amount}


def _add_dispute_bond(owed: dict[str, int], job: JobHistory) -> None:
    """A disputer locks a bond of its own; it is split as the ruling says, or comes back after a silent arbiter."""
    disputes = [step for step in job.steps if step.state == State.DISPUTED]
    if not disputes or not job.is_terminal:
        return
    disputer = disputes[0].actor
    if job.ruled:
        by_oracle = disputer == job.terms.oracle
        owed[job.terms.payer if by_oracle else job.terms.requester] += job.slashed
        owed[job.terms.oracle] += job.terms.bond - job.slashed
    else:
        owed[disputer] += job.terms.bond


def _check_against_chain(ledger: Ledger, client: ChainClient, events: Iterable[Event]) -> None:
    on_chain = {account: client.escrow.credit_of(account) for account in ledger.credits}
    ledger.checks.append(
        Check("credits match the contract", on_chain == ledger.credits, f"{len(on_chain)} accounts compared")
    )
    disputed = sum(job.terms.bond for job in ledger.jobs.values() if job.state == State.DISPUTED)
    owed = ledger.held + disputed + sum(on_chain.values())
    balance = client.balance(client.deployment.job_escrow)
    ledger.checks.append(
        Check("the escrow holds what it owes", balance >= owed, f"balance {balance} wei, owed {owed} wei")
    )
    staked = _staked(events)
    held = client.balance(client.deployment.oracle_registry)
    ledger.checks.append(
        Check("the registry holds all stakes", held >= staked, f"balance {held} wei, stakes {staked} wei")
    )
    open_states = {job.job_id: job.state for job in ledger.jobs.values()}
    wrong = [number for number, state in open_states.items() if client.escrow.state_of(number) != state]
    ledger.checks.append(
        Check("states match the contract", not wrong, f"jobs {wrong}" if wrong else f"{len(open_states)} jobs compared")
    )


def _staked(events: Iterable[Event]) -> int:
    signs = {"StakeAdded": 1, "BondSlashed": -1, "Unstaked": -1}
    return sum(signs[event.name] * event.args["amount"] for event in events if event.name in signs)
