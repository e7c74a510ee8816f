"""Opening a delivered result, and checking that it is the one that was ordered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oracle.chain.client import ChainClient
from oracle.chain.history import JobHistory
from oracle.content.store import ContentStore, get_object
from oracle.jobs.canonical import canonical_bytes, digest, parse_json
from oracle.jobs.errors import InputError, SealError
from oracle.jobs.spec import check_spec
from oracle.sealing.context import SealContext
from oracle.sealing.keys import SealingKey
from oracle.sealing.sealed import MAX_SEALED_BYTES, commit, inspect_sealed, open_sealed

MAX_RESULT_BYTES = 4 * 2**20
RESULT_VERSION = 1
_OUTCOME = re.compile(r"[01][01 ]{0,9999}")  # Qiskit puts spaces between classical registers


@dataclass(frozen=True)
class OpenedResult:
    """A result in the clear. ``document`` is everything the oracle sealed, ``receipt`` what it published."""

    job_id: int
    counts: dict[str, int]
    document: dict[str, Any]
    receipt: dict[str, Any]


def open_result(job: JobHistory, *, chain: ChainClient, store: ContentStore, key: SealingKey) -> OpenedResult:
    """Fetch, open and check the result of ``job`` with the requester's master ``key``.

    Raises :class:`InputError` if there is none yet, :class:`~oracle.jobs.errors.ContentError` if it cannot be
    had, and :class:`SealError` if it does not open or is not what the receipt and the job promise.
    """
    if job.result is None:
        raise InputError(
            f"job {job.job_id} is {job.state.label} and has no result",
            field="job",
            remedy=None if job.is_terminal else "`qscrow watch` waits for it",
        )
    job_key = key.for_spec(job.terms.spec)
    if job_key.public != job.terms.seal_to:
        raise SealError(
            f"job {job.job_id} was not submitted with this account's sealing key",
            field="account",
            remedy="use the account that submitted it",
        )
    sealed = get_object(store, job.result, MAX_SEALED_BYTES)
    context = SealContext.for_result(
        chain_id=chain.chain_id,
        contract=chain.deployment.job_escrow,
        job_id=job.job_id,
        spec=job.terms.spec,
        party=job.terms.requester,
    )
    plaintext = open_sealed(sealed, job_key, context)
    receipt = inspect_sealed(sealed).receipt or {}
    try:
        document = parse_json(plaintext, "result", MAX_RESULT_BYTES)
        check_result(document, receipt, job, chain)
    except InputError as err:  # not the requester's input but the oracle's writing
        raise SealError(err.message, field=err.field or "result") from None
    return OpenedResult(job.job_id, document["counts"], document, receipt)


def check_result(document: Any, receipt: Mapping[str, Any], job: JobHistory, chain: ChainClient) -> None:
    """The oracle wrote all this: hold it against the chain, the spec and itself. Other fields are welcome.

    Raises :class:`SealError`, or :class:`InputError` for a spec that cannot be used.
    """
    if not isinstance(document, dict):
        raise SealError("is not a result document", field="result")
    if document.get("version") != RESULT_VERSION:
        raise SealError(
            f"is not version {RESULT_VERSION} of the result document",
            field="version",
            remedy="use a Qscrow version that knows it",
        )
    _check_counts(document)
    _check_job(document, job, chain)
    if str(job.charge) != str(document.get("charge")):
        raise SealError(f"says {document.get('charge')} wei, the chain says {job.charge}", field="charge")
    try:
        salt = bytes.fromhex(document["salt"])
        unsalted = {name: value for name, value in document.items() if name != "salt"}
        commitment = "0x" + commit(salt, canonical_bytes(unsalted)).hex()
    except (KeyError, TypeError, ValueError):
        raise SealError("has no usable salt", field="salt") from None
    if receipt.get("commitment") != commitment:
        raise SealError("is not the result the receipt commits to", field="receipt.commitment")


def _check_counts(document: Mapping[str, Any]) -> None:
    counts = document.get("counts")
    if not isinstance(counts, dict) or not counts or any(type(n) is not int or n < 1 for n in counts.values()):
        raise SealError("the result holds no counts", field="counts")
    if any(not _OUTCOME.fullmatch(outcome) for outcome in counts):
        raise SealError("an outcome is not a string of bits", field="counts")
    if sum(counts.values()) != document.get("shots"):
        raise SealError("the counts do not add up to the shots", field="counts")


def _check_job(document: Mapping[str, Any], job: JobHistory, chain: ChainClient) -> None:
    """What the document says about its job and its spec, as far as it says anything, must be true."""
    expected = {
        "chain_id": str(chain.chain_id),
        "contract": chain.deployment.job_escrow.lower(),
        "job_id": str(job.job_id),
        "spec": "0x" + job.terms.spec.hex(),
    }
    said = document.get("job", {})
    if not isinstance(said, dict):
        raise SealError("is malformed", field="job")
    for name, value in expected.items():
        if str(said.get(name, value)).lower() != value:
            raise SealError(f"the result says {str(said[name])[:80]}, the chain says {value}", field=f"job.{name}")
    spec = document.get("spec")
    if spec is None:
        return
    if digest(canonical_bytes(spec)) != job.terms.spec:
        raise SealError("is not the spec of this job", field="spec")
    check_spec(spec)
    quantum = spec["quantum"]
    if document["shots"] != quantum["shots"]:
        raise SealError(f"{document['shots']} were run, {quantum['shots']} were ordered", field="shots")
    if quantum["seed"] not in (None, document.get("seed")):
        raise SealError(f"{document.get('seed')} was used, {quantum['seed']} was ordered", field="seed")
