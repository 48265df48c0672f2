"""What the clients say about traces."""

import httpx
import pytest

from stockade_client import AsyncClient, Client, StockadeApiError, Trace, TraceSpan
from tests.unit.sdk_python.fake_gateway import FakeGateway, completed, problem

ID = "01a21f4d-40c3-70cc-b039-e92e3d40ffc9"
PATH = f"GET /v1/invocations/{ID}/trace"
PARENT = f"00-{'ab' * 16}-{'cd' * 8}-01"


def told(**more: object) -> dict[str, object]:
    return {
        "traceId": "ab" * 16,
        "spanId": "01" * 8,
        "name": "run",
        "startTimeUnixNano": "1764284274872428123",
        "endTimeUnixNano": "1764284274999999999",
    } | more


ATTRIBUTES = [
    {"key": "fuel", "value": {"intValue": "14"}},
    {"key": "share", "value": {"doubleValue": 0.5}},
    {"key": "text", "value": {"stringValue": ""}},
    {"key": "yes", "value": {"boolValue": True}},
]
LATER = told(
    spanId="02" * 8,
    parentSpanId="01" * 8,
    startTimeUnixNano="1764284274900000000",
    status={"code": 2, "message": "trapped"},
    links=[{"traceId": "ab" * 16, "spanId": "03" * 8}],
    attributes=ATTRIBUTES,
)
SERVICE = {"attributes": [{"key": "service.name", "value": {"stringValue": "stockade-worker"}}]}
MESSAGE = {
    "resourceSpans": [
        {"resource": SERVICE, "scopeSpans": [{"spans": [LATER]}]},
        {"scopeSpans": [{"spans": [told()]}], "something_new": 1},
    ]
}


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway().on(PATH, httpx.Response(200, json=MESSAGE))


def test_a_trace_is_read_in_the_order_of_its_beginnings(gateway: FakeGateway) -> None:
    with Client("http://gateway", "stk_key", transport=gateway.transport) as client:
        trace = client.trace(ID)
    assert trace.trace_id == "ab" * 16
    assert trace.otlp == MESSAGE
    first, second = trace.spans
    assert (first.service, first.parent_id, first.error) == ("", "", "")
    assert first.start_ns == 1764284274872428123
    assert second == TraceSpan(
        "run",
        "stockade-worker",
        "02" * 8,
        "01" * 8,
        1764284274900000000,
        1764284274999999999,
        "trapped",
        {"fuel": 14, "share": 0.5, "text": "", "yes": True},
        ("03" * 8,),
    )


async def test_the_asyncio_client_says_the_same(gateway: FakeGateway) -> None:
    async with AsyncClient("http://gateway", "stk_key", transport=gateway.transport) as client:
        assert len((await client.trace(ID)).spans) == 2
        gateway.on(PATH, problem(404, "trace.not_kept"))
        with pytest.raises(StockadeApiError) as caught:
            await client.trace(ID)
    assert caught.value.code == "trace.not_kept"


@pytest.mark.parametrize(
    "spans", [[told(startTimeUnixNano="soon")], [told(spanId=7)], ["no object"], 7]
)
def test_what_is_no_trace_is_not_read(gateway: FakeGateway, spans: object) -> None:
    gateway.on(
        PATH, httpx.Response(200, json={"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
    )
    with (
        Client("http://gateway", "stk_key", transport=gateway.transport) as client,
        pytest.raises(StockadeApiError),
    ):
        client.trace(ID)


def test_an_empty_trace_is_read(gateway: FakeGateway) -> None:
    gateway.on(PATH, httpx.Response(200, json={}))
    with Client("http://gateway", "stk_key", transport=gateway.transport) as client:
        assert client.trace(ID) == Trace("", ())


def test_a_callers_context_is_sent(gateway: FakeGateway) -> None:
    gateway.on("POST /v1/functions/f/invoke", completed())
    gateway.on("POST /v1/functions/f/invocations", httpx.Response(202, json={"id": ID}))
    with Client("http://gateway", "stk_key", transport=gateway.transport) as client:
        client.invoke("f", traceparent=PARENT)
        assert gateway.last.headers["traceparent"] == PARENT
        client.submit("f", traceparent=PARENT)
        assert gateway.last.headers["traceparent"] == PARENT
        client.submit("f")
        assert "traceparent" not in gateway.last.headers
