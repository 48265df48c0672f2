"""PostgreSQL under real gateways and a worker: changes are seen, what is away comes back."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio

from tests.faults.fleet import Fleet, until
from tests.ports.postgres_server import PostgresServer, new_server

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("alone")]
REMEMBERS = {"STOCKADE_CATALOG_CACHE_SECONDS": "5", "STOCKADE_TRUST_SECONDS": "3"}
AT_ONCE_SECONDS = 2.5
"""Less than anything is remembered for; the machine is shared."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    made = new_server(durable=True)
    yield made
    made.remove()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    tmp_path_factory: pytest.TempPathFactory, server: PostgresServer
) -> AsyncIterator[Fleet]:
    """Valkey and a gateway over PostgreSQL."""
    made = Fleet(tmp_path_factory.mktemp("fleet"), database_url=server.url("postgres"))
    await made.start()
    yield made
    await made.stop()


def code_of(answer: httpx.Response) -> str:
    code: str = answer.json()["code"]
    return code


async def test_what_one_gateway_changes_the_others_see_at_once(fleet: Fleet) -> None:
    name = await fleet.deploy_counting()
    fleet.worker(**REMEMBERS)
    await fleet.warm_up(name)
    path = f"/v1/functions/{name}"
    made = (await fleet.http.post("/v1/keys", json={"name": "other"})).json()
    async with await fleet.client(await fleet.gateway(**REMEMBERS)) as there:
        there.headers["authorization"] = f"Bearer {made['key']}"
        assert (await there.get(path)).json()["version"] == 1
        assert (await there.post(f"{path}/invoke", content=b"in")).status_code == 200

        async def redeployed() -> bool:
            return bool((await there.get(path)).json()["version"] == 2)

        async def distrusted() -> bool:
            answer = await there.post(f"{path}/invoke", content=b"in")
            return answer.status_code != 200 and "signers_missing" in answer.text

        async def refused() -> bool:
            return (await there.get(path)).status_code == 401

        current = (await fleet.http.get(path)).json()
        wanted = {"module": current["module"], "grants": ["kv:runs"], "concurrency": 3}
        assert (await fleet.http.put(path, json=wanted)).status_code == 201
        await until(redeployed, AT_ONCE_SECONDS)
        assert (await fleet.http.put(f"{path}/trust", json={"threshold": 2})).is_success
        await until(distrusted, AT_ONCE_SECONDS)
        assert (await fleet.http.delete(f"/v1/keys/{made['id']}")).status_code == 204
        await until(refused, AT_ONCE_SECONDS)


async def test_while_the_database_is_away_nothing_hangs_or_gets_lost(
    fleet: Fleet, server: PostgresServer
) -> None:
    name = await fleet.deploy_counting()
    worker = fleet.worker(STOCKADE_TRUST_SECONDS="0")
    await fleet.warm_up(name)
    path = f"/v1/functions/{name}"
    submitted = [asyncio.ensure_future(fleet.submit(name)) for _ in range(5)]
    ids = await asyncio.gather(*submitted)
    server.stop(signal.SIGKILL)

    async def is_told() -> bool:
        began = time.monotonic()
        answer = await fleet.http.get(path)
        assert time.monotonic() - began < 15
        return answer.status_code == 503 and code_of(answer) == "catalog.unavailable"

    await until(is_told)
    refused = await fleet.http.put(path, json={"module": "sha256:" + "ab" * 32})
    assert (refused.status_code, code_of(refused)) == (503, "catalog.unavailable")
    ready = await fleet.http.get("/readyz")
    assert (ready.status_code, ready.json()["catalog"]) == (503, "unavailable")
    server.start()
    for one in (*ids, await until(lambda: submitted_again(fleet, name))):
        assert (await fleet.until_state(one, "done"))["outcome"] == "completed"
    assert worker.poll() is None


async def submitted_again(fleet: Fleet, name: str) -> str | None:
    """The id, once the gateway serves again."""
    answer = await fleet.http.post(f"/v1/functions/{name}/invocations", content=b"in")
    return answer.json()["id"] if answer.status_code == 202 else None
