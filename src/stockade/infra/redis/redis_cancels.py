"""The stream of cancellations: tells workers at once what a heartbeat would tell them later."""

from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_keys import RedisKeys

_BATCH = 1000


class RedisCancels:
    """One worker's place in the partition's stream of cancelled ids; it begins at its first look.

    Args:
        connections: To the server.
        keys: The partition's keys.
    """

    def __init__(self, connections: RedisConnections, keys: RedisKeys) -> None:
        self._connections = connections
        self._stream = keys.cancels
        self._last: bytes | None = None

    async def read(self, timeout_seconds: float) -> list[str]:
        """What was cancelled since the last look, waiting for the first up to the timeout.

        Raises:
            StockadeError: `queue.unavailable`.
        """
        if self._last is None:
            newest = await self._connections.call("XREVRANGE", self._stream, "+", "-", "COUNT", 1)
            self._last = newest[0][0] if newest else b"0-0"
        block = ("BLOCK", max(1, int(timeout_seconds * 1000)))
        parts = ("XREAD", "COUNT", _BATCH, *block, "STREAMS", self._stream, self._last)
        reply = await self._connections.call(*parts, block_seconds=timeout_seconds)
        entries = reply[0][1] if reply else []
        if entries:
            self._last = entries[-1][0]
        return [fields[1].decode() for _entry, fields in entries]
