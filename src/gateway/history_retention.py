"""Deletes what the history has kept for as long as the operator wants it, a bounded number at once.

Time is the queue's, which all processes share: a gateway whose clock is ahead deletes nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn, Protocol

import structlog

from gateway.settings import HistorySettings
from stockade.core.errors import StockadeError
from stockade.core.history import DAY_MS, HistoryStore
from stockade.core.history_rows import day_of

PRUNE_SECONDS = 600.0
_AT_ONCE = 1000
_REST_SECONDS = 0.05

_log = structlog.get_logger()


class QueueTime(Protocol):
    """Whoever knows the queue's time."""

    async def time_ms(self) -> int:
        """Unix time in milliseconds."""


@dataclass(frozen=True, slots=True)
class HistoryRetention:
    """For how many days runs with their attempts are kept, and usage; 0 for ever."""

    run_days: int
    usage_days: int


def retention_of(settings: HistorySettings) -> HistoryRetention:
    """What the settings say."""
    return HistoryRetention(settings.history_retention_days, settings.usage_retention_days)


async def prune(store: HistoryStore, time: QueueTime, retention: HistoryRetention) -> int:
    """Deletes what is too old; how many rows.

    Raises:
        StockadeError: `queue.unavailable` or `catalog.…`.
    """
    count, now_ms = 0, await time.time_ms()
    if retention.run_days:
        while deleted := await store.prune(now_ms - retention.run_days * DAY_MS, _AT_ONCE):
            count += deleted
            await asyncio.sleep(_REST_SECONDS)
    if retention.usage_days:
        first_day = day_of(now_ms) - retention.usage_days
        while deleted := await store.prune_usage(first_day, _AT_ONCE):
            count += deleted
            await asyncio.sleep(_REST_SECONDS)
    return count


@asynccontextmanager
async def pruning_history(
    store: HistoryStore, time: QueueTime, retention: HistoryRetention
) -> AsyncIterator[None]:
    """Old rows go inside. Every gateway does it, and none leads."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_prune_again_and_again(store, time, retention))
        try:
            yield
        finally:
            task.cancel()


async def _prune_again_and_again(
    store: HistoryStore, time: QueueTime, retention: HistoryRetention
) -> NoReturn:
    while True:
        try:
            count = await prune(store, time, retention)
        except StockadeError as error:
            _log.warning("history_prune_waits", code=error.code)
        except Exception as error:  # noqa: BLE001 - the gateway must not stop for one mistake
            _log.error("history_prune_failed", exc_info=error)
        else:
            if count:
                _log.info("history_pruned", count=count)
        await asyncio.sleep(PRUNE_SECONDS)
