from __future__ import annotations

import json

import pytest

from oracle.jobs.errors import SealError
from oracle.sealing.context import SealContext

CONTRACT = "0x" + "c0" * 20
PARTY = "0x" + "a1" * 20
BASE = dict(purpose="result", chain_id=1, contract=CONTRACT, job_id=7, spec=b"\x11" * 32, party=PARTY)


def context(**changes: object) -> SealContext:
    return SealContext(**{**BASE, **changes})


def test_canonical__known_context__sorted_compact_json_with_decimal_strings() -> None:
    # Written out by hand: the byte form is what other implementations must reproduce.
    assert context(job_id=2**64).canonical() == (
        b'{"chain_id":"1","contract":"0x' + b"c0" * 20 + b'","job_id":"18446744073709551616",'
        b'"party":"0x' + b"a1" * 20 + b'","purpose":"result","spec":"0x' + b"11" * 32 + b'"}'
    )


def test_init__mixed_case_addresses__kept_in_lower_case() -> None:
    mixed = "0xD8dA6BF26964aF9D7eEd9e03E53415D37aA96045"
    assert context(contract=mixed, party=mixed) == context(contract=mixed.lower(), party=mixed.lower())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("purpose", "note"),
        ("purpose", None),
        ("chain_id", -1),
        ("chain_id", True),
        ("chain_id", "1"),
        ("chain_id", 2**256),
        ("job_id", 1.0),
        ("job_id", -1),
        ("spec", b"\x11" * 31),
        ("spec", "11" * 32),
        ("contract", "c0" * 20),
        ("contract", "0X" + "c0" * 20),
        ("contract", CONTRACT + "\n"),
        ("contract", None),
        ("party", "0x" + "a1" * 19),
    ],
)
def test_init__value_out_of_range__seal_error_names_field(field: str, value: object) -> None:
    with pytest.raises(SealError) as caught:
        context(**{field: value})
    assert caught.value.field == f"context.{field}"


@pytest.mark.parametrize("change", [{"job_id": 1}, {"spec": b"\x01" * 32}])
def test_init__circuit_with_job_or_spec__refused(change: dict[str, object]) -> None:
    with pytest.raises(SealError, match="before its job exists"):
        context(**{"purpose": "circuit", "job_id": 0, "spec": bytes(32), **change})


def test_for_circuit__requester_only__job_and_spec_are_zero() -> None:
    made = SealContext.for_circuit(chain_id=5, contract=CONTRACT, party=PARTY)
    assert made == SealContext("circuit", 5, CONTRACT, 0, bytes(32), PARTY)


def test_for_result__all_fields__purpose_is_result() -> None:
    assert SealContext.for_result(**{k: v for k, v in BASE.items() if k != "purpose"}) == context()


def test_from_dict__own_output__same_context() -> None:
    original = context(job_id=2**256 - 1, chain_id=2**256 - 1)
    assert SealContext.from_dict(json.loads(original.canonical())) == original


@pytest.mark.parametrize(
    "change",
    [
        {"job_id": 7},
        {"job_id": "07"},
        {"job_id": "+7"},
        {"job_id": "٧"},
        {"job_id": "9" * 79},
        {"job_id": str(2**256)},
        {"chain_id": ""},
        {"chain_id": None},
        {"contract": CONTRACT.upper().replace("X", "x")},
        {"spec": "0x" + "AA" * 32},
        {"spec": "11" * 32},
        {"party": 5},
        {"purpose": ["result"]},
        {"extra": "1"},
        {"\ud800": "1"},
    ],
)
def test_from_dict__not_the_exact_form__seal_error(change: dict[str, object]) -> None:
    with pytest.raises(SealError) as caught:
        SealContext.from_dict({**context().as_dict(), **change})
    str(caught.value).encode()


@pytest.mark.parametrize("missing", ["purpose", "chain_id", "contract", "job_id", "spec", "party"])
def test_from_dict__field_missing__named(missing: str) -> None:
    data = context().as_dict()
    del data[missing]
    with pytest.raises(SealError, match=f"missing field {missing}"):
        SealContext.from_dict(data)


@pytest.mark.parametrize("data", [None, [], "context", 3])
def test_from_dict__not_an_object__seal_error(data: object) -> None:
    with pytest.raises(SealError, match="must be an object"):
        SealContext.from_dict(data)


def test_require__same_context__passes() -> None:
    context().require(context())


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"job_id": 8}, "sealed for job 7 on chain 1, not for job 8"),
        ({"chain_id": 5}, "sealed for chain 1, not for chain 5"),
        ({"contract": "0x" + "dd" * 20}, f"sealed for contract {CONTRACT}, not for contract 0x{'dd' * 20}"),
        ({"spec": b"\x22" * 32}, f"sealed for spec 0x{'11' * 32}, not for spec 0x{'22' * 32}"),
        ({"party": "0x" + "bb" * 20}, f"sealed for requester {PARTY}, not for requester 0x{'bb' * 20}"),
        ({"purpose": "circuit", "job_id": 0, "spec": bytes(32)}, "sealed as a result, not as a circuit"),
        ({"chain_id": 5, "job_id": 8}, "sealed for chain 1, not for chain 5"),
    ],
)
def test_require__one_thing_differs__message_says_which(expected: dict[str, object], message: str) -> None:
    with pytest.raises(SealError) as caught:
        context().require(context(**expected))
    assert caught.value.message == message
    assert caught.value.remedy
