"""`TraceStore` in memory, for tests: the bounds of Redis, gone with the process."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from stockade.core.ports import Clock
from stockade.core.spans import NANOS_OF_MS, TraceBounds, TracePart


@dataclass(slots=True)
class _Kept:
    since_ms: int
    size: int = 0
    parts: list[TracePart] = field(default_factory=list)


class MemoryTraces:
    """See `TraceStore`. Sizes are those of the parts' text, which is near enough to Redis'."""

    def __init__(self, clock: Clock, bounds: TraceBounds) -> None:
        self._clock = clock
        self._bounds = bounds
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def aclose(self) -> None:
        """Nothing to close."""

    async def keep(self, parts: Sequence[TracePart]) -> int:
        """Keeps these; how many were dropped, because their invocation has its share."""
        now_ms, dropped = self._clock.now_ms(), 0
        for part in parts:
            size = len(repr(part))
            kept = self._kept.setdefault(part.invocation, _Kept(now_ms))
            if kept.size + size > self._bounds.invocation_bytes:
                dropped += 1
                continue
            kept.size += size
            kept.parts.append(part)
        while self._kept and self._is_over(next(iter(self._kept.values())), now_ms):
            self._kept.popitem(last=False)
        return dropped

    async def parts(self, tenant: str, invocation_id: str) -> list[TracePart]:
        """What is kept of an invocation, in the order in which it came."""
        kept = self._kept.get(invocation_id)
        if kept is None or self._is_old(kept, self._clock.now_ms()):
            return []
        return [part for part in kept.parts if part.tenant == tenant]

    async def time_ns(self) -> int:
        """Unix time in nanoseconds by the machine's clock."""
        return self._clock.now_ms() * NANOS_OF_MS

    def _is_over(self, oldest: _Kept, now_ms: int) -> bool:
        total = sum(one.size for one in self._kept.values())
        return total > self._bounds.total_bytes or self._is_old(oldest, now_ms)

    def _is_old(self, kept: _Kept, now_ms: int) -> bool:
        return kept.since_ms <= now_ms - self._bounds.kept_ms
