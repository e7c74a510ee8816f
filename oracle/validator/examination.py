"""One delivered job, one persisted step at a time: judge, seal the report, pin it, sign.

As in the oracle's pipeline, every step reads the journal, does work that may be repeated, and writes the journal once.
A verdict is in the journal before anything of it leaves, so that a result is judged once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from oracle.chain.attestations import MOST_DISTANCE, Attestation, Method, Statement
from oracle.chain.contracts import NATIVE
from oracle.chain.failures import Reverted
from oracle.chain.history import JobHistory, fetch_job
from oracle.chain.sender import MinedButReverted
from oracle.content.store import get_object, put_object
from oracle.jobs.amounts import format_wei
from oracle.jobs.backoff import pause
from oracle.jobs.canonical import canonical_bytes, digest
from oracle.jobs.errors import InputError, SealError
from oracle.jobs.spec import MAX_SPEC_BYTES, parse_spec
from oracle.jobs.states import TERMINAL, State
from oracle.node.journal import Forgotten, JobRow, Step
from oracle.node.pipeline import TRANSIENT, Report, Tools
from oracle.sealing.capsules import Recipient
from oracle.sealing.context import SealContext
from oracle.sealing.sealed import inspect_sealed, seal
from oracle.validation.verdict import Outcome
from oracle.validator.evidence import Examiner
from oracle.validator.findings import Finding
from oracle.validator.journal import ValidatorJournal

# What a spec may ask for, and the word the contract has for it.
METHODS = {
    "distribution": Method.STATISTICAL,
    "replay": Method.REPLAYED,
    "canary": Method.CANARY,
    "agreement": Method.AGREED,
}
RECEIPT_VERSION = 1


class Examination:
    """Takes jobs from DELIVERED to SEALED, or to CLOSED without a verdict.

    ``report`` and ``took`` are as for :class:`~oracle.node.pipeline.Pipeline`.
    """

    def __init__(
        self,
        tools: Tools,
        journal: ValidatorJournal,
        report: Report = lambda *_: None,
        took: Callable[[Step, float], None] = lambda *_: None,
    ):
        self._t = tools
        self._examiner = Examiner(tools, journal)
        self._address = tools.sender.address
        self._took = took
        self.report = report
        self._steps: dict[Step, Callable[[JobRow], JobRow]] = {Step.DELIVERED: self._judge, Step.RAN: self._seal}

    def advance(self, job: JobRow) -> JobRow:
        """Take ``job`` on until it has to wait; returns its last row. Expected failures end up in the journal."""
        with suppress(Forgotten):  # a reorganisation took the job away meanwhile
            while job.step in self._steps:
                before, began = job, time.monotonic()
                job = self._one_step(job)
                self._took(before.step, time.monotonic() - began)
                if job.step == before.step:
                    break
                self.report(job.job_id, job.step, job.reason)
        return job

    def _one_step(self, job: JobRow) -> JobRow:
        try:
            return self._steps[job.step](job)
        except (Reverted, MinedButReverted) as err:
            return self.as_on_chain(job, str(err))
        except TRANSIENT as err:
            return self.postpone(job, str(err))

    # -------------------------------------------------------------------------------------------- steps

    def _judge(self, job: JobRow) -> JobRow:
        """DELIVERED → RAN with a verdict to sign, or CLOSED in silence."""
        history = fetch_job(self._t.chain, job.job_id, first_block=job.block)
        if history.state != State.COMPLETED or self._is_judged(job):
            return self._placed(job, history, "as on chain")
        refusal = self._refusal(history)
        if refusal:
            return self._silent(job, *refusal)
        left = self._seconds_left(job)
        if left <= 0:
            return self._silent(job, "too_late", "the challenge period is over, or nearly so")
        finding = self._examiner.examine(job, history, seconds_left=left - 2 * self._longest_pause(job))
        verdict, attests = finding.verdict, _attests(finding)
        stored = {
            "report": verdict.as_document(),
            "result": (history.result or b"").hex(),
            "accepted": attests,
            "method": int(METHODS.get(finding.method, Method.STATISTICAL)),
            "distance": _distance(finding),
        }
        if attests is None:
            reason = "nothing_to_attest" if verdict.outcome == Outcome.ACCEPT else str(verdict.outcome)
            return self._silent(job, reason, verdict.statement, result=json.dumps(stored))
        return self._t.journal.advance(job, Step.RAN, note=verdict.statement, result=json.dumps(stored))

    def _seal(self, job: JobRow) -> JobRow:
        """RAN → SEALED: the report is sealed once, kept, pinned; the verdict is signed."""
        stored = json.loads(job.result or "")
        if job.sealed is None or _reported_result(job.sealed) != stored["result"]:
            try:
                sealed = self._sealed_report(job, stored)
            except SealError as err:
                return self._silent(job, "unsealable", str(err))
            job = self._t.journal.advance(job, Step.RAN, note="sealed", sealed=sealed)
        report = put_object(self._t.store, job.sealed or b"")
        attestation = Statement(
            self._t.chain.chain_id,
            self._t.chain.deployment.job_escrow,
            job.job_id,
            job.terms,
            bytes.fromhex(stored["result"]),
            stored["accepted"],
            Method(stored["method"]),
            stored["distance"],
            report,
        ).signed_by(self._t.sender.account)
        stored["signature"] = attestation.signature.hex()
        return self._t.journal.advance(job, Step.SEALED, note=report.hex(), result=json.dumps(stored))

    # -------------------------------------------------------------------------------------------- parts

    def _refusal(self, history: JobHistory) -> tuple[str, str] | None:
        """Why a job is not judged at all: a stable code and the reason."""
        terms, config = history.terms, self._t.config
        own = {self._address, *config.validator_own_oracles}
        if terms.oracle in own or self._t.chain.registry.sealing_key_of(terms.oracle) == self._t.key.public:
            return "oracle_is_validator", f"{terms.oracle} is this validator's own: nobody judges his own work"
        if config.validator_min_fee and terms.token != NATIVE:
            return "token_not_taken", f"the fee is paid in {terms.token}"
        if terms.validator_fee < config.validator_min_fee:
            fees = format_wei(terms.validator_fee), format_wei(config.validator_min_fee)
            return "fee_too_low", f"it pays {fees[0]}, the least here is {fees[1]}"
        return None

    def _is_judged(self, job: JobRow) -> bool:
        return self._t.chain.escrow.delivery_of(job.job_id)[1]

    def _seconds_left(self, job: JobRow) -> float:
        """Until a verdict would come too late."""
        deadline = self._t.chain.escrow.deadline_of(job.job_id)
        return deadline - self._t.chain.block().timestamp - self._t.config.margin_seconds

    def _silent(self, job: JobRow, code: str, why: str, **changes: Any) -> JobRow:
        return self._t.journal.advance(job, Step.CLOSED, note=why, reason=f"silent: {code}", **changes)

    def _sealed_report(self, job: JobRow, stored: dict[str, Any]) -> bytes:
        """The report for its requester, and for the validator itself."""
        spec = parse_spec(get_object(self._t.store, job.terms.spec, MAX_SPEC_BYTES))
        context = SealContext.for_report(
            chain_id=self._t.chain.chain_id,
            contract=self._t.chain.deployment.job_escrow,
            job_id=job.job_id,
            spec=job.terms.spec,
            party=job.terms.requester,
        )
        receipt = {
            "version": RECEIPT_VERSION,
            "validator": self._address,
            "result": stored["result"],
            "verdict": stored["report"]["verdict"],
            "method": stored["report"]["method"],
        }
        readers = [Recipient(spec["privacy"]["capsule"], job.terms.seal_to), Recipient("nacl", self._t.key.public)]
        return seal(canonical_bytes(stored["report"]), context, list(dict.fromkeys(readers)), receipt=receipt)

    # ---------------------------------------------------------------------------------------- set-backs

    def as_on_chain(self, job: JobRow, why: str, *, too_late: bool = False) -> JobRow:
        """Put ``job`` where the chain says it is; ``why`` it was looked up goes into its history."""
        try:
            history = fetch_job(self._t.chain, job.job_id, first_block=job.block)
        except InputError:  # a reorganisation took it away; if it does not come back, ingestion will forget it
            return self.postpone(job, "is not on the chain at the moment")
        stored = json.loads(job.result) if job.result else {}
        if history.state != State.COMPLETED or self._is_judged(job):
            return self._placed(job, history, why)
        if stored.get("result") != (history.result or b"").hex():
            return self._t.journal.advance(job, Step.DELIVERED, note="another result", terms=history.terms)
        if too_late or self._seconds_left(job) <= -self._t.config.margin_seconds:
            return self._silent(job, "too_late", why)
        return self.postpone(job, why)

    def _placed(self, job: JobRow, history: JobHistory, why: str) -> JobRow:
        """A job that needs no verdict, or none yet."""
        if history.state in TERMINAL:
            return self._t.journal.advance(job, Step.CLOSED, note=why, reason=history.state.label)
        if history.state == State.DISPUTED:
            return self._silent(job, "disputed", "it lies with the arbiter")
        if history.state == State.COMPLETED:
            return self._t.journal.advance(job, Step.CLOSED, note=why, reason="rejected")
        return self._t.journal.advance(job, Step.SEEN, note="the delivery was taken back", terms=history.terms)

    def postpone(self, job: JobRow, why: str) -> JobRow:
        """Try the job's step again later, each time a little later, but before it is too late."""
        delay = pause(job.attempts, first=1.0, most=self._longest_pause(job))
        return self._t.journal.postpone(job, why, time.time() + delay)

    def _longest_pause(self, job: JobRow) -> float:
        """In seconds: short enough that several fit into the challenge period."""
        return min(self._t.config.max_backoff_seconds, max(job.terms.challenge_period / 10, 1))


def attestation_of(job: JobRow) -> Attestation:
    """The signed attestation of a SEALED job."""
    stored = json.loads(job.result or "")
    signature = bytes.fromhex(stored["signature"])
    report = digest(job.sealed or b"")
    return Attestation(stored["accepted"], stored["method"], stored["distance"], report, signature)


def is_accepted(job: JobRow) -> bool:
    """Whether a judged job's verdict accepts the result."""
    return json.loads(job.result or "")["accepted"]


def _attests(finding: Finding) -> bool | None:
    """What is signed. No tier says "well formed", so that alone is not signed for."""
    attests = finding.verdict.attests
    return None if attests and finding.method not in METHODS else attests


def _distance(finding: Finding) -> int:
    """The distance beyond shot noise in millionths, where there is one."""
    found = [check.statistic for check in finding.verdict.checks if check.name == "excess"]
    share = min(max(found[0] or 0.0, 0.0), 1.0) if found else 0.0
    return round(share * MOST_DISTANCE)


def _reported_result(sealed: bytes) -> str:
    return (inspect_sealed(sealed).receipt or {}).get("result", "")
