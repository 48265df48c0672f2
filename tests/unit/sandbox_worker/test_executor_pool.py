"""The pool: one tenant an executor, the longest idle one ends first, the dead are replaced."""

import asyncio

import pytest

from sandbox_worker.executor_pool import ExecutorPool
from stockade.core.errors import StockadeError
from stockade.core.jail_control import JailRole
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


async def test_an_executor_is_used_again_by_its_tenant_only() -> None:
    jail = FakeJail()
    pool = ExecutorPool(jail, max_executors=4, runs_per_executor=10)
    first = await pool.acquire("a", "d")
    await pool.release(first)
    assert await pool.acquire("a", "d") is first
    other = await pool.acquire("b", "d")
    assert other is not first
    await pool.release(first)
    await pool.release(other)
    await pool.aclose()
    assert all(not process.alive for process in jail.forked)


async def test_the_longest_idle_executor_of_another_tenant_makes_room() -> None:
    jail = FakeJail()
    pool = ExecutorPool(jail, max_executors=2, runs_per_executor=10)
    oldest, newer = await pool.acquire("a", "d"), await pool.acquire("b", "d")
    await pool.release(oldest)
    await pool.release(newer)
    third = await pool.acquire("c", "d")
    assert not oldest.alive
    assert newer.alive
    await pool.release(third)
    await pool.aclose()


async def test_a_full_pool_waits_for_a_release() -> None:
    pool = ExecutorPool(FakeJail(), max_executors=1, runs_per_executor=10)
    lent = await pool.acquire("a", "d")
    waiting = asyncio.ensure_future(pool.acquire("b", "d"))
    await asyncio.sleep(0)
    assert not waiting.done()
    await pool.release(lent)
    await pool.release(await waiting)
    await pool.aclose()


async def test_spent_and_unwell_executors_are_ended() -> None:
    pool = ExecutorPool(FakeJail(), max_executors=2, runs_per_executor=1)
    spent, unwell = await pool.acquire("a", "d"), await pool.acquire("a", "d")
    spent.runs = 1
    unwell.discard()
    await pool.release(spent)
    await pool.release(unwell)
    assert not spent.alive
    assert not unwell.alive


async def test_an_idle_executor_that_died_is_not_lent() -> None:
    jail = FakeJail()
    pool = ExecutorPool(jail, max_executors=2, runs_per_executor=10)
    await pool.release(await pool.acquire("a", "d"))
    jail.forked[0].kill()
    executor = await pool.acquire("a", "d")
    assert executor.alive
    await pool.release(executor)
    await pool.aclose()


async def test_a_refused_fork_gives_its_place_back() -> None:
    jail = FakeJail()
    pool = ExecutorPool(jail, max_executors=1, runs_per_executor=10)
    jail.refuses = True
    with pytest.raises(StockadeError, match="unavailable"):
        await pool.acquire("a", "d")
    jail.refuses = False
    await pool.release(await pool.acquire("a", "d"))
    await pool.aclose()
