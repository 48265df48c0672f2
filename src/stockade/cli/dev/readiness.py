"""Whether the parts of `stockade dev` can serve: the gateway says so, a worker announced itself."""

import asyncio

import httpx

from stockade.core.errors import StockadeError
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_keys import RedisKeys
from stockade_client import AsyncClient

_FIRST_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.02, 0.5
_PATIENCE_SECONDS = 120.0


class WorkerPresence:
    """Tells new workers from those that an earlier run left in the books.

    Args:
        redis_url: The queue's server.
    """

    def __init__(self, redis_url: str) -> None:
        self._connections = RedisConnections(redis_url)
        self._key = RedisKeys().prefix + "workers"
        self._before: frozenset[bytes] = frozenset()

    async def look_before_start(self) -> None:
        """Remembers who is in the books already."""
        self._before = await self._names()

    async def any_new(self) -> bool:
        """Whether a worker announced itself since then."""
        try:
            return bool(await self._names() - self._before)
        except StockadeError:
            return False

    async def aclose(self) -> None:
        """Closes the connection."""
        await self._connections.close()

    async def _names(self) -> frozenset[bytes]:
        return frozenset(await self._connections.call("ZRANGE", self._key, 0, -1))


async def until_ready(url: str, workers: WorkerPresence) -> None:
    """Waits until the gateway and a worker can serve.

    Raises:
        StockadeError: `dev.not_ready` when that takes too long.
    """
    # A transport of its own: no proxy of the environment stands between.
    async with AsyncClient(url, transport=httpx.AsyncHTTPTransport()) as client:
        try:
            await asyncio.wait_for(_look_again(client, workers), _PATIENCE_SECONDS)
        except TimeoutError:
            raise StockadeError(
                "dev.not_ready",
                f"Gateway and worker did not get ready in {_PATIENCE_SECONDS:.0f} seconds. Their "
                "logs above say why.",
                retryable=True,
            ) from None


async def _look_again(client: AsyncClient, workers: WorkerPresence) -> None:
    pause = _FIRST_LOOK_SECONDS
    while not (await workers.any_new() and (await client.health()).ready):
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_LOOK_SECONDS)
