"""What the clients say about schedules."""

import base64

import httpx
import pytest

from stockade_client import (
    AsyncClient,
    Client,
    Cron,
    Every,
    FiringTime,
    Schedule,
    ScheduleRefusal,
    StockadeApiError,
)
from tests.unit.sdk_python.fake_gateway import ID, SCHEDULE, FakeGateway, problem

NIGHTLY = Schedule(
    name="nightly",
    function="report",
    alias="prod",
    cron="30 3 * * *",
    time_zone="Europe/Berlin",
    priority="low",
    catch_up="one",
    paused=False,
    created_ms=1_800_000_000_000,
    next_ms=1_800_066_600_000,
    last_ms=1_799_980_200_000,
    last_invocation=ID,
    refusal=ScheduleRefusal("queue.full", "Too many.", 1, 2),
    content="grüße".encode(),
    next_times=(
        FiringTime(1_800_066_600_000, "2027-01-16T02:30:00Z", "2027-01-16T03:30:00+01:00"),
    ),
)


@pytest.fixture
def gateway() -> FakeGateway:
    shown, path = httpx.Response(200, json=SCHEDULE), "/v1/schedules/nightly"
    made = FakeGateway().on(f"PUT {path}", shown).on(f"GET {path}", shown)
    made.on(f"POST {path}/pause", httpx.Response(200, json=SCHEDULE | {"paused": True}))
    made.on(f"POST {path}/resume", shown).on(f"DELETE {path}", httpx.Response(204))
    return made.on("GET /v1/schedules", httpx.Response(200, json={"schedules": [SCHEDULE]}))


@pytest.fixture
def client(gateway: FakeGateway) -> Client:
    return Client("http://gateway", "stk_key", transport=gateway.transport)


def test_a_cron_schedule_is_set(client: Client, gateway: FakeGateway) -> None:
    timing = Cron("30 3 * * *", "Europe/Berlin")
    made = client.put_schedule(
        "nightly", "report", timing, b"\0\xff", alias="prod", priority="low", catch_up="one"
    )
    assert made == NIGHTLY
    assert gateway.last_json == {
        "function": "report",
        "cron": "30 3 * * *",
        "time_zone": "Europe/Berlin",
        "input_base64": base64.b64encode(b"\0\xff").decode(),
        "alias": "prod",
        "priority": "low",
        "catch_up": "one",
    }


def test_an_interval_is_set(client: Client, gateway: FakeGateway) -> None:
    client.put_schedule("nightly", "report", Every(60))
    assert gateway.last_json == {"function": "report", "every_seconds": 60}
    client.put_schedule("nightly", "report", Every(5, "2030-01-01T00:00:00Z"), version=2)
    assert gateway.last_json == {
        "function": "report",
        "every_seconds": 5,
        "anchor": "2030-01-01T00:00:00Z",
        "version": 2,
    }


def test_schedules_are_read(client: Client, gateway: FakeGateway) -> None:
    assert client.schedule("nightly") == NIGHTLY
    assert client.schedules() == (NIGHTLY,)
    bare = {name: SCHEDULE[name] for name in ("name", "function", "priority", "catch_up")}
    interval = bare | {"created_ms": 1, "every_seconds": 60, "input_base64": "AP8="}
    gateway.on("GET /v1/schedules/nightly", httpx.Response(200, json=interval))
    found = client.schedule("nightly")
    assert (found.every_seconds, found.cron, found.refusal) == (60, None, None)
    assert (found.content, found.next_times) == (b"\0\xff", ())


def test_schedules_are_paused_resumed_and_deleted(client: Client, gateway: FakeGateway) -> None:
    assert client.pause_schedule("nightly").paused
    assert not client.resume_schedule("nightly").paused
    client.delete_schedule("nightly")
    assert gateway.last.method == "DELETE"


def test_what_is_refused_says_why(client: Client, gateway: FakeGateway) -> None:
    gateway.on("PUT /v1/schedules/nightly", problem(400, "schedule.cron_invalid"))
    with pytest.raises(StockadeApiError) as caught:
        client.put_schedule("nightly", "report", Cron("?"))
    assert caught.value.code == "schedule.cron_invalid"
    with pytest.raises(ValueError, match="names nothing"):
        client.schedule("..")


def test_an_answer_that_is_no_schedule_is_not_taken_for_one(
    client: Client, gateway: FakeGateway
) -> None:
    odd = httpx.Response(200, json=SCHEDULE | {"input_base64": "?"})
    gateway.on("GET /v1/schedules/nightly", odd)
    with pytest.raises(StockadeApiError) as caught:
        client.schedule("nightly")
    assert caught.value.code == "client.unexpected_answer"


async def test_the_asyncio_client_says_the_same(gateway: FakeGateway) -> None:
    async with AsyncClient("http://gateway", "stk_key", transport=gateway.transport) as client:
        assert await client.put_schedule("nightly", "report", Every(60)) == NIGHTLY
        assert await client.schedule("nightly") == NIGHTLY
        assert await client.schedules() == (NIGHTLY,)
        assert (await client.pause_schedule("nightly")).paused
        assert await client.resume_schedule("nightly") == NIGHTLY
        await client.delete_schedule("nightly")
    calls = [(request.method, request.url.path) for request in gateway.requests]
    assert calls[-1] == ("DELETE", "/v1/schedules/nightly")
