"""`RetryTallies` in Redis: one hash for each function version, in the tenant's own partition."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from stockade.core.retry_tallies import KEPT_MS, MOST_NAMES, Tally, VersionKey
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.redis_connection import Part, RedisConnections, RedisScript
from stockade.infra.redis.redis_keys import RedisKeys, partition_of

_SCRIPT = RedisScript.load("retry_tallies")
_COMMON = QueueSettings().common
_MOST_DIGITS = 19


class RedisRetryTallies:
    """See `RetryTallies`.

    Args:
        connections: To each partition's server, closed with this. They must not repeat commands:
            what was sent twice would count double.
        kept_ms: How long a tally stays that nobody adds to.
    """

    def __init__(self, connections: Sequence[RedisConnections], kept_ms: int = KEPT_MS) -> None:
        self._connections = connections
        self._kept_ms = kept_ms

    @classmethod
    def open(cls, url: str, partitions: int) -> "RedisRetryTallies":
        """With connections of its own."""
        return cls(
            [RedisConnections(url, command_seconds=1.0, retry_seconds=0) for _ in range(partitions)]
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        for connections in self._connections:
            await connections.close()

    async def add(self, tallies: Mapping[VersionKey, Tally]) -> None:
        """Adds to them, in one round trip for each partition."""
        calls: dict[int, list[tuple[Part, ...]]] = defaultdict(list)
        for (tenant, function, version), tally in tallies.items():
            partition = partition_of(tenant, len(self._connections))
            counts = [part for name, count in tally.items() for part in (name, count)]
            name = _name(tenant, function, version)
            calls[partition].append((*_COMMON, name, self._kept_ms, MOST_NAMES, *counts))
        await asyncio.gather(
            *(
                self._connections[partition].run_many(_SCRIPT, RedisKeys(partition).prefix, mine)
                for partition, mine in calls.items()
            )
        )

    async def tally(self, tenant: str, function: str, version: int) -> dict[str, int]:
        """A version's; empty when nothing is known. What is no number is left out."""
        partition = partition_of(tenant, len(self._connections))
        key = RedisKeys(partition).prefix + _name(tenant, function, version)
        if await self._connections[partition].call("TYPE", key) != b"hash":
            return {}
        flat = await self._connections[partition].call("HGETALL", key)
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return {
            name.decode(errors="replace"): int(count)
            for name, count in pairs
            if count.isdigit() and len(count) <= _MOST_DIGITS
        }


def _name(tenant: str, function: str, version: int) -> str:
    """Behind the partition's prefix; hashed, since both names are users' own."""
    function_hash = hashlib.sha256(function.encode(errors="surrogatepass")).hexdigest()
    return f"retrytally:{version}:{function_hash}:{tenant}"
