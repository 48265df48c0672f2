"""What is kept of an attempt until it is told as spans: small, whatever the run was given or made.

Thousands may wait while a store is slow, so no input, output, log line or event is among it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stockade.core.guest_spans import GuestSpan
from stockade.core.invocations import Claim, Completion
from stockade.core.limits import Limits
from stockade.core.outcomes import Outcome, RunResult, Usage
from stockade.core.spans import Steps, Value
from stockade.core.trace_context import TraceCarry


class Call(NamedTuple):
    """One host call as it was noted, by the steady clock; `within` as in `AttemptSpans.add`."""

    name: str
    kind: int
    began_ns: int
    ended_ns: int
    attributes: Mapping[str, Value]
    error: str
    within: int


class Moments(NamedTuple):
    """What was noted while it went on, by the steady clock.

    `failed` is the code with which it could not start, and when.
    """

    steps: Steps
    calls: Sequence[Call]
    calls_dropped: int
    cold: bool
    failed: tuple[str, int] | None
    ended_ns: int


class AttemptFacts(NamedTuple):
    """What is told of an attempt, its invocation, and the decision that followed it."""

    tenant: str
    id: str
    function: str
    version: int
    digest: str
    trace: TraceCarry
    attempt: int
    entry: str
    deaths: int
    recorded: bool
    outcome: Outcome
    limit: str | None
    detail: str | None
    usage: Usage
    guest_spans: tuple[GuestSpan, ...]
    guest_spans_dropped: int
    reason: str
    policy: str
    estimate: float | None
    retry_delay_ms: int | None
    next_limits: Limits | None

    @property
    def notable(self) -> bool:
        """Whether it is told though its trace is not sampled."""
        return self.outcome is not Outcome.COMPLETED or self.attempt > 1 or not self.recorded


def facts_of(
    claim: Claim, result: RunResult, completion: Completion, *, recorded: bool
) -> AttemptFacts:
    """The facts alone."""
    of, attempt, retry_at_ms = claim.invocation, completion.attempt, completion.retry_at_ms
    return AttemptFacts(
        of.tenant,
        of.id,
        of.function,
        of.version,
        of.content.digest,
        of.trace,
        claim.attempt,
        claim.entry,
        claim.deaths,
        recorded,
        result.outcome,
        result.limit,
        result.detail,
        result.usage,
        result.spans,
        result.spans_dropped,
        attempt.reason,
        attempt.policy,
        attempt.success,
        None if retry_at_ms is None else retry_at_ms - completion.finished_ms,
        completion.carry.limits,
    )
