"""How the queue shares out its workers: waits beside a flood, and shares under load."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from itertools import count

from bench.queue_load import asked, claims_of, ended, opened_queue, submit_all
from stockade.infra.redis.redis_queue import RedisInvocationQueue

FLOOD = 50_000
SMALL_TENANTS = [f"small-{n}" for n in range(9)]
RATE_PER_SECOND = 10
SAMPLES_OF_EACH = 60


async def wait_seconds(flood: int) -> list[float]:
    """From submission to claim, of nine small tenants beside one that has `flood` waiting."""
    waits: list[float] = []
    async with opened_queue("everysec") as queue:
        await submit_all(queue, "flood", flood)
        submitted: dict[str, float] = {}
        working = asyncio.ensure_future(_work(queue, submitted, waits))
        async with asyncio.TaskGroup() as tasks:
            for tenant in SMALL_TENANTS:
                tasks.create_task(_submit_steadily(queue, tenant, submitted))
        while submitted:
            await asyncio.sleep(0.01)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    return waits


async def _submit_steadily(
    queue: RedisInvocationQueue, tenant: str, submitted: dict[str, float]
) -> None:
    for _ in range(SAMPLES_OF_EACH):
        invocation = asked(tenant)
        submitted[invocation.id] = time.perf_counter()
        await queue.submit(invocation)
        await asyncio.sleep(1 / RATE_PER_SECOND)


async def _work(
    queue: RedisInvocationQueue, submitted: dict[str, float], waits: list[float]
) -> None:
    async for claim in claims_of(queue):
        started = submitted.pop(claim.invocation.id, None)
        if started is not None:
            waits.append(time.perf_counter() - started)
        await queue.complete(claim, ended())


async def service_counts(weights: Sequence[int], served: int) -> list[int]:
    """How often each of so many tenants was served while all of them had work waiting."""
    counts: Counter[str] = Counter()
    tenants = {f"tenant-{n}": weight for n, weight in enumerate(weights)}
    async with opened_queue("everysec") as queue:
        for tenant, weight in tenants.items():
            await submit_all(queue, tenant, served, weight)
        # What was ready before all tenants waited is not counted.
        places = count(-64)
        async for claim in claims_of(queue):
            place = next(places)
            if place >= 0:
                counts[claim.invocation.tenant] += 1
            await queue.complete(claim, ended())
            if place == served:
                break
    return [counts[tenant] for tenant in tenants]


def jain_index(counts: Sequence[int]) -> float:
    """1 when all are served alike, 1/n when one has everything.

    Source: R. Jain, D. Chiu, W. Hawe: A Quantitative Measure of Fairness, DEC-TR-301, 1984.
    """
    return sum(counts) ** 2 / (len(counts) * sum(one * one for one in counts))


def share_error(counts: Sequence[int], weights: Sequence[int]) -> float:
    """The largest difference from a tenant's due share, relative to that share."""
    total, weight = sum(counts), sum(weights)
    due = [total * one / weight for one in weights]
    return max(abs(got - want) / want for got, want in zip(counts, due, strict=True))
