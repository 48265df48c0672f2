"""`CatalogChanges` within one process, for tests."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from stockade.core.catalog_changes import ANYTHING, CatalogChange


class MemoryCatalogChanges:
    """See `CatalogChanges`; hears what its `peer` and itself announce."""

    def __init__(self, peer: Self | None = None) -> None:
        self.told: list[CatalogChange] = [] if peer is None else peer.told
        self.news: asyncio.Event = asyncio.Event() if peer is None else peer.news
        self._heard: int | None = None

    async def announce(self, change: CatalogChange) -> None:
        """Tells all who hear."""
        self.told.append(change)
        self.news.set()

    async def hear(self, timeout_seconds: float) -> Sequence[CatalogChange]:
        """What was announced since the last time, waiting for the first up to the timeout."""
        heard = self._heard
        if heard is None:
            self._heard = len(self.told)
            return (ANYTHING,)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while len(self.told) == heard:
                    self.news.clear()
                    await self.news.wait()
        self._heard = len(self.told)
        return tuple(self.told[heard:])
