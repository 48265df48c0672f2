"""Everybody who asks at once gets one answer, whoever leaves."""

import asyncio
import gc

import pytest

from stockade.core.single_flight import SingleFlight


class Work:
    """Counts its runs; ends when it is let."""

    def __init__(self) -> None:
        self.runs = 0
        self.let = asyncio.Event()
        self.error: Exception | None = None

    async def run(self) -> int:
        self.runs += 1
        number = self.runs
        await self.let.wait()
        if self.error:
            raise self.error
        return number


def asked(flight: SingleFlight[str, int], work: Work, key: str = "a") -> asyncio.Task[int]:
    return asyncio.ensure_future(flight.run(key, work.run))


async def test_who_asks_at_once_gets_the_same_answer() -> None:
    flight, work = SingleFlight[str, int](), Work()
    asking = [asked(flight, work) for _ in range(5)]
    other = asked(flight, work, "b")
    await asyncio.sleep(0)
    work.let.set()
    assert await asyncio.gather(*asking, other) == [1, 1, 1, 1, 1, 2]
    assert await asked(flight, work) == 3


async def test_who_leaves_takes_nothing_away() -> None:
    flight, work = SingleFlight[str, int](), Work()
    first, second = asked(flight, work), asked(flight, work)
    await asyncio.sleep(0)
    first.cancel()
    work.let.set()
    assert await second == 1
    assert first.cancelled()


async def test_everybody_sees_the_error_and_the_next_one_tries_again() -> None:
    flight, work = SingleFlight[str, int](), Work()
    work.error = ValueError("no")
    asking = [asked(flight, work) for _ in range(2)]
    work.let.set()
    for one in asking:
        with pytest.raises(ValueError, match="no"):
            await one
    work.error = None
    assert await asked(flight, work) == 2


async def test_an_error_that_nobody_waits_for_is_not_told() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    flight, work = SingleFlight[str, int](), Work()
    work.error = ValueError("no")
    leaving = asked(flight, work)
    await asyncio.sleep(0)
    leaving.cancel()
    work.let.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    while len(asyncio.all_tasks()) > 1:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    assert told == []


async def test_what_is_cancelled_from_within_is_forgotten() -> None:
    flight, work = SingleFlight[str, int](), Work()

    async def cancelled() -> int:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await flight.run("a", cancelled)
    work.let.set()
    assert await asked(flight, work) == 1
