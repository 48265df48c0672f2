"""Spans as an OTLP message, on the wire at once.

The official protobufs make what is the same again and again (attributes, resources, statuses),
which is kept as bytes. What differs from span to span is a few fields of fixed size, written here:
to build a message object for each span and attribute first takes five times as long, which at 100 %
of traces is most of what tracing costs. Tests read all of it with the official protobufs.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from struct import Struct

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from stockade.core import span_names as names
from stockade.core.otlp_json import SCOPE, service_name
from stockade.core.spans import Span, TracePart, Value

_KEPT = 4096
_LONGEST_KEPT = 128
_SPAN_BYTES = 8
_MORE, _SEVEN_BITS = 0x80, 0x7F

# Tags: the field's number and how it is written. Source: opentelemetry/proto/trace/v1/trace.proto.
_RESOURCE_SPANS = b"\x0a"
_RESOURCE, _SCOPE_SPANS = b"\x0a", b"\x12"
_SCOPE, _SPAN = b"\x0a", b"\x12"
_TRACE_ID, _SPAN_ID, _PARENT_ID = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
_ATTRIBUTE, _LINK, _STATUS = b"\x4a", b"\x6a", b"\x7a"
_TIMES = Struct("<cQcQ")
_START, _END = b"\x39", b"\x41"
_SAMPLED = b"\x85\x01\x01\x00\x00\x00"


def export_request(parts: Sequence[TracePart]) -> bytes:
    """One `ExportTraceServiceRequest` with the spans of all parts, those of a process together."""
    ordered = sorted(parts, key=_process_of)
    return b"".join(
        _framed(_RESOURCE_SPANS, _resource(*process) + _scope_spans(own))
        for process, own in groupby(ordered, key=_process_of)
    )


def _process_of(part: TracePart) -> tuple[str, str]:
    return part.process, part.instance


def _scope_spans(parts: Iterable[TracePart]) -> bytes:
    pieces = [_SCOPE_BYTES]
    for part in parts:
        trace_id = bytes.fromhex(part.trace_id)
        head = _TRACE_ID + trace_id + _state(part.state)
        pieces += [_framed(_SPAN, _span(span, trace_id, head)) for span in part.spans]
    return _framed(_SCOPE_SPANS, b"".join(pieces))


def _span(span: Span, trace_id: bytes, head: bytes) -> bytes:
    pieces = [
        head,
        _SPAN_ID,
        span.id.to_bytes(_SPAN_BYTES),
        _named(span.name, span.kind),
        _TIMES.pack(_START, span.start_ns, _END, span.end_ns),
        _SAMPLED,
    ]
    if span.parent:
        pieces += (_PARENT_ID, span.parent.to_bytes(_SPAN_BYTES))
    pieces += _attributes(span.attributes)
    if span.link:
        link = _TRACE_ID + trace_id + _SPAN_ID + span.link.to_bytes(_SPAN_BYTES)
        pieces.append(_framed(_LINK, link))
    if span.error:
        pieces.append(_failed(span.error))
    return b"".join(pieces)


def _attributes(facts: Mapping[str, Value]) -> list[bytes]:
    return [
        _kept_attribute(key, value)
        if not isinstance(value, str) or len(value) <= _LONGEST_KEPT
        else _attribute(key, value)
        for key, value in facts.items()
    ]


def _attribute(key: str, value: Value) -> bytes:
    match value:
        case bool():
            told = AnyValue(bool_value=value)
        case int():
            told = AnyValue(int_value=value)
        case float():
            told = AnyValue(double_value=value)
        case _:
            told = AnyValue(string_value=_utf8(value))
    return _framed(_ATTRIBUTE, KeyValue(key=key, value=told).SerializeToString())


_kept_attribute = lru_cache(maxsize=_KEPT, typed=True)(_attribute)


@lru_cache(maxsize=64)
def _resource(process: str, instance: str) -> bytes:
    facts = {names.SERVICE_NAME: service_name(process)}
    if instance:
        facts[names.SERVICE_INSTANCE_ID] = instance
    attributes = [
        KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in facts.items()
    ]
    return _framed(_RESOURCE, Resource(attributes=attributes).SerializeToString())


@lru_cache(maxsize=256)
def _state(state: str) -> bytes:
    told: bytes = SpanMessage(trace_state=state).SerializeToString()
    return told


@lru_cache(maxsize=256)
def _named(name: str, kind: int) -> bytes:
    # The kinds' numbers are the protobuf's.
    told: bytes = SpanMessage(name=_utf8(name), kind=kind).SerializeToString()  # type: ignore[arg-type]
    return told


@lru_cache(maxsize=256)
def _failed(error: str) -> bytes:
    status = Status(code=Status.STATUS_CODE_ERROR, message=_utf8(error))
    return _framed(_STATUS, status.SerializeToString())


def _utf8(text: str) -> str:
    """The text; what UTF-8 cannot say is replaced, since one such would cost the whole batch."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _framed(tag: bytes, body: bytes) -> bytes:
    """A field that has a length: the tag, the length as a varint, the body."""
    length = len(body)
    if length < _MORE:
        return tag + length.to_bytes() + body
    pieces = bytearray(tag)
    while length >= _MORE:
        pieces.append(length & _SEVEN_BITS | _MORE)
        length >>= 7
    pieces.append(length)
    return bytes(pieces) + body


_SCOPE_BYTES = _framed(_SCOPE, InstrumentationScope(name=SCOPE).SerializeToString())
