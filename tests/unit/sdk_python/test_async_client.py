"""The asyncio client sends the same calls; what they mean is tested with the blocking one."""

import inspect

import httpx
import pytest

from stockade_client import AsyncClient, Client, Health, InvocationPending, StockadeApiError
from stockade_client.attempts import RetryRule
from tests.unit.sdk_python.fake_gateway import (
    ALIAS,
    DIGEST,
    ID,
    MODULE,
    RECORD,
    FakeGateway,
    completed,
    problem,
)

QUICK = RetryRule(first_pause_seconds=0.001, longest_pause_seconds=0.002)


def make(gateway: FakeGateway) -> AsyncClient:
    return AsyncClient("http://gateway", "stk_key", transport=gateway.transport, retries=QUICK)


def test_both_clients_are_alike() -> None:
    blocking = {name: str(inspect.signature(getattr(Client, name))) for name in _methods(Client)}
    awaited = {
        # What goes on is iterated over, each client in its way.
        name: str(inspect.signature(getattr(AsyncClient, name))).replace("AsyncIter", "Iter")
        for name in _methods(AsyncClient)
    }
    assert blocking.pop("close") == awaited.pop("aclose")
    assert blocking == awaited


def _methods(kind: type) -> list[str]:
    return [name for name in dir(kind) if not name.startswith("_")]


async def test_every_call() -> None:
    async with make(_willing_gateway()) as client:
        await _own(client)
        await _run(client)
        await _keep(client)
        assert await client.health() == Health(live=True, ready=True)


def _answers_about_trust(gateway: FakeGateway) -> None:
    signer = {"name": "me", "public_key": "abc"}
    trust = {"function": "pay", "threshold": 2, "signers": []}
    gateway.on("GET /v1/signers/me", httpx.Response(200, json=signer))
    gateway.on("POST /v1/signers/me/rotate", httpx.Response(201, json=signer))
    gateway.on("PUT /v1/functions/pay/trust", httpx.Response(201, json=trust))
    gateway.on("GET /v1/functions/pay/trust", httpx.Response(200, json=trust))


def _willing_gateway() -> FakeGateway:
    gateway = FakeGateway()
    module, signer = {"digest": DIGEST}, {"name": "me", "public_key": "abc"}
    details = {"name": "hello", "version": 1, "module": DIGEST, "abi": "stockade:v1"}
    empty = httpx.Response(200, json={})
    gateway.on("POST /v1/modules", httpx.Response(201, json=MODULE | module))
    gateway.on("POST /v1/modules:from-oci", httpx.Response(201, json=MODULE))
    gateway.on("POST /v1/modules:to-oci", httpx.Response(201, json={"manifest": "me/hello@x"}))
    gateway.on(f"GET /v1/modules/{DIGEST}", httpx.Response(200, json=MODULE))
    gateway.on("PUT /v1/functions/hello", httpx.Response(201, json=details))
    gateway.on("PUT /v1/functions/hello/aliases/prod", httpx.Response(200, json=ALIAS))
    gateway.on("GET /v1/functions", httpx.Response(200, json={"functions": [details]}))
    gateway.on("GET /v1/functions/hello", httpx.Response(200, json=details))
    gateway.on("POST /v1/functions/hello/invoke", completed())
    gateway.on("POST /v1/functions/hello/invocations", httpx.Response(202, json={"id": ID}))
    gateway.on(f"GET /v1/invocations/{ID}", httpx.Response(200, json=RECORD))
    gateway.on(f"GET /v1/invocations/{ID}/result", httpx.Response(200, content=b"out"))
    gateway.on(f"GET /v1/invocations/{ID}/logs", httpx.Response(200, json={"lines": []}))
    gateway.on(f"POST /v1/invocations/{ID}/cancel", empty)
    gateway.on("POST /v1/signers", httpx.Response(201, json=signer))
    gateway.on("GET /v1/signers", httpx.Response(200, json={"signers": [signer]}))
    gateway.on("POST /v1/signers/me/revoke", empty)
    _answers_about_trust(gateway)
    gateway.on("POST /v1/functions/hello/invocations:batch", httpx.Response(202, json={"id": ID}))
    gateway.on("GET /v1/dead-letters", httpx.Response(200, json={"dead_letters": [RECORD]}))
    gateway.on("POST /v1/dead-letters/redrive", httpx.Response(202, json={"redriven": [ID]}))
    gateway.on(f"POST /v1/invocations/{ID}/redrive", empty)
    secret = {"name": "token", "updated_ms": 5}
    gateway.on("GET /v1/secrets", httpx.Response(200, json={"secrets": [secret]}))
    gateway.on("PUT /v1/secrets/token", empty).on("DELETE /v1/secrets/token", empty)
    gateway.on("GET /healthz", httpx.Response(200)).on("GET /readyz", httpx.Response(200))
    return gateway


async def _own(client: AsyncClient) -> None:
    assert (await client.upload_module(b"\0asm")).digest == DIGEST
    assert (await client.module_from_oci("hello")).digest == DIGEST
    assert await client.module_to_oci(DIGEST, "hello:1") == "me/hello@x"
    assert (await client.module(DIGEST)).abi == "stockade:v1"
    assert (await client.put_function("hello", DIGEST)).version == 1
    await client.put_alias("hello", "prod", version=1)
    assert len(await client.functions()) == 1
    assert (await client.function("hello")).module == DIGEST
    assert (await client.add_signer("me", "abc")).name == "me"
    assert len(await client.signers()) == 1
    await client.revoke_signer("me")
    assert (await client.signer("me")).name == "me"
    assert (await client.rotate_signer("me", "abc")).name == "me"
    assert (await client.put_function_trust("pay", 2)).threshold == 2
    assert (await client.function_trust("pay")).function == "pay"


async def _run(client: AsyncClient) -> None:
    assert (await client.invoke("hello", b"x")).output == b"hi"
    assert await client.submit("hello", b"x") == ID
    assert (await client.get(ID)).done
    assert await client.result(ID) == b"out"
    assert (await client.logs(ID)).lines == ()
    await client.cancel(ID)
    assert (await client.wait(ID)).outcome == "completed"


async def _keep(client: AsyncClient) -> None:
    assert await client.submit_batch("hello", [b"1"]) == (ID,)
    assert [letter.id for letter in await client.dead_letters()] == [ID]
    assert await client.redrive_all() == (ID,)
    await client.redrive(ID)
    await client.put_secret("token", b"x")
    assert [secret.name for secret in await client.secrets()] == ["token"]
    await client.delete_secret("token")


async def test_waits_retries_and_gives_up_likewise() -> None:
    gateway = FakeGateway()
    running = httpx.Response(200, json=RECORD | {"state": "running"})
    gateway.on(f"GET /v1/invocations/{ID}", problem(503, "queue.unavailable"), running)
    gateway.on("GET /v1/functions", _broken)
    gateway.on("GET /healthz", _broken).on("GET /readyz", _broken)
    async with make(gateway) as client:
        with pytest.raises(InvocationPending):
            await client.wait(ID, timeout_seconds=0.01)
        gateway.on(f"GET /v1/invocations/{ID}", running, httpx.Response(200, json=RECORD))
        assert (await client.wait(ID)).done
        with pytest.raises(Exception, match="reset"):
            await client.functions()
        assert await client.health() == Health(live=False, ready=False)


async def test_refusals_are_the_same() -> None:
    gateway = FakeGateway().on("GET /v1/functions", problem(401, "auth.key_unknown"))
    async with make(gateway) as client:
        with pytest.raises(StockadeApiError) as caught:
            await client.functions()
    assert caught.value.code == "auth.key_unknown"


def _broken(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("reset", request=request)
