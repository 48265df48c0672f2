"""When cron expressions fire, above all where clocks are set."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockade.core.errors import StockadeError
from stockade.core.schedules import CronTiming
from stockade.infra.cronsim_calendar import CronsimCalendar

CALENDAR = CronsimCalendar()
BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def times(expression: str, zone: str, start: str, count: int) -> list[str]:
    """The first times after `start`, as the zone's clock shows them."""
    timing, after, found = CronTiming(expression, zone), at(start), []
    for _ in range(count):
        following = CALENDAR.following(timing, after)
        assert following is not None
        assert following > after
        after = following
        moment = datetime.fromtimestamp(after / 1000, UTC).astimezone(ZoneInfo(zone))
        found.append(moment.isoformat(timespec="minutes"))
    return found


# Berlin 2026: 29 March 02:00 → 03:00, 25 October 03:00 → 02:00.
# New York 2026: 8 March 02:00 → 03:00, 1 November 02:00 → 01:00.
# Lord Howe 2026: 5 April 02:00 → 01:30, 4 October 02:00 → 02:30.
@pytest.mark.parametrize(
    ("expression", "zone", "start", "expected"),
    [
        (
            "30 2 * * *",
            BERLIN,
            "2026-03-28T00:00Z",
            ["2026-03-28T02:30+01:00", "2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"],
        ),
        (
            "30 2 * * *",
            BERLIN,
            "2026-10-24T12:00Z",
            ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"],
        ),
        (
            "30 2 * * *",
            NEW_YORK,
            "2026-03-07T12:00Z",
            ["2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00"],
        ),
        (
            "30 1 * * *",
            NEW_YORK,
            "2026-10-31T12:00Z",
            ["2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"],
        ),
        (
            "15 2 * * *",
            LORD_HOWE,
            "2026-10-03T00:00Z",
            ["2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"],
        ),
        (
            "45 1 * * *",
            LORD_HOWE,
            "2026-04-04T00:00Z",
            ["2026-04-05T01:45+11:00", "2026-04-06T01:45+10:30"],
        ),
    ],
)
def test_a_named_time_fires_once_on_the_day_that_clocks_are_set(
    expression: str, zone: str, start: str, expected: list[str]
) -> None:
    assert times(expression, zone, start, len(expected)) == expected


def test_all_times_of_one_gap_are_one_firing_at_its_end() -> None:
    assert times("*/20 2 * * *", BERLIN, "2026-03-28T12:00Z", 2) == [
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:00+02:00",
    ]
    assert times("0 2,3 * * *", BERLIN, "2026-03-28T12:00Z", 2) == [
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:00+02:00",
    ]


def test_minutes_of_a_named_hour_that_comes_twice_fire_the_first_time() -> None:
    assert times("*/20 2 * * *", BERLIN, "2026-10-24T12:00Z", 4) == [
        "2026-10-25T02:00+02:00",
        "2026-10-25T02:20+02:00",
        "2026-10-25T02:40+02:00",
        "2026-10-26T02:00+01:00",
    ]


@pytest.mark.parametrize("hours", ["*/2", "0-23/2"])
def test_every_second_hour_is_a_list_of_named_hours(hours: str) -> None:
    assert times(f"0 {hours} * * *", BERLIN, "2026-03-28T23:30Z", 2) == [
        "2026-03-29T03:00+02:00",
        "2026-03-29T04:00+02:00",
    ]
    assert times(f"0 {hours} * * *", BERLIN, "2026-10-24T23:30Z", 2) == [
        "2026-10-25T02:00+02:00",
        "2026-10-25T04:00+01:00",
    ]


def test_asked_within_the_second_pass_of_an_hour_it_goes_on() -> None:
    # 02:40 of the second pass; a naive reading would answer with 02:45 of the first.
    assert times("45 2 * * *", BERLIN, "2026-10-25T01:40Z", 1) == ["2026-10-26T02:45+01:00"]


def test_an_hour_of_star_counts_hours_as_they_pass() -> None:
    assert times("0 * * * *", BERLIN, "2026-03-29T00:30Z", 2) == [
        "2026-03-29T03:00+02:00",
        "2026-03-29T04:00+02:00",
    ]
    assert times("30 * * * *", BERLIN, "2026-10-25T00:00Z", 3) == [
        "2026-10-25T02:30+02:00",
        "2026-10-25T02:30+01:00",
        "2026-10-25T03:30+01:00",
    ]
    assert times("*/15 * * * *", LORD_HOWE, "2026-10-03T15:20Z", 3) == [
        "2026-10-04T02:30+11:00",
        "2026-10-04T02:45+11:00",
        "2026-10-04T03:00+11:00",
    ]


def test_a_midnight_that_is_left_out_fires_when_the_day_begins() -> None:
    # Beirut 2026: 29 March 00:00 → 01:00.
    assert times("0 0 * * *", "Asia/Beirut", "2026-03-28T12:00Z", 2) == [
        "2026-03-29T01:00+03:00",
        "2026-03-30T00:00+03:00",
    ]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 9 * * MON-FRI", "2026-11-23T09:00+00:00"),
        ("0 9 * * 7", "2026-11-29T09:00+00:00"),
        ("0 0 L * *", "2026-11-30T00:00+00:00"),
        ("0 0 LW * *", "2026-11-30T00:00+00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00+00:00"),
        ("0 0 13 * FRI", "2026-11-27T00:00+00:00"),
        ("0 0 * 2 MON#5", "2044-02-29T00:00+00:00"),
        ("0  0 1  jan *", "2027-01-01T00:00+00:00"),
    ],
)
def test_what_expressions_mean(expression: str, expected: str) -> None:
    assert times(expression, "UTC", "2026-11-23T00:00Z", 1) == [expected]


def refusal(expression: str, zone: str = "UTC") -> str:
    with pytest.raises(StockadeError) as refused:
        CALENDAR.following(CronTiming(expression, zone), 0)
    assert not refused.value.retryable
    return refused.value.code


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * *",
        "0 0 0 1 1 * 2026",
        "@daily",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "5-1 * * * *",
        "1,, * * * *",
        "* * * * MON#6",
        "* * * * ²L",
        "** * * * *",
        "٣ * * * *",
        "* * * * *\n",
        "* *\t* * *",
        "1" * 101 + " * * * *",
        ",".join(["1"] * 60) + " * * * *",
        "0 0 * * " + "MON#1/" * 10,
    ],
)
def test_what_is_no_expression_is_refused(expression: str) -> None:
    assert refusal(expression) == "schedule.cron_invalid"


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "* * 31 4,6,9,11 *", "0 0 30,31 FEB */2"])
def test_what_never_fires_is_refused(expression: str) -> None:
    assert refusal(expression) == "schedule.never_fires"


def test_days_that_contradict_each_other_never_come() -> None:
    # The fifth Monday of a February that is its first day.
    assert CALENDAR.following(CronTiming("0 0 */30 2 MON#5"), 0) is None


@pytest.mark.parametrize(
    "zone",
    [
        "",
        "Mars/Olympus",
        "../../etc/passwd",
        "/etc/localtime",
        "localtime",
        "Europe",
        "a\0b",
        "berlin",
    ],
)
def test_what_is_no_zone_is_refused(zone: str) -> None:
    assert refusal("* * * * *", zone) == "schedule.time_zone_unknown"


def test_the_last_times_begin_where_they_were_counted_back_to() -> None:
    timing, start = CronTiming("*/10 * * * *"), at("2026-11-23T11:40Z")
    for now in (at("2026-11-23T12:00Z"), at("2026-11-23T12:00:00.999Z"), at("2026-11-23T12:09Z")):
        assert CALENDAR.preceding(timing, now, 3) == start
    assert CALENDAR.preceding(timing, at("2026-11-23T11:59:59.999Z"), 2) == start
    assert CALENDAR.following(timing, start - 1) == start


IN_BERLIN = """
from stockade.core.schedules import CronTiming
from stockade.infra.cronsim_calendar import CronsimCalendar
print(CronsimCalendar().following(CronTiming("0 3 * * *", "Europe/Berlin"), 0))
"""


def test_a_machine_without_a_time_zone_database_knows_zones() -> None:
    bare = {"PYTHONTZPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", IN_BERLIN], env=bare, capture_output=True, check=True
    )
    assert int(done.stdout) == at("1970-01-01T02:00Z")


ZONES = st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, "Asia/Beirut", "America/Santiago", "UTC"])
MOMENTS = st.integers(at("2025-01-01T00:00Z"), at("2028-01-01T00:00Z"))


def local_minutes(first: int, last: int, zone: str) -> list[datetime]:
    """Every minute of the zone's clock later than the first and up to the last."""
    moment = datetime.fromtimestamp(first // 60_000 * 60, UTC)
    found = []
    while (moment := moment + timedelta(minutes=1)).timestamp() * 1000 <= last:
        found.append(moment.astimezone(ZoneInfo(zone)))
    return found


@given(zone=ZONES, after=MOMENTS, hour=st.integers(0, 23), minute=st.integers(0, 59))
def test_a_named_time_fires_once_each_day(zone: str, after: int, hour: int, minute: int) -> None:
    timing = CronTiming(f"{minute} {hour} * * *", zone)
    following = CALENDAR.following(timing, after)
    assert following is not None
    shown = datetime.fromtimestamp(following / 1000, UTC).astimezone(ZoneInfo(zone))
    if (shown.hour, shown.minute) != (hour, minute):
        named = shown.replace(hour=hour, minute=minute, fold=0)
        assert named.astimezone(UTC).astimezone(ZoneInfo(zone)) != named, "the time was there"
        assert shown.utcoffset() != (shown - timedelta(hours=3)).utcoffset()
    assert shown.fold == 0
    for earlier in local_minutes(after, following - 60_000, zone):
        assert (earlier.hour, earlier.minute) != (hour, minute) or earlier.fold == 1


@given(zone=ZONES, after=MOMENTS, step=st.sampled_from([5, 15, 20, 30]))
def test_every_so_many_minutes_misses_none(zone: str, after: int, step: int) -> None:
    following = CALENDAR.following(CronTiming(f"*/{step} * * * *", zone), after)
    assert following is not None
    matching = [one for one in local_minutes(after, following, zone) if one.minute % step == 0]
    assert [round(one.timestamp() * 1000) for one in matching] == [following]


@given(st.text("0123456789*,-/#LWAMONFRI ", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = CALENDAR.following(CronTiming(text, BERLIN), 0)
    except StockadeError as refused:
        assert refused.code in {"schedule.cron_invalid", "schedule.never_fires"}  # noqa: PT017
    else:
        assert found is None or found > 0
