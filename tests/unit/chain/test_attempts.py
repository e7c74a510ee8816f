from __future__ import annotations

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from oracle.chain.attempts import Attempt, MemoryAttemptLog, unpack
from oracle.jobs.errors import ChainError

ACCOUNT = Account.from_key(b"\x42" * 32)
OTHER = Account.from_key(b"\x43" * 32).address
WEI = st.integers(0, 2**96)


def attempt(purpose: str, nonce: int, sender: str = "me", raw: bytes = b"") -> Attempt:
    return Attempt(purpose, sender, nonce, raw, raw)


@given(WEI, WEI, WEI, st.integers(0, 2**63), st.binary(max_size=80), st.sampled_from(["", OTHER]), st.booleans())
def test_unpack__anything_signed__is_what_was_signed(price, tip, value, nonce, data, to, legacy):
    fees = {"gasPrice": price} if legacy else {"type": 2, "maxFeePerGas": price + tip, "maxPriorityFeePerGas": tip}
    plain = {"to": to, "value": value, "data": "0x" + data.hex(), "gas": 21_000, "chainId": 31337, "nonce": nonce}

    assert unpack(bytes(ACCOUNT.sign_transaction({**plain, **fees}).raw_transaction)) == {**plain, **fees}


@given(st.binary(max_size=200))
def test_unpack__any_bytes__is_a_transaction_or_a_chain_error(raw):
    try:
        assert "nonce" in unpack(raw)
    except ChainError as refused:
        assert "no signed transaction" in refused.message


def test_unpack__no_replay_protection__is_refused():
    plain = {"to": OTHER, "value": 0, "data": "0x", "gas": 21_000, "gasPrice": 1, "nonce": 0}

    with pytest.raises(ChainError):
        unpack(bytes(ACCOUNT.sign_transaction(plain).raw_transaction))


def test_memory_log__attempts__are_newest_first_by_purpose():
    log = MemoryAttemptLog()
    first, other, second = attempt("a", 0, raw=b"1"), attempt("b", 1), attempt("a", 0, raw=b"2")
    for one in (first, other, second):
        log.record(one)

    assert log.attempts("a") == [second, first]
    assert log.attempts("c") == []


def test_memory_log__open_attempts__are_by_nonce_then_oldest_first_until_closed():
    log = MemoryAttemptLog()
    high, low, bumped = attempt("b", 4), attempt("a", 3, raw=b"1"), attempt("a", 3, raw=b"2")
    for one in (high, low, bumped, attempt("c", 2, sender="you")):
        log.record(one)

    assert log.open_attempts("me") == [low, bumped, high]
    log.close_nonce("me", 3)
    log.close_nonce("me", 3)
    assert log.open_attempts("me") == [high]
    assert len(log.open_attempts("you")) == 1


def test_memory_log__next_nonce__counts_closed_ones_and_not_forgotten_ones():
    log = MemoryAttemptLog()
    assert log.next_nonce("me") == 0
    log.record(attempt("a", 3))
    log.close_nonce("me", 3)
    assert log.next_nonce("me") == 4
    log.record(attempt("b", 4))
    log.forget(attempt("b", 4))

    assert log.next_nonce("me") == 4
