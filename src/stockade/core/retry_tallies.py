"""What became of a function version's failures, counted by all workers in one place.

A tally is whole numbers by name; `stockade.retry.tallying` says which, and `stockade.retry.report`
what they mean. They are told, not decided by: what is lost while the place is away stays lost.
"""

from collections.abc import Mapping
from typing import Protocol

VersionKey = tuple[str, str, int]
"""Tenant, function, version."""
Tally = Mapping[str, int]

KEPT_MS = 30 * 24 * 3_600_000
"""How long a tally stays that nobody adds to."""
MOST_NAMES = 128
"""Of one tally."""


class RetryTallies(Protocol):
    """The tallies of all function versions, a tenant's in one place."""

    async def add(self, tallies: Mapping[VersionKey, Tally]) -> None:
        """Adds to them, each number at most once.

        Raises:
            StockadeError: `queue.unavailable`; some may have been added.
        """

    async def tally(self, tenant: str, function: str, version: int) -> dict[str, int]:
        """A version's; empty when nothing is known. What is no number is left out.

        Raises:
            StockadeError: `queue.unavailable`.
        """
