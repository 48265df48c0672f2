"""Invocations: submitted whole or not at all, waited for, told, cancelled."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim, Completion, Invocation, Priority, SubmitReceipt
from stockade.core.outcomes import Outcome
from stockade.core.rate_limits import RateLimit
from stockade.core.shares import SharePolicy, TenantShare
from stockade.infra.memory.memory_queue import MemoryInvocationQueue
from stockade.infra.system_clock import SystemClock
from tests.unit.gateway.installation import Installation, ending, installed, refused

NO_WAIT = {"stockade_wait_seconds": "0"}
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe\0", b"x" * 32 * 1024, b"x" * (32 * 1024 + 1), b"y" * (1 << 20)]
)
async def test_any_bytes_go_in_and_come_out(gateway: Installation, data: bytes) -> None:
    await gateway.deploy()
    answer = await gateway.worked(gateway.invoke(data, content_type="text/plain"))
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["content-type"] == "application/octet-stream"
    told = {name: answer.headers[f"stockade-{name}"] for name in ("outcome", "attempts", "fuel")}
    assert told == {"outcome": "completed", "attempts": "1", "fuel": "42"}
    assert answer.headers["stockade-peak-memory-bytes"] == "65536"
    assert answer.headers["stockade-wall-ms"] == "1.500"
    invocation = gateway.claims[0].invocation
    assert invocation.id == answer.headers["stockade-invocation-id"]
    assert (invocation.input_inline is None) is (len(data) > 32 * 1024)


async def test_a_large_output_comes_from_the_blob_store(gateway: Installation) -> None:
    await gateway.deploy()
    output = b"z" * 100_000

    def large(claim: Claim, _data: bytes) -> Completion:
        done, of = ending(Outcome.COMPLETED), claim.invocation
        digest = gateway.payloads.hold(of.tenant, of.id, output)
        return Completion(done.attempt, 2_000, output_blob=digest)

    answer = await gateway.worked(gateway.invoke(), large)
    assert answer.content == output
    gateway.payloads.clear()
    path = f"/v1/invocations/{answer.headers['stockade-invocation-id']}/result"
    refused(await gateway.http.get(path), 500, "invocation.result_lost")


async def test_a_large_input_is_kept_once_and_only_when_it_was_taken(gateway: Installation) -> None:
    await gateway.deploy()
    path, data = "/v1/functions/f/invocations", b"i" * 100_000
    sent = {"idempotency-key": "k"}
    first = await gateway.http.post(path, content=data, headers=sent)
    again = await gateway.http.post(path, content=data, headers=sent)
    assert again.json()["id"] == first.json()["id"]
    other = await gateway.http.post(path, content=b"o" * 100_000, headers=sent)
    refused(other, 409, "invocation.idempotency_conflict")
    assert gateway.payloads.held_ids() == [first.json()["id"]]


async def test_batches_keep_what_was_taken_only(gateway: Installation) -> None:
    await gateway.deploy()
    path, line = "/v1/functions/f/invocations:batch", b'"' + b"i" * 100_000 + b'"'
    sent = {"idempotency-key": "k", "content-type": "application/x-ndjson"}
    first = await gateway.http.post(path, content=line, headers=sent)
    again = await gateway.http.post(path, content=line + b"\n" + line, headers=sent)
    ids = [json.loads(answer)["id"] for answer in again.text.splitlines()]
    assert [json.loads(first.text)["id"]] == ids[:1]
    assert gateway.payloads.held_ids() == sorted(ids)


@pytest.mark.parametrize(
    "outcome", [Outcome.REJECTED, Outcome.TRAPPED, Outcome.LIMIT_EXCEEDED, Outcome.CRASHED]
)
async def test_a_guests_failure_is_a_problem(gateway: Installation, outcome: Outcome) -> None:
    await gateway.deploy()

    def failing(_claim: Claim, _data: bytes) -> Completion:
        return ending(outcome, limit="fuel", detail='no "\x1b[31m"')

    answer = await gateway.worked(gateway.invoke(), failing)
    problem = refused(answer, 422, f"invocation.{outcome}")
    assert problem["detail"] == 'no "\x1b[31m"'
    assert b"\x1b" not in answer.content
    assert (problem["outcome"], problem["limit"], problem["attempts"]) == (outcome, "fuel", 1)
    assert problem["usage"]["fuel"] == 42  # type: ignore[index]
    assert answer.headers["stockade-outcome"] == outcome
    path = f"/v1/invocations/{problem['invocation_id']}/result"
    assert (await gateway.http.get(path)).json() == problem


async def test_a_caller_who_waits_too_short_gets_the_id(gateway: Installation) -> None:
    await gateway.deploy()
    answer = await gateway.invoke(**NO_WAIT)
    assert answer.status_code == 202
    place = answer.headers["location"]
    assert place == f"/v1/invocations/{answer.json()['id']}"
    shown = (await gateway.http.get(place)).json()
    assert (shown["state"], shown["outcome"], shown["attempts"]) == ("queued", None, [])
    refused(await gateway.http.get(f"{place}/result"), 409, "invocation.not_done")
    await gateway.work()
    shown = (await gateway.http.get(place)).json()
    assert (shown["state"], shown["outcome"], shown["function"]) == ("done", "completed", "f")
    assert shown["attempts"][0]["usage"]["fuel"] == shown["usage"]["fuel"] == 42
    assert (await gateway.http.get(f"{place}/logs")).json() == {
        "lines": [
            {"attempt": 1, "level": "info", "text": "hello\x1b[31m\n"},
            {"attempt": 1, "level": "error", "text": "worse"},
        ],
        "truncated": True,
        "dropped": [{"attempt": 1, "what": "logs", "count": None}],
    }


async def test_an_invocation_goes_on_when_its_caller_leaves(gateway: Installation) -> None:
    await gateway.deploy()
    leaving = asyncio.ensure_future(gateway.invoke(b"x"))
    claims = await gateway.worker.claim(1, 10)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert await gateway.worker.begin(claims[0], 1_000)
    assert await gateway.worker.complete(claims[0], ending(Outcome.COMPLETED, b"done"))
    path = f"/v1/invocations/{claims[0].invocation.id}/result"
    assert (await gateway.http.get(path)).content == b"done"


async def test_who_waits_when_the_gateway_stops_gets_the_id(gateway: Installation) -> None:
    await gateway.deploy()
    waiting = asyncio.ensure_future(gateway.invoke(b"x"))
    await gateway.worker.claim(1, 10)
    gateway.app.state.context.waiters.let_go_within(0)
    answers = [await waiting, await gateway.invoke(b"y")]
    assert [answer.status_code for answer in answers] == [202, 202]


async def test_headers_reach_the_invocation(gateway: Installation) -> None:
    await gateway.deploy()
    sent = {
        "Stockade-Priority": "urgent",
        "Stockade-Deadline-Seconds": "60.5",
        "Idempotency-Key": "k",
        "traceparent": TRACE,
    }
    answer = await gateway.http.post("/v1/functions/f/invocations", headers=sent)
    assert answer.status_code == 202
    await gateway.work()
    of = gateway.claims[0].invocation
    assert (of.priority, of.idempotency_key, of.traceparent) == (Priority.URGENT, "k", TRACE)
    assert of.deadline_ms is not None
    assert 60_000 <= of.deadline_ms - of.submitted_ms <= 60_500
    assert of.reply_to == ""


@pytest.mark.parametrize("trace", ["x", TRACE.upper(), TRACE + "-more", ""])
async def test_a_bad_traceparent_is_ignored(gateway: Installation, trace: str) -> None:
    await gateway.deploy()
    await gateway.worked(gateway.invoke(traceparent=trace))
    assert gateway.claims[0].invocation.traceparent == ""


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("stockade-wait-seconds", "soon"),
        ("stockade-wait-seconds", "-1"),
        ("stockade-wait-seconds", "120.5"),
        ("stockade-wait-seconds", "9" * 5000),
        ("stockade-wait-seconds", "nan"),
        ("stockade-priority", "URGENT"),
        ("stockade-run-at", "tomorrow"),
        ("stockade-run-at", "2030-01-01T00:00:00"),
        ("stockade-run-at", "2030-13-01T00:00:00Z"),
        ("stockade-run-at", "9999-01-01T00:00:00Z"),
        ("stockade-deadline-seconds", "0"),
        ("stockade-deadline-seconds", "2592001"),
        ("idempotency-key", "x" * 256),
        ("idempotency-key", "a b"),
        ("idempotency-key", ""),
    ],
)
async def test_a_bad_header(gateway: Installation, header: str, value: str) -> None:
    await gateway.deploy()
    problem = refused(await gateway.invoke(**{header: value}), 400, "request.header_invalid")
    assert header in str(problem["detail"]).lower()


async def test_times_ahead_and_past(gateway: Installation) -> None:
    await gateway.deploy()
    for time, state in (("0001-01-01t00:00:00+23:59", "done"), ("2026-12-31T00:00:00.5z", None)):
        answer = await gateway.http.post(
            "/v1/functions/f/invocations", headers={"stockade-run-at": time}
        )
        assert answer.status_code == 202, answer.text
        if state == "done":
            await gateway.work()
            assert gateway.claims[0].invocation.run_at_ms == 0


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?version=0", "request.query_invalid"),
        ("?version=", "request.query_invalid"),
        ("?version=latest", "request.query_invalid"),
        ("?version=%C2%B2", "request.query_invalid"),
        ("?version=" + "9" * 5000, "request.query_invalid"),
        ("?version=00000000019", "request.query_invalid"),
        ("?version=1&alias=prod", "request.query_invalid"),
        ("?alias=UPPER", "alias.name_invalid"),
    ],
)
async def test_a_bad_query(gateway: Installation, query: str, code: str) -> None:
    await gateway.deploy()
    refused(await gateway.invoke(query=query), 400, code)


async def test_the_same_idempotency_key(gateway: Installation) -> None:
    await gateway.deploy()
    first = await gateway.worked(gateway.invoke(b"x", idempotency_key="k"))
    again = await gateway.invoke(b"x", idempotency_key="k")
    name = "stockade-invocation-id"
    assert (again.content, again.headers[name]) == (b"x", first.headers[name])
    other = await gateway.invoke(b"y", idempotency_key="k")
    refused(other, 409, "invocation.idempotency_conflict")


async def test_the_functions_own_input_bound(gateway: Installation) -> None:
    await gateway.deploy(limits={"input_bytes": 10})
    assert (await gateway.worked(gateway.invoke(b"x" * 10))).status_code == 200
    problem = refused(await gateway.invoke(b"x" * 11), 413, "request.too_large")
    assert problem["facts"] == {"max_bytes": 10, "size_bytes": 11}
    assert "11 bytes, more than the 10 bytes" in str(problem["detail"])


async def test_cancelling(gateway: Installation) -> None:
    await gateway.deploy()
    place = (await gateway.invoke(**NO_WAIT)).headers["location"]
    answer = await gateway.http.post(f"{place}/cancel")
    assert (answer.status_code, answer.json()["outcome"]) == (200, "cancelled")
    refused(await gateway.http.post(f"{place}/cancel"), 409, "invocation.already_done")
    refused(await gateway.http.get(f"{place}/result"), 422, "invocation.cancelled")


@pytest.mark.parametrize(
    "of", ["1", "x" * 300, "01900000-0000-7000-8000-00000000000A", "%00", "%2e%2e", "*"]
)
async def test_an_id_that_is_none(gateway: Installation, of: str) -> None:
    for part in ("", "/result", "/logs"):
        answer = await gateway.http.get(f"/v1/invocations/{of}{part}")
        refused(answer, 404, "invocation.not_found")
    answer = await gateway.http.post(f"/v1/invocations/{of}/cancel")
    refused(answer, 404, "invocation.not_found")


class Broken(MemoryInvocationQueue):
    """A queue that refuses submissions."""

    code, retryable = "queue.unavailable", True

    async def submit(self, invocation: Invocation) -> SubmitReceipt:
        del invocation
        raise StockadeError(self.code, "Try again.", retryable=self.retryable)


class Full(Broken):
    """Likewise, for want of room."""

    code = "queue.full"


@pytest.mark.parametrize(("queue", "status"), [(Broken, 503), (Full, 429)])
@pytest.mark.parametrize("call", ["invoke", "invocations"])
async def test_a_queue_that_refuses(queue: type[Broken], status: int, call: str) -> None:
    async with installed(queue=queue(SystemClock())) as it:
        await it.deploy()
        answer = await it.http.post(f"/v1/functions/f/{call}", content=b"x" * 40_000)
        assert refused(answer, status, queue.code)["retryable"] is True
        assert answer.headers["retry-after"] == "1"


class Forgetful(Broken):
    """Has taken it, and cannot say that it stays: an operator who mends that makes it true."""

    code, retryable = "queue.not_durable", False


@pytest.mark.parametrize(
    ("queue", "kept"),
    [(Broken, 1), (Forgetful, 1), (Full, 0)],
    ids=["doubt", "taken, not durable", "refusal"],
)
async def test_an_input_is_dropped_with_a_refusal_but_not_with_a_doubt(
    queue: type[Broken], kept: int
) -> None:
    async with installed(queue=queue(SystemClock())) as it:
        await it.deploy()
        await it.http.post("/v1/functions/f/invocations", content=b"x" * 40_000)
        assert len(it.payloads.held_ids()) == kept


async def test_our_own_mistake_tells_nothing() -> None:
    class Mistaken(MemoryInvocationQueue):
        async def submit(self, invocation: Invocation) -> SubmitReceipt:
            raise RuntimeError(f"secret {invocation.id}")

    async with installed(queue=Mistaken(SystemClock())) as it:
        await it.deploy()
        with capture_logs() as logged:
            answer = await it.invoke()
        refused(answer, 500, "internal.error")
        assert "secret" not in answer.text
        assert [(line["event"], line["method"]) for line in logged] == [("request_failed", "POST")]


async def test_a_hot_call_asks_the_catalog_nothing(gateway: Installation) -> None:
    await gateway.deploy()
    await gateway.worked(gateway.invoke())

    def refuse(*_: object) -> Callable[..., Awaitable[None]]:
        raise AssertionError("the catalog was asked")

    for name in ("find_key", "function_version", "alias"):
        setattr(gateway.catalog, name, refuse)
    assert (await gateway.worked(gateway.invoke(b"hot"))).content == b"hot"


async def test_a_submission_carries_its_tenants_share() -> None:
    shares = SharePolicy(tenants={"alice": TenantShare(3, 5, RateLimit(2, 4), 6)})
    async with installed(shares=shares) as gateway:
        await gateway.deploy()
        await gateway.invoke(**NO_WAIT)
        (claim,) = await gateway.worker.claim(1, 1)
    assert (claim.invocation.weight, claim.invocation.tenant_concurrency) == (3, 5)
    assert (claim.invocation.rate_limit, claim.invocation.tenant_backlog) == (RateLimit(2, 4), 6)


@pytest.mark.parametrize("call", ["invoke", "invocations"])
async def test_over_its_rate_a_tenant_is_told_when_to_try_again(call: str) -> None:
    shares = SharePolicy(tenants={"alice": TenantShare(rate_limit=RateLimit(0.01, 1))})
    async with installed(shares=shares) as gateway:
        await gateway.deploy()
        await gateway.invoke(**NO_WAIT)
        answer = await gateway.http.post(f"/v1/functions/f/{call}", content=b"x" * 40_000)
        facts = refused(answer, 429, "tenant.rate_limited")["facts"]
        assert isinstance(facts, dict)
        assert int(answer.headers["retry-after"]) == math.ceil(facts["retry_after_ms"] / 1000)
        assert gateway.payloads.held_ids() == []
