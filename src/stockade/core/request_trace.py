"""The spans of one request to a gateway, from the moments that it noted."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from stockade.core import span_names as names
from stockade.core.spans import Span, SpanKind, Value, seed_of, span_id
from stockade.core.trace_context import TraceCarry

_REQUEST, _SUBMIT, _STEPS = 1, 2, 8
_SUBMITTING = "submit"
_INTERNAL = int(SpanKind.INTERNAL)
_NOTHING: dict[str, Value] = {}


class RequestFacts(NamedTuple):
    """What a request's own span says. `parent` is the caller's span, 0 for none."""

    invocation: str
    parent: int
    attributes: Mapping[str, Value]
    error: str = ""


def submit_span_id(invocation_id: str) -> int:
    """The span under which the queue and the workers put theirs."""
    return span_id(seed_of(invocation_id), _SUBMIT)


def request_spans(
    facts: RequestFacts, began_ns: int, steps: Iterable[tuple[str, int]]
) -> tuple[Span, ...]:
    """The request's span and one for each step below it; all times are Unix nanoseconds."""
    seed = seed_of(facts.invocation)
    request = span_id(seed, _REQUEST)
    spans, since = [], began_ns
    for place, (name, end_ns) in enumerate(steps, start=_STEPS):
        if name == _SUBMITTING:
            spans.append(_submit_span(seed, request, since, end_ns, facts.invocation))
        else:
            spans.append(
                Span(name, _INTERNAL, span_id(seed, place), request, since, end_ns, _NOTHING)
            )
        since = end_ns
    name = f"{facts.attributes[names.HTTP_METHOD]} {facts.attributes[names.HTTP_ROUTE]}"
    kind = int(SpanKind.SERVER)
    whole = Span(name, kind, request, facts.parent, began_ns, since, facts.attributes, facts.error)
    return (whole, *spans)


def carried_spans(
    invocation_id: str, carry: TraceCarry, attributes: Mapping[str, Value]
) -> tuple[Span, ...]:
    """The same of a request that let its invocation carry its moments; none where it did not.

    How long the submission took is not known then, and is told as nothing.
    """
    if not carry.began_ns:
        return ()
    steps = (*carry.steps, (_SUBMITTING, carry.submitted_ns))
    facts = RequestFacts(invocation_id, carry.caller, attributes)
    return request_spans(facts, carry.began_ns, steps)


def _submit_span(seed: int, request: int, start_ns: int, end_ns: int, invocation: str) -> Span:
    attributes: dict[str, Value] = {
        names.MESSAGING_SYSTEM: names.QUEUE,
        names.MESSAGING_OPERATION: _SUBMITTING,
        names.MESSAGING_OPERATION_TYPE: "send",
        names.MESSAGING_DESTINATION: names.READY,
        names.MESSAGING_MESSAGE_ID: invocation,
    }
    kind = int(SpanKind.PRODUCER)
    return Span(_SUBMITTING, kind, span_id(seed, _SUBMIT), request, start_ns, end_ns, attributes)
