"""Spans reach a collector over HTTP and gRPC; one that is down, slow or refuses costs spans."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from structlog.testing import capture_logs

from stockade.core.errors import StockadeError
from stockade.core.otlp_json import trace_json
from stockade.core.spans import Span, SpanCounts, TracePart
from stockade.core.trace_options import Collector, OtlpProtocol
from stockade.infra.tracing.otlp_exporter import OtlpExporter
from stockade.infra.tracing.otlp_messages import export_request
from stockade.infra.tracing.otlp_senders import NotSentError, OtlpSender, open_sender
from tests.unit.stockade.core.test_otlp_json import as_message
from tests.unit.stockade.infra.tracing.otlp_receiver import Received, grpc_receiver, http_receiver

FACTS = {"text": "\x1b[31m\u20ac", "long": "x" * 500, "whole": -5, "share": 0.5, "yes": True}
SPAN = Span("run", 3, (1 << 64) - 1, 0x12, 10**18, 10**18 + 5, FACTS, "trapped", 7)
RECEIVERS: dict[OtlpProtocol, Callable[[], AbstractContextManager[Received]]] = {
    OtlpProtocol.HTTP: http_receiver,
    OtlpProtocol.GRPC: grpc_receiver,
}
AGAIN = {OtlpProtocol.HTTP: 503, OtlpProtocol.GRPC: grpc.StatusCode.UNAVAILABLE}
NEVER = {OtlpProtocol.HTTP: 400, OtlpProtocol.GRPC: grpc.StatusCode.INVALID_ARGUMENT}


@pytest.fixture(params=list(OtlpProtocol))
def protocol(request: pytest.FixtureRequest) -> OtlpProtocol:
    made: OtlpProtocol = request.param
    return made


@pytest.fixture
def receiver(protocol: OtlpProtocol) -> Iterator[Received]:
    with RECEIVERS[protocol]() as received:
        yield received


def part(invocation: str = "id", process: str = "worker", spans: int = 2) -> TracePart:
    own = tuple(SPAN._replace(id=number + 1) for number in range(spans))
    return TracePart("acme", invocation, "ab" * 16, "a=b", process, "p1", own)


def exporter(
    sender: OtlpSender, counts: SpanCounts, *, most: int = 1000, give_up: float = 30
) -> OtlpExporter:
    return OtlpExporter(sender, counts, most, first_pause_seconds=0.01, give_up_seconds=give_up)


def sender_to(received: Received, protocol: OtlpProtocol, **more: object) -> OtlpSender:
    return open_sender(Collector(received.url, protocol, **more))  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def test_a_message_says_what_the_shown_trace_says() -> None:
    parts = [part(), part("two", "gateway")]
    message = ExportTraceServiceRequest.FromString(export_request(parts))
    shown = as_message(trace_json(parts))
    sent = {one.resource.SerializeToString(): one for one in message.resource_spans}
    assert len(sent) == 2
    for resource in shown.resource_spans:
        assert sent[resource.resource.SerializeToString()] == resource


_TEXT = st.text(max_size=300)
_VALUES = st.one_of(
    _TEXT, st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False)
)
_SPANS = st.builds(
    Span,
    _TEXT,
    st.integers(1, 5),
    st.integers(1, (1 << 64) - 1),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, (1 << 64) - 1),
    st.dictionaries(_TEXT, _VALUES, max_size=6),
    _TEXT,
    st.integers(0, (1 << 64) - 1),
)


@given(st.lists(_SPANS, max_size=5))
def test_any_span_is_read_by_the_official_protobufs_as_it_was_meant(spans: list[Span]) -> None:
    told = part()._replace(spans=tuple(spans))
    message = ExportTraceServiceRequest.FromString(export_request([told]))
    (resource,) = message.resource_spans
    read = resource.scope_spans[0].spans
    assert len(read) == len(spans)
    for shown, span in zip(read, spans, strict=True):
        assert (shown.name, shown.kind) == (span.name, span.kind)
        assert int.from_bytes(shown.span_id) == span.id
        assert int.from_bytes(shown.parent_span_id) == span.parent
        assert (shown.start_time_unix_nano, shown.end_time_unix_nano) == span[4:6]
        values = {
            one.key: getattr(one.value, one.value.WhichOneof("value")) for one in shown.attributes
        }
        assert values == span.attributes
        assert [type(value) for value in values.values()] == [
            type(value) for value in span.attributes.values()
        ]
        assert shown.status.message == span.error
        assert [int.from_bytes(link.span_id) for link in shown.links] == [span.link] * bool(
            span.link
        )


def test_text_that_utf_8_cannot_say_costs_no_batch() -> None:
    odd = part()._replace(spans=(SPAN._replace(attributes={"text": "a\ud800"}),))
    (resource,) = ExportTraceServiceRequest.FromString(export_request([odd])).resource_spans
    (span,) = resource.scope_spans[0].spans
    assert span.attributes[0].value.string_value == "a?"


async def test_spans_reach_the_collector(
    protocol: OtlpProtocol, receiver: Received, tmp_path: Path
) -> None:
    headers = tmp_path / "headers"
    headers.write_text("Authorization: Bearer sesame\n\nx-scope: one\n")
    headers.chmod(0o600)
    counts = SpanCounts()
    sending = exporter(sender_to(receiver, protocol, headers_file=headers), counts)
    sending.offer([part(), part("two", "gateway")])
    await until(lambda: counts.spans_sent == 4)
    await sending.aclose()
    assert sending.waiting == 0
    assert receiver.services == {"stockade-gateway", "stockade-worker"}
    assert {span.trace_id for span in receiver.spans} == {bytes.fromhex("ab" * 16)}
    assert receiver.headers[0]["authorization"] == "Bearer sesame"
    assert receiver.headers[0]["x-scope"] == "one"


async def test_a_collector_that_is_busy_is_asked_again(
    protocol: OtlpProtocol, receiver: Received
) -> None:
    receiver.statuses = [AGAIN[protocol]] * 2
    counts = SpanCounts()
    sending = exporter(sender_to(receiver, protocol), counts)
    with capture_logs() as logs:
        sending.offer([part()])
        await until(lambda: counts.spans_sent == 2)
    await sending.aclose()
    assert receiver.asked == 3
    assert [line["event"] for line in logs] == ["collector_not_reached"]


async def test_a_batch_that_is_refused_is_counted_and_the_next_is_sent(
    protocol: OtlpProtocol, receiver: Received
) -> None:
    receiver.statuses = [NEVER[protocol]]
    counts = SpanCounts()
    sending = exporter(sender_to(receiver, protocol), counts)
    sending.offer([part()])
    await until(lambda: counts.spans_refused == 2)
    receiver.refuses = 1
    sending.offer([part()])
    await until(lambda: counts.spans_sent == 1)
    await sending.aclose()
    assert counts.spans_refused == 3
    assert counts.spans_not_sent == 0


async def test_a_slow_collector_holds_nobody_and_nothing_grows(
    protocol: OtlpProtocol, receiver: Received
) -> None:
    receiver.held.clear()
    counts = SpanCounts()
    sending = exporter(sender_to(receiver, protocol), counts, most=100)
    began = time.monotonic()
    for _ in range(1000):
        sending.offer([part()])
    assert time.monotonic() - began < 5
    await until(lambda: receiver.asked == 1)
    assert sending.waiting <= 100
    assert counts.spans_not_sent >= 1900
    receiver.held.set()
    await until(lambda: sending.waiting == 0)
    await sending.aclose()
    assert counts.spans_sent + counts.spans_not_sent == 2000


async def test_a_collector_that_is_down_is_given_up_batch_by_batch(
    protocol: OtlpProtocol,
) -> None:
    with socket.socket() as held:  # bound, and nobody listens
        held.bind(("127.0.0.1", 0))
        received = Received(url=f"http://127.0.0.1:{held.getsockname()[1]}")
        counts = SpanCounts()
        sender = sender_to(received, protocol, timeout_seconds=1.0)
        sending = exporter(sender, counts, give_up=0.05)
        sending.offer([part()])
        await until(lambda: counts.spans_not_sent == 2)
        await sending.aclose()
    assert sending.waiting == 0


async def test_what_waits_at_the_end_is_sent(protocol: OtlpProtocol, receiver: Received) -> None:
    counts = SpanCounts()
    sending = exporter(sender_to(receiver, protocol), counts)
    sending.offer([part()])
    await sending.aclose()
    assert len(receiver.spans) == 2


async def test_an_error_of_ours_ends_no_thread() -> None:
    class Broken:
        asked = 0

        def send(self, request: object) -> int:
            del request
            self.asked += 1
            raise ZeroDivisionError

        def close(self) -> None:
            """Nothing to close."""

    broken, counts = Broken(), SpanCounts()
    sending = exporter(broken, counts)
    with capture_logs() as logs:
        for asked in (1, 2):
            sending.offer([part()])
            await until(lambda asked=asked: broken.asked == asked)  # type: ignore[misc]
        await sending.aclose()
    assert counts.spans_not_sent == 4
    assert [line["event"] for line in logs] == ["spans_not_sent"] * 2


def test_an_endless_answer_is_not_read() -> None:
    with http_receiver() as received:
        received.answer = b"x" * 1_000_000
        sender = open_sender(Collector(received.url))
        with pytest.raises(NotSentError) as caught:
            sender.send(export_request([part()]))
        sender.close()
    assert not caught.value.again


def test_nonsense_for_an_answer_is_success() -> None:
    with http_receiver() as received:
        received.answer = b"\xff\xff not a message"
        sender = open_sender(Collector(received.url + "/v1/traces"))
        assert sender.send(export_request([part()])) == 0
        sender.close()


@pytest.mark.parametrize(
    ("told", "seconds"), [("7", 7.0), ("999999", 60.0), ("soon", 0.0), ("\u0667", 0.0)]
)
def test_a_collector_says_when_to_come_back(told: str, seconds: float) -> None:
    with http_receiver() as received:
        received.statuses, received.retry_after = [429], told if told.isascii() else ""
        sender = open_sender(Collector(received.url))
        with pytest.raises(NotSentError) as caught:
            sender.send(export_request([part()]))
        sender.close()
    assert caught.value.again
    assert caught.value.after_seconds == seconds


@pytest.mark.parametrize(
    ("content", "mode", "code"),
    [
        ("secret-without-a-name", 0o600, "config.otlp_invalid"),
        ("a: b\x07c", 0o600, "config.otlp_invalid"),
        ("a: b", 0o644, "config.secret_exposed"),
        (None, 0, "config.otlp_invalid"),
    ],
)
def test_headers_that_cannot_be_used_are_refused_unsaid(
    content: str | None, mode: int, code: str, tmp_path: Path
) -> None:
    file = tmp_path / "headers"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    with pytest.raises(StockadeError) as caught:
        open_sender(Collector("http://127.0.0.1:1", headers_file=file))
    assert caught.value.code == code
    assert "secret-without" not in caught.value.message


@pytest.mark.parametrize("made", list(OtlpProtocol))
def test_a_certificate_that_is_not_there_is_refused(made: OtlpProtocol, tmp_path: Path) -> None:
    place = Collector("https://127.0.0.1:1", made, certificate=tmp_path / "absent.pem")
    with pytest.raises(StockadeError) as caught:
        open_sender(place)
    assert caught.value.code == "config.otlp_invalid"


def test_a_grpc_endpoint_may_leave_out_its_port() -> None:
    for url in ("http://collector.example", "https://collector.example"):
        open_sender(Collector(url, OtlpProtocol.GRPC)).close()
