"""From the queue to the database, whatever happens on the way: nothing lost, nothing twice."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.history_recorder import HistoryMeter, HistoryRecorder, recording
from stockade.core.errors import StockadeError
from stockade.core.history import HistoryStore, RunQuery, UsageQuery
from stockade.core.history_rows import amounts_of, day_of
from stockade.core.invocations import Claim, Invocation, InvocationRecord
from stockade.core.outcomes import Outcome, State
from stockade.infra.memory.memory_history import MemoryHistoryStore
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_keys import RedisKeys
from stockade.infra.redis.redis_queue import RedisInvocationQueue
from stockade.infra.sql.sql_catalog import SqlCatalog
from tests.ports.test_history_feed import SETTINGS, fail_once, feed_of, submitted
from tests.ports.test_invocation_queue import asked, ended, until
from tests.ports.valkey_cluster import ValkeyCluster
from tests.ports.valkey_fixture import CLOCK, flush, partitions_of

pytest_plugins = ("tests.ports.valkey_fixture",)
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
DEAD = {Outcome.TRAPPED, Outcome.LOST, Outcome.CRASHED}


@pytest.fixture
async def connections(valkey: EmbeddedValkey) -> AsyncIterator[RedisConnections]:
    await flush(valkey.url)
    made = RedisConnections(valkey.url)
    yield made
    await made.close()


@pytest.fixture
async def queue(connections: RedisConnections) -> RedisInvocationQueue:
    return RedisInvocationQueue(connections, consumer="worker", settings=SETTINGS)


class Life:
    """Random steps against the queue, with recorders at work all along."""

    def __init__(self, connections: RedisConnections, queue: RedisInvocationQueue) -> None:
        self.queue = queue
        self.store = MemoryHistoryStore()
        feeds = [feed_of(connections, name, left_ms=0) for name in ("one", "two")]
        self.recorders = [HistoryRecorder(feed, self.store, HistoryMeter()) for feed in feeds]
        self.feed = feeds[0]
        self.invocations: list[Invocation] = []
        self.redriven: Counter[str] = Counter()
        self.ended_before: Counter[tuple[str, Outcome]] = Counter()

    async def submit(self) -> None:
        invocation = asked(function=f"f{len(self.invocations) % 2}")
        await self.queue.submit(invocation)
        self.invocations.append(invocation)

    async def claim(self) -> Claim | None:
        claims = await self.queue.claim(1, 0.0)
        if not claims or not await self.queue.begin(claims[0], CLOCK.now_ms()):
            return None
        return claims[0]

    async def complete(self) -> None:
        if claim := await self.claim():
            await self.queue.complete(claim, ended(number=claim.attempt))
            await self.queue.complete(claim, ended(Outcome.TRAPPED))  # stale

    async def retry(self) -> None:
        if claim := await self.claim():
            again = ended(Outcome.CRASHED, claim.attempt, retry_at_ms=CLOCK.now_ms())
            await self.queue.complete(claim, again)

    async def fail(self) -> None:
        if claim := await self.claim():
            await self.queue.complete(claim, ended(Outcome.TRAPPED, claim.attempt))

    async def hand_back(self) -> None:
        if claim := await self.claim():
            await self.queue.hand_back(claim, ran=True)

    async def cancel(self) -> None:
        if self.invocations:
            one = self.invocations[-1]
            await self.queue.cancel(one.tenant, one.id, CLOCK.now_ms())

    async def redrive(self) -> None:
        for one in self.invocations:
            record = await self.record(one)
            if record.outcome in DEAD and await self.queue.redrive(one.tenant, one.id):
                self.ended_before[one.function, record.outcome] += 1
                return

    async def record_some(self) -> None:
        recorder = self.recorders[0]
        self.recorders.reverse()
        recorder._look_is_due_seconds = 0.0  # takes over what the other has under way
        await recorder.round(2)

    async def record_both(self) -> None:
        await asyncio.gather(*(recorder.round(3) for recorder in self.recorders))

    async def record(self, one: Invocation) -> InvocationRecord:
        record = await self.queue.record(one.tenant, one.id)
        assert record is not None
        return record

    async def check(self) -> None:
        """All that the records say is there, once, and adds up."""
        while (await self.feed.status()).waiting:
            await self.record_some()
        runs, attempts, fuel = self.ended_before.copy(), Counter[str](), Counter[str]()
        for one in self.invocations:
            record = await self.record(one)
            if record.state is State.DONE and record.outcome is not None:
                runs[one.function, record.outcome] += 1
            for attempt in record.attempts:
                attempts[one.function] += 1
                fuel[one.function] += amounts_of(attempt.usage).fuel
        usage = await self.store.usage("acme", UsageQuery(most=1000))
        told = Counter[tuple[str, Outcome]]()
        for day in usage:
            for outcome, count in day.runs.items():
                told[day.function, outcome] += count
        assert +told == +runs
        for name in ("f0", "f1"):
            days = [day for day in usage if day.function == name]
            assert sum(day.attempts for day in days) == attempts[name]
            assert sum(day.amounts.fuel for day in days) == fuel[name]
            assert all(abs(day.day - day_of(CLOCK.now_ms())) <= 1 for day in days)
        assert len(await self.store.runs("acme", RunQuery(most=1000))) == sum(runs.values())


STEPS: list[Callable[[Life], Awaitable[None]]] = [
    Life.submit,
    Life.submit,
    Life.complete,
    Life.retry,
    Life.fail,
    Life.hand_back,
    Life.cancel,
    Life.redrive,
    Life.record_some,
    Life.record_both,
]


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(st.lists(st.sampled_from(STEPS), max_size=40))
async def test_whatever_happens_the_history_says_what_the_records_say(
    valkey: EmbeddedValkey,
    connections: RedisConnections,
    queue: RedisInvocationQueue,
    steps: list[Callable[[Life], Awaitable[None]]],
) -> None:
    await flush(valkey.url)
    life = Life(connections, queue)
    for step in steps:
        await step(life)
    await life.check()


async def test_entries_wait_for_a_locked_database_and_nothing_is_lost(
    connections: RedisConnections, queue: RedisInvocationQueue, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    catalog = await SqlCatalog.open(url, busy_timeout_seconds=0.05)
    feed, meter = feed_of(connections), HistoryMeter()
    with sqlite3.connect(tmp_path / "catalog.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        async with recording([feed], catalog.history_store(), meter):
            for _ in range(3):
                await submitted(queue)
                await fail_once(queue)

            async def failed() -> bool:
                return meter.failing == "catalog.unavailable"

            await until(failed)
            # The queue serves on meanwhile.
            await submitted(queue)
            await fail_once(queue)
            assert (await feed.status()).waiting == 4
            other.execute("ROLLBACK")

            async def recorded() -> bool:
                return meter.runs == 4

            await until(recorded, 30)
    other.close()
    assert (meter.set_aside, meter.gone) == (0, 0)
    (day,) = await catalog.history_store().usage("acme", UsageQuery())
    assert (day.runs, day.attempts) == ({Outcome.TRAPPED: 4}, 4)
    await catalog.aclose()


async def test_a_database_that_was_emptied_under_it_is_waited_for(
    connections: RedisConnections, queue: RedisInvocationQueue, tmp_path: Path
) -> None:
    catalog = await SqlCatalog.open(f"sqlite:///{tmp_path / 'catalog.db'}")
    feed = feed_of(connections)
    recorder = HistoryRecorder(feed, catalog.history_store(), meter := HistoryMeter())
    await submitted(queue)
    await fail_once(queue)
    with sqlite3.connect(tmp_path / "catalog.db") as other:
        other.execute("ALTER TABLE history_usage RENAME TO elsewhere")
    with pytest.raises(StockadeError):
        await recorder.round()
    # Rows went in before usage failed: they are gone again with their transaction.
    assert list(await catalog.history_store().runs("acme", RunQuery())) == []
    with sqlite3.connect(tmp_path / "catalog.db") as other:
        other.execute("ALTER TABLE elsewhere RENAME TO history_usage")
    other.close()
    await recorder.round()
    assert (meter.runs, (await feed.status()).waiting) == (1, 0)
    await catalog.aclose()


async def serve_recorder(valkey: EmbeddedValkey, database: str) -> asyncio.subprocess.Process:
    words = ("-m", "stockade.cli.main", "serve", "recorder", "--redis-url", valkey.url)
    return await asyncio.create_subprocess_exec(
        sys.executable, *words, "--database-url", database, stderr=asyncio.subprocess.DEVNULL
    )


async def test_recorders_that_are_killed_at_any_point_lose_and_double_nothing(
    valkey: EmbeddedValkey,
    connections: RedisConnections,
    queue: RedisInvocationQueue,
    tmp_path: Path,
) -> None:
    database = f"sqlite:///{tmp_path / 'catalog.db'}"
    catalog = await SqlCatalog.open(database, busy_timeout_seconds=10)
    store, count = catalog.history_store(), 300
    processes = [await serve_recorder(valkey, database) for _ in range(2)]
    try:
        for number in range(count):
            await submitted(queue)
            await fail_once(queue)
            if number == count // 2:
                await until(lambda: some_runs(store), 30)
                os.kill(processes[0].pid, signal.SIGKILL)
        await until(lambda: some_runs(store, count // 4), 30)
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
    # Both are dead, and held what they had not confirmed: an heir takes that over.
    heir = HistoryRecorder(feed_of(connections, "heir", left_ms=0), store, HistoryMeter())
    while (await feed_of(connections).status()).waiting:
        heir._look_is_due_seconds = 0.0
        await heir.round()
    assert len(await store.runs("acme", RunQuery(most=1000))) == count
    (day,) = await store.usage("acme", UsageQuery())
    assert (day.runs, day.attempts) == ({Outcome.TRAPPED: count}, count)
    await catalog.aclose()


async def some_runs(store: HistoryStore, least: int = 1) -> bool:
    return len(await store.runs("acme", RunQuery(most=1000))) >= least


async def test_a_recorder_process_ends_when_it_is_told_to(
    valkey: EmbeddedValkey,
    connections: RedisConnections,
    queue: RedisInvocationQueue,
    tmp_path: Path,
) -> None:
    database = f"sqlite:///{tmp_path / 'catalog.db'}"
    catalog = await SqlCatalog.open(database, busy_timeout_seconds=10)
    process = await serve_recorder(valkey, database)
    await submitted(queue)
    await fail_once(queue)
    await until(lambda: some_runs(catalog.history_store()), 30)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    assert (await feed_of(connections).status()).waiting == 0
    await catalog.aclose()


async def test_a_cluster_is_walked_where_each_partition_is(cluster: ValkeyCluster) -> None:
    url = f"{cluster.url}#4"
    await flush(url)
    partitions = partitions_of(url)
    queue = partitions.queue(SETTINGS, consumer="worker")
    tenants = [f"t{number}" for number in range(12)]
    for tenant in tenants:
        await queue.submit(asked(tenant))
        (claim,) = await queue.claim(1, 10.0)
        await queue.complete(claim, ended())
    store, meter = MemoryHistoryStore(), HistoryMeter()
    feeds = partitions.history_feeds(SETTINGS, "one")
    for number, connections in enumerate(partitions.connections):
        keys = RedisKeys(number)
        await connections.call("DEL", keys.history)  # as if all had found no room
        await connections.call("SET", keys.missed, 1)
        connections._addresses.turn()  # whatever node is asked first, its partition is walked
        await connections._drop_idle()
    recorders = [HistoryRecorder(feed, store, meter, at) for at, feed in enumerate(feeds)]
    for recorder in recorders:
        while await recorder.round(2) == 0.0:
            pass
    assert (meter.walks, meter.runs) == (4, 12)
    for tenant in tenants:
        assert len(await store.runs(tenant, RunQuery())) == 1
    await queue.aclose()
