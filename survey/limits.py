"""Rate limits per address, in memory."""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["RateLimit", "network_of"]

_MOST_ADDRESSES = 20_000


class RateLimit:
    """A bucket of tokens for each address, which fills up at a steady rate.

    Args:
        per_second: tokens that come back; 0 never refuses.
        burst: tokens of a full bucket.
        clock: gives seconds; never goes back.
    """

    def __init__(
        self, per_second: float, burst: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, address: str, *, cost: float = 1.0) -> float:
        """Take ``cost`` tokens for ``address``; return 0, or the seconds until there are enough."""
        if self._per_second <= 0:
            return 0.0
        now = self._clock()
        with self._lock:
            tokens, since = self._buckets.pop(address, (self._burst, now))
            tokens = min(self._burst, tokens + (now - since) * self._per_second)
            allowed = tokens >= cost
            self._buckets[address] = (tokens - cost * allowed, now)
            # The address that was silent for longest has the fullest bucket to lose.
            if len(self._buckets) > _MOST_ADDRESSES:
                self._buckets.popitem(last=False)
        return 0.0 if allowed else (cost - tokens) / self._per_second


def network_of(address: str | None) -> str:
    """Return what counts as one address: of IPv6, the network of 64 bits that one line gets.

    >>> network_of("192.0.2.7"), network_of("2001:db8::1:2")
    ('192.0.2.7', '2001:db8::/64')
    """
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
