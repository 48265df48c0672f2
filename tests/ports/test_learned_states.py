"""Where workers keep what they learned: compared and swapped, bounded, frozen, set aside."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import pytest

from stockade.core.learned_states import (
    ASIDE_MS,
    KEPT_MS,
    MAX_STATE_BYTES,
    LearnedState,
    LearnedStates,
    Scope,
    StateWrite,
)
from stockade.infra.memory.memory_learned_states import MemoryLearnedStates
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_keys import RedisKeys
from stockade.infra.redis.redis_learned_states import RedisLearnedStates
from tests.ports.valkey_fixture import CLOCK, flush, partitions_of, queue_url_of

pytest_plugins = ("tests.ports.valkey_fixture",)

FUNCTION: Scope = ("acme", "f", "1")
TENANT: Scope = ("acme",)
UPSTREAM: Scope = ("acme", "", "http_fetch:api.example.org/x")
STATE = [2, [["b", 1, 2]], "text"]


class Closable(LearnedStates, Protocol):
    async def aclose(self) -> None: ...


@pytest.fixture(params=["memory", "redis", "partitions", "cluster"])
def queue_url(request: pytest.FixtureRequest) -> str:
    return queue_url_of(request)


@pytest.fixture
async def states(queue_url: str) -> AsyncIterator[Closable]:
    made = await opened(queue_url)
    yield made
    await made.aclose()


async def opened(url: str, kept_ms: int = KEPT_MS, most_scopes: int = 4) -> Closable:
    if not url:
        return MemoryLearnedStates(CLOCK, kept_ms, most_scopes)
    await flush(url)
    return RedisLearnedStates(partitions_of(url).connections, kept_ms, most_scopes)


async def loaded(states: LearnedStates, scope: Scope) -> LearnedState:
    (found,) = await states.load([scope])
    assert found is not None
    return found


async def written(states: LearnedStates, scope: Scope, revision: int = 0) -> bool | None:
    (done,) = await states.swap([StateWrite(scope, revision, STATE, "t1")])
    return done


async def test_what_is_written_is_read_by_all(states: Closable) -> None:
    scopes: list[Scope] = [(), TENANT, FUNCTION, UPSTREAM, ("rival", "f", "1")]
    assert await states.load(scopes) == [LearnedState()] * 5
    writes = [StateWrite(scope, 0, [i], f"t{i}") for i, scope in enumerate(scopes)]
    assert await states.swap(writes) == [True] * 5
    assert await states.load(scopes) == [
        LearnedState(1, [i], token=f"t{i}") for i in range(len(scopes))
    ]
    assert await states.scopes("acme") == [TENANT, UPSTREAM, FUNCTION]
    assert await states.scopes("rival") == [("rival", "f", "1")]
    assert await states.scopes("nobody") == []
    assert await states.load([]) == await states.swap([]) == []


async def test_of_two_who_write_at_once_one_begins_again(states: Closable) -> None:
    writes = [StateWrite(FUNCTION, 0, [i], f"t{i}") for i in range(2)]
    done = await asyncio.gather(*(states.swap([write]) for write in writes))
    assert sorted(done) == [[False], [True]]
    assert (await loaded(states, FUNCTION)).state == [done.index([True])]
    assert await written(states, FUNCTION, 1)


async def test_a_write_whose_answer_was_lost_may_be_sent_again(states: Closable) -> None:
    assert await written(states, FUNCTION)
    assert await written(states, FUNCTION)
    assert (await loaded(states, FUNCTION)).revision == 1
    (other,) = await states.swap([StateWrite(FUNCTION, 0, STATE, "t2")])
    assert other is False


async def test_what_cannot_be_read_is_set_aside_once(states: Closable) -> None:
    await states.freeze(FUNCTION, frozen=True)
    assert await written(states, FUNCTION)
    assert await states.set_aside(FUNCTION, 0) is False
    assert await states.set_aside(FUNCTION, 1) is True
    assert await states.set_aside(FUNCTION, 1) is False
    assert await states.set_aside(UPSTREAM, 0) is False
    assert await loaded(states, FUNCTION) == LearnedState(2, frozen=True, aside=True)
    await states.swap([StateWrite(FUNCTION, 2, STATE, "t", aside=True)])
    assert (await loaded(states, FUNCTION)).aside
    await states.swap([StateWrite(FUNCTION, 3, STATE, "t")])
    assert not (await loaded(states, FUNCTION)).aside


async def test_a_frozen_tenant_freezes_all_of_its_scopes(states: Closable) -> None:
    for scope in (FUNCTION, ("rival", "f", "1")):
        assert await written(states, scope)
    assert await states.freeze(TENANT, frozen=True)
    assert (await loaded(states, FUNCTION)).frozen
    assert (await loaded(states, UPSTREAM)).frozen
    assert not (await loaded(states, ("rival", "f", "1"))).frozen
    assert not (await loaded(states, ())).frozen
    assert await states.scopes("acme") == [TENANT, FUNCTION]
    assert await states.freeze(TENANT, frozen=False)
    assert not (await loaded(states, FUNCTION)).frozen
    assert await states.scopes("acme") == [FUNCTION]
    assert await states.freeze(("nobody",), frozen=False)
    assert await states.scopes("nobody") == []


async def test_the_scopes_of_a_tenant_are_bounded_and_frozen_ones_stay(states: Closable) -> None:
    assert await states.freeze(("acme", "f", "0"), frozen=True)
    for i in range(9):
        assert await written(states, ("acme", "f", str(i)))
        before = CLOCK.now_ms()
        while CLOCK.now_ms() == before:
            await asyncio.sleep(0)
    assert await states.scopes("acme") == [("acme", "f", str(i)) for i in (0, 6, 7, 8)]
    assert await loaded(states, ("acme", "f", "5")) == LearnedState()
    assert (await loaded(states, ("acme", "f", "0"))).state == STATE


async def test_what_nobody_writes_ends_unless_it_is_frozen(queue_url: str) -> None:
    states = await opened(queue_url, kept_ms=150)
    assert await written(states, FUNCTION)
    assert await states.freeze(UPSTREAM, frozen=True)
    assert await written(states, UPSTREAM)
    async with asyncio.timeout(10):
        while (await loaded(states, FUNCTION)).revision:
            await asyncio.sleep(0.02)
    assert (await loaded(states, UPSTREAM)).state == STATE
    assert await written(states, ("acme", "g", "1"))
    assert await states.scopes("acme") == [UPSTREAM, ("acme", "g", "1")]
    await states.aclose()


async def test_a_state_beyond_its_bounds_is_our_own_mistake(states: Closable) -> None:
    with pytest.raises(RuntimeError, match="larger"):
        await states.swap([StateWrite(FUNCTION, 0, "x" * MAX_STATE_BYTES, "t")])


@pytest.mark.parametrize(
    "spoilt", [b"\xc1", b"", b"\x91", b"\x92" * 3000, b"x" * 9000, b"\xa1\xff", b"not msgpack"]
)
async def test_bytes_that_are_no_state_are_handed_on_as_they_are(
    valkey_url: str, spoilt: bytes
) -> None:
    states = await opened(valkey_url)
    assert await written(states, FUNCTION)
    connections = RedisConnections(valkey_url)
    (key,) = await keys_of(connections, "learned:*")
    await connections.call("HSET", key, "s", spoilt)
    assert (await loaded(states, FUNCTION)).state == (spoilt or None)
    await states.aclose()
    await connections.close()


async def test_a_key_of_another_type_reads_as_what_cannot_be_read(valkey_url: str) -> None:
    states, connections = await opened(valkey_url), RedisConnections(valkey_url)
    assert await written(states, FUNCTION)
    (key,) = await keys_of(connections, "learned:*")
    for make in (("SET", key, "text"), ("RPUSH", key, "a", "b")):
        await connections.call("DEL", key)
        await connections.call(*make)
        assert await loaded(states, FUNCTION) == LearnedState(1, b"\xc1")
        assert await states.set_aside(FUNCTION, 1)
        assert await loaded(states, FUNCTION) == LearnedState(2, aside=True)
    await connections.call("HSET", key, "v", "no number")
    assert (await loaded(states, FUNCTION)).revision == 0
    (aside,) = await keys_of(connections, "learnedaside:*")
    left = await connections.call("PTTL", aside)
    assert 0 < left <= ASIDE_MS
    await states.aclose()
    await connections.close()


async def test_an_index_of_another_type_is_begun_anew(valkey_url: str) -> None:
    states, connections = await opened(valkey_url), RedisConnections(valkey_url)
    assert await written(states, FUNCTION)
    (index,) = await keys_of(connections, "learnedindex:*")
    await connections.call("DEL", index)
    await connections.call("SET", index, "text")
    assert await written(states, UPSTREAM)
    assert await states.scopes("acme") == [UPSTREAM]
    assert (await loaded(states, FUNCTION)).state == STATE
    await states.aclose()
    await connections.close()


async def test_a_place_that_is_away_answers_nothing_and_raises_nothing() -> None:
    states = RedisLearnedStates.open("redis://127.0.0.1:1", 2)
    assert await states.load([FUNCTION, ()]) == [None, None]
    assert await written(states, FUNCTION) is None
    assert await states.set_aside(FUNCTION, 1) is None
    assert await states.freeze(FUNCTION, frozen=True) is None
    assert await states.scopes("acme") is None
    await states.aclose()


@pytest.fixture
def valkey_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("valkey").url
    return url


async def keys_of(connections: RedisConnections, pattern: str) -> list[bytes]:
    found: list[bytes] = await connections.call("KEYS", f"{RedisKeys().prefix}{pattern}")
    return found
