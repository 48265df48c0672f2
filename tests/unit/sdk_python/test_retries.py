"""What the clients say about retries: what goes out, and how it is read."""

import httpx

from stockade_client import AsyncClient, CalibrationBin, Client
from tests.unit.sdk_python.fake_gateway import ADVICE, RETRY_REPORT, FakeGateway

PATH = "GET /v1/functions/hello/retry-report"


def test_a_report() -> None:
    gateway = FakeGateway()
    gateway.on(PATH, httpx.Response(200, json=RETRY_REPORT))
    with Client("http://gateway", "stk_x", transport=gateway.transport) as client:
        found = client.retry_report("hello", version=3)
    assert dict(gateway.last.url.params) == {"version": "3"}
    assert (found.policy, found.shadow, found.decisions) == ("fixed", "learned", 40)
    assert (found.effect.saved_attempts, found.effect.won_successes) == (12, 1.5)
    assert found.calibration.bins == (CalibrationBin(0.5, 0.6, 8, 0.55, 0.5),)
    assert (found.mean_delay_ms, found.shadow_mean_delay_ms) == (100, None)
    assert found.reasons == {"backoff": 30, "certain": 10}


async def test_a_report_without_anything_from_asyncio() -> None:
    gateway = FakeGateway()
    bare = {**RETRY_REPORT, "shadow": None, "calibration": {"trials": 0, "error": None, "bins": []}}
    gateway.on(PATH, httpx.Response(200, json=bare))
    async with AsyncClient("http://gateway", "stk_x", transport=gateway.transport) as client:
        found = await client.retry_report("hello", alias="prod")
    assert dict(gateway.last.url.params) == {"alias": "prod"}
    assert (found.shadow, found.calibration.error, found.calibration.bins) == (None, None, ())


def test_advice() -> None:
    gateway = FakeGateway()
    gateway.on("GET /v1/functions/hello/advice", httpx.Response(200, json=ADVICE))
    with Client("http://gateway", "stk_x", transport=gateway.transport) as client:
        fuel, wall = client.advice("hello", alias="prod").limits
    assert dict(gateway.last.url.params) == {"alias": "prod"}
    assert (fuel.suggested, fuel.p99, fuel.automatic) == (1500, 1200, True)
    assert (wall.suggested, wall.p50, wall.runs) == (None, None, 2)


async def test_advice_from_asyncio() -> None:
    gateway = FakeGateway()
    gateway.on("GET /v1/functions/hello/advice", httpx.Response(200, json=ADVICE))
    async with AsyncClient("http://gateway", "stk_x", transport=gateway.transport) as client:
        assert (await client.advice("hello", version=3)).version == 3
