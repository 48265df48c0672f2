"""Writes to the one database, of all stores of this process in turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from stockade.infra.catalog_values import no_tenant
from stockade.infra.sql.sql_engine import catalog_failures, writing


class SqlWriter:
    """Opens transactions that write; shared by the stores of one engine."""

    def __init__(self, engine: AsyncEngine, busy_timeout_seconds: float) -> None:
        self._engine = engine
        self._busy_timeout_seconds = busy_timeout_seconds
        # SQLite has one writer; queueing here is fair, where its busy handler polls.
        self._turn = asyncio.Lock() if engine.dialect.name == "sqlite" else None

    @asynccontextmanager
    async def writing(self, tenant: str = "") -> AsyncIterator[AsyncConnection]:
        """A write, most for one tenant; the constraint left to break is that the tenant exists.

        Raises:
            StockadeError: `tenant.not_found`, or the catalog's own trouble.
        """
        try:
            async with self._my_turn(), writing(self._engine) as connection:
                yield connection
        except IntegrityError as error:
            raise no_tenant(tenant) from error

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        """Waits for this process's other writers, no longer than for other processes."""
        if self._turn is None:
            yield
            return
        with catalog_failures():
            async with asyncio.timeout(self._busy_timeout_seconds):
                await self._turn.acquire()
        try:
            yield
        finally:
            self._turn.release()
