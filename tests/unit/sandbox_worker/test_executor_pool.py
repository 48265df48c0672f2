"""The pool: one tenant an executor, the longest idle one ends first, the dead are replaced."""

import asyncio

import pytest

from sandbox_worker.executor_pool import ExecutorPool, PoolSettings
from sandbox_worker.executor_task import Task
from sandbox_worker.executor_watch import ExecutorWatch
from stockade.core.errors import StockadeError
from stockade.core.isolation import IsolationLevel, IsolationPolicy
from stockade.core.jail_control import JailRole
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import Outcome
from stockade.infra.cgroup import NoBounds
from tests.unit.sandbox_worker.hostile_peer import FakeProcess


class FakeJail:
    """Counts what it forks; may refuse."""

    def __init__(self) -> None:
        self.forked: list[FakeProcess] = []
        self.refuses = False

    async def fork(self, role: JailRole) -> FakeProcess:
        assert role is JailRole.EXECUTOR
        if self.refuses:
            raise StockadeError("jail.unavailable", "no", retryable=True)
        process = FakeProcess()
        self.forked.append(process)
        return process

    async def engine_fingerprint(self) -> str:
        return "fake"


class FakeMeter:
    """The `ProcessMeter` port: says what it was told, by process id."""

    def __init__(self) -> None:
        self.resident: dict[int, int | None] = {}
        self.cpu: dict[int, float | None] = {}

    def resident_bytes(self, process_id: int) -> int | None:
        return self.resident.get(process_id, 1000)

    def cpu_seconds(self, process_id: int) -> float | None:
        return self.cpu.get(process_id, 1.0)


def pool_of(
    jail: FakeJail,
    *,
    meter: FakeMeter | None = None,
    isolation: IsolationPolicy | None = None,
    **settings: float,
) -> ExecutorPool:
    wanted = {"spare_executors": 0} | settings
    made = PoolSettings(**wanted)  # type: ignore[arg-type] # by name
    return ExecutorPool(
        jail, made, isolation or IsolationPolicy(), meter or FakeMeter(), NoBounds()
    )


async def settled() -> None:
    """Lets what was started come to its end."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_executor_is_used_again_by_its_tenant_only() -> None:
    jail = FakeJail()
    pool = pool_of(jail, max_executors=4, runs_per_executor=10)
    first = await pool.acquire("a", "d")
    await pool.release(first)
    assert await pool.acquire("a", "d") is first
    other = await pool.acquire("b", "d")
    assert other is not first
    owners = {str(first.process_id): "a", str(other.process_id): "b"}
    assert pool.owners.told()["executors"] == owners
    await pool.release(first)
    await pool.release(other)
    await pool.aclose()
    assert all(not process.alive for process in jail.forked)


async def test_the_longest_idle_executor_of_another_tenant_makes_room() -> None:
    jail = FakeJail()
    pool = pool_of(jail, max_executors=2, runs_per_executor=10)
    oldest, newer = await pool.acquire("a", "d"), await pool.acquire("b", "d")
    await pool.release(oldest)
    await pool.release(newer)
    third = await pool.acquire("c", "d")
    assert not oldest.alive
    assert newer.alive
    await pool.release(third)
    await pool.aclose()


async def test_a_full_pool_waits_for_a_release() -> None:
    pool = pool_of(FakeJail(), max_executors=1, runs_per_executor=10)
    lent = await pool.acquire("a", "d")
    waiting = asyncio.ensure_future(pool.acquire("b", "d"))
    await asyncio.sleep(0)
    assert not waiting.done()
    await pool.release(lent)
    await pool.release(await waiting)
    await pool.aclose()


async def test_spent_and_unwell_executors_are_ended() -> None:
    pool = pool_of(FakeJail(), max_executors=2, runs_per_executor=1)
    spent, unwell = await pool.acquire("a", "d"), await pool.acquire("a", "d")
    spent.runs = 1
    unwell.discard()
    await pool.release(spent)
    await pool.release(unwell)
    await settled()
    assert not spent.alive
    assert not unwell.alive


async def test_an_idle_executor_that_died_is_not_lent() -> None:
    jail = FakeJail()
    pool = pool_of(jail, max_executors=2, runs_per_executor=10)
    await pool.release(await pool.acquire("a", "d"))
    jail.forked[0].kill()
    executor = await pool.acquire("a", "d")
    assert executor.alive
    await pool.release(executor)
    await pool.aclose()


async def test_a_refused_fork_gives_its_place_back() -> None:
    jail = FakeJail()
    pool = pool_of(jail, max_executors=1, runs_per_executor=10)
    jail.refuses = True
    with pytest.raises(StockadeError, match="unavailable"):
        await pool.acquire("a", "d")
    jail.refuses = False
    await pool.release(await pool.acquire("a", "d"))
    await pool.aclose()


async def test_tenants_who_wait_are_served_in_turn() -> None:
    jail = FakeJail()
    pool = pool_of(jail, max_executors=1)
    lent = await pool.acquire("first", "d")
    served: list[str] = []

    async def work(tenant: str) -> None:
        executor = await pool.acquire(tenant, "d")
        served.append(tenant)
        await pool.release(executor)

    crowd = [asyncio.ensure_future(work("crowd")) for _ in range(5)]
    await settled()
    others = [asyncio.ensure_future(work(tenant)) for tenant in ("one", "two")]
    await settled()
    await pool.release(lent)
    await asyncio.gather(*crowd, *others)
    assert served == ["crowd", "one", "two", *["crowd"] * 4]
    await pool.aclose()


async def test_a_newcomer_does_not_overtake_who_was_promised() -> None:
    pool = pool_of(FakeJail(), max_executors=1)
    lent = await pool.acquire("a", "d")
    waiting = asyncio.ensure_future(pool.acquire("b", "d"))
    await settled()
    await pool.release(lent)
    newcomer = asyncio.ensure_future(pool.acquire("a", "d"))
    await settled()
    assert (waiting.done(), newcomer.done()) == (True, False)
    await pool.release(await waiting)
    await pool.release(await newcomer)
    await pool.aclose()


@pytest.mark.parametrize("after_it_was_served", [False, True])
async def test_who_is_cancelled_while_waiting_leaves_no_gap(*, after_it_was_served: bool) -> None:
    pool = pool_of(FakeJail(), max_executors=1)
    lent = await pool.acquire("a", "d")
    leaving = asyncio.ensure_future(pool.acquire("b", "d"))
    staying = asyncio.ensure_future(pool.acquire("c", "d"))
    await settled()
    if after_it_was_served:
        await pool.release(lent)
        leaving.cancel()
    else:
        leaving.cancel()
        await settled()
        await pool.release(lent)
    executor = await asyncio.wait_for(staying, 5)
    await asyncio.gather(leaving, return_exceptions=True)
    if not leaving.cancelled():
        await pool.release(leaving.result())
    await pool.release(executor)
    await pool.release(await asyncio.wait_for(pool.acquire("d", "d"), 5))
    await pool.aclose()


async def test_never_more_live_than_may() -> None:
    jail = FakeJail()
    pool = pool_of(jail, max_executors=3, spare_executors=2, runs_per_executor=4)
    most = 0

    async def work(number: int) -> None:
        nonlocal most
        executor = await pool.acquire(f"tenant-{number % 7}", "d")
        executor.runs += 1
        most = max(most, sum(process.alive for process in jail.forked))
        await asyncio.sleep(0)
        if number % 11 == 0:
            executor.discard()
        await pool.release(executor)

    await asyncio.gather(*(work(number) for number in range(300)))
    assert most <= 3
    await pool.aclose()
    assert not any(process.alive for process in jail.forked)
    assert pool._places == 3
    assert not pool.lent


async def test_spares_are_kept_for_whoever_comes_next() -> None:
    jail = FakeJail()
    pool = pool_of(jail, max_executors=4, spare_executors=2)
    first = await pool.acquire("a", "d")
    await settled()
    assert len(jail.forked) == 3
    second = await pool.acquire("b", "d")
    assert second.process_id in {process.process_id for process in jail.forked[1:3]}
    await settled()
    assert len(jail.forked) == 4
    for executor in (first, second):
        await pool.release(executor)
    for process in jail.forked[1:]:
        process.kill()
    await pool.sweep()
    await settled()
    third = await pool.acquire("c", "d")
    assert third.alive
    await pool.release(third)
    await pool.aclose()


async def test_a_refused_spare_is_no_error() -> None:
    jail = FakeJail()
    pool = pool_of(jail, max_executors=3, spare_executors=1)
    lent = await pool.acquire("a", "d")
    await settled()
    jail.refuses = True
    jail.forked[1].kill()
    await pool.sweep()
    await settled()
    jail.refuses = False
    await pool.release(lent)
    await pool.aclose()


async def test_isolation_by_invocation_never_lends_twice() -> None:
    isolation = IsolationPolicy(tenants={"apart": IsolationLevel.INVOCATION})
    jail = FakeJail()
    pool = pool_of(jail, max_executors=4, isolation=isolation)
    seen: set[int] = set()
    for _ in range(5):
        executor = await pool.acquire("apart", "d")
        seen.add(id(executor))
        await pool.release(executor)
        await settled()
    assert len(jail.forked) == 5
    together = await pool.acquire("together", "d")
    await pool.release(together)
    assert await pool.acquire("together", "d") is together
    await pool.release(together)
    await pool.aclose()


async def test_what_is_idle_too_long_or_has_grown_is_ended() -> None:
    jail, meter = FakeJail(), FakeMeter()
    pool = pool_of(jail, meter=meter, max_executors=4, idle_seconds=0.01, max_growth_bytes=500)
    await pool.release(await pool.acquire("a", "d"))
    await asyncio.sleep(0.02)
    await pool.sweep()
    await settled()
    assert not jail.forked[0].alive
    pool = pool_of(jail, meter=meter, max_executors=4, max_growth_bytes=500)
    executor = await pool.acquire("a", "d")
    await pool.release(executor)
    meter.resident[executor.process_id] = 1400
    await pool.sweep()
    assert executor.alive
    meter.resident[executor.process_id] = 1600
    await pool.sweep()
    await settled()
    assert not executor.alive
    await pool.aclose()


@pytest.mark.parametrize("gone", [False, True])
async def test_an_idle_executor_that_works_is_ended(*, gone: bool) -> None:
    jail, meter = FakeJail(), FakeMeter()
    pool = pool_of(jail, meter=meter, max_executors=2)
    executor = await pool.acquire("a", "d")
    await pool.release(executor)
    for used in (1.0, 1.2):
        meter.cpu[executor.process_id] = used
        await pool.sweep()
        assert executor.alive
    meter.cpu[executor.process_id] = None if gone else 2.0
    await pool.sweep()
    await settled()
    assert not executor.alive
    await pool.aclose()


async def test_a_process_that_holds_too_much_ends_at_its_memory_limit() -> None:
    jail, meter = FakeJail(), FakeMeter()
    pool = pool_of(jail, meter=meter, max_executors=2)
    watch = ExecutorWatch(pool, meter, slack_bytes=100)
    limits = Limits(memory_bytes=1000, output_bytes=10, log_bytes=10)
    task = Task("d", Abi.STOCKADE_V1, b"artifact", b"in", limits, ())
    executor = await pool.acquire("a", "d")
    running = asyncio.ensure_future(executor.run(task))
    await jail.forked[0].command()
    allowed = 1000 + 1000 + 2 * (2 + 10 + 10) + len(b"artifact") + 100
    meter.resident[executor.process_id] = allowed
    watch.look()
    assert executor.healthy
    meter.resident[executor.process_id] = allowed + 1
    watch.look()
    result = await running
    assert (result.outcome, result.limit) == (Outcome.LIMIT_EXCEEDED, "memory")
    await pool.release(executor)
    await pool.aclose()
