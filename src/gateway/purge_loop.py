"""Purges deleted functions whose grace is over, for as long as the gateway serves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import structlog

from gateway.services import Services
from gateway.usecases.delete_function import purge_functions
from stockade.core.errors import StockadeError

PURGE_SECONDS = 60.0

_log = structlog.get_logger()


@asynccontextmanager
async def purging_functions(services: Services) -> AsyncIterator[None]:
    """What is over is purged inside. Every gateway does it, and none leads."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_purge_again_and_again(services))
        try:
            yield
        finally:
            task.cancel()


async def purge_once(services: Services) -> None:
    """Purges now; what cannot be purged waits for the next time."""
    try:
        purged = await purge_functions(services)
    except StockadeError as error:
        _log.warning("purge_waits", code=error.code)
    except Exception as error:  # noqa: BLE001 - the gateway must not stop for one mistake
        _log.error("purge_failed", exc_info=error)
    else:
        if purged:
            _log.info("functions_purged", count=purged)


async def _purge_again_and_again(services: Services) -> NoReturn:
    while True:
        await purge_once(services)
        await asyncio.sleep(PURGE_SECONDS)
