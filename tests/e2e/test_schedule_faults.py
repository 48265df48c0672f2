"""Real gateways' loops over one database and one Valkey: killed, together, stopped; one firing."""

import asyncio
import itertools
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from stockade.core.modules import Abi, FunctionContent
from stockade.core.schedules import (
    CatchUp,
    IntervalTiming,
    Schedule,
    ScheduleDefinition,
    firing_id,
    started,
)
from stockade.infra.cronsim_calendar import CronsimCalendar
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_keys import RedisKeys
from stockade.infra.redis.redis_queue import RedisInvocationQueue
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.system_clock import SystemClock

CLOCK = SystemClock()
CONTENT = FunctionContent("sha256:" + "a" * 64, Abi.STOCKADE_V1, deterministic=True)
EVERY_SECOND = ScheduleDefinition("f", IntervalTiming(1), catch_up=CatchUp.ALL)


@dataclass
class Cluster:
    """A database and a Valkey, and the gateways that were started over them."""

    database_url: str
    valkey: EmbeddedValkey
    catalog: SqlCatalog
    queue: RedisInvocationQueue
    connections: RedisConnections
    gateways: list[asyncio.subprocess.Process]

    async def gateway(self, *words: str) -> asyncio.subprocess.Process:
        command = ("-m", "tests.e2e.firing_gateway", self.database_url, self.valkey.url, *words)
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE
        )
        self.gateways.append(process)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"begins\n"
        return process

    async def add(self, name: str, definition: ScheduleDefinition = EVERY_SECOND) -> Schedule:
        now_ms = CLOCK.now_ms()
        made = Schedule("acme", name, CLOCK.new_id(), definition, now_ms)
        made = started(CronsimCalendar(), made, now_ms)
        assert await self.catalog.schedule_store().add(made, 100)
        return made

    async def stored(self, name: str) -> Schedule:
        found = await self.catalog.schedule_store().schedule("acme", name)
        assert found is not None
        return found

    async def has_fired(self, one: Schedule, time_ms: int) -> bool:
        return await self.queue.record("acme", firing_id(one, time_ms)) is not None

    async def invocations(self) -> int:
        """How many there are, whatever their ids."""
        count, cursor, pattern = 0, 0, RedisKeys().record("*")
        while True:
            cursor, keys = await self.connections.call(
                "SCAN", cursor, "MATCH", pattern, "COUNT", 1000
            )
            count, cursor = count + len(keys), int(cursor)
            if not cursor:
                return count

    async def end(self) -> None:
        """Ends all gateways at once."""
        for process in self.gateways:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def assert_each_time_fired_once(self, made: list[Schedule]) -> None:
        """Every time up to where a schedule stands has its invocation, and there are no others.

        Killed between its steps, a gateway has also fired the time that a schedule stands at.
        """
        expected = 0
        for one in made:
            next_ms = (await self.stored(one.name)).next_ms
            assert one.next_ms is not None
            assert next_ms is not None
            for time_ms in range(one.next_ms, next_ms, 1000):
                assert await self.has_fired(one, time_ms), (one.name, time_ms)
                expected += 1
            expected += await self.has_fired(one, next_ms)
        assert await self.invocations() == expected


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    valkey = EmbeddedValkey(tmp_path / "valkey")
    await valkey.start()
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    catalog = await SqlCatalog.open(url, busy_timeout_seconds=30)
    await catalog.ensure_tenant("acme")
    await catalog.put_function("acme", "f", CONTENT, 0)
    queue = RedisInvocationQueue(RedisConnections(valkey.url))
    made = Cluster(url, valkey, catalog, queue, RedisConnections(valkey.url), [])
    yield made
    await made.end()
    await queue.aclose()
    await made.connections.close()
    await catalog.aclose()
    await valkey.stop()


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await look():
            await asyncio.sleep(0.02)


async def until_stands_at(cluster: Cluster, name: str, time_ms: int) -> None:
    async def stands() -> bool:
        return ((await cluster.stored(name)).next_ms or 0) >= time_ms

    await until(stands)


async def stop_between_writes(cluster: Cluster, process: asyncio.subprocess.Process) -> None:
    """Stops a gateway where it does not hold the one lock of an SQLite database."""

    async def stopped() -> bool:
        process.send_signal(signal.SIGSTOP)
        path = cluster.database_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=2, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                process.send_signal(signal.SIGCONT)
                return False
        return True

    await until(stopped)


async def test_killed_between_the_steps_there_is_one_firing(cluster: Cluster) -> None:
    one = await cluster.add("a", ScheduleDefinition("f", IntervalTiming(2)))
    assert one.next_ms is not None
    dying = await cluster.gateway("kill")
    assert await dying.wait() == -signal.SIGKILL
    assert await cluster.has_fired(one, one.next_ms)
    assert await cluster.stored("a") == one
    assert await cluster.invocations() == 1
    await cluster.gateway()
    await until_stands_at(cluster, "a", one.next_ms + 2000)
    await cluster.end()
    later = await cluster.has_fired(one, one.next_ms + 2000)
    assert await cluster.invocations() == 1 + later
    assert (await cluster.stored("a")).last_invocation is not None


async def test_gateways_that_fire_at_once_make_one_firing(cluster: Cluster) -> None:
    await asyncio.gather(*(cluster.gateway() for _ in range(3)))
    made = [await cluster.add(f"s{number}") for number in range(10)]
    for one in made:
        assert one.next_ms is not None
        await until_stands_at(cluster, one.name, one.next_ms + 4000)
    await cluster.end()
    await cluster.assert_each_time_fired_once(made)


async def test_killed_at_any_moment_no_time_is_lost_or_fires_twice(cluster: Cluster) -> None:
    made = [await cluster.add(f"s{number}") for number in range(10)]
    await cluster.gateway()
    for turn, one in zip(range(5), itertools.cycle(made), strict=False):
        # The next one comes before the last one goes: two at once, one of them cut off anywhere.
        await cluster.gateway()
        assert one.next_ms is not None
        await until_stands_at(cluster, one.name, one.next_ms + turn * 1000)
        cluster.gateways[-2].kill()
    last = made[-1].next_ms
    assert last is not None
    await until_stands_at(cluster, made[-1].name, last + 7000)
    await cluster.end()
    await cluster.assert_each_time_fired_once(made)


async def test_a_gateway_that_was_stopped_goes_on_without_harm(cluster: Cluster) -> None:
    stopped, _other = await cluster.gateway(), await cluster.gateway()
    made = [await cluster.add(f"s{number}") for number in range(10)]
    first = made[0].next_ms
    assert first is not None
    await until_stands_at(cluster, "s0", first)
    await stop_between_writes(cluster, stopped)
    await until_stands_at(cluster, "s0", first + 3000)
    stopped.send_signal(signal.SIGCONT)
    await until_stands_at(cluster, "s0", first + 5000)
    await cluster.end()
    await cluster.assert_each_time_fired_once(made)


async def test_while_valkey_is_away_times_wait(cluster: Cluster) -> None:
    await cluster.gateway()
    one = await cluster.add("a")
    assert one.next_ms is not None
    await until_stands_at(cluster, "a", one.next_ms + 1000)
    await cluster.valkey.stop()
    away = (await cluster.stored("a")).next_ms
    await cluster.valkey.start()
    assert away is not None
    await until_stands_at(cluster, "a", away + 3000)
    assert (await cluster.stored("a")).refusal is None
    await cluster.end()
    await cluster.assert_each_time_fired_once([one])
