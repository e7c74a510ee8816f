"""How long to wait before something that failed is tried again."""

from __future__ import annotations

_DOUBLINGS = 32  # more exceed every limit, and after some days 2.0**failures a float


def pause(failures: int, *, first: float, most: float) -> float:
    """Seconds to wait: ``first`` without failures, twice as long with each in a row, ``most`` at the longest."""
    return min(first * 2.0 ** min(failures, _DOUBLINGS), most)
