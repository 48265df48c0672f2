"""Callers that wait for a result, and what becomes of them when the gateway stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Waiters:
    """Whoever waits here is let go in time when the gateway stops."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Timeout] = set()
        self._let_go_at: float | None = None

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Waits inside.

        Raises:
            TimeoutError: The gateway stops.
        """
        async with asyncio.timeout_at(self._let_go_at) as scope:
            self._waiting.add(scope)
            try:
                yield
            finally:
                self._waiting.discard(scope)

    def let_go_within(self, seconds: float) -> None:
        """From `seconds` on nobody waits any more."""
        self._let_go_at = asyncio.get_running_loop().time() + seconds
        for scope in self._waiting:
            scope.reschedule(self._let_go_at)
