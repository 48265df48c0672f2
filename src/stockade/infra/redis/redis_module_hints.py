"""`ModuleHints` in Redis: a short stream that tells workers what was uploaded, so they compile it.

A hint may be lost, or come late: then the first run compiles the module.
"""

from stockade.core.errors import StockadeError
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_keys import RedisKeys

_KEPT = 1000
_BATCH = 100


class RedisModuleHints:
    """See `ModuleHints`; a reader begins with what is uploaded after its first look.

    Args:
        connections: To the server, closed with this.
    """

    def __init__(self, connections: RedisConnections) -> None:
        self._connections = connections
        self._stream = RedisKeys().uploads
        self._last: bytes | None = None

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._connections.close()

    async def tell(self, tenant: str, digest: str) -> None:
        """Says that a module was uploaded; trouble is nobody's."""
        try:
            await self._connections.call(
                "XADD", self._stream, "MAXLEN", "~", _KEPT, "*", "tenant", tenant, "digest", digest
            )
        except StockadeError:
            return

    async def hear(self, timeout_seconds: float) -> list[tuple[str, str]]:
        """Tenants and digests since the last look, waiting for the first up to the timeout.

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
        return [(fields[1].decode(), fields[3].decode()) for _entry, fields in entries]
