"""Spans: what one process remembers of the steps of one invocation, and what it records them with.

A hot path only notes times; spans are made of them later, off it. Each span's id follows from the
invocation's id and the span's place in it, so that processes which never speak to each other name
the same span alike (an attempt, the one before it), and what is told twice is known again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import blake2b
from typing import NamedTuple, Protocol

Value = str | bool | int | float
"""What an attribute may be."""
_STEP = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_RANDOM_DIGITS, _RANDOM_RANGE = 14, 1 << 56
NANOS_OF_MS = 1_000_000
_ATTEMPT = 1 << 16
"""So many places has each attempt; what a gateway records comes before the first."""
RUN_PLACE = 4
"""The run's, in its attempt: servers that it asks are told this span."""


class SpanKind(IntEnum):
    """The kinds, by OTLP's numbers."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class Span(NamedTuple):
    """One step. Times are Unix nanoseconds by the queue's clock; `parent` 0 is none.

    `error` says what failed (`error.type`), empty when nothing did; `link` names a span of the same
    trace that came before, 0 for none.
    """

    name: str
    kind: int
    id: int
    parent: int
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value]
    error: str = ""
    link: int = 0


class TracePart(NamedTuple):
    """What one process tells of one invocation. `failed` parts are of more use than others."""

    tenant: str
    invocation: str
    trace_id: str
    state: str
    process: str
    instance: str
    spans: tuple[Span, ...]
    failed: bool = False


class Recording(Protocol):
    """Something noted that can be told as spans."""

    def parts(self) -> list[TracePart]:
        """The spans, by process; called once, off the hot path."""


class SpanSink(Protocol):
    """Takes recordings at once and keeps them for later; never waits, never fails."""

    def take(self, recording: Recording) -> None:
        """Takes one, or drops and counts it when too many wait."""


class TraceStore(Protocol):
    """Keeps the spans of recent invocations, bounded, beside their records."""

    async def keep(self, parts: Sequence[TracePart]) -> int:
        """Keeps these; what is old makes room.

        Returns how many were dropped, because their invocation has its share.

        Raises:
            StockadeError: `queue.unavailable`.
        """

    async def parts(self, tenant: str, invocation_id: str) -> list[TracePart]:
        """What is kept of an invocation, in the order in which it came; none is an empty list.

        Raises:
            StockadeError: `queue.unavailable`.
        """

    async def time_ns(self) -> int:
        """Unix time in nanoseconds by the queue's own clock.

        Raises:
            StockadeError: `queue.unavailable`.
        """


@dataclass(frozen=True, slots=True)
class TraceBounds:
    """What a `TraceStore` keeps at most.

    `part_bytes` and `invocation_bytes` are of one part and one invocation, `total_bytes` of all (of
    one partition); `kept_ms` is for how long.
    """

    invocation_bytes: int = 64 * 1024
    total_bytes: int = 64 * 1024 * 1024
    kept_ms: int = 3600 * 1000


class SpanClock:
    """Tells when something happened by the queue's clock, from this process' steady one."""

    def __init__(self, ahead_ns: int = 0) -> None:
        self._ahead_ns = ahead_ns

    def set(self, told_ns: int, asked_ns: int, answered_ns: int) -> None:
        """Sets it: the queue's clock said `told_ns` between two looks at the steady one."""
        self._ahead_ns = told_ns - (asked_ns + answered_ns) // 2

    def unix_ns(self, steady_ns: int) -> int:
        """Unix nanoseconds of a moment of `time.monotonic_ns`."""
        return steady_ns + self._ahead_ns

    def now_ns(self) -> int:
        """Unix nanoseconds of now."""
        return time.monotonic_ns() + self._ahead_ns


class NoSpans:
    """A `SpanSink` that keeps nothing."""

    def take(self, recording: Recording) -> None:
        """Drops it."""


class NoTraceStore:
    """A `TraceStore` that keeps nothing."""

    async def keep(self, parts: Sequence[TracePart]) -> int:
        """Drops them."""
        return len(parts)

    async def parts(self, tenant: str, invocation_id: str) -> list[TracePart]:
        """None."""
        del tenant, invocation_id
        return []

    async def time_ns(self) -> int:
        """The machine's steady clock, for want of another."""
        return time.monotonic_ns()


@dataclass(slots=True)
class SpanCounts:
    """What became of what was recorded in this process, since its start.

    Recordings are one for each request or attempt; parts are what they are told as.
    """

    recordings: int = 0
    dropped_full: int = 0
    """Recordings that came while too many waited."""
    dropped_broken: int = 0
    """Recordings that could not be told, by an error of ours, which is logged."""
    parts_kept: int = 0
    parts_not_kept: int = 0
    """The store could not be reached, or their invocation had its share there."""
    spans_sent: int = 0
    spans_refused: int = 0
    """The collector refused them."""
    spans_not_sent: int = 0
    """The collector was away or slow for too long, and too many waited."""

    def dropped(self) -> dict[str, int]:
        """What was dropped, by why: recordings, parts not kept, spans not sent."""
        return {
            "full": self.dropped_full,
            "broken": self.dropped_broken,
            "not_kept": self.parts_not_kept,
            "refused": self.spans_refused,
            "not_sent": self.spans_not_sent,
        }


@dataclass(frozen=True, slots=True)
class Tracer:
    """What a process records with.

    `ratio` of those traces that no caller decided about are recorded; failures always are. With
    `on` unset nothing is recorded at all, and contexts only pass through.
    """

    on: bool = False
    ratio: float = 1.0
    process: str = ""
    instance: str = ""
    sink: SpanSink = field(default_factory=NoSpans)
    clock: SpanClock = field(default_factory=SpanClock)
    counts: SpanCounts = field(default_factory=SpanCounts)

    def samples(self, trace_id: str) -> bool:
        """Whether a new trace is recorded: the same in every process for the same trace."""
        return int(trace_id[-_RANDOM_DIGITS:], 16) < self.ratio * _RANDOM_RANGE


OFF = Tracer()


class Steps:
    """Moments in a row: each step ends where the next one begins. Times are of the steady clock."""

    __slots__ = ("began_ns", "ends")

    def __init__(self, began_ns: int) -> None:
        self.began_ns = began_ns
        self.ends: list[tuple[str, int]] = []

    def mark(self, name: str, _now: Callable[[], int] = time.monotonic_ns) -> None:
        """Says that this step ended now."""
        self.ends.append((name, _now()))


def seed_of(invocation_id: str) -> int:
    """What the ids of an invocation's spans are made from."""
    digest = blake2b(invocation_id.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest)


def span_id(seed: int, place: int) -> int:
    """The id of the span at this place; never 0."""
    return (seed + place * _STEP) & _MASK or 1


def attempt_span_id(seed: int, attempt: int) -> int:
    """The id of the span that is the attempt of this number."""
    return part_span_id(seed, attempt, 0)


def part_span_id(seed: int, attempt: int, place: int) -> int:
    """The id of the span at this place of an attempt; place 0 is the attempt itself."""
    return span_id(seed, attempt * _ATTEMPT + place)
