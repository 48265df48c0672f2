"""`CatalogChanges` in Redis: a short stream that every process reads from where it was."""

from stockade.core.catalog_changes import ANYTHING, CatalogChange, ChangeKind
from stockade.core.errors import StockadeError
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_keys import RedisKeys

_KEPT = 10_000
_BATCH = 1000


class RedisCatalogChanges:
    """See `CatalogChanges`; what was trimmed before it was read is heard as `ANYTHING`.

    Args:
        connections: To the server, closed with this. Who announces waits no longer than these.
    """

    def __init__(self, connections: RedisConnections) -> None:
        self._connections = connections
        self._stream = RedisKeys().changes
        self._last: bytes | None = None

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._connections.close()

    async def announce(self, change: CatalogChange) -> None:
        """Tells the other processes; trouble is nobody's, for they ask anew in some seconds."""
        fields = ("kind", change.kind, "tenant", change.tenant, "name", change.name)
        try:
            await self._connections.call("XADD", self._stream, "MAXLEN", "~", _KEPT, "*", *fields)
        except StockadeError:
            return

    async def hear(self, timeout_seconds: float) -> list[CatalogChange]:
        """What was announced since the last time, waiting for the first up to the timeout.

        Raises:
            StockadeError: `queue.unavailable`.
        """
        last, self._last = self._last, None
        if last is None:
            newest = await self._connections.call("XREVRANGE", self._stream, "+", "-", "COUNT", 1)
            self._last = newest[0][0] if newest else b"0-0"
            return [ANYTHING]
        entries = await self._read(last, timeout_seconds)
        self._last = entries[-1][0] if entries else last
        if len(entries) == _BATCH:
            # So far behind, some may have been trimmed; all at once costs less than one by one.
            self._last = None
        return [_change(fields) for _entry, fields in entries]

    async def _read(self, last: bytes, timeout_seconds: float) -> list[tuple[bytes, list[bytes]]]:
        block = ("BLOCK", max(1, int(timeout_seconds * 1000)))
        parts = ("XREAD", "COUNT", _BATCH, *block, "STREAMS", self._stream, last)
        reply = await self._connections.call(*parts, block_seconds=timeout_seconds)
        entries: list[tuple[bytes, list[bytes]]] = reply[0][1] if reply else []
        return entries


def _change(fields: list[bytes]) -> CatalogChange:
    """An announcement; of a kind that a newer release has, it may be about anything."""
    kind, tenant, name = (field.decode(errors="replace") for field in fields[1:6:2])
    try:
        return CatalogChange(ChangeKind(kind), tenant, name)
    except ValueError:
        return ANYTHING
