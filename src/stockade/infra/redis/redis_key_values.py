"""`KeyValueStore` in Redis: one hash for each tenant, in the tenant's own partition."""

from collections.abc import Callable, Sequence

from stockade.core.errors import StockadeError
from stockade.core.key_values import KeyValueQuota, full, not_a_number, overflow
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.redis_connection import RedisConnections, RedisScript
from stockade.infra.redis.redis_keys import RedisKeys, partition_of

_SCRIPT = RedisScript.load("key_values")
_QUOTA = -1
_REFUSALS: dict[int, Callable[[KeyValueQuota], StockadeError]] = {
    _QUOTA: full,
    -2: lambda _quota: not_a_number(),
    -3: lambda _quota: overflow(),
}
_COMMON = QueueSettings().common


class RedisKeyValueStore:
    """See `KeyValueStore`.

    Args:
        connections: To each partition's server, closed with this store.
        quota: What a tenant may keep.
    """

    def __init__(self, connections: Sequence[RedisConnections], quota: KeyValueQuota) -> None:
        self._connections = connections
        self._quota = quota

    async def aclose(self) -> None:
        """Closes the connections."""
        for connections in self._connections:
            await connections.close()

    async def get(self, tenant: str, namespace: str, key: str) -> bytes | None:
        """The value, or None."""
        answer = await self._run(tenant, "get", tenant, _name(namespace, key))
        return answer[1] if answer[0] else None  # type: ignore[return-value] # the bytes

    async def set(
        self, tenant: str, namespace: str, key: str, value: bytes, ttl_seconds: int
    ) -> None:
        """Sets the value, for so many seconds or (0) for good."""
        self._quota.check_value(value)
        parts = (tenant, _name(namespace, key), value, ttl_seconds * 1000, *self._bounds)
        answer = await self._run(tenant, "set", *parts)
        if answer[0] == _QUOTA:
            raise full(self._quota)

    async def delete(self, tenant: str, namespace: str, key: str) -> bool:
        """Deletes the value; False when there was none."""
        return bool((await self._run(tenant, "delete", tenant, _name(namespace, key)))[0])

    async def add(self, tenant: str, namespace: str, key: str, delta: int) -> int:
        """Adds to the number that the value is, absent counting as 0; the sum."""
        # Never sent twice: an answer that was lost on its way would count double.
        connections, prefix = self._place(tenant)
        answer = await connections.run_once(
            _SCRIPT,
            prefix,
            *_COMMON,
            *("add", tenant, _name(namespace, key), delta, *self._bounds),
        )
        if refuse := _REFUSALS.get(answer[0]):
            raise refuse(self._quota)
        return int(answer[1])

    async def clear(self, tenant: str) -> None:
        """Deletes all that a tenant keeps."""
        await self._run(tenant, "clear", tenant, "")

    @property
    def _bounds(self) -> tuple[int, int]:
        return self._quota.max_keys, self._quota.max_bytes

    async def _run(self, tenant: str, *parts: str | bytes | int) -> list[int | bytes]:
        connections, prefix = self._place(tenant)
        answer: list[int | bytes] = await connections.run(_SCRIPT, prefix, *_COMMON, *parts)
        return answer

    def _place(self, tenant: str) -> tuple[RedisConnections, str]:
        partition = partition_of(tenant, len(self._connections))
        return self._connections[partition], RedisKeys(partition).prefix


def _name(namespace: str, key: str) -> str:
    return f"{namespace}/{key}"
