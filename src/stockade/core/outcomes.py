"""What happened to a run and what it cost: `Outcome`, `Usage`, `RunResult`, `Attempt`."""

from dataclasses import dataclass, field
from enum import StrEnum

from stockade.core.guest_spans import GuestSpan
from stockade.core.limits import Limits


class Outcome(StrEnum):
    """How an attempt or an invocation ended. An invocation has exactly one in the end."""

    COMPLETED = "completed"
    REJECTED = "rejected"
    TRAPPED = "trapped"
    LIMIT_EXCEEDED = "limit_exceeded"
    CRASHED = "crashed"
    LOST = "lost"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class State(StrEnum):
    """Where an invocation stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


class ReasonCode(StrEnum):
    """Why an attempt is followed by another, or is the last one."""

    COMPLETED = "completed"
    FINAL = "final"
    NEVER = "never"
    ATTEMPTS = "attempts"
    REFUSED = "refused"
    CERTAIN = "certain"
    BACKOFF = "backoff"
    CHANCE = "chance"
    EXPLORE = "explore"
    OUTAGE = "outage"
    LIMIT_RAISED = "limit_raised"
    CEILING = "ceiling"
    LOST = "lost"
    BUDGET = "budget"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt cost. The supervisor measures `wall_ms`; fuel and memory are the engine's."""

    fuel: int = 0
    peak_memory_bytes: int = 0
    wall_ms: float = 0.0
    queue_ms: float = 0.0
    input_bytes: int = 0
    output_bytes: int = 0
    log_bytes: int = 0
    host_calls: int = 0


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that the guest logged: level 0 (trace) to 4 (error); text is valid UTF-8."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """One event that the guest emitted: `data` is valid UTF-8, in whatever form the guest likes."""

    name: str
    data: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the guest says it is: 0 to 100, and a word about it."""

    percent: int
    message: str


@dataclass(frozen=True, slots=True)
class RunResult:
    """The end of one attempt, as the supervisor records it.

    `limit` names the exceeded limit; `detail` is one public sentence; `retry_hint` is the guest's
    own word with `rejected`; `logs_truncated` and `events_truncated` mark that what was beyond the
    limit of log bytes was dropped. `upstream` and `cause` are what a host call met, as far as it
    says something of this end; see `stockade.core.upstreams`. `spans` are those that the guest
    opened, and `spans_dropped` counts what found no room in them.
    """

    outcome: Outcome
    output: bytes = b""
    limit: str | None = None
    detail: str | None = None
    retry_hint: bool = False
    usage: Usage = field(default_factory=Usage)
    logs: tuple[LogLine, ...] = ()
    logs_truncated: bool = False
    events: tuple[Event, ...] = ()
    events_truncated: bool = False
    upstream: str = ""
    cause: str = ""
    spans: tuple[GuestSpan, ...] = ()
    spans_dropped: int = 0


@dataclass(frozen=True, slots=True)
class ShadowDecision:
    """What the retry policy that does not rule would have decided; nothing followed from it.

    `limits` are those that the next attempt would have had where they would have risen.
    """

    policy: str
    retry: bool
    delay_ms: int
    code: str
    reason: str
    success: float | None = None
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One finished attempt in a record; `reason` says why it was or was not retried.

    `code` is the reason's class (a `ReasonCode`); `policy` is the retry policy that decided,
    `success` its estimate that the next attempt completes, None where nothing was estimated;
    `limits` are those of this attempt where they differ from the version's. `shadow` is what the
    other policy made of the same failure. `limits_reason` says where learned limits come from.
    `engine` names what it ran in, and `recording` what varied in it (`stockade.core.recordings`),
    None where that was not recorded.
    `ended_ms` is Unix time.
    """

    number: int
    outcome: Outcome
    reason: str
    usage: Usage
    limit: str | None = None
    detail: str | None = None
    policy: str = ""
    success: float | None = None
    limits: Limits | None = None
    code: str = ""
    shadow: ShadowDecision | None = None
    limits_reason: str = ""
    engine: str = ""
    recording: str | None = None
    ended_ms: int | None = None
