"""A real Valkey, and fresh queues over each adapter. No asserts here: PYTEST_DONT_REWRITE."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Protocol

import pytest

from stockade.core.ports import InvocationQueue
from stockade.infra.memory.memory_queue import MemoryInvocationQueue
from stockade.infra.memory.memory_queue_state import MemoryQueueState
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_partitions import RedisPartitions
from stockade.infra.system_clock import SystemClock
from tests.ports.valkey_cluster import ValkeyCluster, urls_of

CLOCK = SystemClock()
CLUSTER_PARTITIONS = 4


class ClosableQueue(InvocationQueue, Protocol):
    async def aclose(self) -> None: ...


class Installation:
    """Makes the queues of several processes over one empty store, all with the same settings."""

    def __init__(self, make: Callable[[str, QueueSettings], ClosableQueue]) -> None:
        self._make = make
        self._made: dict[str, ClosableQueue] = {}
        self.settings = QueueSettings()

    def queue(self, name: str = "main") -> InvocationQueue:
        """The queue of the process of this name, which is its gateway and its worker."""
        if name not in self._made:
            self._made[name] = self._make(name, self.settings)
        return self._made[name]

    async def close(self) -> None:
        for made in self._made.values():
            await made.aclose()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A server that keeps its promises: append-only file, fsync before each acknowledgement."""
    server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


def partitions_of(url: str) -> RedisPartitions:
    """Connections to the partitions that a URL of the tests names."""
    place, _, count = url.partition("#")
    return RedisPartitions(place, int(count or 1))


async def flush(url: str) -> None:
    """Empties the server, or every node of the cluster."""
    for one in urls_of(url.partition("#")[0]):
        connections = RedisConnections(one)
        await connections.call("FLUSHALL")
        await connections.close()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    """Three nodes that share the slots."""
    made = ValkeyCluster(tmp_path_factory.mktemp("cluster"), primaries=3)
    asyncio.run(made.start())
    yield made
    made.stop()


@pytest.fixture(params=["memory", "redis"])
def queue_url(request: pytest.FixtureRequest) -> str:
    """Where the queue's store is: empty for memory, else with its number of partitions behind #."""
    return queue_url_of(request)


def queue_url_of(request: pytest.FixtureRequest) -> str:
    match request.param:
        case "memory":
            return ""
        case "redis":
            return f"{request.getfixturevalue('valkey').url}#1"
        case "partitions":
            return f"{request.getfixturevalue('valkey').url}#3"
        case _:
            return f"{request.getfixturevalue('cluster').url}#{CLUSTER_PARTITIONS}"


@pytest.fixture
async def installation(queue_url: str) -> AsyncIterator[Installation]:
    """An empty installation of each kind."""
    url = queue_url
    if url:
        await flush(url)
    made = Installation(redis_maker(url) if url else memory_maker())
    yield made
    await made.close()


def memory_maker() -> Callable[[str, QueueSettings], ClosableQueue]:
    shared: list[MemoryQueueState] = []

    def make(name: str, settings: QueueSettings) -> ClosableQueue:
        if not shared:
            shared.append(MemoryQueueState(settings))
        return MemoryInvocationQueue(CLOCK, consumer=name, settings=settings, state=shared[0])

    return make


def redis_maker(url: str) -> Callable[[str, QueueSettings], ClosableQueue]:
    def make(name: str, settings: QueueSettings) -> ClosableQueue:
        partitions = partitions_of(url)
        bounds = replace(settings, partitions=len(partitions.connections))
        return partitions.queue(bounds, gateway=name, consumer=name)

    return make
