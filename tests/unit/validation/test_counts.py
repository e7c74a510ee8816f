from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.jobs.errors import InputError
from oracle.validation.counts import Counts


def test_parse__registers_with_spaces__joins_and_sorts_them():
    counts = Counts.parse({"1 1": 3, "0 0": 5, "11": 1})
    assert counts.as_dict() == {"00": 5, "11": 4}
    assert (counts.shots, counts.width) == (9, 2)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        {},
        {"": 1},
        {" ": 1},
        {"0x1": 1},
        {"01\n": 1},
        {"٠١": 1},
        {"0": 0},
        {"0": -1},
        {"0": True},
        {"0": 1.0},
        {"0": "1"},
        {"0": 10**10},
        {"0": 1, "00": 1},
        {0: 1},
    ],
)
def test_parse__malformed__says_so(bad):
    with pytest.raises(InputError, match="counts"):
        Counts.parse(bad)


def test_parse__other_shots_or_width_than_asked__is_refused():
    with pytest.raises(InputError, match="adds up to 3, not to the 4 shots"):
        Counts.parse({"0": 3}, shots=4)
    with pytest.raises(InputError, match="of 1 bits, not of 2"):
        Counts.parse({"0": 3}, width=2)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text("01", min_size=3, max_size=3), st.integers(1, 10**6), min_size=1))
def test_digest__same_counts_in_any_order__is_the_same_and_follows_every_change(counts):
    parsed = Counts.parse(counts)
    assert Counts.parse(dict(reversed(counts.items()))).digest() == parsed.digest()
    changed = dict(counts)
    changed[next(iter(counts))] += 1
    assert Counts.parse(changed).digest() != parsed.digest()


def test_repeat_chance__two_outcomes__is_the_binomial_mode():
    assert Counts.parse({"0": 512, "1": 512}).repeat_chance() == pytest.approx(0.0249, abs=1e-4)


def test_repeat_chance__spread_out_result__is_no_coincidence():
    assert Counts.parse({format(n, "08b"): 4 for n in range(256)}).repeat_chance() < 1e-100
