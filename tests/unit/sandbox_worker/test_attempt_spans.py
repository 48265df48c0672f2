"""What a worker tells of an attempt and of its host calls."""

import gc
from dataclasses import dataclass, field, replace
from types import FunctionType, ModuleType

import pytest

from sandbox_worker.attempt_spans import MOST_CALLS, AttemptSpans
from sandbox_worker.call_spans import CallSpans
from sandbox_worker.guest.frames import HostCall, HostReply
from stockade.core import span_names as names
from stockade.core.egress import parse_http_grant, parse_url
from stockade.core.http_messages import HttpRequest, HttpResponse
from stockade.core.invocations import Claim, Completion, Invocation, RetryCarry
from stockade.core.limits import Limits
from stockade.core.modules import Abi, FunctionContent
from stockade.core.outcomes import Attempt, Outcome, RunResult, Usage
from stockade.core.spans import (
    OFF,
    Recording,
    Span,
    SpanClock,
    SpanKind,
    TracePart,
    Tracer,
    attempt_span_id,
    seed_of,
)
from stockade.core.trace_context import TraceCarry, trace_id_of

TRACE, PARENT = "a" * 32, 0xB
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT:016x}-01", f"00-{TRACE}-{PARENT:016x}-00"
AHEAD_NS = 1_764_284_274_000_000_000
USAGE = Usage(fuel=14, peak_memory_bytes=65536, input_bytes=2, output_bytes=3, host_calls=1)
DONE = RunResult(Outcome.COMPLETED, usage=USAGE)
TRAPPED = RunResult(Outcome.TRAPPED, detail="The guest trapped: unreachable.", usage=USAGE)


@dataclass
class Sink:
    taken: list[Recording] = field(default_factory=list)

    def take(self, recording: Recording) -> None:
        self.taken.append(recording)


def claim(
    parent: str = SAMPLED, attempt: int = 1, carry: TraceCarry | None = None, deaths: int = 0
) -> Claim:
    content = FunctionContent("sha256:x", Abi.STOCKADE_V1, deterministic=False)
    invocation = Invocation(
        "id", "acme", "f", 3, content, 0, b"", traceparent=parent, trace=carry or TraceCarry("s=1")
    )
    return Claim(invocation, attempt, "1764284274000-0", deaths=deaths)


def completion(result: RunResult, retry_at_ms: int | None = None) -> Completion:
    attempt = Attempt(
        1, result.outcome, "It may pass.", result.usage, policy="learned", success=0.75
    )
    carry = RetryCarry(limits=Limits(fuel=77)) if retry_at_ms else RetryCarry()
    return Completion(attempt, 1000, retry_at_ms=retry_at_ms, carry=carry)


def tracer(sink: Sink, ratio: float = 1.0) -> Tracer:
    clock = SpanClock(AHEAD_NS)
    return Tracer(on=True, ratio=ratio, process="worker", instance="w1", sink=sink, clock=clock)


def told(
    of: Claim,
    result: RunResult = DONE,
    retry_at_ms: int | None = None,
    *,
    ratio: float = 1.0,
    recorded: bool = True,
) -> list[TracePart]:
    sink = Sink()
    spans = AttemptSpans(tracer(sink, ratio), of)
    spans.mark("verify")
    spans.mark("cache")
    spans.lent(cold=True)
    spans.mark("run")
    spans.ended(result, completion(result, retry_at_ms), recorded=recorded)
    return [part for one in sink.taken for part in one.parts()]


def named(part: TracePart) -> dict[str, Span]:
    return {span.name: span for span in part.spans}


def test_an_attempt_is_told_from_its_wait_to_its_record() -> None:
    (part,) = told(claim())
    assert (part.tenant, part.invocation, part.trace_id, part.state, part.failed) == (
        "acme", "id", TRACE, "s=1", False,
    )  # fmt: skip
    spans = named(part)
    assert list(spans) == [
        "queue wait", "attempt", "load", "verify", "cache", "executor", "run", "complete",
    ]  # fmt: skip
    assert len({span.id for span in part.spans}) == len(part.spans)
    attempt = spans["attempt"]
    assert attempt.id == attempt_span_id(seed_of("id"), 1)
    assert (attempt.parent, attempt.kind, attempt.error) == (PARENT, SpanKind.CONSUMER, "")
    assert spans["queue wait"].parent == PARENT
    assert spans["queue wait"].start_ns == 1764284274000 * 10**6
    assert spans["queue wait"].end_ns == attempt.start_ns
    assert spans["verify"].parent == spans["cache"].parent == spans["load"].id
    for name in ("load", "executor", "run", "complete"):
        assert spans[name].parent == attempt.id
        assert attempt.start_ns <= spans[name].start_ns <= spans[name].end_ns <= attempt.end_ns
    assert spans["load"].attributes[names.MODULE_SOURCE] == "cache"
    assert spans["executor"].attributes == {names.FAAS_COLDSTART: True}
    run = spans["run"].attributes
    assert (run[names.FUEL], run[names.MEMORY], run[names.HOST_CALLS]) == (14, 65536, 1)
    assert attempt.attributes[names.OUTCOME] == "completed"
    assert attempt.attributes[names.ATTEMPT] == 1


def test_the_first_wait_begins_where_the_gateway_submitted() -> None:
    submitted_ns = AHEAD_NS - 5
    (part,) = told(claim(carry=TraceCarry(submitted_ns=submitted_ns)))
    assert named(part)["queue wait"].start_ns == submitted_ns
    (part,) = told(replace(claim(attempt=2, carry=TraceCarry(submitted_ns=5)), entry="odd"))
    wait = named(part)["queue wait"]
    assert wait.start_ns == wait.end_ns


def test_a_failure_is_told_with_its_decision_though_unsampled() -> None:
    (part,) = told(claim(UNSAMPLED), TRAPPED, retry_at_ms=1250)
    spans = named(part)
    assert part.failed
    assert spans["attempt"].error == spans["run"].error == "trapped"
    assert spans["run"].attributes[names.TRAP] == "unreachable"
    assert spans["complete"].attributes == {
        names.RETRY: True,
        names.RETRY_REASON: "It may pass.",
        names.RETRY_DELAY_MS: 250,
        names.RETRY_POLICY: "learned",
        names.RETRY_ESTIMATE: 0.75,
        names.RETRY_FUEL: 77,
        names.RETRY_MEMORY: Limits().memory_bytes,
    }


def test_what_a_guest_says_of_itself_is_not_told() -> None:
    rejected = RunResult(Outcome.REJECTED, detail="password is hunter2", usage=USAGE)
    over = RunResult(Outcome.LIMIT_EXCEEDED, limit="fuel", detail="x", usage=USAGE)
    assert "hunter2" not in str(told(claim(), rejected))
    (part,) = told(claim(), over)
    assert named(part)["run"].attributes[names.LIMIT] == "fuel"
    assert named(part)["complete"].attributes[names.RETRY] is False


@pytest.mark.parametrize("parent", [UNSAMPLED, ""])
def test_what_goes_well_unsampled_is_dropped(parent: str) -> None:
    assert told(claim(parent), ratio=0.0) == []


def test_without_a_context_the_trace_bears_the_invocations_id() -> None:
    (part,) = told(claim(""))
    assert part.trace_id == trace_id_of("id")
    assert named(part)["attempt"].parent == 0


def test_an_attempt_after_another_is_linked_to_it_and_told() -> None:
    (part,) = told(claim(UNSAMPLED, attempt=3, deaths=1), ratio=0.0)
    attempt = named(part)["attempt"]
    assert attempt.link == attempt_span_id(seed_of("id"), 2)
    assert attempt.attributes[names.DEATHS] == 1


def test_a_stale_attempt_is_told_as_such() -> None:
    (part,) = told(claim(UNSAMPLED), ratio=0.0, recorded=False)
    assert named(part)["attempt"].attributes[names.STALE] is True


def test_what_the_invocation_carried_of_its_request_is_told_with_its_failure() -> None:
    carry = TraceCarry("s=1", 180, 100, 7, (("authorise", 150),))
    gateway, worker = told(claim(UNSAMPLED, carry=carry), TRAPPED)
    assert (gateway.process, worker.process) == ("gateway", "worker")
    whole, authorise, _submit = gateway.spans
    assert (whole.parent, whole.start_ns, authorise.end_ns) == (7, 100, 150)
    assert whole.attributes[names.FAAS_NAME] == "f"
    assert len(told(claim(UNSAMPLED, attempt=2, carry=carry), TRAPPED)) == 1
    assert len(told(claim(UNSAMPLED, attempt=2, carry=carry, deaths=1), TRAPPED)) == 2


@pytest.mark.parametrize(("steps", "name"), [((), "load"), (("verify",), "start")])
def test_a_run_that_could_not_start_says_where(steps: tuple[str, ...], name: str) -> None:
    sink = Sink()
    spans = AttemptSpans(tracer(sink), claim())
    for step in steps:
        spans.mark(step)
    spans.failed("jail.unavailable")
    lost = RunResult(Outcome.LOST)
    spans.ended(lost, completion(lost), recorded=True)
    (part,) = sink.taken[0].parts()
    shown = named(part)
    assert "run" not in shown
    assert shown[name].error == "jail.unavailable"
    assert shown["attempt"].error == "lost"


def test_what_waits_to_be_told_holds_neither_input_nor_output() -> None:
    sink, big = Sink(), [bytes(100_000), bytes(100_001)]
    of = replace(claim(), invocation=replace(claim().invocation, input_inline=big[0]))
    result = replace(DONE, output=big[1])
    spans = AttemptSpans(tracer(sink), of)
    spans.ended(result, replace(completion(result), output_inline=big[1]), recorded=True)
    seen: set[int] = set()
    look = gc.get_referents(*sink.taken)
    while look:
        one = look.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType):
            continue
        seen.add(id(one))
        look += gc.get_referents(one)
    assert len(seen) > 20
    assert not seen & set(map(id, big))


def test_a_store_that_was_away_for_long_makes_no_flood_of_steps() -> None:
    sink = Sink()
    spans = AttemptSpans(tracer(sink), claim())
    for _ in range(100):
        spans.mark("verify")
    spans.ended(DONE, completion(DONE), recorded=True)
    (part,) = sink.taken[0].parts()
    assert len({span.id for span in part.spans}) == len(part.spans) < 70


def test_switched_off_nothing_is_told_and_a_callers_context_goes_through() -> None:
    spans = AttemptSpans(OFF, claim())
    spans.ended(DONE, completion(DONE), recorded=True)
    assert spans.outgoing().parent == SAMPLED


def test_host_calls_are_below_the_run_and_bounded() -> None:
    sink = Sink()
    spans = AttemptSpans(tracer(sink), claim())
    spans.lent(cold=False)
    calls = CallSpans(spans)
    for _ in range(MOST_CALLS + 5):
        with calls.calling(HostCall("kv_get", text="n/secret-key")):
            calls.note(names.KV_NAMESPACE, "n")
            calls.answered(HostReply(0, b"secret-value"))
    spans.mark("run")
    spans.ended(DONE, completion(DONE), recorded=True)
    (part,) = sink.taken[0].parts()
    shown = named(part)
    told_calls = [span for span in part.spans if span.name == "kv_get"]
    assert len(told_calls) == MOST_CALLS
    assert len({span.id for span in part.spans}) == len(part.spans)
    assert shown["run"].attributes[names.HOST_CALLS_DROPPED] == 5
    assert {span.parent for span in told_calls} == {shown["run"].id}
    assert told_calls[0].attributes == {
        names.HOST_CALL: "kv_get",
        names.KV_NAMESPACE: "n",
        names.REQUEST_BYTES: 12,
        names.RESPONSE_BYTES: 12,
    }
    assert "secret" not in str(part)


def asked(*headers: tuple[str, str]) -> HttpRequest:
    url = parse_url("https://a.example:8443/secret?token=hunter2")
    return HttpRequest("GET", url, headers, b"")


def test_a_fetch_says_which_server_and_how_it_answered() -> None:
    sink = Sink()
    spans = AttemptSpans(tracer(sink), claim())
    calls = CallSpans(spans)
    with calls.calling(HostCall("http_fetch")):
        calls.fetches(asked(), [parse_http_grant("GET https://a.example:8443")])
        calls.fetched(HttpResponse(503))
        calls.answered(HostReply(0))
    with calls.calling(HostCall("\x1b[31mno such call")):
        calls.failed("host_call.not_granted")
        calls.answered(HostReply(1))
    with pytest.raises(TimeoutError), calls.calling(HostCall("kv_get")):
        raise TimeoutError
    spans.ended(DONE, completion(DONE), recorded=True)
    (part,) = sink.taken[0].parts()
    shown = named(part)
    fetch = shown["http_fetch"]
    assert fetch.kind == SpanKind.CLIENT
    assert fetch.attributes[names.SERVER_ADDRESS] == "a.example"
    assert fetch.attributes[names.SERVER_PORT] == 8443
    assert fetch.attributes[names.HTTP_STATUS] == 503
    assert shown["unknown"].error == "host_call.not_granted"
    assert shown["kv_get"].error == "wall"
    assert "hunter2" not in str(part)
    assert "\x1b" not in str(part)


@pytest.mark.parametrize(
    ("grant", "told_server"),
    [("* https://*.a.example", "*.a.example"), ("GET https://b.example", None)],
)
def test_no_server_that_a_guest_makes_up_is_told(grant: str, told_server: str | None) -> None:
    sink = Sink()
    spans = AttemptSpans(tracer(sink), claim())
    calls = CallSpans(spans)
    with calls.calling(HostCall("http_fetch")):
        url = parse_url("https://hunter2.a.example/")
        calls.fetches(HttpRequest("HUNTER", url, (), b""), [parse_http_grant(grant)])
        calls.failed("http_fetch.unreachable")
        calls.answered(HostReply(2))
    spans.ended(DONE, completion(DONE), recorded=True)
    (part,) = sink.taken[0].parts()
    facts = named(part)["http_fetch"].attributes
    assert facts.get(names.SERVER_ADDRESS) == told_server
    assert facts[names.HTTP_METHOD] == "_OTHER"
    assert "hunter" not in str(part).lower()


def test_a_server_is_told_the_runs_context() -> None:
    spans = AttemptSpans(tracer(Sink()), claim())
    sent = dict(CallSpans(spans).with_context(asked(("tracestate", "forged=1"))).headers)
    assert sent["traceparent"].startswith(f"00-{TRACE}-")
    assert sent["traceparent"] not in {SAMPLED, UNSAMPLED}
    assert sent["tracestate"] == "s=1"
    bare = AttemptSpans(tracer(Sink()), claim(carry=TraceCarry()))
    assert set(dict(CallSpans(bare).with_context(asked()).headers)) == {"traceparent"}


def test_a_guests_own_context_is_left_alone() -> None:
    own = asked(("traceparent", "mine"))
    spans = AttemptSpans(tracer(Sink()), claim())
    assert CallSpans(spans).with_context(own) is own
    assert CallSpans(None).with_context(own) is own
    full = asked(*((f"h{n}", "v") for n in range(99)))
    assert CallSpans(spans).with_context(full) is full
    off = AttemptSpans(OFF, claim(""))
    assert CallSpans(off).with_context(asked()) == asked()
