"""What retries cost and save, as the worker's metrics tell it."""

from dataclasses import replace

import pytest

from sandbox_worker.metrics import WorkerMetrics
from sandbox_worker.retry_metrics import bin_of, expected_attempts
from stockade.core.invocations import NOTHING_CARRIED, Claim, Completion, Invocation, RetryCarry
from stockade.core.modules import Abi, FunctionContent, RetrySettings
from stockade.core.outcomes import Attempt, Outcome, ShadowDecision, Usage

STOP = ShadowDecision("learned", retry=False, delay_ms=0, code="chance", reason="no", success=0.2)
RETRY = replace(STOP, policy="fixed", retry=True, code="backoff", success=None)
FAILED = Attempt(
    2, Outcome.TRAPPED, "told", Usage(fuel=1000), policy="learned", success=0.0, code="chance"
)


def told(
    attempt: Attempt, *, retries: bool, carry: RetryCarry = NOTHING_CARRIED, policy: str = "learned"
) -> str:
    metrics = WorkerMetrics()
    retry = RetrySettings(policy=policy, max_attempts=5)
    content = FunctionContent("sha256:a", Abi.STOCKADE_V1, deterministic=False, retry=retry)
    claim = Claim(Invocation("id", "acme", "f", 1, content, 0, b""), 2, "1-0", carry=carry)
    attempt = replace(attempt, policy=policy)
    metrics.ran(claim, Completion(attempt, 1000, 2000 if retries else None))
    lines = metrics.text()[0].decode().splitlines()
    return "\n".join(line for line in lines if line.startswith("stockade_retry"))


def test_a_decision_is_counted_by_its_reasons_class_and_policy() -> None:
    shown = told(FAILED, retries=True)
    decided = 'stockade_retry_decisions_total{decision="retry",policy="learned",reason="chance"} 1'
    assert decided in shown
    assert "saved_total" not in shown
    assert "retry_decisions_total" not in told(
        replace(FAILED, outcome=Outcome.COMPLETED), retries=False
    )


def test_what_a_stop_saves_is_what_the_fixed_policy_would_have_tried() -> None:
    shown = told(replace(FAILED, shadow=RETRY), retries=False)
    assert 'stockade_retry_attempts_saved_total{policy="learned"} 3.0' in shown
    assert 'stockade_retry_fuel_saved_total{policy="learned"} 3000.0' in shown


def test_where_the_fixed_policy_rules_what_would_be_saved_is_told_once_a_chain() -> None:
    attempt = replace(FAILED, shadow=STOP)
    shown = told(attempt, retries=True, policy="fixed")
    saved = 1 + 0.8 + 0.8**2
    [line] = [one for one in shown.splitlines() if one.startswith("stockade_retry_attempts_saved")]
    assert float(line.rpartition(" ")[2]) == pytest.approx(saved)
    stopped = RetryCarry(shadow_stopped=True)
    assert "saved_total" not in told(attempt, retries=True, policy="fixed", carry=stopped)


def test_an_attempt_that_only_the_learned_policy_makes_is_counted_as_added() -> None:
    shown = told(replace(FAILED, shadow=replace(STOP, policy="fixed")), retries=True)
    assert 'stockade_retry_attempts_added_total{policy="learned"} 1.0' in shown


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.TRAPPED])
def test_an_estimate_is_held_against_what_happened(outcome: Outcome) -> None:
    shown = told(replace(FAILED, outcome=outcome), retries=False, carry=RetryCarry(success=0.37))
    assert 'stockade_retry_estimates_total{predicted="0.3-0.4"} 1.0' in shown
    assert 'stockade_retry_expected_successes_total{predicted="0.3-0.4"} 0.37' in shown
    observed = 'stockade_retry_observed_successes_total{predicted="0.3-0.4"} 1.0'
    assert (observed in shown) is (outcome is Outcome.COMPLETED)


def test_bins_and_expectations_have_bounds() -> None:
    assert [bin_of(p) for p in (-1.0, 0.0, 0.999, 1.0, 5.0)] == [
        "0.0-0.1",
        "0.0-0.1",
        "0.9-1.0",
        "0.9-1.0",
        "0.9-1.0",
    ]
    assert expected_attempts(0.0, 4) == 4
    assert expected_attempts(1.0, 4) == 1
    assert expected_attempts(0.5, 0) == expected_attempts(0.5, -3) == 0
