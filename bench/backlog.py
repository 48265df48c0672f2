"""What waiting costs: memory, time as the backlog grows, and the takeover from a dead worker."""

import asyncio
import multiprocessing as processes
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Sequence
from multiprocessing.connection import Connection

from bench.queue_load import (
    CAPACITY,
    asked,
    ended,
    opened_queue,
    queue_at,
    running_valkey,
    submit_all,
)
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_queue import RedisInvocationQueue

TENANTS = 100
SAMPLES = 1000
_TICK_SECONDS = 0.25


async def seconds_by_backlog(sizes: Sequence[int]) -> AsyncIterator[tuple[int, list[float]]]:
    """For each size, times to submit, claim, begin and complete one while so many wait."""
    async with opened_queue("everysec") as queue:
        waiting = 0
        for size in sizes:
            for tenant in range(TENANTS):
                await submit_all(queue, f"tenant-{tenant}", (size - waiting) // TENANTS)
            waiting = size
            yield size, [await _one(queue) for _ in range(SAMPLES)]


async def _one(queue: RedisInvocationQueue) -> float:
    started = time.perf_counter()
    await queue.submit(asked("tenant-0"))
    (claim,) = await queue.claim(1, 1.0)
    await queue.begin(claim, claim.invocation.submitted_ms)
    await queue.complete(claim, ended())
    return time.perf_counter() - started


async def bytes_of_waiting(count: int) -> float:
    """Bytes of the server's memory for one waiting invocation with 1 KB of input."""
    async with running_valkey("everysec") as server:
        queue = queue_at(server.url, "bench")
        before = await _used_memory(server.url)
        await submit_all(queue, "tenant", count)
        after = await _used_memory(server.url)
        await queue.aclose()
    return (after - before) / count


async def _used_memory(url: str) -> int:
    connections = RedisConnections(url)
    found = re.search(rb"used_memory:(\d+)", await connections.call("INFO", "memory"))
    await connections.close()
    assert found is not None
    return int(found[1])


async def takeover_seconds() -> float:
    """From kill -9 of a process that holds claims until another has the last of them."""
    async with running_valkey("always") as server:
        heir = queue_at(server.url, "heir")
        await heir.tick(CAPACITY, 0)
        for _ in range(CAPACITY):
            await heir.submit(asked("tenant"))
        said, says = processes.Pipe(duplex=False)
        holder = processes.get_context("spawn").Process(
            target=_claim_and_hold, args=(server.url, says)
        )
        holder.start()
        await asyncio.to_thread(said.recv)
        os.kill(holder.pid or 0, signal.SIGKILL)
        died = time.perf_counter()
        taken = 0
        while taken < CAPACITY:
            await heir.tick(CAPACITY, 0)
            taken += len(await heir.reclaim(CAPACITY))
            await asyncio.sleep(_TICK_SECONDS)
        seconds = time.perf_counter() - died
        holder.join()
        await heir.aclose()
    return seconds


def _claim_and_hold(url: str, says: Connection) -> None:
    async def hold() -> None:
        queue = queue_at(url, "holder")
        held = list(await queue.claim(CAPACITY, 5.0))
        await queue.heartbeat(held)
        says.send(len(held))
        await asyncio.Event().wait()

    asyncio.run(hold())
