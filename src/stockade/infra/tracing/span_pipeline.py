"""From what a hot path noted to where spans are kept and sent, in the background of its process.

The queue is bounded, and whoever fills it is never told to wait. Spans are made of a few recordings
at a time, so that requests and runs come in between. Trouble of the store or of a collector costs
spans, which are counted, and nothing else.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import structlog

from stockade.core.errors import StockadeError
from stockade.core.spans import Recording, SpanClock, SpanCounts, TracePart, TraceStore

_log = structlog.get_logger()
_MOST_QUEUED = 8192
_PAUSE_SECONDS = 0.2
_AT_ONCE = 8
_BATCH = 64
_CLOCK_SECONDS = 10.0
_LOOKS, _SHORT_TRIP_NS = 3, 500_000
_LAST_SECONDS = 2.0
_COMPLAINT_SECONDS = 30.0


class SpanExporter(Protocol):
    """Sends spans to a collector; never waits, never fails."""

    def offer(self, parts: Sequence[TracePart]) -> None:
        """Takes what is to be sent, or drops and counts it."""

    async def aclose(self) -> None:
        """Sends what waits, for a moment, and ends."""


class NoExporter:
    """A `SpanExporter` for where there is no collector."""

    def offer(self, parts: Sequence[TracePart]) -> None:
        """Drops it."""

    async def aclose(self) -> None:
        """Nothing waits."""


class SpanPipeline:
    """A `SpanSink` with its background work.

    Args:
        store: Where recent invocations' spans are kept.
        exporter: Where all of them are sent.
        clock: Set by the store's clock from time to time.
        counts: Told what becomes of recordings.
        most_queued: So many recordings may wait.
    """

    def __init__(
        self,
        store: TraceStore,
        exporter: SpanExporter,
        clock: SpanClock,
        counts: SpanCounts,
        most_queued: int = _MOST_QUEUED,
    ) -> None:
        self.counts = counts
        self._store = store
        self._exporter = exporter
        self._clock = clock
        self._most_queued = most_queued
        self._queue: deque[Recording] = deque()
        self._set_at = float("-inf")
        self._complained_at = float("-inf")

    def take(self, recording: Recording) -> None:
        """Takes one, or drops and counts it when too many wait."""
        if len(self._queue) >= self._most_queued:
            self.counts.dropped_full += 1
            return
        self._queue.append(recording)

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            try:
                await self._set_clock()
                await self.flush()
            except Exception as error:  # noqa: BLE001 - it goes on with the next ones
                _log.error("span_round_failed", exc_info=error)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def flush(self) -> None:
        """Keeps and sends what waits now."""
        for _ in range(-(-len(self._queue) // _BATCH)):
            parts: list[TracePart] = []
            while self._queue and len(parts) < _BATCH:
                self._tell_some(parts)
                await asyncio.sleep(0)
            self._exporter.offer(parts)
            await self._keep([part for part in parts if part.invocation])

    def _tell_some(self, parts: list[TracePart]) -> None:
        for _ in range(min(_AT_ONCE, len(self._queue))):
            recording = self._queue.popleft()
            self.counts.recordings += 1
            try:
                parts += recording.parts()
            except Exception as error:  # noqa: BLE001 - one recording's trouble is not the others'
                self.counts.dropped_broken += 1
                _log.error("spans_not_told", exc_info=error)

    async def _keep(self, parts: list[TracePart]) -> None:
        if not parts:
            return
        try:
            dropped = await self._store.keep(parts)
        except (StockadeError, RuntimeError) as error:
            self.counts.parts_not_kept += len(parts)
            self._complain(error)
        else:
            self.counts.parts_not_kept += dropped
            self.counts.parts_kept += len(parts) - dropped

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = now
            code = error.code if isinstance(error, StockadeError) else "internal.error"
            _log.warning("spans_not_kept", code=code, dropped=self.counts.parts_not_kept)

    async def _set_clock(self) -> None:
        if time.monotonic() - self._set_at < _CLOCK_SECONDS:
            return
        trips: list[tuple[int, int, int]] = []
        with suppress(StockadeError):
            while len(trips) < _LOOKS:
                asked_ns = time.monotonic_ns()
                told_ns = await self._store.time_ns()
                answered_ns = time.monotonic_ns()
                trips.append((answered_ns - asked_ns, told_ns, asked_ns))
                if answered_ns - asked_ns <= _SHORT_TRIP_NS:
                    break
        if trips:
            trip_ns, told_ns, asked_ns = min(trips)
            self._clock.set(told_ns, asked_ns, asked_ns + trip_ns)
            self._set_at = time.monotonic()


@asynccontextmanager
async def running(pipeline: SpanPipeline) -> AsyncIterator[None]:
    """Works inside; what waits at the end is kept and sent, for a moment."""
    await pipeline._set_clock()  # noqa: SLF001 - its own starter: spans before the first look would be off
    task = asyncio.ensure_future(pipeline.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await pipeline.flush()
