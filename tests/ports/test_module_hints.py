"""Workers hear of uploads; a hint that gets lost is nobody's trouble."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_module_hints import RedisModuleHints
from tests.ports.valkey_fixture import flush

pytest_plugins = ("tests.ports.valkey_fixture",)
Make = Callable[[], RedisModuleHints]


@pytest.fixture
async def hints(valkey: object) -> AsyncIterator[Make]:
    url = str(valkey.url)  # type: ignore[attr-defined] # the embedded server
    await flush(url)
    made: list[RedisModuleHints] = []

    def make() -> RedisModuleHints:
        made.append(RedisModuleHints(RedisConnections(url)))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


async def test_every_worker_hears_what_comes_after_its_first_look(hints: Make) -> None:
    gateway, first, second = hints(), hints(), hints()
    await gateway.tell("acme", "sha256:before")
    assert await first.hear(0.01) == []
    hearing = asyncio.ensure_future(first.hear(5))
    assert await second.hear(0.01) == []
    await gateway.tell("acme", "sha256:one")
    assert await hearing == [("acme", "sha256:one")]
    await gateway.tell("rival", "sha256:two")
    assert await first.hear(5) == [("rival", "sha256:two")]
    assert await second.hear(5) == [("acme", "sha256:one"), ("rival", "sha256:two")]


async def test_a_server_that_is_away_is_no_error_to_who_tells() -> None:
    lost = RedisModuleHints(RedisConnections("redis://127.0.0.1:1", command_seconds=0.2))
    await lost.tell("acme", "sha256:one")
    await lost.aclose()
