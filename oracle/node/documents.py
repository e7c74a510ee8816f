"""What a node writes about a run: the result its requester opens and the receipt everybody can read."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from oracle.circuits.run import RunResult
from oracle.jobs.canonical import canonical_bytes
from oracle.jobs.terms import Terms
from oracle.sealing.capsules import Recipient
from oracle.sealing.context import SealContext
from oracle.sealing.sealed import SALT_SIZE, commit, seal

RESULT_TYPE = "qscrow.result"
VERSION = 1


def job_reference(chain_id: int, contract: str, job_id: int, terms: Terms) -> dict[str, str]:
    """Which job a document is about."""
    return {
        "chain_id": str(chain_id),
        "contract": contract.lower(),
        "job_id": str(job_id),
        "spec": "0x" + terms.spec.hex(),
    }


def result_document(
    job: Mapping[str, str],
    spec: Mapping[str, Any],
    run: RunResult,
    *,
    routing: Mapping[str, Any],
    charge: int,
    oracle: str,
) -> dict[str, Any]:
    """Everything another person needs to understand and repeat the run. ``salt`` makes its commitment unguessable."""
    return {
        "type": RESULT_TYPE,
        "version": VERSION,
        "job": dict(job),
        "spec": dict(spec),
        "counts": run.counts,
        "shots": run.shots,
        **_several(run),
        "seed": run.seed,
        **_provider(run),
        "backend": {
            "name": getattr(run, "provider", {}).get("backend", "aer"),
            "method": run.method,
            "engine": run.engine,
            "versions": run.versions,
            "confinement": run.confinement,
            "threads": run.threads,
        },
        "circuit": {
            "qubits": run.qubits,
            "clbits": run.clbits,
            "depth": run.depth,
            "operations": run.operations,
            "transpiled_digest": run.transpiled_digest,
        },
        "routing": dict(routing),
        "seconds": run.seconds,
        "charge": str(charge),
        "oracle": oracle,
        "salt": secrets.token_hex(SALT_SIZE),
    }


def _provider(run: RunResult) -> dict[str, Any]:
    """What only a provider can tell of a run: :class:`oracle.backends.ibm.result.HardwareResult`."""
    provider = getattr(run, "provider", None)
    return {"provider": provider} if provider else {}


def _several(run: RunResult) -> dict[str, Any]:
    """What a result holds beyond the counts of one circuit: ``runs``, and all expectation values in their order."""
    if not run.runs:
        return {}
    estimated = [each for each in run.runs if "values" in each]
    if not estimated:
        return {"runs": run.runs}
    lists = {name: [value for each in estimated for value in each[name]] for name in ("values", "standard_errors")}
    return {"runs": run.runs, **lists}


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
    }
    return seal(canonical_bytes(result), context, readers, receipt=receipt)
