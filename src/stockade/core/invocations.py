"""Invocations: what is asked, what is claimed, what is recorded."""

from dataclasses import dataclass, field
from enum import IntEnum

from stockade.core.limits import Limits
from stockade.core.modules import FunctionContent
from stockade.core.outcomes import Attempt, Event, LogLine, Outcome, Progress, State, Usage
from stockade.core.rate_limits import RateLimit
from stockade.core.trace_context import NO_CARRY, TraceCarry


class Priority(IntEnum):
    """Order inside one tenant; a lower number runs first."""

    URGENT = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3


@dataclass(frozen=True, slots=True)
class Invocation:
    """One request to run a function version on an input, limits already clamped.

    Exactly one of `input_inline` and `input_blob` is set: an input over the inline bound stands in
    the blob store under its digest. `reply_to` names the gateway that waits, or is empty. `weight`
    is the tenant's share against others and `tenant_concurrency` how many of its run at once at
    most, `rate_limit` how often it may submit and `tenant_backlog` how many of its may wait; all
    are the tenant's as they are now, not part of the record. `ceilings` are what a raised limit may
    reach; None where nothing raises limits. `traceparent` and `trace` say under which trace it is
    found. Times are Unix milliseconds.
    """

    id: str
    tenant: str
    function: str
    version: int
    content: FunctionContent
    submitted_ms: int
    input_inline: bytes | None = None
    input_blob: str | None = None
    priority: Priority = Priority.NORMAL
    run_at_ms: int | None = None
    deadline_ms: int | None = None
    idempotency_key: str | None = None
    input_digest: str = ""
    reply_to: str = ""
    traceparent: str = ""
    ceilings: Limits | None = None
    trace: TraceCarry = field(default=NO_CARRY, compare=False)
    weight: int = field(default=1, compare=False)
    tenant_concurrency: int | None = field(default=None, compare=False)
    rate_limit: RateLimit | None = field(default=None, compare=False)
    tenant_backlog: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class SubmitReceipt:
    """The acknowledgement; `created` is False when an idempotency key named an earlier one."""

    id: str
    created: bool


@dataclass(frozen=True, slots=True)
class RetryCarry:
    """What a decision to try again hands to the next attempt.

    `limits` are the next attempt's where they differ from the version's; `basis` names what the
    retry's success was estimated from, so that its end teaches the same, and `success` is that
    estimate; `failure` tells how the attempt before failed, so that the same failure is known
    again. With `shadow_stopped` the policy that does not rule would have ended the invocation.
    `limits_reason` is one sentence on where the limits come from.
    """

    limits: Limits | None = None
    basis: str = ""
    failure: str = ""
    success: float | None = None
    shadow_stopped: bool = False
    limits_reason: str = ""


NOTHING_CARRIED = RetryCarry()


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's hold on an invocation. `attempt` (1, 2, …) is the fencing token.

    `entry` is the queue's own handle; `first_failure_ms` is when an earlier attempt first failed,
    if one did; `deaths` counts attempts whose worker or executor died; `carry` is what the decision
    to try again handed on.
    """

    invocation: Invocation
    attempt: int
    entry: str
    deaths: int = 0
    first_failure_ms: int | None = None
    carry: RetryCarry = NOTHING_CARRIED


@dataclass(frozen=True, slots=True)
class Completion:
    """How a claim ends: finally (`retry_at_ms` None) or with another attempt due at `retry_at_ms`.

    Exactly one of `output_inline` and `output_blob` is set when the outcome is `completed`.
    `started_ms` counts when nothing was said of the beginning before. `carry` goes to that attempt.
    `keep_input` has the input stay for as long as the record, whatever its size.
    """

    attempt: Attempt
    finished_ms: int
    retry_at_ms: int | None = None
    started_ms: int | None = None
    output_inline: bytes | None = None
    output_blob: str | None = None
    logs: tuple[LogLine, ...] = ()
    logs_truncated: bool = False
    events: tuple[Event, ...] = ()
    events_truncated: bool = False
    carry: RetryCarry = NOTHING_CARRIED
    keep_input: bool = False


@dataclass(frozen=True, slots=True)
class InvocationRecord:
    """The truth about one invocation, as `GET /v1/invocations/{id}` tells it."""

    id: str
    tenant: str
    function: str
    version: int
    state: State
    submitted_ms: int
    outcome: Outcome | None = None
    limit: str | None = None
    detail: str | None = None
    attempts: tuple[Attempt, ...] = ()
    usage: Usage = field(default_factory=Usage)
    started_ms: int | None = None
    finished_ms: int | None = None
    output_inline: bytes | None = None
    output_blob: str | None = None
    logs: tuple[LogLine, ...] = ()
    logs_truncated: bool = False
    events: tuple[Event, ...] = ()
    events_truncated: bool = False
    progress: Progress | None = None
