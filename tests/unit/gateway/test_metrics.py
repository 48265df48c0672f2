"""Sizes and refusals are counted, told without a key and without tenants; large inputs warn."""

import asyncio

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message, Receive, Scope, Send

from gateway.loop_lag import measuring_lag
from gateway.metrics import GatewayMetrics, is_above, size_warning
from gateway.metrics_middleware import NO_ROUTE, MetricsMiddleware
from stockade.core.history import FeedStatus
from stockade.core.rate_limits import RateLimit
from stockade.core.shares import SharePolicy, TenantShare
from tests.unit.gateway.installation import Installation, installed, refused

NO_WAIT = {"stockade-wait-seconds": "0"}
BOUND = {"input_bytes": 1000}
INVOKE, SUBMIT = "/v1/functions/f/invoke", "/v1/functions/f/invocations"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def told(gateway: Installation) -> Samples:
    async with gateway.client(None) as http:
        answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return samples(answer.text)


def large(told: Samples) -> list[float]:
    name = "stockade_gateway_large_inputs_total"
    return [told[name, frozenset({("above_percent", percent)})] for percent in ("50", "80")]


def refusals(told: Samples) -> dict[str, float]:
    return {
        dict(labels)["code"]: value
        for (name, labels), value in told.items()
        if name == "stockade_gateway_refusals_total"
    }


@pytest.mark.parametrize(
    ("size", "bound", "above"),
    [(500, 1000, 0), (501, 1000, 1), (800, 1000, 1), (801, 1000, 2), (1000, 1000, 2), (0, 1, 0)],
)
def test_a_size_is_above_a_share_of_its_bound(size: int, bound: int, above: int) -> None:
    metrics = GatewayMetrics()
    metrics.took_input(size, bound)
    assert sum(large(samples(metrics.text().decode()))) == above
    assert is_above(80, size, bound) is (above == 2)
    warned = {"Stockade-Size-Warning": f"{size} of {bound} bytes"}
    assert size_warning(size, bound) == (warned if above == 2 else {})


@pytest.mark.parametrize("path", [INVOKE, SUBMIT])
async def test_inputs_are_counted_and_large_ones_warn(gateway: Installation, path: str) -> None:
    await gateway.deploy(limits=BOUND)
    warnings = []
    for size in (0, 500, 501, 800, 801, 1000):
        answer = await gateway.http.post(path, content=b"x" * size, headers=NO_WAIT)
        assert answer.status_code == 202
        warnings.append(answer.headers.get("stockade-size-warning"))
    assert warnings == [None] * 4 + ["801 of 1000 bytes", "1000 of 1000 bytes"]
    counted = await told(gateway)
    assert large(counted) == [4, 2]
    assert counted["stockade_gateway_input_bytes_count", frozenset()] == 6
    assert counted["stockade_gateway_input_bytes_sum", frozenset()] == 3602


async def test_an_output_comes_with_the_warning_too(gateway: Installation) -> None:
    await gateway.deploy(limits=BOUND)
    answer = await gateway.worked(gateway.invoke(b"x" * 900))
    assert (answer.status_code, answer.content) == (200, b"x" * 900)
    assert answer.headers["stockade-size-warning"] == "900 of 1000 bytes"


async def batch(gateway: Installation, *sizes: int) -> httpx.Response:
    lines = b"\n".join(b'"' + b"x" * (size - 2) + b'"' for size in sizes)
    headers = {"content-type": "application/x-ndjson"}
    return await gateway.http.post(f"{SUBMIT}:batch", content=lines, headers=headers)


async def test_lines_of_a_batch_are_inputs(gateway: Installation) -> None:
    await gateway.deploy(limits=BOUND)
    answer = await batch(gateway, 10, 600, 700)
    assert "stockade-size-warning" not in answer.headers
    answer = await batch(gateway, 900, 10, 1001)
    assert answer.headers["stockade-size-warning"] == "900 of 1000 bytes"
    counted = await told(gateway)
    assert large(counted) == [3, 1]
    assert refusals(counted) == {"request.too_large": 1}


async def test_refusals_are_counted_by_code_and_nothing_by_tenant() -> None:
    shares = SharePolicy(TenantShare(rate_limit=RateLimit(0.01, 1)))
    async with installed(shares=shares) as gateway:
        await gateway.deploy(limits=BOUND)
        for _ in range(3):
            await gateway.http.post(SUBMIT, content=b"1")
        await batch(gateway, 5, 5)
        refused(await gateway.http.get("/nothing"), 404, "request.not_found")
        async with gateway.client("wrong") as http:
            refused(await http.get("/v1/functions"), 401, "auth.key_malformed")
        refused(await gateway.http.post(SUBMIT, content=b"x" * 1001), 413, "request.too_large")
        counted = await told(gateway)
        assert refusals(counted) == {
            "tenant.rate_limited": 4,
            "request.not_found": 1,
            "auth.key_malformed": 1,
            "request.too_large": 1,
        }
        assert {name for _, labels in counted for name, _ in labels} == {
            "le",
            "above_percent",
            "code",
            "files",
            "method",
            "reason",
            "route",
            "status",
            "version",
        }
        assert not any("alice" in value for _, labels in counted for _, value in labels)


async def test_requests_are_counted_by_their_route_and_never_by_what_stands_in_a_path() -> None:
    async with installed() as gateway:
        for name in ("secret-one", "secret-two"):
            await gateway.http.get(f"/v1/functions/{name}")
        await gateway.http.get("/v1/nothing-of-ours")
        await gateway.http.request("BREW", "/healthz")
        text = (await gateway.http.get("/metrics")).text
        counted = {
            (labels["route"], labels["method"], labels["status"]): value
            for (name, pairs), value in samples(text).items()
            if name == "stockade_gateway_requests_total"
            for labels in [dict(pairs)]
        }
    assert counted["/v1/functions/{name}", "GET", "4xx"] == 2
    assert counted[NO_ROUTE, "GET", "4xx"] == 1
    assert NO_ROUTE in {method for _, method, _ in counted}
    assert "secret" not in text
    assert "nothing-of-ours" not in text
    assert "BREW" not in text


async def test_who_scrapes_at_once_shares_one_page() -> None:
    class Counting(GatewayMetrics):
        written = 0

        def text(self) -> bytes:
            self.written += 1
            return super().text()

    metrics = Counting()
    async with installed(metrics=metrics) as gateway:
        answers = await asyncio.gather(*(gateway.http.get("/metrics") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert metrics.written < 50


async def test_the_event_loops_lag_is_measured() -> None:
    metrics = GatewayMetrics()
    async with measuring_lag(metrics), asyncio.timeout(30):
        while b"stockade_event_loop_lag_seconds_count 0.0" in metrics.text():
            await asyncio.sleep(0.01)
    metrics.valkey_answered("submit", 0.001)
    assert b'stockade_valkey_seconds_count{command="submit"} 1.0' in metrics.text()


async def test_what_the_recorder_of_the_history_did_and_what_waits_is_told() -> None:
    async with installed() as gateway:
        meter = gateway.app.state.context.history
        meter.runs, meter.gone, meter.looked_ms = 7, 1, 10_000
        meter.feeds[0] = FeedStatus(waiting=3, oldest_ms=4_000)
        for _ in range(2):
            counted = await told(gateway)
    none: frozenset[tuple[str, str]] = frozenset()
    assert counted["stockade_history_runs_recorded_total", none] == 7
    assert counted["stockade_history_runs_lost_total", none] == 1
    assert counted["stockade_history_waiting", none] == 3
    assert counted["stockade_history_lag_seconds", none] == 6


async def test_what_is_dropped_of_traces_is_told_by_reason(gateway: Installation) -> None:
    counts = gateway.services.tracer.counts
    try:
        for counts.dropped_full in (2, 5):
            await told(gateway)
        counts.spans_not_sent = 7
        text = (await gateway.http.get("/metrics")).text
    finally:
        counts.dropped_full = counts.spans_not_sent = 0
    assert 'stockade_spans_dropped_total{reason="full"} 5.0' in text
    assert 'stockade_spans_dropped_total{reason="not_sent"} 7.0' in text
    assert 'stockade_spans_dropped_total{reason="broken"} 0.0' in text


async def test_what_is_no_request_passes_uncounted() -> None:
    passed = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        passed.append(scope["type"])

    async def unused() -> Message:
        return {}

    async def ignored(message: Message) -> None:
        del message

    metrics = GatewayMetrics()
    await MetricsMiddleware(app, metrics)({"type": "lifespan"}, unused, ignored)
    assert passed == ["lifespan"]
    assert b"stockade_gateway_requests_total{" not in metrics.text()
