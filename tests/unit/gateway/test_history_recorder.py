"""The recorder against a feed that does as the test says; the real one stands in `tests/ports`."""

import asyncio
from collections.abc import Sequence

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from gateway.history_recorder import HistoryMeter, HistoryRecorder, recording
from gateway.history_retention import HistoryRetention, prune, pruning_history, retention_of
from gateway.settings import RecorderSettings
from stockade.core.errors import StockadeError
from stockade.core.history import (
    FeedEntry,
    FeedStatus,
    InvocationHistory,
    Recorded,
    RunQuery,
    Unreadable,
    UsageQuery,
    WalkStep,
)
from stockade.core.outcomes import Attempt, Outcome, Usage
from stockade.infra.memory.memory_history import MemoryHistoryStore
from tests.ports.histories import DAY_MS, NOON_MS, past

AWAY = StockadeError("catalog.unavailable", "away", retryable=True)


class Feed:
    """Entries in a list, which are gone when they are confirmed."""

    def __init__(self, *histories: InvocationHistory | Unreadable | None) -> None:
        self.records = {f"{at}": one for at, one in enumerate(histories)}
        self.untaken = list(self.records)
        self.pending: list[str] = []
        self.aside: list[str] = []
        self.missed = 0
        self.failure: Exception | None = None
        self.times_asked_again = 0

    async def take(self, most: int, timeout_seconds: float) -> Sequence[FeedEntry]:
        del timeout_seconds
        if self.failure is not None:
            raise self.failure
        taken, self.untaken = self.untaken[:most], self.untaken[most:]
        self.pending += taken
        await asyncio.sleep(0)
        return [FeedEntry(at, at) for at in taken]

    async def take_over(self, most: int) -> Sequence[FeedEntry]:
        return [FeedEntry(at, at) for at in self.pending[:most]]

    async def histories(
        self, invocations: Sequence[str]
    ) -> Sequence[InvocationHistory | Unreadable | None]:
        return [self.records[at] for at in invocations]

    async def confirm(self, handles: Sequence[str]) -> None:
        self.pending = [at for at in self.pending if at not in handles]

    async def set_aside(self, handle: str, why: str) -> None:
        del why
        await self.confirm([handle])
        self.aside.append(handle)

    async def retry_aside(self) -> int:
        self.times_asked_again += 1
        return 0

    async def walk_due(self, walked: int | None = None) -> int:
        if walked == self.missed:
            self.missed = 0
        return 0 if walked is not None else self.missed

    async def walk(self, cursor: str, most: int) -> WalkStep:
        begin = int(cursor or 0)
        found = list(self.records.values())[begin : begin + most]
        end = begin + most >= len(self.records)
        return WalkStep("" if end else f"{begin + most}", [one for one in found if one])

    async def status(self) -> FeedStatus:
        waiting = len(self.untaken) + len(self.pending)
        oldest_ms = NOON_MS if waiting else None
        return FeedStatus(waiting, oldest_ms, len(self.aside), self.missed)

    async def time_ms(self) -> int:
        return NOON_MS + 9_000


class Store(MemoryHistoryStore):
    """Fails as often as it is told to."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self.failures = list(failures)

    async def record(self, histories: Sequence[InvocationHistory]) -> Recorded:
        if self.failures:
            raise self.failures.pop(0)
        return await super().record(histories)


def recorder_of(feed: Feed, store: MemoryHistoryStore) -> tuple[HistoryRecorder, HistoryMeter]:
    meter = HistoryMeter()
    return HistoryRecorder(feed, store, meter), meter


async def test_a_round_records_a_batch_and_confirms_it() -> None:
    feed, store = Feed(*(past(n) for n in range(7))), Store()
    recorder, meter = recorder_of(feed, store)
    assert await recorder.round(5) == 0.0
    assert (meter.runs, meter.attempts, meter.lag_ms, meter.waiting) == (5, 5, 9_000, 7)
    assert await recorder.round(5) > 0
    assert (meter.runs, feed.pending, feed.untaken) == (7, [], [])
    assert (await store.usage("acme", UsageQuery()))[0].attempts == 7


async def test_entries_wait_while_the_database_is_away() -> None:
    feed, store = Feed(past(1), past(2)), Store(AWAY, AWAY)
    recorder, meter = recorder_of(feed, store)
    for _ in range(2):
        with pytest.raises(StockadeError):
            await recorder.round()
        assert feed.pending == ["0", "1"]
    await recorder.round()
    assert (feed.pending, meter.runs, meter.set_aside) == ([], 2, 0)


async def test_a_broken_database_sets_nothing_aside() -> None:
    feed, store = Feed(past(1)), Store(StockadeError("catalog.corrupt", "broken"))
    recorder, meter = recorder_of(feed, store)
    with pytest.raises(StockadeError):
        await recorder.round()
    assert (feed.pending, feed.aside, meter.set_aside) == (["0"], [], 0)


async def test_what_can_never_be_kept_is_set_aside_and_the_others_go_on() -> None:
    endless = past(9, attempts=(Attempt(1, Outcome.LOST, "r", Usage(wall_ms=float("inf"))),))
    feed = Feed(past(1), past(2, function="\0"), endless, Unreadable("4", "ValidationError"), None)
    feed.records["3"] = Unreadable("3", "ValidationError")
    recorder, meter = recorder_of(feed, store := Store())
    with capture_logs() as logs:
        feed.records["1"] = past(2, function="\0", id="1")
        feed.records["2"] = InvocationHistory(
            **{name: getattr(endless, name) for name in endless.__slots__} | {"id": "2"}
        )
        await recorder.round()
    assert (meter.runs, meter.set_aside, meter.gone) == (1, 3, 1)
    assert (feed.aside, feed.pending) == (["1", "2", "3"], [])
    assert [one["why"] for one in logs if one["event"] == "history_entry_set_aside"] == [
        "catalog.value_invalid",
        "OverflowError",
        "ValidationError",
    ]
    assert len(await store.runs("acme", RunQuery())) == 1


async def test_a_database_that_goes_away_in_the_middle_of_singles_is_waited_for() -> None:
    feed = Feed(past(1), past(2))
    invalid = StockadeError("catalog.value_invalid", "")
    recorder, meter = recorder_of(feed, Store(invalid, AWAY))
    with pytest.raises(StockadeError):
        await recorder.round()
    assert (feed.aside, feed.pending) == ([], ["0", "1"])
    await recorder.round()
    assert (meter.runs, feed.pending) == (2, [])


async def test_missed_entries_are_made_good_by_a_walk_step_by_step() -> None:
    feed, store = Feed(*(past(n) for n in range(6)), Unreadable("6", "x")), Store()
    feed.untaken, feed.missed = [], 4
    recorder, meter = recorder_of(feed, store)
    pauses = [await recorder.round(3) for _ in range(4)]
    assert [pause == 0.0 for pause in pauses] == [True, True, False, False]
    assert (meter.walks, meter.runs, meter.missed, feed.missed) == (1, 6, 0, 0)


async def test_a_walk_that_another_recorder_has_is_left_to_it() -> None:
    feed = Feed(past(1))
    feed.untaken, feed.missed = [], 1
    recorder, meter = recorder_of(feed, Store())

    async def others(walked: int | None = None) -> int:
        del walked
        return 0

    feed.walk_due = others  # type: ignore[method-assign]
    assert await recorder.round() > 0
    assert (meter.walks, meter.missed) == (0, 1)


async def test_the_loop_goes_on_whatever_happens_and_says_so_once() -> None:
    feed = Feed(past(1))
    store = Store(AWAY, AWAY, RuntimeError("a mistake"))
    meter = HistoryMeter()
    with capture_logs() as logs:
        async with recording([feed], store, meter), asyncio.timeout(30):
            while meter.runs < 1:
                await asyncio.sleep(0.01)
            while meter.failing:
                await asyncio.sleep(0.01)
    assert meter.failures == 3
    assert [one["event"] for one in logs] == ["history_waits", "history_round_failed"]


async def test_retention_deletes_in_bounded_steps_by_the_queues_clock() -> None:
    store = MemoryHistoryStore()
    await store.record([past(n, finished_ms=NOON_MS - n * DAY_MS) for n in range(20)])
    assert await prune(store, Feed(), HistoryRetention(0, 0)) == 0
    # Twenty days of runs, whose attempts all ended today.
    assert await prune(store, Feed(), HistoryRetention(10, 15)) == 10 + 4
    assert len(await store.runs("acme", RunQuery())) == 10
    assert len(await store.usage("acme", UsageQuery())) == 16


async def test_the_retention_loop_survives_its_failures() -> None:
    class Time:
        asked = 0

        async def time_ms(self) -> int:
            Time.asked += 1
            raise (AWAY, RuntimeError("a mistake"))[Time.asked - 1]

    for _ in range(2):
        async with pruning_history(MemoryHistoryStore(), Time(), HistoryRetention(9, 9)):
            await asyncio.sleep(0)
    assert Time.asked == 2


async def test_a_gateway_that_does_not_record_sees_what_waits() -> None:
    feed, meter = Feed(past(1)), HistoryMeter()
    away = Feed()

    async def fails() -> FeedStatus:
        raise StockadeError("queue.unavailable", "away", retryable=True)

    async with recording([feed], Store(), meter, records=False), asyncio.timeout(30):
        while not meter.feeds:
            await asyncio.sleep(0.001)
    assert (meter.waiting, meter.lag_ms, meter.runs, feed.untaken) == (1, 9_000, 0, ["0"])
    away.status = fails  # type: ignore[method-assign]
    async with recording([away], Store(), meter, records=False), asyncio.timeout(30):
        while meter.failing is None:
            await asyncio.sleep(0.001)
    assert meter.failing == "queue.unavailable"


@pytest.mark.parametrize(("days", "sound"), [(0, True), (8, True), (90, True), (7, False)])
def test_the_history_outlives_the_records(days: int, *, sound: bool) -> None:
    given = {"redis_url": "r", "database_url": "d", "history_retention_days": days}
    if sound:
        settings = RecorderSettings(**given)  # type: ignore[arg-type]
        assert retention_of(settings) == HistoryRetention(days, 800)
        return
    with pytest.raises(ValidationError):
        RecorderSettings(**given)  # type: ignore[arg-type]


async def test_the_retention_loop_says_what_it_deleted() -> None:
    store = MemoryHistoryStore()
    await store.record([past(1, finished_ms=NOON_MS - 20 * DAY_MS)])
    with capture_logs() as logs:
        async with pruning_history(store, Feed(), HistoryRetention(10, 0)), asyncio.timeout(30):
            while not logs:
                await asyncio.sleep(0.001)
    assert (logs[0]["event"], logs[0]["count"]) == ("history_pruned", 1)
