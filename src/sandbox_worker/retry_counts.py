"""What became of retries in this worker, told to the tallies of all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from stockade.core.errors import StockadeError, code_of
from stockade.core.invocations import Claim, Completion
from stockade.core.retry_tallies import RetryTallies, VersionKey
from stockade.retry.tallying import tallied

MOST_VERSIONS = 10_000
"""Function versions whose counts wait to be told; those that waited longest go first."""
TELL_SECONDS = 5.0
_log = structlog.get_logger()


class RetryCounts:
    """Counts by the names of `stockade.retry.tallying`, until they are told.

    `dropped` counts versions whose counts never were.
    """

    def __init__(self, most: int = MOST_VERSIONS) -> None:
        self.dropped = 0
        self._most = most
        self._waiting: dict[VersionKey, dict[str, int]] = {}

    def count(self, claim: Claim, completion: Completion) -> None:
        """Counts a recorded end."""
        of = claim.invocation
        key = (of.tenant, of.function, of.version)
        if key not in self._waiting:
            if len(self._waiting) >= self._most:
                del self._waiting[next(iter(self._waiting))]
                self.dropped += 1
            self._waiting[key] = {}
        sums = self._waiting[key]
        for name, count in tallied(claim, completion).items():
            sums[name] = sums.get(name, 0) + count

    async def tell(self, tallies: RetryTallies) -> None:
        """Adds what waits to the tallies. What fails is lost: sent again it might count twice."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        try:
            await tallies.add(waiting)
        except (StockadeError, RuntimeError) as error:
            self.dropped += len(waiting)
            _log.warning("retry_counts_lost", code=code_of(error), versions=len(waiting))


@asynccontextmanager
async def telling_tallies(
    counts: RetryCounts, tallies: RetryTallies, seconds: float = TELL_SECONDS
) -> AsyncIterator[None]:
    """Tells the tallies what was counted, every few seconds and at the end."""

    async def tell_on() -> None:
        while True:
            await asyncio.sleep(seconds)
            await counts.tell(tallies)

    task = asyncio.ensure_future(tell_on())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await counts.tell(tallies)
