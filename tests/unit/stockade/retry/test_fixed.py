"""The fixed policy: certainties, counts, backoff, the deadline."""

from dataclasses import replace

import pytest

from stockade.core.modules import RetrySettings
from stockade.core.outcomes import Outcome
from stockade.retry.fixed import FixedRetryPolicy
from stockade.retry.types import FailureContext

CONTEXT = FailureContext(
    attempt=1,
    outcome=Outcome.CRASHED,
    limit=None,
    retry_hint=False,
    deterministic=False,
    now_ms=1000,
    deadline_ms=None,
    settings=RetrySettings(max_attempts=3, base_delay_ms=100, max_delay_ms=300),
)
HALF = FixedRetryPolicy(lambda: 0.5)


@pytest.mark.parametrize(
    ("change", "retry"),
    [
        ({}, True),
        ({"outcome": Outcome.LOST}, True),
        ({"outcome": Outcome.REJECTED, "retry_hint": True}, True),
        ({"outcome": Outcome.REJECTED, "retry_hint": False}, False),
        ({"outcome": Outcome.TRAPPED}, True),
        ({"outcome": Outcome.TRAPPED, "deterministic": True}, False),
        ({"outcome": Outcome.LIMIT_EXCEEDED, "limit": "wall"}, True),
        ({"outcome": Outcome.LIMIT_EXCEEDED, "limit": "wall", "deterministic": True}, False),
        ({"outcome": Outcome.LIMIT_EXCEEDED, "limit": "fuel"}, False),
        ({"outcome": Outcome.LIMIT_EXCEEDED, "limit": "memory"}, False),
        ({"outcome": Outcome.COMPLETED}, False),
        ({"outcome": Outcome.CANCELLED}, False),
        ({"outcome": Outcome.EXPIRED}, False),
        ({"settings": RetrySettings(policy="never")}, False),
        ({"attempt": 3}, False),
        ({"deadline_ms": 1050}, False),
        ({"deadline_ms": 1051}, True),
    ],
)
def test_what_is_tried_again(change: dict[str, object], *, retry: bool) -> None:
    decision = HALF.decide(replace(CONTEXT, **change))
    assert decision.retry is retry
    assert decision.reason.endswith(".")


@pytest.mark.parametrize(("attempt", "delay_ms"), [(1, 50), (2, 100), (3, 150), (9, 150)])
def test_delays_grow_to_their_bound(attempt: int, delay_ms: int) -> None:
    settings = replace(CONTEXT.settings, max_attempts=10)
    decision = HALF.decide(replace(CONTEXT, attempt=attempt, settings=settings))
    assert decision.delay_ms == delay_ms


def test_what_was_lost_is_tried_again_at_once() -> None:
    assert HALF.decide(replace(CONTEXT, outcome=Outcome.LOST)).delay_ms == 0
