"""What limits a version should have: said from enough runs on, with the evidence, within bounds."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockade.core.limits import CEILINGS, DEFAULT_LIMITS
from stockade.retry.advice import Evidence, LimitAdvice, advise
from stockade.retry.fitting import fitted
from tests.unit.stockade.retry.test_fitting import sketch

NOTHING = Evidence({}, {}, DEFAULT_LIMITS, CEILINGS, (), raisable=True)


def of_fuel(evidence: Evidence) -> LimitAdvice:
    return advise(evidence)[0]


def test_with_too_few_runs_there_is_nothing_to_say() -> None:
    found = of_fuel(replace(NOTHING, needs={"fuel": sketch(*[7e9] * 29)}))
    assert (found.limit, found.runs, found.suggested) == ("fuel", 29, None)
    assert found.sentence == "29 of the 30 runs that it takes were seen: nothing to say yet."
    empty = of_fuel(NOTHING)
    assert (empty.p50, empty.p99, empty.most, empty.failures) == (None, None, None, 0)


def test_a_limit_that_runs_pass_is_to_be_raised_with_the_evidence() -> None:
    needs = {"fuel": sketch(*[800_000_000] * 90, *[2_000_000_000] * 10)}
    found = of_fuel(replace(NOTHING, needs=needs, tally={"limit.fuel": 37}))
    assert found.suggested is not None
    assert 2_500_000_000 <= found.suggested <= 2_800_000_000
    assert len(str(found.suggested).rstrip("0")) <= 2
    assert found.sentence.startswith(f"Raise it to {found.suggested}: 37 runs passed 1000000000")
    assert found.p50 is not None
    assert 800_000_000 <= found.p50 <= 880_000_000


def test_a_limit_far_above_all_needs_stops_a_run_away_late() -> None:
    found = of_fuel(replace(NOTHING, needs={"fuel": sketch(*[1_000_000] * 100)}))
    assert found.suggested is not None
    assert 1_250_000 <= found.suggested <= 1_500_000
    assert found.sentence.startswith(f"Lower it to {found.suggested}: no run needed more than")


def test_a_limit_that_fits_is_left() -> None:
    found = of_fuel(replace(NOTHING, needs={"fuel": sketch(*[900_000_000] * 100)}))
    assert found.sentence.startswith("It fits: 99 of 100 runs need at most")


def test_needs_beyond_the_ceiling_are_said_to_be() -> None:
    ceilings = replace(CEILINGS, fuel=2_000_000_000)
    evidence = replace(NOTHING, needs={"fuel": sketch(*[5e9] * 100)}, ceilings=ceilings)
    found = of_fuel(evidence)
    assert found.suggested == 2_000_000_000
    assert "more than the ceiling of 2000000000" in found.sentence


@pytest.mark.parametrize("raisable", [True, False])
def test_what_follows_by_itself_says_so_and_to_where(raisable: bool) -> None:  # noqa: FBT001
    needs = {"fuel": sketch(*[5e9] * 100)}
    evidence = replace(NOTHING, needs=needs, automatic=("fuel",), raisable=raisable)
    found = of_fuel(evidence)
    assert found.automatic
    assert found.suggested is not None
    limits = fitted(needs, ("fuel",), DEFAULT_LIMITS, CEILINGS, raisable=raisable).limits
    assert limits.fuel <= found.suggested <= 1.1 * limits.fuel
    assert found.sentence.startswith(f"It follows by itself: {found.suggested}")


@given(st.lists(st.floats(1, 1e18), max_size=120), st.integers(0, 10**6))
def test_whatever_was_seen_suggestions_keep_to_the_ceilings(seen: list[float], passed: int) -> None:
    needs = {name: sketch(*seen) for name in ("fuel", "memory", "wall")}
    for found in advise(replace(NOTHING, needs=needs, tally={"limit.wall": passed})):
        assert found.sentence
        if found.suggested is not None:
            assert 0 < found.suggested <= found.ceiling
