"""The spans of an attempt that has ended, from the moments that were noted of it.

It holds no input, output, log line or event: thousands may wait to be told while a store is slow.
"""

from sandbox_worker.attempt_facts import AttemptFacts, Moments
from sandbox_worker.guest_spans import told_spans
from stockade.core import span_names as names
from stockade.core.outcomes import Outcome
from stockade.core.request_trace import carried_spans
from stockade.core.spans import (
    NANOS_OF_MS,
    RUN_PLACE,
    Span,
    SpanKind,
    TracePart,
    Tracer,
    Value,
    attempt_span_id,
    part_span_id,
    seed_of,
)
from stockade.core.trace_context import TraceContext

PROCESS = "worker"
_WAIT, _LOAD, _EXECUTOR, _COMPLETE, _PARTS, _CALLS, _GUEST = 1, 2, 3, 5, 8, 64, 128
_PLACES = {"executor": _EXECUTOR, "run": RUN_PLACE}
_MOST_STEPS = _CALLS - _PARTS
_SOURCES = ("compile", "cache", "shared", "verify")
_SOURCE_NAMES = {"compile": "compiled", "cache": "cache", "shared": "shared", "verify": "memory"}
_LOADING = frozenset({*_SOURCES, "input"})
_TRAPPED = "The guest trapped: "
_INTERNAL, _CONSUMER = int(SpanKind.INTERNAL), int(SpanKind.CONSUMER)
_SUBMITTED_ROUTE = "/v1/functions/{name}/invocations"


class EndedAttempt:
    """A `Recording`.

    Args:
        tracer: What it was recorded with.
        context: Under which trace it stands.
        facts: What is told of it.
        moments: When what was.
    """

    __slots__ = (
        "_calls",
        "_calls_dropped",
        "_cold",
        "_context",
        "_ended_ns",
        "_failed",
        "_of",
        "_steps",
        "_tracer",
    )

    def __init__(
        self, tracer: Tracer, context: TraceContext, facts: AttemptFacts, moments: Moments
    ) -> None:
        self._tracer = tracer
        self._context = context
        self._of = facts
        self._steps, self._calls, self._calls_dropped, self._cold, self._failed, self._ended_ns = (
            moments
        )

    def parts(self) -> list[TracePart]:
        """The attempt's spans, and what its invocation carried of the request."""
        of, context = self._of, self._context
        own = TracePart(
            of.tenant,
            of.id,
            context.trace_id,
            context.state,
            PROCESS,
            self._tracer.instance,
            tuple(self._spans(seed_of(of.id))),
            failed=of.notable,
        )
        facts = {names.HTTP_METHOD: "POST", names.HTTP_ROUTE: _SUBMITTED_ROUTE}
        known = {names.TENANT: of.tenant, names.FAAS_NAME: of.function}
        first = self._of.attempt == 1 or self._of.deaths
        request = carried_spans(of.id, of.trace, facts | known) if first else ()
        if not request:
            return [own]
        return [own._replace(process="gateway", instance="", spans=request), own]

    def _spans(self, seed: int) -> list[Span]:
        attempt, unix_ns = self._of.attempt, self._tracer.clock.unix_ns
        whole = attempt_span_id(seed, attempt)
        claimed_ns = unix_ns(self._steps.began_ns)
        return [
            self._wait(part_span_id(seed, attempt, _WAIT), claimed_ns),
            self._attempt(seed, whole, claimed_ns),
            *self._steps_of(seed, whole),
            *self._within_run(seed),
        ]

    def _wait(self, own: int, claimed_ns: int) -> Span:
        """From the submission, or for a later attempt from when it was ready, to the claim."""
        of, told = self._of, self._of.entry.partition("-")[0]
        ready_ns = int(told) * NANOS_OF_MS if told.isdecimal() else claimed_ns
        since_ns = ready_ns
        if self._of.attempt == 1 and of.trace.submitted_ns:
            since_ns = of.trace.submitted_ns
        attributes = {names.MESSAGING_DESTINATION: names.READY, names.MESSAGING_SYSTEM: names.QUEUE}
        start_ns, parent = min(since_ns, claimed_ns), self._context.span_id
        return Span("queue wait", _INTERNAL, own, parent, start_ns, claimed_ns, attributes)

    def _attempt(self, seed: int, own: int, claimed_ns: int) -> Span:
        before = self._of.attempt - 1
        outcome = self._of.outcome
        return Span(
            "attempt",
            _CONSUMER,
            own,
            self._context.span_id,
            claimed_ns,
            self._tracer.clock.unix_ns(self._ended_ns),
            self._facts(),
            "" if outcome is Outcome.COMPLETED else str(outcome),
            attempt_span_id(seed, before) if before else 0,
        )

    def _facts(self) -> dict[str, Value]:
        of = self._of
        facts: dict[str, Value] = {
            names.TENANT: of.tenant,
            names.FAAS_NAME: of.function,
            names.FAAS_VERSION: str(of.version),
            names.FAAS_INVOCATION_ID: of.id,
            names.MESSAGING_SYSTEM: names.QUEUE,
            names.MESSAGING_OPERATION: "process",
            names.MESSAGING_OPERATION_TYPE: "process",
            names.MESSAGING_DESTINATION: names.READY,
            names.MESSAGING_GROUP: names.WORKERS,
            names.MESSAGING_MESSAGE_ID: of.id,
            names.ATTEMPT: of.attempt,
            names.OUTCOME: str(of.outcome),
        }
        if self._of.deaths:
            facts[names.DEATHS] = self._of.deaths
        if not self._of.recorded:
            facts[names.STALE] = True
        return facts

    def _steps_of(self, seed: int, whole: int) -> list[Span]:
        unix_ns = self._tracer.clock.unix_ns
        attempt, since = self._of.attempt, self._steps.began_ns
        parts: list[Span] = []
        spans: list[Span] = []
        load = part_span_id(seed, attempt, _LOAD)
        for place, (name, end_ns) in enumerate(self._steps.ends):
            if place >= _MOST_STEPS:  # a store that was away: what was tried again is one step
                break
            loading = name in _LOADING
            own = part_span_id(seed, attempt, _PLACES.get(name, _PARTS + place))
            parent, facts, error = (load, {}, "") if loading else (whole, *self._step(name))
            step = Span(name, _INTERNAL, own, parent, unix_ns(since), unix_ns(end_ns), facts, error)
            (parts if loading else spans).append(step)
            since = end_ns
        last_ns = unix_ns(since)
        if parts:
            # A load that was one step is told as one.
            below = parts if len(parts) > 1 else []
            spans = [self._load(load, whole, parts), *below, *spans]
        if self._failed is not None:
            spans.append(self._failure(seed, whole, last_ns, has_loaded=bool(parts)))
            last_ns = unix_ns(self._failed[1])
        spans.append(self._complete(part_span_id(seed, attempt, _COMPLETE), whole, last_ns))
        return spans

    def _step(self, name: str) -> tuple[dict[str, Value], str]:
        """What a step that is none of the load says, and its error."""
        if name == "run":
            return self._run_facts()
        return {names.FAAS_COLDSTART: self._cold} if name == "executor" else {}, ""

    def _load(self, own: int, whole: int, parts: list[Span]) -> Span:
        there = {part.name for part in parts}
        source = next((one for one in _SOURCES if one in there), "")
        attributes: dict[str, Value] = {names.MODULE: self._of.digest}
        if source:
            attributes[names.MODULE_SOURCE] = _SOURCE_NAMES[source]
        return Span("load", _INTERNAL, own, whole, parts[0].start_ns, parts[-1].end_ns, attributes)

    def _failure(self, seed: int, whole: int, since_ns: int, *, has_loaded: bool) -> Span:
        code, at_ns = self._failed or ("", 0)
        own = part_span_id(seed, self._of.attempt, _EXECUTOR)
        name = "start" if has_loaded else "load"
        end_ns = self._tracer.clock.unix_ns(at_ns)
        return Span(name, _INTERNAL, own, whole, since_ns, end_ns, {names.ERROR_TYPE: code}, code)

    def _run_facts(self) -> tuple[dict[str, Value], str]:
        of, usage = self._of, self._of.usage
        facts: dict[str, Value] = {
            names.FUEL: usage.fuel,
            names.MEMORY: usage.peak_memory_bytes,
            names.INPUT_BYTES: usage.input_bytes,
            names.OUTPUT_BYTES: usage.output_bytes,
            names.LOG_BYTES: usage.log_bytes,
            names.HOST_CALLS: usage.host_calls,
        }
        if self._calls_dropped:
            facts[names.HOST_CALLS_DROPPED] = self._calls_dropped
        if of.guest_spans_dropped:
            facts[names.GUEST_DROPPED] = of.guest_spans_dropped
        if of.limit:
            facts[names.LIMIT] = of.limit
        if of.outcome is Outcome.TRAPPED and of.detail:
            # The engine's own word; what a guest says of itself is not told.
            facts[names.TRAP] = of.detail.removeprefix(_TRAPPED).removesuffix(".")
        error = "" if of.outcome is Outcome.COMPLETED else str(of.outcome)
        return facts, error

    def _complete(self, own: int, whole: int, since_ns: int) -> Span:
        end_ns = self._tracer.clock.unix_ns(self._ended_ns)
        return Span("complete", _INTERNAL, own, whole, since_ns, end_ns, self._decision())

    def _decision(self) -> dict[str, Value]:
        """Whether another attempt follows, and why."""
        of = self._of
        if of.outcome is Outcome.COMPLETED:
            return {}
        facts: dict[str, Value] = {
            names.RETRY: of.retry_delay_ms is not None,
            names.RETRY_REASON: of.reason,
        }
        if of.policy:
            facts[names.RETRY_POLICY] = of.policy
        if of.retry_delay_ms is not None:
            facts[names.RETRY_DELAY_MS] = of.retry_delay_ms
        if of.estimate is not None:
            facts[names.RETRY_ESTIMATE] = of.estimate
        if of.next_limits is not None:
            facts[names.RETRY_FUEL] = of.next_limits.fuel
            facts[names.RETRY_MEMORY] = of.next_limits.memory_bytes
        return facts

    def _within_run(self, seed: int) -> list[Span]:
        """What the guest told of, and the host calls where they came between."""
        attempt, unix_ns = self._of.attempt, self._tracer.clock.unix_ns
        own = self._of.guest_spans
        run = part_span_id(seed, attempt, RUN_PLACE)

        def id_of(number: int) -> int:
            return part_span_id(seed, attempt, _GUEST + number)

        calls = [
            Span(
                call.name,
                call.kind,
                part_span_id(seed, attempt, _CALLS + place),
                id_of(call.within) if 0 < call.within <= len(own) else run,
                unix_ns(call.began_ns),
                unix_ns(call.ended_ns),
                call.attributes,
                call.error,
            )
            for place, call in enumerate(self._calls)
        ]
        return [*told_spans(own, run, id_of, unix_ns), *calls]
