"""From a delivered result to a verdict: fetch it, open it, run what has to be run, ask ``oracle.validation.judge``.

What the oracle wrote and got wrong speaks against the result. What cannot be had now is waited for. Everything else
that stands in the way (the requester's documents, limits and keys of the validator's own) is inconclusive.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from oracle.chain.history import JobHistory, fetch_job
from oracle.circuits.analysis import AUTOMATIC, REPRODUCIBLE
from oracle.circuits.run import RunRequest, RunResult
from oracle.content.cid import CID
from oracle.content.store import get_object
from oracle.jobs.canonical import parse_json
from oracle.jobs.errors import (
    BackendUnavailable,
    CircuitRejected,
    ContentError,
    InputError,
    QscrowError,
    SealError,
)
from oracle.jobs.spec import MAX_SPEC_BYTES, parse_spec
from oracle.jobs.states import TAKEN, State
from oracle.node.documents import job_reference
from oracle.node.journal import JobRow
from oracle.node.pipeline import MACHINE_FAULTS, MAX_CIRCUIT_DOCUMENT_BYTES, RUN_GRACE_SECONDS, TRANSIENT, Tools
from oracle.requester.results import MAX_RESULT_BYTES, check_result
from oracle.routing.route import reproducible
from oracle.sealing.context import SealContext
from oracle.sealing.keys import key_id
from oracle.sealing.sealed import MAX_SEALED_BYTES, inspect_sealed, open_sealed
from oracle.validation.baseline import Baseline
from oracle.validation.canary import MAX_CIRCUITS, opening_of
from oracle.validation.counts import Counts
from oracle.validation.judge import Evidence, judge
from oracle.validation.replay import derive_seed
from oracle.validation.verdict import HARDWARE, SIMULATOR, Check, Outcome, Verdict
from oracle.validator.journal import ValidatorJournal

HARDWARE_CHOICE = "ibm_quantum_backend"
MAX_OPENING_BYTES = 64 * MAX_CIRCUITS


class NotYet(BackendUnavailable):
    """Something the verdict needs may still come."""


@dataclass(frozen=True)
class Finding:
    """A verdict, the method of the spec (``none`` if it could not be read), and the digest of the counts, if any."""

    verdict: Verdict
    method: str
    counts: str | None = None


class _Wrong(Exception):
    """What the oracle wrote breaks its promises."""


class _Unclear(Exception):
    """Nothing can be said, and not through the oracle's fault."""


class Examiner:
    """Judges results. ``margin_seconds`` before the end of the challenge period it waits for nothing any more."""

    def __init__(self, tools: Tools, journal: ValidatorJournal):
        self._t = tools
        self._journal = journal
        self._address = tools.sender.address

    def examine(self, job: JobRow, history: JobHistory, *, seconds_left: float) -> Finding:
        """The finding on the result of a delivered job.

        Raises what is in :data:`~oracle.node.pipeline.TRANSIENT` for what may pass; never for what others wrote.
        """
        subject = self._subject(history)
        method, claim, counts = "none", SIMULATOR, None
        try:
            spec = self._spec(job)
            method = spec["validation"]["method"]
            document = self._opened(history, spec)
            claim = _claim(document, spec)
            counts = Counts.parse(document["counts"]).digest()
            evidence = self._evidence(job, history, spec, document, seconds_left)
        except _Wrong as err:
            verdict = _alone("form", Outcome.REJECT, f"the result breaks its form: {err}", claim)
        except (_Unclear, InputError) as err:
            verdict = _alone("evidence", Outcome.INCONCLUSIVE, str(err), claim)
        else:
            earlier = self._journal.counts_seen(_delivered_in(history), job.job_id)
            verdict = judge(spec, document, replace(evidence, earlier=earlier), claim=claim)
        return Finding(replace(verdict, subject=subject), method, counts)

    def _subject(self, history: JobHistory) -> dict[str, Any]:
        chain = self._t.chain
        return {
            **job_reference(chain.chain_id, chain.deployment.job_escrow, history.job_id, history.terms),
            "result": "0x" + (history.result or b"").hex(),
            "oracle": history.terms.oracle,
            "validator": self._address,
            "charge": str(history.charge),
        }

    # ------------------------------------------------------------------------------------------ documents

    def _spec(self, job: JobRow) -> dict[str, Any]:
        try:
            return parse_spec(get_object(self._t.store, job.terms.spec, MAX_SPEC_BYTES))
        except (InputError, ContentError) as err:
            raise _passing(err) or _Unclear(f"the spec cannot be used: {err}") from err

    def _opened(self, history: JobHistory, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The result in the clear, if it is what its oracle promised, and sealed to whom it must be sealed."""
        try:
            sealed = get_object(self._t.store, history.result or b"", MAX_SEALED_BYTES)
        except ContentError as err:  # also bytes that are not what was delivered: others may hold the right ones
            raise NotYet(f"the result cannot be had: {err}") from err
        try:
            info = inspect_sealed(sealed)
            readers = {(capsule.scheme, capsule.to) for capsule in info.capsules}
            if not any(to == key_id(self._t.key.public) for _, to in readers):
                self._require_known_key(history)
                raise _Wrong("it is not sealed to its validator")
            if (spec["privacy"]["capsule"], key_id(history.terms.seal_to)) not in readers:
                raise _Wrong("it is not sealed to its requester")
            plaintext = open_sealed(sealed, self._t.key, self._context(history))
            document = parse_json(plaintext, "result", MAX_RESULT_BYTES)
            check_result(document, info.receipt or {}, history, self._t.chain)
        except (SealError, InputError) as err:
            raise _Wrong(str(err)) from err
        return document

    def _require_known_key(self, history: JobHistory) -> None:
        """The oracle can be blamed for not sealing to our key only if it could know it."""
        since = self._t.chain.key_since(self._address)
        if since is None or since >= history.created_block:
            raise _Unclear("the result is not sealed to this key, which was registered after the job was created")

    def _context(self, history: JobHistory) -> SealContext:
        return SealContext.for_result(
            chain_id=self._t.chain.chain_id,
            contract=self._t.chain.deployment.job_escrow,
            job_id=history.job_id,
            spec=history.terms.spec,
            party=history.terms.requester,
        )

    # ------------------------------------------------------------------------------------------- evidence

    def _evidence(
        self,
        job: JobRow,
        history: JobHistory,
        spec: dict[str, Any],
        document: Mapping[str, Any],
        seconds_left: float,
    ) -> Evidence:
        method, shots = spec["validation"]["method"], spec["quantum"]["shots"]
        if document.get("runs") and method in ("distribution", "agreement"):
            raise _Unclear(f"{method} judges one circuit, and this job has several results; replay judges them all")
        if method == "distribution":
            most = self._t.limits.shots
            run = self._run(job, spec, min(max(self._t.config.validator_baseline_shots, shots), most), None)
            return Evidence(baseline=Baseline.sampled(run.counts), width=run.clbits)
        if method == "replay":
            seed = self._due_seed(job, spec)
            run = self._run(job, spec, shots, seed)
            return Evidence(replayed=run, required_seed=seed, width=run.clbits)
        if method == "canary":
            return Evidence(opening=self._opening(spec, seconds_left))
        if method == "agreement":
            return Evidence(oracle=history.terms.oracle, peers=self._peers(job, history, spec, seconds_left))
        return Evidence()

    def _due_seed(self, job: JobRow, spec: Mapping[str, Any]) -> int:
        if spec["quantum"]["seed"] is not None:
            return spec["quantum"]["seed"]
        contract = self._t.chain.deployment.job_escrow
        return derive_seed(self._t.chain.chain_id, contract, job.job_id, job.block_hash, job.terms.spec)

    def _run(self, job: JobRow, spec: Mapping[str, Any], shots: int, seed: int | None) -> RunResult:
        """The circuit run here, with ``seed`` or one that nobody can know beforehand."""
        own = secrets.randbits(32) if seed is None else seed
        quantum = spec["quantum"]
        source, backend = self._circuit(job, spec), self._t.backend
        try:
            request = RunRequest.of_spec(source, {**quantum, "shots": shots}, own, self._t.limits)
            request = replace(request, method=REPRODUCIBLE if reproducible(spec) else AUTOMATIC)
            reference = backend.submit(request, f"{job.job_id}:{shots}:{own}")
            return backend.result(reference, timeout=self._t.limits.wall_seconds + RUN_GRACE_SECONDS)
        except CircuitRejected as err:
            if err.code in MACHINE_FAULTS:
                raise NotYet(f"the run here failed: {err}") from err
            raise _Unclear(f"the circuit cannot be run here: {err}") from err

    def _circuit(self, job: JobRow, spec: Mapping[str, Any]) -> bytes:
        try:
            source = self._t.store.get(CID.parse(spec["quantum"]["circuit"]), max_bytes=MAX_CIRCUIT_DOCUMENT_BYTES)
            if spec["privacy"]["circuit"] == "public":
                return source
            contract = self._t.chain.deployment.job_escrow
            context = SealContext.for_circuit(
                chain_id=self._t.chain.chain_id, contract=contract, party=job.terms.requester
            )
            return open_sealed(source, self._t.key, context)
        except (ContentError, SealError) as err:
            raise _passing(err) or _Unclear(f"the circuit cannot be used: {err}") from err

    def _opening(self, spec: Mapping[str, Any], seconds_left: float) -> Any:
        """The opening of the canaries, which its requester pins under the very commitment in the spec."""
        committed = spec["validation"].get("commitment")
        if committed is None:
            raise _Unclear("the spec commits to no canaries")
        try:
            return opening_of(get_object(self._t.store, bytes.fromhex(committed), MAX_OPENING_BYTES))
        except ContentError as err:
            if seconds_left > 0:
                raise NotYet(f"the requester has not opened its canaries: {err}") from err
            return None

    def _peers(
        self, job: JobRow, history: JobHistory, spec: Mapping[str, Any], seconds_left: float
    ) -> dict[str, dict[str, int]]:
        """The counts of other oracles that ran the same spec for the same requester, once all have delivered."""
        peers: dict[str, dict[str, int]] = {}
        for row in self._journal.siblings(job):
            other = fetch_job(self._t.chain, row.job_id, first_block=row.block)
            if other.terms.oracle == history.terms.oracle:
                continue
            if other.result is None:
                if (other.state == State.CREATED or other.state in TAKEN) and seconds_left > 0:
                    raise NotYet(f"job {row.job_id} of the same spec is not delivered")
                continue
            try:
                peers[other.terms.oracle] = self._opened(other, spec)["counts"]
            except NotYet:
                if seconds_left > 0:
                    raise
            except (_Wrong, _Unclear):  # a bad peer must not spoil an honest result
                continue
        return peers


def _claim(document: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    """What the oracle says its result comes from, if the spec allows that."""
    routing = document.get("routing")
    choice = routing.get("choice") if isinstance(routing, dict) else None
    claim = HARDWARE if choice == HARDWARE_CHOICE else SIMULATOR
    policy = spec["quantum"]["backend_policy"]
    if (policy, claim) in (("simulator", HARDWARE), ("ibm", SIMULATOR)):
        raise _Wrong(f"the spec asks for {policy}, the result says it is {claim}")
    return claim


def _alone(name: str, outcome: Outcome, reason: str, claim: str) -> Verdict:
    return Verdict(method="none", checks=(Check(name, outcome, reason[:300]),), shots=0, claim=claim)


def _passing(err: QscrowError) -> QscrowError | None:
    return err if isinstance(err, TRANSIENT) else None


def _delivered_in(history: JobHistory) -> int:
    return next(step.block for step in history.steps if step.state == State.COMPLETED)
