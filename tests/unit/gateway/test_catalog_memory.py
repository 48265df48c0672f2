"""Two gateways over one catalog: what one of them changes, the other one drops."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import httpx
import pytest

from gateway.app import create_app
from gateway.catalog_memory import CatalogMemory, following
from stockade.core.catalog_changes import CatalogChange, ChangeKind
from stockade.core.errors import StockadeError
from stockade.infra.memory.memory_catalog_changes import MemoryCatalogChanges
from tests.unit.gateway.installation import SETTINGS, Installation, installed

LONG = SETTINGS.model_copy(update={"catalog_cache_seconds": 5.0})


@dataclass
class Pair:
    """A gateway, and one that shares its catalog and nothing else."""

    here: Installation
    there: httpx.AsyncClient
    memory: CatalogMemory

    async def until(self, status: int, path: str = "/v1/functions/greet") -> None:
        """Waits until the other gateway answers so; far less than it would remember."""
        async with asyncio.timeout(2):
            while (await self.there.get(path)).status_code != status:
                await asyncio.sleep(0)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    changes = MemoryCatalogChanges()
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(installed(changes=changes, settings=LONG))
        services = replace(here.services, changes=MemoryCatalogChanges(changes))
        app = create_app(services)
        memory: CatalogMemory = app.state.context.memory
        await stack.enter_async_context(following(memory))
        headers = {"authorization": f"Bearer {here.key}"}
        transport = httpx.ASGITransport(app)
        there = httpx.AsyncClient(transport=transport, base_url="http://two", headers=headers)
        await stack.enter_async_context(there)
        await here.deploy("greet")
        await here.http.put("/v1/functions/greet/aliases/prod", json={"version": 1})
        yield Pair(here, there, memory)


async def behind_its_back(it: Installation) -> None:
    """Deploys a second version, of which nobody is told."""
    found = await it.catalog.function_version("alice", "greet", None)
    assert found is not None
    await it.catalog.put_function("alice", "greet", replace(found.content, concurrency=9), 0)


async def test_a_revoked_key_is_refused_by_the_other_gateway_at_once(pair: Pair) -> None:
    await pair.until(200)
    key_id = pair.here.key.split("_")[2]
    assert (await pair.here.http.delete(f"/v1/keys/{key_id}")).status_code == 204
    await pair.until(401)


async def test_a_new_version_is_seen_by_the_other_gateway_at_once(pair: Pair) -> None:
    await pair.until(200)
    await pair.here.deploy("greet", concurrency=3)
    async with asyncio.timeout(2):
        while (await pair.there.get("/v1/functions/greet")).json()["version"] != 2:
            await asyncio.sleep(0)


async def test_a_moved_alias_is_seen_by_the_other_gateway_at_once(pair: Pair) -> None:
    path = "/v1/functions/greet?alias=prod"
    assert (await pair.there.get(path)).json()["version"] == 1
    await pair.here.deploy("greet", concurrency=3)
    await pair.here.http.put("/v1/functions/greet/aliases/prod", json={"version": 2})
    async with asyncio.timeout(2):
        while (await pair.there.get(path)).json()["version"] != 2:
            await asyncio.sleep(0)


async def test_what_may_have_been_missed_is_asked_anew(pair: Pair) -> None:
    await pair.until(200)
    await behind_its_back(pair.here)
    assert (await pair.there.get("/v1/functions/greet")).json()["version"] == 1
    await pair.here.services.changes.announce(CatalogChange(ChangeKind.ANYTHING))
    async with asyncio.timeout(2):
        while (await pair.there.get("/v1/functions/greet")).json()["version"] != 2:
            await asyncio.sleep(0)


async def test_what_workers_remember_is_announced_and_leaves_gateways_alone(pair: Pair) -> None:
    changes = pair.here.services.changes
    assert isinstance(changes, MemoryCatalogChanges)
    await pair.until(200)
    assert (await pair.here.http.post("/v1/signers/ci/revoke")).status_code == 200
    assert changes.told[-1] == CatalogChange(ChangeKind.TRUST, "alice")
    pair.memory.forget(changes.told[-1])


class Deaf(MemoryCatalogChanges):
    """Hears nothing, and says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def hear(self, timeout_seconds: float) -> Sequence[CatalogChange]:
        del timeout_seconds
        self.asked.set()
        raise StockadeError("queue.unavailable", "gone", retryable=True)


async def test_a_gateway_that_hears_nothing_trusts_its_memory_no_more() -> None:
    deaf = Deaf()
    async with installed(changes=deaf, settings=LONG) as it:
        await it.deploy("greet")
        assert (await it.http.get("/v1/functions/greet")).json()["version"] == 1
        await behind_its_back(it)
        async with following(it.app.state.context.memory):
            await deaf.asked.wait()
            assert (await it.http.get("/v1/functions/greet")).json()["version"] == 2
