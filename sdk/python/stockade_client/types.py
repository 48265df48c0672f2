"""What calls return: frozen facts. What a newer gateway adds is ignored, what it omits is empty."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Module:
    """An uploaded module; `digest` names it from now on."""

    digest: str
    signers: tuple[str, ...]
    imports: tuple[str, ...]
    exports: tuple[str, ...]
    abi: str
    deterministic: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FunctionVersion:
    """What a deploy made, or found: the same content makes no new version."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function and its latest version."""

    name: str
    version: int
    module: str


@dataclass(frozen=True, slots=True)
class FunctionDetails:
    """A version in full; `created_by` is who deployed it, at `created_ms` (Unix milliseconds).

    `auto_limits` names the limits that follow what runs needed. `retry` is when a failed attempt is
    tried again: `policy`, `max_attempts`, `base_delay_ms`, `max_delay_ms`.
    """

    name: str
    version: int
    module: str
    abi: str
    deterministic: bool
    limits: Mapping[str, int] = field(default_factory=dict)
    auto_limits: tuple[str, ...] = ()
    retry: Mapping[str, object] = field(default_factory=dict)
    grants: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    created_ms: int = 0
    created_by: str = ""
    message: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    record: bool = False


@dataclass(frozen=True, slots=True)
class Secret:
    """That a secret exists, and when it was last set (Unix milliseconds); never what it holds."""

    name: str
    updated_ms: int


@dataclass(frozen=True, slots=True)
class Event:
    """One event that the guest emitted."""

    name: str
    data: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running guest says it is."""

    percent: int
    message: str


@dataclass(frozen=True, slots=True)
class InvokeResult:
    """The output of a completed invocation, and what it cost."""

    output: bytes
    invocation_id: str
    outcome: str
    attempts: int
    fuel: int
    peak_memory_bytes: int
    wall_ms: float
    queue_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt, or a whole invocation, cost."""

    fuel: int = 0
    peak_memory_bytes: int = 0
    wall_ms: float = 0.0
    queue_ms: float = 0.0
    input_bytes: int = 0
    output_bytes: int = 0
    log_bytes: int = 0
    host_calls: int = 0


@dataclass(frozen=True, slots=True)
class ShadowDecision:
    """What the retry policy that does not rule would have decided; nothing followed from it."""

    policy: str
    retry: bool
    delay_ms: int
    code: str
    reason: str
    success: float | None = None
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One finished attempt; `reason` says why it was or was not retried, `code` in one word.

    `policy` is the retry policy that decided, `success` its estimate that the next attempt
    completes, None where it made none. `limits` are the attempt's own where they differ from the
    version's, empty otherwise; `limits_reason` says where learned ones come from. `engine` is what
    it ran in, and `recorded` whether what varied was written down, for a replay.
    """

    number: int
    outcome: str
    reason: str
    usage: Usage
    limit: str | None = None
    detail: str | None = None
    policy: str = ""
    code: str = ""
    success: float | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    limits_reason: str = ""
    shadow: ShadowDecision | None = None
    engine: str = ""
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class Invocation:
    """Where an invocation stands: `state` is `queued`, `running` or `done`."""

    id: str
    function: str
    version: int
    state: str
    outcome: str | None = None
    limit: str | None = None
    detail: str | None = None
    attempts: tuple[Attempt, ...] = ()
    usage: Usage = field(default_factory=Usage)
    events: tuple[Event, ...] = ()
    events_truncated: bool = False
    progress: Progress | None = None

    @property
    def done(self) -> bool:
        """Whether it has its outcome."""
        return self.state == "done"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: level `trace`, `debug`, `info`, `warn` or `error`. The text is the guest's own."""

    level: str
    text: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class DroppedLines:
    """So many lines of an attempt are missing; None: those beyond its limit `log_bytes`."""

    attempt: int
    count: int | None


@dataclass(frozen=True, slots=True)
class Logs:
    """What the guest logged; `truncated` when some of it was dropped, and `dropped` says where."""

    lines: tuple[LogLine, ...]
    truncated: bool = False
    dropped: tuple[DroppedLines, ...] = ()


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the gateway lives, and whether it can serve."""

    live: bool
    ready: bool
