"""Contexts and observations that the retry tests begin from."""

from collections.abc import Iterable
from dataclasses import replace

from stockade.core.limits import CEILINGS, DEFAULT_LIMITS
from stockade.core.modules import RetrySettings
from stockade.core.outcomes import Outcome, Usage
from stockade.retry.learned import LearnedRetryPolicy
from stockade.retry.types import AttemptObservation, FailureContext, Source

SOURCE = Source("acme", "f", 1)
SETTINGS = RetrySettings(policy="learned", max_attempts=5, base_delay_ms=200, max_delay_ms=30_000)
NOW_MS = 1_700_000_000_000
FAILED = FailureContext(
    attempt=1,
    outcome=Outcome.REJECTED,
    limit=None,
    retry_hint=True,
    deterministic=False,
    now_ms=NOW_MS,
    deadline_ms=None,
    settings=SETTINGS,
    source=SOURCE,
    cause="busy",
    limits=DEFAULT_LIMITS,
    ceilings=CEILINGS,
)
COMPLETED = AttemptObservation(SOURCE, Outcome.COMPLETED, NOW_MS, Usage(1_000_000, 2**21, 50))
REJECTED = replace(COMPLETED, outcome=Outcome.REJECTED)
BASIS = "rej..busy.001"


def taught(
    policy: LearnedRetryPolicy, ends: Iterable[bool], basis: str = BASIS, source: Source = SOURCE
) -> None:
    """Retries of one basis that ended so, a second after each other."""
    for i, good in enumerate(ends):
        end = replace(COMPLETED if good else REJECTED, source=source)
        policy.observe(replace(end, now_ms=NOW_MS - 100_000 + 1000 * i, attempt=2, basis=basis))
