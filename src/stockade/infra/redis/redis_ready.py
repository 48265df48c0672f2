"""The ready stream as one worker sees it: what it claims, takes over and gets back."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.redis_connection import (
    GroupMissingError,
    Part,
    RedisConnections,
    RedisScript,
)
from stockade.infra.redis.redis_keys import GROUP, RedisKeys
from stockade.infra.redis.redis_records import claim_from_entry, claim_from_row

_CREATE_GROUP = RedisScript.load("create_group")
_RECLAIM = RedisScript.load("reclaim")
_RECOVER = RedisScript.load("recover")


class RedisReadyStream:
    """One consumer of one partition's ready stream.

    Args:
        connections: To the server.
        keys: The partition's keys.
        consumer: The worker's name, new at each start.
        settings: Of the queue.
    """

    def __init__(
        self,
        connections: RedisConnections,
        keys: RedisKeys,
        consumer: str,
        settings: QueueSettings,
    ) -> None:
        self._connections = connections
        self._keys = keys
        self._consumer = consumer
        self._settings = settings
        self._held: set[str] = set()
        self._reading = 0
        self._reply_lost = False
        self._seen: bytes | None = None
        self._recovering = asyncio.Lock()

    async def claim(self, count: int, timeout_seconds: float) -> list[Claim]:
        """Up to `count` entries, waiting for the first up to the timeout."""
        async with self._recovering:
            found = await self._recover(count)
            if found:
                return found
            self._reading += 1
        try:
            return self._hold(await self._read_or_create(count, timeout_seconds))
        except StockadeError:
            self._reply_lost = True
            # Claims come in a loop: without a pause it would spin until the server is back.
            await asyncio.sleep(min(timeout_seconds, random.uniform(0.05, 0.25)))  # noqa: S311
            raise
        except asyncio.CancelledError:
            self._reply_lost = True
            raise
        finally:
            self._reading -= 1

    async def await_more(self, timeout_seconds: float) -> bool:
        """Waits until an entry was added since the last look, up to the timeout; takes nothing.

        The first look answers at once, since there may be something.
        """
        if self._seen is not None:
            block = ("BLOCK", max(1, int(timeout_seconds * 1000)))
            parts = ("XREAD", "COUNT", 1, *block, "STREAMS", self._keys.ready, self._seen)
            if not await self._connections.call(*parts, block_seconds=timeout_seconds):
                return False
        newest = await self._connections.call("XREVRANGE", self._keys.ready, "+", "-", "COUNT", 1)
        self._seen = newest[0][0] if newest else b"0-0"
        return True

    async def reclaim(self, count: int) -> list[Claim]:
        """Entries whose lease ran out, now under this worker's name."""
        async with self._recovering:  # what is recovered meanwhile must not be these
            self._reading += 1
        try:
            rows = await self._with_group(
                self._connections.run_once, _RECLAIM, self._consumer, self._settings.lease_ms, count
            )
        except (StockadeError, asyncio.CancelledError):
            self._reply_lost = True
            raise
        finally:
            self._reading -= 1
        return self._hold([claim_from_row(row) for row in rows])

    def release(self, entry: str) -> None:
        """Forgets an entry that is finished or no longer held."""
        self._held.discard(entry)

    async def run(self, script: RedisScript, *arguments: Part) -> Any:  # noqa: ANN401 - any reply
        """Runs a script that needs the consumer group, which a loss of data takes away."""
        return await self._with_group(self._connections.run, script, *arguments)

    async def _with_group(
        self, run: Callable[..., Awaitable[Any]], script: RedisScript, *arguments: Part
    ) -> Any:  # noqa: ANN401
        parts = (script, self._keys.prefix, *self._settings.common, *arguments)
        try:
            return await run(*parts)
        except GroupMissingError:
            await self._create_group()
            return await run(*parts)

    async def _read_or_create(self, count: int, timeout_seconds: float) -> list[Claim]:
        try:
            return await self._read(count, timeout_seconds)
        except GroupMissingError:
            await self._create_group()
            return await self._read(count, timeout_seconds)

    async def _read(self, count: int, timeout_seconds: float) -> list[Claim]:
        block = ("BLOCK", max(1, int(timeout_seconds * 1000))) if timeout_seconds > 0 else ()
        read = ("XREADGROUP", "GROUP", GROUP, self._consumer, "COUNT", count, *block)
        parts = (*read, "STREAMS", self._keys.ready, ">")
        reply = await self._connections.call(*parts, block_seconds=timeout_seconds)
        entries = reply[0][1] if reply else ()
        return [claim_from_entry(entry, fields) for entry, fields in entries]

    async def _recover(self, count: int) -> list[Claim]:
        # A reply that was cut off on its way left entries under our name that nobody works on.
        # While another read is under way, its entries would look the same: then a later claim
        # recovers.
        if not self._reply_lost or self._reading:
            return []
        rows = await self.run(_RECOVER, self._consumer, count, *self._held)
        self._reply_lost = len(rows) == count
        return self._hold([claim_from_row(row) for row in rows])

    async def _create_group(self) -> None:
        common = self._settings.common
        await self._connections.run(_CREATE_GROUP, self._keys.prefix, *common)

    def _hold(self, claims: list[Claim]) -> list[Claim]:
        self._held.update(claim.entry for claim in claims)
        return claims
