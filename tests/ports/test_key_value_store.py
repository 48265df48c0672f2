"""What guests keep between runs: exact, bounded, each tenant's own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest

from stockade.core.errors import StockadeError
from stockade.core.key_values import KeyValueQuota
from stockade.core.ports import KeyValueStore
from stockade.infra.memory.memory_key_values import MemoryKeyValueStore
from stockade.infra.redis.redis_key_values import RedisKeyValueStore
from tests.ports.valkey_fixture import CLOCK, flush, partitions_of, queue_url_of

pytest_plugins = ("tests.ports.valkey_fixture",)


@pytest.fixture(params=["memory", "redis", "partitions", "cluster"])
def queue_url(request: pytest.FixtureRequest) -> str:
    """Where the store is: several partitions and a cluster of three nodes as well."""
    return queue_url_of(request)


QUOTA = KeyValueQuota(max_keys=10, max_bytes=1000, max_value_bytes=500)
BIG = (1 << 63) - 1


@pytest.fixture
async def store(queue_url: str) -> AsyncIterator[KeyValueStore]:
    if queue_url:
        await flush(queue_url)
        made: RedisKeyValueStore | MemoryKeyValueStore = RedisKeyValueStore(
            partitions_of(queue_url).connections, QUOTA
        )
    else:
        made = MemoryKeyValueStore(CLOCK, QUOTA)
    yield made
    await made.aclose()


async def refused(code: str, awaitable: Awaitable[object]) -> None:
    with pytest.raises(StockadeError) as caught:
        await awaitable
    assert caught.value.code == code


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await look():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("value", [b"", b"0", b"a:b", bytes(range(256)), b"x" * 500])
async def test_any_bytes_come_back(store: KeyValueStore, value: bytes) -> None:
    assert await store.get("acme", "n", "k") is None
    await store.set("acme", "n", "k", value, 0)
    assert await store.get("acme", "n", "k") == value
    assert await store.delete("acme", "n", "k") is True
    assert await store.delete("acme", "n", "k") is False
    assert await store.get("acme", "n", "k") is None


@pytest.mark.parametrize("key", ["k", "a/b", "é", "*", "{p00}", " ", "k" * 200, "\r\n"])
async def test_any_key_is_its_own(store: KeyValueStore, key: str) -> None:
    await store.set("acme", "n", key, b"1", 0)
    await store.set("acme", "n", key + "x", b"2", 0)
    assert await store.get("acme", "n", key) == b"1"


async def test_tenants_and_namespaces_are_apart(store: KeyValueStore) -> None:
    places = [("a", "n", "k"), ("b", "n", "k"), ("a", "m", "k"), ("a", "n", "m/k")]
    for number, place in enumerate(places):
        await store.set(*place, b"%d" % number, 0)
    for number, place in enumerate(places):
        assert await store.get(*place) == b"%d" % number
    await store.clear("a")
    assert [await store.get(*place) for place in places] == [None, b"1", None, None]


async def test_a_value_ends_when_its_time_is_over(store: KeyValueStore) -> None:
    await store.set("acme", "n", "short", b"1", 1)
    await store.set("acme", "n", "kept", b"1", 1)
    await store.set("acme", "n", "kept", b"2", 0)
    await store.set("acme", "n", "long", b"1", 1000)
    assert await store.get("acme", "n", "short") == b"1"

    async def ended() -> bool:
        return await store.get("acme", "n", "short") is None

    await until(ended)
    assert await store.get("acme", "n", "kept") == b"2"
    assert await store.get("acme", "n", "long") == b"1"


async def test_numbers_are_added_exactly(store: KeyValueStore) -> None:
    assert await store.add("acme", "n", "k", 5) == 5
    assert await store.add("acme", "n", "k", -7) == -2
    assert await store.get("acme", "n", "k") == b"-2"
    assert await store.add("acme", "n", "big", BIG) == BIG
    assert await store.add("acme", "n", "big", -BIG - 1) == -1
    odd = (1 << 53) + 1
    assert await store.add("acme", "n", "odd", odd) == odd
    assert await store.add("acme", "n", "odd", 2) == odd + 2


async def test_adds_at_once_all_count(store: KeyValueStore) -> None:
    await asyncio.gather(*(store.add("acme", "n", "k", 1) for _ in range(100)))
    assert await store.get("acme", "n", "k") == b"100"


async def test_an_add_keeps_the_end(store: KeyValueStore) -> None:
    await store.set("acme", "n", "k", b"1", 1)
    assert await store.add("acme", "n", "k", 1) == 2

    async def ended() -> bool:
        return await store.get("acme", "n", "k") is None

    await until(ended)
    assert await store.add("acme", "n", "k", 1) == 1


async def test_a_sum_beyond_64_bits_changes_nothing(store: KeyValueStore) -> None:
    await store.add("acme", "n", "k", BIG)
    await refused("kv.overflow", store.add("acme", "n", "k", 1))
    await store.add("acme", "n", "low", -BIG)
    await refused("kv.overflow", store.add("acme", "n", "low", -2))
    assert await store.get("acme", "n", "k") == str(BIG).encode()


@pytest.mark.parametrize("value", [b"", b"x", b"1.5", b" 1", b"01", b"+1", b"9" * 20, b"\xff"])
async def test_what_is_no_number_is_not_added_to(store: KeyValueStore, value: bytes) -> None:
    await store.set("acme", "n", "k", value, 0)
    await refused("kv.not_a_number", store.add("acme", "n", "k", 1))
    assert await store.get("acme", "n", "k") == value


async def test_a_value_that_is_too_large_is_refused(store: KeyValueStore) -> None:
    await refused("kv.value_too_large", store.set("acme", "n", "k", b"x" * 501, 0))
    assert await store.get("acme", "n", "k") is None


async def test_the_number_of_keys_is_bounded(store: KeyValueStore) -> None:
    for number in range(10):
        await store.set("acme", "n", str(number), b"x", 0)
    await refused("kv.quota_exceeded", store.set("acme", "n", "more", b"x", 0))
    await refused("kv.quota_exceeded", store.add("acme", "m", "more", 1))
    await store.set("acme", "n", "0", b"y", 0)
    await store.set("other", "n", "0", b"y", 0)
    await store.delete("acme", "n", "1")
    await store.set("acme", "n", "more", b"x", 0)


async def test_bytes_are_bounded_and_given_back(store: KeyValueStore) -> None:
    await store.set("acme", "n", "a", b"x" * 480, 0)
    await store.set("acme", "n", "b", b"x" * 480, 0)
    await refused("kv.quota_exceeded", store.set("acme", "n", "c", b"x" * 40, 0))
    await store.set("acme", "n", "a", b"x" * 400, 0)
    await store.set("acme", "n", "c", b"x" * 40, 0)
    for key in "abc":
        await store.delete("acme", "n", key)
    await store.set("acme", "n", "a", b"x" * 490, 0)
    await store.set("acme", "n", "b", b"x" * 490, 0)


async def test_what_ended_makes_room(store: KeyValueStore) -> None:
    for number in range(10):
        await store.set("acme", "n", str(number), b"x", 1)
    await refused("kv.quota_exceeded", store.set("acme", "n", "more", b"x", 0))

    async def taken(name: str) -> bool:
        try:
            await store.set("acme", "n", name, b"x" * 480, 0)
        except StockadeError:
            return False
        return True

    await until(partial(taken, "more"))
    await until(partial(taken, "again"))
