"""The artefacts of a result: what each digest covers, what a disclosure tells, and what lies do."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.jobs.canonical import canonical_bytes, parse_json
from oracle.jobs.errors import InputError, QscrowError, SealError
from oracle.sealing.artefacts import (
    HIDDEN,
    IN_RECEIPT,
    MAX_DISCLOSED_BYTES,
    NAMES,
    SPECS,
    artefact_digests,
    artefact_salt,
    artefacts_of,
    check_artefacts,
    disclosures,
    missing_artefacts,
    read_disclosure,
)

SALT = "5a" * 32
JOB = {"chain_id": "1", "contract": "0x" + "ab" * 20, "job_id": "7", "spec": "0x" + "cd" * 32}
SIMULATED = {"choice": "local_simulator", "reasons": {"aer": "fits"}}
PROMOTED = {"choice": "ibm_quantum_backend", "reasons": {"ibm_box": "fits"}}


def result(**changes: Any) -> dict[str, Any]:
    document = {
        "version": 1,
        "spec": {"version": 1, "quantum": {"shots": 10}},
        "counts": {"00": 4, "11": 6},
        "shots": 10,
        "seed": 7,
        "backend": {"engine": "aer-statevector", "versions": {"qiskit": "2.6.2"}},
        "circuit": {"depth": 3},
        "seconds": {"run": 0.5},
        "routing": SIMULATED,
        "provider": {"name": "local"},
        "artefacts": {"code": {"qscrow": "0.1.0"}},
        "charge": "5",
        "salt": SALT,
    }
    return {**document, **changes}


def on_hardware(**artefacts: Any) -> dict[str, Any]:
    return result(routing=PROMOTED, artefacts={**result()["artefacts"], **artefacts})


def receipt_of(document: dict[str, Any]) -> dict[str, Any]:
    return {"version": 1, "artefacts": artefact_digests(document)}


# ------------------------------------------------------------------------------------ what they are


def test_artefacts_of__simulated_job__has_all_seven_and_the_run_as_its_own_simulation() -> None:
    found = artefacts_of(result())

    assert tuple(found) == IN_RECEIPT
    assert found["original_spec"] == found["normalised_spec"] == result()["spec"]
    assert found["raw_result"] == {"counts": {"00": 4, "11": 6}, "shots": 10}
    assert found["simulation"] == {
        **{name: result()[name] for name in ("counts", "shots", "seed", "backend", "circuit", "seconds")}
    }


def test_artefacts_of__promoted_job__has_the_simulation_made_before_it() -> None:
    earlier = {"counts": {"00": 5, "11": 5}, "shots": 10}

    assert artefacts_of(on_hardware(simulation=earlier))["simulation"] == earlier


def test_artefacts_of__several_circuits__are_part_of_the_raw_result() -> None:
    runs = [{"counts": {"0": 10}}]

    assert artefacts_of(result(runs=runs))["raw_result"]["runs"] == runs


def test_missing_artefacts__promoted_without_a_simulation__names_it() -> None:
    assert missing_artefacts(receipt_of(on_hardware())) == ("simulation",)
    assert missing_artefacts(receipt_of(result())) == ()


@pytest.mark.parametrize("receipt", [{}, {"artefacts": None}, {"artefacts": []}, {"artefacts": "0x"}])
def test_missing_artefacts__receipt_without_any__lacks_all(receipt: dict[str, Any]) -> None:
    assert missing_artefacts(receipt) == IN_RECEIPT


# ----------------------------------------------------------------------------------------- digests


def test_artefact_digests__as_documented__from_hmac_and_sha256_alone() -> None:
    document = result()
    given = artefact_digests(document)

    assert given["original_spec"] == "0x" + hashlib.sha256(canonical_bytes(document["spec"])).hexdigest()
    for name in HIDDEN:
        extracted = hmac.digest(bytes(32), bytes.fromhex(SALT), "sha256")
        salt = hmac.digest(extracted, b"qscrow/artefact-salt/1|" + name.encode() + b"\x01", "sha256")
        data = json.dumps(artefacts_of(document)[name], separators=(",", ":"), sort_keys=True).encode()
        assert given[name] == "0x" + hashlib.sha256(salt + b"qscrow/artefact/1|%s|" % name.encode() + data).hexdigest()


def test_artefact_digests__same_document_under_two_names_or_salts__differ() -> None:
    same = {"x": 1}
    document = result(routing=same, provider=same, artefacts={"code": same})
    digests = [artefact_digests(each)[name] for each in (document, {**document, "salt": "5b" * 32}) for name in HIDDEN]

    assert len(set(digests)) == 2 * len(HIDDEN)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=5), JSON_VALUES, min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(OBJECTS, OBJECTS, st.dictionaries(st.text("01", min_size=2, max_size=2), st.integers(1, 9), min_size=1))
def test_check_artefacts__whatever_honest_documents_hold__passes_after_writing_and_reading(spec, code, counts) -> None:
    """Canonical bytes are the same again after a trip through a file, so digests are."""
    document = result(spec=spec, counts=counts, artefacts={"code": code})
    written = canonical_bytes(document)
    read = parse_json(written, "result", len(written))

    assert canonical_bytes(read) == written
    assert artefact_digests(read) == artefact_digests(document)
    check_artefacts(read, receipt_of(document))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_check_artefacts__one_byte_of_one_artefact_changed__is_found_and_named(data) -> None:
    document = on_hardware(simulation={"counts": {"00": 5, "11": 5}})
    receipt = receipt_of(document)
    name = data.draw(st.sampled_from([each for each in IN_RECEIPT if each not in SPECS]))
    place = "artefacts" if name in ("code", "simulation") else None
    changed = copy.deepcopy(document)
    holder = changed[place] if place else changed
    key = "counts" if name == "raw_result" else name
    text = bytearray(canonical_bytes(holder[key]))
    text[data.draw(st.integers(0, len(text) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = parse_json(bytes(text), "artefact", 10_000)
        canonical_bytes(other)
    except InputError:
        return  # no JSON any more: nothing that an oracle could seal
    if canonical_bytes(other) == canonical_bytes(holder[key]):
        return  # other bytes for the same document
    holder[key] = other

    with pytest.raises(SealError) as caught:
        check_artefacts(changed, receipt)

    assert caught.value.field == f"receipt.artefacts.{name}"


# -------------------------------------------------------------------------------------------- lies


def lie(change) -> tuple[str | None, str]:
    receipt = receipt_of(result())
    change(receipt["artefacts"])
    with pytest.raises(SealError) as caught:
        check_artefacts(result(), receipt)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300
    return caught.value.field, caught.value.message


def swap(digests: dict[str, str]) -> None:
    digests["routing"], digests["provider"] = digests["provider"], digests["routing"]


def test_check_artefacts__one_digest_is_wrong__names_it() -> None:
    field, message = lie(lambda digests: digests.update(provider="0x" + "00" * 32))
    assert field == "receipt.artefacts.provider" and "is not what was sealed" in message


def test_check_artefacts__two_swapped__says_whose_digest_it_is() -> None:
    field, message = lie(swap)
    assert field == "receipt.artefacts.routing" and message == "the digest is that of provider"


@pytest.mark.parametrize("name", IN_RECEIPT)
def test_check_artefacts__one_left_out_of_the_receipt__names_it(name: str) -> None:
    field, message = lie(lambda digests: digests.pop(name))
    assert field == f"receipt.artefacts.{name}" and "no digest of it" in message


@pytest.mark.parametrize("name", ["settlement", "extra", "", "\x1b[2J" + "x" * 100_000])
def test_check_artefacts__another_name_in_the_receipt__is_refused(name: str) -> None:
    field, message = lie(lambda digests: digests.update({name: "0x" + "00" * 32}))
    assert field.startswith("receipt.artefacts.") and "none of the artefacts" in message


@pytest.mark.parametrize("value", [None, 5, [], {}, "", "0x", "0x" + "0" * 500_000, [[["deep"]]]])
def test_check_artefacts__digest_of_another_kind__is_refused(value: Any) -> None:
    assert lie(lambda digests: digests.update(code=value))[0] == "receipt.artefacts.code"


def test_check_artefacts__promised_and_not_sealed__is_refused() -> None:
    receipt = receipt_of(on_hardware(simulation={"counts": {"0": 1}}))

    with pytest.raises(SealError, match="does not hold it") as caught:
        check_artefacts(on_hardware(), receipt)

    assert caught.value.field == "receipt.artefacts.simulation"


@pytest.mark.parametrize("given_", [None, [], "all", 7])
def test_check_artefacts__section_without_digests__is_refused(given_: Any) -> None:
    with pytest.raises(SealError, match="no digests"):
        check_artefacts(result(), {"artefacts": given_})


@pytest.mark.parametrize(
    "changes",
    [
        {"artefacts": 5},
        {"artefacts": []},
        {"salt": None},
        {"salt": "AB" * 32},
        {"salt": "5a"},
        {"routing": {"x": 2.0**60}},
    ],
)
def test_check_artefacts__documents_that_cannot_be_used__are_one_error(changes: dict[str, Any]) -> None:
    with pytest.raises(QscrowError):
        check_artefacts(result(**changes), receipt_of(result()))


def test_check_artefacts__documents_of_an_earlier_version__have_none() -> None:
    old = result()
    del old["artefacts"]

    check_artefacts(old, {"commitment": "0x"})


# -------------------------------------------------------------------------------------- disclosure


@pytest.mark.parametrize("name", IN_RECEIPT)
def test_read_disclosure__each_alone__gives_the_digest_in_the_receipt(name: str) -> None:
    data = json.dumps(disclosures(result(), JOB)[name], indent=2).encode()

    assert read_disclosure(data, JOB) == (name, artefact_digests(result())[name])


@pytest.mark.parametrize("name", HIDDEN)
def test_disclosures__one__says_nothing_that_opens_another(name: str) -> None:
    """Its salt is neither the sealed one nor another artefact's, and gives no other digest."""
    given, digests = disclosures(result(), JOB), artefact_digests(result())
    told = json.dumps(given[name])

    assert SALT not in told
    for other in set(HIDDEN) - {name}:
        assert given[other]["salt"] not in told
        guessed = {**given[other], "salt": given[name]["salt"]}  # knows the document, wants to make sure of it
        assert read_disclosure(json.dumps(guessed).encode(), JOB)[1] != digests[other]


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_artefact_salt__of_any_result__differs_for_every_name_and_from_it(salt: bytes) -> None:
    salts = {artefact_salt(salt, name) for name in NAMES}

    assert len(salts) == len(NAMES) and salt not in salts
    with pytest.raises(SealError):
        artefact_salt(salt[:-1], "code")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"type": "x"}, "disclosed"),
        ({"version": 2}, "disclosed.version"),
        ({"name": "settlement"}, "disclosed.name"),
        ({"name": ["code"]}, "disclosed.name"),
        ({"job": {**JOB, "job_id": "8"}}, "disclosed.job"),
        ({"job": None}, "disclosed.job"),
        ({"salt": None}, "disclosed.salt"),
        ({"salt": "5A" * 32}, "disclosed.salt"),
        ({"salt": 5}, "disclosed.salt"),
        ({"document": 2**60}, None),
    ],
)
def test_read_disclosure__strange_files__say_what_is_wrong(changes: dict[str, Any], field: str | None) -> None:
    with pytest.raises(InputError) as caught:
        read_disclosure(json.dumps({**disclosures(result(), JOB)["code"], **changes}).encode(), JOB)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"[" * 100_000, b"\xff", b'{"a":1,"a":2}', b" " * (MAX_DISCLOSED_BYTES + 1)]
)
def test_read_disclosure__rubbish__is_an_input_error(data: bytes) -> None:
    with pytest.raises(InputError):
        read_disclosure(data, JOB)
