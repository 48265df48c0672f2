"""A tenant's modules wait behind each other, and behind nobody else's."""

import asyncio

import pytest

from stockade.core.errors import StockadeError
from stockade.core.module_turns import ModuleTurns


async def test_a_tenant_has_one_turn_at_a_time() -> None:
    turns, let, had = ModuleTurns(most_waiting=10), asyncio.Event(), list[str]()

    async def take(tenant: str, name: str) -> None:
        async with turns.turn(tenant):
            had.append(name)
            await let.wait()

    asked = [
        asyncio.ensure_future(take(tenant, f"{tenant}{number}"))
        for tenant in "ab"
        for number in range(3)
    ]
    await asyncio.wait(asked, timeout=0.01)
    assert had == ["a0", "b0"]
    let.set()
    await asyncio.gather(*asked)
    assert sorted(had) == ["a0", "a1", "a2", "b0", "b1", "b2"]


async def test_who_comes_when_too_many_wait_is_sent_away() -> None:
    turns = ModuleTurns(most_waiting=1)

    async def wait_for_turn() -> None:
        async with turns.turn("a"):
            return

    async with turns.turn("a"):
        waiting = asyncio.ensure_future(wait_for_turn())
        await asyncio.wait([waiting], timeout=0.01)
        with pytest.raises(StockadeError) as refused:
            await wait_for_turn()
        assert refused.value.code == "module.compiler_busy"
        assert refused.value.retryable
    await waiting
    await wait_for_turn()


async def test_who_leaves_or_fails_gives_the_turn_on() -> None:
    turns = ModuleTurns(most_waiting=1)
    with pytest.raises(ValueError, match="failed"):
        async with turns.turn("a"):
            raise ValueError("failed")

    async def hold() -> None:
        async with turns.turn("a"):
            await asyncio.Event().wait()

    leaving = asyncio.ensure_future(hold())
    await asyncio.wait([leaving], timeout=0.01)
    leaving.cancel()
    async with asyncio.timeout(10), turns.turn("a"):
        assert leaving.cancelled()
