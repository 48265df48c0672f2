"""Schedules: what fires a function when, and what becomes of times that were missed.

A schedule's *firing* is named by the schedule and its time alone (`firing_id`), so whoever makes
it, and however often, makes one invocation. All times are Unix milliseconds.
"""

import hashlib
import uuid
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from stockade.core.errors import StockadeError
from stockade.core.invocations import Priority

MAX_SCHEDULES = 1000
"""How many a tenant may have."""

MAX_SCHEDULED_INPUT_BYTES = 32 * 1024
MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 1, 366 * 24 * 3600

MISSED_AFTER_MS = 60_000
"""A time that did not fire within so long counts as missed."""

MAX_CAUGHT_UP = 100
"""Of missed times, `CatchUp.ALL` fires so many at most: the latest."""

_FIRST_RETRY_MS, _LONGEST_RETRY_MS = 1_000, 60_000
_MAX_DOUBLINGS = 6
_VERSION_AND_VARIANT = (0x7 << 76) | (0b10 << 62)
_RANDOM_BITS = (0xFFF << 64) | ((1 << 62) - 1)


class CatchUp(StrEnum):
    """What becomes of times that were missed: none fires, one for all of them, or each."""

    SKIP = "skip"
    ONE = "one"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class CronTiming:
    """A cron expression of five fields, read in an IANA time zone."""

    expression: str
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class IntervalTiming:
    """Every so many seconds from an anchor on; from the schedule's creation when there is none.

    The anchor itself is a time of the schedule, the creation is not.
    """

    every_seconds: int
    anchor_ms: int | None = None


Timing = CronTiming | IntervalTiming


@dataclass(frozen=True, slots=True)
class ScheduleDefinition:
    """What a tenant says about a schedule. With neither alias nor version the latest runs."""

    function: str
    timing: Timing
    alias: str | None = None
    version: int | None = None
    input: bytes = b""
    priority: Priority = Priority.NORMAL
    catch_up: CatchUp = CatchUp.ONE


@dataclass(frozen=True, slots=True)
class FiringRefusal:
    """Why a schedule's time could not fire, `count` times in a row; it is tried again."""

    code: str
    message: str
    at_ms: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class Schedule:
    """A definition and where it stands.

    `id` is new whenever a schedule of that name is made, and kept when its definition changes.
    `next_ms` is the time that fires next, None when there is none; `due_ms` is when gateways look
    at the schedule again: `next_ms`, later after a refusal, None while it is paused.
    """

    tenant: str
    name: str
    id: str
    definition: ScheduleDefinition
    created_ms: int
    next_ms: int | None = None
    due_ms: int | None = None
    paused: bool = False
    last_ms: int | None = None
    last_invocation: str | None = None
    refusal: FiringRefusal | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What a due schedule does: fire for `fires_ms` (None: nothing), and go on at `next_ms`."""

    fires_ms: int | None
    next_ms: int | None


class CronCalendar(Protocol):
    """Reads cron expressions."""

    def following(self, timing: CronTiming, after_ms: int) -> int | None:
        """The first time later than `after_ms`, or None when there is none within 50 years.

        Raises:
            StockadeError: `schedule.cron_invalid` or `schedule.time_zone_unknown`.
        """

    def preceding(self, timing: CronTiming, until_ms: int, count: int) -> int:
        """About where the last `count` times up to `until_ms` begin."""


def check_timing(calendar: CronCalendar, timing: Timing, now_ms: int) -> None:
    """Checks that the timing can be kept.

    Raises:
        StockadeError: `schedule.cron_invalid`, `schedule.time_zone_unknown`,
            `schedule.never_fires` or `schedule.interval_invalid`.
    """
    if isinstance(timing, IntervalTiming):
        if not MIN_INTERVAL_SECONDS <= timing.every_seconds <= MAX_INTERVAL_SECONDS:
            raise StockadeError(
                "schedule.interval_invalid",
                f"An interval is {MIN_INTERVAL_SECONDS} to {MAX_INTERVAL_SECONDS} whole seconds.",
            )
    elif calendar.following(timing, now_ms) is None:
        raise never_fires()


def never_fires() -> StockadeError:
    """The refusal of an expression without any time."""
    return StockadeError(
        "schedule.never_fires", "No day of the next 50 years matches this expression."
    )


def following(calendar: CronCalendar, schedule: Schedule, after_ms: int) -> int | None:
    """The schedule's first time later than `after_ms`."""
    timing = schedule.definition.timing
    if isinstance(timing, CronTiming):
        return calendar.following(timing, after_ms)
    every_ms = timing.every_seconds * 1000
    anchor_ms = timing.anchor_ms
    first_ms = schedule.created_ms + every_ms if anchor_ms is None else anchor_ms
    gone = max(0, (after_ms - first_ms) // every_ms + 1)
    return first_ms + gone * every_ms


def coming(calendar: CronCalendar, schedule: Schedule, now_ms: int, count: int) -> tuple[int, ...]:
    """The next times, `count` at most, as if none of them failed; none while it is paused."""
    found: list[int] = []
    time_ms = None if schedule.paused else schedule.next_ms
    while time_ms is not None and len(found) < count:
        found.append(time_ms)
        time_ms = following(calendar, schedule, max(time_ms, now_ms))
    return tuple(found)


def started(calendar: CronCalendar, schedule: Schedule, now_ms: int) -> Schedule:
    """The schedule with its next time from now on, and nothing to catch up."""
    next_ms = following(calendar, schedule, now_ms)
    due_ms = None if schedule.paused else next_ms
    return replace(schedule, next_ms=next_ms, due_ms=due_ms, refusal=None)


def redefined(
    calendar: CronCalendar, schedule: Schedule, definition: ScheduleDefinition, now_ms: int
) -> Schedule:
    """The schedule with a new definition; the same timing keeps its next time."""
    changed = replace(schedule, definition=definition)
    if definition.timing != schedule.definition.timing:
        return started(calendar, changed, now_ms)
    due_ms = None if schedule.paused else schedule.next_ms
    return replace(changed, due_ms=due_ms, refusal=None)


def paused(schedule: Schedule) -> Schedule:
    """The schedule, which no gateway looks at any more."""
    return replace(schedule, paused=True, due_ms=None)


def resumed(calendar: CronCalendar, schedule: Schedule, now_ms: int) -> Schedule:
    """The schedule going on from now; what would have fired during the pause does not."""
    if not schedule.paused:
        return schedule
    return started(calendar, replace(schedule, paused=False), now_ms)


def step(calendar: CronCalendar, schedule: Schedule, time_ms: int, now_ms: int) -> Step:
    """What the schedule does about its next time `time_ms`, which has come."""
    edge_ms = now_ms - MISSED_AFTER_MS
    if time_ms >= edge_ms:
        return Step(time_ms, following(calendar, schedule, time_ms))
    catch_up = schedule.definition.catch_up
    if catch_up is CatchUp.ALL:
        return _caught_up(calendar, schedule, time_ms, now_ms)
    fires_ms = time_ms if catch_up is CatchUp.ONE else None
    return Step(fires_ms, following(calendar, schedule, edge_ms))


def _caught_up(calendar: CronCalendar, schedule: Schedule, time_ms: int, now_ms: int) -> Step:
    timing = schedule.definition.timing
    if isinstance(timing, CronTiming):
        start_ms = calendar.preceding(timing, now_ms, MAX_CAUGHT_UP)
    else:
        start_ms = now_ms - MAX_CAUGHT_UP * timing.every_seconds * 1000 + 1
    if time_ms < start_ms:
        return Step(None, following(calendar, schedule, start_ms - 1))
    return Step(time_ms, following(calendar, schedule, time_ms))


def stepped(stored: Schedule, seen: Schedule, done: Step) -> Schedule:
    """The stored schedule after this step; unchanged when another gateway was first."""
    if not _stands_at(stored, seen):
        return stored
    moved = replace(stored, next_ms=done.next_ms, due_ms=None if stored.paused else done.next_ms)
    if done.fires_ms is None:
        return moved
    fired = firing_id(seen, done.fires_ms)
    return replace(moved, last_ms=done.fires_ms, last_invocation=fired, refusal=None)


def refused(stored: Schedule, seen: Schedule, error: StockadeError, now_ms: int) -> Schedule:
    """The stored schedule after a refusal: the same time again, a little later each time."""
    if not _stands_at(stored, seen):
        return stored
    before = 0 if stored.refusal is None else stored.refusal.count
    pause_ms = min(_LONGEST_RETRY_MS, _FIRST_RETRY_MS << min(before, _MAX_DOUBLINGS))
    refusal = FiringRefusal(error.code, error.message, now_ms, before + 1)
    due_ms = None if stored.paused else now_ms + pause_ms
    return replace(stored, refusal=refusal, due_ms=due_ms)


def firing_id(schedule: Schedule, time_ms: int) -> str:
    """The id of the one invocation that the schedule makes for this time: a UUIDv7 of that time."""
    named = f"{schedule.tenant}\n{schedule.name}\n{schedule.id}\n{time_ms}"
    digest = int.from_bytes(hashlib.sha256(named.encode()).digest()[:16])
    time_bits = (time_ms & ((1 << 48) - 1)) << 80
    return str(uuid.UUID(int=time_bits | _VERSION_AND_VARIANT | digest & _RANDOM_BITS))


def _stands_at(stored: Schedule, seen: Schedule) -> bool:
    return (stored.id, stored.next_ms) == (seen.id, seen.next_ms)
