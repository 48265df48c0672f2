"""Puts a recorder together: a process that takes the history down, where there is much of it.

Any number may run, beside gateways that record or instead; each may be killed at any point.
"""

import asyncio
import signal
from contextlib import AsyncExitStack

import uvloop

from gateway.history_recorder import HistoryMeter, recording
from gateway.history_retention import pruning_history, retention_of
from gateway.settings import RecorderSettings
from stockade.infra.logging import configure_logging
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.redis_partitions import RedisPartitions
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.system_clock import SystemClock

_STOPS = (signal.SIGTERM, signal.SIGINT)


def run(settings: RecorderSettings) -> None:
    """Records until SIGTERM or SIGINT; what is under way is recorded again by another."""
    configure_logging("recorder", settings.log_level)
    uvloop.run(_record(settings))


async def _record(settings: RecorderSettings) -> None:
    stopped = asyncio.Event()
    for number in _STOPS:
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        catalog = await SqlCatalog.open(settings.database_url)
        stack.push_async_callback(catalog.aclose)
        partitions = RedisPartitions(settings.redis_url, settings.partitions)
        bounds = QueueSettings(partitions=settings.partitions)
        queue = partitions.queue(bounds)
        stack.push_async_callback(queue.aclose)
        await partitions.check()
        feeds = partitions.history_feeds(bounds, f"recorder-{SystemClock().new_id()}")
        store = catalog.history_store()
        await stack.enter_async_context(pruning_history(store, queue, retention_of(settings)))
        await stack.enter_async_context(recording(feeds, store, HistoryMeter()))
        await stopped.wait()
