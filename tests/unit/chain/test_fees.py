from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from web3.exceptions import Web3RPCError

from oracle.chain.fees import FeePolicy, Fees, Market, quantity, read_market
from oracle.jobs.errors import ChainError, InputError

GWEI = 10**9
POLICY = FeePolicy(max_fee_wei=500 * GWEI, max_tip_wei=50 * GWEI, min_tip_wei=10**6)


def test_opening__usual_market__is_twice_the_base_fee_and_the_tip():
    assert POLICY.opening(Market(30 * GWEI, 2 * GWEI)) == Fees(62 * GWEI, 2 * GWEI)


@pytest.mark.parametrize(
    ("tip", "expected"), [(0, 10**6), (10**6, 10**6), (3, 10**6), (50 * GWEI, 50 * GWEI), (51 * GWEI, 50 * GWEI)]
)
def test_opening__tip__is_held_within_the_limits(tip, expected):
    assert POLICY.opening(Market(GWEI, tip)) == Fees(2 * GWEI + expected, expected)


@pytest.mark.parametrize(
    ("base_fee", "expected"),
    [
        (250 * GWEI, Fees(500 * GWEI, GWEI)),
        (499 * GWEI, Fees(500 * GWEI, GWEI)),
        (500 * GWEI, Fees(500 * GWEI, GWEI)),
        (500 * GWEI + 1, None),
    ],
)
def test_opening__base_fee_near_the_cap__is_capped_and_beyond_it_waits(base_fee, expected):
    assert POLICY.opening(Market(base_fee, GWEI)) == expected


def test_opening__cap_below_the_tip__tip_is_no_more_than_the_fee():
    assert FeePolicy(max_fee_wei=5).opening(Market(4, GWEI)) == Fees(5, 5)


@pytest.mark.parametrize(
    ("price", "expected"), [(7, 10**6), (3 * GWEI, 3 * GWEI), (500 * GWEI, 500 * GWEI), (500 * GWEI + 1, None)]
)
def test_opening__no_base_fee__is_a_gas_price(price, expected):
    fees = POLICY.opening(Market(None, price))

    assert fees == (None if expected is None else Fees(expected, expected, legacy=True))
    assert expected is None or fees.fields() == {"gasPrice": expected}


WEI = st.integers(0, 600 * GWEI)


@given(WEI, WEI, st.one_of(st.none(), WEI), WEI, st.floats(12.5, 300), st.booleans())
def test_replacement__any_market__pays_an_eighth_more_on_both_and_respects_the_caps(
    fee, tip, base, now, percent, legacy
):
    assume(tip <= fee)
    policy = FeePolicy(percent, max_fee_wei=500 * GWEI, max_tip_wei=50 * GWEI)
    old = Fees(fee, fee if legacy else tip, legacy)

    new = policy.replacement(old, Market(base, now))

    if new is None:
        assert fee * (100 + percent) >= 500 * GWEI * 99 or tip * (100 + percent) >= 50 * GWEI * 99
        return
    assert new.max_fee * 1000 >= old.max_fee * 1125 and new.max_fee > old.max_fee
    assert new.max_tip * 1000 >= old.max_tip * 1125 and new.max_tip > old.max_tip
    assert new.max_tip <= new.max_fee <= policy.max_fee_wei
    assert legacy or new.max_tip <= policy.max_tip_wei
    assert new.legacy == legacy


@pytest.mark.parametrize(
    ("old", "market", "expected"),
    [
        (Fees(1001, 1), Market(0, 0), Fees(10**6, 10**6)),
        (Fees(8 * GWEI, 8 * GWEI), Market(GWEI, 0), Fees(9 * GWEI, 9 * GWEI)),
        (Fees(8 * GWEI + 1, GWEI), Market(GWEI, 0), Fees(9 * GWEI + 2, GWEI * 9 // 8)),
        (Fees(8 * GWEI, GWEI), Market(100 * GWEI, 7 * GWEI), Fees(207 * GWEI, 7 * GWEI)),
        (Fees(400 * GWEI, GWEI), Market(490 * GWEI, GWEI), Fees(500 * GWEI, GWEI * 9 // 8)),
        (Fees(445 * GWEI, GWEI), Market(GWEI, GWEI), None),
        (Fees(100 * GWEI, 45 * GWEI), Market(GWEI, GWEI), None),
        (Fees(100 * GWEI, 100 * GWEI, True), Market(None, 60 * GWEI), Fees(225 * GWEI // 2, 225 * GWEI // 2, True)),
        (Fees(100 * GWEI, 100 * GWEI, True), Market(None, 300 * GWEI), Fees(300 * GWEI, 300 * GWEI, True)),
    ],
)
def test_replacement__old_fees_and_market__is_the_higher_of_bump_and_estimate_rounded_up(old, market, expected):
    assert POLICY.replacement(old, market) == expected


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"bump_percent": 12.4}, "bump_percent"),
        ({"bump_percent": float("nan")}, "bump_percent"),
        ({"bump_after_blocks": 0}, "bump_after_blocks"),
        ({"max_fee_wei": 0}, "max_fee_wei"),
        ({"max_tip_wei": 0}, "max_tip_wei"),
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"min_tip_wei": -1}, "min_tip_wei"),
        ({"min_tip_wei": 51 * GWEI}, "min_tip_wei"),
        ({"final_after": -1}, "final_after"),
        ({"resend_seconds": -1}, "resend_seconds"),
    ],
)
def test_fee_policy__impossible_setting__is_refused_naming_it(changes, field):
    with pytest.raises(InputError) as refused:
        FeePolicy(**changes)

    assert field in refused.value.field


def market(head, *, history=None, tip=None, price=None):
    """What :func:`read_market` makes of an endpoint's answers; an exception as answer is raised."""

    def answer(*_):
        if isinstance(history, Exception):
            raise history
        return history

    eth = SimpleNamespace(fee_history=answer, max_priority_fee=tip, gas_price=price)
    return read_market(SimpleNamespace(eth=eth), head)


def history(rewards, ratios, bases=(5, 6)):
    return {"baseFeePerGas": list(bases), "gasUsedRatio": ratios, "reward": rewards}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (history([[3], [9], [4]], [0.5, 0.1, 0.9]), Market(6, 4)),
        (history([[3], [0], [4]], [0.5, 0.0, 0.9]), Market(6, 3)),  # nobody tipped in an empty block
        (history([[0]], [0.0]), Market(6, 0)),
        (history([], [], []), Market(5, 0)),
        ({"baseFeePerGas": [5, 4], "gasUsedRatio": [0.1]}, Market(5, 0)),
    ],
)
def test_read_market__fee_history__is_the_median_tip_and_the_higher_base_fee(answer, expected):
    assert market({"baseFeePerGas": 5}, history=answer) == expected


def test_read_market__endpoint_without_fee_history__asks_for_a_tip():
    assert market({"baseFeePerGas": 5}, history=Web3RPCError("method not found"), tip=8) == Market(5, 8)


def test_read_market__chain_without_base_fees__asks_for_a_gas_price():
    assert market({}, price=11) == Market(None, 11)
    assert market({"baseFeePerGas": None}, price=11) == Market(None, 11)


@pytest.mark.parametrize(
    "answers",
    [
        ({"baseFeePerGas": "5"}, {"history": history([], [])}),
        ({"baseFeePerGas": 5}, {"history": history([["a lot"]], [0.5])}),
        ({"baseFeePerGas": 5}, {"history": history([[-1]], [0.5])}),
        ({"baseFeePerGas": 5}, {"history": history([], [], [5, 2**256])}),
        ({"baseFeePerGas": 5}, {"history": Web3RPCError("no"), "tip": None}),
        ({}, {"price": 1.5}),
    ],
)
def test_read_market__answer_of_another_type__is_a_chain_error(answers):
    head, rest = answers

    with pytest.raises(ChainError, match="is no number"):
        market(head, **rest)


@pytest.mark.parametrize("value", [0, 1, 2**256 - 1])
def test_quantity__number__is_that(value):
    assert quantity(value, "x") == value


@pytest.mark.parametrize("value", [-1, 2**256, True, None, "1", b"\1", 1.0])
def test_quantity__anything_else__is_a_chain_error(value):
    with pytest.raises(ChainError, match="a tip that is no number"):
        quantity(value, "tip")


@pytest.mark.parametrize("fees", [Fees(9, 2), Fees(9, 9, legacy=True)])
def test_of__fields__is_the_same(fees):
    assert Fees.of(fees.fields()) == fees
