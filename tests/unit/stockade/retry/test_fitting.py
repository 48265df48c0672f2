"""Limits that follow what runs needed: with room, from enough runs on, within bounds."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stockade.core.limits import CEILINGS, DEFAULT_LIMITS, LEARNED_LIMITS
from stockade.retry.fitting import FLOORS, LEAST_RUNS, fitted
from stockade.retry.needs import Sketch


def sketch(*values: float) -> Sketch:
    made = Sketch()
    for value in values:
        made.add(value)
    return made


def test_too_few_runs_leave_the_default_and_say_so() -> None:
    needs = {"fuel": sketch(*[5_000_000] * (LEAST_RUNS - 1))}
    found = fitted(needs, ("fuel",), DEFAULT_LIMITS, CEILINGS, raisable=True)
    assert found.limits == DEFAULT_LIMITS
    assert found.reason == "Automatic limits: fuel by default (29 of 30 runs seen)."


def test_where_more_follows_a_failure_the_rare_run_does_not_set_the_limit() -> None:
    needs = {"fuel": sketch(*[5_000_000] * 300, 9_000_000_000)}
    tight = fitted(needs, ("fuel",), DEFAULT_LIMITS, CEILINGS, raisable=True)
    assert 1.25 * 5e6 <= tight.limits.fuel <= 1.1 * 1.25 * 5e6
    assert tight.reason == "Automatic limits: fuel by the need of 301 runs."
    wide = fitted(needs, ("fuel",), DEFAULT_LIMITS, CEILINGS, raisable=False)
    assert 2 * 9e9 <= wide.limits.fuel <= 1.1 * 2 * 9e9


def test_only_what_is_named_follows() -> None:
    needs = {name: sketch(*[2_000_000_000] * 40) for name in ("fuel", "memory", "wall")}
    found = fitted(needs, ("wall_ms",), DEFAULT_LIMITS, CEILINGS, raisable=True).limits
    assert found == replace(DEFAULT_LIMITS, wall_ms=CEILINGS.wall_ms)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=200), st.booleans())
def test_whatever_was_seen_limits_stay_between_floor_and_ceiling(
    seen: list[float],
    raisable: bool,  # noqa: FBT001 (a draw)
) -> None:
    needs = {name: sketch(*seen) for name in ("fuel", "memory", "wall")}
    small = replace(CEILINGS, fuel=50_000)
    limits = replace(DEFAULT_LIMITS, fuel=20_000)
    found = fitted(needs, LEARNED_LIMITS, limits, small, raisable=raisable)
    for name in LEARNED_LIMITS:
        limit = getattr(found.limits, name)
        assert 0 < limit <= getattr(small, name)
        assert limit >= min(FLOORS[name], getattr(small, name), 20_000)
