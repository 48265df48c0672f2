"""When keys were last used is noted behind the requests, and survives trouble and the stop."""

import asyncio
from collections.abc import Mapping

import pytest

from gateway import key_use
from gateway.auth import Authenticator
from gateway.key_use import note_use, noting_use
from stockade.core.errors import StockadeError
from stockade.infra.memory.memory_catalog import MemoryCatalog
from tests.unit.gateway.installation import Installation, installed


class Stubborn(MemoryCatalog):
    """Notes nothing while it is away, and waits while it is slow."""

    away = False
    slow: asyncio.Event | None = None

    async def touch_keys(self, used: Mapping[str, int]) -> None:
        if self.away:
            raise StockadeError("catalog.unavailable", "away", retryable=True)
        if self.slow is not None:
            self.slow.set()
            await asyncio.Event().wait()
        await super().touch_keys(used)


def _authenticator(gateway: Installation) -> Authenticator:
    authenticator: Authenticator = gateway.app.state.context.authenticator
    return authenticator


async def _last_used(gateway: Installation) -> int | None:
    (key,) = await gateway.catalog.keys("alice")
    return key.last_used_ms


async def test_a_use_is_noted_at_the_stop(gateway: Installation) -> None:
    async with noting_use(gateway.catalog, _authenticator(gateway), gateway.services.clock):
        assert (await gateway.http.get("/v1/functions")).status_code == 200
        assert await _last_used(gateway) is None
    assert await _last_used(gateway) is not None
    shown = (await gateway.http.get("/v1/keys")).json()["keys"]
    assert shown[0]["last_used_ms"] == await _last_used(gateway)


async def test_a_refused_key_is_not_used(gateway: Installation) -> None:
    async with gateway.client(await gateway.new_key("alice", expires_ms=1)) as http:
        assert (await http.get("/v1/functions")).status_code == 401
    assert _authenticator(gateway).take_used() == {}


async def test_uses_are_noted_again_and_again(
    gateway: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_use, "NOTE_SECONDS", 0.0)
    async with noting_use(gateway.catalog, _authenticator(gateway), gateway.services.clock):
        assert (await gateway.http.get("/v1/functions")).status_code == 200
        async with asyncio.timeout(10):
            while await _last_used(gateway) is None:
                await asyncio.sleep(0)


async def test_what_cannot_be_noted_waits() -> None:
    catalog = Stubborn()
    async with installed(catalog=catalog) as gateway:
        gateway.catalog = catalog
        it = _authenticator(gateway)
        await gateway.new_key("alice")
        it.give_back({"a": 1})
        catalog.away = True
        await note_use(catalog, it)
        it.give_back({"a": 1})
        assert it.take_used() == {"a": 1}
        it.give_back({"a": 2})
        it.give_back({"a": 1, "b": 1})
        assert it.take_used() == {"a": 2, "b": 1}


async def test_a_stop_in_the_middle_of_noting_loses_nothing() -> None:
    catalog = Stubborn()
    catalog.slow = asyncio.Event()
    it = Authenticator(catalog, None, 1.0)  # type: ignore[arg-type] - the clock is not asked
    it.give_back({"a": 1})
    task = asyncio.ensure_future(note_use(catalog, it))
    await catalog.slow.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert it.take_used() == {"a": 1}
