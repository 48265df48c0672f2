"""What a worker counts of retries: told to the tallies, bounded, lost at worst."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from sandbox_worker.retry_counts import RetryCounts, telling_tallies
from stockade.core.errors import StockadeError
from stockade.core.outcomes import Outcome
from stockade.core.retry_tallies import Tally, VersionKey
from stockade.infra.memory.memory_retry_tallies import MemoryRetryTallies
from tests.unit.stockade.retry.test_tallying import STOPS, claim, ended


class Away(MemoryRetryTallies):
    async def add(self, tallies: Mapping[VersionKey, Tally]) -> None:
        raise StockadeError("queue.unavailable", f"{len(tallies)}", retryable=True)


def counted(counts: RetryCounts, function: str = "f") -> None:
    of = claim()
    of = replace(of, invocation=replace(of.invocation, function=function))
    counts.count(of, ended(Outcome.TRAPPED, STOPS, retry=True))


async def test_what_was_counted_is_told_once() -> None:
    counts, tallies = RetryCounts(), MemoryRetryTallies()
    counted(counts)
    counted(counts)
    await counts.tell(tallies)
    await counts.tell(tallies)
    assert (await tallies.tally("acme", "f", 1))["shadow.stops"] == 2
    assert counts.dropped == 0


async def test_what_cannot_be_told_is_lost_and_the_next_is_told_again() -> None:
    counts, tallies = RetryCounts(), MemoryRetryTallies()
    counted(counts)
    await counts.tell(Away())
    assert counts.dropped == 1
    counted(counts)
    await counts.tell(tallies)
    assert (await tallies.tally("acme", "f", 1))["runs"] == 1


class Refusing(MemoryRetryTallies):
    """Takes the first as wrong."""

    refusals = 1

    async def add(self, tallies: Mapping[VersionKey, Tally]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise RuntimeError("The queue's server refused a command.")
        await super().add(tallies)


async def test_counts_that_a_server_refuses_are_lost_and_the_telling_goes_on() -> None:
    counts, tallies = RetryCounts(), Refusing()
    async with asyncio.timeout(10):
        counted(counts)
        async with telling_tallies(counts, tallies, 0.001):
            while tallies.refusals:
                await asyncio.sleep(0)
            counted(counts)
            while not tallies.known:
                await asyncio.sleep(0)
    assert counts.dropped == 1


async def test_versions_that_wait_are_bounded() -> None:
    counts, tallies = RetryCounts(most=3), MemoryRetryTallies()
    for i in range(10):
        counted(counts, f"f{i}")
    await counts.tell(tallies)
    assert [key[1] for key in tallies.known] == ["f7", "f8", "f9"]
    assert counts.dropped == 7


async def test_the_last_counts_are_told_at_the_end_and_others_meanwhile() -> None:
    counts, tallies = RetryCounts(), MemoryRetryTallies()
    async with asyncio.timeout(10):
        async with telling_tallies(counts, tallies, 0.001):
            counted(counts)
            while not tallies.known:
                await asyncio.sleep(0)
            counted(counts)
    assert (await tallies.tally("acme", "f", 1))["runs"] == 2
