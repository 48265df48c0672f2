"""What this gateway remembers of the catalog: dropped when it changes, here or elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import structlog

from gateway.auth import Authenticator
from gateway.usecases.resolve_function import FunctionResolver
from stockade.core.catalog_changes import ANYTHING, CatalogChange, CatalogChanges, ChangeKind
from stockade.core.errors import StockadeError

_LISTEN_SECONDS = 5.0
_AGAIN_SECONDS = 1.0

_log = structlog.get_logger()


class CatalogMemory:
    """The one place that knows who remembers what."""

    def __init__(
        self, authenticator: Authenticator, resolver: FunctionResolver, changes: CatalogChanges
    ) -> None:
        self._authenticator = authenticator
        self.resolver = resolver
        self._changes = changes

    async def changed(self, kind: ChangeKind, tenant: str, name: str = "") -> None:
        """Drops what is remembered of it, and has the other processes do the same.

        Called behind every write to the catalog, when it is committed.
        """
        change = CatalogChange(kind, tenant, name)
        self.forget(change)
        await self._changes.announce(change)

    def forget(self, change: CatalogChange) -> None:
        """Drops what the change is about."""
        match change.kind:
            case ChangeKind.KEY:
                self._authenticator.forget(change.name)
            case ChangeKind.FUNCTION:
                self.resolver.forget(change.tenant, change.name)
            case ChangeKind.TRUST:
                return  # workers alone remember it
            case ChangeKind.ANYTHING:
                self._authenticator.forget_all()
                self.resolver.forget_all()

    async def follow(self) -> NoReturn:
        """Hears of what others change, for ever; what it misses ends with its time."""
        while True:
            try:
                for change in await self._changes.hear(_LISTEN_SECONDS):
                    self.forget(change)
            except StockadeError as error:
                _log.warning("changes_not_heard", code=error.code)
                self.forget(ANYTHING)
                await asyncio.sleep(_AGAIN_SECONDS)


@asynccontextmanager
async def following(memory: CatalogMemory) -> AsyncIterator[None]:
    """Changes are heard inside."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(memory.follow())
        try:
            yield
        finally:
            task.cancel()
