"""Reading logs in ranges an endpoint is willing to serve.

Providers cap the blocks of a request, its results, its size or its time, and say so in words of their own; some add
which range they would have served. A range is halved, or set to what was suggested, until it passes, and grows again
where logs are few.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from oracle.jobs.errors import ChainError, ChainUnavailable

START_BLOCKS = 2_000
MOST_BLOCKS = 100_000
FEW_LOGS = 1_000  # a range with fewer may be twice as long the next time

_TOO_MUCH = re.compile(
    r"more than|too many|too large|too wide|too big|too long|exceed|limit|range|response size|timed? ?out|413"
    r"|maximum|results|reduce|narrow",
    re.IGNORECASE,
)
_SUGGESTED = re.compile(r"(0x[0-9a-f]+)\s*(?:,|-|to)\s*(0x[0-9a-f]+)", re.IGNORECASE)
_CAP = re.compile(
    r"(\d[\d,_ ]*\d|\d)\s*k?\s*-?\s*(?:blocks?|block range|range)\b|range[^\d]{0,40}?(\d[\d,]*)", re.IGNORECASE
)

Query = Callable[[int, int], list[Any]]


class LogRanges:
    """Remembers how long a range may be, ``most`` blocks at the longest.

    ``query(first, last)`` asks for the logs of both blocks and those between.
    """

    def __init__(self, query: Query, *, blocks: int = START_BLOCKS, most: int = MOST_BLOCKS):
        self._query = query
        self._blocks = min(blocks, most)
        self._cap = most

    def read(self, first: int, last: int) -> Iterator[tuple[int, int, list[Any]]]:
        """``(first, last, logs)`` of consecutive ranges that cover the blocks asked for, each once, in order.

        Raises :class:`ChainError` if the endpoint cannot even serve one block.
        """
        while first <= last:
            until = min(first + self._blocks - 1, last)
            try:
                logs = self._query(first, until)
            except ChainUnavailable:
                raise
            except ChainError as err:
                self._shrink(first, until, err)
                continue
            yield first, until, logs
            if len(logs) < FEW_LOGS:
                self._blocks = min(self._blocks * 2, self._cap)
            first = until + 1

    def _shrink(self, first: int, until: int, err: ChainError) -> None:
        """Choose a shorter range, or raise if ``err`` is not about the range or there is no shorter one."""
        asked = until - first + 1
        if not _TOO_MUCH.search(err.message):
            raise err
        if asked == 1:
            raise ChainError(
                f"the endpoint cannot serve the logs of block {first} alone: {err.message}", remedy="use another one"
            ) from err
        self._blocks = max(1, min(_suggestion(err.message, first, asked), asked - 1))
        if cap := _stated_cap(err.message, asked):
            self._cap = cap


def _suggestion(message: str, first: int, asked: int) -> int:
    """How many blocks the provider says would pass, else half of what was asked for."""
    if found := _SUGGESTED.search(message):
        start, end = (int(text, 16) for text in found.groups())
        if start == first and start <= end < first + asked:
            return end - start + 1
    return _stated_cap(message, asked) or asked // 2


def _stated_cap(message: str, asked: int) -> int | None:
    """The number of blocks a provider names as its limit; nothing that would not have made the request shorter."""
    for found in _CAP.finditer(message):
        digits = re.sub(r"[^\d]", "", found[1] or found[2])
        number = int(digits[:9]) * (1_000 if "k" in found[0].lower().split("block")[0] else 1)
        if 0 < number < asked:
            return number
    return None
