"""Spans as OTLP messages, of the official protobufs.

Most attributes are the same again and again (a tenant, a function, an outcome), so that their
messages are kept and copied; that is several times faster than to build them anew.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2

from stockade.core import span_names as names
from stockade.core.otlp_json import SCOPE, service_name
from stockade.core.spans import Span, TracePart, Value

_KEPT_ATTRIBUTES = 4096
_LONGEST_KEPT = 128
_SAMPLED = 1
_SPAN_BYTES = 8
_NOTHING = trace_pb2.Status()


def export_request(parts: Sequence[TracePart]) -> ExportTraceServiceRequest:
    """One request with the spans of all parts, those of one process together."""
    ordered = sorted(parts, key=_process_of)
    return ExportTraceServiceRequest(
        resource_spans=[
            trace_pb2.ResourceSpans(
                resource=_resource(*process),
                scope_spans=[
                    trace_pb2.ScopeSpans(
                        scope=InstrumentationScope(name=SCOPE),
                        spans=[span for part in own for span in _spans(part)],
                    )
                ],
            )
            for process, own in groupby(ordered, key=_process_of)
        ]
    )


def _process_of(part: TracePart) -> tuple[str, str]:
    return part.process, part.instance


@lru_cache(maxsize=64)
def _resource(process: str, instance: str) -> Resource:
    facts: dict[str, Value] = {names.SERVICE_NAME: service_name(process)}
    if instance:
        facts[names.SERVICE_INSTANCE_ID] = instance
    return Resource(attributes=_attributes(facts))


def _spans(part: TracePart) -> list[trace_pb2.Span]:
    trace_id = bytes.fromhex(part.trace_id)
    return [_span(span, trace_id, part.state) for span in part.spans]


def _span(span: Span, trace_id: bytes, state: str) -> trace_pb2.Span:
    linked = [trace_pb2.Span.Link(trace_id=trace_id, span_id=_id(span.link))] if span.link else []
    return trace_pb2.Span(
        trace_id=trace_id,
        span_id=_id(span.id),
        trace_state=state,
        parent_span_id=_id(span.parent) if span.parent else b"",
        flags=_SAMPLED,
        name=span.name,
        kind=span.kind,  # type: ignore[arg-type] # its numbers are the protobuf's
        start_time_unix_nano=span.start_ns,
        end_time_unix_nano=span.end_ns,
        attributes=_attributes(span.attributes),
        links=linked,
        status=_failed(span.error) if span.error else _NOTHING,
    )


def _id(number: int) -> bytes:
    return number.to_bytes(_SPAN_BYTES)


@lru_cache(maxsize=256)
def _failed(error: str) -> trace_pb2.Status:
    return trace_pb2.Status(code=trace_pb2.Status.STATUS_CODE_ERROR, message=error)


def _attributes(facts: Mapping[str, Value]) -> list[KeyValue]:
    return [
        _kept_text(key, value)
        if isinstance(value, str) and len(value) <= _LONGEST_KEPT
        else _attribute(key, value)
        for key, value in facts.items()
    ]


@lru_cache(maxsize=_KEPT_ATTRIBUTES)
def _kept_text(key: str, value: str) -> KeyValue:
    return _attribute(key, value)


def _attribute(key: str, value: Value) -> KeyValue:
    match value:
        case bool():
            return KeyValue(key=key, value=AnyValue(bool_value=value))
        case int():
            return KeyValue(key=key, value=AnyValue(int_value=value))
        case float():
            return KeyValue(key=key, value=AnyValue(double_value=value))
        case _:
            return KeyValue(key=key, value=AnyValue(string_value=_utf8(value)))


def _utf8(text: str) -> str:
    """The text; what UTF-8 cannot say is replaced, since one such would cost the whole batch."""
    return text.encode("utf-8", "replace").decode("utf-8")
