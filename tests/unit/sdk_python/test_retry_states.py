"""What the clients say of what was learned of retries: what goes out, and how it is read."""

import json

import httpx

from stockade_client import (
    AsyncClient,
    Client,
    LearnedNeed,
    LearnedOutage,
    LearnedRate,
    RetryBudget,
    RetryState,
)
from tests.unit.sdk_python.fake_gateway import RETRY_STATE, FakeGateway

STATE = RetryState(
    function="hello",
    version=3,
    upstream=None,
    known=True,
    frozen=True,
    set_aside=False,
    readable=True,
    size_bytes=321,
    first_attempts=LearnedRate("", 0.97, 120.5, 1, 1_800_000_000_000),
    retries=(LearnedRate("rej..busy.001", 0.25, 30, 0, 1_800_000_000_000),),
    outage=LearnedOutage(
        is_out=True,
        failures=9,
        since_ms=1_800_000_000_000,
        remaining_ms=4000,
        outages_seen=2,
    ),
    needs={"fuel": LearnedNeed(400, 1000.5, 2000, None)},
    budget=None,
)
TENANT = {"known": True, "readable": True, "first_attempts": RETRY_STATE["first_attempts"]}
TENANT |= {"outage": {"is_out": False, "failures": 0}, "budget": {"earned": 4, "allowance": 99.5}}
EXPORT = {"format": "f", "tenant": "t", "states": [{"state": []}]}


def gateway() -> FakeGateway:
    made = FakeGateway()
    made.on("GET /v1/functions/hello/retries", httpx.Response(200, json=RETRY_STATE))
    page = {"states": [TENANT, {"function": "g", "version": 1, "readable": False}], "next": "g/1"}
    made.on("GET /v1/retries", httpx.Response(200, json=page))
    for what in ("freeze", "unfreeze"):
        made.on(f"POST /v1/retries/{what}", httpx.Response(200, json={"frozen": True}))
    made.on("POST /v1/retries/reset", httpx.Response(200, json={"forgotten": 2}))
    made.on("GET /v1/retries/export", httpx.Response(200, json=EXPORT | {"next": None}))
    made.on("POST /v1/retries/import", httpx.Response(200, json={"imported": 1}))
    return made


def test_states_and_what_may_be_done_about_them() -> None:
    fake = gateway()
    with Client("http://gateway", "stk_x", transport=fake.transport) as client:
        assert client.retry_state("hello", 3) == STATE
        assert dict(fake.last.url.params) == {"version": "3"}
        (tenant, unreadable), after = client.retry_states(limit=2)
        assert (tenant.budget, after) == (RetryBudget(4, 99.5), "g/1")
        assert (unreadable.first_attempts, unreadable.outage) == (None, None)
        client.freeze_retries("hello", 3)
        assert dict(fake.last.url.params) == {"function": "hello", "version": "3"}
        client.unfreeze_retries()
        assert dict(fake.last.url.params) == {}
        assert client.reset_retries("hello") == 2
        exported = client.export_retries(after="a", limit=7)
        assert dict(fake.last.url.params) == {"after": "a", "limit": "7"}
        assert client.import_retries(exported) == 1
        assert json.loads(fake.last.content) == EXPORT


async def test_the_same_from_asyncio() -> None:
    fake = gateway()
    async with AsyncClient("http://gateway", "stk_x", transport=fake.transport) as client:
        assert await client.retry_state("hello") == STATE
        assert (await client.retry_states(after="x"))[1] == "g/1"
        await client.freeze_retries()
        await client.unfreeze_retries("hello")
        assert await client.reset_retries() == 2
        assert await client.import_retries(await client.export_retries("hello", 1)) == 1
