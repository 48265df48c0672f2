"""Breakers that all workers share: what opens and closes them, whose they are, and how many."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from stockade.core.errors import StockadeError
from stockade.core.upstreams import (
    BreakerPolicy,
    CallFailure,
    UpstreamNews,
    UpstreamState,
    UpstreamStore,
    Verdict,
)
from stockade.infra.memory.memory_upstreams import MemoryUpstreamNews, MemoryUpstreamStore
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_keys import RedisKeys
from stockade.infra.redis.redis_upstreams import RedisUpstreamNews, RedisUpstreamStore
from tests.ports.valkey_fixture import CLOCK, flush, partitions_of, queue_url_of

pytest_plugins = ("tests.ports.valkey_fixture",)

POLICY = BreakerPolicy(failures=3, window_ms=60_000, probe_ms=40, max_probe_ms=100, max_upstreams=3)
API, WEB = "http_fetch:api.example.org", "http_fetch:*.example.org:8443"
FAILED = CallFailure("5xx", 4, 12)
OPENED, CLOSED = True, Verdict()
LEASE_MS = 60_000


@pytest.fixture(params=["memory", "redis", "partitions", "cluster"])
def queue_url(request: pytest.FixtureRequest) -> str:
    return queue_url_of(request)


@pytest.fixture
async def store(queue_url: str) -> AsyncIterator[UpstreamStore]:
    if queue_url:
        await flush(queue_url)
    made = store_at(queue_url)
    yield made
    await made.aclose()


def store_at(url: str, policy: BreakerPolicy = POLICY) -> RedisUpstreamStore | MemoryUpstreamStore:
    if not url:
        return MemoryUpstreamStore(CLOCK, policy)
    return RedisUpstreamStore(partitions_of(url).connections, policy, lambda: 1.0)


async def until_probe(store: UpstreamStore, tenant: str = "a", upstream: str = API) -> Verdict:
    async with asyncio.timeout(10):
        while not (verdict := await store.ask(tenant, upstream, LEASE_MS)).probe:
            await asyncio.sleep(0.005)
    return verdict


async def open_it(store: UpstreamStore, tenant: str = "a", upstream: str = API) -> None:
    told = [await store.fail(tenant, upstream, FAILED) for _ in range(3)]
    assert [bool(one and one.changed) for one in told] == [False, False, OPENED]


async def test_so_many_failures_in_a_row_open_it_for_everybody(store: UpstreamStore) -> None:
    assert await store.ask("a", API, LEASE_MS) == CLOSED
    assert await store.fail("a", API, FAILED) == CLOSED
    assert await store.fail("a", API, FAILED) == CLOSED
    opened = await store.fail("a", API, FAILED)
    assert opened is not None
    assert opened.changed
    assert 0 < opened.wait_ms <= POLICY.probe_ms
    (view,) = await store.views("a")
    assert (view.upstream, view.state, view.failures) == (API, UpstreamState.OPEN, 3)
    assert (view.cause, view.failed_probes) == ("5xx", 0)
    assert view.next_probe_ms is not None
    assert view.since_ms <= view.next_probe_ms


async def test_a_success_in_between_begins_the_count_anew(store: UpstreamStore) -> None:
    for _ in range(4):
        assert await store.fail("a", API, CallFailure("5xx", 4, 12, well_ms_ago=0)) == CLOSED
        assert await store.fail("a", API, FAILED) == CLOSED


async def test_failures_far_apart_are_not_in_a_row(queue_url: str) -> None:
    narrow = BreakerPolicy(failures=2, window_ms=1, probe_ms=40, max_probe_ms=40)
    store = store_at(queue_url, narrow)
    for _ in range(3):
        assert await store.fail("w", API, CallFailure("5xx", 4, 8)) == CLOSED
        seen = (await store.views("w"))[0].since_ms
        async with asyncio.timeout(10):
            while CLOCK.now_ms() <= seen + 5:
                await asyncio.sleep(0.002)
    await store.aclose()


async def test_answers_that_ask_to_slow_down_weigh_less(store: UpstreamStore) -> None:
    slow = CallFailure("429", 1, 12)
    told = [await store.fail("a", API, slow) for _ in range(12)]
    assert [bool(one and one.changed) for one in told] == [False] * 11 + [OPENED]


async def test_one_asker_gets_the_probe(store: UpstreamStore) -> None:
    await open_it(store)
    first = await until_probe(store)
    others = await asyncio.gather(*(store.ask("a", API, LEASE_MS) for _ in range(50)))
    assert {other.probe for other in others} == {0}
    assert all(0 < other.wait_ms <= first.wait_ms for other in others)
    assert (await store.views("a"))[0].state is UpstreamState.HALF_OPEN


async def test_a_probe_that_succeeds_closes_it(store: UpstreamStore) -> None:
    await open_it(store)
    await until_probe(store)
    assert await store.close("a", API) == Verdict(changed=True)
    assert await store.ask("a", API, LEASE_MS) == CLOSED
    assert await store.views("a") == []
    assert await store.close("a", API) == CLOSED


async def test_probes_that_fail_come_ever_later_up_to_a_bound(store: UpstreamStore) -> None:
    await open_it(store)
    waits = []
    for failed in (1, 2, 3):
        probe = (await until_probe(store)).probe
        told = await store.fail("a", API, CallFailure("timeout", 4, 12, probe=probe))
        assert told is not None
        assert not told.changed
        waits.append(told.wait_ms)
        (view,) = await store.views("a")
        assert (view.state, view.failed_probes) == (UpstreamState.OPEN, failed)
        assert view.cause == "timeout"
    assert 40 < waits[0] <= 80
    assert 80 < waits[1] <= 100
    assert 80 < waits[2] <= 100


async def test_what_the_upstream_asks_for_is_waited_up_to_the_bound(store: UpstreamStore) -> None:
    for upstream, after_ms, least_ms in ((API, 70, 60), (WEB, 999_999_000, 90)):
        for _ in range(3):
            told = await store.fail("a", upstream, CallFailure("5xx", 4, 12, after_ms=after_ms))
        assert told is not None
        assert least_ms < told.wait_ms <= POLICY.max_probe_ms


async def test_a_probe_whose_worker_died_is_given_to_the_next(store: UpstreamStore) -> None:
    await open_it(store)
    async with asyncio.timeout(10):
        while not (dead := (await store.ask("a", API, 10)).probe):
            await asyncio.sleep(0.005)
    following = await until_probe(store)
    assert following.probe > dead
    # The first one, heard of at last, changes nothing for the one under way.
    late = await store.fail("a", API, CallFailure("5xx", 4, 12, probe=dead))
    assert late is not None
    assert late.wait_ms > 1000
    assert (await store.views("a"))[0].state is UpstreamState.HALF_OPEN


async def test_failures_of_calls_sent_before_it_opened_delay_nothing(store: UpstreamStore) -> None:
    await open_it(store)
    (before,) = await store.views("a")
    for _ in range(5):
        await store.fail("a", API, FAILED)
    (after,) = await store.views("a")
    assert (after.next_probe_ms, after.failures) == (before.next_probe_ms, before.failures)


async def test_tenants_and_upstreams_are_apart(store: UpstreamStore) -> None:
    for tenant in ("a", "a:b", "ä\n{p00}"):
        await open_it(store, tenant)
        assert await store.ask(tenant, WEB, LEASE_MS) == CLOSED
    assert await store.ask("b", API, LEASE_MS) == CLOSED
    assert await store.views("b") == []
    assert await store.reset("b", API) is False
    assert (await store.ask("a", API, LEASE_MS)) != CLOSED


async def test_a_reset_lets_calls_out(store: UpstreamStore) -> None:
    await open_it(store)
    assert await store.reset("a", API) is True
    assert await store.ask("a", API, LEASE_MS) == CLOSED
    assert await store.reset("a", API) is False


async def test_a_tenant_has_so_many_at_most(store: UpstreamStore) -> None:
    for number in range(20):
        assert await store.fail("a", f"http_fetch:h{number}", FAILED) == CLOSED
    assert "http_fetch:h19" in {view.upstream for view in await store.views("a")}
    assert len(await store.views("a")) == POLICY.max_upstreams
    assert await store.fail("b", API, FAILED) == CLOSED


async def test_one_too_many_is_not_counted_while_all_are_out(store: UpstreamStore) -> None:
    for number in range(3):
        await open_it(store, "a", f"http_fetch:h{number}")
    assert await store.fail("a", API, FAILED) is None
    assert len(await store.views("a")) == 3


async def test_names_of_any_form_are_their_own(store: UpstreamStore) -> None:
    names = sorted(("http_fetch:[::1]:80", "http_fetch:*.x", "http_fetch:a b\r\n1 2 3"))
    for name in names:
        await store.fail("a", name, FAILED)
    assert [view.upstream for view in await store.views("a")] == names


@pytest.mark.parametrize("text", ["", "2 new format", "1 -1 0 0 0 0 0 0 x", "1 9 9 9 9"])
async def test_what_cannot_be_read_counts_as_nothing(valkey: EmbeddedValkey, text: str) -> None:
    url = f"{valkey.url}#1"
    await flush(url)
    store, connections = store_at(url), partitions_of(url).connections[0]
    await connections.call("HSET", RedisKeys().prefix + "upstreams:a", API, text)
    assert await store.views("a") == []
    assert await store.ask("a", API, LEASE_MS) == CLOSED
    await open_it(store)
    await store.aclose()
    await connections.close()


async def test_it_is_kept_for_a_day(valkey: EmbeddedValkey) -> None:
    url = f"{valkey.url}#1"
    store, connections = store_at(url), partitions_of(url).connections[0]
    await store.fail("day", API, FAILED)
    left_ms = await connections.call("PTTL", RedisKeys().prefix + "upstreams:day")
    assert 80_000_000 < left_ms <= 86_400_000
    await store.aclose()
    await connections.close()


@pytest.fixture
async def news(queue_url: str) -> AsyncIterator[Callable[[], UpstreamNews]]:
    told: list[tuple[str, str]] = []
    made: list[RedisUpstreamNews] = []
    if queue_url:
        await flush(queue_url)

    def make() -> UpstreamNews:
        if not queue_url:
            return MemoryUpstreamNews(told)
        made.append(RedisUpstreamNews(partitions_of(queue_url).connections[0]))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


async def test_every_listener_hears_the_news(news: Callable[[], UpstreamNews]) -> None:
    one, other, teller = news(), news(), news()
    assert await one.hear(0.01) is None
    assert await other.hear(0.01) is None
    assert await one.hear(0.01) == []
    await teller.tell("a", API)
    await teller.tell("b", WEB)
    for listener in (one, other):
        heard: list[tuple[str, str]] = []
        async with asyncio.timeout(10):
            while len(heard) < 2:
                heard += await listener.hear(0.5) or []
        assert heard == [("a", API), ("b", WEB)]


async def test_who_is_far_behind_takes_it_to_be_any(valkey: EmbeddedValkey) -> None:
    await flush(f"{valkey.url}#1")
    listener, teller = (RedisUpstreamNews(RedisConnections(valkey.url)) for _ in range(2))
    assert await listener.hear(0.01) is None
    for _ in range(100):
        await teller.tell("a", API)
    assert await listener.hear(0.01) is None
    await listener.aclose()
    await teller.aclose()


async def test_a_store_that_is_away_is_told_to_the_caller_but_never_by_the_news() -> None:
    def nowhere() -> RedisConnections:
        return RedisConnections("redis://127.0.0.1:1", command_seconds=1)

    store, news = RedisUpstreamStore([nowhere()], POLICY), RedisUpstreamNews(nowhere())
    calls: list[Awaitable[object]] = [
        store.ask("a", API, 1),
        store.close("a", API),
        store.fail("a", API, FAILED),
        news.hear(0.01),
    ]
    for call in calls:
        with pytest.raises(StockadeError) as caught:
            await call
        assert caught.value.code == "queue.unavailable"
    await news.tell("a", API)
    await store.aclose()
    await news.aclose()
