"""What a gateway tells of its requests, and how an invocation's trace is shown."""

import asyncio
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from starlette.requests import Request

from gateway.request_spans import RequestSpans
from gateway.trace import Trace
from stockade.core import span_names as names
from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim, Completion, Invocation
from stockade.core.outcomes import Outcome
from stockade.core.request_trace import carried_spans, submit_span_id
from stockade.core.spans import (
    Recording,
    Span,
    SpanClock,
    TraceBounds,
    TracePart,
    Tracer,
    attempt_span_id,
    seed_of,
)
from stockade.core.trace_context import parse_traceparent, trace_id_of
from stockade.infra.memory.memory_queue import MemoryInvocationQueue
from stockade.infra.memory.memory_traces import MemoryTraces
from stockade.infra.system_clock import SystemClock
from tests.unit.gateway.installation import ending, installed, refused

TRACE, SPAN = "a" * 32, "b" * 16
SAMPLED, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"


@dataclass
class Sink:
    """A `SpanSink` that keeps what it takes."""

    taken: list[Recording] = field(default_factory=list)

    def take(self, recording: Recording) -> None:
        self.taken.append(recording)

    @property
    def parts(self) -> list[TracePart]:
        return [part for one in self.taken for part in one.parts()]


def tracer(sink: Sink, ratio: float = 1.0) -> Tracer:
    return Tracer(on=True, ratio=ratio, process="gateway", instance="g1", sink=sink)


def named(part: TracePart) -> dict[str, Span]:
    return {span.name: span for span in part.spans}


def trapped(_claim: Claim, _data: bytes) -> Completion:
    return ending(Outcome.TRAPPED)


async def test_a_request_is_told_step_by_step_in_its_callers_trace() -> None:
    sink = Sink()
    async with installed(tracer=tracer(sink)) as gateway:
        await gateway.deploy()
        sent = {"traceparent": SAMPLED, "tracestate": "a=1"}
        answer = await gateway.worked(gateway.invoke(b"x", **sent))
    invocation = gateway.claims[0].invocation
    context = parse_traceparent([invocation.traceparent])
    assert context is not None
    assert (context.trace_id, context.sampled) == (TRACE, True)
    assert context.span_id == submit_span_id(invocation.id)
    assert invocation.trace.state == "a=1"
    assert invocation.trace.submitted_ns > 0
    assert not invocation.trace.began_ns
    (part,) = sink.parts
    assert (part.tenant, part.invocation, part.trace_id, part.state, part.failed) == (
        "alice", invocation.id, TRACE, "a=1", False,
    )  # fmt: skip
    steps = ["authorise", "resolve", "receive", "submit", "wait", "respond"]
    whole, *below = part.spans
    assert [span.name for span in below] == steps
    assert whole.name == "POST /v1/functions/{name}/invoke"
    assert whole.parent == int(SPAN, 16)
    assert all(span.parent == whole.id for span in below)
    assert all(one.end_ns == two.start_ns for one, two in pairwise(below))
    assert whole.end_ns == below[-1].end_ns
    assert below[3].id == context.span_id
    assert whole.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/functions/{name}/invoke",
        "http.response.status_code": answer.status_code,
        "faas.name": "f",
        "faas.trigger": "http",
        "faas.version": "1",
        "faas.invocation_id": invocation.id,
        "stockade.tenant": "alice",
        "stockade.outcome": "completed",
    }


async def test_without_a_caller_s_context_the_trace_bears_the_invocations_id() -> None:
    sink = Sink()
    async with installed(tracer=tracer(sink)) as gateway:
        await gateway.deploy()
        for sent in ({}, {"traceparent": "00-evil\x7f", "baggage": "tenant=bob,sampled=1"}):
            await gateway.worked(gateway.invoke(**sent))
    for claim, part in zip(gateway.claims, sink.parts, strict=True):
        assert part.trace_id == trace_id_of(claim.invocation.id)
        assert part.spans[0].parent == 0
        assert "bob" not in str(part)


@pytest.mark.parametrize("sent", [{"traceparent": UNSAMPLED}, {}])
async def test_what_goes_well_unsampled_is_not_told(sent: dict[str, str]) -> None:
    sink = Sink()
    async with installed(tracer=tracer(sink, ratio=0.0)) as gateway:
        await gateway.deploy()
        await gateway.worked(gateway.invoke(**sent))
        assert sink.taken == []
        parent = gateway.claims[0].invocation.traceparent
    context = parse_traceparent([parent])
    assert context is not None
    assert context.sampled is False


async def test_what_fails_unsampled_is_told() -> None:
    sink = Sink()
    async with installed(tracer=tracer(sink, ratio=0.0)) as gateway:
        await gateway.deploy()
        await gateway.worked(gateway.invoke(), trapped)
    (part,) = sink.parts
    whole = part.spans[0]
    assert part.failed
    assert whole.error == "invocation.trapped"
    assert whole.attributes[names.HTTP_STATUS] == 422


async def test_who_gives_up_waiting_is_told() -> None:
    sink = Sink()
    async with installed(tracer=tracer(sink, ratio=0.0)) as gateway:
        await gateway.deploy()
        answer = await gateway.invoke(stockade_wait_seconds="0")
    assert answer.status_code == 202
    (part,) = sink.parts
    assert part.spans[0].attributes[names.WAITED] == "unfinished"


async def test_a_refusal_is_told_with_its_code_and_belongs_to_no_invocation() -> None:
    sink = Sink()

    class Full(MemoryInvocationQueue):
        async def submit(self, invocation: Invocation) -> None:  # type: ignore[override]
            del invocation
            raise StockadeError("queue.full", "Full.", retryable=True)

    async with installed(tracer=tracer(sink, 0.0), queue=Full(SystemClock())) as gateway:
        await gateway.deploy()
        refused(await gateway.invoke(), 429, "queue.full")
    (part,) = sink.parts
    assert (part.invocation, part.failed) == ("", True)
    assert part.spans[0].error == "queue.full"
    assert part.spans[0].attributes[names.HTTP_STATUS] == 429
    assert part.spans[0].attributes[names.ERROR_TYPE] == "queue.full"


async def test_strangers_are_not_told() -> None:
    sink = Sink()
    async with installed(tracer=tracer(sink)) as gateway:
        answer = await gateway.invoke(authorization="Bearer stk_dev_nonsense")
        assert answer.status_code == 401
    assert sink.taken == []


async def test_a_repeat_belongs_to_no_invocation_of_its_own() -> None:
    sink = Sink()
    async with installed(tracer=tracer(sink)) as gateway:
        await gateway.deploy()
        for _ in range(2):
            path = "/v1/functions/f/invocations"
            await gateway.http.post(path, content=b"x", headers={"idempotency-key": "k"})
    first, second = sink.parts
    assert first.invocation
    assert second.invocation == ""
    assert second.spans[0].attributes[names.EARLIER] is True


async def test_an_unsampled_invocation_that_nobody_waits_for_carries_its_request() -> None:
    sink = Sink()
    clock = SpanClock(10**18)
    traced = Tracer(on=True, ratio=0.0, sink=sink, clock=clock)
    async with installed(tracer=traced) as gateway:
        await gateway.deploy()
        await gateway.http.post("/v1/functions/f/invocations", headers={"traceparent": UNSAMPLED})
        await gateway.work()
    assert sink.taken == []
    of = gateway.claims[0].invocation
    facts = {names.HTTP_METHOD: "POST", names.HTTP_ROUTE: "r"}
    whole, *below = carried_spans(of.id, of.trace, facts)
    assert [span.name for span in below] == ["authorise", "resolve", "receive", "submit"]
    assert whole.parent == int(SPAN, 16)
    assert whole.start_ns > 10**18


async def test_switched_off_a_callers_context_goes_through_as_it_came() -> None:
    async with installed() as gateway:
        await gateway.deploy()
        await gateway.worked(gateway.invoke(traceparent=SAMPLED, tracestate="a=1"))
        await gateway.worked(gateway.invoke())
    first, second = (claim.invocation for claim in gateway.claims)
    assert (first.traceparent, first.trace.state, first.trace.submitted_ns) == (SAMPLED, "a=1", 0)
    assert second.traceparent == ""


async def test_a_batch_goes_on_in_its_callers_trace() -> None:
    async with installed() as gateway:
        await gateway.deploy()
        sent = {"traceparent": SAMPLED, "content-type": "application/x-ndjson"}
        path = "/v1/functions/f/invocations:batch"
        answer = await gateway.http.post(path, content=b"1\n2\n", headers=sent)
        assert answer.status_code == 202
        await gateway.work()
    assert gateway.claims[0].invocation.traceparent == SAMPLED


def test_a_fault_of_ours_is_a_failure() -> None:
    sink = Sink()
    with pytest.raises(ZeroDivisionError):
        _break(RequestSpans(tracer(sink), _request(), "/r", "id"))
    assert sink.parts[-1].spans[0].error == "internal.error"


def _break(request: RequestSpans) -> None:
    with request as spans:
        spans.authorised("alice", "f")
        raise ZeroDivisionError


def _request() -> Request:
    scope: dict[str, object] = {"type": "http", "headers": [], "method": "POST"}
    return Request(scope | {"state": {"trace": Trace("r", scope)}})


def _part(of: Invocation, attempt: int = 1) -> TracePart:
    own = attempt_span_id(seed_of(of.id), attempt)
    span = Span("attempt", 5, own, 0, 1, 2, {names.ATTEMPT: attempt})
    return TracePart(of.tenant, of.id, trace_id_of(of.id), "", "worker", "w", (span,))


async def test_a_kept_trace_is_shown_to_its_tenant_alone() -> None:
    traces = MemoryTraces(SystemClock(), TraceBounds())
    async with installed(traces=traces) as gateway:
        await gateway.deploy()
        await gateway.worked(gateway.invoke())
        of = gateway.claims[0].invocation
        await traces.keep([_part(of)])
        answer = await gateway.http.get(f"/v1/invocations/{of.id}/trace")
        assert answer.status_code == 200
        (resource,) = answer.json()["resourceSpans"]
        (shown,) = resource["scopeSpans"][0]["spans"]
        assert shown["traceId"] == trace_id_of(of.id)
        async with gateway.client(await gateway.new_key("bob")) as other:
            path = f"/v1/invocations/{of.id}/trace"
            refused(await other.get(path), 404, "invocation.not_found")
        refused(await gateway.http.get("/v1/invocations/x/trace"), 404, "invocation.not_found")


async def test_a_trace_that_is_not_kept_says_so() -> None:
    async with installed() as gateway:
        await gateway.deploy()
        submitted = await gateway.http.post("/v1/functions/f/invocations")
        path = f"/v1/invocations/{submitted.json()['id']}/trace"
        refused(await gateway.http.get(path), 404, "trace.not_kept")


async def test_an_attempt_whose_worker_died_is_shown_before_the_one_that_told() -> None:
    traces = MemoryTraces(SystemClock(), TraceBounds())

    def second(claim: Claim, _data: bytes) -> Completion:
        done = ending(Outcome.COMPLETED)
        return replace(done, attempt=replace(done.attempt, number=claim.attempt))

    async with installed(traces=traces) as gateway:
        await gateway.deploy()
        submitted = await gateway.http.post("/v1/functions/f/invocations")
        (claim,) = await gateway.worker.claim(1, 10)
        assert await gateway.worker.begin(claim, 1_000)
        assert await gateway.worker.hand_back(claim, ran=True)
        await gateway.work(second)
        of = gateway.claims[0].invocation
        assert gateway.claims[0].attempt == 2
        await traces.keep([_part(of, 2)])
        answer = await gateway.http.get(f"/v1/invocations/{submitted.json()['id']}/trace")
    told, lost = (
        resource["scopeSpans"][0]["spans"][0] for resource in answer.json()["resourceSpans"]
    )
    assert lost["spanId"] == f"{attempt_span_id(seed_of(of.id), 1):016x}"
    assert lost["status"]["message"] == "lost"
    assert lost["endTimeUnixNano"] == told["startTimeUnixNano"]


async def test_a_run_that_just_ended_is_waited_for() -> None:
    clock = SystemClock()
    traces = MemoryTraces(clock, TraceBounds())

    def now(claim: Claim, data: bytes) -> Completion:
        del claim, data
        done = ending(Outcome.COMPLETED)
        return Completion(done.attempt, clock.now_ms(), output_inline=b"")

    async with installed(traces=traces) as gateway:
        await gateway.deploy()
        await gateway.worked(gateway.invoke(), now)
        of = gateway.claims[0].invocation
        asked = asyncio.ensure_future(gateway.http.get(f"/v1/invocations/{of.id}/trace"))
        await asyncio.sleep(0)
        await traces.keep([_part(of)])
        assert (await asked).status_code == 200
