"""Canaries in a requester's job: mixing them in, keeping the opening safe, publishing it once the result is there."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oracle.chain.history import JobHistory
from oracle.circuits.analysis import PLAIN
from oracle.circuits.instructions import JSON, read_work
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import EXPECTATION
from oracle.circuits.run import RunRequest
from oracle.content.cid import ipfs_uri
from oracle.content.store import ContentStore, put_object
from oracle.jobs.canonical import canonical_bytes, parse_json
from oracle.jobs.errors import ContentError, InputError
from oracle.jobs.spec import DEFAULTS
from oracle.requester.draft import READ_LIMITS, Draft
from oracle.validation.canary import Canary, CanaryPlan, block_of, open_canaries

if TYPE_CHECKING:
    from oracle.circuits.run import Run

MAX_KEPT_BYTES = 2**21
_KEPT_TYPE = "qscrow.kept_canaries"
_VERSION = 1
# The requester's own machine reads and writes it; what is too much to run is the oracle's to say.
_LIMITS = CircuitLimits(qubits=1_000, clbits=1_000, shots=10**9, output_bytes=2**23)


@dataclass(frozen=True)
class Mixed:
    """A draft whose circuits have canaries among them, and the plan that must be kept to open them."""

    draft: Draft
    plan: CanaryPlan


@dataclass(frozen=True)
class Kept:
    """What opens the canaries of the job with the spec ``spec`` (hex digest). ``circuits`` counts them all;
    ``published`` says whether the opening was put into the content store."""

    spec: str
    commitment: str
    opening: dict[str, Any]
    circuits: int
    published: bool = False

    @property
    def canaries(self) -> tuple[Canary, ...]:
        """Where they are and what they answer. Raises :class:`InputError` if they are not those committed to."""
        return open_canaries(self.opening, self.commitment)


class Openings:
    """The openings of a requester's canaries: a file for each spec, for its owner's eyes alone."""

    def __init__(self, folder: Path):
        self._folder = folder

    def path(self, spec: bytes) -> Path:
        """Where the opening for a spec's digest is."""
        return self._folder / f"{spec.hex()}.json"

    def keep(self, spec: bytes, plan: CanaryPlan) -> Path:
        """Write the opening, so that it is on the disk when this returns. Raises :class:`InputError`."""
        kept = Kept(spec.hex(), plan.commitment, plan.opening(), len(plan.circuits))
        return self._write(kept)

    def of(self, spec: bytes) -> Kept | None:
        """What is kept for a spec, if anything is. Raises :class:`InputError` for a damaged file."""
        path = self.path(spec)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as err:
            raise InputError(f"cannot be read ({err.strerror})", field=str(path)) from None
        try:
            document = parse_json(data, "opening", MAX_KEPT_BYTES)
            if (document.pop("type"), document.pop("version")) != (_KEPT_TYPE, _VERSION):
                raise ValueError("another type or version")
            kept = Kept(**document)
            if kept.spec != spec.hex() or not kept.canaries:
                raise ValueError("another spec")
        except (InputError, ValueError, TypeError, KeyError, AttributeError) as err:
            raise InputError(f"is damaged ({err})", field=str(path), remedy="restore it from your backup") from None
        return kept

    def all(self) -> Iterator[Kept]:
        """Everything kept, by spec. Raises :class:`InputError` for a damaged file."""
        for path in sorted(self._folder.glob("*.json")):
            if len(path.stem) == 64 and (kept := self.of(bytes.fromhex(path.stem))):
                yield kept

    def publish(self, kept: Kept, job: JobHistory, store: ContentStore) -> str:
        """Put the opening where the validator looks, under the very commitment in the spec; returns its link.

        Raises :class:`InputError` before the result of ``job`` is delivered: an oracle that knows the canaries can
        fake the rest. Publishing again does no harm.
        """
        if job.result is None:
            raise InputError(
                f"job {job.job_id} is {job.state.label} without a result; an oracle that knew the canaries could cheat",
                field="job",
                remedy=None if job.is_terminal else "wait for the result, for example with --wait 3600",
            )
        stored = put_object(store, block_of(kept.opening))
        if stored.hex() != kept.commitment:
            raise ContentError(
                f"the store keeps it as {ipfs_uri(stored)}, not under the commitment",
                remedy="use another content store",
            )
        self._write(replace(kept, published=True))
        return ipfs_uri(stored)

    def _write(self, kept: Kept) -> Path:
        path = self.path(bytes.fromhex(kept.spec))
        data = json.dumps({"type": _KEPT_TYPE, "version": _VERSION, **asdict(kept)}, indent=1).encode()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._folder)  # mode 0600
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
            _sync(self._folder)
        except OSError as err:
            raise InputError(f"cannot be written ({err.strerror})", field=str(path), remedy="free it up") from None
        return path


def mix(draft: Draft, number: int) -> Mixed:
    """The draft with ``number`` canaries among its circuits, its method ``canary`` and the commitment filled in.

    The circuits are parsed in the sandbox; parameters are filled in, and all is written in one plain form. Raises
    :class:`InputError` for a draft that canaries do not go with, and :class:`~oracle.jobs.errors.CircuitRejected`.
    """
    quantum = {**DEFAULTS["quantum"], **draft.fields["quantum"]}
    validation = draft.fields.get("validation") or {}
    if validation.get("method", "none") not in ("none", "canary"):
        raise InputError(
            f"{validation['method']} does not go with canaries", field="validation.method", remedy="set it to canary"
        )
    if quantum.get("noise"):
        raise InputError(
            "does not go with canaries: under noise no answer is certain", field="quantum.noise", remedy="remove it"
        )
    if "commitment" in validation:
        raise InputError("is made along with the canaries", field="validation.commitment", remedy="remove it")
    if quantum.get("result") == EXPECTATION:
        raise InputError("canaries have known counts, no known values", field="quantum.result", remedy="ask for counts")
    request = replace(RunRequest.of_spec(draft.circuit, quantum, None, _LIMITS), method=PLAIN)
    plan = _planned(request, number)
    circuit = plan.document()
    if len(circuit) > READ_LIMITS.source_bytes:
        text = f"with {number} canaries they take {len(circuit)} bytes, {READ_LIMITS.source_bytes} fit into a job"
        raise InputError(text, field="quantum.circuit", remedy="split the job, or mix in fewer")
    fields = {
        **draft.fields,
        "quantum": {**draft.fields["quantum"], "format": JSON},
        "validation": {**validation, "method": "canary", "commitment": plan.commitment},
    }
    lint = RunRequest.of_spec(circuit, {**quantum, "format": JSON}, None, READ_LIMITS).lint()
    return Mixed(Draft(fields, circuit, JSON, lint), plan)


def right_shots(document: Mapping[str, Any], kept: Kept) -> dict[int, int]:
    """How many shots of an opened result gave the known answer, by the place of the canary."""
    counted = [run.get("counts", {}) for run in document.get("runs") or [document]]
    return {
        canary.position: counted[canary.position].get(canary.expected, 0)
        for canary in kept.canaries
        if canary.position < len(counted)
    }


def _planned(request: RunRequest, number: int) -> CanaryPlan:
    from oracle.circuits.plain import built
    from oracle.circuits.sandbox import Sandbox
    from oracle.validation.canary import plan_canaries

    with Sandbox(1) as sandbox:
        run: Run = sandbox.submit(request)
        document = run.result()
    work = read_work(
        canonical_bytes(document), JSON, _LIMITS
    )  # what comes out of the sandbox is checked as a stranger's
    return plan_canaries([built(circuit) for circuit in work.circuits], number)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
