"""`RetryTallies` of one process, for tests."""

from collections import Counter
from collections.abc import Mapping

from stockade.core.retry_tallies import MOST_NAMES, Tally, VersionKey


class MemoryRetryTallies:
    """See `RetryTallies`."""

    def __init__(self) -> None:
        self.known: dict[VersionKey, Counter[str]] = {}

    async def aclose(self) -> None:
        """Nothing is open."""

    async def add(self, tallies: Mapping[VersionKey, Tally]) -> None:
        """Adds to them."""
        for key, tally in tallies.items():
            known = self.known.setdefault(key, Counter())
            for name, count in tally.items():
                if name in known or len(known) < MOST_NAMES:
                    known[name] += count

    async def tally(self, tenant: str, function: str, version: int) -> dict[str, int]:
        """A version's; empty when nothing is known."""
        return dict(self.known.get((tenant, function, version), {}))
