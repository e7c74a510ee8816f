"""What a node writes about a run: the result its requester opens and the receipt everybody can read."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from oracle.circuits.lint import MEMORY
from oracle.circuits.run import RunResult
from oracle.circuits.spread import BYTES_PER_VALUE
from oracle.jobs.canonical import canonical_bytes
from oracle.jobs.documents import LOCAL, job_reference
from oracle.jobs.errors import CircuitRejected
from oracle.jobs.terms import Terms
from oracle.node.software import software
from oracle.sealing.artefacts import artefact_digests
from oracle.sealing.capsules import Recipient
from oracle.sealing.context import SealContext
from oracle.sealing.sealed import SALT_SIZE, commit, seal

__all__ = ["SEALABLE_BYTES", "job_reference", "require_room", "result_commitment", "result_document", "sealed_result"]

RESULT_TYPE = "qscrow.result"
VERSION = 1
SEALABLE_BYTES = 47 * 2**14 - 8
"""The longest result document that can be sealed: padded (Padmé) and in base64, it leaves more than 20 KiB of the
1 MiB of a block to the receipt and the capsules."""
# Beside what is measured: facts of the circuit, the program, the backend; at IBM its calibration and every circuit's.
_REST_BYTES, _REST_BYTES_PER_CIRCUIT = 24 * 2**10, 3 * 2**10


def result_document(
    job: Mapping[str, str],
    spec: Mapping[str, Any],
    run: RunResult,
    *,
    routing: Mapping[str, Any],
    charge: int,
    oracle: str,
    before: Mapping[str, Any] | None = None,
    container: str = "",
) -> dict[str, Any]:
    """Everything another person needs to understand and repeat the run. ``salt`` makes its commitment unguessable.

    ``before`` is what the journal keeps of a hardware job from before it was paid for: ``simulation`` (a local ``run``
    and the ``salt`` of its commitment on chain, or why it was ``refused``), ``gates`` and ``predicted_distance``.
    ``container`` is the digest of the image the node is in.
    """
    earlier = before or {}
    simulation = earlier.get("simulation", {})
    passed = {name: earlier[name] for name in ("gates", "predicted_distance") if name in earlier}
    refused = {"not_simulated": simulation["text"]} if "refused" in simulation else {}
    return {
        "type": RESULT_TYPE,
        "version": VERSION,
        "job": dict(job),
        "spec": dict(spec),
        **_measured(run),
        **_estimates(run),
        "provider": _provider(run) or {"name": LOCAL, "backend": "aer", "job_id": _tag(job)},
        "routing": {**routing, **passed, **refused},
        "artefacts": {
            "code": software(container),
            **({"simulation": dict(simulation)} if "run" in simulation else {}),
        },
        "charge": str(charge),
        "oracle": oracle,
        "salt": secrets.token_hex(SALT_SIZE),
    }


def require_room(
    spec: Mapping[str, Any],
    routing: Mapping[str, Any],
    simulation: Mapping[str, Any],
    *,
    limit: int = SEALABLE_BYTES,
) -> None:
    """To be asked before hardware is paid for: whether its result will fit one sealed document with ``simulation``.

    What hardware can bring follows from what the simulation has measured: the same circuits, with as many distinct
    outcomes as there are shots or bit strings. Nothing is known without a simulation. Raises :class:`CircuitRejected`
    with code ``output_limit``.
    """
    if "run" not in simulation:
        return
    run = RunResult(**simulation["run"])
    known = sum(len(canonical_bytes(part)) for part in (spec, routing, simulation))
    size = known + _most_bytes(run, spec) + _REST_BYTES + _REST_BYTES_PER_CIRCUIT * max(1, len(run.runs))
    if size > limit:
        raise CircuitRejected(
            "output_limit",
            f"its simulation and its hardware result may take {size} bytes together, {limit} can be sealed",
            remedy="ask for fewer shots or circuits, or measure fewer qubits",
        )


def _most_bytes(simulation: RunResult, spec: Mapping[str, Any]) -> int:
    """How long the measured part of a result can get on hardware; the counts of the first circuit stand in it twice."""
    shots, size = simulation.shots, _counts_bytes(simulation.counts, simulation.shots)
    memory = spec["quantum"].get("result") == MEMORY
    for run in simulation.runs or [{"counts": simulation.counts}]:
        counted = [each["counts"] for each in [run, *run.get("bases", [])] if "counts" in each]
        size += sum(_counts_bytes(counts, shots) + memory * shots * (_bits(counts) + 3) for counts in counted)
        size += len(run.get("values", ())) * BYTES_PER_VALUE
    return size


def _counts_bytes(counts: Mapping[str, int], shots: int) -> int:
    """``"<bits>":<number>,`` for every outcome there can be."""
    bits = _bits(counts)
    return min(shots, 2**bits) * (bits + 4 + len(str(shots)))


def _bits(counts: Mapping[str, int]) -> int:
    return len(next(iter(counts)))


def _measured(run: RunResult) -> dict[str, Any]:
    """A run: what was measured, and how."""
    provider = _provider(run)
    reference = {"job_id": provider["job_id"]} if provider else {}
    return {
        "counts": run.counts,
        "shots": run.shots,
        **({"runs": run.runs} if run.runs else {}),
        "seed": run.seed,
        "backend": {
            "name": provider["backend"] if provider else "aer",
            **reference,
            "method": run.method,
            "engine": run.engine,
            "versions": run.versions,
            "confinement": run.confinement,
            "threads": run.threads,
            **({"noise": run.noise} if run.noise else {}),
        },
        "circuit": {
            "qubits": run.qubits,
            "clbits": run.clbits,
            "depth": run.depth,
            "operations": run.operations,
            "transpiled_digest": run.transpiled_digest,
        },
        "seconds": run.seconds,
    }


def _provider(run: RunResult) -> dict[str, Any] | None:
    """What a provider told of the run; ``None`` if it ran here."""
    return getattr(run, "provider", None)


def _tag(job: Mapping[str, str]) -> str:
    """The name of the run in this node's own backend."""
    return f"{job['chain_id']}:{job['contract']}:{job['job_id']}"


def _estimates(run: RunResult) -> dict[str, Any]:
    """All expectation values in their order, if the run has any."""
    estimated = [each for each in run.runs if "values" in each]
    if not estimated:
        return {}
    return {name: [value for each in estimated for value in each[name]] for name in ("values", "standard_errors")}


def result_commitment(result: Mapping[str, Any]) -> str:
    """0x-hex of sha256(salt ‖ canonical result without its salt); the public promise of what is sealed inside."""
    unsalted = {key: value for key, value in result.items() if key != "salt"}
    return "0x" + commit(bytes.fromhex(result["salt"]), canonical_bytes(unsalted)).hex()


def sealed_result(result: Mapping[str, Any], terms: Terms, context: SealContext, readers: list[Recipient]) -> bytes:
    """The document whose digest goes on chain: the result sealed to ``readers``, with a receipt anyone can read."""
    receipt = {
        "version": VERSION,
        "job": result["job"],
        "oracle": result["oracle"],
        "circuit": result["spec"]["quantum"]["circuit"],
        "engine": result["backend"]["engine"],
        "charge": result["charge"],
        "commitment": result_commitment(result),
        "artefacts": artefact_digests(result),
    }
    return seal(canonical_bytes(result), context, readers, receipt=receipt)
