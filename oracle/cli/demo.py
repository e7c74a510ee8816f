"""``qscrow demo``: the whole flow in one process, with a real chain, real content, real sealing and real circuits."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oracle.cli import wording
from oracle.cli.output import Json, facts, histogram, say, show_json
from oracle.jobs.amounts import format_wei
from oracle.jobs.errors import CheckFailed
from oracle.jobs.states import State
from oracle.jobs.terms import ZERO_ADDRESS

if TYPE_CHECKING:
    from oracle.audit.ledger import Ledger
    from oracle.chain.client import ChainClient
    from oracle.chain.history import JobHistory
    from oracle.chain.sender import Sender
    from oracle.content.store import ContentStore
    from oracle.node.journal import Step
    from oracle.requester.results import OpenedResult
    from oracle.sealing.keys import SealingKey

STAKE_WEI = 10**18
BOND_WEI = 10**16
PATIENCE_SECONDS = 60.0
DEADLINE_SECONDS = 7_200
GAS_LIMITS = {"createJob": 62_000, "deliver": 100_000}


@dataclass(frozen=True)
class Plan:
    """One job of the demo: an example, who may take it, how it must end, and what its counts must show."""

    example: str
    taker: str  # oracle, open, or absent: registered, but not running
    ends: State
    expect: str = ""
    holds: Callable[[dict[str, int]], bool] = lambda counts: True


PLANS = (
    Plan("ghz", "oracle", State.SETTLED, "only 00000 and 11111", lambda c: set(c) == {"00000", "11111"}),
    Plan("bernstein_vazirani", "open", State.SETTLED, "only the secret 101101", lambda c: set(c) == {"101101"}),
    Plan("grover", "oracle", State.SETTLED, "101 in over 90 %", lambda c: c["101"] > 0.9 * sum(c.values())),
    Plan("qft", "oracle", State.SETTLED, "only the frequency 0101", lambda c: set(c) == {"0101"}),
    Plan("vqe_ansatz", "open", State.SETTLED, "spread over many outcomes", lambda c: len(c) > 8),
    Plan("too_wide", "oracle", State.REJECTED),
    Plan("ghz", "absent", State.EXPIRED),
)


@dataclass
class Job:
    """A submitted job of the demo and what became of it."""

    plan: Plan
    job_id: int
    title: str
    create_gas: int
    progress: str = "submitted"
    history: JobHistory | None = None
    opened: OpenedResult | None = None


@dataclass
class Outcome:
    """Everything the demo found."""

    jobs: list[Job] = field(default_factory=list)
    checks: list[tuple[str, bool, str]] = field(default_factory=list)
    ledger: Ledger | None = None
    gas: dict[str, list[int]] = field(default_factory=dict)
    seconds: float = 0.0

    def check(self, name: str, ok: bool, detail: str = "") -> None:
        """Note a check."""
        self.checks.append((name, bool(ok), detail))


def demo(
    keep: Annotated[Path | None, typer.Option(help="Keep content and journal in this folder.")] = None,
    json: Json = False,
) -> None:
    """Run seven jobs from submission to money, all in this process: no services, no accounts, nothing simulated but
    the qubits. Exit code 0 only if every check in it held."""
    started = time.monotonic()
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="qscrow-demo-") as scratch:
        _play(outcome, keep or Path(scratch), quiet=json)
    outcome.seconds = time.monotonic() - started
    show_json(_as_document(outcome)) if json else _print(outcome)
    failed = [name for name, ok, _ in outcome.checks if not ok]
    if failed:
        raise CheckFailed(f"{len(failed)} of {len(outcome.checks)} checks failed: {'; '.join(failed)}")


# ---------------------------------------------------------------------------------------------- playing


def _play(outcome: Outcome, folder: Path, *, quiet: bool) -> None:
    from oracle.audit.ledger import build_ledger
    from oracle.chain.client import ChainClient
    from oracle.chain.deploy import deploy
    from oracle.chain.localnet import advance_time, dev_accounts, in_process_chain
    from oracle.chain.sender import Sender
    from oracle.content.store import BlockStore
    from oracle.node.assembly import opened_node
    from oracle.node.config import NodeConfig
    from oracle.node.watch import Watch
    from oracle.sealing.keys import SealingKey

    w3 = in_process_chain()
    deployer, requester, operator, absent = dev_accounts(4)
    chain = ChainClient(w3, deploy(w3, deployer))
    store = BlockStore(folder / "content")
    payer, requester_key, oracle_key = Sender(w3, requester), SealingKey.generate(), SealingKey.generate()
    for account in (operator, absent):
        key = oracle_key if account is operator else SealingKey.generate()
        Sender(w3, account).send(chain.registry.register(key.public, bytes(32), STAKE_WEI))

    by_id: dict[int, Job] = {}
    config = NodeConfig(poll_seconds=0.05)
    with (
        opened_node(
            chain,
            operator,
            oracle_key,
            store=store,
            journal=folder / "journal.db",
            config=config,
            watch=Watch(config, show=lambda job_id, step, _: _note_progress(by_id, job_id, step)),
        ) as node,
        _live(outcome, quiet) as refresh,
    ):
        for plan in PLANS:
            taker = {"oracle": operator.address, "absent": absent.address, "open": ZERO_ADDRESS}[plan.taker]
            job = _submit(plan, taker, chain, store, payer, requester_key)
            by_id[job.job_id] = job
            outcome.jobs.append(job)
            node.tick()
            refresh()
        _wait_for_node(node, chain, outcome.jobs, refresh)
        advance_time(w3, DEADLINE_SECONDS)
        _refund_expired(outcome.jobs, chain, payer)
        refresh()

    for job in outcome.jobs:
        _open(job, chain, store, requester_key)
    outcome.ledger = build_ledger(chain)
    _measure_gas(outcome, chain)
    _check(outcome, chain, requester.address, operator.address)
    _withdraw_all(outcome, chain, {"requester": payer, "oracle": Sender(w3, operator)})


def _submit(plan: Plan, oracle: str, chain: ChainClient, store: ContentStore, sender: Sender, key: SealingKey) -> Job:
    from oracle.requester.draft import load_draft
    from oracle.requester.submit import Parties, prepare, submit

    with tempfile.TemporaryDirectory() as folder:
        draft = load_draft(_draft_file(plan, Path(folder)))
    parties = Parties(oracle=oracle, bond=BOND_WEI if oracle == ZERO_ADDRESS else 0)
    ready = prepare(draft, parties, chain=chain, requester=sender.address, key=key)
    done = submit(ready, chain=chain, store=store, sender=sender)
    return Job(plan, done.job_id, ready.spec["title"], done.receipt.gas_used)


def _draft_file(plan: Plan, folder: Path) -> Path:
    from oracle.requester.draft import write_example

    path = folder / "job.yaml"
    write_example(path, plan.example)
    return path


def _wait_for_node(node: Any, chain: ChainClient, jobs: list[Job], refresh: Callable[[], None]) -> None:
    """Let the node work until every job it may take has ended."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    waiting = [job.job_id for job in jobs if job.plan.taker != "absent"]
    while waiting and time.monotonic() < give_up:
        node.tick()
        waiting = [job_id for job_id in waiting if chain.escrow.state_of(job_id) <= State.COMPLETED]
        refresh()
        time.sleep(0.05)


def _refund_expired(jobs: list[Job], chain: ChainClient, sender: Sender) -> None:
    from oracle.chain.history import fetch_job

    for job in jobs:
        if chain.escrow.state_of(job.job_id) in (State.CREATED, State.ACCEPTED):
            sender.send(chain.escrow.claim_refund(job.job_id, fetch_job(chain, job.job_id).terms))
            job.progress = "refunded"


def _open(job: Job, chain: ChainClient, store: ContentStore, key: SealingKey) -> None:
    from oracle.chain.history import fetch_job
    from oracle.requester.results import open_result

    job.history = fetch_job(chain, job.job_id)
    if job.history.result:
        job.opened = open_result(job.history, chain=chain, store=store, key=key)


def _measure_gas(outcome: Outcome, chain: ChainClient) -> None:
    """Whole transactions, as receipts say, shared among the jobs of a batch. The first of a kind also pays for storage
    that stays."""
    outcome.gas["createJob"] = [job.create_gas for job in outcome.jobs]
    histories = [job.history for job in outcome.jobs if job.history]
    steps = [step for history in histories for step in history.steps if step.state == State.COMPLETED]
    sizes = Counter(step.tx_hash for step in steps)
    outcome.gas["deliver"] = [
        chain.w3.eth.get_transaction_receipt(step.tx_hash)["gasUsed"] // sizes[step.tx_hash] for step in steps
    ]


def _check(outcome: Outcome, chain: ChainClient, requester: str, operator: str) -> None:
    for job in outcome.jobs:
        history, plan = job.history, job.plan
        name = f"job {job.job_id} {plan.example}"
        outcome.check(f"{name} is {plan.ends.label}", history.state == plan.ends, history.state.label)
        if plan.ends != State.SETTLED:
            outcome.check(f"{name} gave the budget back", history.to_payer == history.terms.budget)
            continue
        outcome.check(f"{name} opens: {plan.expect}", job.opened is not None and plan.holds(job.opened.counts))
        outcome.check(f"{name} token is the requester's", chain.nft.owner_of(job.job_id) == requester)
        paid = history.to_oracle == history.charge > 0 and history.to_payer == history.terms.budget - history.charge
        outcome.check(f"{name} paid the charge and returned the rest", paid)
    for check in outcome.ledger.checks:
        outcome.check(f"ledger: {check.name}", check.ok, check.detail)
    stake, locked = chain.registry.stake_of(operator)
    outcome.check("every bond is back", (stake, locked) == (STAKE_WEI, 0), f"{locked} wei locked")
    for name, limit in GAS_LIMITS.items():
        steady = min(outcome.gas[name], default=limit + 1)
        outcome.check(f"{name} costs at most {limit} gas", steady <= limit, f"{steady} gas")


def _withdraw_all(outcome: Outcome, chain: ChainClient, senders: dict[str, Sender]) -> None:
    from oracle.chain.contracts import NATIVE

    for name, sender in senders.items():
        owed, before = chain.escrow.credit_of(sender.address), chain.balance(sender.address)
        receipt = sender.send(chain.escrow.withdraw(NATIVE, sender.address))
        got = chain.balance(sender.address) - before + receipt.fee
        outcome.check(f"the {name} withdrew what it was owed", got == owed > 0, f"{got} wei")
    left = chain.balance(chain.deployment.job_escrow)
    outcome.check("the escrow is empty in the end", left == 0, f"{left} wei")


# ---------------------------------------------------------------------------------------------- showing


def _note_progress(jobs: dict[int, Job], job_id: int, step: Step) -> None:
    if job_id in jobs:
        jobs[job_id].progress = str(step)


class _live:
    """A table of jobs that changes in place on a terminal, and nothing at all elsewhere."""

    def __init__(self, outcome: Outcome, quiet: bool):
        self._outcome = outcome
        self._display: Any = None
        self._quiet = quiet or not sys.stderr.isatty()

    def __enter__(self) -> Callable[[], None]:
        if self._quiet:
            return lambda: None
        from rich.console import Console
        from rich.live import Live

        self._display = Live(console=Console(stderr=True), refresh_per_second=12, transient=True)
        self._display.start()
        return lambda: self._display.update(self._table())

    def __exit__(self, *exc: object) -> None:
        if self._display:
            self._display.stop()

    def _table(self) -> Any:
        from rich.table import Table

        table = Table("job", "circuit", "for", "progress", title="Qscrow demo")
        for job in self._outcome.jobs:
            table.add_row(str(job.job_id), job.title, job.plan.taker, job.progress)
        return table


def _print(outcome: Outcome) -> None:
    for job in outcome.jobs:
        say(f"Job {job.job_id}: {job.title} ({job.plan.taker})")
        for step in job.history.steps:
            say(wording.step_line(step))
        say(f"  {wording.ending(job.history)}")
        if job.opened:
            document = job.opened.document
            say(f"  {document['shots']} shots on {document['backend']['engine']}, verified: {job.history.tier.label}")
            for line in histogram(job.opened.counts):
                say(line)
        say()
    books = outcome.ledger
    say("Ledger")
    facts(
        {
            "in": format_wei(books.locked),
            "paid": format_wei(books.to_oracles + books.to_validators),
            "refunded": format_wei(books.to_payers),
            "held": format_wei(books.held),
        }
    )
    say("Gas (first, then steady state)")
    facts({name: ", ".join(map(str, figures)) for name, figures in outcome.gas.items()})
    say("Checks")
    for name, ok, detail in outcome.checks:
        say(f"  {'ok  ' if ok else 'FAIL'} {name}{f' ({detail})' if detail else ''}")
    held = sum(ok for _, ok, _ in outcome.checks)
    say(f"{held} of {len(outcome.checks)} checks held, {outcome.seconds:.1f} s")


def _as_document(outcome: Outcome) -> dict[str, Any]:
    return {
        "jobs": [
            wording.history_document(job.history)
            | {
                "title": job.title,
                "taker": job.plan.taker,
                "counts": job.opened.counts if job.opened else None,
                "receipt": job.opened.receipt if job.opened else None,
            }
            for job in outcome.jobs
        ],
        "ledger": outcome.ledger.as_dict(),
        "gas": outcome.gas,
        "checks": [{"name": name, "ok": ok, "detail": detail} for name, ok, detail in outcome.checks],
        "ok": all(ok for _, ok, _ in outcome.checks),
        "seconds": round(outcome.seconds, 3),
    }
