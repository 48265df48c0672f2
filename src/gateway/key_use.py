"""Notes when keys were last used, in bundles, and sweeps those that ended, beside all requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import structlog

from gateway.auth import Authenticator
from stockade.core.errors import StockadeError
from stockade.core.ports import Catalog, Clock, KeyStore

NOTE_SECONDS = 30.0
"""How far behind the catalog may be."""

KEPT_SECONDS = 3600.0
"""How long a job's key stays in the list after its end."""

KEY_KEPT_SECONDS = 30 * 24 * 3600.0
"""How long any other does; the audit log names it for longer."""

_SWEPT_AT_ONCE = 1000

_log = structlog.get_logger()


@asynccontextmanager
async def noting_use(
    catalog: Catalog, authenticator: Authenticator, clock: Clock
) -> AsyncIterator[None]:
    """Uses are noted inside, and once more at the end."""
    try:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(_keep_house(catalog, authenticator, clock))
            try:
                yield
            finally:
                task.cancel()
    finally:
        await note_use(catalog, authenticator)


async def note_use(keys: KeyStore, authenticator: Authenticator) -> None:
    """Notes what was used since the last time; what cannot be noted now waits for the next."""
    used = authenticator.take_used()
    try:
        await keys.touch_keys(used)
    except StockadeError as error:
        authenticator.give_back(used)
        _log.warning("key_use_waits", code=error.code)
    except asyncio.CancelledError:
        authenticator.give_back(used)
        raise


async def sweep(catalog: Catalog, clock: Clock) -> None:
    """Deletes keys a while after their end; what fails is done the next time."""
    now_ms = clock.now_ms()
    try:
        await catalog.sweep_workloads(now_ms - int(KEPT_SECONDS * 1000))
        await catalog.sweep_keys(now_ms - int(KEY_KEPT_SECONDS * 1000), _SWEPT_AT_ONCE)
    except StockadeError as error:
        _log.warning("sweep_waits", code=error.code)


async def _keep_house(catalog: Catalog, authenticator: Authenticator, clock: Clock) -> NoReturn:
    while True:
        await asyncio.sleep(NOTE_SECONDS)
        await note_use(catalog, authenticator)
        await sweep(catalog, clock)
