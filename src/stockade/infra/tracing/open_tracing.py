"""Opens what a process traces with: its recorder, and the store that keeps recent traces."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stockade.core.spans import NANOS_OF_MS, SpanClock, Tracer, TraceStore
from stockade.core.trace_options import TraceOptions
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_traces import RedisTraces
from stockade.infra.system_clock import SystemClock
from stockade.infra.tracing.span_pipeline import NoExporter, SpanPipeline, running

_COMMAND_SECONDS = 1.0
"""Spans are not worth waiting longer for a store that is slow, nor asking it twice."""


@asynccontextmanager
async def open_tracing(
    options: TraceOptions, process: str, instance: str, redis_url: str, partitions: int
) -> AsyncIterator[tuple[Tracer, TraceStore]]:
    """The recorder, whose background work goes on inside, and the store.

    Args:
        options: How much is recorded.
        process: `gateway` or `worker`.
        instance: This process among its kind.
        redis_url: Where the queue is.
        partitions: How many it has.
    """
    connections = [
        RedisConnections(redis_url, command_seconds=_COMMAND_SECONDS, retry_seconds=0)
        for _ in range(partitions)
    ]
    store = RedisTraces(connections, options.bounds)
    try:
        if not options.on:
            yield Tracer(process=process, instance=instance), store
            return
        # Until the queue's clock was asked, the machine's will do.
        clock = SpanClock(SystemClock().now_ms() * NANOS_OF_MS - time.monotonic_ns())
        pipeline = SpanPipeline(store, NoExporter(), clock)
        tracer = Tracer(
            on=True,
            ratio=options.ratio,
            process=process,
            instance=instance,
            sink=pipeline,
            clock=clock,
        )
        async with running(pipeline):
            yield tracer, store
    finally:
        await store.aclose()
