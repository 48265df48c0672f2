"""The `HistoryFeed` port: the `history` stream of one partition, and the records it speaks of.

The scripts that end an attempt or an invocation append an entry in the same step. An entry is an id
and nothing else: what is to be kept is read from the record, which only ever says more.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from stockade.core.history import (
    EarlierEnd,
    FeedEntry,
    FeedStatus,
    InvocationHistory,
    Unreadable,
    WalkStep,
)
from stockade.core.outcomes import Outcome
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.redis_connection import (
    GroupMissingError,
    Part,
    RedisConnections,
    RedisScript,
)
from stockade.infra.redis.redis_keys import RedisKeys
from stockade.infra.redis.redis_records import decode_attempts, decode_invocation

_GROUP = RedisScript.load("history_group")
_ROWS = RedisScript.load("history_rows")
_CONFIRM = RedisScript.load("history_confirm")
_SCAN = RedisScript.load("history_scan")
_TIDY = RedisScript.load("history_tidy")
_WALK = RedisScript.load("history_walk")

RECORDERS = "recorders"
LEFT_MS = 60_000
"""An entry that was taken so long ago, and not confirmed, is another recorder's to take."""
_WALK_MS = 60_000
_ROWS_AT_ONCE = 100
"""So many records are read in one step of the server, which serves nobody else meanwhile."""
_CONFIRMED_AT_ONCE = 1000
"""Likewise; and a script's stack has room for 8,000 values."""
_FIELDS = (
    "tenant",
    "spec",
    "state",
    "outcome",
    "limit",
    "detail",
    "attempts",
    "attempts_count",
    "started_ms",
    "finished_ms",
    "ends",
    "ends_count",
)
_decode_ends = msgspec.msgpack.Decoder(tuple[EarlierEnd, ...]).decode


class RedisHistoryFeed:
    """One recorder's view of one partition.

    Args:
        connections: To the partition's server; closed by who opened them.
        keys: The partition's.
        recorder: This process, new at each start.
        settings: Of the queue.
        left_ms: An entry taken so long ago, and not confirmed, is another recorder's to take.
    """

    def __init__(
        self,
        connections: RedisConnections,
        keys: RedisKeys,
        recorder: str,
        settings: QueueSettings,
        left_ms: int = LEFT_MS,
    ) -> None:
        self._connections = connections
        self._keys = keys
        self._recorder = recorder
        self._settings = settings
        self._left_ms = left_ms

    async def take(self, most: int, timeout_seconds: float) -> list[FeedEntry]:
        """New entries, waiting for the first up to the timeout."""
        block = ("BLOCK", max(1, int(timeout_seconds * 1000))) if timeout_seconds > 0 else ()
        read = ("XREADGROUP", "GROUP", RECORDERS, self._recorder, "COUNT", most, *block)
        parts = (*read, "STREAMS", self._keys.history, ">")
        reply = await self._grouped(*parts, block_seconds=timeout_seconds)
        return _entries(reply[0][1]) if reply else []

    async def take_over(self, most: int) -> list[FeedEntry]:
        """Entries that some recorder, or this one, took a while ago; forgets idle recorders."""
        claim = ("XAUTOCLAIM", self._keys.history, RECORDERS, self._recorder, self._left_ms)
        reply = await self._grouped(*claim, "0-0", "COUNT", most)
        await self._run(_TIDY, self._recorder, "")
        return _entries(reply[1])

    async def histories(
        self, invocations: Sequence[str]
    ) -> list[InvocationHistory | Unreadable | None]:
        """What the records of these ids say, in their order."""
        found: list[InvocationHistory | Unreadable | None] = []
        for start in range(0, len(invocations), _ROWS_AT_ONCE):
            some = invocations[start : start + _ROWS_AT_ONCE]
            rows = await self._run(_ROWS, len(_FIELDS), *_FIELDS, *some)
            found += [_read(id_, row) for id_, row in zip(some, rows, strict=True)]
        return found

    async def confirm(self, handles: Sequence[str]) -> None:
        """Removes entries whose records the history has."""
        for start in range(0, len(handles), _CONFIRMED_AT_ONCE):
            await self._run(_CONFIRM, "", "", *handles[start : start + _CONFIRMED_AT_ONCE])

    async def set_aside(self, handle: str, why: str) -> None:
        """Removes an entry and keeps it apart, of which there are 10,000 at most."""
        await self._run(_CONFIRM, "1", why, handle)

    async def retry_aside(self) -> int:
        """Puts back what was set aside."""
        return int(await self._run(_TIDY, self._recorder, "1"))

    async def walk_due(self, walked: int | None = None) -> int:
        """How many entries were missed, when this recorder may walk."""
        end = "" if walked is None else walked
        return int(await self._run(_WALK, self._recorder, _WALK_MS, end))

    async def walk(self, cursor: str, most: int) -> WalkStep:
        """A step over about `most` records; begins again when another server answers.

        A cursor means nothing to a server that did not make it, and what it skips would be lost.
        """
        server, _, place = cursor.partition(":")
        answered, following, *keys = await self._run(_SCAN, server, place, most)
        ids = [key.decode(errors="replace") for key in keys]
        found = [one for one in await self.histories(ids) if one is not None]
        ended = following == b"0"
        return WalkStep("" if ended else f"{answered.decode()}:{following.decode()}", found)

    async def status(self) -> FeedStatus:
        """What waits."""
        repeat, keys = self._connections.repeat, self._keys
        oldest = await repeat("XRANGE", keys.history, "-", "+", "COUNT", 1)
        return FeedStatus(
            waiting=int(await repeat("XLEN", keys.history)),
            oldest_ms=int(oldest[0][0].split(b"-")[0]) if oldest else None,
            set_aside=int(await repeat("XLEN", keys.aside)),
            missed=int(await repeat("GET", keys.missed) or 0),
        )

    async def time_ms(self) -> int:
        """Unix time by the partition's server."""
        seconds, microseconds = await self._connections.repeat("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def _grouped(self, *parts: Part, block_seconds: float = 0.0) -> Any:  # noqa: ANN401
        try:
            return await self._connections.call(*parts, block_seconds=block_seconds)
        except GroupMissingError:
            await self._run(_GROUP)
            return await self._connections.call(*parts, block_seconds=block_seconds)

    async def _run(self, script: RedisScript, *arguments: Part) -> Any:  # noqa: ANN401 - any reply
        prefix, common = self._keys.prefix, self._settings.common
        return await self._connections.run(script, prefix, *common, *arguments)


def _entries(rows: Sequence[Any]) -> list[FeedEntry]:
    return [FeedEntry(handle.decode(), flat[1].decode(errors="replace")) for handle, flat in rows]


def _read(id_: str, row: Sequence[bytes | None]) -> InvocationHistory | Unreadable | None:
    at = dict(zip(_FIELDS, row, strict=True))
    if at["tenant"] is None and at["spec"] is None:
        return None
    try:
        return _history(at)
    except (msgspec.MsgspecError, ValueError, TypeError, AttributeError) as error:
        return Unreadable(id_, type(error).__name__)


def _history(at: dict[str, Any]) -> InvocationHistory:
    of = decode_invocation(at["spec"], b"")
    done = at["state"] == b"done"
    return InvocationHistory(
        tenant=at["tenant"].decode(),
        id=of.id,
        function=of.function,
        version=of.version,
        module=of.content.digest,
        submitted_ms=of.submitted_ms,
        trace_id=of.traceparent[3:35],
        attempts=decode_attempts(at["attempts"], at["attempts_count"]),
        earlier=_earlier(at["ends"], at["ends_count"]),
        outcome=Outcome(at["outcome"].decode()) if done else None,
        finished_ms=int(at["finished_ms"]) if done else None,
        limit=_text(at["limit"]) if done else None,
        detail=_text(at["detail"]) if done else None,
        started_ms=None if at["started_ms"] is None else int(at["started_ms"]),
    )


def _earlier(body: bytes | None, count: bytes | None) -> tuple[EarlierEnd, ...]:
    if not body or not count:
        return ()
    return _decode_ends(b"\xdd" + int(count).to_bytes(4) + body)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")
