"""Parts of a trace as one OTLP message in its JSON form, ready to be shown.

What processes tell of one invocation is put in order: what was told twice is told once, and no span
begins before its parent, however far the processes' clocks are apart. Source: OTLP 1.x, JSON
encoding (ids as hexadecimal, 64-bit numbers as text, enums as numbers).
"""

from collections.abc import Mapping, Sequence

from stockade.core import span_names as names
from stockade.core.spans import Span, TracePart, Value

SCOPE = "stockade"
_ERROR = 2
_SERVICE = "stockade-{}"
_FLAGS_SAMPLED = 1


def service_name(process: str) -> str:
    """What a process is called as a service."""
    return _SERVICE.format(process)


def trace_json(parts: Sequence[TracePart]) -> dict[str, object]:
    """The message; no part makes an empty one."""
    return {"resourceSpans": [_resource(part) for part in in_order(parts)]}


def in_order(parts: Sequence[TracePart]) -> list[TracePart]:
    """The same parts, each span once and never before its parent.

    What a process tells is moved as a whole first, so that its steps stay in their order.
    """
    told: set[int] = set()
    once: list[TracePart] = []
    for part in parts:
        fresh = {span.id: span for span in part.spans if span.id not in told}
        told |= fresh.keys()
        if fresh:
            once.append(part._replace(spans=tuple(fresh.values())))
    known = {span.id: span for part in once for span in part.spans}
    late = [_shifted(part, known) for part in once]
    known = {span.id: span for part in late for span in part.spans}
    starts: dict[int, int] = {}
    for span in known.values():
        _start(span, known, starts)
    return [
        part._replace(spans=tuple(_moved(span, starts[span.id]) for span in part.spans))
        for part in late
    ]


def _shifted(part: TracePart, known: Mapping[int, Span]) -> TracePart:
    """The part as much later as its earliest span is before its parent of another process."""
    own = {span.id for span in part.spans}
    others = [
        known[span.parent].start_ns - span.start_ns
        for span in part.spans
        if span.parent in known and span.parent not in own
    ]
    late_ns = max(others, default=0)
    if late_ns <= 0:
        return part
    spans = (
        span._replace(start_ns=span.start_ns + late_ns, end_ns=span.end_ns + late_ns)
        for span in part.spans
    )
    return part._replace(spans=tuple(spans))


def _start(span: Span, known: Mapping[int, Span], starts: dict[int, int]) -> int:
    """When a span may begin: by its ancestors, whose chain is followed without recursion."""
    chain: list[Span] = []
    at: Span | None = span
    while at is not None and at.id not in starts and at not in chain:
        chain.append(at)
        at = known.get(at.parent)
    earliest_ns = starts.get(at.id, 0) if at is not None else 0
    for one in reversed(chain):
        earliest_ns = starts[one.id] = max(one.start_ns, earliest_ns)
    return starts[span.id]


def _moved(span: Span, start_ns: int) -> Span:
    """The span as late as it must be; as long as it was, for its length is of one clock."""
    late_ns = start_ns - span.start_ns
    length_ns = max(0, span.end_ns - span.start_ns)
    if not late_ns and span.end_ns >= span.start_ns:
        return span
    return span._replace(start_ns=start_ns, end_ns=start_ns + length_ns)


def _resource(part: TracePart) -> dict[str, object]:
    resource: dict[str, Value] = {names.SERVICE_NAME: service_name(part.process)}
    if part.instance:
        resource[names.SERVICE_INSTANCE_ID] = part.instance
    return {
        "resource": {"attributes": _attributes(resource)},
        "scopeSpans": [
            {"scope": {"name": SCOPE}, "spans": [_span(span, part) for span in part.spans]}
        ],
    }


def _span(span: Span, part: TracePart) -> dict[str, object]:
    shown: dict[str, object] = {
        "traceId": part.trace_id,
        "spanId": f"{span.id:016x}",
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "flags": _FLAGS_SAMPLED,
        "attributes": _attributes(span.attributes),
        "status": {"code": _ERROR, "message": span.error} if span.error else {},
    }
    if span.parent:
        shown["parentSpanId"] = f"{span.parent:016x}"
    if part.state:
        shown["traceState"] = part.state
    if span.link:
        shown["links"] = [{"traceId": part.trace_id, "spanId": f"{span.link:016x}"}]
    return shown


def _attributes(facts: Mapping[str, Value]) -> list[dict[str, object]]:
    return [{"key": key, "value": _value(value)} for key, value in facts.items()]


def _value(value: Value) -> dict[str, object]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case _:
            return {"stringValue": value}
