"""What the clients say about upstreams."""

import httpx
import pytest

from stockade_client import AsyncClient, Client, StockadeApiError, Upstream
from tests.unit.sdk_python.fake_gateway import FakeGateway, problem

OUT = {
    "upstream": "http_fetch:*.example.org:8443",
    "state": "open",
    "failures": 5,
    "cause": "timeout",
    "since_ms": 1,
    "next_probe_ms": 2,
    "failed_probes": 3,
    "something_new": 1,
}
READ = Upstream("http_fetch:*.example.org:8443", "open", 5, "timeout", 1, 2, 3)
PATH = "/v1/upstreams/http_fetch:%2A.example.org:8443"


@pytest.fixture
def gateway() -> FakeGateway:
    it = FakeGateway()
    it.on("GET /v1/upstreams", httpx.Response(200, json={"upstreams": [OUT]}))
    return it


def test_upstreams_are_read(gateway: FakeGateway) -> None:
    with Client("http://gateway", "stk_key", transport=gateway.transport) as client:
        assert client.upstreams() == (READ,)
        closed = OUT | {"state": "closed", "next_probe_ms": None}
        gateway.on("GET /v1/upstreams", httpx.Response(200, json={"upstreams": [closed]}))
        assert client.upstreams()[0].next_probe_ms is None


def test_a_reset_names_it_whatever_its_characters(gateway: FakeGateway) -> None:
    gateway.on(f"DELETE {PATH}", httpx.Response(204))
    with Client("http://gateway", "stk_key", transport=gateway.transport) as client:
        client.reset_upstream(READ.upstream)
    assert gateway.last.method == "DELETE"
    assert gateway.last.url.raw_path.decode() == PATH


async def test_the_asyncio_client_says_the_same(gateway: FakeGateway) -> None:
    missing = problem(404, "upstream.not_found")
    gateway.on(f"DELETE {PATH}", missing)
    async with AsyncClient("http://gateway", "stk_key", transport=gateway.transport) as client:
        assert await client.upstreams() == (READ,)
        with pytest.raises(StockadeApiError) as caught:
            await client.reset_upstream(READ.upstream)
    assert caught.value.code == "upstream.not_found"
