"""One job, one persisted step at a time: fetch, check, accept, run, seal, pin, deliver.

Every step reads the journal, does work that may be repeated, and writes the journal once. A crash between two writes
repeats the work of one step; a transaction is never signed twice for the same purpose while the first may be mined.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from oracle.backends.aer import AerBackend
from oracle.backends.base import Estimate
from oracle.backends.ibm.result import run_result
from oracle.chain.client import ChainClient
from oracle.chain.contracts import Call
from oracle.chain.failures import Reverted
from oracle.chain.history import fetch_job
from oracle.chain.sender import MinedButReverted, Sender, TooManyInFlight
from oracle.circuits.analysis import AUTOMATIC, REPRODUCIBLE, Analysis
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import LintReport
from oracle.circuits.run import RunRequest, RunResult
from oracle.content.cid import CID
from oracle.content.store import ContentStore, get_object, put_object
from oracle.jobs.backoff import pause
from oracle.jobs.canonical import digest
from oracle.jobs.errors import (
    MACHINE_FAULTS,
    BackendUnavailable,
    ChainError,
    CircuitRejected,
    ContentError,
    ContentNotFound,
    ContentUnavailable,
    InputError,
    PolicyDenied,
    SealError,
)
from oracle.jobs.spec import MAX_SPEC_BYTES, parse_spec
from oracle.jobs.states import TAKEN, TERMINAL, State
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node.config import LOCAL_CHAINS, MOST_BACKOFF_SECONDS, NodeConfig
from oracle.node.documents import job_reference, result_document, sealed_result
from oracle.node.gatekeeper import HARDWARE_CHOICE, Gatekeeper
from oracle.node.gates import AwaitsApproval, Gates
from oracle.node.hardware import PROMOTION_NOTICE_SECONDS, Hardware
from oracle.node.journal import Forgotten, JobRow, Journal, Step
from oracle.node.policy import charge_for, check_price, check_spec, check_terms
from oracle.node.purposes import purpose_of
from oracle.routing.candidates import Candidate
from oracle.routing.route import REVIEW, SILENT, Decision, needs_analysis, rehearsal, reproducible, route
from oracle.sealing.capsules import Recipient
from oracle.sealing.context import SealContext
from oracle.sealing.keys import SealingKey
from oracle.sealing.sealed import open_sealed, seal
from oracle.validation.replay import derive_seed

if TYPE_CHECKING:
    from oracle.backends.ibm.select import IbmProvider

MAX_CIRCUIT_DOCUMENT_BYTES = 2**20
SPECS_REMEMBERED = 256
RECENT_SECONDS = 0.5
RUN_GRACE_SECONDS = 30
SELDOM = 10
"""How many times longer than the longest back-off a job is left alone that only time can move."""
TRANSIENT = (BackendUnavailable, ChainError, ContentNotFound, ContentUnavailable, TimeoutError)
# Between looking at a job, accepting it and running it, others may be more urgent.
SCHEDULED = frozenset({Step.CHECKED, Step.ACCEPTED, Step.SIMULATED})

Report = Callable[[int, Step, str], None]


class Unrunnable(Exception):
    """The job itself cannot be served: ``code`` goes on chain as the reason."""

    def __init__(self, code: str, text: str):
        self.code = code
        super().__init__(text)


@dataclass(frozen=True)
class Tools:
    """What a pipeline works with. ``key`` opens sealed circuits; ``provider`` is IBM, if the operator uses it."""

    chain: ChainClient
    sender: Sender
    journal: Journal
    store: ContentStore
    backend: AerBackend
    key: SealingKey
    config: NodeConfig
    limits: CircuitLimits
    provider: IbmProvider | None = None


@dataclass(frozen=True)
class _Plan:
    """Where a job is to run. ``estimate`` is for this node's workers, ``away`` what a provider needs besides, in
    seconds; ``rehearsal`` is how a hardware job is simulated, ``None`` if it cannot be."""

    decision: Decision
    estimate: Estimate
    away: float = 0.0
    rehearsal: str | None = None

    @property
    def hardware(self) -> bool:
        return self.decision.choice == HARDWARE_CHOICE

    def as_dict(self) -> dict[str, Any]:
        """As the journal keeps it."""
        routing = {"routing": self.decision.as_dict()}
        return {**routing, "rehearsal": self.rehearsal} if self.hardware else routing


class Pipeline:
    """Takes jobs forward. ``report(job id, step, note)`` is called after every step, for people;
    ``took(step, seconds)`` hears how long a job was worked on in ``step``."""

    def __init__(
        self, tools: Tools, report: Report = lambda *_: None, took: Callable[[Step, float], None] = lambda *_: None
    ):
        self._t = tools
        self._took = took
        self._oracle = tools.sender.address
        self.report = report
        # Asked for every job, and the same for all of them for a while.
        self.head = _Recent(lambda: tools.chain.block().timestamp)
        self._free_stake = _Recent(self._read_free_stake)
        self._gatekeeper = Gatekeeper(tools.journal, tools.config, self._oracle)
        self._hardware = Hardware(tools, self._gatekeeper, self)
        self._spec = lru_cache(SPECS_REMEMBERED)(self._read_spec)
        self._steps: dict[Step, Callable[[JobRow], JobRow]] = {
            Step.SEEN: self._check,
            Step.CHECKED: self._accept,
            Step.ACCEPTED: self._run,
            Step.SIMULATED: self._hardware.submit,
            Step.SUBMITTED: self._hardware.collect,
            Step.RAN: self._seal,
            Step.DELIVERED: self._settle,
            Step.DECLINING: self._decline,
        }

    def advance(self, job: JobRow) -> JobRow:
        """Take ``job`` on until it has to wait, or until whether it goes on is for the scheduler to say; returns its
        last row. Expected failures end up in the journal."""
        with suppress(Forgotten):  # a reorganisation took the job away meanwhile
            while job.step in self._steps:
                before, began = job, time.monotonic()
                job = self._one_step(job)
                self._took(before.step, time.monotonic() - began)
                if job.step == before.step:
                    break
                self.report(job.job_id, job.step, job.reason)
                if job.step in SCHEDULED:
                    break
        return job

    def tidy(self) -> None:
        """Give back what runs elsewhere for jobs that are over, and withdraw questions about them. May take long."""
        try:
            self._hardware.tidy()
        finally:
            self._gatekeeper.tidy()

    def _one_step(self, job: JobRow) -> JobRow:
        try:
            return self._steps[job.step](job)
        except CircuitRejected as err:
            if err.code in MACHINE_FAULTS and job.attempts < self._t.config.max_attempts:
                return self.postpone(job, str(err))
            return self._t.journal.advance(job, Step.DECLINING, note=str(err), reason=err.code)
        except AwaitsApproval as err:
            return self.postpone(job, str(err))
        except (Unrunnable, PolicyDenied) as err:
            return self._t.journal.advance(job, Step.DECLINING, note=str(err), reason=err.code)
        except (Reverted, MinedButReverted) as err:
            return self.as_on_chain(job, str(err), too_late=getattr(err, "name", "") == "TooLate")
        except TRANSIENT as err:
            return self.postpone(job, str(err))

    # -------------------------------------------------------------------------------------------- steps

    def _check(self, job: JobRow) -> JobRow:
        """SEEN → CHECKED: everything that can speak against the job speaks before money is at stake."""
        if self._is_over(job):
            return self.close_as_on_chain(job)
        now = self.head()
        check_terms(job.terms, self._t.config, now=now, free_stake=self._free_stake())
        spec = self._spec(job.terms.spec)
        check_spec(spec, job.terms, self._t.config, chain_id=self._t.chain.chain_id)
        self._require_usable_keys(job, spec)
        request, report = self._request(job, spec)
        check_price(spec, job.terms, self._t.config, report.executions)
        plan = self._planned(job, spec, request, report)
        needed = plan.estimate.seconds + plan.away
        if now + needed + self._t.config.margin_seconds > job.terms.deliver_by:
            raise PolicyDenied("too_little_time", f"needs about {needed:.0f} s", field="deliver_by")
        known: dict[str, Any] = {}
        if plan.hardware:
            self._check_rehearsal(job, spec, plan, now)
            runs = self._hardware.runs_in_a_day()
            known = {"queue_minutes": plan.away / 60, "runs_at_provider": runs}
        with self._gatekeeper.turn:
            self._gatekeeper.admit(job, spec, plan.decision.choice, report, request, **known)
            return self._t.journal.advance(
                job,
                Step.CHECKED,
                note=plan.decision.reason,
                result=json.dumps(plan.as_dict()),
                seconds=plan.estimate.seconds,
                memory_bytes=plan.estimate.memory_bytes,
            )

    def _accept(self, job: JobRow) -> JobRow:
        """CHECKED → ACCEPTED. Acceptance comes before the run, so that the requester cannot cancel a finished job,
        unless there is little to lose and the job is addressed to us."""
        if self._may_skip_acceptance(job):
            return self._t.journal.advance(job, Step.ACCEPTED, note="not accepted on chain: the charge is small")
        if not self._achieve(job, "accept", lambda: self._t.chain.escrow.accept(job.job_id, job.terms)):
            return job
        return self._t.journal.advance(job, Step.ACCEPTED, terms=job.terms.taken_by(self._oracle))

    def _run(self, job: JobRow) -> JobRow:
        """ACCEPTED → RAN: the counts are in the journal before anybody else hears of them. A job for hardware is
        simulated instead."""
        spec, request, report = self.work(job)
        planned = json.loads(job.result or "{}")
        if "routing" not in planned:  # rebuilt from the chain: accepted by a node that lost its journal
            planned = self._planned(job, spec, request, report, accepted=True).as_dict()
        routing = planned["routing"]
        if routing["choice"] == HARDWARE_CHOICE:
            return self._hardware.simulate(job, planned)
        if report.executions == 1:  # of several circuits each takes its own best method, here as in a replay
            request = replace(request, method=routing.get("method") or request.method)
        tag = f"{self._t.chain.chain_id}:{self._t.chain.deployment.job_escrow}:{job.job_id}"
        run = self.ran_here(job, request, tag)
        stored = {"run": asdict(run), "routing": routing, "charge": self.charge(job, spec, report)}
        return self._t.journal.advance(job, Step.RAN, note=run.engine, result=json.dumps(stored))

    def _seal(self, job: JobRow) -> JobRow:
        """RAN → SEALED: sealed once, kept, pinned. Sealing again would give other bytes and another digest."""
        if job.sealed is None:
            spec = self._spec(job.terms.spec)
            stored = json.loads(job.result or "")
            context = self._context(job)
            result = result_document(
                job_reference(context.chain_id, context.contract, job.job_id, job.terms),
                spec,
                run_result(stored["run"]),
                routing=stored["routing"],
                charge=stored["charge"],
                oracle=self._oracle,
                before=stored,
                container=self._t.config.container_digest,
            )
            try:
                document = sealed_result(result, job.terms, context, self._readers(job.terms, spec))
            except SealError as err:  # most likely it does not fit: the values of many observables stand in it twice
                raise Unrunnable("unusable_key" if err.field == "recipients" else "output_limit", str(err)) from err
            job = self._t.journal.advance(job, Step.RAN, note="sealed", sealed=document)
        put_object(self._t.store, job.sealed or b"")
        return self._t.journal.advance(job, Step.SEALED, note=digest(job.sealed or b"").hex())

    def _settle(self, job: JobRow) -> JobRow:
        """DELIVERED → CLOSED once somebody, if need be this node, has settled the job."""
        if self._is_over(job):
            return self.close_as_on_chain(job)
        left = self._t.chain.escrow.deadline_of(job.job_id) - self.head()
        if left >= 0:
            most = self._longest_look_away()
            return self._t.journal.postpone(job, "may still be challenged", time.time() + min(left + 1, most))
        if not self._achieve(job, "settle", lambda: self._t.chain.escrow.settle(job.job_id, job.terms)):
            return job
        return self.close_as_on_chain(job)

    def _decline(self, job: JobRow) -> JobRow:
        """DECLINING → CLOSED: an addressed job is rejected, an accepted one failed, an open one left to others.

        One that nobody accepted in time is the payer's again without us, and costs us no gas.
        """
        escrow, state = self._t.chain.escrow, self._t.chain.escrow.state_of(job.job_id)
        ours = job.terms.oracle == self._oracle
        if ours and state == State.CREATED and self.head() <= job.terms.accept_by:
            done = self._achieve(job, "reject", lambda: escrow.reject(job.job_id, job.terms, job.reason))
        elif ours and state in TAKEN:
            done = self._achieve(job, "fail", lambda: escrow.fail(job.job_id, job.terms, job.reason))
        else:
            done = True
        return self._t.journal.advance(job, Step.CLOSED, note=job.reason) if done else job

    # ------------------------------------------------------------------------------------------- parts

    def work(self, job: JobRow) -> tuple[dict[str, Any], RunRequest, LintReport]:
        """Spec, run and size of a job."""
        spec = self._spec(job.terms.spec)
        return spec, *self._request(job, spec)

    def ran_here(self, job: JobRow, request: RunRequest, tag: str) -> RunResult:
        """The result of a run on this node's own simulator."""
        backend = self._t.backend
        reference = backend.reconcile(tag) or backend.submit(request, tag, expected_seconds=job.seconds)
        return backend.result(reference, timeout=self._t.limits.wall_seconds + RUN_GRACE_SECONDS)

    def charge(self, job: JobRow, spec: dict[str, Any], report: LintReport, *, hardware: bool = False) -> int:
        """What a finished job is charged, which is fixed then: the sealed result and the delivery must name the same,
        whatever prices become."""
        price = charge_for(spec, self._t.config, report.executions, hardware=hardware)
        return min(price, job.terms.budget - job.terms.validator_fee)

    def _read_free_stake(self) -> int:
        stake, locked = self._t.chain.registry.stake_of(self._oracle)
        return stake - locked

    def _read_spec(self, digest: bytes) -> dict[str, Any]:
        try:
            return parse_spec(get_object(self._t.store, digest, MAX_SPEC_BYTES))
        except InputError as err:
            raise Unrunnable("bad_spec", str(err)) from err
        except ContentError as err:
            raise _unrunnable_content(err) from err

    def _request(self, job: JobRow, spec: dict[str, Any]) -> tuple[RunRequest, LintReport]:
        """The run a spec asks for, and how large it is."""
        source = self._circuit(job.terms, spec)
        request = RunRequest.of_spec(source, spec["quantum"], self._seed(job, spec), self._t.limits)
        method = REPRODUCIBLE if reproducible(spec) else AUTOMATIC
        return replace(request, method=method), request.lint()

    def _planned(
        self, job: JobRow, spec: dict[str, Any], request: RunRequest, report: LintReport, *, accepted: bool = False
    ) -> _Plan:
        """Where the run may happen and what it will cost. A large circuit is looked at in a confined process first."""
        backend, limits = self._t.backend, self._t.limits
        patience = limits.wall_seconds + RUN_GRACE_SECONDS  # its own limit ends it first: a reason to decline
        analysis = backend.analyse(request, timeout=patience) if needs_analysis(spec, report) else None
        candidates = [backend.candidate(), *self._hardware_candidates(job, spec, report, accepted=accepted)]
        decision = route(spec, analysis or report.qubits, candidates)
        if decision.choice == REVIEW:
            raise self._refusal(job, decision, accepted=accepted)
        if decision.choice != HARDWARE_CHOICE:
            return _Plan(decision, self._estimate(request, report, analysis, decision.method))
        method = rehearsal(spec, analysis, backend.candidate()) if analysis else None
        away = self._hardware.queue_seconds(decision.backend or "")
        here = self._estimate(request, report, analysis, method) if method else Estimate(0.0, 0)
        return _Plan(decision, here, away, method)

    def _hardware_candidates(
        self, job: JobRow, spec: dict[str, Any], report: LintReport, *, accepted: bool
    ) -> list[Candidate]:
        """None for a job that is for simulators only: nobody has to be asked. One that has run somewhere already has
        nothing else to choose from."""
        if spec["quantum"]["backend_policy"] == "simulator":
            return []
        offered = self._hardware.candidates(charge_for(spec, self._t.config, report.executions, hardware=True))
        holder = self._hardware.holder(job) if accepted else None
        return [each for each in offered if holder in (None, each.backend)]

    def _refusal(self, job: JobRow, decision: Decision, *, accepted: bool) -> Exception:
        """A backend that may answer later is waited for, as long as somebody else can still take the job."""
        text = "; ".join(f"{name}: {reason}" for name, reason in decision.reasons.items())
        until = job.terms.deliver_by if accepted else job.terms.accept_by
        patience = self._t.config.margin_seconds + self._t.config.max_backoff_seconds
        if any(verdict.code in SILENT for verdict in decision.verdicts) and self.head() + patience < until:
            return BackendUnavailable(text)
        return PolicyDenied(decision.obstacle, text)

    def _check_rehearsal(self, job: JobRow, spec: dict[str, Any], plan: _Plan, now: int) -> None:
        """What would keep a hardware job from ever being submitted speaks against it before it is accepted."""
        gates = Gates.of(self._t.config, spec)
        if plan.rehearsal is None and gates.require_simulation:
            raise PolicyDenied(
                "not_simulated",
                "no simulator here can run the circuit",
                field="gate simulation",
                remedy="find an oracle that runs hardware jobs without a simulation",
            )
        if gates.require_promotion and now + plan.estimate.seconds + PROMOTION_NOTICE_SECONDS > job.terms.deliver_by:
            raise PolicyDenied(
                "not_promoted",
                f"the contract takes no promotion in the last {PROMOTION_NOTICE_SECONDS} s",
                field="gate promotion",
                remedy="ask for a later delivery",
            )

    def _estimate(
        self, request: RunRequest, report: LintReport, analysis: Analysis | None, method: str | None
    ) -> Estimate:
        backend, limits = self._t.backend, self._t.limits
        chosen = replace(request, method=method or request.method)
        once = (
            backend.forecast(chosen, analysis)
            if analysis
            else backend.estimate(chosen, report.qubits, report.expanded_gates, dynamic=report.dynamic)
        )
        times = 1 if analysis else max(1, report.executions)  # an analysis tells of all of them
        return replace(once, seconds=min(once.seconds * times, limits.wall_seconds))

    def _circuit(self, terms: Terms, spec: dict[str, Any]) -> bytes:
        try:
            cid = CID.parse(spec["quantum"]["circuit"])
            source = self._t.store.get(cid, max_bytes=MAX_CIRCUIT_DOCUMENT_BYTES)
        except ContentError as err:
            raise _unrunnable_content(err) from err
        if spec["privacy"]["circuit"] == "public":
            return source
        context = SealContext.for_circuit(
            chain_id=self._t.chain.chain_id, contract=self._t.chain.deployment.job_escrow, party=terms.requester
        )
        try:
            return open_sealed(source, self._t.key, context)
        except SealError as err:
            raise Unrunnable("circuit_not_sealed_to_us", str(err)) from err

    def _seed(self, job: JobRow, spec: dict[str, Any]) -> int:
        """The spec's seed, or one that neither requester nor oracle can choose.

        Running the job again after a crash gives the same counts. A reorganisation that moves the job to another block
        changes the seed, and takes the journal's row with it.
        """
        if spec["quantum"]["seed"] is not None:
            return spec["quantum"]["seed"]
        contract = self._t.chain.deployment.job_escrow
        return derive_seed(self._t.chain.chain_id, contract, job.job_id, job.block_hash, job.terms.spec)

    def _require_usable_keys(self, job: JobRow, spec: dict[str, Any]) -> None:
        """Whoever is to read the result must be able to, or a run, maybe a paid one, would be for nothing."""
        try:
            seal(b"", self._context(job), self._readers(job.terms, spec))
        except SealError as err:
            raise Unrunnable("unusable_key", str(err)) from err

    def _context(self, job: JobRow) -> SealContext:
        return SealContext.for_result(
            chain_id=self._t.chain.chain_id,
            contract=self._t.chain.deployment.job_escrow,
            job_id=job.job_id,
            spec=job.terms.spec,
            party=job.terms.requester,
        )

    def _readers(self, terms: Terms, spec: dict[str, Any]) -> list[Recipient]:
        readers = [Recipient(spec["privacy"]["capsule"], terms.seal_to)]
        if terms.validator != ZERO_ADDRESS:
            key = self._t.chain.registry.sealing_key_of(terms.validator)
            if not any(key):
                raise Unrunnable("validator_has_no_key", f"{terms.validator} has registered no sealing key")
            readers.append(Recipient("nacl", key))
        return readers

    def _may_skip_acceptance(self, job: JobRow) -> bool:
        if _is_for_hardware(job):  # there is much to lose, and only an accepted job can be promoted
            return False
        spec, _, report = self.work(job)
        charge = charge_for(spec, self._t.config, report.executions)
        return job.terms.oracle == self._oracle and job.terms.bond == 0 and charge <= self._t.config.accept_above_wei

    def _achieve(self, job: JobRow, action: str, call: Callable[[], Call]) -> bool:
        """Whether ``action`` is mined; if not, see that a transaction for it is under way. Never waits."""
        purpose = purpose_of(action, [job])
        if self._t.sender.outcome(purpose) is not None:
            return True
        with suppress(TooManyInFlight):  # the next look tries again
            self._t.sender.start(call(), purpose)
        return False

    def _longest_look_away(self) -> float:
        """Seconds without a look at a delivered job: whatever happens to it is an event, which wakes it. Only where
        people move the clock its period may be over much sooner than it seems."""
        most = self._t.config.max_backoff_seconds
        return most if self._t.chain.chain_id in LOCAL_CHAINS else min(SELDOM * most, MOST_BACKOFF_SECONDS)

    # ---------------------------------------------------------------------------------------- set-backs

    def _is_over(self, job: JobRow) -> bool:
        return self._t.chain.escrow.state_of(job.job_id) in TERMINAL

    def close_as_on_chain(self, job: JobRow) -> JobRow:
        """Close a job that is over on chain."""
        state = self._t.chain.escrow.state_of(job.job_id)
        return self._t.journal.advance(job, Step.CLOSED, note="as on chain", reason=job.reason or state.label)

    def as_on_chain(self, job: JobRow, why: str, *, too_late: bool = False) -> JobRow:
        """Put ``job`` where the chain says it is; ``why`` it was looked up goes into its history."""
        try:
            history = fetch_job(self._t.chain, job.job_id, first_block=job.block)
        except InputError:
            return self._without_a_job(job)
        ours = history.terms.oracle == self._oracle
        if job.step == Step.CHECKED and history.state in TAKEN and ours:
            return self._t.journal.advance(job, Step.ACCEPTED, note=why, terms=history.terms)
        if history.state == State.APPROVED and ours and history.terms != job.terms:
            return self._t.journal.advance(job, job.step, note="promoted by the requester", terms=history.terms)
        if job.step == Step.SEALED and history.state in (State.COMPLETED, State.DISPUTED):
            return self._t.journal.advance(job, Step.DELIVERED, note=why)
        taken_by_another = not ours and history.terms.oracle != ZERO_ADDRESS
        if history.is_terminal or taken_by_another or too_late:
            return self._t.journal.advance(job, Step.CLOSED, note=why, reason=history.state.label)
        return self.postpone(job, why)

    def _without_a_job(self, job: JobRow) -> JobRow:
        """The chain does not know ``job``: reorganised away, and then ingestion will forget it, or never created, as an
        endpoint made up. Should this be the lie, the next sweep opens it again."""
        final = self._t.journal.final_block()
        if final is None or job.block > final[0] or self._t.chain.escrow.state_of(job.job_id) != State.NONE:
            return self.postpone(job, "is not on the chain at the moment")
        return self._t.journal.advance(job, Step.CLOSED, note="is not on the chain", reason=State.NONE.label)

    def postpone(self, job: JobRow, why: str) -> JobRow:
        """Try the job's step again later, each time a little later."""
        delay = pause(job.attempts, first=1.0, most=self._t.config.max_backoff_seconds)
        return self._t.journal.postpone(job, why, time.time() + delay)


class _Recent:
    """What ``read`` answered within the last half second. Thread-safe."""

    def __init__(self, read: Callable[[], int]):
        self._read = read
        self._lock = threading.Lock()
        self._value, self._at = 0, -math.inf

    def __call__(self) -> int:
        with self._lock:
            if time.monotonic() - self._at >= RECENT_SECONDS:
                self._value, self._at = self._read(), time.monotonic()
            return self._value


def _is_for_hardware(job: JobRow) -> bool:
    return json.loads(job.result or "{}").get("routing", {}).get("choice") == HARDWARE_CHOICE


def _unrunnable_content(err: ContentError) -> Exception:
    """Content that is wrong for good speaks against the job; content that is missing may still come."""
    if isinstance(err, (ContentNotFound, ContentUnavailable)):
        return err
    return Unrunnable("bad_content", str(err))
