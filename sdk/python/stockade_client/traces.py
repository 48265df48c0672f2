"""What happened to an invocation step by step: the call, how it is read, what both clients say."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import httpx

from stockade_client.calls import Call, path_part
from stockade_client.fields import Fields, UnexpectedAnswer

_Answer = TypeVar("_Answer")
AttributeValue = str | int | float | bool
_FAILED = 2
_SERVICE = "service.name"


@dataclass(frozen=True, slots=True)
class TraceSpan:
    """One step. Times are Unix nanoseconds; `parent_id` and `error` are empty where there is none.

    `links` are ids of spans of the same trace that came before, such as the attempt before this.
    """

    name: str
    service: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    error: str = ""
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """The spans that are kept of an invocation, by their beginning.

    `otlp` is the whole answer: one OTLP message (`TracesData`) in its JSON form, for other tools.
    """

    trace_id: str
    spans: tuple[TraceSpan, ...]
    otlp: Mapping[str, object] = field(repr=False, default_factory=dict)


def trace(invocation_id: str) -> Call[Trace]:
    """GET /v1/invocations/{id}/trace."""
    return Call("GET", f"/v1/invocations/{path_part(invocation_id)}/trace", _trace)


class TraceMethods(ABC):
    """The part of `Client` that is about traces."""

    @abstractmethod
    def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    def trace(self, invocation_id: str) -> Trace:
        """What gateways and workers did for a recent invocation, and when.

        Raises:
            StockadeApiError: `trace.not_kept`: it was not sampled, or is too long ago.
        """
        return self._send(trace(invocation_id))


class AsyncTraceMethods(ABC):
    """The part of `AsyncClient` that is about traces."""

    @abstractmethod
    async def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    async def trace(self, invocation_id: str) -> Trace:
        """What gateways and workers did for a recent invocation, and when.

        Raises:
            StockadeApiError: `trace.not_kept`: it was not sampled, or is too long ago.
        """
        return await self._send(trace(invocation_id))


def _trace(response: httpx.Response) -> Trace:
    message = response.json()
    spans, trace_id = [], ""
    for resource in Fields(message).objects("resourceSpans"):
        facts = _attributes(resource.nested("resource"))
        service = str(facts.get(_SERVICE, ""))
        for scope in resource.objects("scopeSpans"):
            for span in scope.objects("spans"):
                trace_id = trace_id or span.text("traceId")
                spans.append(_span(span, service))
    spans.sort(key=lambda span: (span.start_ns, -span.end_ns))
    return Trace(trace_id, tuple(spans), message)


def _span(span: Fields, service: str) -> TraceSpan:
    status = span.nested("status")
    failed = status.maybe_count("code") == _FAILED
    return TraceSpan(
        name=span.text("name"),
        service=service,
        span_id=span.text("spanId"),
        parent_id=span.maybe_text("parentSpanId") or "",
        start_ns=_whole(span.text("startTimeUnixNano")),
        end_ns=_whole(span.text("endTimeUnixNano")),
        error=(status.maybe_text("message") or "error") if failed else "",
        attributes=_attributes(span),
        links=tuple(link.text("spanId") for link in span.objects("links")),
    )


def _attributes(fields: Fields) -> dict[str, AttributeValue]:
    return {one.text("key"): _value(one.nested("value")) for one in fields.objects("attributes")}


def _value(value: Fields) -> AttributeValue:
    if (whole := value.maybe_text("intValue")) is not None:
        return _whole(whole)
    if (share := value.maybe_number("doubleValue")) is not None:
        return share
    text = value.maybe_text("stringValue")
    return value.flag("boolValue") if text is None else text


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UnexpectedAnswer("a whole number was expected") from None
