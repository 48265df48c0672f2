"""Work for the queue alone, without gateway or sandbox, on a Valkey of its own."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

from stockade.core.invocations import Claim, Completion, Invocation
from stockade.core.modules import Abi, FunctionContent
from stockade.core.outcomes import Attempt, Outcome, Usage
from stockade.core.shedding import Shedding
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_queue import RedisInvocationQueue
from stockade.infra.system_clock import SystemClock

MANY = 1000
CAPACITY = 16
BODY = b"x" * 1024
SETTINGS = QueueSettings(backlog_limit=10_000_000, shedding=Shedding(100_000_000))
_CLOCK = SystemClock()
_CONTENT = FunctionContent("sha256:" + "a" * 64, Abi.STOCKADE_V1, deterministic=True)


def asked(tenant: str, weight: int = 1) -> Invocation:
    """A new invocation with 1 KB of input."""
    now = _CLOCK.now_ms()
    return Invocation(
        _CLOCK.new_id(), tenant, "echo", 1, _CONTENT, now, input_inline=BODY, weight=weight
    )


def ended() -> Completion:
    """A completion with 1 KB of output."""
    attempt = Attempt(1, Outcome.COMPLETED, "done", Usage())
    return Completion(attempt, _CLOCK.now_ms(), output_inline=BODY)


def queue_at(url: str, name: str) -> RedisInvocationQueue:
    """The queue of a process of this name."""
    connections = RedisConnections(url, command_seconds=60.0)
    return RedisInvocationQueue(connections, gateway=name, consumer=name, settings=SETTINGS)


@contextlib.asynccontextmanager
async def running_valkey(fsync: Literal["always", "everysec"]) -> AsyncIterator[EmbeddedValkey]:
    """A server on a fresh data directory."""
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedValkey(Path(directory), fsync=fsync)
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


@contextlib.asynccontextmanager
async def opened_queue(
    fsync: Literal["always", "everysec"],
) -> AsyncIterator[RedisInvocationQueue]:
    """A queue with one live worker, on a server of its own."""
    async with running_valkey(fsync) as server:
        queue = queue_at(server.url, "bench")
        await queue.tick(CAPACITY, _CLOCK.now_ms())
        try:
            yield queue
        finally:
            await queue.aclose()


async def submit_all(queue: RedisInvocationQueue, tenant: str, count: int, weight: int = 1) -> None:
    """Submits so many, a group at a time."""
    for start in range(0, count, MANY):
        group = range(min(MANY, count - start))
        await queue.submit_many(tenant, [asked(tenant, weight) for _ in group])


async def claims_of(queue: RedisInvocationQueue) -> AsyncIterator[Claim]:
    """Claims as they come, as a worker takes them, which says that it lives."""
    while True:
        for claim in await queue.claim(CAPACITY, 0.25):
            yield claim
        await queue.tick(CAPACITY, _CLOCK.now_ms())
