"""Takes the history down: from the queue's records into the database, as they end.

A batch is confirmed when its transaction is committed, and what was not confirmed comes again, here
or at another recorder: rows that are there already change nothing. So it may end anywhere.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import structlog

from stockade.core.errors import StockadeError
from stockade.core.history import (
    FeedEntry,
    FeedStatus,
    HistoryFeed,
    HistoryStore,
    InvocationHistory,
    Recorded,
    Unreadable,
)
from stockade.core.history_rows import can_never_be_kept

AT_ONCE = 500
_WAIT_SECONDS, _GATHER_SECONDS, _LOOK_SECONDS, _AWAY_SECONDS = 5.0, 0.5, 5.0, 1.0

_log = structlog.get_logger()


@dataclass(slots=True)
class HistoryMeter:
    """What the recorder of one process counts, for metrics and health.

    Attributes:
        runs: Runs recorded here since the start.
        attempts: Attempts likewise.
        set_aside: Entries whose record cannot be read or kept.
        gone: Entries whose record was gone: what they told is lost.
        failures: Rounds that failed, for whatever reason.
        walks: Walks over all records, which make good entries that found no room.
        failing: Why the last round failed: an error's code; None when it did not.
        feeds: What waits in each partition.
        looked_ms: When that was looked at, by the queue's clock.
    """

    runs: int = 0
    attempts: int = 0
    set_aside: int = 0
    gone: int = 0
    failures: int = 0
    walks: int = 0
    failing: str | None = None
    feeds: dict[int, FeedStatus] = field(default_factory=dict)
    looked_ms: int = 0

    @property
    def waiting(self) -> int:
        """Entries that wait in all partitions."""
        return sum(one.waiting for one in self.feeds.values())

    @property
    def missed(self) -> int:
        """Entries that found no room; a walk over the records will make them good."""
        return sum(one.missed for one in self.feeds.values())

    @property
    def lag_ms(self) -> int:
        """How long the oldest entry waits."""
        oldest = [one.oldest_ms for one in self.feeds.values() if one.oldest_ms is not None]
        return max(0, self.looked_ms - min(oldest)) if oldest else 0


class HistoryRecorder:
    """Records one partition's history."""

    def __init__(
        self, feed: HistoryFeed, store: HistoryStore, meter: HistoryMeter, partition: int = 0
    ) -> None:
        self._feed = feed
        self._store = store
        self._meter = meter
        self._partition = partition
        self._held: list[FeedEntry] = []
        self._look_is_due_seconds = 0.0
        self._asked_again = False
        self._walk_missed = 0
        self._walk_cursor = ""

    async def run(self) -> NoReturn:
        """Goes round until it is cancelled; whatever happens in one round, the next one comes.

        It rests as long as it worked, so that half of the process is left to requests.
        """
        now_seconds = asyncio.get_running_loop().time
        while True:
            pause_seconds, began_seconds = _AWAY_SECONDS, now_seconds()
            try:
                await self._gather()
                began_seconds = now_seconds()
                pause_seconds = await self.round()
                self._meter.failing = None
            except StockadeError as error:
                self._failed(error.code)
            except Exception as error:  # noqa: BLE001 - the recorder must not stop for one mistake
                _log.error("history_round_failed", exc_info=error)
                self._failed("internal")
            await asyncio.sleep(max(pause_seconds, now_seconds() - began_seconds))

    async def round(self, most: int = AT_ONCE) -> float:
        """Records what there is, a batch at most; how many seconds to gather before the next one.

        Raises:
            StockadeError: `queue.unavailable` or `catalog.…`; what was taken stays for later.
        """
        await self._look(most)
        if not self._held:
            self._held = list(await self._feed.take(most, 0.0))
        full = len(self._held) >= most
        await self._take_down(self._held)
        self._held = []
        walking = not full and await self._walk(most)
        return 0.0 if full or walking else _GATHER_SECONDS

    async def _gather(self) -> None:
        """Waits for something to record."""
        if not self._held and not self._walk_missed:
            self._held = list(await self._feed.take(AT_ONCE, _WAIT_SECONDS))

    async def _look(self, most: int) -> None:
        """Now and then: what waits, and what another recorder left lying."""
        now_seconds = asyncio.get_running_loop().time()
        if now_seconds < self._look_is_due_seconds:
            return
        left = await self._feed.take_over(most)
        self._held += [one for one in left if one not in self._held]
        if not self._asked_again:
            await self._feed.retry_aside()
            self._asked_again = True
        status = await look_at(self._feed, self._meter, self._partition)
        if status.missed and not self._walk_missed:
            _log.warning("history_missed", missed=status.missed)
            self._walk_missed = await self._feed.walk_due()
            self._walk_cursor = ""
        self._look_is_due_seconds = now_seconds + _LOOK_SECONDS

    async def _take_down(self, entries: Sequence[FeedEntry]) -> None:
        if not entries:
            return
        ids = list(dict.fromkeys(entry.invocation for entry in entries))
        found = dict(zip(ids, await self._feed.histories(ids), strict=True))
        faults = await self._record([one for one in found.values() if one is not None])
        for entry in entries:
            if why := faults.get(entry.invocation):
                await self._feed.set_aside(entry.handle, why)
                self._meter.set_aside += 1
                _log.error("history_entry_set_aside", invocation=entry.invocation, why=why)
            elif found[entry.invocation] is None:
                self._meter.gone += 1
                _log.error("history_record_gone", invocation=entry.invocation)
        await self._feed.confirm([e.handle for e in entries if e.invocation not in faults])

    async def _record(self, found: Sequence[InvocationHistory | Unreadable]) -> dict[str, str]:
        """Records what can be; why the others cannot, by their ids."""
        faults = {one.invocation: one.why for one in found if isinstance(one, Unreadable)}
        sound = [one for one in found if isinstance(one, InvocationHistory)]
        try:
            self._count(await self._store.record(sound))
        except Exception as error:
            if not can_never_be_kept(error):
                raise
            for one in sound:
                if why := await self._record_alone(one):
                    faults[one.id] = why
        return faults

    async def _record_alone(self, one: InvocationHistory) -> str | None:
        try:
            self._count(await self._store.record([one]))
        except Exception as error:
            if not can_never_be_kept(error):
                raise
            return error.code if isinstance(error, StockadeError) else type(error).__name__
        return None

    def _count(self, recorded: Recorded) -> None:
        self._meter.runs += recorded.runs
        self._meter.attempts += recorded.attempts

    async def _walk(self, most: int) -> bool:
        """A step over all records, while entries were missed; whether there is more to do."""
        if not self._walk_missed or not await self._feed.walk_due():
            self._walk_missed = 0
            return False
        step = await self._feed.walk(self._walk_cursor, most)
        await self._record(step.histories)
        self._walk_cursor = step.cursor
        if step.cursor:
            return True
        await self._feed.walk_due(self._walk_missed)
        _log.warning("history_walked", missed=self._walk_missed)
        self._meter.walks += 1
        self._walk_missed = 0
        self._look_is_due_seconds = 0.0
        return False

    def _failed(self, code: str) -> None:
        if self._meter.failing is None:
            _log.warning("history_waits", code=code)
        self._meter.failing = code
        self._meter.failures += 1


async def look_at(feed: HistoryFeed, meter: HistoryMeter, partition: int) -> FeedStatus:
    """Notes what waits in a partition.

    Raises:
        StockadeError: `queue.unavailable`.
    """
    meter.feeds[partition] = status = await feed.status()
    meter.looked_ms = await feed.time_ms()
    return status


@asynccontextmanager
async def recording(
    feeds: Sequence[HistoryFeed],
    store: HistoryStore,
    meter: HistoryMeter,
    *,
    records: bool = True,
) -> AsyncIterator[None]:
    """The history is taken down inside. Every gateway does it, and none leads.

    One that does not, since others do (`records`), looks at what waits for them.
    """
    recorders = [HistoryRecorder(feed, store, meter, at) for at, feed in enumerate(feeds)]
    loops = [one.run() for one in recorders] if records else [_look_on(feeds, meter)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _look_on(feeds: Sequence[HistoryFeed], meter: HistoryMeter) -> NoReturn:
    while True:
        try:
            for partition, feed in enumerate(feeds):
                await look_at(feed, meter, partition)
            meter.failing = None
        except StockadeError as error:
            meter.failing = error.code
        await asyncio.sleep(_LOOK_SECONDS)
