"""Where requests come from, and which sources have guessed wrong too often."""

import ipaddress
import time
from collections import OrderedDict

from starlette.requests import Request

from stockade.core.errors import StockadeError

BURST = 20
"""Failures that a source has free."""
PER_SECOND = 1 / 3
"""How fast they come back."""

_MAX_SOURCES = 10_000
_MOST_SPENT = BURST + 200
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


def parse_networks(text: str) -> Networks:
    """Networks in a comma-separated list, as `10.0.0.0/8, fd00::/8`.

    Raises:
        ValueError: When one is none.
    """
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def source_of(request: Request, proxies: Networks) -> str:
    """The address that a request counts for; of IPv6 the /64, which one host has to itself.

    The last address in `X-Forwarded-For` that is not one of ours counts, when a proxy of ours sent
    it; anything else in that header is the sender's own word.
    """
    source = request.client.host if request.client else ""
    # Some proxies add a line of their own behind the sender's: all lines are one list.
    forwarded = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    while forwarded and _within(source, proxies):
        source = forwarded.pop().strip() or source
    return _group(source)


class FailureThrottle:
    """Slows sources that present wrong credentials; each has `BURST` of them and regains slowly."""

    def __init__(self) -> None:
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, source: str) -> None:
        """Refuses a source that has none left.

        Raises:
            StockadeError: `auth.too_many_failures`.
        """
        spent = self._now_spent(source)
        if spent > BURST - 1:
            wait_ms = int((spent - (BURST - 1)) / PER_SECOND * 1000) + 1
            raise StockadeError(
                "auth.too_many_failures",
                "Too many wrong credentials came from your address. Check yours, and wait.",
                retryable=True,
                detail={"retry_after_ms": wait_ms},
            )

    def failed(self, source: str) -> None:
        """Counts a wrong credential."""
        spent = min(self._now_spent(source) + 1, _MOST_SPENT)
        self._spent[source] = spent, time.monotonic()
        self._spent.move_to_end(source)
        if len(self._spent) > _MAX_SOURCES:
            self._spent.popitem(last=False)

    def _now_spent(self, source: str) -> float:
        spent, since = self._spent.get(source, (0.0, 0.0))
        return max(0.0, spent - (time.monotonic() - since) * PER_SECOND)


def _within(address: str, networks: Networks) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def _group(address: str) -> str:
    parsed = _parsed(address)
    if parsed is None:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _parsed(address: str) -> _Address | None:
    """The address; one of IPv4 in IPv6 clothes (`::ffff:10.0.0.1`) as what it is."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed
