"""The worker's gate: counts by itself, tells of failures, refuses, probes, and never waits long."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from prometheus_client import generate_latest

from sandbox_worker.breakers import LOOK_MS, Breakers
from sandbox_worker.metric_families import Families
from stockade.core.errors import StockadeError
from stockade.core.upstreams import BreakerPolicy, CallFailure, Verdict
from stockade.infra.memory.memory_upstreams import MemoryUpstreamNews, MemoryUpstreamStore

POLICY = BreakerPolicy(failures=3, probe_ms=2000, max_probe_ms=8000)
API = "http_fetch:api.example.org"
LEASE_MS = 11_000


class HandClock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        return self.ms

    def new_id(self) -> str:
        return "id"


class CountingStore(MemoryUpstreamStore):
    """Counts what it is asked and told, and may be away."""

    asked = told = 0
    trouble: Exception | None = None

    async def fail(self, tenant: str, upstream: str, failure: CallFailure) -> Verdict | None:
        self.told += 1
        await self._or_trouble()
        return await super().fail(tenant, upstream, failure)

    async def ask(self, tenant: str, upstream: str, lease_ms: int) -> Verdict:
        self.asked += 1
        await self._or_trouble()
        return await super().ask(tenant, upstream, lease_ms)

    async def close(self, tenant: str, upstream: str) -> Verdict:
        await self._or_trouble()
        return await super().close(tenant, upstream)

    async def _or_trouble(self) -> None:
        if self.trouble is not None:
            raise self.trouble


class Installation:
    """Workers' gates over one store, on one clock."""

    def __init__(self, policy: BreakerPolicy = POLICY) -> None:
        self.clock = HandClock()
        self.policy = policy
        self.store = CountingStore(self.clock, policy)
        self.news: list[tuple[str, str]] = []

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Breakers]:
        news = MemoryUpstreamNews(self.news)
        await news.hear(0)
        gate = Breakers(self.store, news, self.policy, LEASE_MS, self.clock.now_ms)
        async with gate.serving():
            yield gate


@pytest.fixture
def all_of() -> Installation:
    return Installation()


async def call(gate: Breakers, status: int = 200, tenant: str = "a", upstream: str = API) -> None:
    with await gate.enter(tenant, upstream) as passage:
        passage.answered(status)
    await gate.told()


async def refused(gate: Breakers, tenant: str = "a") -> StockadeError:
    with pytest.raises(StockadeError) as caught:
        await gate.enter(tenant, API)
    assert (caught.value.code, caught.value.retryable) == ("http_fetch.upstream_out", True)
    return caught.value


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await look():
            await asyncio.sleep(0.005)


async def go_out(gate: Breakers) -> None:
    for _ in range(POLICY.failures):
        await call(gate, 503)


async def test_calls_that_succeed_ask_nobody(all_of: Installation) -> None:
    async with all_of.worker() as gate:
        for status in (200, 301, 404, 499) * 50:
            await call(gate, status)
    assert (all_of.store.asked, all_of.store.told) == (1, 0)
    assert gate.open_now == 0


async def test_failures_of_two_workers_open_it_for_both(all_of: Installation) -> None:
    async with all_of.worker() as one, all_of.worker() as other:
        await call(other)
        all_of.clock.ms += 1
        await call(one, 500)
        await call(other, 500)
        await call(one, 500)
        error = await refused(one)
        assert 1000 <= int(str(error.detail["next_probe_in_ms"])) <= 2000
        assert "api.example.org has been failing" in error.message

        async def other_knows() -> bool:
            try:
                with await other.enter("a", API):
                    pass
            except StockadeError:
                return True
            return False

        await until(other_knows)
        assert (one.open_now, other.open_now) == (1, 1)
        assert (one.counts.opened, one.counts.refused) == (1, 1)


async def test_another_tenant_is_not_affected(all_of: Installation) -> None:
    async with all_of.worker() as gate:
        await go_out(gate)
        await refused(gate)
        await call(gate, 200, "b")
        await call(gate, 200, "a", "http_fetch:other.example.org")


async def test_one_probe_goes_out_and_closes_it_for_everybody(all_of: Installation) -> None:
    async with all_of.worker() as one, all_of.worker() as other:
        await go_out(one)
        await call(other, tenant="b")
        all_of.clock.ms += 2000
        with await other.enter("a", API) as probe:
            await refused(other)
            await refused(one)
            probe.answered(200)
        assert (other.counts.probes, one.counts.probes) == (1, 0)
        await call(other)
        await other.told()
        # News or no news: after so long everybody has looked.
        all_of.clock.ms += LOOK_MS
        await call(one)
        assert (one.open_now, other.open_now) == (0, 0)


async def test_a_probe_that_fails_is_followed_by_a_longer_wait(all_of: Installation) -> None:
    async with all_of.worker() as gate:
        await go_out(gate)
        for wait_ms in (4000, 8000, 8000):
            all_of.clock.ms += 8000
            await call(gate, 502)
            (view,) = await all_of.store.views("a")
            assert view.next_probe_ms == all_of.clock.ms + wait_ms
            await refused(gate)
        assert gate.counts.probes == 3


async def test_everybody_who_waits_for_the_same_look_is_refused(all_of: Installation) -> None:
    async with all_of.worker() as one, all_of.worker() as other:
        await go_out(one)
        asked = all_of.store.asked
        calls = (other.enter("a", API) for _ in range(100))
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(end) for end in ends} == {StockadeError}
        assert all_of.store.asked == asked + 1
        assert other.counts.probes == 0


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (StockadeError("http_fetch.timeout", ""), True),
        (StockadeError("http_fetch.unreachable", ""), True),
        (StockadeError("http_fetch.unresolvable", ""), True),
        (StockadeError("http_fetch.tls_failed", ""), True),
        (StockadeError("http_fetch.protocol", ""), True),
        (StockadeError("http_fetch.address_refused", ""), False),
        (StockadeError("http_fetch.response_too_large", ""), False),
        (asyncio.CancelledError(), False),
    ],
)
async def test_only_what_the_upstream_is_to_blame_for_counts(
    all_of: Installation, error: BaseException, *, counts: bool
) -> None:
    async with all_of.worker() as gate:
        for _ in range(POLICY.failures):
            with pytest.raises(type(error)), await gate.enter("a", API):
                raise error
        await gate.told()
        assert gate.open_now == counts
        assert all_of.store.told == (POLICY.failures if counts else 0)


async def test_a_call_that_hung_until_its_run_was_over_counts(all_of: Installation) -> None:
    async with all_of.worker() as gate:
        for _ in range(POLICY.failures):
            passage = await gate.enter("a", API)
            all_of.clock.ms += 1000
            with pytest.raises(asyncio.CancelledError), passage:
                raise asyncio.CancelledError
        await refused(gate)


async def test_a_probe_that_tells_nothing_leaves_it_open(all_of: Installation) -> None:
    async with all_of.worker() as gate:
        await go_out(gate)
        all_of.clock.ms += 2000
        with pytest.raises(asyncio.CancelledError), await gate.enter("a", API):
            raise asyncio.CancelledError
        await refused(gate)
        await gate.told()
        (view,) = await all_of.store.views("a")
        assert (view.failed_probes, view.cause) == (1, "none")


async def test_asking_to_slow_down_opens_it_four_times_as_late(all_of: Installation) -> None:
    async with all_of.worker() as gate:
        for _ in range(4 * POLICY.failures - 1):
            await call(gate, 429)
        assert gate.open_now == 0
        await call(gate, 429)
        await refused(gate)


async def test_an_upstream_may_say_when_to_ask_again(all_of: Installation) -> None:
    async with all_of.worker() as gate:
        for _ in range(POLICY.failures):
            with await gate.enter("a", API) as passage:
                passage.answered(503, after_ms=5000)
        await gate.told()
        error = await refused(gate)
        assert error.detail["next_probe_in_ms"] == 5000


async def test_a_reset_is_heard(all_of: Installation) -> None:
    async with all_of.worker() as gate:
        await go_out(gate)
        await refused(gate)
        assert await all_of.store.reset("a", API)
        all_of.news.append(("a", API))

        async def closed() -> bool:
            try:
                await call(gate)
            except StockadeError:
                return False
            return True

        await until(closed)


@pytest.mark.parametrize(
    "trouble",
    [
        StockadeError("queue.unavailable", ""),
        TimeoutError(),
        RuntimeError("WRONGTYPE"),
        IndexError(),
    ],
)
async def test_without_the_store_a_worker_goes_by_its_own_counts(
    all_of: Installation, trouble: Exception
) -> None:
    async with all_of.worker() as gate:
        await call(gate)
        all_of.store.trouble = trouble
        await go_out(gate)
        await refused(gate)
        all_of.clock.ms += 2000
        await call(gate, 503)
        await refused(gate)
        all_of.clock.ms += 4000
        await call(gate)
        await call(gate)
        assert gate.open_now == 0
        assert gate.counts.untold > 0
        # It is back: what is shared counts again.
        all_of.store.trouble = None
        all_of.clock.ms += 2000
        await go_out(gate)
        assert len(await all_of.store.views("a")) == 1


async def test_a_store_that_is_away_is_asked_once_a_second(all_of: Installation) -> None:
    all_of.store.trouble = StockadeError("queue.unavailable", "")
    async with all_of.worker() as gate:
        for number in range(50):
            await call(gate, 503, upstream=f"http_fetch:h{number}")
    assert (all_of.store.asked, all_of.store.told) == (1, 0)
    assert gate.counts.untold == 50


async def test_a_store_that_never_answers_holds_a_call_for_a_moment_only(
    all_of: Installation,
) -> None:
    class Silent(CountingStore):
        async def ask(self, tenant: str, upstream: str, lease_ms: int) -> Verdict:
            await asyncio.Event().wait()
            return await super().ask(tenant, upstream, lease_ms)

    all_of.store = Silent(all_of.clock, POLICY)
    async with all_of.worker() as gate, asyncio.timeout(10):
        await call(gate)


async def test_news_that_cannot_be_heard_end_nothing(all_of: Installation) -> None:
    class Deaf(MemoryUpstreamNews):
        tries = 0

        async def hear(self, timeout_seconds: float) -> list[tuple[str, str]] | None:
            self.tries += 1
            await asyncio.sleep(timeout_seconds / 1000)
            raise StockadeError("queue.unavailable", "")

    deaf = Deaf([])
    gate = Breakers(all_of.store, deaf, POLICY, LEASE_MS, all_of.clock.now_ms)

    async def tried() -> bool:
        return deaf.tries > 0

    async with gate.serving():
        await until(tried)
        await call(gate)


async def test_too_many_failures_to_tell_are_dropped(all_of: Installation) -> None:
    gate = Breakers(all_of.store, MemoryUpstreamNews([]), POLICY, LEASE_MS, all_of.clock.now_ms)
    for number in range(1100):
        with await gate.enter("a", f"http_fetch:h{number}") as passage:
            passage.answered(503)
    assert gate.counts.untold == 100


async def test_a_worker_knows_so_many_upstreams_and_asks_about_the_others(
    all_of: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox_worker.breakers.MOST_LINES", 2)
    async with all_of.worker() as gate:
        await go_out(gate)
        for name in ("x", "y"):
            await call(gate, upstream=name)
        await refused(gate)


async def test_without_breakers_nothing_is_refused_or_asked() -> None:
    none = Installation(BreakerPolicy(failures=0))
    async with none.worker() as gate:
        for _ in range(50):
            await call(gate, 503)
    assert (none.store.asked, none.store.told, gate.counts.failures) == (0, 0, 50)


async def test_one_too_many_for_the_store_counts_in_the_worker(all_of: Installation) -> None:
    all_of.store = CountingStore(all_of.clock, BreakerPolicy(failures=3, max_upstreams=0))
    async with all_of.worker() as gate:
        await go_out(gate)
        await refused(gate)


async def test_its_counts_are_metrics(all_of: Installation) -> None:
    families = Families()
    assert b"upstream" not in generate_latest(families.registry)
    async with all_of.worker() as gate:
        families.upstreams.watch(gate)
        await go_out(gate)
        await refused(gate)
        all_of.clock.ms += 2000
        await call(gate, 503)
        told = generate_latest(families.registry).decode()
    for name, count in {
        "upstreams_out": 1,
        "upstream_opened_total": 1,
        "upstream_refused_total": 1,
        "upstream_probes_total": 1,
        "upstream_failures_total": 4,
        "upstream_untold_total": 0,
    }.items():
        assert f"\nstockade_{name} {count}.0\n" in told
