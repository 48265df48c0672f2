"""Notes when keys were last used, in bundles: no request waits for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import structlog

from gateway.auth import Authenticator
from stockade.core.errors import StockadeError
from stockade.core.ports import KeyStore

NOTE_SECONDS = 30.0
"""How far behind the catalog may be."""

_log = structlog.get_logger()


@asynccontextmanager
async def noting_use(keys: KeyStore, authenticator: Authenticator) -> AsyncIterator[None]:
    """Uses are noted inside, and once more at the end."""
    try:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(_note_again_and_again(keys, authenticator))
            try:
                yield
            finally:
                task.cancel()
    finally:
        await note_use(keys, authenticator)


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


async def _note_again_and_again(keys: KeyStore, authenticator: Authenticator) -> NoReturn:
    while True:
        await asyncio.sleep(NOTE_SECONDS)
        await note_use(keys, authenticator)
