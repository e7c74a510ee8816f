"""The nine artefacts of a job: where each one's digest stands, and whether it holds.

Anybody can ask: chain and content ids are enough to see that a digest was given, and to check what is public. Who has
opened the result has every digest worked out again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from oracle.audit.reports import report_context, unsealed_report, verdict_in
from oracle.chain.client import ChainClient
from oracle.chain.contracts import NATIVE
from oracle.chain.events import Event
from oracle.chain.history import JobHistory
from oracle.content.store import ContentStore, get_object
from oracle.jobs.amounts import format_wei
from oracle.jobs.canonical import canonical_bytes
from oracle.jobs.documents import check_document, job_reference
from oracle.jobs.errors import ContentError, ContentUnavailable, InputError, SealError
from oracle.jobs.spec import MAX_SPEC_BYTES, parse_spec
from oracle.jobs.states import TERMINAL, State
from oracle.jobs.terms import ZERO_ADDRESS
from oracle.sealing.artefacts import (
    HIDDEN,
    IN_RECEIPT,
    REPORT,
    SETTLEMENT,
    SPECS,
    artefact_digests,
    artefacts_of,
    difference,
    read_disclosure,
    shown,
)
from oracle.sealing.keys import SealingKey
from oracle.sealing.sealed import MAX_SEALED_BYTES, commit, inspect_sealed

RECEIPT = "receipt"
_DIGEST = re.compile(r"0x[0-9a-f]{64}")
_MOST_STRANGERS = 8


class Status(StrEnum):
    """How far an artefact was checked here."""

    VERIFIED = "verified"  # opened, and its digest worked out again
    PUBLIC = "public-verified"  # the same, from what everybody can read
    SEALED = "sealed"  # there is a digest; what it is of is sealed
    PENDING = "pending"
    NOT_DUE = "not-due"
    MISSING = "missing"
    MISMATCH = "MISMATCH"


@dataclass(frozen=True)
class Finding:
    """One artefact: ``where`` its ``digest`` stands (0x-hex, or ``None``), and what was found."""

    name: str
    status: Status
    where: str = ""
    digest: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Inspection:
    """The ``receipt`` as a whole, and a finding for each of the nine; others, if the receipt names them, come last."""

    receipt: Finding
    artefacts: tuple[Finding, ...]

    @property
    def mismatches(self) -> list[Finding]:
        """What is not what it should be."""
        return [each for each in (self.receipt, *self.artefacts) if each.status == Status.MISMATCH]

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"receipt": asdict(self.receipt), "artefacts": [asdict(each) for each in self.artefacts]}


def inspect_artefacts(
    job: JobHistory,
    *,
    chain: ChainClient,
    store: ContentStore,
    document: Any = None,
    key: SealingKey | None = None,
) -> Inspection:
    """What can be said of a job's artefacts; with its opened result ``document`` and the requester's master ``key``,
    all of it.

    Never raises for what others wrote: that is a finding. Raises :class:`~oracle.jobs.errors.ContentUnavailable` and
    :class:`~oracle.jobs.errors.ChainError` for what may pass.
    """
    return _Inspector(job, chain, store, document, key).inspect()


def check_disclosed(job: JobHistory, data: bytes, *, chain: ChainClient, store: ContentStore) -> Finding:
    """Hold one artefact that somebody disclosed, the bytes of a file, against the receipt of ``job``.

    Raises :class:`InputError` for a file that discloses none, or none of this job.
    """
    inspector = _Inspector(job, chain, store, None, None)
    name, found = read_disclosure(data, inspector.reference)
    for each in inspector.inspect().artefacts:
        if each.name == name and each.status in (Status.SEALED, Status.PUBLIC):
            same = each.digest == found
            note = "what is disclosed has this digest" if same else f"what is disclosed has the digest {found}"
            return replace(each, status=Status.VERIFIED if same else Status.MISMATCH, note=note)
        if each.name == name:
            return each
    raise AssertionError(name)  # an inspection has all there are


def later_documents(job: JobHistory, *, chain: ChainClient, store: ContentStore, key: SealingKey) -> dict[str, Any]:
    """What came after the result, as far as it is there and can be opened with the requester's master ``key``: the
    validator's report and the settlement, by name."""
    inspector = _Inspector(job, chain, store, None, key)
    events = inspector.events()
    found: dict[str, Any] = {}
    for event in events:
        if event.name == "JobValidated":
            with suppress(ContentError, SealError):
                sealed = get_object(store, bytes(event.args["report"]), MAX_SEALED_BYTES)
                found[REPORT] = unsealed_report(sealed, job, chain, key)
    if (ending := _ending(events)) is not None and job.is_terminal:
        found[SETTLEMENT] = settlement_of(job, ending)
    return found


def settlement_of(job: JobHistory, event: Event) -> dict[str, Any]:
    """The event that ended a job and where its money went, amounts as decimal text in the smallest unit."""
    return {
        "event": event.name,
        "state": job.state.label,
        "tier": job.tier.label,
        "block": event.block,
        "block_hash": "0x" + event.block_hash.hex(),
        "transaction": "0x" + event.tx_hash.hex(),
        "log_index": event.log_index,
        "charge": str(job.charge),
        "to_oracle": str(job.to_oracle),
        "to_validator": str(job.to_validator),
        "to_payer": str(job.to_payer),
        "slashed": str(job.slashed),
    }


class _Inspector:
    def __init__(self, job: JobHistory, chain: ChainClient, store: ContentStore, document: Any, key: SealingKey | None):
        self._job, self._chain, self._store = job, chain, store
        self._document, self._key = document, key
        self._report_context = report_context(job, chain)
        self._context = replace(self._report_context, purpose="result")
        self.reference = job_reference(chain.chain_id, chain.deployment.job_escrow, job.job_id, job.terms)

    def inspect(self) -> Inspection:
        events = self.events()
        head, receipt = self._receipt()
        findings = [*self._of_run(head, receipt), self._report(events), self._settlement(events, receipt)]
        return Inspection(head, (*findings, *_strangers(receipt)))

    def events(self) -> list[Event]:
        """All events of the job, in order."""
        return self._chain.job_events(self._job.job_id, self._job.created_block, self._chain.block().number)

    # -------------------------------------------------------------------------------------- receipt

    def _receipt(self) -> tuple[Finding, dict[str, Any] | None]:
        """The receipt in the block that was delivered, and whether it tells the truth as far as everybody can see."""
        job = self._job
        if job.result is None:
            ended = job.is_terminal
            note = (
                f"the job is {job.state.label} {'and was never run to its end' if ended else 'and not delivered yet'}"
            )
            return Finding(RECEIPT, Status.NOT_DUE if ended else Status.PENDING, note=note), None
        found = Finding(RECEIPT, Status.PUBLIC, "delivery on chain", "0x" + job.result.hex())
        try:
            info = inspect_sealed(get_object(self._store, job.result, MAX_SEALED_BYTES))
            info.context.require(self._context)
            receipt = info.receipt or {}
            check_document(receipt, "receipt")
        except ContentUnavailable:
            raise
        except ContentError as err:
            return replace(found, status=Status.MISSING, note=f"the result cannot be had: {err}"), None
        except SealError as err:
            return replace(found, status=Status.MISMATCH, note=str(err)), None
        except InputError as err:
            return replace(found, status=Status.MISMATCH, note=str(err)), receipt
        for name, said, due in (
            ("job", receipt["job"], self.reference),
            ("oracle", receipt["oracle"].lower(), job.terms.oracle.lower()),
            ("charge", receipt["charge"], str(job.charge)),
        ):
            if said != due:
                note = f"its {name} is {_brief(said)}, on chain it is {_brief(due)}"
                return replace(found, status=Status.MISMATCH, note=note), receipt
        return found, receipt

    # ------------------------------------------------------------------------------------------ run

    def _of_run(self, head: Finding, receipt: Mapping[str, Any] | None) -> Iterator[Finding]:
        if receipt is None:
            yield from (self._spec(name) if name in SPECS else _unread(name, head) for name in IN_RECEIPT)
        elif "artefacts" not in receipt and not self._holds_section():
            yield from (self._spec(name) if name in SPECS else _earlier(name) for name in IN_RECEIPT)
        else:
            promised = receipt.get("artefacts")
            yield from self._promised(promised if isinstance(promised, Mapping) else {})

    def _promised(self, digests: Mapping[str, Any]) -> Iterator[Finding]:
        for name in SPECS:
            found = self._spec(name)
            yield _refuted(found, difference(name, digests.get(name), {name: found.digest}))
        due, trouble = self._due()
        for name in HIDDEN:
            found = _hidden(name, digests.get(name))
            problem = trouble if due is None else difference(name, digests.get(name), due)
            if due is not None and name in due and not problem:
                found = replace(found, status=Status.VERIFIED)
            if name == "simulation" and not problem:
                found, problem = self._with_evidence(found)
            yield _refuted(found, problem)

    def _holds_section(self) -> bool:
        return isinstance(self._document, Mapping) and "artefacts" in self._document

    def _due(self) -> tuple[dict[str, str] | None, str]:
        """The digests of what is in the opened result, if there is one, or what is the matter with it."""
        if self._document is None:
            return None, ""
        if not isinstance(self._document, Mapping):
            return None, "what was sealed is no result document"
        try:
            return artefact_digests(self._document), ""
        except (SealError, InputError) as err:
            return None, str(err)

    def _spec(self, name: str) -> Finding:
        where = "terms on chain, receipt" if self._job.result else "terms on chain"
        found = Finding(name, Status.PUBLIC, where, "0x" + self._job.terms.spec.hex())
        try:
            data = get_object(self._store, self._job.terms.spec, MAX_SPEC_BYTES)
            if name == SPECS[0]:
                return replace(found, note=f"{len(data)} bytes as published")
            parse_spec(data)
        except ContentUnavailable:
            raise
        except ContentError as err:
            return replace(found, status=Status.MISSING, note=f"cannot be had: {err}")
        except InputError as err:
            return replace(found, status=Status.MISSING, note=f"the published one is no spec: {err}")
        return replace(found, note="the same bytes as the original, which came with its defaults filled in")

    def _with_evidence(self, found: Finding) -> tuple[Finding, str]:
        """What the oracle committed to on chain when it had simulated a hardware job must be what is sealed.

        Whoever lost the journal simulates again and commits again, so it is one of several then.
        """
        if found.status == Status.VERIFIED and "simulation" not in self._document.get("artefacts", {}):
            found = replace(found, note="the run itself")
        told = [step for step in self._job.steps if step.state in (State.SIMULATED, State.SUBMITTED)]
        made = list(dict.fromkeys(step.note for step in told if step.state == State.SIMULATED and step.note))
        if not made or found.status not in (Status.SEALED, Status.VERIFIED):
            return found, ""
        own = made[0] if found.status == Status.SEALED else _commitment(artefacts_of(self._document)["simulation"])
        if own not in made:
            return found, "is not the one the oracle committed to before the hardware run"
        place = next(n for n, step in enumerate(told) if (step.state, step.note) == (State.SIMULATED, own))
        what, which = "its commitment is", ""
        if len(made) > 1 and found.status == Status.SEALED:
            what = f"{len(made)} commitments are"
        elif len(made) > 1:
            which = f", one of {len(made)}"
        late = any(step.state == State.SUBMITTED for step in told[:place])
        when = ", which is after the hardware run began" if late else ""
        return replace(found, note=f"{what} on chain since block {told[place].block}{which}{when}"), ""

    # ------------------------------------------------------------------------------------- on chain

    def _report(self, events: list[Event]) -> Finding:
        job = self._job
        verdicts = [event for event in events if event.name == "JobValidated"]
        if not verdicts:
            if job.terms.validator == ZERO_ADDRESS:
                return Finding(REPORT, Status.NOT_DUE, note="the job names no validator")
            if job.is_terminal:
                return Finding(REPORT, Status.MISSING, note="the validator gave no verdict")
            return Finding(REPORT, Status.PENDING, note="no verdict yet")
        event = verdicts[-1]
        accepted, digest = event.args["accepted"], bytes(event.args["report"])
        verdict = "accepted" if accepted else "rejected"
        found = Finding(REPORT, Status.SEALED, f"attestation in block {event.block}", "0x" + digest.hex(), verdict)
        try:
            sealed = get_object(self._store, digest, MAX_SEALED_BYTES)
            problem = self._report_problem(sealed, event)
            if problem or self._key is None:
                return _refuted(found, problem)
            document = unsealed_report(sealed, job, self._chain, self._key)
            report = verdict_in(document, job, accepted=accepted)
        except ContentUnavailable:
            raise
        except ContentError as err:
            return replace(found, status=Status.MISSING, note=f"{verdict}; the report cannot be had: {err}")
        except SealError as err:
            return replace(found, status=Status.MISMATCH, note=str(err))
        return replace(found, status=Status.VERIFIED, note=f"{verdict} by {report.method}")

    def _report_problem(self, sealed: bytes, event: Event) -> str:
        """What everybody can see to be wrong with a validator's report. Raises :class:`SealError`."""
        info = inspect_sealed(sealed)
        info.context.require(self._report_context)
        receipt = info.receipt or {}
        due = {
            "result": (self._job.result or b"").hex(),
            "verdict": "accept" if event.args["accepted"] else "reject",
            "validator": event.args["validator"],
        }
        wrong = next((name for name, value in due.items() if receipt.get(name) != value), None)
        return f"its {wrong} is {_brief(receipt.get(wrong))}, on chain it is {_brief(due[wrong])}" if wrong else ""

    def _settlement(self, events: list[Event], receipt: Mapping[str, Any] | None) -> Finding:
        job = self._job
        event = _ending(events)
        if event is None or not job.is_terminal:
            return Finding(SETTLEMENT, Status.PENDING, note=f"the job is {job.state.label}")
        where = f"{event.name} in block {event.block}"
        found = Finding(SETTLEMENT, Status.PUBLIC, where, "0x" + event.tx_hash.hex(), _money(job))
        state = self._chain.escrow.state_of(job.job_id)
        if state != job.state:
            note = f"the events say {job.state.label}, the contract says {state.label}"
            return replace(found, status=Status.MISMATCH, note=note)
        charge = (receipt or {}).get("charge", str(job.charge))
        if charge != str(job.charge):
            note = f"the receipt charges {_brief(charge)}, the delivery {job.charge}"
            return replace(found, status=Status.MISMATCH, note=note)
        return found


def _ending(events: list[Event]) -> Event | None:
    """The event that ended a job, among the events of that job in order; ``None`` if it goes on."""
    ending = ("JobSettled", "JobDelivered", "JobStateChanged")
    return next((e for e in reversed(events) if e.name in ending and State(e.args["state"]) in TERMINAL), None)


def _unread(name: str, head: Finding) -> Finding:
    """A sealed artefact of a result that is not there yet, or whose receipt cannot be read."""
    if head.status in (Status.PENDING, Status.NOT_DUE):
        return Finding(name, head.status, note=head.note)
    return Finding(name, Status.MISSING, note="there is no receipt to read")


def _earlier(name: str) -> Finding:
    return Finding(name, Status.MISSING, RECEIPT, note="not in this receipt (written by an earlier version)")


def _refuted(found: Finding, problem: str) -> Finding:
    return replace(found, status=Status.MISMATCH, note=problem) if problem else found


def _hidden(name: str, given: Any) -> Finding:
    """What everybody can see of a sealed artefact: whether the receipt has a digest of it."""
    if given is None:
        return Finding(name, Status.MISSING, RECEIPT, note="the receipt has no digest of it")
    if not isinstance(given, str) or not _DIGEST.fullmatch(given):
        return Finding(name, Status.MISMATCH, RECEIPT, note=f"{_brief(given)} is no digest")
    return Finding(name, Status.SEALED, RECEIPT, given)


def _strangers(receipt: Mapping[str, Any] | None) -> list[Finding]:
    """What a receipt calls artefacts and is none."""
    promised = (receipt or {}).get("artefacts")
    strangers = [name for name in promised if name not in IN_RECEIPT] if isinstance(promised, Mapping) else []
    note = difference("", None, {})
    found = [Finding(shown(name), Status.MISMATCH, RECEIPT, note=note) for name in strangers[:_MOST_STRANGERS]]
    more = len(strangers) - _MOST_STRANGERS
    return found + ([Finding("…", Status.MISMATCH, RECEIPT, note=f"and {more} more")] if more > 0 else [])


def _commitment(simulation: Any) -> str:
    """What the oracle must have committed to for what it sealed; nothing for what has no salt."""
    try:
        return "0x" + commit(bytes.fromhex(simulation["salt"]), canonical_bytes(simulation["run"])).hex()
    except (KeyError, TypeError, ValueError, InputError, SealError):
        return ""


def _money(job: JobHistory) -> str:
    told = format_wei if job.terms.token == NATIVE else str
    parts = [f"charge {told(job.charge)}", f"{told(job.to_oracle)} to the oracle"]
    if job.to_validator:
        parts.append(f"{told(job.to_validator)} to the validator")
    return ", ".join([*parts, f"{told(job.to_payer)} back to the payer"])


def _brief(value: Any) -> str:
    """What somebody else wrote, fit for a line."""
    return ascii(value)[:100]
