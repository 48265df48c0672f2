from dataclasses import replace

import pytest

from stockade.core.errors import StockadeError
from stockade.core.history import Amounts, EarlierEnd
from stockade.core.history_rows import (
    LAST_DAY,
    amounts_of,
    attempts_of,
    can_never_be_kept,
    day_of,
    runs_of,
    usage_of,
)
from stockade.core.outcomes import Attempt, Outcome, Usage
from tests.ports.histories import DAY_MS, NOON_MS, past


def test_amounts_are_whole_numbers_to_the_nearest() -> None:
    cost = Usage(fuel=3, peak_memory_bytes=65536, wall_ms=0.1004, queue_ms=1.2345)
    found = amounts_of(cost)
    assert (found.fuel, found.wall_us, found.queue_us) == (3, 100, 1234)
    assert found.memory_kib_ms == 6  # 64 KiB for 0.1 ms
    assert amounts_of(replace(cost, wall_ms=1000)).memory_kib_ms == 64_000
    gigabyte_second = Usage(peak_memory_bytes=10**9, wall_ms=1000.0)
    assert amounts_of(gigabyte_second).memory_kib_ms == 976_562_500


def test_amounts_add_up_each_for_itself() -> None:
    assert Amounts(*range(8)) + Amounts(*range(8)) == Amounts(*range(0, 16, 2))


def test_a_record_that_is_not_done_has_attempts_and_no_run() -> None:
    history = past(1, outcome=None, finished_ms=None)
    attempts = attempts_of(history)
    assert len(attempts) == 1
    assert runs_of(history, attempts) == []


def test_attempts_belong_to_the_run_that_they_were_part_of() -> None:
    tries = tuple(
        Attempt(n, Outcome.TRAPPED, "r", Usage(1, 1, 2.0), ended_ms=NOON_MS + n) for n in (1, 2, 3)
    )
    earlier = (
        EarlierEnd(Outcome.TRAPPED, NOON_MS + 2, 2, NOON_MS + 10, "fuel", "why"),
        EarlierEnd(Outcome.EXPIRED, NOON_MS + 11, 2, NOON_MS + 20),
    )
    history = past(1, attempts=tries, earlier=earlier)
    attempts = attempts_of(history)
    assert [one.redrive for one in attempts] == [0, 0, 2]
    first, second, third = runs_of(history, attempts)
    assert (first.outcome, first.limit, first.detail, first.attempts) == (
        Outcome.TRAPPED,
        "fuel",
        "why",
        2,
    )
    assert (second.outcome, second.attempts, second.amounts) == (Outcome.EXPIRED, 0, Amounts())
    assert (third.outcome, third.attempts, third.redrive) == (Outcome.COMPLETED, 1, 2)
    assert [one.submitted_ms for one in (first, second, third)] == [
        NOON_MS - 5,
        NOON_MS + 10,
        NOON_MS + 20,
    ]
    assert [one.started_ms for one in (first, second, third)] == [NOON_MS - 1, None, NOON_MS + 1]


def test_an_attempt_of_an_older_release_counts_when_it_was_submitted() -> None:
    old = Attempt(1, Outcome.COMPLETED, "r", Usage())
    (found,) = attempts_of(past(1, attempts=(old,)))
    assert found.ended_ms == NOON_MS - 5


def test_a_run_counts_when_it_ended_and_its_attempts_when_they_did() -> None:
    early = Attempt(1, Outcome.TRAPPED, "r", Usage(5), ended_ms=NOON_MS - DAY_MS)
    late = Attempt(2, Outcome.COMPLETED, "r", Usage(7), ended_ms=NOON_MS)
    history = past(1, attempts=(early, late), finished_ms=NOON_MS)
    attempts = attempts_of(history)
    yesterday, today = usage_of(runs_of(history, attempts), attempts)
    assert (yesterday.runs, yesterday.attempts, yesterday.amounts.fuel) == ({}, 1, 5)
    assert (today.runs, today.attempts, today.amounts.fuel) == ({Outcome.COMPLETED: 1}, 1, 7)


@pytest.mark.parametrize(
    ("time_ms", "day"),
    [(0, 0), (DAY_MS - 1, 0), (DAY_MS, 1), (-1, 0), (2**62, LAST_DAY)],
)
def test_days_are_those_that_a_calendar_has(time_ms: int, day: int) -> None:
    assert day_of(time_ms) == day


@pytest.mark.parametrize(
    ("error", "never"),
    [
        (StockadeError("catalog.value_invalid", ""), True),
        (StockadeError("catalog.unavailable", "", retryable=True), False),
        (StockadeError("catalog.corrupt", ""), False),
        (ValueError(), True),
        (OverflowError(), True),
        (OSError(), False),
    ],
)
def test_only_the_records_own_faults_set_it_aside(error: Exception, *, never: bool) -> None:
    assert can_never_be_kept(error) == never
