"""`UpstreamStore` and `UpstreamNews` in Redis: a tenant's breakers in its own partition."""

from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import Any

from stockade.core.errors import StockadeError
from stockade.core.upstreams import BreakerPolicy, CallFailure, UpstreamView, Verdict
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.redis_connection import RedisConnections, RedisScript
from stockade.infra.redis.redis_keys import RedisKeys, partition_of
from stockade.retry.breakers import Breaker

_SCRIPT = RedisScript.load("upstreams")
_COMMON = QueueSettings().common
_KEPT = 1000
_BATCH = 100
_VERSION = "1"
_NUMBERS = 7
_FULL = -1


class RedisUpstreamStore:
    """See `UpstreamStore`. Nothing is sent twice: a failure that is counted twice is one too many.

    Args:
        connections: To each partition's server, closed with this store.
        policy: The operator's.
        share: Draws what share of a delay is waited, so that probes do not come in step.
    """

    def __init__(
        self,
        connections: Sequence[RedisConnections],
        policy: BreakerPolicy,
        share: Callable[[], float] | None = None,
    ) -> None:
        self._connections = connections
        self._policy = policy
        self._share = share or half_to_whole

    async def aclose(self) -> None:
        """Closes the connections."""
        for connections in self._connections:
            await connections.close()

    async def fail(self, tenant: str, upstream: str, failure: CallFailure) -> Verdict | None:
        """Tells of a failed call; None when so many upstreams are out that it is not counted."""
        policy, well = self._policy, failure.well_ms_ago
        answer = await self._run(
            tenant,
            *(
                "fail",
                tenant,
                upstream,
                failure.weight,
                failure.needed,
                -1 if well is None else well,
            ),
            *(failure.probe, failure.cause, int(self._share() * 1000), failure.after_ms),
            *(policy.window_ms, policy.probe_ms, policy.max_probe_ms, policy.max_upstreams),
        )
        return None if answer[0] == _FULL else _verdict(answer)

    async def close(self, tenant: str, upstream: str) -> Verdict:
        """Tells that a probe succeeded."""
        return _verdict(await self._run(tenant, "close", tenant, upstream))

    async def ask(self, tenant: str, upstream: str, lease_ms: int) -> Verdict:
        """Whether calls may go out; gives the probe that is due to one asker."""
        return _verdict(await self._run(tenant, "ask", tenant, upstream, lease_ms))

    async def views(self, tenant: str) -> Sequence[UpstreamView]:
        """What is known of a tenant's upstreams, by name; what cannot be read is left out."""
        now_ms, flat = await self._run(tenant, "views", tenant, "")
        texts = [part.decode(errors="replace") for part in flat]
        pairs = sorted(zip(texts[::2], texts[1::2], strict=True))
        found = ((upstream, _breaker(text)) for upstream, text in pairs)
        return [breaker.view(upstream, now_ms) for upstream, breaker in found if breaker]

    async def reset(self, tenant: str, upstream: str) -> bool:
        """Forgets what is known of an upstream."""
        return _verdict(await self._run(tenant, "reset", tenant, upstream)).changed

    async def _run(self, tenant: str, *parts: str | int) -> list[Any]:
        partition = partition_of(tenant, len(self._connections))
        prefix = RedisKeys(partition).prefix
        connections = self._connections[partition]
        answer: list[Any] = await connections.run_once(_SCRIPT, prefix, *_COMMON, *parts)
        return answer


class RedisUpstreamNews:
    """See `UpstreamNews`: a short stream that every worker reads from where it was.

    Args:
        connections: To the server, closed with this.
    """

    def __init__(self, connections: RedisConnections) -> None:
        self._connections = connections
        self._stream = RedisKeys().upstream_news
        self._last: bytes | None = None

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._connections.close()

    async def tell(self, tenant: str, upstream: str) -> None:
        """Says that a breaker opened or closed."""
        fields = ("tenant", tenant, "upstream", upstream)
        try:
            await self._connections.call("XADD", self._stream, "MAXLEN", "~", _KEPT, "*", *fields)
        except StockadeError:
            return

    async def hear(self, timeout_seconds: float) -> list[tuple[str, str]] | None:
        """Tenants and upstreams since the last look; None at the first, and when far behind."""
        last, self._last = self._last, None
        if last is None:
            newest = await self._connections.call("XREVRANGE", self._stream, "+", "-", "COUNT", 1)
            self._last = newest[0][0] if newest else b"0-0"
            return None
        block = ("BLOCK", max(1, int(timeout_seconds * 1000)))
        parts = ("XREAD", "COUNT", _BATCH, *block, "STREAMS", self._stream, last)
        reply = await self._connections.call(*parts, block_seconds=timeout_seconds)
        entries = reply[0][1] if reply else []
        if len(entries) == _BATCH:
            return None
        self._last = entries[-1][0] if entries else last
        return [
            (fields[1].decode(errors="replace"), fields[3].decode(errors="replace"))
            for _entry, fields in entries
        ]


def half_to_whole() -> float:
    """From 0.5 to 1, evenly."""
    return 0.5 + SystemRandom().random() / 2


def _verdict(answer: Sequence[int]) -> Verdict:
    wait_ms, probe, changed = answer
    return Verdict(wait_ms, probe, bool(changed))


def _breaker(text: str) -> Breaker | None:
    version, *parts = text.split(" ")
    if version != _VERSION or len(parts) != _NUMBERS + 1 or not all(map(str.isdecimal, parts[:-1])):
        return None
    *numbers, cause = parts
    return Breaker(cause, *map(int, numbers))
