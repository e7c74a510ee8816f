"""The schemas of result and receipt: what they take and what they say about the rest."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest

from oracle.jobs.documents import VERSIONS, check_document
from oracle.jobs.errors import InputError

DIGEST = "0x" + "ab" * 32
RECEIPT = {
    "version": 1,
    "job": {"chain_id": "1", "contract": "0x" + "ab" * 20, "job_id": "7", "spec": DIGEST},
    "oracle": "0x" + "Ab" * 20,
    "circuit": "ipfs://f01551220" + "ab" * 32,
    "engine": "aer-statevector",
    "charge": "0",
    "commitment": DIGEST,
    "artefacts": {"code": DIGEST},
}
RESULT = {
    "version": 1,
    "counts": {"0": 1},
    "shots": 1,
    "charge": "5",
    "salt": "5a" * 32,
    "runs": [{"counts": {"0": 1}, "bases": [{"basis": "Z", "counts": {"0": 1}}]}],
    "backend": {"engine": "stim", "versions": {"stim": "1"}},
    "provider": {"name": "local", "backend": "aer", "job_id": "x"},
    "artefacts": {"simulation": {"run": {}, "salt": "5a" * 32}},
}
RESULT["artefacts"]["simulation"]["run"] = dict.fromkeys(
    ("counts", "shots", "seed", "engine", "versions", "transpiled_digest")
)


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    copied = json.loads(json.dumps(document))
    *way, last = path.split(".")
    place = copied
    for name in way:
        place = place[int(name) if isinstance(place, list) else name]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return copied


@pytest.mark.parametrize("name", VERSIONS)
def test_schemas__each__is_one_and_has_the_version_of_its_name(name: str) -> None:
    from jsonschema import Draft202012Validator

    path = f"schemas/{name}-v{VERSIONS[name]}.json"
    schema = json.loads(resources.files("oracle.jobs").joinpath(path).read_text())
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:qscrow:{name}:{VERSIONS[name]}"
    assert schema["properties"]["version"] == {"const": VERSIONS[name]}


def test_check_document__as_written_and_with_fields_to_come__passes() -> None:
    check_document(RECEIPT, "receipt")
    check_document(RESULT, "result")
    check_document({**RECEIPT, "later": [1]}, "receipt")
    check_document({**RESULT, "later": [1], "backend": {"later": 1}}, "result")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", 2),
        ("job", "7"),
        ("job.job_id", "07"),
        ("job.contract", "0x" + "AB" * 20),
        ("oracle", None),
        ("circuit", "https://example.org"),
        ("engine", "x" * 81),
        ("charge", "1" * 30),
        ("commitment", DIGEST + "\n"),
        ("artefacts", []),
        ("artefacts.code", "0x"),
        ("artefacts.settlement", DIGEST),
    ],
)
def test_check_document__receipt_that_is_none__names_the_field(path: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        check_document(changed(RECEIPT, path, value), "receipt")
    assert caught.value.field == path


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("type", "qscrow.report"),
        ("counts.0", 0),
        ("counts.0", True),
        ("shots", 1.5),
        ("salt", "5A" * 32),
        ("charge", 5),
        ("runs", {}),
        ("runs.0.bases.0.counts.0", "1"),
        ("backend", "aer"),
        ("backend.versions.stim", 1),
        ("provider.job_id", None),
        ("artefacts", 1),
        ("artefacts.simulation.run", []),
        ("artefacts.simulation.salt", None),
    ],
)
def test_check_document__result_that_is_none__names_the_field(path: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        check_document(changed(RESULT, path, value), "result")
    assert caught.value.field == path


@pytest.mark.parametrize("document", [None, [], "x", 5, {}])
@pytest.mark.parametrize("name", ["receipt", "result"])
def test_check_document__no_object_at_all__is_an_input_error(document: Any, name: str) -> None:
    with pytest.raises(InputError):
        check_document(document, name)


@pytest.mark.parametrize("name", ["\x1b[2J", "\u202e" * 5000, "x" * 100_000])
def test_check_document__strange_names_in_it__make_one_plain_line(name: str) -> None:
    for schema, document in (
        ("receipt", {**RECEIPT, "artefacts": {name: DIGEST}}),
        ("result", {**RESULT, "counts": {name: "many"}}),
    ):
        with pytest.raises(InputError) as caught:
            check_document(document, schema)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 400
