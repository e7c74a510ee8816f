"""Job specifications: what a person writes, what is hashed, what an oracle reads.

A *draft* is YAML with most fields left out. :func:`normalise` fills the defaults and yields the *spec*: canonical
JSON that validates against ``schemas/spec-v1.json``, whose sha-256 goes on chain. :func:`parse_spec` reads a spec
somebody else wrote and takes nothing that is not exactly that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from oracle.jobs.amounts import parse_amount
from oracle.jobs.canonical import MAX_DEPTH, canonical_bytes, parse_json
from oracle.jobs.documents import check_document
from oracle.jobs.errors import InputError
from oracle.jobs.noise import NOISELESS, Noise

MAX_SPEC_BYTES = 64 * 1024

DEFAULTS: dict[str, Any] = {
    "version": 1,
    "job_type": "smoke_test",
    "title": "",
    "inputs": {"dataset": None, "preprocessing_version": None},
    "quantum": {
        "framework": "qiskit",
        "format": "openqasm3",
        "shots": 1024,
        "seed": None,
        "noise": None,
        "backend_policy": "simulator",
        "constraints": {"max_qubits": None, "max_queue_minutes": None, "allowed_backends": []},
    },
    "budget": {"token": "native"},
    "timeouts": {"accept_seconds": 3600, "deliver_seconds": 3600, "challenge_seconds": 0},
    "validation": {"method": "none", "threshold": "auto", "baseline": None},
    "settlement": {"release_on": "delivery"},
    "privacy": {"circuit": "public", "capsule": "nacl"},
    "promotion": {"require_simulation": True, "max_baseline_distance": "auto", "require_manual_approval": False},
}


def parse_draft(data: bytes) -> dict[str, Any]:
    """The mapping in a YAML draft. Aliases, duplicate keys and tags are refused.

    Raises :class:`InputError` naming what is wrong.
    """
    import yaml

    if len(data) > MAX_SPEC_BYTES:
        raise InputError(f"is {len(data)} bytes, more than the {MAX_SPEC_BYTES} allowed", field="spec")
    try:
        document = yaml.load(data.decode("utf-8"), Loader=_draft_loader())
    except UnicodeDecodeError:
        raise InputError("is not UTF-8 text", field="spec", remedy="save it as plain text") from None
    except (yaml.YAMLError, ValueError, RecursionError) as err:
        raise InputError(f"is not valid YAML ({_first_line(err)})", field="spec") from None
    if not isinstance(document, dict):
        raise InputError("is not a mapping of fields", field="spec", remedy="start from `qscrow init`")
    return document


def normalise(draft: Mapping[str, Any], *, requester: str, circuit: str) -> dict[str, Any]:
    """The spec a draft means: defaults filled, amounts in smallest units, validated.

    ``requester`` is a ``did:pkh`` and ``circuit`` the ``ipfs://`` link of the pinned circuit; they replace whatever
    the draft says in those places. Raises :class:`InputError` naming the field at fault.
    """
    spec = _merged(DEFAULTS, draft, "")
    spec["requester"] = requester
    spec["quantum"]["circuit"] = circuit
    _fill_noise(spec["quantum"])
    amount = spec["budget"].get("amount")
    spec["budget"]["amount"] = "1" if amount is None else str(parse_amount(amount, "budget.amount"))
    token = spec["budget"]["token"]
    if isinstance(token, int) and not isinstance(token, bool):  # YAML reads an unquoted 0x… as a number
        spec["budget"]["token"] = f"0x{token:040x}"
    check_spec(spec)
    if amount is None:  # said last: a misspelt field may be the reason
        raise InputError("is missing", field="budget.amount", remedy='add for example `amount: "0.01 ether"`')
    return json.loads(canonical_bytes(spec))  # numbers as the oracle will read them: 1024.0 becomes 1024


def parse_spec(data: bytes) -> dict[str, Any]:
    """The spec in ``data``, as an oracle or auditor reads it. Raises :class:`InputError`.

    Only canonical bytes are taken, so that a spec has one digest.
    """
    spec = parse_json(data, "spec", MAX_SPEC_BYTES)
    check_spec(spec)
    if canonical_bytes(spec) != data:
        raise InputError("is not canonical JSON (RFC 8785)", field="spec", remedy="submit it with `qscrow submit`")
    return spec


def check_spec(spec: Any) -> None:
    """Raise :class:`InputError` for the first field of ``spec`` that is not acceptable."""
    _check_shape(spec)
    if int(spec["budget"]["amount"]) >= 2**96:
        raise InputError("is more than fits 96 bits", field="budget.amount")
    quantum, validation = spec["quantum"], spec["validation"]
    if "observables" in quantum and quantum.get("result") != "expectation":
        raise InputError("are for expectation values", field="quantum.observables", remedy="set quantum.result")
    if quantum.get("result") == "expectation" and quantum["format"] != "qscrow-json" and "observables" not in quantum:
        raise InputError(
            "is missing", field="quantum.observables", remedy='add for example `observables: [[["ZZ", 1.0]]]`'
        )
    _check_noise(quantum, validation["method"])
    release, challenge = spec["settlement"]["release_on"], spec["timeouts"]["challenge_seconds"]
    if validation["method"] == "replay" and quantum["backend_policy"] != "simulator":
        raise InputError(
            "replay needs a simulator", field="validation.method", remedy="set quantum.backend_policy to simulator"
        )
    if (release == "delivery") != (challenge == 0):
        raise InputError(
            f"release_on {release} does not go with challenge_seconds {challenge}",
            field="settlement.release_on",
            remedy="use delivery with 0, or attestation or challenge with more",
        )


def _check_shape(spec: Any) -> None:
    """Against the schema; what people often write otherwise has a word on how it is meant."""
    try:
        check_document(spec, "spec")
    except InputError as err:
        field, remedy = err.field or "", err.remedy
        if field.startswith("quantum.observables"):
            remedy = 'write a list of observables, each a list of terms: `[[["ZZ", 1.0], ["XI", -0.5]]]`'
        elif field.startswith("quantum.noise.") and err.message.endswith("of type number"):
            remedy = "write for example 0.001; YAML reads 1e-3 as text"
        raise InputError(err.message, field=err.field, remedy=remedy) from None


def _fill_noise(quantum: dict[str, Any]) -> None:
    """A spec without noise has no such field; one with noise has every rate."""
    noise = quantum.pop("noise", None)
    if noise is not None:
        quantum["noise"] = {**asdict(NOISELESS), **noise} if isinstance(noise, Mapping) else noise


def _check_noise(quantum: Mapping[str, Any], method: str) -> None:
    if "noise" not in quantum:
        return
    for name, rate in quantum["noise"].items():
        if not math.isfinite(rate):  # not a number is neither too small nor too large
            raise InputError(f"{rate} is not a number", field=f"quantum.noise.{name}", remedy="set a rate from 0 up")
    if not Noise.of_spec(quantum):
        raise InputError(
            "asks for none: every rate is 0", field="quantum.noise", remedy="leave it out, or set a rate above 0"
        )
    if quantum["backend_policy"] == "ibm":
        raise InputError(
            "is simulated, and backend_policy ibm wants a device, which has its own",
            field="quantum.noise",
            remedy="remove it, or set quantum.backend_policy to simulator",
        )
    if method == "canary":
        raise InputError(
            "does not go with canaries: under noise no answer is certain",
            field="quantum.noise",
            remedy="remove it, or validate by replay, distribution or agreement",
        )


def _merged(defaults: Mapping[str, Any], given: Any, path: str) -> dict[str, Any]:
    """``defaults`` overlaid with ``given``, section by section; unknown sections stay for the schema to refuse."""
    if not isinstance(given, Mapping):
        raise InputError("is not a mapping of fields", field=path.rstrip("."))
    merged = {key: (_merged(value, {}, "") if isinstance(value, dict) else value) for key, value in defaults.items()}
    for key, value in given.items():
        if not isinstance(key, str):
            raise InputError(f"{key!r} is not a field name", field=path.rstrip(".") or "spec")
        if isinstance(defaults.get(key), dict):
            merged[key] = _merged(defaults[key], value if value is not None else {}, f"{path}{key}.")
        else:
            merged[key] = value
    return merged


def _first_line(err: Exception) -> str:
    return " ".join(str(err).split())[:160]


@cache
def _draft_loader() -> type:
    import yaml

    class DraftLoader(yaml.SafeLoader):
        """Safe YAML without aliases (which can expand without bound) and without duplicate keys."""

        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise ValueError("aliases are not allowed")
            if self.peek_event().tag is not None:  # some standard ones raise anything for a bad value
                raise ValueError("tags are not allowed")
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise ValueError("nested too deeply")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            if any(not isinstance(key, (str, int)) for key in keys) or len(set(keys)) != len(keys):
                raise ValueError("duplicate or unusable key")
            return super().construct_mapping(node, deep)

        def construct_yaml_int(self, node: Any) -> int:
            value = super().construct_yaml_int(node)
            if value.bit_length() > 256:  # in hexadecimal it can be too long to print
                raise ValueError("number too large")
            return value

    DraftLoader.add_constructor("tag:yaml.org,2002:int", DraftLoader.construct_yaml_int)
    return DraftLoader
