"""From a delivered result to a verdict: fetch it, open it, run what has to be run, ask ``oracle.validation.judge``.

What the oracle wrote and got wrong speaks against the result. What cannot be had now is waited for. Everything else
that stands in the way (the requester's documents, limits and keys of the validator's own) is inconclusive.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from oracle.chain.history import JobHistory, fetch_job
from oracle.circuits.analysis import AUTOMATIC, METHODS, REPRODUCIBLE
from oracle.circuits.instructions import Part
from oracle.circuits.lint import EXPECTATION
from oracle.circuits.run import RunRequest, RunResult
from oracle.content.cid import CID
from oracle.content.store import get_object
from oracle.jobs.canonical import parse_json
from oracle.jobs.errors import CircuitRejected, ContentError, InputError, QscrowError, SealError
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
from oracle.validation.judge import Evidence, judge
from oracle.validation.replay import RunFacts, derive_seed, judge_replay
from oracle.validation.verdict import SIMULATOR, Check, Outcome, Verdict
from oracle.validator.claims import claim_of, readout_error
from oracle.validator.findings import Finding, NotYet, Unclear, Wrong
from oracle.validator.journal import ValidatorJournal
from oracle.validator.outcomes import asked_for, expected_of, first_counts, runs_of, values_of

MAX_OPENING_BYTES = 64 * MAX_CIRCUITS


class Examiner:
    """Judges results, whose jobs it finds in ``journal``."""

    def __init__(self, tools: Tools, journal: ValidatorJournal):
        self._t = tools
        self._journal = journal
        self._address = tools.sender.address

    def examine(self, job: JobRow, history: JobHistory, *, seconds_left: float) -> Finding:
        """The finding on the result of a delivered job. What others have yet to do is waited for while there are
        ``seconds_left``; a result that cannot be had is waited for in any case.

        Raises what is in :data:`~oracle.node.pipeline.TRANSIENT` for what may pass; never for what others wrote.
        """
        subject = self._subject(history)
        method, claim = "none", SIMULATOR
        try:
            spec = self._spec(job)
            method = spec["validation"]["method"]
            document = self._opened(history, spec)
            claim = claim_of(document, spec, self._t.chain.chain_id)
            counts, block = first_counts(document, spec).digest(), _delivered_in(history)
            self._journal.note_counts(job, counts, block)  # before the work: others are judged at the same time
            evidence = self._evidence(job, history, spec, document, seconds_left)
            earlier = {counts} if self._journal.counts_seen(counts, block) else set()
            verdict = judge(spec, document, replace(evidence, earlier=earlier), claim=claim)
            if claim == SIMULATOR and _rejected_by(verdict, "repeat") and self._is_due(job, spec, document):
                verdict = judge(spec, document, evidence, claim=claim)
            if _rejected_by(verdict, "agreement"):
                self._require_own_rejection(job, spec, document, evidence, claim)
        except Wrong as err:
            verdict = _alone("form", Outcome.REJECT, f"the result breaks its form: {err}", claim)
        except (Unclear, InputError, CircuitRejected) as err:
            verdict = _alone("evidence", Outcome.INCONCLUSIVE, str(err), claim)
        return Finding(replace(verdict, subject=subject), method)

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
            raise _passing(err) or Unclear(f"the spec cannot be used: {err}") from err

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
                raise Wrong("it is not sealed to its validator")
            if (spec["privacy"]["capsule"], key_id(history.terms.seal_to)) not in readers:
                raise Wrong("it is not sealed to its requester")
            plaintext = open_sealed(sealed, self._t.key, self._context(history))
            document = parse_json(plaintext, "result", MAX_RESULT_BYTES)
            check_result(document, info.receipt or {}, history, self._t.chain)
        except (SealError, InputError) as err:
            raise Wrong(str(err)) from err
        return document

    def _require_known_key(self, history: JobHistory) -> None:
        """The oracle can be blamed for not sealing to our key only if it could know it."""
        since = self._t.chain.key_since(self._address)
        if since is None or since >= history.created_block:
            raise Unclear("the result is not sealed to this key, which was registered after the job was created")

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
        method = spec["validation"]["method"]
        if method == "none":
            return Evidence()
        request = self._request(job, spec)
        parts = _parts(request)
        runs = runs_of(document, parts)
        evidence = Evidence(circuits=[run.get("counts") for run in runs], readout_error=readout_error(document))
        if request.result == EXPECTATION:
            values_of(document, runs, parts)
        if method == "replay":  # of what was measured, from which the values follow
            return self._replayed(evidence, request, self._due_seed(job, spec))
        if request.result == EXPECTATION:
            if method != "distribution":
                raise Unclear(f"{method} judges counts, and this job asks for expectation values")
            return replace(evidence, circuits=(), expected=expected_of(self._simulated(request), parts))
        if method == "distribution":
            return self._compared(evidence, request)
        if method == "canary":
            return self._opened_canaries(evidence, request, spec, seconds_left)
        if len(runs) > 1:
            raise Unclear("agreement judges one circuit, and this job has several; replay and distribution judge all")
        return replace(
            evidence, oracle=history.terms.oracle, peers=self._peers(job, history, spec, seconds_left, parts)
        )

    def _replayed(self, evidence: Evidence, request: RunRequest, seed: int) -> Evidence:
        run = self._run(replace(request, seed=seed))
        widths = [run.clbits, *([None] * (len(evidence.circuits) - 1))]
        if request.result == EXPECTATION:  # the counts in every basis are among the runs that are compared
            return Evidence(replayed=run, required_seed=seed)
        return replace(evidence, replayed=run, required_seed=seed, widths=widths)

    def _compared(self, evidence: Evidence, request: RunRequest) -> Evidence:
        run = self._simulated(request)
        counted = [each["counts"] for each in run.runs] or [run.counts]
        baselines = [Baseline.sampled(counts) for counts in counted]
        return replace(evidence, baselines=baselines, widths=[baseline.width for baseline in baselines])

    def _opened_canaries(
        self, evidence: Evidence, request: RunRequest, spec: Mapping[str, Any], seconds_left: float
    ) -> Evidence:
        asked = asked_for(request)
        widths = [circuit.bits or None for circuit in asked]
        return replace(evidence, asked=asked, widths=widths, opening=self._opening(spec, seconds_left))

    def _is_due(self, job: JobRow, spec: dict[str, Any], document: Mapping[str, Any]) -> bool:
        """Whether the seed that was due gives the counts of a simulator, which then speak against nobody.

        Anybody knows that seed as soon as the job is created, and can deliver what it gives before the job's own
        oracle does, in a job of his own. Raises :class:`Unclear` if a run here cannot tell.
        """
        try:
            facts = RunFacts.of_document(document)
        except InputError:
            return False
        request, seed = self._request(job, spec), self._due_seed(job, spec)
        if facts.method in METHODS and len(_parts(request)) == 1:
            request = replace(request, method=facts.method)
        found = judge_replay(facts, self._run(replace(request, seed=seed)), required_seed=seed)
        if found.attests is None:
            raise Unclear(f"the very counts of an earlier result, which may be those that were due: {found.statement}")
        return found.attests

    def _require_own_rejection(
        self, job: JobRow, spec: dict[str, Any], document: Mapping[str, Any], evidence: Evidence, claim: str
    ) -> None:
        """A majority accepts, but alone it does not reject: the requester chose whom to ask, and could own the others.

        Raises :class:`Unclear` unless a simulation here speaks against the result as well.
        """
        compared = self._compared(replace(evidence, peers={}), self._request(job, spec))
        own = judge(
            {**spec, "validation": {**spec["validation"], "method": "distribution"}}, document, compared, claim=claim
        )
        if own.attests is not False:
            raise Unclear(f"others disagree, and a simulation here does not: {own.statement}")

    def _due_seed(self, job: JobRow, spec: Mapping[str, Any]) -> int:
        if spec["quantum"]["seed"] is not None:
            return spec["quantum"]["seed"]
        contract = self._t.chain.deployment.job_escrow
        return derive_seed(self._t.chain.chain_id, contract, job.job_id, job.block_hash, job.terms.spec)

    def _request(self, job: JobRow, spec: Mapping[str, Any]) -> RunRequest:
        """The run that the spec asks for, without a seed. Nothing of it is parsed here."""
        try:
            request = RunRequest.of_spec(self._circuit(job, spec), spec["quantum"], None, self._t.limits)
            request.lint()
        except CircuitRejected as err:
            raise Unclear(f"the circuit cannot be run here: {err}") from err
        return replace(request, method=REPRODUCIBLE if reproducible(spec) else AUTOMATIC)

    def _simulated(self, request: RunRequest) -> RunResult:
        """The run with more shots than were ordered, as many as the limits and the size of a result allow. By any
        method: those the spec names are for the run that counts."""
        request = replace(request, methods=METHODS, insisted=False)
        fit = self._t.limits.shots // max(request.lint().executions, 1)
        shots = max(min(self._t.config.validator_baseline_shots, fit), request.shots)
        try:
            return self._run(replace(request, shots=shots))
        except Unclear:
            if shots == request.shots:
                raise
            return self._run(request)

    def _run(self, request: RunRequest) -> RunResult:
        """The circuits run here in the sandbox, with the seed asked for or one that nobody can know beforehand."""
        if request.seed is None:
            request = replace(request, seed=secrets.randbits(32))
        backend = self._t.backend
        try:
            reference = backend.submit(request, secrets.token_hex(16))
            return backend.result(reference, timeout=self._t.limits.wall_seconds + RUN_GRACE_SECONDS)
        except CircuitRejected as err:
            if err.code in MACHINE_FAULTS:
                raise NotYet(f"the run here failed: {err}") from err
            if err.code == "not_offered":
                raise Unclear(f"not comparable: {err}") from err
            raise Unclear(f"the circuit cannot be run here: {err}") from err

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
            raise _passing(err) or Unclear(f"the circuit cannot be used: {err}") from err

    def _opening(self, spec: Mapping[str, Any], seconds_left: float) -> Any:
        """The opening of the canaries, which its requester pins under the very commitment in the spec."""
        committed = spec["validation"].get("commitment")
        if committed is None:
            raise Unclear("the spec commits to no canaries")
        try:
            return opening_of(get_object(self._t.store, bytes.fromhex(committed), MAX_OPENING_BYTES))
        except ContentError as err:
            if seconds_left > 0:
                raise NotYet(f"the requester has not opened its canaries: {err}") from err
            return None

    def _peers(
        self,
        job: JobRow,
        history: JobHistory,
        spec: Mapping[str, Any],
        seconds_left: float,
        parts: Sequence[Part],
    ) -> dict[str, dict[str, int]]:
        """The counts of other oracles that ran the same spec for the same requester, once all have delivered."""
        peers: dict[str, dict[str, int]] = {}
        rows = self._journal.siblings(job)
        if not rows and seconds_left > 0:
            raise NotYet("no other oracle has been given the same spec yet")
        for row in rows:
            other = fetch_job(self._t.chain, row.job_id, first_block=row.block)
            if other.terms.oracle == history.terms.oracle:
                continue
            if other.result is None:
                if (other.state == State.CREATED or other.state in TAKEN) and seconds_left > 0:
                    raise NotYet(f"job {row.job_id} of the same spec is not delivered")
                continue
            try:
                document = self._opened(other, spec)
                claim_of(document, spec, self._t.chain.chain_id)
                runs_of(document, parts)
                peers[other.terms.oracle] = first_counts(document, spec).as_dict()
            except NotYet:
                if seconds_left > 0:
                    raise
            except (Wrong, Unclear):  # a bad peer must not spoil an honest result
                continue
        return peers


def _parts(request: RunRequest) -> Sequence[Part]:
    try:
        return request.parts()
    except CircuitRejected as err:
        raise Unclear(f"the circuit cannot be run here: {err}") from err


def _alone(name: str, outcome: Outcome, reason: str, claim: str) -> Verdict:
    return Verdict(method="none", checks=(Check(name, outcome, reason[:300]),), shots=0, claim=claim)


def _rejected_by(verdict: Verdict, name: str) -> bool:
    return any(check.name == name and check.outcome == Outcome.REJECT for check in verdict.checks)


def _passing(err: QscrowError) -> QscrowError | None:
    return err if isinstance(err, TRANSIENT) else None


def _delivered_in(history: JobHistory) -> int:
    return next(step.block for step in history.steps if step.state == State.COMPLETED)
