"""What became of retries, counted together: exact sums, bounded, each tenant's own."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from stockade.core.errors import StockadeError
from stockade.core.retry_tallies import MOST_NAMES, RetryTallies
from stockade.infra.memory.memory_retry_tallies import MemoryRetryTallies
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_retry_tallies import RedisRetryTallies
from tests.ports.valkey_fixture import flush, partitions_of, queue_url_of

pytest_plugins = ("tests.ports.valkey_fixture",)

KEY = ("acme", "resize", 3)


@pytest.fixture(params=["memory", "redis", "partitions", "cluster"])
def queue_url(request: pytest.FixtureRequest) -> str:
    """Where the tallies are: several partitions and a cluster of three nodes as well."""
    return queue_url_of(request)


@pytest.fixture
async def tallies(queue_url: str) -> AsyncIterator[RetryTallies]:
    if queue_url:
        await flush(queue_url)
        connections = partitions_of(queue_url).connections
        made: RedisRetryTallies | MemoryRetryTallies = RedisRetryTallies(connections)
    else:
        made = MemoryRetryTallies()
    yield made
    await made.aclose()


async def test_what_is_added_from_everywhere_sums_up(tallies: RetryTallies) -> None:
    assert await tallies.tally(*KEY) == {}
    told = [tallies.add({KEY: {"runs": 1, "saved.fuel": 10**12}}) for _ in range(40)]
    await asyncio.gather(*told)
    assert await tallies.tally(*KEY) == {"runs": 40, "saved.fuel": 40 * 10**12}


async def test_versions_functions_and_tenants_are_apart(tallies: RetryTallies) -> None:
    keys = [
        *(("acme", "resize", 3), ("acme", "resize", 31), ("acme", "resize2", 3)),
        *(("other", "resize", 3), ("a:b", "c", 1), ("a", "b:c", 1), ("a}b", "\ud800", 1)),
    ]
    await tallies.add({key: {"runs": i + 1} for i, key in enumerate(keys)})
    found = [await tallies.tally(*key) for key in keys]
    assert found == [{"runs": i + 1} for i in range(len(keys))]
    assert await tallies.tally("nobody", "resize", 3) == {}


async def test_names_are_bounded_and_the_known_ones_go_on(tallies: RetryTallies) -> None:
    many = {f"name.{i}": 1 for i in range(2 * MOST_NAMES)}
    await tallies.add({KEY: many})
    await tallies.add({KEY: many})
    found = await tallies.tally(*KEY)
    assert len(found) == MOST_NAMES
    assert set(found.values()) == {2}


async def test_nothing_to_add_adds_nothing(tallies: RetryTallies) -> None:
    await tallies.add({})
    assert await tallies.tally(*KEY) == {}


@pytest.fixture
async def stored(valkey_url: str) -> AsyncIterator[tuple[RedisRetryTallies, RedisConnections]]:
    await flush(valkey_url)
    connections = RedisConnections(valkey_url, retry_seconds=0)
    made = RedisRetryTallies([connections], kept_ms=60_000)
    yield made, connections
    await made.aclose()


async def _only_key(connections: RedisConnections) -> bytes:
    (key,) = await connections.call("KEYS", "sk:*retrytally*")
    found: bytes = key
    return found


async def test_what_is_corrupt_begins_anew_and_is_not_told(
    stored: tuple[RedisRetryTallies, RedisConnections],
) -> None:
    tallies, connections = stored
    await tallies.add({KEY: {"runs": 7, "decisions": 2}})
    key = await _only_key(connections)
    await connections.call("HSET", key, "runs", "many", "decisions", "-3", "\xff", "1")
    assert await tallies.tally(*KEY) == {"\xff": 1}
    await tallies.add({KEY: {"runs": 1}})
    assert (await tallies.tally(*KEY))["runs"] == 1
    await connections.call("HSET", key, "saved.fuel", 2**63 - 1)
    await tallies.add({KEY: {"saved.fuel": 5}})
    assert (await tallies.tally(*KEY))["saved.fuel"] == 5
    await connections.call("SET", key, "no hash")
    assert await tallies.tally(*KEY) == {}
    await tallies.add({KEY: {"runs": 1}})
    assert await tallies.tally(*KEY) == {"runs": 1}


async def test_what_nobody_adds_to_ends(
    stored: tuple[RedisRetryTallies, RedisConnections],
) -> None:
    tallies, connections = stored
    await tallies.add({KEY: {"runs": 1}})
    assert 0 < await connections.call("PTTL", await _only_key(connections)) <= 60_000


async def test_a_place_that_is_away_is_told_as_such() -> None:
    tallies = RedisRetryTallies.open("redis://127.0.0.1:1", 1)
    for call in (tallies.add({KEY: {"runs": 1}}), tallies.tally(*KEY)):
        with pytest.raises(StockadeError) as caught:
            await call
        assert caught.value.code == "queue.unavailable"
    await tallies.aclose()
