"""Opens what a process traces with: its recorder, and the store that keeps recent traces."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stockade.core.spans import NANOS_OF_MS, SpanClock, SpanCounts, Tracer, TraceStore
from stockade.core.trace_options import TraceOptions
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_traces import RedisTraces
from stockade.infra.system_clock import SystemClock
from stockade.infra.tracing.span_pipeline import NoExporter, SpanExporter, SpanPipeline, running

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

    Raises:
        StockadeError: `config.otlp_invalid`, `config.secret_exposed`, `config.secret_unreadable`.
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
        counts = SpanCounts()
        exporter = _exporter(options, counts)
        pipeline = SpanPipeline(store, exporter, clock, counts)
        tracer = Tracer(
            on=True,
            ratio=options.ratio,
            process=process,
            instance=instance,
            sink=pipeline,
            clock=clock,
            counts=counts,
        )
        try:
            async with running(pipeline):
                yield tracer, store
        finally:
            await exporter.aclose()
    finally:
        await store.aclose()


def _exporter(options: TraceOptions, counts: SpanCounts) -> SpanExporter:
    if options.collector is None:
        return NoExporter()
    # Loaded only where there is a collector: gRPC is large.
    from stockade.infra.tracing.otlp_exporter import OtlpExporter  # noqa: PLC0415
    from stockade.infra.tracing.otlp_senders import open_sender  # noqa: PLC0415

    return OtlpExporter(open_sender(options.collector), counts)
