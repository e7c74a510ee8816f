"""How much each client of a server may ask for: token buckets, bounded in number."""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

MAX_CLIENTS = 10_000


class Allowance:
    """``rate`` units a second for each client, and ``burst`` at once. ``clock`` is in seconds.

    A cost is often known only afterwards, so a client may overdraw once and then waits until it is even.
    """

    def __init__(self, rate: float, burst: float, *, clock: Callable[[], float] = monotonic):
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()  # units left at a time

    def wait(self, client: str) -> float:
        """Seconds until the client may ask again; 0 if it may now."""
        with self._lock:
            left = self._left(client)
        return max(0.0, -left / self._rate) if left <= 0 else 0.0

    def spend(self, client: str, cost: float) -> None:
        """Take ``cost`` units off what the client has left."""
        with self._lock:
            self._known[client] = (self._left(client) - cost, self._clock())
            self._known.move_to_end(client)
            if len(self._known) > MAX_CLIENTS:
                self._known.popitem(last=False)

    def _left(self, client: str) -> float:
        left, then = self._known.get(client, (self._burst, self._clock()))
        return min(self._burst, left + (self._clock() - then) * self._rate)


def client_of(address: str) -> str:
    """Who counts as one client: an IPv4 address, or an IPv6 network of 64 bits, which one subscriber owns whole."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
