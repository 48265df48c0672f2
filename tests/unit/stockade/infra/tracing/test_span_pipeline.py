"""The pipeline is bounded, tells what it drops, and outlives whatever fails behind it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from structlog.testing import capture_logs

from stockade.core.errors import StockadeError
from stockade.core.spans import SpanClock, SpanCounts, TraceBounds, TracePart
from stockade.infra.memory.memory_traces import MemoryTraces
from stockade.infra.system_clock import SystemClock
from stockade.infra.tracing.span_pipeline import NoExporter, SpanPipeline, running

AWAY = StockadeError("queue.unavailable", "Away.", retryable=True)


def part(name: str, tenant: str = "acme") -> TracePart:
    return TracePart(tenant, name, "ab" * 16, "", "worker", "w1", ())


@dataclass
class Noted:
    """A recording that is told, or breaks."""

    part: TracePart | None

    def parts(self) -> list[TracePart]:
        if self.part is None:
            raise ZeroDivisionError
        return [self.part]


@dataclass
class Store(MemoryTraces):
    """The `TraceStore` port in memory, which can be away."""

    failure: Exception | None = None
    asked: int = 0

    def __post_init__(self) -> None:
        MemoryTraces.__init__(self, SystemClock(), TraceBounds())

    async def keep(self, parts: Sequence[TracePart]) -> int:
        self.asked += 1
        if self.failure:
            raise self.failure
        return await super().keep(parts)

    async def time_ns(self) -> int:
        if self.failure:
            raise self.failure
        return 5_000_000_000


@dataclass
class Sent:
    """The `SpanExporter` port: keeps what it is offered."""

    parts: list[TracePart] = field(default_factory=list)

    def offer(self, parts: Sequence[TracePart]) -> None:
        self.parts += parts

    async def aclose(self) -> None:
        """Nothing waits."""


async def test_what_is_taken_is_kept_and_sent() -> None:
    store, sent = Store(), Sent()
    pipeline = SpanPipeline(store, sent, SpanClock(), SpanCounts())
    for number in range(150):
        pipeline.take(Noted(part(f"id{number}")))
    pipeline.take(Noted(part("")))
    await pipeline.flush()
    assert len(sent.parts) == 151
    assert store.asked == 3
    assert await store.parts("acme", "id149") == [part("id149")]
    assert await store.parts("acme", "") == []
    assert (pipeline.counts.recordings, pipeline.counts.parts_kept) == (151, 150)


async def test_a_full_queue_drops_and_counts() -> None:
    pipeline = SpanPipeline(Store(), NoExporter(), SpanClock(), SpanCounts(), most_queued=10)
    for number in range(15):
        pipeline.take(Noted(part(f"id{number}")))
    await pipeline.flush()
    assert (pipeline.counts.recordings, pipeline.counts.dropped_full) == (10, 5)


async def test_a_store_that_is_away_costs_spans_and_nothing_else() -> None:
    store, sent = Store(failure=AWAY), Sent()
    pipeline = SpanPipeline(store, sent, SpanClock(), SpanCounts())
    with capture_logs() as logs:
        for _ in range(3):
            pipeline.take(Noted(part("id")))
            await pipeline.flush()
    assert len(sent.parts) == pipeline.counts.parts_not_kept == 3
    assert [line["event"] for line in logs] == ["spans_not_kept"]
    store.failure = None
    pipeline.take(Noted(part("id")))
    await pipeline.flush()
    assert len(await store.parts("acme", "id")) == 1


async def test_a_recording_that_breaks_is_told_and_the_others_are_kept() -> None:
    store = Store()
    pipeline = SpanPipeline(store, NoExporter(), SpanClock(), SpanCounts())
    with capture_logs() as logs:
        for one in (None, part("id")):
            pipeline.take(Noted(one))
        await pipeline.flush()
    assert [line["event"] for line in logs] == ["spans_not_told"]
    assert pipeline.counts.dropped_broken == 1
    assert len(await store.parts("acme", "id")) == 1


async def test_it_works_in_the_background_by_the_queues_clock() -> None:
    store, clock = Store(), SpanClock()
    pipeline = SpanPipeline(store, NoExporter(), clock, SpanCounts())
    async with running(pipeline):
        told_ns = clock.unix_ns(time.monotonic_ns())
        assert 0 <= told_ns - 5_000_000_000 < 60_000_000_000
        pipeline.take(Noted(part("first")))
        while not await store.parts("acme", "first"):
            await asyncio.sleep(0.01)
        pipeline.take(Noted(part("last")))
    assert await store.parts("acme", "last")


async def test_an_error_of_ours_ends_no_background_work() -> None:
    store = Store()
    pipeline = SpanPipeline(store, NoExporter(), SpanClock(), SpanCounts())
    with capture_logs() as logs:
        async with running(pipeline):
            store.failure = ZeroDivisionError()
            pipeline.take(Noted(part("lost")))
            while not logs:
                await asyncio.sleep(0.01)
            store.failure = None
            pipeline.take(Noted(part("kept")))
            while not await store.parts("acme", "kept"):
                await asyncio.sleep(0.01)
    assert {line["event"] for line in logs} == {"span_round_failed"}


async def test_a_store_that_is_away_at_the_start_holds_nobody_up() -> None:
    store, clock = Store(failure=AWAY), SpanClock(7)
    async with running(SpanPipeline(store, NoExporter(), clock, SpanCounts())):
        assert clock.unix_ns(0) == 7
