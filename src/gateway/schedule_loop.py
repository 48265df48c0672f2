"""Fires schedules for as long as the gateway serves. Every gateway does, and none leads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NoReturn

import structlog

from gateway.services import Services
from gateway.usecases.fire_schedules import fire_schedule
from gateway.usecases.resolve_function import FunctionResolver
from stockade.core.errors import StockadeError
from stockade.core.queue_clock import QueueClock

_log = structlog.get_logger()
_AT_ONCE, _AT_ONCE_OF_TENANT = 16, 4
_SET_CLOCK_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS, _SHORTEST_PAUSE_SECONDS = 1.0, 0.005


class ScheduleLoop:
    """Looks at what is due, a few schedules of each tenant at a time."""

    def __init__(self, services: Services, resolver: FunctionResolver) -> None:
        self._clock = QueueClock(services.clock, services.queue)
        self._services = replace(services, clock=self._clock)
        self._resolver = resolver
        self._clock_is_due_seconds = 0.0
        self._waits = False

    async def run(self) -> NoReturn:
        """Goes round until it is cancelled; whatever happens in one round, the next one comes.

        It rests as long as it worked, so that schedules leave half of the gateway to requests.
        """
        now_seconds = asyncio.get_running_loop().time
        while True:
            began_seconds, pause_seconds = now_seconds(), _LONGEST_PAUSE_SECONDS
            try:
                pause_seconds = await self.round()
                self._waits = False
            except StockadeError as error:
                if not self._waits:
                    _log.warning("schedules_wait", code=error.code)
                self._waits = True
            except Exception as error:  # noqa: BLE001 - schedules must not stop for one mistake
                _log.error("schedule_round_failed", exc_info=error)
            worked_seconds = now_seconds() - began_seconds
            await asyncio.sleep(max(pause_seconds, worked_seconds))

    async def round(self) -> float:
        """Makes one step of what is due; how many seconds there is nothing to do.

        Raises:
            StockadeError: `queue.unavailable` or `catalog.unavailable`.
        """
        await self._set_clock()
        store, now_ms = self._services.schedules, self._clock.now_ms()
        due = await store.due(now_ms, _AT_ONCE, _AT_ONCE_OF_TENANT)
        fired = (fire_schedule(self._services, self._resolver, one) for one in due)
        for failure in await asyncio.gather(*fired, return_exceptions=True):
            if failure is not None:
                raise failure
        next_ms = now_ms if due else await store.next_due_ms()
        if next_ms is None:
            return _LONGEST_PAUSE_SECONDS
        pause_seconds = (next_ms - self._clock.now_ms()) / 1000
        return min(max(pause_seconds, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)

    async def _set_clock(self) -> None:
        """By the queue's, which all gateways share: a wrong clock would fire for all of them."""
        now_seconds = asyncio.get_running_loop().time()
        if now_seconds >= self._clock_is_due_seconds:
            await self._clock.set()
            self._clock_is_due_seconds = now_seconds + _SET_CLOCK_SECONDS


@asynccontextmanager
async def firing_schedules(services: Services, resolver: FunctionResolver) -> AsyncIterator[None]:
    """Schedules fire inside."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(ScheduleLoop(services, resolver).run())
        try:
            yield
        finally:
            task.cancel()
