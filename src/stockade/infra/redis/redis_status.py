"""`StatusBoard` in Redis: a script that looks at a partition, a short-lived key per worker."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from stockade.core.installation_status import (
    REPORT_TTL_MS,
    QueueFigures,
    TenantFigures,
    WorkerReport,
)
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.redis_connection import RedisConnections, RedisScript
from stockade.infra.redis.redis_keys import RedisKeys, partition_of

_STATUS = RedisScript.load("status")
_RECLAIMED, _QUARANTINED = "reclaimed", "quarantined"
_MOST_WORKERS = 1000
_decode = msgspec.msgpack.Decoder(WorkerReport).decode
_encode = msgspec.msgpack.Encoder().encode


class RedisStatusBoard:
    """See `StatusBoard`.

    Args:
        connections: One for each partition; somebody else closes them.
        settings: The queue's.
    """

    def __init__(self, connections: Sequence[RedisConnections], settings: QueueSettings) -> None:
        self._connections = connections
        self._settings = settings

    async def queue(self) -> QueueFigures:
        """All tenants together."""
        parts = range(len(self._connections))
        return _summed(await asyncio.gather(*(self._look(part, "") for part in parts)))

    async def queue_of(self, tenant: str) -> TenantFigures:
        """One tenant."""
        return TenantFigures(
            *await self._look(partition_of(tenant, len(self._connections)), tenant)
        )

    async def report(self, report: WorkerReport) -> None:
        """What a worker says of itself, in place of what it said before."""
        key = RedisKeys().report(report.name)
        await self._connections[0].call("SET", key, _encode(report), "PX", REPORT_TTL_MS)

    async def workers(self) -> Sequence[WorkerReport]:
        """Those that reported lately, by name; what is no report of this release is left out."""
        keys, first = RedisKeys(), self._connections[0]
        names = await first.repeat("ZRANGE", keys.workers, 0, _MOST_WORKERS - 1)
        if not names:
            return []
        told = await first.repeat("MGET", *(keys.report(name.decode()) for name in names))
        reports = (_report(text) for text in told if text is not None)
        return sorted((one for one in reports if one is not None), key=lambda one: one.name)

    async def _look(self, partition: int, tenant: str) -> list[Any]:
        prefix, common = RedisKeys(partition).prefix, self._settings.common
        answer: list[Any] = await self._connections[partition].run(_STATUS, prefix, *common, tenant)
        return answer


def _report(text: bytes) -> WorkerReport | None:
    try:
        return _decode(text)
    except msgspec.DecodeError:
        return None


def _summed(rows: Sequence[list[Any]]) -> QueueFigures:
    totals: dict[str, int] = {}
    for row in rows:
        for name, figure in zip(row[5::2], row[6::2], strict=True):
            totals[name.decode()] = totals.get(name.decode(), 0) + int(figure)
    reclaimed, quarantined = totals.pop(_RECLAIMED, 0), totals.pop(_QUARANTINED, 0)
    return QueueFigures(
        backlog=sum(row[0] for row in rows),
        later=sum(row[1] for row in rows),
        ready=sum(row[3] for row in rows),
        in_flight=sum(row[4] for row in rows),
        oldest_wait_ms=max(row[2] for row in rows),
        reclaimed=reclaimed,
        quarantined=quarantined,
        ended=totals,
    )
