"""Turns: one module of a tenant at a time, so that what a tenant sends waits behind its own."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stockade.core.errors import StockadeError


def busy() -> StockadeError:
    """The refusal of a module whose turn does not come soon."""
    return StockadeError(
        "module.compiler_busy",
        "Many modules wait to be read or compiled, perhaps this tenant's own. Try again later.",
        retryable=True,
    )


class ModuleTurns:
    """Gives each tenant one turn at a time.

    Args:
        most_waiting: How many modules of one tenant may wait for its turn.
    """

    def __init__(self, most_waiting: int) -> None:
        self._most_waiting = most_waiting
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._present: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """The tenant's turn, for as long as the context lasts.

        Raises:
            StockadeError: `module.compiler_busy`.
        """
        if self._present[tenant] > self._most_waiting:
            raise busy()
        self._present[tenant] += 1
        try:
            async with self._turns[tenant]:
                yield
        finally:
            self._present[tenant] -= 1
            if not self._present[tenant]:
                del self._present[tenant], self._turns[tenant]
