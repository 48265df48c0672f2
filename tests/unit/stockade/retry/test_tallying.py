"""What an attempt's end adds to its version's tally, and what the tally says."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockade.core.invocations import NOTHING_CARRIED, Claim, Completion, Invocation, RetryCarry
from stockade.core.limits import DEFAULT_LIMITS
from stockade.core.modules import Abi, FunctionContent, RetrySettings
from stockade.core.outcomes import Attempt, Outcome, ReasonCode, ShadowDecision, Usage
from stockade.core.retry_tallies import MOST_NAMES
from stockade.retry.report import report_of
from stockade.retry.tallying import tallied as what_adds

CONTENT = FunctionContent(
    "sha256:" + "a" * 64, Abi.STOCKADE_V1, deterministic=False, retry=RetrySettings(max_attempts=5)
)
STOPS = ShadowDecision("learned", retry=False, delay_ms=0, code="chance", reason="", success=0.02)
RETRIES = replace(STOPS, retry=True, delay_ms=70, code="limit_raised", success=0.8)


def claim(attempt: int = 1, carry: RetryCarry = NOTHING_CARRIED) -> Claim:
    return Claim(Invocation("id", "acme", "f", 1, CONTENT, 0, b""), attempt, "1-0", carry=carry)


def ended(
    outcome: Outcome,
    shadow: ShadowDecision | None = None,
    *,
    retry: bool = False,
    carry: RetryCarry = NOTHING_CARRIED,
    limit: str | None = None,
    policy: str = "fixed",
    success: float | None = None,
) -> Completion:
    attempt = Attempt(
        1, outcome, "", Usage(fuel=100), limit, policy=policy, success=success,
        code=ReasonCode.BACKOFF, shadow=shadow,
    )  # fmt: skip
    return Completion(attempt, 1000, retry_at_ms=1200 if retry else None, carry=carry)


def tallied(of: Claim, completion: Completion) -> Counter[str]:
    return Counter(what_adds(of, completion))


def test_a_run_that_completes_at_once_counts_as_such() -> None:
    assert tallied(claim(), ended(Outcome.COMPLETED)) == {"runs": 1, "completed": 1}
    late = ended(Outcome.LIMIT_EXCEEDED, limit="fuel")
    assert tallied(claim(), late) == {"runs": 1, "limit.fuel": 1}


def test_behind_the_shadows_stop_all_that_happens_is_what_it_saves_and_loses() -> None:
    first = tallied(claim(), ended(Outcome.TRAPPED, STOPS, retry=True))
    assert first["shadow.stops"] == first["decisions"] == first["would.chance"] == 1
    assert "saved.attempts" not in first
    behind = RetryCarry(shadow_stopped=True)
    second = tallied(claim(2, behind), ended(Outcome.TRAPPED, RETRIES, retry=True))
    third = tallied(claim(3, behind), ended(Outcome.COMPLETED))
    effect = report_of(first + second + third).effect
    assert (effect.saved_attempts, effect.saved_fuel, effect.lost_successes) == (2, 200, 1)
    given_up = tallied(claim(3, behind), ended(Outcome.TRAPPED, RETRIES))
    assert "added.attempts" not in given_up


def test_where_the_learned_shadow_goes_on_one_attempt_is_reckoned_by_its_estimate() -> None:
    limits = replace(DEFAULT_LIMITS, fuel=3 * DEFAULT_LIMITS.fuel)
    late = ended(Outcome.LIMIT_EXCEEDED, replace(RETRIES, limits=limits), limit="fuel")
    effect = report_of(tallied(claim(), late)).effect
    assert (effect.added_attempts, effect.won_successes) == (1.0, 0.8)
    assert effect.added_fuel == limits.fuel


@pytest.mark.parametrize(
    ("success", "attempts", "won", "unknown"),
    [(0.5, 1.875, 0.938, 0), (0.0, 4.0, 0.0, 0), (None, 4.0, 0.0, 1), (1.0, 1.0, 1.0, 0)],
)
def test_where_the_fixed_shadow_goes_on_all_that_is_left_is_reckoned(
    success: float | None, attempts: float, won: float, unknown: int
) -> None:
    fixed = replace(RETRIES, policy="fixed", success=None)
    end = ended(Outcome.TRAPPED, fixed, policy="learned", success=success)
    effect = report_of(tallied(claim(), end)).effect
    assert (effect.added_attempts, effect.won_successes) == (attempts, won)
    assert (effect.added_fuel, effect.unestimated) == (round(100 * attempts), unknown)


def test_where_both_go_on_their_delays_and_limits_are_compared() -> None:
    limits = replace(DEFAULT_LIMITS, wall_ms=1)
    raised = ended(Outcome.TRAPPED, RETRIES, retry=True, carry=RetryCarry(limits=limits))
    kept = RetryCarry(limits=limits)
    tally = tallied(claim(), raised)
    tally += tallied(claim(2, kept), replace(raised, carry=kept))
    report = report_of(tally)
    assert (report.both_retry, report.other_limits) == (2, 1)
    assert (report.mean_delay_ms, report.shadow_mean_delay_ms) == (200.0, 70.0)
    assert report.reasons == {"backoff": 2}
    assert report.shadow_reasons == {"limit_raised": 2}


def test_both_may_stop() -> None:
    assert report_of(tallied(claim(), ended(Outcome.TRAPPED, STOPS))).both_stop == 1


def test_estimates_are_held_against_what_came_but_not_against_a_cancellation() -> None:
    tally: Counter[str] = Counter()
    for i in range(10):
        carry = RetryCarry(success=0.75)
        tally += tallied(claim(2, carry), ended(Outcome.COMPLETED if i < 6 else Outcome.TRAPPED))
    tally += tallied(claim(2, RetryCarry(success=1.0)), ended(Outcome.COMPLETED))
    tally += tallied(claim(2, RetryCarry(success=0.75)), ended(Outcome.CANCELLED))
    found = report_of(tally).calibration
    assert [(one.least, one.trials, one.observed) for one in found.bins] == [
        (0.7, 10, 0.6),
        (0.9, 1, 1.0),
    ]
    assert found.error == pytest.approx(10 / 11 * 0.15)


def test_of_nothing_nothing_is_said() -> None:
    report = report_of({})
    assert (report.attempts, report.mean_delay_ms, report.calibration.error) == (0, None, None)


@given(
    st.sampled_from(Outcome), st.sampled_from(ReasonCode), st.sampled_from(ReasonCode),
    st.booleans(), st.booleans(), st.one_of(st.none(), st.floats(0, 1)),
)  # fmt: skip
def test_decisions_part_whole_and_all_numbers_are_counts(
    outcome: Outcome,
    ruled: str,
    would: str,
    retry: bool,  # noqa: FBT001 (a draw)
    goes_on: bool,  # noqa: FBT001 (a draw)
    success: float | None,
) -> None:
    shadow = replace(RETRIES, retry=goes_on, code=would, success=success)
    completion = ended(outcome, shadow, retry=retry, limit="wall")
    completion = replace(completion, attempt=replace(completion.attempt, code=ruled))
    tally = tallied(claim(2, RetryCarry(success=success)), completion)
    assert all(isinstance(value, int) and value > 0 for value in tally.values())
    report = report_of(tally)
    parts = report.both_retry + report.both_stop + report.shadow_stops + report.shadow_retries
    assert parts == report.decisions == 1


def test_a_tally_has_room_for_all_names_there_are() -> None:
    names = {*(f"ruled.{code}" for code in ReasonCode), *(f"would.{code}" for code in ReasonCode)}
    assert len(names) + 30 + 8 + 20 <= MOST_NAMES
