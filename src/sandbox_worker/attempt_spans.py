"""What a worker notes of one attempt: moments now, spans later (`ended_attempt`).

An attempt is told when its trace is sampled; one that fails, follows a failure, or could not be
recorded, always. Host calls come through `add`, bounded.
"""

import time
from collections.abc import Mapping

from sandbox_worker.attempt_facts import Call, Moments, facts_of
from sandbox_worker.ended_attempt import EndedAttempt
from stockade.core.invocations import Claim, Completion
from stockade.core.outcomes import RunResult
from stockade.core.spans import RUN_PLACE, SpanKind, Steps, Tracer, Value, part_span_id, seed_of
from stockade.core.trace_context import TraceContext, context_of

MOST_CALLS = 64
"""So many host calls of one run have spans; the rest are counted."""


class AttemptSpans:
    """One attempt, from its claim.

    Args:
        tracer: What it records with.
        claim: The claim.
    """

    __slots__ = (
        "_calls",
        "_cold",
        "_context",
        "_dropped",
        "_failed",
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
        self._calls: list[Call] = []
        self._dropped = 0
        self._cold = False
        self._failed: tuple[str, int] | None = None
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
        return self.context._replace(span_id=part_span_id(seed, self.claim.attempt, RUN_PLACE))

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
        call = Call(name, int(kind), began_ns, ended_ns, attributes, error, within)
        self._calls.append(call)

    def ended(self, result: RunResult, completion: Completion, *, recorded: bool) -> None:
        """The attempt is over; it is told where it is to be told."""
        if not self._tracer.on:
            return
        facts = facts_of(self.claim, result, completion, recorded=recorded)
        if not (self.context.sampled or facts.notable):
            return
        ended_ns = time.monotonic_ns()
        moments = Moments(
            self._steps, self._calls, self._dropped, self._cold, self._failed, ended_ns
        )
        self._tracer.sink.take(EndedAttempt(self._tracer, self.context, facts, moments))
