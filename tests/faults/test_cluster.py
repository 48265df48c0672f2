"""The queue on a real Valkey Cluster whose slots move and whose nodes die, under load."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stockade.core.durability import Durability
from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim, Invocation
from stockade.core.outcomes import Outcome, State
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.partitioned_queue import PartitionedInvocationQueue
from stockade.infra.redis.redis_partitions import RedisPartitions
from tests.faults.fleet import Fleet, counting
from tests.ports.test_invocation_queue import asked, ended
from tests.ports.valkey_cluster import SLOTS, Node, ValkeyCluster, key_slot, until
from tests.ports.valkey_fixture import CLOCK

PARTITIONS, SUBMITTERS = 4, 4
TENANTS = [f"tenant-{n}" for n in range(12)]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[ValkeyCluster]:
    made = ValkeyCluster(tmp_path / "cluster", primaries=3)
    yield made
    made.stop()


class Load:
    """Gateways that submit and workers that work, until told to stop; and what they saw."""

    def __init__(self, url: str, durability: Durability) -> None:
        self._url, self._durability = url, durability
        self._over = False
        self.acknowledged: list[Invocation] = []
        self.completed: Counter[str] = Counter()

    def queue(self, name: str) -> PartitionedInvocationQueue:
        partitions = RedisPartitions(self._url, PARTITIONS, self._durability)
        settings = QueueSettings(partitions=PARTITIONS)
        made = partitions.queue(settings, gateway=name, consumer=name)
        assert isinstance(made, PartitionedInvocationQueue)
        return made

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """Runs inside; behind it everything that was acknowledged is done."""
        async with asyncio.TaskGroup() as tasks:
            submitters = [tasks.create_task(self._submit(n)) for n in range(SUBMITTERS)]
            workers = [tasks.create_task(self._work(f"w{n}")) for n in range(2)]
            yield
            self._over = True
            await asyncio.wait(submitters)
            await self._settled()
            for worker in workers:
                worker.cancel()

    async def grown(self, more: int = 60) -> None:
        """Returns when so many more were completed."""
        size = len(self.completed) + more

        async def reached() -> bool:
            return len(self.completed) >= size

        await until(reached)

    async def _submit(self, number: int) -> None:
        queue = self.queue(f"g{number}")
        while not self._over:
            invocation = asked(TENANTS[len(self.acknowledged) % len(TENANTS)])
            while True:
                try:
                    await queue.submit(invocation)
                except StockadeError as error:
                    if not error.retryable:
                        raise
                else:
                    break
            self.acknowledged.append(invocation)
        await queue.aclose()

    async def _work(self, name: str) -> None:
        queue = self.queue(name)
        try:
            while True:
                try:
                    await queue.tick(8, CLOCK.now_ms())
                    claims = [*await queue.reclaim(8), *await queue.claim(8, 0.2)]
                except StockadeError:
                    continue
                await asyncio.gather(*(self._complete(queue, one) for one in claims))
        finally:
            await queue.aclose()

    async def _complete(self, queue: PartitionedInvocationQueue, claim: Claim) -> None:
        while True:
            try:
                recorded = await queue.complete(claim, ended(number=claim.attempt))
            except StockadeError:
                continue  # as a worker does: the run has happened
            self.completed[claim.invocation.id] += recorded
            return

    async def _settled(self) -> None:
        queue = self.queue("looks")
        for invocation in self.acknowledged:

            async def done(one: Invocation = invocation) -> bool:
                try:
                    record = await queue.record(one.tenant, one.id)
                except StockadeError:
                    return False
                assert record is not None, f"{one.id} was acknowledged and is lost"
                return record.state is State.DONE

            await until(done)
        await queue.aclose()

    async def check(self) -> None:
        """Every acknowledged invocation has one outcome, and stays so."""
        queue = self.queue("checks")
        for invocation in self.acknowledged:
            record = await queue.record(invocation.tenant, invocation.id)
            assert record is not None
            assert (record.state, record.outcome) == (State.DONE, Outcome.COMPLETED)
            assert sum(one.outcome is Outcome.COMPLETED for one in record.attempts) == 1
        assert max(self.completed.values()) == 1
        await queue.aclose()


async def test_work_is_spread_over_all_nodes(cluster: ValkeyCluster) -> None:
    await cluster.start()
    load = Load(cluster.url, Durability.FSYNC)
    async with load.under_way():
        await load.grown(100)
    await load.check()
    for node in cluster.primaries:
        assert int(await node.command("DBSIZE")) > 0


async def test_slots_move_while_they_are_used(cluster: ValkeyCluster) -> None:
    await cluster.start()
    load = Load(cluster.url, Durability.FSYNC)
    async with load.under_way():
        await load.grown()
        for partition in range(PARTITIONS):
            source = cluster.primary_of(partition)
            target = next(node for node in cluster.primaries if node is not source)
            await moved(source, target, partition)
            await load.grown()
    await load.check()


async def moved(source: Node, target: Node, partition: int) -> None:
    """Moves a partition's slot, all its keys at once."""
    slot = key_slot(f"{{p{partition:02d}}}".encode())
    assert 0 <= slot < SLOTS
    to = await target.id()
    await source.command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", to)

    async def arrived() -> bool:
        try:
            return int(await target.command("CLUSTER", "COUNTKEYSINSLOT", slot)) > 0 and not int(
                await source.command("CLUSTER", "COUNTKEYSINSLOT", slot)
            )
        except StockadeError:
            return False

    await until(arrived)


async def test_a_node_that_dies_and_comes_back_loses_nothing(cluster: ValkeyCluster) -> None:
    await cluster.start()
    load = Load(cluster.url, Durability.FSYNC)
    async with load.under_way():
        await load.grown()
        victim = cluster.primary_of(0)
        victim.kill()
        victim.start()
        await cluster.agreed()
        await load.grown()
    await load.check()


async def test_a_primary_that_dies_is_replaced_by_its_replica(tmp_path: Path) -> None:
    cluster = ValkeyCluster(tmp_path / "cluster", primaries=3, replicas=1)
    try:
        await cluster.start()
        load = Load(cluster.url, Durability.REPLICATED)
        async with load.under_way():
            await load.grown()
            victim = cluster.primary_of(0)
            heir = cluster.replicas[cluster.primaries.index(victim)]
            victim.kill()
            await until(heir.is_primary)
            # Until it has a replica of its own, it acknowledges nothing.
            victim.start()
            await load.grown()
            assert not await victim.is_primary()
        await load.check()
    finally:
        cluster.stop()


async def test_real_gateways_and_workers_serve_a_cluster(
    cluster: ValkeyCluster, tmp_path: Path
) -> None:
    await cluster.start()
    fleet = Fleet(tmp_path, cluster.url, PARTITIONS)
    await fleet.start()
    try:
        await fleet.deploy("counts", counting("here"))
        for _ in range(2):
            fleet.worker()
        ids = await asyncio.gather(*(fleet.submit("counts") for _ in range(30)))
        records = [await fleet.until_state(one, "done") for one in ids]
        assert {(one["outcome"], len(one["attempts"])) for one in records} == {("completed", 1)}
        assert await fleet.executions("here") == 30
        answer = await fleet.http.post("/v1/functions/counts/invoke", content=b"in")
        assert answer.status_code == 200
    finally:
        await fleet.stop()
