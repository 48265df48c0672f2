"""Waiting for invocations: one reader of the gateway's hints, and a place for each waiter.

A hint only says that a record changed, and may be lost. So a waiter that was not there before its
submission, a reader that was cut off, and a wait that runs out all look at the record, which is the
truth.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from stockade.core.errors import StockadeError
from stockade.infra.redis.redis_connection import RedisConnections

_BLOCK_SECONDS = 5.0
_BATCH = 1000

DoneCheck = Callable[[str, str], Awaitable[bool | None]]


@dataclass(slots=True)
class _Place:
    tenant: str
    done: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0


class RedisReplies:
    """The waiters of one gateway.

    Args:
        connections: Where the stream is read.
        stream: The gateway's hint stream, whose name no other process uses.
        check: Says whether an invocation is done, None when the tenant has none such.
        limit: How many places are kept for invocations nobody waits for yet; the oldest go first.
    """

    def __init__(
        self, connections: RedisConnections, stream: str, check: DoneCheck, limit: int
    ) -> None:
        self._connections = connections
        self._stream = stream
        self._check = check
        self._limit = limit
        self._places: dict[str, _Place] = {}
        self._reader: asyncio.Task[None] | None = None
        self._last = b"0-0"

    def expect(self, tenant: str, invocation_id: str) -> None:
        """Keeps a place for an invocation before it is submitted: no hint passes unseen."""
        self._start_reader()
        if len(self._places) >= self._limit:
            self._evict()
        self._places.setdefault(invocation_id, _Place(tenant))

    def forget(self, invocation_id: str) -> None:
        """Gives up a place that nobody waits at."""
        place = self._places.get(invocation_id)
        if place is not None and not place.waiting:
            del self._places[invocation_id]

    async def wait(self, tenant: str, invocation_id: str, timeout_seconds: float) -> bool:
        """Whether it is done within the timeout; False at once when the tenant has none such."""
        self._start_reader()
        place = self._places.get(invocation_id)
        if place is None or place.tenant != tenant:
            return await self._wait_looking(tenant, invocation_id, timeout_seconds)
        place.waiting += 1
        try:
            async with asyncio.timeout(timeout_seconds):
                await place.done.wait()
        except TimeoutError:
            return await self._check(tenant, invocation_id) is True
        else:
            return True
        finally:
            place.waiting -= 1
            self.forget(invocation_id)

    async def close(self) -> None:
        """Stops the reader."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    async def _wait_looking(self, tenant: str, invocation_id: str, timeout_seconds: float) -> bool:
        # The hint may go to another gateway, or have passed: look at the record, less and less
        # often.
        loop = asyncio.get_running_loop()
        give_up, pause = loop.time() + timeout_seconds, 0.02
        while True:
            done = await self._check(tenant, invocation_id)
            left = give_up - loop.time()
            if done is not False or left <= 0:
                return done is True
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, 1.0)

    def _evict(self) -> None:
        idle = next((key for key, place in self._places.items() if not place.waiting), None)
        if idle is not None:
            del self._places[idle]

    def _start_reader(self) -> None:
        if self._reader is None or self._reader.done():
            self._reader = asyncio.get_running_loop().create_task(self._read_hints())

    async def _read_hints(self) -> None:
        cut_off = False
        while True:
            try:
                await self._read_once(block_seconds=0.0 if cut_off else _BLOCK_SECONDS)
                if cut_off:
                    await self._look_at_all()
                cut_off = False
            except StockadeError:
                cut_off = True
                await asyncio.sleep(random.uniform(0.02, 0.2))  # noqa: S311 - spreads reconnects

    async def _read_once(self, block_seconds: float) -> None:
        block = ("BLOCK", int(block_seconds * 1000)) if block_seconds else ()
        parts = ("XREAD", "COUNT", _BATCH, *block, "STREAMS", self._stream, self._last)
        reply = await self._connections.call(*parts, block_seconds=block_seconds)
        for entry, fields in reply[0][1] if reply else ():
            self._last = entry
            place = self._places.get(fields[1].decode())
            if place is not None:
                place.done.set()

    async def _look_at_all(self) -> None:
        # Hints may be lost: look for those who wait; who comes later will look for himself.
        for invocation_id, place in list(self._places.items()):
            if not place.waiting:
                self.forget(invocation_id)
            elif await self._check(place.tenant, invocation_id):
                place.done.set()
