from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.jobs.canonical import MAX_DEPTH, canonical_bytes, digest, parse_json
from oracle.jobs.errors import InputError

LIMIT = 100_000
SAFE_INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
FLOATS = st.floats(-1e15, 1e15)  # larger whole ones read back as integers JSON cannot hold exactly
TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=10)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | SAFE_INTEGERS | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_canonical_bytes__parsed_again__is_the_same_document_and_the_same_bytes(document):
    data = canonical_bytes(document)

    parsed = parse_json(data, "document", LIMIT)

    assert parsed == document
    assert canonical_bytes(parsed) == data


@given(st.dictionaries(TEXT, SAFE_INTEGERS, min_size=2, max_size=6))
def test_canonical_bytes__other_order_of_fields__gives_the_same_bytes(document):
    backwards = dict(reversed(list(document.items())))

    assert canonical_bytes(backwards) == canonical_bytes(document)


def test_canonical_bytes__example__has_no_spaces_and_sorted_fields():
    assert canonical_bytes({"b": [1.0, True, None], "a": "é\n"}) == '{"a":"é\\n","b":[1,true,null]}'.encode()


def test_digest__empty__is_the_known_sha256():
    assert digest(b"").hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def _deep(levels: int) -> list:
    document: list = []
    for _ in range(levels - 1):
        document = [document]
    return document


@pytest.mark.parametrize(
    "document",
    [float("nan"), float("inf"), 2**53, -(2**53), b"bytes", {1: 2}, object(), "\ud800", {"a": {1, 2}}, _deep(100_000)],
    ids=["nan", "infinity", "2^53", "-2^53", "bytes", "number as key", "object", "lone surrogate", "set", "deep"],
)
def test_canonical_bytes__what_json_cannot_carry__is_refused(document):
    with pytest.raises(InputError):
        canonical_bytes(document)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{} {}",
        b"{'a': 1}",
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"[-1e999]",
        b"1" * 21,
        b"1" * 50_000,
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b"[" * 90_000,
        b'{"a":' * 15_000,
        json.dumps(_deep(MAX_DEPTH + 1)).encode(),
    ],
    ids=lambda data: repr(data[:30]),
)
def test_parse_json__hostile_bytes__are_refused_in_one_line(data):
    with pytest.raises(InputError) as refused:
        parse_json(data, "document", LIMIT)

    assert refused.value.field == "document"
    assert len(str(refused.value)) < 300


def test_parse_json__one_byte_too_many__is_refused_before_it_is_read():
    with pytest.raises(InputError, match="more than the 3 allowed"):
        parse_json(b"    ", "document", 3)


def test_parse_json__brackets_inside_strings__do_not_count_as_depth():
    document = ['[{"' * 50, "\\", '\\"[' * 50]

    assert parse_json(json.dumps(document).encode(), "document", LIMIT) == document


def test_parse_json__deep_where_the_recursion_limit_was_raised__is_refused_and_the_process_lives():
    import eth  # py-evm does it when imported

    assert eth
    with pytest.raises(InputError, match="nested too deeply"):
        parse_json(b"[" * LIMIT, "document", LIMIT)


def test_parse_json__at_the_limits__is_taken():
    assert parse_json(b"[1]", "document", 3) == [1]
    assert parse_json(json.dumps(_deep(MAX_DEPTH)).encode(), "document", LIMIT) == _deep(MAX_DEPTH)


@given(st.binary(max_size=60))
def test_parse_json__any_bytes__are_a_document_or_refused(data):
    with contextlib.suppress(InputError):
        parse_json(data, "document", LIMIT)
