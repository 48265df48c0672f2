"""Spans of recent invocations: told again as they were, each tenant's own, bounded three ways."""

from collections.abc import AsyncIterator, Callable

import pytest

from stockade.core.spans import Span, TraceBounds, TracePart
from stockade.infra.memory.memory_traces import MemoryTraces
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_traces import RedisTraces
from tests.ports.valkey_fixture import CLOCK, flush, partitions_of, queue_url_of

pytest_plugins = ("tests.ports.valkey_fixture",)
FACTS = {"text": "\x1b[31m\u20ac", "whole": 1 << 40, "share": 0.25, "yes": True, "no": False}
SPAN = Span("run", 1, (1 << 64) - 1, 1 << 63, 1_764_284_274_872_428_123, 2, FACTS, "trapped", 7)
BOUNDS = TraceBounds(invocation_bytes=2000, total_bytes=8000, kept_ms=60_000)
Store = RedisTraces | MemoryTraces
Opener = Callable[[TraceBounds], Store]


@pytest.fixture(params=["memory", "redis", "partitions", "cluster"])
def queue_url(request: pytest.FixtureRequest) -> str:
    return queue_url_of(request)


@pytest.fixture
async def opened(queue_url: str) -> AsyncIterator[Opener]:
    made: list[Store] = []
    if queue_url:
        await flush(queue_url)

    def opener(bounds: TraceBounds) -> Store:
        if not queue_url:
            made.append(MemoryTraces(CLOCK, bounds))
        else:
            made.append(RedisTraces(partitions_of(queue_url).connections, bounds))
        return made[-1]

    yield opener
    for one in made:
        await one.aclose()


def part(invocation: str = "id", tenant: str = "acme", text: str = "") -> TracePart:
    spans = (SPAN, SPAN._replace(id=1, attributes={"text": text}, error="", link=0))
    return TracePart(tenant, invocation, "ab" * 16, "a=b", "worker", "w1", spans, failed=True)


async def test_what_is_kept_comes_back_as_it_was(opened: Opener) -> None:
    store = opened(BOUNDS)
    assert await store.parts("acme", "id") == []
    first, second = part(), part(text="second")
    await store.keep([first, part("other")])
    await store.keep([second])
    assert await store.parts("acme", "id") == [first, second]
    assert await store.parts("acme", "other") == [part("other")]


async def test_another_tenants_is_not_there(opened: Opener) -> None:
    store = opened(BOUNDS)
    await store.keep([part(tenant="acme")])
    assert await store.parts("evil", "id") == []


async def test_an_invocation_has_its_share_and_no_more(opened: Opener) -> None:
    store = opened(BOUNDS)
    big = [part(text="x" * 900) for _ in range(5)]
    dropped = await store.keep(big)
    await store.keep([part("small")])
    kept = await store.parts("acme", "id")
    assert 0 < len(kept) < 3
    assert dropped == 5 - len(kept)
    assert await store.parts("acme", "small") == [part("small")]


async def test_the_oldest_make_room(opened: Opener) -> None:
    store = opened(BOUNDS)
    for number in range(40):
        await store.keep([part(f"id{number}", text="x" * 300)])
    there = [bool(await store.parts("acme", f"id{number}")) for number in range(40)]
    assert there == sorted(there)
    assert 2 <= sum(there) < 20


async def test_a_flood_in_one_call_is_bounded_too(opened: Opener) -> None:
    store = opened(BOUNDS)
    await store.keep([part(f"id{number}", text="x" * 300) for number in range(200)])
    there = [number for number in range(200) if await store.parts("acme", f"id{number}")]
    assert there == list(range(there[0], 200))
    assert len(there) < 20


async def test_what_is_too_old_is_gone(opened: Opener) -> None:
    store = opened(TraceBounds(kept_ms=1))
    await store.keep([part()])
    while await store.parts("acme", "id"):
        pass
    await store.keep([part("new")])
    assert await store.parts("acme", "id") == []


async def test_the_time_is_the_queues(opened: Opener) -> None:
    store = opened(BOUNDS)
    before = await store.time_ns()
    assert abs(before // 1_000_000 - CLOCK.now_ms()) < 5000
    assert await store.time_ns() >= before


@pytest.mark.parametrize("queue_url", ["redis"], indirect=True)
async def test_redis_keeps_nothing_of_what_made_room(queue_url: str, opened: Opener) -> None:
    store = opened(TraceBounds(total_bytes=1024))
    await store.keep([part(f"id{number}") for number in range(50)])
    connections = RedisConnections(queue_url.partition("#")[0])
    try:
        keys = await connections.call("KEYS", "sk:*trace:*")
        order = await connections.call("ZCARD", "sk:{p00}:traces")
        sizes = await connections.call("HVALS", "sk:{p00}:trace_sizes")
        total = await connections.call("GET", "sk:{p00}:trace_bytes")
    finally:
        await connections.close()
    assert len(keys) == order == len(sizes)
    assert sum(map(int, sizes)) == int(total) <= 1024


@pytest.mark.parametrize("queue_url", ["redis"], indirect=True)
async def test_what_a_newer_process_wrote_is_passed_over(queue_url: str, opened: Opener) -> None:
    store = opened(BOUNDS)
    await store.keep([part()])
    connections = RedisConnections(queue_url.partition("#")[0])
    try:
        await connections.call("RPUSH", "sk:{p00}:trace:id", b"\x92\x02\xa3new")
    finally:
        await connections.close()
    assert await store.parts("acme", "id") == [part()]
