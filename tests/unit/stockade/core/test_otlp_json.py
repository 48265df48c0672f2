"""The trace that is shown: the official JSON form, each span once, in an order that can be."""

import base64
from itertools import pairwise

from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1 import trace_pb2

from stockade.core.otlp_json import in_order, trace_json
from stockade.core.spans import Span, TracePart

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def span(name: str, own: int, parent: int, start_ns: int, end_ns: int) -> Span:
    return Span(name, 1, own, parent, start_ns, end_ns, {})


def part(process: str, *spans: Span, state: str = "") -> TracePart:
    return TracePart("acme", "id", TRACE, state, process, "", spans)


def as_message(shown: object) -> trace_pb2.TracesData:
    """Reads it as the official protobuf; OTLP's ids are hexadecimal where protobuf has base64."""

    def turned(value: object) -> object:
        if isinstance(value, list):
            return [turned(one) for one in value]
        if not isinstance(value, dict):
            return value
        ids = {"traceId", "spanId", "parentSpanId"}
        return {
            name: base64.b64encode(bytes.fromhex(one)).decode() if name in ids else turned(one)
            for name, one in value.items()
        }

    message: trace_pb2.TracesData = json_format.ParseDict(turned(shown), trace_pb2.TracesData())
    return message


def test_it_is_what_the_official_protobuf_reads() -> None:
    facts = {"text": "\x1b[31m", "whole": -5, "share": 0.5, "yes": True}
    told = Span("run", 3, 0xABC, 0x12, 1_764_284_274_872_428_123, 1_764_284_274_999_999_999, facts)
    failed = told._replace(id=5, error="trapped", link=0xABC)
    shown = trace_json([part("worker", told, failed, state="a=b")._replace(instance="w1")])
    message = as_message(shown)
    (resource,) = message.resource_spans
    known = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert known == {"service.name": "stockade-worker", "service.instance.id": "w1"}
    (scope,) = resource.scope_spans
    good, bad = scope.spans
    assert good.trace_id == bytes.fromhex(TRACE)
    assert (good.span_id, good.parent_span_id) == (
        (0xABC).to_bytes(8),
        (0x12).to_bytes(8),
    )
    assert (good.name, good.kind, good.trace_state) == ("run", 3, "a=b")
    assert good.start_time_unix_nano == told.start_ns
    assert good.end_time_unix_nano == told.end_ns
    values = {one.key: one.value for one in good.attributes}
    assert values["text"].string_value == "\x1b[31m"
    assert values["whole"].int_value == -5
    assert values["share"].double_value == 0.5
    assert values["yes"].bool_value is True
    assert good.status.code == trace_pb2.Status.STATUS_CODE_UNSET
    assert bad.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    assert bad.links[0].span_id == (0xABC).to_bytes(8)
    assert not part("gateway").spans
    assert trace_json([]) == {"resourceSpans": []}


def test_a_bare_span_of_a_nameless_process_says_no_more_than_there_is() -> None:
    (resource,) = as_message(trace_json([part("worker", span("a", 1, 0, 5, 9))])).resource_spans
    assert len(resource.resource.attributes) == 1
    shown = resource.scope_spans[0].spans[0]
    assert (shown.parent_span_id, shown.trace_state, len(shown.links)) == (b"", "", 0)


def test_what_is_told_twice_is_shown_once() -> None:
    once, again = span("a", 1, 0, 5, 9), span("a", 1, 0, 5, 9)
    shown = in_order([part("gateway", once), part("gateway", again), part("worker")])
    assert [one.spans for one in shown] == [(once,)]


def test_a_process_whose_clock_is_behind_is_moved_as_a_whole() -> None:
    gateway = part("gateway", span("request", 1, 0, 1000, 2000), span("submit", 2, 1, 1200, 1300))
    worker = part("worker", span("attempt", 3, 2, 200, 700), span("run", 4, 3, 300, 600))
    _, moved = in_order([gateway, worker])
    assert [(one.start_ns, one.end_ns) for one in moved.spans] == [(1200, 1700), (1300, 1600)]


def test_one_whose_clock_is_ahead_is_left_where_it_is() -> None:
    gateway = part("gateway", span("submit", 2, 0, 1200, 1300))
    worker = part("worker", span("attempt", 3, 2, 5200, 5300))
    assert in_order([worker, gateway]) == [worker, gateway]


def test_a_span_that_ends_before_it_begins_has_no_length() -> None:
    (shown,) = in_order([part("worker", span("a", 1, 0, 50, 40), span("b", 2, 1, 45, 60))])
    assert [(one.start_ns, one.end_ns) for one in shown.spans] == [(50, 50), (50, 65)]


def test_parents_in_a_circle_end() -> None:
    (shown,) = in_order([part("worker", span("a", 1, 2, 5, 6), span("b", 2, 1, 9, 10))])
    assert len(shown.spans) == 2


_SPANS = st.builds(
    span,
    st.just("s"),
    st.integers(1, 12),
    st.integers(0, 12),
    st.integers(0, 100),
    st.integers(0, 100),
)


@given(st.lists(st.builds(lambda spans: part("p", *spans), st.lists(_SPANS)), max_size=4))
def test_no_span_begins_before_its_parent(parts: list[TracePart]) -> None:
    shown = {one.id: one for each in in_order(parts) for one in each.spans}
    for one in shown.values():
        chain, at = [one], shown.get(one.parent)
        while at is not None and at not in chain:
            chain.append(at)
            at = shown.get(at.parent)
        if at is None:  # not in a circle
            assert all(low.start_ns >= high.start_ns for low, high in pairwise(chain))
        assert one.end_ns >= one.start_ns
