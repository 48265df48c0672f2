"""The `CronCalendar` port by cronsim, with a rule of our own for clocks that are set.

An hour field of `*` counts hours as they pass: every minute that the clock shows and the expression
matches. Any other hour field names local times, each of which fires once a day: one that is left
out fires at the end of the gap (together with the others of that gap), one that comes twice fires
the first time.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from stockade.core.errors import StockadeError
from stockade.core.schedules import CronTiming, never_fires

MAX_EXPRESSION_CHARACTERS = 100
_FIELDS = 5
_EXPRESSION = re.compile(rf"[0-9A-Za-z*,/# \-]{{1,{MAX_EXPRESSION_CHARACTERS}}}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CronsimCalendar:
    """Reads cron expressions; holds nothing."""

    def following(self, timing: CronTiming, after_ms: int) -> int | None:
        """The first time later than `after_ms`, or None when there is none within 50 years."""
        # The library looks at naive local times, where the second pass of an hour reads earlier.
        return next((time for time in _times(timing, after_ms) if time > after_ms), None)

    def preceding(self, timing: CronTiming, until_ms: int, count: int) -> int:
        """About where the last `count` times up to `until_ms` begin."""
        earliest = until_ms
        # Backwards, the library leaves out the second it starts at, unless it starts within it.
        backwards = _times(timing, until_ms + 1, reverse=True)
        for time_ms in islice(backwards, count):
            earliest = min(earliest, time_ms)
        return earliest


def _times(timing: CronTiming, from_ms: int, *, reverse: bool = False) -> Iterator[int]:
    zone = _zone(timing.time_zone)
    start = (_EPOCH + timedelta(milliseconds=from_ms)).astimezone(zone)
    expression = _named_hours(timing.expression)
    try:
        times = CronSim(expression, start, reverse)
    except (CronSimError, ValueError) as error:
        raise _refusal(expression, str(error)) from error
    for time in times:
        yield (time.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)


def _named_hours(expression: str) -> str:
    """The expression, written so that the library keeps our rule: it looks for leading stars.

    Raises:
        StockadeError: `schedule.cron_invalid`.
    """
    fields = expression.split()
    if not _EXPRESSION.fullmatch(expression) or len(fields) != _FIELDS:
        raise _invalid("five fields are needed: minute, hour, day of month, month, day of week")
    if fields[1] != "*":
        fields[0] = _without_stars(fields[0], "0-59")
        fields[1] = _without_stars(fields[1], "0-23")
    return " ".join(fields)


def _without_stars(field: str, everything: str) -> str:
    terms = field.split(",")
    return ",".join(everything + term[1:] if term[:1] == "*" else term for term in terms)


def _refusal(expression: str, reason: str) -> StockadeError:
    """The library also says of a day that none of its months has that it is no day."""
    minute, hour, day, month, weekday = expression.split()
    try:
        CronSim(f"{minute} {hour} {day} * {weekday}", _EPOCH)
        CronSim(f"{minute} {hour} 1 {month} {weekday}", _EPOCH)
    except (CronSimError, ValueError):
        return _invalid(reason)
    return never_fires()


def _invalid(reason: str) -> StockadeError:
    return StockadeError(
        "schedule.cron_invalid",
        f"This is no cron expression of at most {MAX_EXPRESSION_CHARACTERS} characters: {reason}."
        " Such as '30 3 * * MON-FRI'.",
    )


def _zone(name: str) -> ZoneInfo:
    if name not in _zone_names():
        raise StockadeError(
            "schedule.time_zone_unknown",
            "There is no such time zone. Name one of the IANA database, such as Europe/Berlin.",
        )
    return ZoneInfo(name)


@cache
def _zone_names() -> frozenset[str]:
    """What every host means alike; some names mean what a host was set to."""
    return frozenset(available_timezones() - {"Factory", "localtime", "posixrules"})
