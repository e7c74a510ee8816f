"""The documents behind a result, each with a digest of its own, so that each can be shown and checked alone.

A result document holds seven artefacts of a run, and its public receipt a digest of each. The digests of the two specs
are the plain ones that stand on chain. The others hide what could be guessed: each has a salt that follows from the
salt of the result and tells nothing about it, so that one artefact and its salt can be given to somebody who then
learns nothing of the rest. Two more, the validator's report and the settlement, come later and have their digests on
chain.
``docs/results.md`` describes all of it for other implementations.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from oracle.jobs.canonical import canonical_bytes, digest, parse_json
from oracle.jobs.errors import InputError, SealError
from oracle.sealing.keys import hkdf
from oracle.sealing.sealed import MAX_SEALED_BYTES, SALT_SIZE

SPECS = ("original_spec", "normalised_spec")
"""Public ones: what was published, and the same with its defaults filled in."""
HIDDEN = ("code", "simulation", "routing", "provider", "raw_result")
IN_RECEIPT = SPECS + HIDDEN
REPORT, SETTLEMENT = "validation_report", "settlement"
ON_CHAIN = (REPORT, SETTLEMENT)
"""Made after the receipt: their digests are in the validator's attestation and in the settling transaction."""
NAMES = IN_RECEIPT + ON_CHAIN

DISCLOSED_TYPE, DISCLOSED_VERSION = "qscrow.artefact", 1
MAX_DISCLOSED_BYTES = MAX_SEALED_BYTES + 2**10
HARDWARE_CHOICE = "ibm_quantum_backend"  # where a decision sends a job to hardware

_RAW = ("counts", "shots", "runs")
_RUN = (*_RAW, "seed", "backend", "circuit", "seconds")
_SALT_LABEL = b"qscrow/artefact-salt/1|"
_DIGEST_LABEL = b"qscrow/artefact/1|"
_SALT = re.compile(r"[0-9a-f]{64}")


def artefacts_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """The artefacts in a result document, as JSON by name; one that is not there is left out.

    What stands in the document anyway is not there twice: the specs are its ``spec``, the raw result its measured
    outcomes, and the simulation of a job that was only simulated is the run itself. ``code``, and the simulation before
    a hardware run, are in its section ``artefacts``. Raises :class:`SealError` if that is no object.
    """
    section, routing = result.get("artefacts", {}), result.get("routing")
    if not isinstance(section, Mapping):
        raise SealError("is not an object", field="artefacts")
    promoted = isinstance(routing, Mapping) and routing.get("choice") == HARDWARE_CHOICE
    found = {
        "original_spec": result.get("spec"),
        "normalised_spec": result.get("spec"),
        "code": section.get("code"),
        "simulation": section.get("simulation", {} if promoted else _fields(result, _RUN)),
        "routing": routing,
        "provider": result.get("provider"),
        "raw_result": _fields(result, _RAW),
    }
    return {name: document for name, document in found.items() if document}


def artefact_salt(salt: bytes, name: str) -> bytes:
    """The 32-byte salt of one artefact, from the ``salt`` sealed with the result."""
    if len(salt) != SALT_SIZE:
        raise SealError(f"must be {SALT_SIZE} bytes", field="salt")
    return hkdf(salt, salt=None, info=_SALT_LABEL + name.encode())


def artefact_digest(name: str, document: Any, salt: bytes | None) -> str:
    """0x-hex of sha256(salt ‖ "qscrow/artefact/1|" ‖ name ‖ "|" ‖ canonical JSON), or without a salt, as for the
    specs, of the canonical JSON alone. ``salt`` is the artefact's own."""
    data = canonical_bytes(document)
    if salt is None:
        return "0x" + digest(data).hex()
    return "0x" + hashlib.sha256(salt + _DIGEST_LABEL + name.encode() + b"|" + data).hexdigest()


def artefact_digests(result: Mapping[str, Any]) -> dict[str, str]:
    """The digest of every artefact of a result document, by name: the receipt's ``artefacts``.

    Raises :class:`SealError` if it has no usable salt.
    """
    salt = bytes.fromhex(_salt_of(result))
    return {name: _digest_with(salt, name, document) for name, document in artefacts_of(result).items()}


def check_artefacts(result: Mapping[str, Any], receipt: Mapping[str, Any]) -> None:
    """Raise :class:`SealError` naming the first artefact of a result that is not the one its receipt promises.

    Neither may have one that the other lacks. Documents of earlier versions have none at all.
    """
    promised = receipt.get("artefacts")
    if promised is None and "artefacts" not in result:
        return
    if not isinstance(promised, Mapping):
        raise SealError("has no digests of the artefacts", field="receipt.artefacts")
    due = artefact_digests(result)
    for name in (*IN_RECEIPT, *promised):
        problem = difference(name, promised.get(name), due)
        if problem:
            raise SealError(problem, field=f"receipt.artefacts.{shown(name)}")


def difference(name: Any, promised: Any, due: Mapping[str, str]) -> str:
    """How the digest ``promised`` for an artefact differs from those that are ``due``, in words; empty if it does
    not."""
    if name not in IN_RECEIPT:
        return "is none of the artefacts there are"
    if promised == due.get(name):
        return ""
    if name not in due:
        return "the receipt promises it, the result does not hold it"
    if promised is None:
        return "the result holds it, the receipt has no digest of it"
    swapped = next((other for other, value in due.items() if value == promised and other not in SPECS), None)
    if swapped:
        return f"the digest is that of {swapped}"
    return f"is not what was sealed, whose digest is {due[name]}"


def missing_artefacts(receipt: Mapping[str, Any]) -> tuple[str, ...]:
    """Which artefacts of a run its receipt has no digest of; of an earlier version's receipt, all.

    Needs no key: it is what an auditor counts. The simulation is the one an honest node can lack, if its operator
    lets jobs onto hardware without.
    """
    promised = receipt.get("artefacts")
    known = promised if isinstance(promised, Mapping) else {}
    return tuple(name for name in IN_RECEIPT if name not in known)


def disclosures(result: Mapping[str, Any], job: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """For every artefact of a result a document that shows it, and nothing else, to somebody who has the receipt.

    ``job`` says which job it is about. Raises :class:`SealError` without a usable salt.
    """
    salt = bytes.fromhex(_salt_of(result))
    return {
        name: {
            "type": DISCLOSED_TYPE,
            "version": DISCLOSED_VERSION,
            "job": dict(job),
            "name": name,
            "salt": None if name in SPECS else artefact_salt(salt, name).hex(),
            "document": document,
        }
        for name, document in artefacts_of(result).items()
    }


def read_disclosure(data: bytes, job: Mapping[str, str]) -> tuple[str, str]:
    """Name and digest of the artefact that a file of somebody else discloses, which has to be about ``job``.

    Raises :class:`InputError`.
    """
    shown_document = parse_json(data, "disclosed", MAX_DISCLOSED_BYTES)
    if not isinstance(shown_document, dict) or shown_document.get("type") != DISCLOSED_TYPE:
        raise InputError(
            "is no artefact with a digest in a receipt",
            field="disclosed",
            remedy="give a file of `qscrow open --artifacts`; report and settlement are on chain",
        )
    if shown_document.get("version") != DISCLOSED_VERSION:
        raise InputError(f"is not version {DISCLOSED_VERSION}", field="disclosed.version")
    name, salt, about = (shown_document.get(key) for key in ("name", "salt", "job"))
    if name not in IN_RECEIPT:
        raise InputError(
            "is none of the artefacts that a receipt has a digest of",
            field="disclosed.name",
            remedy=f"known: {', '.join(IN_RECEIPT)}",
        )
    if not isinstance(about, dict) or {key: about.get(key) for key in job} != dict(job):
        raise InputError("is about another job", field="disclosed.job")
    if name in SPECS:
        return name, artefact_digest(name, shown_document.get("document"), None)
    if not isinstance(salt, str) or not _SALT.fullmatch(salt):
        raise InputError("must be 64 lower-case hex digits", field="disclosed.salt")
    return name, artefact_digest(name, shown_document.get("document"), bytes.fromhex(salt))


def shown(name: Any) -> str:
    """A name somebody else wrote, fit for a line."""
    return name if name in NAMES else ascii(name)[:60]


def _fields(result: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: result[name] for name in names if name in result}


def _digest_with(salt: bytes, name: str, document: Any) -> str:
    return artefact_digest(name, document, None if name in SPECS else artefact_salt(salt, name))


def _salt_of(result: Mapping[str, Any]) -> str:
    salt = result.get("salt")
    if not isinstance(salt, str) or not _SALT.fullmatch(salt):
        raise SealError("has no usable salt", field="salt")
    return salt
