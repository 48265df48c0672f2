"""Several partitions: one that is away keeps nobody from the others; their number stays."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.partitioned_queue import PartitionedInvocationQueue
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_keys import partition_of
from stockade.infra.redis.redis_partitions import RedisPartitions
from stockade.infra.redis.redis_queue import RedisInvocationQueue
from tests.ports.test_invocation_queue import CLOCK, asked, ended, until
from tests.ports.valkey_fixture import flush

pytest_plugins = ("tests.ports.valkey_fixture",)
HERE, AWAY = (
    next(one for one in map(str, range(99)) if partition_of(one, 2) == part) for part in (0, 1)
)
"""A tenant of each partition."""


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """The second partition's own server."""
    server = EmbeddedValkey(tmp_path / "other")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def queue(
    valkey: EmbeddedValkey, other: EmbeddedValkey
) -> AsyncIterator[PartitionedInvocationQueue]:
    await flush(valkey.url)
    partitions = [
        RedisInvocationQueue(
            RedisConnections(server.url, retry_seconds=0.1, command_seconds=1.0),
            gateway="g",
            consumer="w",
            settings=QueueSettings(partitions=2),
            partition=number,
        )
        for number, server in enumerate((valkey, other))
    ]
    made = PartitionedInvocationQueue(partitions)
    yield made
    await made.aclose()


async def test_work_of_all_partitions_is_taken_in_turn(queue: PartitionedInvocationQueue) -> None:
    for tenant in (HERE, AWAY):
        for _ in range(4):
            await queue.submit(asked(tenant))
    tenants = []
    for _ in range(8):
        (claim,) = await queue.claim(1, 5.0)
        tenants.append(claim.invocation.tenant)
        assert await queue.complete(claim, ended())
    assert all(set(tenants[n : n + 2]) == {HERE, AWAY} for n in range(0, 8, 2))


async def test_a_waiting_worker_hears_of_work_in_any_partition(
    queue: PartitionedInvocationQueue,
) -> None:
    for tenant in (AWAY, HERE, AWAY, AWAY):
        claiming = asyncio.ensure_future(until(lambda: queue.claim(3, 5.0)))
        await asyncio.sleep(0)
        invocation = asked(tenant)
        await queue.submit(invocation)
        (claim,) = await claiming
        assert claim.invocation == invocation
        assert await queue.complete(claim, ended())


async def test_no_more_is_taken_than_there_is_room_for(queue: PartitionedInvocationQueue) -> None:
    for tenant in (HERE, AWAY):
        for _ in range(3):
            await queue.submit(asked(tenant))
    sizes = [len(await queue.claim(2, 1.0)) for _ in range(3)]
    assert sizes == [2, 2, 2]
    assert list(await queue.claim(9, 0.05)) == []


async def test_a_partition_that_is_away_keeps_nobody_from_the_others(
    queue: PartitionedInvocationQueue, other: EmbeddedValkey
) -> None:
    await queue.submit(asked(AWAY))
    (held,) = await queue.claim(1, 5.0)
    await other.stop()
    for _ in range(3):
        invocation = asked(HERE)
        await queue.submit(invocation)
        await queue.tick(4, CLOCK.now_ms())
        assert list(await queue.reclaim(3)) == []
        (claim,) = await until(lambda: queue.claim(3, 1.0))
        assert list(await queue.heartbeat([claim, held])) == []
        assert await queue.complete(claim, ended())
    with pytest.raises(StockadeError) as failure:
        await queue.submit(asked(AWAY))
    assert failure.value.code == "queue.unavailable"
    await other.start()

    async def served_again() -> bool:
        try:
            return await queue.complete(held, ended())
        except StockadeError:
            return False

    await until(served_again)


@pytest.fixture
async def patient(
    valkey: EmbeddedValkey, other: EmbeddedValkey
) -> AsyncIterator[PartitionedInvocationQueue]:
    """As processes have it; the first partition is the other server's."""
    await flush(valkey.url)
    made = PartitionedInvocationQueue(
        [
            RedisInvocationQueue(RedisConnections(url), gateway="g", consumer="w", partition=number)
            for number, url in enumerate((other.url, valkey.url))
        ]
    )
    yield made
    await made.aclose()


async def test_a_partition_that_hangs_delays_nobodys_leases_and_due_work(
    patient: PartitionedInvocationQueue, other: EmbeddedValkey
) -> None:
    await patient.submit(asked(AWAY))
    (claim,) = await until(lambda: patient.claim(1, 1.0))
    await patient.tick(4, CLOCK.now_ms())
    os.kill(other.pid, signal.SIGSTOP)
    try:
        # Less than one call takes to fail, by far.
        async with asyncio.timeout(4):
            for _ in range(4):
                assert list(await patient.heartbeat([claim])) == []
                assert await patient.tick(4, CLOCK.now_ms()) == 0
    finally:
        os.kill(other.pid, signal.SIGCONT)


class Counted(RedisInvocationQueue):
    """Counts how often work is looked for."""

    looks = 0

    async def claim(self, count: int, timeout_seconds: float) -> Sequence[Claim]:
        self.looks += 1
        return await super().claim(count, timeout_seconds)


async def test_a_partition_that_hangs_is_not_waited_for_again_before_it_ticks(
    valkey: EmbeddedValkey, other: EmbeddedValkey
) -> None:
    await flush(valkey.url)
    hangs = Counted(RedisConnections(other.url, command_seconds=0.5), consumer="w")
    here = RedisInvocationQueue(RedisConnections(valkey.url), consumer="w", partition=1)
    queue = PartitionedInvocationQueue([hangs, here])
    held = asked(HERE)
    await queue.submit(held)
    os.kill(other.pid, signal.SIGSTOP)
    try:
        ends_at = asyncio.get_running_loop().time() + 4.0
        while asyncio.get_running_loop().time() < ends_at:
            assert list(await queue.claim(1, 0.1)) == []
        assert hangs.looks == 1
    finally:
        os.kill(other.pid, signal.SIGCONT)

    async def taken() -> Sequence[Claim]:
        await queue.tick(4, CLOCK.now_ms())
        return await queue.claim(1, 0.1)

    (claim,) = await until(taken)
    assert claim.invocation == held
    await queue.aclose()


async def test_the_time_is_told_while_one_partition_is_away(
    patient: PartitionedInvocationQueue, other: EmbeddedValkey
) -> None:
    before_ms = await patient.time_ms()
    await other.stop()
    assert await patient.time_ms() >= before_ms
    async with asyncio.timeout(2):  # and who told it is asked first from then on
        assert await patient.time_ms() >= before_ms


async def test_with_all_partitions_away_workers_are_told(
    other: EmbeddedValkey,
) -> None:
    gone = [
        RedisInvocationQueue(RedisConnections(other.url, retry_seconds=0.0), partition=number)
        for number in range(2)
    ]
    await other.stop()
    alone = PartitionedInvocationQueue(gone)
    for call in (alone.tick(1, 0), alone.heartbeat([]), alone.reclaim(1), alone.time_ms()):
        with pytest.raises(StockadeError):
            await call
    await alone.aclose()


async def test_the_number_of_partitions_stays(valkey: EmbeddedValkey) -> None:
    await flush(valkey.url)
    for count in (3, 3, 4):
        partitions = RedisPartitions(valkey.url, count)
        if count == 3:
            await partitions.check()
        else:
            with pytest.raises(StockadeError) as failure:
                await partitions.check()
            assert failure.value.code == "config.partitions_mismatch"
            assert "STOCKADE_PARTITIONS=3" in failure.value.message
        for connections in partitions.connections:
            await connections.close()


async def test_a_server_that_is_away_is_not_asked_for_the_number() -> None:
    partitions = RedisPartitions("redis://127.0.0.1:1/0", 2)
    await partitions.check()
    for connections in partitions.connections:
        await connections.close()
