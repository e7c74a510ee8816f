"""Opening a delivered result, and checking that it is the one that was ordered."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oracle.chain.client import ChainClient
from oracle.chain.history import JobHistory
from oracle.circuits.instructions import JSON
from oracle.circuits.limits import MAX_VALUE, CircuitLimits
from oracle.circuits.observables import Observable, bases, bound, check_observables, estimate, parse_observables
from oracle.content.store import ContentStore, get_object
from oracle.jobs.canonical import canonical_bytes, digest, parse_json
from oracle.jobs.documents import check_document
from oracle.jobs.errors import InputError, SealError
from oracle.jobs.noise import Noise
from oracle.jobs.spec import check_spec
from oracle.sealing.artefacts import check_artefacts
from oracle.sealing.context import SealContext
from oracle.sealing.keys import SealingKey
from oracle.sealing.sealed import MAX_SEALED_BYTES, commit, inspect_sealed, open_sealed

MAX_RESULT_BYTES = 4 * 2**20
RESULT_VERSION = 1
MAX_LINES = 40
ROUNDING = 1e-9  # of an observable's range; sums may be made in another order
_NO_LIMITS = CircuitLimits(circuits=MAX_VALUE, observable_terms=MAX_VALUE)  # the oracle's came before
_OUTCOME = re.compile(r"[01][01 ]{0,9999}")  # Qiskit puts spaces between classical registers


@dataclass(frozen=True)
class OpenedResult:
    """A result in the clear. ``document`` is everything the oracle sealed, ``receipt`` what it published."""

    job_id: int
    counts: dict[str, int]
    document: dict[str, Any]
    receipt: dict[str, Any]

    def lines(self) -> Iterator[str]:
        """:func:`lines_of` its runs."""
        return lines_of(self.document.get("runs") or [])


def open_result(job: JobHistory, *, chain: ChainClient, store: ContentStore, key: SealingKey) -> OpenedResult:
    """Fetch, open and check the result of ``job`` with the requester's master ``key``.

    Raises :class:`InputError` if there is none yet, :class:`~oracle.jobs.errors.ContentError` if it cannot be
    had, and :class:`SealError` if it does not open or is not what the receipt and the job promise.
    """
    document, receipt = read_result(job, chain=chain, store=store, key=key)
    try:
        check_result(document, receipt, job, chain)
    except InputError as err:  # not the requester's input but the oracle's writing
        raise SealError(err.message, field=err.field or "result") from None
    return OpenedResult(job.job_id, document["counts"], document, receipt)


def read_result(
    job: JobHistory, *, chain: ChainClient, store: ContentStore, key: SealingKey
) -> tuple[Any, dict[str, Any]]:
    """What the oracle sealed, and its receipt, as :func:`open_result` reads them; neither is checked."""
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
        return parse_json(plaintext, "result", MAX_RESULT_BYTES), receipt
    except InputError as err:
        raise SealError(err.message, field=err.field or "result") from None


def lines_of(runs: list[dict[str, Any]]) -> Iterator[str]:
    """What a result holds beyond the counts of one circuit, for people: a line for every value, shot or outcome, at
    most ``MAX_LINES`` of them; nothing for plain counts."""
    found = list(_told(runs))
    yield from found[:MAX_LINES]
    if len(found) > MAX_LINES:
        yield f"and {len(found) - MAX_LINES} lines more, which --json shows"


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
    _check_runs(document)
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
    check_document(document, "result")
    check_artefacts(document, receipt)


def _told(runs: list[dict[str, Any]]) -> Iterator[str]:
    for place, run in enumerate(runs):
        if "values" in run:
            for number, (value, error) in enumerate(zip(run["values"], run["standard_errors"], strict=True)):
                yield f"circuit {place}, observable {number}: {value:.6g} ± {error:.2g}"
        elif run.get("memory"):
            yield from (f"circuit {place}, shot {shot}: {outcome}" for shot, outcome in enumerate(run["memory"]))
        else:
            ranked = sorted(run["counts"].items(), key=lambda item: (-item[1], item[0]))
            yield from (f"circuit {place}, {outcome}: {number}" for outcome, number in ranked)


def _check_runs(document: Mapping[str, Any]) -> None:
    """The results of several circuits, or of other kinds than counts, must be whole and agree with themselves."""
    runs = document.get("runs", [])
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        raise SealError("is not a list of results", field="runs")
    shots = document.get("shots")
    for place, run in enumerate(runs):
        where = f"runs.{place}"
        bases = run.get("bases", [])
        if not isinstance(bases, list) or not all(isinstance(basis, dict) for basis in bases):
            raise SealError("is not a list of bases", field=f"{where}.bases")
        for counted in bases if "values" in run else [run]:
            _check_counts({"counts": counted.get("counts"), "shots": shots}, where)
        values, errors = run.get("values", []), run.get("standard_errors", [])
        if not (isinstance(values, list) and isinstance(errors, list) and len(values) == len(errors)):
            raise SealError("has not one standard error for each value", field=where)
        if not all(map(_is_real, (*values, *errors))):
            raise SealError("has a value that is not a finite number", field=where)
        memory = run.get("memory")
        if memory is not None and not (
            isinstance(memory, list)
            and all(isinstance(o, str) for o in memory)
            and Counter(memory) == run.get("counts")
        ):
            raise SealError("its shots are not those of its counts", field=f"{where}.memory")


def _check_kind(document: Mapping[str, Any], quantum: Mapping[str, Any]) -> None:
    """Every circuit must come with what the spec asks for."""
    needed = {"memory": "memory", "expectation": "values"}.get(quantum.get("result", "counts"))
    runs = document.get("runs", [])
    if needed and not (runs and all(needed in run for run in runs)):
        raise SealError(f"the spec asks for {quantum['result']}, the result lacks it", field="runs")
    if needed == "values" and quantum["format"] != JSON:  # there, circuits may name observables of their own
        if len(runs) != 1:  # and each would take a while to check
            raise SealError(f"OpenQASM text is one circuit, the result has {len(runs)}", field="runs")
        check_values(runs[0], parse_observables(quantum["observables"]), "runs.0")


def check_values(run: Mapping[str, Any], observables: Sequence[Observable], where: str) -> None:
    """Work the values out again from what was counted in each basis. Raises :class:`SealError` if they differ.

    ``run`` is an entry of a document's ``runs`` whose form is checked, ``observables`` are the circuit's.
    """
    check_observables(observables, len(observables[0][0][0]), _NO_LIMITS)
    names, counted = bases(observables, _NO_LIMITS), run.get("bases", [])
    widths = [len(name) - name.count("I") for name in names]
    if [basis.get("basis") for basis in counted] != names or any(
        len(outcome) != width for basis, width in zip(counted, widths, strict=True) for outcome in basis["counts"]
    ):
        raise SealError("was measured in other bases than the observables need", field=f"{where}.bases")
    found = estimate(observables, [(basis["basis"], basis["counts"]) for basis in counted])
    for name, due in zip(("values", "standard_errors"), found, strict=True):
        said = run.get(name, [])
        close = (abs(a - b) <= ROUNDING * bound(o) for a, b, o in zip(said, due, observables, strict=False))
        if len(said) != len(due) or not all(close):
            raise SealError("are not those of what was counted", field=f"{where}.{name}")


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_counts(document: Mapping[str, Any], field: str = "counts") -> None:
    counts = document.get("counts")
    if not isinstance(counts, dict) or not counts or any(type(n) is not int or n < 1 for n in counts.values()):
        raise SealError("the result holds no counts", field=field)
    if any(not _OUTCOME.fullmatch(outcome) for outcome in counts):
        raise SealError("an outcome is not a string of bits", field=field)
    if sum(counts.values()) != document.get("shots"):
        raise SealError("the counts do not add up to the shots", field=field)


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
    _check_kind(document, quantum)
    if document["shots"] != quantum["shots"]:
        raise SealError(f"{document['shots']} were run, {quantum['shots']} were ordered", field="shots")
    backend, noise = document.get("backend"), Noise.of_spec(quantum).as_dict()
    used = backend.get("noise", {}) if isinstance(backend, dict) else {}
    if used != noise:
        raise SealError(f"{str(used)[:80]} was simulated, {noise} was ordered", field="backend.noise")
    if quantum["seed"] not in (None, document.get("seed")):
        raise SealError(f"{document.get('seed')} was used, {quantum['seed']} was ordered", field="seed")
