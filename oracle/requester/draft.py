"""Drafts: the YAML a person writes, with the circuit file beside it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from oracle.circuits.analysis import METHODS
from oracle.circuits.limits import MAX_VALUE, CircuitLimits
from oracle.circuits.lint import LintReport
from oracle.circuits.run import SIMULATOR, RunRequest
from oracle.content.cid import ipfs_uri
from oracle.jobs.canonical import digest
from oracle.jobs.errors import CircuitRejected, InputError
from oracle.jobs.identity import did_pkh
from oracle.jobs.spec import DEFAULTS, MAX_SPEC_BYTES, normalise, parse_draft
from oracle.jobs.terms import ZERO_ADDRESS
from oracle.requester.options import OPTIONS

EXAMPLES = ("ghz", "bernstein_vazirani", "grover", "qft", "vqe_ansatz", "instructions", "sweep", "too_wide")
IN_JSON = ("instructions", "sweep")
# The requester's own machine only reads the circuit; what is too wide or too much is the oracle's to say.
READ_LIMITS = CircuitLimits(qubits=10_000, clbits=10_000, shots=MAX_VALUE)


@dataclass(frozen=True)
class Draft:
    """A draft and the circuit it names. ``lint`` says what the circuit declares."""

    fields: dict[str, Any]
    circuit: bytes
    format: str
    lint: LintReport


def load_draft(path: Path) -> Draft:
    """Read a draft and its circuit (a path relative to the draft), and check all fields but a missing budget.

    Raises :class:`InputError` or :class:`~oracle.jobs.errors.CircuitRejected`.
    """
    fields = parse_draft(read_file(path, MAX_SPEC_BYTES, "draft"))
    quantum = fields.get("quantum")
    name = quantum.get("circuit") if isinstance(quantum, dict) else None
    if not isinstance(name, str) or not name:
        raise InputError("is missing", field="quantum.circuit", remedy="name the circuit file")
    check_fields(fields)
    format = quantum.get("format", DEFAULTS["quantum"]["format"])
    circuit = read_file(path.parent / name, READ_LIMITS.source_bytes, "quantum.circuit")
    asked = {**DEFAULTS["quantum"], **quantum}
    report = RunRequest.of_spec(circuit, asked, None, READ_LIMITS).lint()
    _check_width(fields, report)
    return Draft(fields, circuit, format, report)


def write_example(path: Path, name: str) -> list[Path]:
    """Write an example's draft to ``path`` and its circuit beside it; refuses to replace anything.

    Returns the paths written. Raises :class:`InputError`.
    """
    (_, draft), (circuit, text) = example_files(name).items()
    targets = {path: draft + "\n" + OPTIONS, path.with_name(circuit): text}
    if len(targets) < 2:
        raise InputError(f"{path} is the circuit's name", field="path", remedy="give the draft another one")
    for target in targets:
        if target.exists() or target.is_symlink():
            raise InputError("exists already", field=str(target), remedy="choose another place or remove it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for target, text in targets.items():
            with target.open("x") as file:  # whatever appeared meanwhile stays
                file.write(text)
    except (OSError, ValueError) as err:
        raise InputError(
            f"cannot be written ({_reason(err)})", field=str(path), remedy="choose another place"
        ) from None
    return list(targets)


def example_files(name: str) -> dict[str, str]:
    """File names and texts of an example: its draft, then its circuit. Raises :class:`InputError`."""
    if name not in EXAMPLES:
        raise InputError(f"{name!r} is not an example", field="example", remedy=f"choose from {', '.join(EXAMPLES)}")
    folder = resources.files("oracle.requester").joinpath("examples")
    names = (f"{name}.yaml", f"{name}.{'json' if name in IN_JSON else 'qasm'}")
    return {file: folder.joinpath(file).read_text() for file in names}


def check_fields(fields: Mapping[str, Any]) -> None:
    """Find what is wrong with the fields before anything else is looked at; a budget may still be missing."""
    budget = fields.get("budget")
    if budget is None or (isinstance(budget, dict) and "amount" not in budget):
        fields = {**fields, "budget": {**(budget or {}), "amount": "1"}}
    spec = normalise(fields, requester=did_pkh(1, ZERO_ADDRESS), circuit=ipfs_uri(digest(b"")))
    _check_methods(spec["quantum"]["constraints"]["allowed_backends"])


def _check_methods(allowed: list[str]) -> None:
    """A misspelt method would be met by no oracle: said before any money moves."""
    for name in allowed:
        simulator, dot, method = name.partition(".")
        if simulator == SIMULATOR and dot and method not in METHODS:
            raise InputError(
                f"{name!r} is no method of the simulator",
                field="quantum.constraints.allowed_backends",
                remedy=f"choose from {', '.join(f'{SIMULATOR}.{known}' for known in METHODS)}, or {SIMULATOR} for all",
            )


def _check_width(fields: Mapping[str, Any], report: LintReport) -> None:
    constraints = fields["quantum"].get("constraints") or {}
    most = constraints.get("max_qubits")
    if most is not None and report.qubits > most:
        raise CircuitRejected(
            "too_many_qubits",
            f"the circuit has {report.qubits} qubits, the draft allows {most}",
            field="quantum.constraints.max_qubits",
            remedy="raise it, or use a narrower circuit",
        )


def read_file(path: Path, limit: int, field: str) -> bytes:
    try:
        # Not blocking: a named pipe in the place of a file would keep us waiting for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InputError(f"{path} is not a plain file", field=field, remedy="name a file")
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}", field=field, remedy="check the path") from None
    except (OSError, ValueError) as err:
        raise InputError(f"{path} cannot be read ({_reason(err)})", field=field, remedy="name a file") from None
    if len(data) > limit:
        raise InputError(f"{path} is more than the {limit} bytes allowed", field=field, remedy="make it smaller")
    return data


def _reason(err: Exception) -> str:
    return getattr(err, "strerror", None) or str(err)
