"""Measures how late the event loop is, for as long as the gateway serves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

from gateway.metrics import GatewayMetrics

_LOOK_SECONDS = 0.25


@asynccontextmanager
async def measuring_lag(metrics: GatewayMetrics) -> AsyncIterator[None]:
    """A timer that is late inside is noted."""
    task = asyncio.ensure_future(_look_again_and_again(metrics))
    try:
        yield
    finally:
        task.cancel()


async def _look_again_and_again(metrics: GatewayMetrics) -> NoReturn:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LOOK_SECONDS
        await asyncio.sleep(_LOOK_SECONDS)
        metrics.loop_was_late(max(0.0, loop.time() - due))
