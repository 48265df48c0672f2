"""A request's moments as spans."""

from stockade.core import span_names as names
from stockade.core.request_trace import (
    RequestFacts,
    carried_spans,
    request_spans,
    submit_span_id,
)
from stockade.core.spans import SpanKind
from stockade.core.trace_context import NO_CARRY, TraceCarry

FACTS = {names.HTTP_METHOD: "POST", names.HTTP_ROUTE: "/invoke"}


def test_each_step_is_a_span_below_the_requests() -> None:
    facts = RequestFacts("id", 7, FACTS, "queue.full")
    whole, first, second = request_spans(facts, 100, [("authorise", 150), ("submit", 180)])
    assert (whole.name, whole.kind, whole.parent) == ("POST /invoke", SpanKind.SERVER, 7)
    assert (whole.start_ns, whole.end_ns, whole.error) == (100, 180, "queue.full")
    assert (first.name, first.parent, first.start_ns, first.end_ns) == (
        "authorise", whole.id, 100, 150,
    )  # fmt: skip
    assert (second.start_ns, second.end_ns, second.kind) == (150, 180, SpanKind.PRODUCER)
    assert second.id == submit_span_id("id")
    assert second.attributes[names.MESSAGING_MESSAGE_ID] == "id"


def test_a_request_without_steps_is_a_span() -> None:
    (whole,) = request_spans(RequestFacts("id", 0, FACTS), 100, [])
    assert (whole.start_ns, whole.end_ns, whole.parent) == (100, 100, 0)


def test_what_an_invocation_carried_is_told_of_its_request() -> None:
    carry = TraceCarry("", 180, 100, 7, (("authorise", 150),))
    whole, authorise, submit = carried_spans("id", carry, FACTS)
    assert (whole.parent, whole.end_ns) == (7, 180)
    assert authorise.end_ns == 150
    assert submit.id == submit_span_id("id")


def test_what_carries_nothing_tells_nothing() -> None:
    assert carried_spans("id", NO_CARRY, FACTS) == ()
    assert carried_spans("id", TraceCarry("a=b", 180), FACTS) == ()
