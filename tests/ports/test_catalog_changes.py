"""What one process changes, the others hear of; what is lost costs nothing but time."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from stockade.core.catalog_changes import ANYTHING, CatalogChange, CatalogChanges, ChangeKind
from stockade.core.errors import StockadeError
from stockade.infra.memory.memory_catalog_changes import MemoryCatalogChanges
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_catalog_changes import RedisCatalogChanges
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_keys import RedisKeys
from tests.ports.valkey_fixture import flush

pytest_plugins = ("tests.ports.valkey_fixture",)
Make = Callable[[], CatalogChanges]
KEY = CatalogChange(ChangeKind.KEY, "acme", "abcdefghij01")
FUNCTION = CatalogChange(ChangeKind.FUNCTION, "acme", "hello")
TRUST = CatalogChange(ChangeKind.TRUST, "rival")


@pytest.fixture
async def valkey_url(valkey: EmbeddedValkey) -> str:
    await flush(valkey.url)
    return valkey.url


@pytest.fixture(params=["memory", "redis"])
def server_url(request: pytest.FixtureRequest) -> str:
    """Where the server is; empty for memory."""
    return "" if request.param == "memory" else request.getfixturevalue("valkey").url


@pytest.fixture
async def process(server_url: str) -> AsyncIterator[Make]:
    """Makes the announcements of one process after the other."""
    if not server_url:
        first = MemoryCatalogChanges()
        yield lambda: MemoryCatalogChanges(first)
        return
    await flush(server_url)
    made = list[RedisCatalogChanges]()

    def make() -> RedisCatalogChanges:
        made.append(RedisCatalogChanges(RedisConnections(server_url)))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


async def test_every_process_hears_each_change_once_in_order(process: Make) -> None:
    teller, first, second = process(), process(), process()
    await teller.announce(KEY)
    assert list(await first.hear(5)) == [ANYTHING]
    hearing = asyncio.ensure_future(first.hear(5))
    assert list(await second.hear(5)) == [ANYTHING]
    await teller.announce(FUNCTION)
    assert list(await hearing) == [FUNCTION]
    await first.announce(TRUST)
    assert list(await first.hear(5)) == [TRUST]
    assert list(await second.hear(5)) == [FUNCTION, TRUST]
    assert list(await second.hear(0.01)) == []


async def test_who_was_away_for_a_while_hears_the_rest(process: Make) -> None:
    teller, hearer = process(), process()
    await hearer.hear(0)
    for _ in range(20):
        await teller.announce(FUNCTION)
    assert list(await hearer.hear(5)) == [FUNCTION] * 20


async def test_names_are_told_as_they_are(process: Make) -> None:
    teller, hearer = process(), process()
    await hearer.hear(0)
    hostile = CatalogChange(ChangeKind.FUNCTION, "acme\r\nx", "n\N{SNOWMAN}\0 *")
    await teller.announce(hostile)
    assert list(await hearer.hear(5)) == [hostile]


async def test_who_is_too_far_behind_asks_anew_about_anything(valkey_url: str) -> None:
    teller = RedisCatalogChanges(RedisConnections(valkey_url))
    hearer = RedisCatalogChanges(RedisConnections(valkey_url))
    await hearer.hear(0)
    await asyncio.gather(*(teller.announce(FUNCTION) for _ in range(1100)))
    assert len(await hearer.hear(5)) == 1000
    assert list(await hearer.hear(5)) == [ANYTHING]
    await teller.announce(KEY)
    assert list(await hearer.hear(5)) == [KEY]
    for one in (teller, hearer):
        await one.aclose()


async def test_what_a_newer_release_announces_may_be_about_anything(valkey_url: str) -> None:
    connections = RedisConnections(valkey_url)
    hearer = RedisCatalogChanges(connections)
    await hearer.hear(0)
    fields = ("kind", "weather", "tenant", b"\xff", "name", "rain", "more", "1")
    await connections.call("XADD", RedisKeys().changes, "*", *fields)
    assert list(await hearer.hear(5)) == [ANYTHING]
    await hearer.aclose()


async def test_after_an_outage_it_may_be_anything(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"))
    await server.start()
    hearer = RedisCatalogChanges(RedisConnections(server.url, command_seconds=0.5))
    await hearer.hear(0)
    await server.stop()
    with pytest.raises(StockadeError, match=r"queue\.unavailable"):
        await hearer.hear(0.1)
    await server.start()
    assert list(await hearer.hear(0.1)) == [ANYTHING]
    await hearer.aclose()
    await server.stop()


async def test_a_server_that_is_away_is_no_error_to_who_announces() -> None:
    lost = RedisCatalogChanges(RedisConnections("redis://127.0.0.1:1", command_seconds=0.2))
    await lost.announce(KEY)
    await lost.aclose()
