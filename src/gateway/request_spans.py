"""What the gateway notes of a request that invokes: moments now, spans later (`stockade.core`).

Only requests whose caller is known are told: who has no key shall not fill anybody's store. A
request that goes well is told when its trace is sampled; one that does not, always.
"""

from types import TracebackType
from typing import Self

from starlette.requests import Request

from gateway.problems import STATUS
from gateway.trace import trace_of
from stockade.core import span_names as names
from stockade.core.errors import StockadeError
from stockade.core.invocations import InvocationRecord
from stockade.core.modules import FunctionVersion
from stockade.core.outcomes import Outcome
from stockade.core.request_trace import RequestFacts, request_spans, submit_span_id
from stockade.core.spans import Steps, TracePart, Tracer, Value
from stockade.core.trace_context import (
    NO_CARRY,
    TraceCarry,
    TraceContext,
    parse_traceparent,
    trace_id_of,
)

PROCESS = "gateway"
_BROKE = "internal.error"
_UNFINISHED = "unfinished"


class RequestSpans:
    """One request. A context manager: what is raised inside is how it failed.

    Args:
        tracer: What it records with.
        request: The request, which has its trace.
        route: Its path, with names in place of values.
        invocation_id: What it is about to submit.
    """

    __slots__ = (
        "_attributes",
        "_caller",
        "_error",
        "_notable",
        "_parent",
        "_steps",
        "_tracer",
        "context",
        "invocation_id",
        "tenant",
    )

    def __init__(self, tracer: Tracer, request: Request, route: str, invocation_id: str) -> None:
        self.invocation_id = invocation_id
        self._tracer = tracer
        self._steps = Steps(trace_of(request).began_ns)
        self._attributes: dict[str, Value] = {
            names.HTTP_METHOD: "POST",
            names.HTTP_ROUTE: route,
            names.FAAS_TRIGGER: "http",
        }
        self.tenant = self._error = ""
        self._notable = False
        self._parent = _told(request)
        self.context = self._own_context()
        """Under which the invocation goes on."""

    def __enter__(self) -> Self:
        """Begins it; it began when its head was read."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        _where: TracebackType | None,
    ) -> None:
        """Ends it, and tells it where it is to be told."""
        if not self._tracer.on or not self.tenant:
            return
        if kind is not None and (isinstance(failure, Exception)):
            self._refused(failure)
        if self.context.sampled or self._notable:
            self.mark("respond")
            self._tracer.sink.take(self)

    def mark(self, step: str) -> None:
        """Says that this step ended now."""
        self._steps.mark(step)

    def authorised(self, tenant: str, function: str) -> None:
        """The caller is known, and may."""
        self.tenant = tenant
        self._attributes[names.TENANT] = tenant
        self._attributes[names.FAAS_NAME] = function
        self._steps.mark("authorise")

    def resolved(self, version: FunctionVersion) -> None:
        """It is known what runs."""
        self._attributes[names.FAAS_VERSION] = str(version.version)
        self._steps.mark("resolve")

    def carry(self, *, waits: bool) -> tuple[str, TraceCarry]:
        """The invocation's `traceparent`, and what else it carries.

        Whoever does not wait does not see the end: then the invocation takes along what is to be
        told of the request, in case that its end is worth it.
        """
        if not self._tracer.on:
            return _passed(self._parent)
        clock, context = self._tracer.clock, self.context
        now_ns = clock.now_ns()
        if context.sampled or waits:
            return context.parent, TraceCarry(context.state, now_ns)
        steps = tuple((name, clock.unix_ns(end_ns)) for name, end_ns in self._steps.ends)
        began_ns = clock.unix_ns(self._steps.began_ns)
        caller = self._parent.span_id if self._parent else 0
        return context.parent, TraceCarry(context.state, now_ns, began_ns, caller, steps)

    def submitted(self, invocation_id: str) -> None:
        """The queue has it, or had the same before under another id."""
        if invocation_id != self.invocation_id:
            self._attributes[names.EARLIER] = True
        self._attributes[names.FAAS_INVOCATION_ID] = invocation_id
        self._attributes[names.HTTP_STATUS] = 202
        self._steps.mark("submit")

    def ended(self, record: InvocationRecord | None) -> None:
        """How the invocation ended; None when its caller does not wait any longer."""
        self._steps.mark("wait")
        if record is None:
            self._notable, self._attributes[names.WAITED] = True, _UNFINISHED
            return
        self._attributes[names.OUTCOME] = str(record.outcome)
        failed = record.outcome is not Outcome.COMPLETED
        self._attributes[names.HTTP_STATUS] = 422 if failed else 200
        self._notable = failed or len(record.attempts) > 1
        if failed:
            self._error = f"invocation.{record.outcome}"

    def parts(self) -> list[TracePart]:
        """The spans. Those of a repeat belong to no invocation of their own."""
        clock, context = self._tracer.clock, self.context
        caller = self._parent.span_id if self._parent else 0
        own = self._attributes.get(names.FAAS_INVOCATION_ID) == self.invocation_id
        facts = RequestFacts(self.invocation_id, caller, self._attributes, self._error)
        steps = [(name, clock.unix_ns(end_ns)) for name, end_ns in self._steps.ends]
        part = TracePart(
            self.tenant,
            self.invocation_id if own else "",
            context.trace_id,
            context.state,
            PROCESS,
            self._tracer.instance,
            request_spans(facts, clock.unix_ns(self._steps.began_ns), steps),
            failed=self._notable,
        )
        return [part]

    def _refused(self, failure: Exception) -> None:
        code = failure.code if isinstance(failure, StockadeError) else _BROKE
        self._error, self._notable = code, True
        self._attributes[names.ERROR_TYPE] = code
        self._attributes[names.HTTP_STATUS] = STATUS.get(code, 500)

    def _own_context(self) -> TraceContext:
        told, span_id = self._parent, submit_span_id(self.invocation_id)
        if told is not None:
            return told._replace(span_id=span_id)
        trace_id = trace_id_of(self.invocation_id)
        return TraceContext(trace_id, span_id, self._tracer.samples(trace_id))


def passed_on(request: Request) -> tuple[str, TraceCarry]:
    """What invocations carry that go on in their caller's trace, no span of ours between."""
    return _passed(_told(request))


def _passed(told: TraceContext | None) -> tuple[str, TraceCarry]:
    return ("", NO_CARRY) if told is None else (told.parent, TraceCarry(told.state))


def _told(request: Request) -> TraceContext | None:
    """The caller's own context, when it sent one that can be used."""
    parents, states = [], []
    for name, value in request.scope["headers"]:
        if name == b"traceparent":
            parents.append(value.decode("latin-1"))
        elif name == b"tracestate":
            states.append(value.decode("latin-1"))
    return parse_traceparent(parents, states) if parents else None
