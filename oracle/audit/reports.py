"""The validator's report on a result, opened by the job's requester and held against what the chain says of it."""

from __future__ import annotations

from typing import Any

from oracle.chain.client import ChainClient
from oracle.chain.history import JobHistory
from oracle.content.store import ContentStore, get_object
from oracle.jobs.canonical import parse_json
from oracle.jobs.errors import InputError, SealError
from oracle.sealing.context import SealContext
from oracle.sealing.keys import SealingKey
from oracle.sealing.sealed import MAX_SEALED_BYTES, open_sealed
from oracle.validation.verdict import Verdict, parse_verdict


def open_report(job: JobHistory, *, chain: ChainClient, store: ContentStore, key: SealingKey) -> Verdict:
    """The verdict behind the attestation of ``job``, opened with the requester's master ``key``.

    A validator that keeps silent (also where it only flags something) puts nothing on chain, and so there is nothing
    to open: :class:`InputError`. Raises :class:`~oracle.jobs.errors.ContentError` if the report cannot be had, and
    :class:`SealError` if it does not open or is about something else than the delivered result.
    """
    events = chain.job_events(job.job_id, job.created_block, chain.block().number)
    attested = [event for event in events if event.name == "JobValidated"]
    if not attested:
        raise InputError(
            f"job {job.job_id} has no verdict on chain",
            field="job",
            remedy="one that is not attested stays with the validator (`qscrow validator status --job`)",
        )
    sealed = get_object(store, bytes(attested[-1].args["report"]), MAX_SEALED_BYTES)
    return verdict_in(unsealed_report(sealed, job, chain, key), job, accepted=attested[-1].args["accepted"])


def report_context(job: JobHistory, chain: ChainClient) -> SealContext:
    """What the report on the result of ``job`` is sealed for."""
    return SealContext.for_report(
        chain_id=chain.chain_id,
        contract=chain.deployment.job_escrow,
        job_id=job.job_id,
        spec=job.terms.spec,
        party=job.terms.requester,
    )


def unsealed_report(sealed: bytes, job: JobHistory, chain: ChainClient, key: SealingKey) -> Any:
    """What a validator sealed to the requester, whose master ``key`` it is. Raises :class:`SealError`."""
    plaintext = open_sealed(sealed, key.for_spec(job.terms.spec), report_context(job, chain))
    try:
        return parse_json(plaintext, "report", MAX_SEALED_BYTES)
    except InputError as err:  # the validator's writing
        raise SealError(err.message, field=err.field) from None


def verdict_in(document: Any, job: JobHistory, *, accepted: bool) -> Verdict:
    """The verdict in an opened report. Raises :class:`SealError` unless it is one on the result of ``job``, and what
    was attested: that it is ``accepted`` or not."""
    try:
        verdict = parse_verdict(document)
    except InputError as err:
        raise SealError(err.message, field=err.field or "report") from None
    if verdict.subject.get("result") != "0x" + (job.result or b"").hex():
        raise SealError("is about another result", field="report.subject")
    if verdict.attests is not accepted:
        raise SealError(f"says {verdict.outcome}, the chain says otherwise", field="report.verdict")
    return verdict
