from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.jobs.amounts import MAX_AMOUNT, format_wei, parse_amount
from oracle.jobs.errors import InputError


@given(st.integers(0, MAX_AMOUNT))
def test_format_wei__any_amount__parses_back_to_itself(value):
    assert parse_amount(format_wei(value)) == value


@given(st.integers(1, MAX_AMOUNT))
def test_format_wei__negative__is_the_positive_with_a_sign(value):
    assert format_wei(-value) == "-" + format_wei(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        (0, 0),
        (7, 7),
        ("1000", 1000),
        ("1000 wei", 1000),
        ("25 gwei", 25 * 10**9),
        ("1.5gwei", 1_500_000_000),
        ("0.01 ether", 10**16),
        ("  1 ETH ", 10**18),
        ("0.000000000000000001 ether", 1),
        ("1.0", 1),
        (MAX_AMOUNT, MAX_AMOUNT),
    ],
)
def test_parse_amount__what_people_write__is_exact(text, value):
    assert parse_amount(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ether",
        "-1",
        -1,
        "1.5",
        "1.5 wei",
        "0.0000000001 gwei",
        "1e18",
        "1,000",
        "0x10",
        "NaN",
        "inf",
        "1 finney",
        "1 ether 2",
        "\u0661",  # a digit, but not one of ours
        "1\u00a0ether\n2",
        True,
        None,
        1.0,
        [],
        MAX_AMOUNT + 1,
        str(MAX_AMOUNT + 1),
        "1" * 31,
        pytest.param(10**5000, id="too long to print"),
        pytest.param(-(10**5000), id="negative, too long to print"),
        "9" * 30 + " ether",
    ],
)
def test_parse_amount__anything_else__is_refused_with_the_field(text):
    with pytest.raises(InputError) as refused:
        parse_amount(text, "budget.amount")

    assert refused.value.field == "budget.amount"
    assert refused.value.remedy
    assert len(str(refused.value)) < 400


@given(st.text(max_size=40))
def test_parse_amount__any_text__is_an_amount_or_refused(text):
    with contextlib.suppress(InputError):
        assert 0 <= parse_amount(text) <= MAX_AMOUNT


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1, "1 wei"),
        (99_999, "99999 wei"),
        (10**5, "0.0001 gwei"),
        (10**14, "0.0001 ether"),
        (10**18, "1 ether"),
    ],
)
def test_format_wei__around_the_units__picks_the_readable_one(value, text):
    assert format_wei(value) == text
