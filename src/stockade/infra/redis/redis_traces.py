"""`TraceStore` in Redis: a list of parts for each invocation, in its tenant's own partition.

Parts are msgpack arrays with a version in front; what a newer process wrote is passed over.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec

from stockade.core.spans import Span, TraceBounds, TracePart
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.redis_connection import Part, RedisConnections, RedisScript
from stockade.infra.redis.redis_keys import RedisKeys, partition_of

_KEEP = RedisScript.load("keep_traces")
_COMMON = QueueSettings().common
_AT_ONCE = 32
"""So many parts one script takes: the server serves nobody else meanwhile."""
_VERSION = 1
_NANOS_OF_SECOND, _NANOS_OF_MICRO = 1_000_000_000, 1000


class _Stored(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A `TracePart` on the wire; the order of fields is the format. Its key has the invocation."""

    version: int
    tenant: str
    trace_id: str
    state: str
    process: str
    instance: str
    failed: bool
    spans: tuple[Span, ...]


class _Version(msgspec.Struct, array_like=True):
    version: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Stored).decode
_decode_version = msgspec.msgpack.Decoder(_Version).decode


class RedisTraces:
    """See `TraceStore`.

    Args:
        connections: To each partition's server, closed with this store.
        bounds: What is kept.
    """

    def __init__(self, connections: Sequence[RedisConnections], bounds: TraceBounds) -> None:
        self._connections = connections
        self._bounds = bounds

    async def aclose(self) -> None:
        """Closes the connections."""
        for connections in self._connections:
            await connections.close()

    async def keep(self, parts: Sequence[TracePart]) -> int:
        """Keeps these; how many were dropped, because their invocation has its share."""
        by_partition = defaultdict(list)
        for part in parts:
            by_partition[partition_of(part.tenant, len(self._connections))].append(part)
        bounds = self._bounds
        common = (*_COMMON, bounds.invocation_bytes, bounds.total_bytes, bounds.kept_ms)
        dropped = 0
        for partition, own in by_partition.items():
            connections, prefix = self._connections[partition], RedisKeys(partition).prefix
            for start in range(0, len(own), _AT_ONCE):
                flat = tuple(_flat(own[start : start + _AT_ONCE]))
                dropped += await connections.run_once(_KEEP, prefix, *common, *flat)
        return dropped

    async def parts(self, tenant: str, invocation_id: str) -> list[TracePart]:
        """What is kept of an invocation, in the order in which it came."""
        partition = partition_of(tenant, len(self._connections))
        key = f"{RedisKeys(partition).prefix}trace:{invocation_id}"
        found = await self._connections[partition].repeat("LRANGE", key, 0, -1)
        stored = [_decode(body) for body in found if _decode_version(body).version == _VERSION]
        # Another tenant's must not be told, whatever the id.
        return [_part(one, invocation_id) for one in stored if one.tenant == tenant]

    async def time_ns(self) -> int:
        """Unix time in nanoseconds by the server's clock, which knows microseconds."""
        seconds, microseconds = await self._connections[0].call("TIME")
        return int(seconds) * _NANOS_OF_SECOND + int(microseconds) * _NANOS_OF_MICRO


def _flat(parts: Sequence[TracePart]) -> Iterator[Part]:
    for part in parts:
        yield part.invocation
        yield _encode(
            _Stored(
                _VERSION,
                part.tenant,
                part.trace_id,
                part.state,
                part.process,
                part.instance,
                part.failed,
                part.spans,
            )
        )


def _part(stored: _Stored, invocation_id: str) -> TracePart:
    s = stored
    return TracePart(
        s.tenant, invocation_id, s.trace_id, s.state, s.process, s.instance, s.spans, s.failed
    )
