from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.chain.logs import LogRanges
from oracle.jobs.errors import ChainError, ChainUnavailable

# What providers say (public documentation and issue threads), each with the number of blocks it would have served.
REFUSALS = {
    "query returned more than 10000 results. Try with this block range [{first}, {end}].": 7,
    "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range. Based on your"
    " parameters, this block range should work: [{first}, {end}]": 7,
    "eth_getLogs is limited to a 7 range": 7,
    "block range is too wide": None,
    "exceed maximum block range: 7": 7,
    "eth_getLogs block range too large, range: 2000, max: 7": None,
    "query timeout exceeded": None,
    "requested too many blocks from 0 to 99, maximum is set to 7": None,
    "logs matched by query exceeds limit of 10000": None,
    "HTTP 413": None,
}


class Provider:
    """Serves ``density`` logs in every block, at most ``blocks`` blocks or ``results`` logs at once."""

    def __init__(self, blocks: int = 10**9, results: int = 10**9, density: int = 1, message: str = "limit exceeded"):
        self.blocks, self.results, self.density, self.message = blocks, results, density, message
        self.asked: list[tuple[int, int]] = []

    def __call__(self, first: int, last: int) -> list[tuple[int, int]]:
        self.asked.append((first, last))
        count = last - first + 1
        if count > self.blocks or count * self.density > self.results:
            raise ChainError(self.message.format(first=hex(first), end=hex(first + 6)))
        return [(block, index) for block in range(first, last + 1) for index in range(self.density)]


@given(
    st.integers(0, 50),
    st.integers(0, 400),
    st.integers(1, 500),
    st.integers(1, 3),
    st.integers(3, 300),
    st.integers(1, 3_000),
    st.sampled_from(list(REFUSALS)),
)
def test_read__any_cap__covers_every_block_once_in_order(first, more, blocks, density, results, start, message):
    provider = Provider(blocks, results, density, message)
    last = first + more

    ranges = list(LogRanges(provider, blocks=start).read(first, last))

    assert [block for a, b, _ in ranges for block in range(a, b + 1)] == list(range(first, last + 1))
    assert [log for _, _, logs in ranges for log in logs] == [
        (block, index) for block in range(first, last + 1) for index in range(density)
    ]


@pytest.mark.parametrize(("message", "served"), REFUSALS.items())
def test_read__refusal_of_a_provider__is_understood(message, served):
    provider = Provider(blocks=7, message=message)

    list(LogRanges(provider, blocks=100).read(0, 99))

    lengths = [last - first + 1 for first, last in provider.asked]
    assert lengths[0] == 100
    assert lengths[1] == (served or 50)


def test_read__few_logs__asks_for_more_each_time():
    provider = Provider()

    list(LogRanges(provider, blocks=10).read(0, 69))

    assert provider.asked == [(0, 9), (10, 29), (30, 69)]


def test_read__most_blocks_given__never_asks_for_more():
    provider = Provider()

    list(LogRanges(provider, blocks=10, most=15).read(0, 69))

    assert provider.asked == [(0, 9), (10, 24), (25, 39), (40, 54), (55, 69)]


def test_read__stated_cap__is_not_tried_again():
    provider = Provider(blocks=7, message="eth_getLogs is limited to a 7 range")
    ranges = LogRanges(provider, blocks=100)

    list(ranges.read(0, 99))
    provider.asked.clear()
    list(ranges.read(100, 199))

    assert max(last - first + 1 for first, last in provider.asked) == 7


def test_read__one_block_is_too_much__says_which():
    with pytest.raises(ChainError, match="logs of block 5 alone: limit exceeded"):
        list(LogRanges(Provider(results=1, density=2)).read(5, 9))


@pytest.mark.parametrize("error", [ChainError("invalid argument 0"), ChainUnavailable("cannot reach it: limit")])
def test_read__error_that_is_not_about_the_range__is_raised_at_once(error):
    asked = []

    def query(first, last):
        asked.append((first, last))
        raise error

    with pytest.raises(ChainError) as met:
        list(LogRanges(query).read(0, 9))

    assert (met.value, len(asked)) == (error, 1)


def test_read__nothing_to_read__asks_nothing():
    provider = Provider()

    assert list(LogRanges(provider).read(5, 4)) == []
    assert provider.asked == []
