"""What is refused before it is taken in: over the tenant's rate, over a bound of what may wait."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import pytest

from stockade.core.errors import StockadeError
from stockade.core.invocations import Invocation, Priority, SubmitReceipt
from stockade.core.outcomes import Outcome
from stockade.core.ports import InvocationQueue
from stockade.core.rate_limits import RateLimit
from stockade.core.shedding import Shedding
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_keys import RedisKeys
from tests.ports.test_invocation_queue import (
    CONTENT,
    asked,
    claim_running,
    drain_order,
    ended,
    until,
)
from tests.ports.valkey_fixture import CLOCK, Installation, flush, redis_maker

pytest_plugins = ("tests.ports.valkey_fixture",)

HOUR_MS = 3_600_000
PREFIX = RedisKeys().prefix


def slow(burst: int) -> RateLimit:
    """A rate at which no token comes in while a test runs."""
    return RateLimit(0.001, burst)


async def refusal_of(queue: InvocationQueue, invocation: Invocation) -> StockadeError:
    with pytest.raises(StockadeError) as refused:
        await queue.submit(invocation)
    return refused.value


async def taken(queue: InvocationQueue, invocation: Invocation) -> bool:
    """Whether it was taken in; refused as anything but over the rate is an error."""
    try:
        await queue.submit(invocation)
    except StockadeError as refused:
        assert refused.code == "tenant.rate_limited"  # noqa: PT017 (either may happen)
        return False
    return True


# Rates


async def test_a_burst_passes_and_what_is_over_it_is_told_when(installation: Installation) -> None:
    queue = installation.queue()
    for _ in range(3):
        assert (await queue.submit(asked(rate_limit=slow(3)))).created
    refused = await refusal_of(queue, asked(rate_limit=slow(3)))
    assert (refused.code, refused.retryable) == ("tenant.rate_limited", True)
    wait_ms = refused.detail.pop("retry_after_ms")
    assert isinstance(wait_ms, int)
    assert 900_000 < wait_ms <= 1_000_000
    assert refused.detail == {"rate_per_second": 0.001, "burst": 3}
    assert (await queue.submit(asked("other", rate_limit=slow(3)))).created
    assert (await queue.submit(asked("free"))).created


async def test_many_at_once_take_no_token_twice(installation: Installation) -> None:
    queues = [installation.queue(name) for name in ("one", "two", "three")]
    tries = [taken(queues[n % 3], asked(rate_limit=slow(7))) for n in range(60)]
    assert sum(await asyncio.gather(*tries)) == 7


async def test_no_more_pass_than_came_in(installation: Installation) -> None:
    queue, limit, passed = installation.queue(), RateLimit(200, 5), 0
    began_ms = CLOCK.now_ms()
    while passed < 25:
        passed += await taken(queue, asked(rate_limit=limit))
    assert passed <= 5 + (CLOCK.now_ms() - began_ms + 2) / limit.interval_us * 1000


async def test_who_waits_as_told_gets_through(installation: Installation) -> None:
    queue, limit = installation.queue(), RateLimit(5, 1)
    await queue.submit(asked(rate_limit=limit))
    refused = await refusal_of(queue, asked(rate_limit=limit))
    wait_ms = refused.detail["retry_after_ms"]
    assert isinstance(wait_ms, int)
    at_ms = CLOCK.now_ms() + wait_ms

    async def time_is_over() -> bool:
        return CLOCK.now_ms() > at_ms

    await until(time_is_over)
    assert (await queue.submit(asked(rate_limit=limit))).created


async def test_a_repeated_submission_costs_nothing_and_is_never_refused(
    installation: Installation,
) -> None:
    queue = installation.queue()
    first = asked(rate_limit=slow(2), idempotency_key="k")
    again = asked(rate_limit=slow(2), idempotency_key="k", input_inline=first.input_inline)
    for _ in range(5):
        assert (await queue.submit(first)).created
        assert await queue.submit(again) == SubmitReceipt(first.id, created=False)
    assert (await queue.submit(asked(rate_limit=slow(2)))).created
    assert (await refusal_of(queue, asked(rate_limit=slow(2)))).code == "tenant.rate_limited"
    assert (await queue.submit(first)).created
    assert not (await queue.submit(again)).created


async def test_what_was_refused_left_no_trace(installation: Installation) -> None:
    queue = installation.queue()
    await queue.submit(asked(rate_limit=slow(1)))
    refused = asked(rate_limit=slow(1), idempotency_key="k")
    await refusal_of(queue, refused)
    assert await queue.record("acme", refused.id) is None
    assert (await queue.submit(asked(idempotency_key="k", input_inline=b"other"))).created
    assert (await queue.submit(asked())).created
    assert refused.id not in {one.id for one in await drain_order(queue)}


async def test_a_full_backlog_costs_no_token(installation: Installation) -> None:
    installation.settings = QueueSettings(window_floor=1)
    queue = installation.queue()
    for _ in range(2):
        await queue.submit(asked(tenant_backlog=1))
    refused = await refusal_of(queue, asked(tenant_backlog=1, rate_limit=slow(1)))
    assert refused.code == "queue.full"
    assert (await queue.submit(asked(tenant_backlog=2, rate_limit=slow(1)))).created


@pytest.mark.parametrize("changed", [RateLimit(0.002, 2), slow(2), slow(60)])
async def test_a_limit_that_changes_counts_at_once(
    installation: Installation, changed: RateLimit
) -> None:
    queue = installation.queue()
    for _ in range(50):
        await queue.submit(asked(rate_limit=slow(50)))
    await refusal_of(queue, asked(rate_limit=slow(50)))
    assert (await queue.submit(asked())).created
    left = changed.burst - 50 if changed.burst > 50 else changed.burst
    for _ in range(left):
        assert (await queue.submit(asked(rate_limit=changed))).created
    await refusal_of(queue, asked(rate_limit=changed))


async def test_a_batch_is_answered_line_by_line(installation: Installation) -> None:
    queue = installation.queue()
    lines = [asked(rate_limit=slow(4), idempotency_key=f"k{n}") for n in range(10)]
    answers = await queue.submit_many("acme", lines)
    assert [getattr(one, "code", None) for one in answers] == [None] * 4 + (
        ["tenant.rate_limited"] * 6
    )
    again = await queue.submit_many("acme", [asked(idempotency_key=f"k{n}") for n in range(10)])
    assert [getattr(one, "created", None) for one in again] == [False] * 4 + [True] * 6


async def test_a_redriven_dead_letter_costs_no_token(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked(rate_limit=slow(1))
    await queue.submit(invocation)
    claim = await claim_running(queue)
    assert await queue.complete(claim, ended(Outcome.TRAPPED))
    assert await queue.redrive("acme", invocation.id) is True
    assert (await claim_running(queue)).invocation.id == invocation.id


# Backlogs


@pytest.mark.parametrize(("own", "bound"), [(None, 3), (2, 2), (5, 5)])
async def test_a_tenant_may_have_a_bound_of_its_own(
    installation: Installation, own: int | None, bound: int
) -> None:
    installation.settings = QueueSettings(window_floor=1, backlog_limit=3, full_retry_ms=2500)
    queue = installation.queue()
    later = CLOCK.now_ms() + HOUR_MS
    for n in range(bound):
        await queue.submit(asked(tenant_backlog=own, run_at_ms=later if n % 2 else None))
    # One of them is on its way to a worker and does not wait.
    await queue.submit(asked(tenant_backlog=own))
    refused = await refusal_of(queue, asked(tenant_backlog=own))
    assert (refused.code, refused.retryable) == ("queue.full", True)
    assert refused.detail == {"limit": bound, "waiting": bound, "retry_after_ms": 2500}
    assert (await queue.submit(asked("other", tenant_backlog=own))).created


# Shedding


def shedding(few: int = 0) -> QueueSettings:
    """Low from 4 on, normal from 6, high from 8, at most 10; one at a time is on its way."""
    return QueueSettings(window_floor=1, shedding=Shedding(10, 0.4, 0.6, 0.8, few))


async def fill(queue: InvocationQueue, waiting: int, tenant: str = "acme") -> list[Invocation]:
    """So much waiting work, and one that is on its way to a worker."""
    later = CLOCK.now_ms() + HOUR_MS
    filled = [
        asked(tenant, priority=Priority.URGENT, run_at_ms=later if n % 2 else None)
        for n in range(waiting + waiting % 2 + 1)
    ][: waiting + 1]
    for invocation in filled:
        await queue.submit(invocation)
    return filled


@pytest.mark.parametrize(
    ("priority", "bound"),
    [(Priority.LOW, 4), (Priority.NORMAL, 6), (Priority.HIGH, 8), (Priority.URGENT, 10)],
)
async def test_low_is_shed_first_and_urgent_last(
    installation: Installation, priority: Priority, bound: int
) -> None:
    installation.settings = shedding()
    queue = installation.queue()
    await fill(queue, bound - 1)
    assert (await queue.submit(asked("other", priority=priority))).created
    refused = await refusal_of(queue, asked("other", priority=priority))
    assert (refused.code, refused.retryable) == ("queue.shedding", True)
    assert refused.detail == {"priority": priority.name.lower(), "retry_after_ms": 2000}
    if priority is not Priority.URGENT:
        assert (await queue.submit(asked("other", priority=Priority.URGENT))).created


async def test_a_tenant_of_whom_few_wait_is_spared_before_the_last_fraction(
    installation: Installation,
) -> None:
    installation.settings = shedding(few=2)
    queue, low = installation.queue(), Priority.LOW
    await fill(queue, 4, "flood")
    assert (await refusal_of(queue, asked("flood", priority=low))).code == "queue.shedding"
    for _ in range(2):
        assert (await queue.submit(asked("small", priority=low))).created
    assert (await refusal_of(queue, asked("small", priority=low))).code == "queue.shedding"
    for tenant in ("third", "fourth"):
        assert (await queue.submit(asked(tenant, priority=low))).created
    assert (await refusal_of(queue, asked("fifth", priority=low))).code == "queue.shedding"
    assert (await queue.submit(asked("fifth", priority=Priority.URGENT))).created


async def test_what_was_taken_in_is_never_shed(installation: Installation) -> None:
    installation.settings = shedding()
    queue, first = installation.queue(), asked(priority=Priority.LOW, idempotency_key="k")
    await queue.submit(first)
    claim = await claim_running(queue)
    await fill(queue, 9)
    assert (await queue.submit(first)).created
    again = asked(priority=Priority.LOW, idempotency_key="k")
    assert await queue.submit(again) == SubmitReceipt(first.id, created=False)
    assert await queue.complete(claim, ended(Outcome.TRAPPED, retry_at_ms=CLOCK.now_ms()))
    assert await queue.cancel("acme", first.id, CLOCK.now_ms()) is True
    assert (await refusal_of(queue, asked(priority=Priority.LOW))).code == "queue.shedding"


async def test_what_is_shed_costs_no_token(installation: Installation) -> None:
    installation.settings = shedding()
    queue = installation.queue()
    cancelled = await fill(queue, 10)
    await refusal_of(queue, asked("other", rate_limit=slow(1)))
    for one in cancelled:
        assert await queue.cancel("acme", one.id, CLOCK.now_ms()) is True
    assert (await queue.submit(asked("other", rate_limit=slow(1)))).created
    assert (await refusal_of(queue, asked("other", rate_limit=slow(1)))).code == (
        "tenant.rate_limited"
    )


async def test_room_comes_back_however_work_ends(installation: Installation) -> None:
    installation.settings = shedding()
    queue, chance = installation.queue(), random.Random(11)  # noqa: S311 (repeatable)
    for _ in range(40):
        await any_step(queue, chance)
    await end_all(queue)
    # The first is on its way at once; then exactly as many wait as may.
    for _ in range(11):
        assert (await queue.submit(asked(priority=Priority.URGENT))).created
    assert (await refusal_of(queue, asked(priority=Priority.URGENT))).code == "queue.shedding"


async def any_step(queue: InvocationQueue, chance: random.Random) -> None:
    """Submits, perhaps for later, capped or overdue; or ends, retries, or kills what is claimed."""
    content = replace(CONTENT, concurrency=chance.choice([None, 1]))
    now = CLOCK.now_ms()
    invocation = asked(
        chance.choice("abc"),
        content=content,
        priority=Priority.URGENT,
        tenant_concurrency=chance.choice([None, 1]),
        run_at_ms=chance.choice([None, None, now + 20]),
        deadline_ms=chance.choice([None, None, now + 5]),
    )
    with suppress(StockadeError):
        await queue.submit(invocation)
    if chance.random() < 0.2:
        await queue.cancel(invocation.tenant, invocation.id, now)
    for claim in await queue.claim(1, 0.0):
        outcome = chance.choice([Outcome.COMPLETED, Outcome.TRAPPED])
        retry_at_ms = chance.choice([None, now, now + 20]) if outcome is Outcome.TRAPPED else None
        end = ended(outcome, claim.attempt, retry_at_ms=retry_at_ms)
        await queue.complete(claim, end)
        if outcome is Outcome.TRAPPED and retry_at_ms is None and chance.random() < 0.5:
            await queue.redrive(claim.invocation.tenant, claim.invocation.id)


async def end_all(queue: InvocationQueue) -> None:
    """Runs everything that waits to its end."""
    idle = 0
    while idle < 20:
        await queue.tick(0, CLOCK.now_ms())
        claims = await queue.claim(10, 0.01)
        idle = 0 if claims else idle + 1
        for claim in claims:
            await queue.complete(claim, ended(number=claim.attempt))


# What stands in Redis


@pytest.fixture
async def store(valkey: EmbeddedValkey) -> AsyncIterator[tuple[Installation, RedisConnections]]:
    """An installation over Redis alone, and a connection of our own to look at it."""
    await flush(valkey.url)
    installation, connections = Installation(redis_maker(valkey.url)), RedisConnections(valkey.url)
    yield installation, connections
    await installation.close()
    await connections.close()


async def contents(connections: RedisConnections) -> dict[bytes, bytes]:
    """Every key with its value, as the server would write it to disk."""
    return {key: await connections.call("DUMP", key) for key in await connections.call("KEYS", "*")}


async def test_only_a_limited_tenant_has_a_bucket_and_it_ends_by_itself(
    store: tuple[Installation, RedisConnections],
) -> None:
    installation, connections = store
    queue = installation.queue()
    await queue.submit(asked("free"))
    assert await connections.call("KEYS", "*:rate:*") == []
    await queue.submit(asked(rate_limit=RateLimit(0.5, 10)))
    (bucket,) = await connections.call("KEYS", "*:rate:*")
    assert 0 < await connections.call("PTTL", bucket) <= 2_000
    assert await connections.call("PEXPIRE", bucket, 1)

    async def gone() -> bool:
        return not await connections.call("EXISTS", bucket)

    await until(gone)


async def test_a_refusal_writes_nothing(
    store: tuple[Installation, RedisConnections], valkey: EmbeddedValkey
) -> None:
    installation, connections = store
    installation.settings = QueueSettings(window_floor=1)
    queue = installation.queue()
    for _ in range(2):
        await queue.submit(asked(rate_limit=slow(2), tenant_backlog=1))
    before = await contents(connections)
    over = {"rate_limit": slow(2), "tenant_backlog": 9, "idempotency_key": "k", "weight": 3}
    assert (await refusal_of(queue, asked(**over))).code == "tenant.rate_limited"
    full = {"tenant_backlog": 1, "deadline_ms": CLOCK.now_ms() + HOUR_MS}
    assert (await refusal_of(queue, asked(**full))).code == "queue.full"
    assert await contents(connections) == before
    shed = QueueSettings(window_floor=1, shedding=Shedding(1))
    other = redis_maker(valkey.url)("other", shed)
    assert (await refusal_of(other, asked("new", rate_limit=slow(2)))).code == "queue.shedding"
    await other.aclose()
    assert await contents(connections) == before


async def counted(connections: RedisConnections) -> tuple[int, int, dict[bytes, int]]:
    """The sum of what waits, as kept and as it is, and the figures of its tenants as kept."""
    kept = int(await connections.call("GET", PREFIX + "waiting") or 0)
    real = await connections.call("ZCARD", PREFIX + "due")
    for kind in ("backlog:", "aside:"):
        for key in await connections.call("KEYS", PREFIX + kind + "*"):
            real += await connections.call("ZCARD", key)
    flat = await connections.call("HGETALL", PREFIX + "waits")
    return kept, real, {of: int(n) for of, n in zip(flat[::2], flat[1::2], strict=True)}


async def test_the_figures_of_what_waits_are_right_after_every_step(
    store: tuple[Installation, RedisConnections],
) -> None:
    installation, connections = store
    installation.settings = QueueSettings(window_floor=2)
    queue, chance, most = installation.queue(), random.Random(5), 0  # noqa: S311 (repeatable)
    for _ in range(150):
        await any_step(queue, chance)
        if chance.random() < 0.1:
            await queue.tick(0, CLOCK.now_ms())
        kept, real, waits = await counted(connections)
        assert kept == real == sum(waits.values())
        assert all(waits.values())
        most = max(most, real)
    assert most > 10
    await end_all(queue)
    assert await connections.call("EXISTS", PREFIX + "waiting", PREFIX + "waits") == 0


async def test_figures_that_are_wrong_are_put_right(
    store: tuple[Installation, RedisConnections],
) -> None:
    installation, connections = store
    installation.settings = QueueSettings(window_floor=1)
    queue = installation.queue()
    for tenant in "aabbb":
        await queue.submit(asked(tenant))
    await connections.call("HSET", PREFIX + "waits", "a", 70, "ghost", 9)
    await connections.call("HDEL", PREFIX + "waits", "b")
    await connections.call("SET", PREFIX + "waiting", 12345)

    async def right() -> bool:
        await queue.tick(0, CLOCK.now_ms())
        return await counted(connections) == (4, 4, {b"a": 1, b"b": 3})

    await until(right)
