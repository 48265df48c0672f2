"""Which times fire, which are caught up, and what two gateways make of the same time."""

import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockade.core.errors import StockadeError
from stockade.core.schedules import (
    MAX_CAUGHT_UP,
    MISSED_AFTER_MS,
    CatchUp,
    CronTiming,
    IntervalTiming,
    Schedule,
    ScheduleDefinition,
    Step,
    check_timing,
    coming,
    firing_id,
    following,
    paused,
    redefined,
    refused,
    resumed,
    started,
    step,
    stepped,
)
from stockade.infra.cronsim_calendar import CronsimCalendar

CALENDAR = CronsimCalendar()
HOUR_MS, MINUTE_MS = 3_600_000, 60_000
HOURLY = CronTiming("0 * * * *")
TIMEOUT = StockadeError("queue.full", "Later.", retryable=True)


class EndedCalendar:
    """A calendar in which nothing comes any more."""

    def following(self, timing: CronTiming, after_ms: int) -> int | None:
        del timing, after_ms

    def preceding(self, timing: CronTiming, until_ms: int, count: int) -> int:
        del timing, count
        return until_ms


def schedule(
    timing: CronTiming | IntervalTiming = HOURLY,
    catch_up: CatchUp = CatchUp.ONE,
    created_ms: int = 0,
    now_ms: int = 0,
) -> Schedule:
    definition = ScheduleDefinition("f", timing, catch_up=catch_up)
    return started(CALENDAR, Schedule("acme", "s", "1", definition, created_ms), now_ms)


def run(one: Schedule, now_ms: int) -> tuple[Schedule, list[int]]:
    """All steps that are due at this moment, and the times that fired."""
    fired = []
    while one.due_ms is not None and one.due_ms <= now_ms:
        assert one.next_ms is not None
        done = step(CALENDAR, one, one.next_ms, now_ms)
        fired += [] if done.fires_ms is None else [done.fires_ms]
        one = stepped(one, one, done)
    return one, fired


def test_an_interval_counts_from_the_creation() -> None:
    one = schedule(IntervalTiming(10), created_ms=3, now_ms=3)
    assert [following(CALENDAR, one, after) for after in (0, 3, 10_002, 10_003)] == [
        10_003,
        10_003,
        10_003,
        20_003,
    ]


def test_an_anchor_is_the_first_time() -> None:
    one = schedule(IntervalTiming(10, 100_000))
    assert [following(CALENDAR, one, after) for after in (0, 99_999, 100_000, 123_456)] == [
        100_000,
        100_000,
        110_000,
        130_000,
    ]


@given(
    every=st.integers(1, 10_000),
    anchor=st.integers(-(10**12), 10**12),
    after=st.integers(0, 2 * 10**12),
)
def test_intervals_keep_their_grid(every: int, anchor: int, after: int) -> None:
    time = following(CALENDAR, schedule(IntervalTiming(every, anchor)), after)
    assert time is not None
    assert time > after
    assert time >= anchor
    assert (time - anchor) % (every * 1000) == 0
    assert time == anchor or time - after <= every * 1000


@pytest.mark.parametrize("seconds", [-1, 0, 366 * 24 * 3600 + 1])
def test_an_interval_has_bounds(seconds: int) -> None:
    with pytest.raises(StockadeError) as caught:
        check_timing(CALENDAR, IntervalTiming(seconds), 0)
    assert caught.value.code == "schedule.interval_invalid"


def test_what_can_be_kept_is_taken() -> None:
    check_timing(CALENDAR, IntervalTiming(1), 0)
    check_timing(CALENDAR, IntervalTiming(366 * 24 * 3600), 0)
    check_timing(CALENDAR, CronTiming("0 0 29 2 *"), 0)


def test_an_expression_without_a_time_is_refused() -> None:
    with pytest.raises(StockadeError) as caught:
        check_timing(EndedCalendar(), HOURLY, 0)
    assert caught.value.code == "schedule.never_fires"


def test_a_schedule_that_has_come_to_its_end_is_never_due() -> None:
    one = schedule()
    assert one.next_ms is not None
    done = step(EndedCalendar(), one, one.next_ms, one.next_ms)
    ended = stepped(one, one, done)
    assert (ended.next_ms, ended.due_ms, ended.last_ms) == (None, None, HOUR_MS)
    assert coming(EndedCalendar(), ended, 0, 5) == ()


def test_the_next_times_are_told() -> None:
    one = schedule(now_ms=HOUR_MS // 2)
    assert coming(CALENDAR, one, 0, 3) == (HOUR_MS, 2 * HOUR_MS, 3 * HOUR_MS)
    assert coming(CALENDAR, paused(one), 0, 3) == ()


def test_what_is_due_now_fires_for_its_own_time() -> None:
    for catch_up in CatchUp:
        one, fired = run(schedule(catch_up=catch_up), HOUR_MS + MISSED_AFTER_MS)
        assert fired == [HOUR_MS]
        assert (one.next_ms, one.due_ms, one.last_ms) == (2 * HOUR_MS, 2 * HOUR_MS, HOUR_MS)
        assert one.last_invocation == firing_id(one, HOUR_MS)


def test_a_time_of_the_last_minute_is_late_and_not_missed() -> None:
    for catch_up in CatchUp:
        _, fired = run(schedule(IntervalTiming(10), catch_up), 60_000)
        assert fired == [10_000, 20_000, 30_000, 40_000, 50_000, 60_000]


def test_missed_times_are_skipped() -> None:
    one, fired = run(schedule(catch_up=CatchUp.SKIP), 10 * HOUR_MS + 2 * MINUTE_MS)
    assert (fired, one.next_ms, one.last_ms) == ([], 11 * HOUR_MS, None)


def test_missed_times_are_one_firing() -> None:
    one, fired = run(schedule(catch_up=CatchUp.ONE), 10 * HOUR_MS + 2 * MINUTE_MS)
    assert (fired, one.next_ms) == ([HOUR_MS], 11 * HOUR_MS)


def test_missed_times_and_the_one_that_is_due_are_two() -> None:
    for catch_up, expected in ((CatchUp.SKIP, [10]), (CatchUp.ONE, [1, 10])):
        _, fired = run(schedule(catch_up=catch_up), 10 * HOUR_MS)
        assert fired == [hours * HOUR_MS for hours in expected]


def test_each_missed_time_fires_up_to_a_bound() -> None:
    _, fired = run(schedule(catch_up=CatchUp.ALL), 10 * HOUR_MS)
    assert fired == [hours * HOUR_MS for hours in range(1, 11)]
    for timing in (HOURLY, IntervalTiming(3600)):
        _, fired = run(schedule(timing, CatchUp.ALL), 1000 * HOUR_MS)
        assert fired == [h * HOUR_MS for h in range(1001 - MAX_CAUGHT_UP, 1001)]


@given(
    looks=st.lists(st.integers(0, 5 * HOUR_MS), min_size=1, max_size=20),
    catch_up=st.sampled_from(CatchUp),
    every=st.sampled_from([7, 60, 61, 900]),
)
def test_whenever_gateways_look_no_time_fires_twice(
    looks: list[int], catch_up: CatchUp, every: int
) -> None:
    one, fired = schedule(IntervalTiming(every), catch_up), list[int]()
    for now_ms in sorted(looks):
        one, more = run(one, now_ms)
        fired += more
        assert one.next_ms is not None
        assert one.next_ms > now_ms
    assert sorted(set(fired)) == fired


def test_a_pause_catches_nothing_up() -> None:
    one = paused(schedule())
    assert (one.paused, one.due_ms) == (True, None)
    again = resumed(CALENDAR, one, 10 * HOUR_MS + 1)
    assert (again.paused, again.next_ms, again.due_ms) == (False, 11 * HOUR_MS, 11 * HOUR_MS)
    assert resumed(CALENDAR, again, 20 * HOUR_MS) is again


def test_paused_while_it_fires_it_stays_paused() -> None:
    seen = schedule()
    done = step(CALENDAR, seen, HOUR_MS, HOUR_MS)
    moved = stepped(paused(seen), seen, done)
    assert (moved.paused, moved.due_ms, moved.next_ms) == (True, None, 2 * HOUR_MS)
    assert moved.last_ms == HOUR_MS
    failed = refused(paused(seen), seen, TIMEOUT, HOUR_MS)
    assert (failed.paused, failed.due_ms) == (True, None)


def test_the_second_gateway_moves_nothing() -> None:
    seen = schedule()
    done = step(CALENDAR, seen, HOUR_MS, HOUR_MS)
    moved = stepped(seen, seen, done)
    assert stepped(moved, seen, done) is moved
    assert refused(moved, seen, TIMEOUT, HOUR_MS) is moved
    assert stepped(replace(seen, id="2"), seen, done) == replace(seen, id="2")


def test_a_refused_time_is_tried_again_ever_later() -> None:
    one, pauses = schedule(), []
    for _ in range(12):
        one = refused(one, one, TIMEOUT, HOUR_MS)
        assert one.due_ms is not None
        pauses.append((one.due_ms - HOUR_MS) // 1000)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]
    assert one.next_ms == HOUR_MS
    assert one.refusal is not None
    assert (one.refusal.code, one.refusal.count) == ("queue.full", 12)
    fired, times = run(replace(one, due_ms=HOUR_MS), HOUR_MS)
    assert (times, fired.refusal) == ([HOUR_MS], None)


def test_a_skipped_time_keeps_what_refused_it() -> None:
    one = refused(schedule(catch_up=CatchUp.SKIP), schedule(), TIMEOUT, HOUR_MS)
    skipped, fired = run(one, HOUR_MS + 2 * MINUTE_MS)
    assert fired == []
    assert skipped.refusal == one.refusal


def test_a_new_definition_keeps_its_timing_or_begins_anew() -> None:
    one = refused(schedule(), schedule(), TIMEOUT, HOUR_MS)
    same = redefined(CALENDAR, one, replace(one.definition, input=b"x"), 5 * HOUR_MS)
    assert (same.id, same.next_ms, same.due_ms, same.refusal) == ("1", HOUR_MS, HOUR_MS, None)
    assert same.definition.input == b"x"
    other = replace(one.definition, timing=CronTiming("30 * * * *"))
    moved = redefined(CALENDAR, one, other, 5 * HOUR_MS)
    assert (moved.id, moved.next_ms, moved.due_ms) == ("1", 5.5 * HOUR_MS, 5.5 * HOUR_MS)
    still = redefined(CALENDAR, paused(one), one.definition, 5 * HOUR_MS)
    assert (still.paused, still.due_ms) == (True, None)
    assert redefined(CALENDAR, paused(one), other, 5 * HOUR_MS).due_ms is None


def test_a_firing_has_one_id_which_is_a_uuid_of_its_time() -> None:
    one = schedule()
    time_ms = 0x0190_1234_5678
    text = firing_id(one, time_ms)
    made = uuid.UUID(text)
    assert (str(made), made.version, made.variant) == (text, 7, uuid.RFC_4122)
    assert made.int >> 80 == time_ms
    assert firing_id(replace(one, definition=replace(one.definition, input=b"x")), time_ms) == text
    others = [
        firing_id(one, time_ms + 1),
        firing_id(replace(one, id="2"), time_ms),
        firing_id(replace(one, name="t"), time_ms),
        firing_id(replace(one, tenant="rival"), time_ms),
    ]
    assert len({text, *others}) == 5


def test_a_step_is_told_in_full() -> None:
    assert step(CALENDAR, schedule(), HOUR_MS, HOUR_MS) == Step(HOUR_MS, 2 * HOUR_MS)
