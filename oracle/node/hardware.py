"""Jobs on hardware: simulated first, then past the gates, then submitted at IBM and waited for, a persisted step each.

Waiting holds no worker: every look asks once and puts the job off. What IBM still has of a job that is over elsewhere
is cancelled, and what was noted about it is removed.
"""

from __future__ import annotations

import json
import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Protocol

from oracle.backends.base import BackendStatus
from oracle.circuits.lint import COUNTS, MEMORY, LintReport
from oracle.circuits.run import RunRequest
from oracle.jobs.backoff import pause
from oracle.jobs.canonical import canonical_bytes
from oracle.jobs.errors import (
    MACHINE_FAULTS,
    BackendUnavailable,
    ChainError,
    ChainUnavailable,
    CircuitRejected,
    ContentNotFound,
    ContentUnavailable,
    InputError,
    JournalError,
    PolicyDenied,
    QscrowError,
)
from oracle.jobs.states import TAKEN, TERMINAL, State
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node.config import DAY
from oracle.node.database import JournalUnavailable
from oracle.node.documents import require_room
from oracle.node.gatekeeper import HARDWARE_CHOICE, Gatekeeper
from oracle.node.gates import AwaitsApproval, Gates, Stage
from oracle.node.journal import JobRow, Step
from oracle.node.logs import event
from oracle.node.purposes import purpose_of
from oracle.routing.candidates import Candidate
from oracle.sealing.sealed import SALT_SIZE, commit

if TYPE_CHECKING:
    from oracle.backends.ibm.adapter import IbmBackend
    from oracle.node.pipeline import Tools

PROMOTION_NOTICE_SECONDS = 3600
"""The contract takes no promotion later than this before ``deliver_by`` (``JobEscrow.PROMOTION_NOTICE``)."""
PAUSE_SECONDS = 300.0
"""Longest pause between two looks at a job that waits at IBM or for somebody's word."""
ASK_SECONDS = 5.0
"""How long one job waits while another asks IBM about its backends."""
SILENCE_SECONDS = 30.0
"""Backends that gave no answer are not asked again for so long."""
RUNS_SECONDS = 60.0
ORPHAN_SECONDS = 600.0
"""How long a run whose job is not in the journal is left alone: a reorganisation may bring the job back."""
UNANSWERED = (BackendUnavailable, InputError)
"""What a provider's silence, and settings that do not work any more, are raised as."""
WAITED_FOR = (*UNANSWERED, ContentNotFound, ContentUnavailable, JournalError)
UNAVAILABLE, NOT_PROMOTED, AWAITS_APPROVAL = "backend_unavailable", "not_promoted", "awaits_approval"


class Desk(Protocol):
    """What these steps need of the rest of the pipeline."""

    def work(self, job: JobRow) -> tuple[dict[str, Any], RunRequest, LintReport]:
        """Spec, run and size of a job."""

    def head(self) -> int:
        """The chain's clock."""

    def ran_here(self, job: JobRow, request: RunRequest, tag: str) -> Any:
        """The result of a run on this node's own simulator."""

    def close_as_on_chain(self, job: JobRow) -> JobRow:
        """Close a job that is over on chain."""

    def as_on_chain(self, job: JobRow, why: str, *, too_late: bool = False) -> JobRow:
        """Put a job where the chain says it is."""

    def charge(self, job: JobRow, spec: Mapping[str, Any], report: LintReport, *, hardware: bool) -> int:
        """What a finished job is charged."""


class Hardware:
    """The hardware side of one node. Without a provider it offers no candidates, and its jobs wait for one."""

    def __init__(self, tools: Tools, gatekeeper: Gatekeeper, desk: Desk, clock: Callable[[], float] = time.monotonic):
        self._t = tools
        self._gatekeeper = gatekeeper
        self._desk = desk
        self._clock = clock
        self._asking = threading.Lock()
        self._silent: dict[str, tuple[float, str]] = {}
        self._runs = (-math.inf, 0)

    # ---------------------------------------------------------------------------------------- routing

    def candidates(self, price: int) -> list[Candidate]:
        """Every backend as the router weighs it, in the operator's order; ``price`` is what a run there costs. One that
        gives no answer is unavailable with the reason."""
        provider = self._t.provider
        return [] if provider is None else [self._candidate(backend, price) for backend in provider.backends]

    def holder(self, job: JobRow) -> str | None:
        """The backend that has a run of ``job`` already. Raises :class:`BackendUnavailable`."""
        if self._t.provider is None:
            return None
        try:
            holder = self._t.provider.holder(self.tag(job.job_id, job.terms))
        except InputError as err:
            raise BackendUnavailable(err.message, field=err.field, remedy=err.remedy) from None
        return holder.name if holder else None

    def queue_seconds(self, name: str) -> float:
        """How long one waits at a backend. Raises :class:`BackendUnavailable`."""
        return self._backend(name).queue().seconds

    def runs_in_a_day(self) -> int:
        """Runs IBM had of this account in 24 hours, as of a minute ago; 0 if it does not tell."""
        if self._t.provider is None:
            return 0
        asked, runs = self._runs
        if self._clock() - asked > RUNS_SECONDS:
            with suppress(*UNANSWERED):
                runs = self._t.provider.account.use(time.time() - DAY).total
            self._runs = self._clock(), runs
        return runs

    def tag(self, job_id: int, terms: Terms) -> str:
        """The name of a job's run at IBM. The digits in the end tell it from another job of that number: after a
        reorganisation, or on another chain with this one's number."""
        constant = replace(terms, oracle=ZERO_ADDRESS, budget=0).hash().hex()[:16]
        return f"{self._t.chain.chain_id}:{self._t.chain.deployment.job_escrow}:{job_id}:{constant}"

    def _candidate(self, backend: IbmBackend, price: int) -> Candidate:
        silent_until, reason = self._silent.get(backend.name, (0.0, ""))
        if self._clock() < silent_until:
            return Candidate.unanswering(backend.name, reason)
        if not self._asking.acquire(timeout=ASK_SECONDS):
            return Candidate.unanswering(backend.name, "it has not answered another question yet")
        try:
            return Candidate.from_description(backend.description(price))
        except UNANSWERED as err:
            self._silent[backend.name] = self._clock() + SILENCE_SECONDS, err.message
            event("provider trouble", "warning", error=str(err))
            return Candidate.unanswering(backend.name, err.message)
        finally:
            self._asking.release()

    # ------------------------------------------------------------------------------------------ steps

    def simulate(self, job: JobRow, stored: dict[str, Any]) -> JobRow:
        """ACCEPTED → SIMULATED: the circuit ran here. One that cannot goes on only if nobody asks for a simulation."""
        spec, request, report = self._desk.work(job)
        try:
            simulation = self._simulation(job, request, report, stored["rehearsal"])
        except CircuitRejected as err:
            if err.code in MACHINE_FAULTS or Gates.of(self._t.config, spec).require_simulation:
                raise
            simulation = {"refused": err.code, "text": str(err)}
        require_room(spec, stored["routing"], simulation)
        note = simulation.get("refused") or simulation["run"]["engine"]
        stored |= {"simulation": simulation, "charge": self._desk.charge(job, spec, report, hardware=True)}
        return self._t.journal.advance(job, Step.SIMULATED, note=note, result=json.dumps(stored))

    def submit(self, job: JobRow) -> JobRow:
        """SIMULATED → SUBMITTED: past the gates, and IBM has it under our tag."""
        state = self._t.chain.escrow.state_of(job.job_id)
        if state in TERMINAL:
            return self._desk.close_as_on_chain(job)
        if state not in TAKEN:  # reorganised away; the sender sends it again
            return self._later_or_never(job, ChainUnavailable("the chain lacks our acceptance"), "too_little_time")
        if state == State.APPROVED and not self._t.chain.escrow.matches(job.job_id, job.terms):
            return self._desk.as_on_chain(job, "promoted")
        stored = json.loads(job.result or "")
        if state == State.ACCEPTED:
            self._tell(job, State.SIMULATED, _evidence(stored["simulation"]))
        try:
            backend, tag = self._backend(stored["routing"]["backend"]), self.tag(job.job_id, job.terms)
            reference = backend.reconcile(tag)
            if reference is None:
                if "submission" not in stored:  # else it has passed them
                    stored |= self._admitted(job, stored, backend, promoted=state == State.APPROVED)
                self._require_time(job, backend)
                reference = backend.submit(self._desk.work(job)[1], tag)
        except AwaitsApproval as err:
            return self._later_or_never(job, err, err.code)
        except WAITED_FOR as err:
            return self._in_trouble(job, err)
        note = f"{backend.name} has it as {reference}"
        event("submitted", job=job.job_id, note=note)
        stored |= {"submission": {"backend": backend.name, "reference": reference}}
        return self._t.journal.advance(job, Step.SUBMITTED, note=note, result=json.dumps(stored))

    def collect(self, job: JobRow) -> JobRow:
        """SUBMITTED → RAN once IBM is done, and back to SIMULATED if it has to be submitted again."""
        stored = json.loads(job.result or "")
        name, reference = stored["submission"]["backend"], stored["submission"]["reference"]
        if self._t.chain.escrow.state_of(job.job_id) in TERMINAL:
            self._cancel(job)
            return self._desk.close_as_on_chain(job)
        self._tell(job, State.SUBMITTED)
        try:
            backend = self._backend(name)
            status, noted = backend.status(reference), self._is_noted(job)
            run = backend.result(reference, timeout=0) if status == BackendStatus.DONE and noted else None
        except WAITED_FOR as err:  # also an account that does not know the job, which must not run it a second time
            return self._in_trouble(job, err)
        if run is not None:
            result = json.dumps({**stored, "run": asdict(run)})
            return self._t.journal.advance(job, Step.RAN, note=run.engine, result=result)
        if status == BackendStatus.FAILED:
            return self._again(job, _failure(backend, reference))
        if not noted:
            return self._again(job, f"nothing is noted about {reference}")
        if status == BackendStatus.CANCELLED:  # not by this node, which removes its note as well
            raise CircuitRejected("provider_cancelled", f"{reference} was cancelled at {name}")
        return self._later_or_never(job, BackendUnavailable(f"{status} at {name} as {reference}"), "too_little_time")

    # ------------------------------------------------------------------------------------ cleaning up

    def tidy(self) -> None:
        """Cancel what IBM has of jobs that are over elsewhere, and remove what was noted about jobs that are over.

        What cannot be done now is left to the next time. May take long.
        """
        provider = self._t.provider
        if provider is None:
            return
        now = time.time()
        for tag, noted in list(provider.notes.tags()):
            row = self._t.journal.job(int(tag.split(":")[2]))
            if row is not None and self.tag(row.job_id, row.terms) != tag:
                row = None
            if row is None and now - noted < ORPHAN_SECONDS:
                continue
            if row is None or row.step in (Step.DECLINING, Step.CLOSED):
                with suppress(*UNANSWERED, JournalError):
                    self._release(tag, has_run=row is not None and "run" in json.loads(row.result or "{}"))
        waiting = [json.loads(row.result or "{}") for row in self._t.journal.jobs((Step.SUBMITTED,))]
        provider.kept.drop([each["submission"]["reference"] for each in waiting], now - ORPHAN_SECONDS)

    def _release(self, tag: str, *, has_run: bool) -> None:
        assert self._t.provider is not None
        if not has_run and (found := self._t.provider.reconcile(tag)) is not None:
            backend, reference = found
            backend.cancel(reference)
            event("cancelled", note=f"{reference} at {backend.name}")
        self._t.provider.notes.forget(tag)

    def _cancel(self, job: JobRow) -> None:
        """At once, if IBM answers; else :meth:`tidy` does it."""
        with suppress(*UNANSWERED, JournalError):
            self._release(self.tag(job.job_id, job.terms), has_run=False)

    # ------------------------------------------------------------------------------------------ parts

    def _backend(self, name: str) -> IbmBackend:
        if self._t.provider is None:
            raise BackendUnavailable(f"{name} is not configured any more", field="execution.ibm_backends")
        return self._t.provider.backend(name)

    def _is_noted(self, job: JobRow) -> bool:
        assert self._t.provider is not None
        return self._t.provider.notes.read(self.tag(job.job_id, job.terms)) is not None

    def _simulation(self, job: JobRow, request: RunRequest, report: LintReport, method: str | None) -> dict[str, Any]:
        """Counts of the circuit without noise, and the salt of their commitment."""
        if method is None:
            raise CircuitRejected("not_simulated", "no simulator of this node can run the circuit")
        result = COUNTS if request.result == MEMORY else request.result
        method = method if report.executions == 1 else request.method  # of several each takes its own
        wanted = replace(request, method=method, result=result)
        run = self._desk.ran_here(job, wanted, f"{self.tag(job.job_id, job.terms)}:simulation")
        return {"run": asdict(run), "salt": secrets.token_hex(SALT_SIZE)}

    def _admitted(
        self, job: JobRow, stored: Mapping[str, Any], backend: IbmBackend, *, promoted: bool
    ) -> dict[str, Any]:
        """What the gates said, all of them passed. Raises :class:`PolicyDenied`."""
        spec, request, report = self._desk.work(job)
        distance = backend.predicted_distance(request)
        results = self._gatekeeper.admit(
            job,
            spec,
            HARDWARE_CHOICE,
            report,
            request,
            stage=Stage.SUBMISSION,
            queue_minutes=backend.queue().seconds / 60,
            simulated="run" in stored["simulation"],
            baseline_distance=distance,
            promoted=promoted,
        )
        return {"gates": [result.as_dict() for result in results], "predicted_distance": distance}

    def _require_time(self, job: JobRow, backend: IbmBackend) -> None:
        left, queue = self._left(job), backend.queue().seconds
        if queue > left:
            text = f"the queue takes about {queue:.0f} s, {left:.0f} s are left"
            raise PolicyDenied("too_little_time", text, field="deliver_by")

    def _again(self, job: JobRow, why: str) -> JobRow:
        return self._t.journal.advance(job, Step.SIMULATED, note=why)

    def _in_trouble(self, job: JobRow, err: QscrowError) -> JobRow:
        if isinstance(err, JournalUnavailable):  # the whole node's trouble
            raise err
        event("provider trouble", "warning", job=job.job_id, error=str(err))
        return self._later_or_never(job, err, UNAVAILABLE)

    def _later_or_never(self, job: JobRow, err: QscrowError, code: str) -> JobRow:
        """Look again later; once it would be too late, give the job up for the reason ``code``."""
        left = self._left(job) - (PROMOTION_NOTICE_SECONDS if code == NOT_PROMOTED else 0)
        if left <= 0:
            self._cancel(job)
            return self._t.journal.advance(job, Step.DECLINING, note=str(err), reason=code)
        most = self._t.config.max_backoff_seconds if code == AWAITS_APPROVAL else PAUSE_SECONDS
        delay = pause(job.attempts, first=self._t.config.ibm_poll_seconds, most=most)
        return self._t.journal.postpone(job, str(err), time.time() + min(delay, max(1.0, left)))

    def _left(self, job: JobRow) -> float:
        """Seconds until a delivery would be late."""
        return job.terms.deliver_by - self._t.config.margin_seconds - self._desk.head()

    def _tell(self, job: JobRow, state: State, evidence: bytes = bytes(32)) -> None:
        """Report progress on chain, once; nothing waits for it."""
        purpose = purpose_of(f"report_{state.label.lower()}", [job])
        if not self._t.config.report_hardware or self._t.journal.attempt(purpose) is not None:
            return
        with suppress(ChainError):
            self._t.sender.start(self._t.chain.escrow.report([(job.job_id, state, evidence)]), purpose)


def _failure(backend: IbmBackend, reference: str) -> str:
    """Why IBM failed a run. Raises :class:`CircuitRejected` if it must not be submitted again."""
    try:
        backend.result(reference, timeout=0)
    except (*UNANSWERED, TimeoutError) as err:
        return str(err)
    return "IBM failed it"


def _evidence(simulation: Mapping[str, Any]) -> bytes:
    """What is said on chain of a simulation: a commitment, for counts can be guessed."""
    if "run" not in simulation:
        return bytes(32)
    return commit(bytes.fromhex(simulation["salt"]), canonical_bytes(simulation["run"]))
