"""What a worker notes of one attempt: moments now, spans later.

An attempt is told when its trace is sampled; one that fails, follows a failure, or could not be
recorded, always. Spans that a guest opens itself come through `add`, under the same bound.
"""

import time
from collections.abc import Mapping
from typing import NamedTuple

from sandbox_worker.guest_spans import told_spans
from stockade.core import span_names as names
from stockade.core.invocations import Claim, Completion
from stockade.core.outcomes import Outcome, RunResult
from stockade.core.request_trace import carried_spans
from stockade.core.spans import (
    NANOS_OF_MS,
    Span,
    SpanKind,
    Steps,
    TracePart,
    Tracer,
    Value,
    attempt_span_id,
    part_span_id,
    seed_of,
)
from stockade.core.trace_context import TraceContext, context_of

PROCESS = "worker"
MOST_CALLS = 64
"""So many host calls of one run have spans; the rest are counted."""
_WAIT, _LOAD, _EXECUTOR, _RUN, _COMPLETE, _PARTS, _CALLS, _GUEST = 1, 2, 3, 4, 5, 8, 64, 128
_PLACES = {"executor": _EXECUTOR, "run": _RUN}
_SOURCES = ("compile", "cache", "shared", "verify")
_SOURCE_NAMES = {"compile": "compiled", "cache": "cache", "shared": "shared", "verify": "memory"}
_LOADING = frozenset({*_SOURCES, "input"})
_TRAPPED = "The guest trapped: "
_INTERNAL, _CONSUMER = int(SpanKind.INTERNAL), int(SpanKind.CONSUMER)
_SUBMITTED_ROUTE = "/v1/functions/{name}/invocations"


class _Call(NamedTuple):
    """One host call as it was noted, by the steady clock."""

    name: str
    kind: int
    began_ns: int
    ended_ns: int
    attributes: Mapping[str, Value]
    error: str
    within: int


class AttemptSpans:
    """One attempt, from its claim.

    Args:
        tracer: What it records with.
        claim: The claim.
    """

    __slots__ = (
        "_calls",
        "_cold",
        "_completion",
        "_context",
        "_dropped",
        "_ended_ns",
        "_failed",
        "_recorded",
        "_result",
        "_steps",
        "_tracer",
        "claim",
        "mark",
    )

    def __init__(self, tracer: Tracer, claim: Claim) -> None:
        self.claim = claim
        self._tracer = tracer
        self._steps = Steps(time.monotonic_ns())
        self.mark = self._steps.mark
        """Says that a step ended now."""
        self._calls: list[_Call] = []
        self._dropped = 0
        self._cold = False
        self._failed: tuple[str, int] | None = None
        self._result: RunResult | None = None
        self._completion: Completion | None = None
        self._recorded = False
        self._ended_ns = 0
        self._context: TraceContext | None = None

    @property
    def context(self) -> TraceContext:
        """Under which trace the attempt stands, and below which span."""
        if self._context is None:
            of = self.claim.invocation
            told = context_of(of.id, of.traceparent, of.trace)
            if told.sampled is None:
                told = told._replace(sampled=self._tracer.samples(told.trace_id))
            self._context = told
        return self._context

    def outgoing(self) -> TraceContext:
        """The context for a server that the run asks: below the run's span, when that is told."""
        if not self._tracer.on:
            return self.context
        seed = seed_of(self.claim.invocation.id)
        return self.context._replace(span_id=part_span_id(seed, self.claim.attempt, _RUN))

    def lent(self, *, cold: bool) -> None:
        """An executor is there; a cold one has not run anything."""
        self._cold = cold
        self._steps.mark("executor")

    def failed(self, code: str) -> None:
        """The run could not start."""
        self._failed = code, time.monotonic_ns()

    def add(
        self,
        name: str,
        began_ns: int,
        attributes: Mapping[str, Value],
        error: str = "",
        kind: SpanKind = SpanKind.INTERNAL,
        within: int = 0,
    ) -> None:
        """Notes something within the run that ends now; `began_ns` is of the steady clock.

        `within` is the number of the guest's own span that it is in, 0 for none.
        """
        if len(self._calls) >= MOST_CALLS:
            self._dropped += 1
            return
        ended_ns = time.monotonic_ns()
        call = _Call(name, int(kind), began_ns, ended_ns, attributes, error, within)
        self._calls.append(call)

    def ended(self, result: RunResult, completion: Completion, *, recorded: bool) -> None:
        """The attempt is over; it is told where it is to be told."""
        if not self._tracer.on:
            return
        self._result, self._completion, self._recorded = result, completion, recorded
        self._ended_ns = time.monotonic_ns()
        if self.context.sampled or self._is_notable():
            self._tracer.sink.take(self)

    def parts(self) -> list[TracePart]:
        """The attempt's spans, and what its invocation carried of the request."""
        of, context = self.claim.invocation, self.context
        notable = self._is_notable()
        own = TracePart(
            of.tenant,
            of.id,
            context.trace_id,
            context.state,
            PROCESS,
            self._tracer.instance,
            tuple(self._spans(seed_of(of.id))),
            failed=notable,
        )
        facts = {names.HTTP_METHOD: "POST", names.HTTP_ROUTE: _SUBMITTED_ROUTE}
        known = {names.TENANT: of.tenant, names.FAAS_NAME: of.function}
        first = self.claim.attempt == 1 or self.claim.deaths
        request = carried_spans(of.id, of.trace, facts | known) if first else ()
        if not request:
            return [own]
        return [own._replace(process="gateway", instance="", spans=request), own]

    def _is_notable(self) -> bool:
        failed = self._result is not None and self._result.outcome is not Outcome.COMPLETED
        return failed or self.claim.attempt > 1 or not self._recorded

    def _spans(self, seed: int) -> list[Span]:
        attempt, unix_ns = self.claim.attempt, self._tracer.clock.unix_ns
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
        of, told = self.claim.invocation, self.claim.entry.partition("-")[0]
        ready_ns = int(told) * NANOS_OF_MS if told.isdecimal() else claimed_ns
        since_ns = ready_ns
        if self.claim.attempt == 1 and of.trace.submitted_ns:
            since_ns = of.trace.submitted_ns
        attributes = {names.MESSAGING_DESTINATION: names.READY, names.MESSAGING_SYSTEM: names.QUEUE}
        start_ns, parent = min(since_ns, claimed_ns), self.context.span_id
        return Span("queue wait", _INTERNAL, own, parent, start_ns, claimed_ns, attributes)

    def _attempt(self, seed: int, own: int, claimed_ns: int) -> Span:
        before = self.claim.attempt - 1
        outcome = self._result.outcome if self._result else Outcome.LOST
        return Span(
            "attempt",
            _CONSUMER,
            own,
            self.context.span_id,
            claimed_ns,
            self._tracer.clock.unix_ns(self._ended_ns),
            self._facts(),
            "" if outcome is Outcome.COMPLETED else str(outcome),
            attempt_span_id(seed, before) if before else 0,
        )

    def _facts(self) -> dict[str, Value]:
        of, result = self.claim.invocation, self._result
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
            names.ATTEMPT: self.claim.attempt,
        }
        if result is not None:
            facts[names.OUTCOME] = str(result.outcome)
        if self.claim.deaths:
            facts[names.DEATHS] = self.claim.deaths
        if not self._recorded:
            facts[names.STALE] = True
        return facts

    def _steps_of(self, seed: int, whole: int) -> list[Span]:
        unix_ns = self._tracer.clock.unix_ns
        attempt, since = self.claim.attempt, self._steps.began_ns
        parts: list[Span] = []
        spans: list[Span] = []
        load = part_span_id(seed, attempt, _LOAD)
        for place, (name, end_ns) in enumerate(self._steps.ends):
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
        attributes: dict[str, Value] = {names.MODULE: self.claim.invocation.content.digest}
        if source:
            attributes[names.MODULE_SOURCE] = _SOURCE_NAMES[source]
        return Span("load", _INTERNAL, own, whole, parts[0].start_ns, parts[-1].end_ns, attributes)

    def _failure(self, seed: int, whole: int, since_ns: int, *, has_loaded: bool) -> Span:
        code, at_ns = self._failed or ("", 0)
        own = part_span_id(seed, self.claim.attempt, _EXECUTOR)
        name = "start" if has_loaded else "load"
        end_ns = self._tracer.clock.unix_ns(at_ns)
        return Span(name, _INTERNAL, own, whole, since_ns, end_ns, {names.ERROR_TYPE: code}, code)

    def _run_facts(self) -> tuple[dict[str, Value], str]:
        result = self._result
        if result is None:
            return {}, ""
        usage = result.usage
        facts: dict[str, Value] = {
            names.FUEL: usage.fuel,
            names.MEMORY: usage.peak_memory_bytes,
            names.INPUT_BYTES: usage.input_bytes,
            names.OUTPUT_BYTES: usage.output_bytes,
            names.LOG_BYTES: usage.log_bytes,
            names.HOST_CALLS: usage.host_calls,
        }
        if self._dropped:
            facts[names.HOST_CALLS_DROPPED] = self._dropped
        if result.spans_dropped:
            facts[names.GUEST_DROPPED] = result.spans_dropped
        if result.limit:
            facts[names.LIMIT] = result.limit
        if result.outcome is Outcome.TRAPPED and result.detail:
            # The engine's own word; what a guest says of itself is not told.
            facts[names.TRAP] = result.detail.removeprefix(_TRAPPED).removesuffix(".")
        error = "" if result.outcome is Outcome.COMPLETED else str(result.outcome)
        return facts, error

    def _complete(self, own: int, whole: int, since_ns: int) -> Span:
        end_ns = self._tracer.clock.unix_ns(self._ended_ns)
        return Span("complete", _INTERNAL, own, whole, since_ns, end_ns, self._decision())

    def _decision(self) -> dict[str, Value]:
        """Whether another attempt follows, and why."""
        done = self._completion
        if done is None or done.attempt.outcome is Outcome.COMPLETED:
            return {}
        retry_at_ms, carried = done.retry_at_ms, done.carry.limits
        facts: dict[str, Value] = {
            names.RETRY: retry_at_ms is not None,
            names.RETRY_REASON: done.attempt.reason,
        }
        if done.attempt.policy:
            facts[names.RETRY_POLICY] = done.attempt.policy
        if retry_at_ms is not None:
            facts[names.RETRY_DELAY_MS] = retry_at_ms - done.finished_ms
        if done.attempt.success is not None:
            facts[names.RETRY_ESTIMATE] = done.attempt.success
        if carried is not None:
            facts |= {names.RETRY_FUEL: carried.fuel, names.RETRY_MEMORY: carried.memory_bytes}
        return facts

    def _within_run(self, seed: int) -> list[Span]:
        """What the guest told of, and the host calls where they came between."""
        attempt, unix_ns = self.claim.attempt, self._tracer.clock.unix_ns
        own = self._result.spans if self._result else ()
        run = part_span_id(seed, attempt, _RUN)

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
