"""What retries cost and save, and how good the estimates behind them are.

A decision is held against the one that the other policy made of the same failure, in its shadow.
What a policy that stops saves is an estimate: the attempts that the other one would have made until
one succeeds or all are used, by the learned probability, each at the cost of this one.
"""

from typing import TYPE_CHECKING

from stockade.core.outcomes import Attempt, Outcome, ShadowDecision

if TYPE_CHECKING:
    from prometheus_client import Counter

    from sandbox_worker.metric_families import Families
    from stockade.core.invocations import Claim, Completion

BINS = 10


class RetryMetrics:
    """Counts decisions, estimates and savings.

    Args:
        families: Where they are told.
    """

    def __init__(self, families: "Families") -> None:
        self._families = families
        self._decisions: dict[tuple[bool, str, str], Counter] = {}

    def ended(self, claim: "Claim", completion: "Completion") -> None:
        """Notes an attempt's recorded end."""
        attempt, carry = completion.attempt, claim.carry
        if carry.success is not None:
            self._estimated(carry.success, succeeded=attempt.outcome is Outcome.COMPLETED)
        if attempt.outcome is Outcome.COMPLETED:
            return
        retries = completion.retry_at_ms is not None
        self._decided(attempt, retries=retries)
        if attempt.shadow is not None:
            self._compare(claim, attempt, attempt.shadow, retries=retries)

    def _decided(self, attempt: Attempt, *, retries: bool) -> None:
        place = retries, attempt.code, attempt.policy
        counter = self._decisions.get(place)
        if counter is None:
            decision = "retry" if retries else "stop"
            family = self._families.retry_decisions
            counter = self._decisions[place] = family.labels(decision, *place[1:])
        counter.inc()

    def _estimated(self, success: float, *, succeeded: bool) -> None:
        families, place = self._families, bin_of(success)
        families.retry_estimates.labels(place).inc()
        families.retry_expected.labels(place).inc(max(0.0, success))
        if succeeded:
            families.retry_successes.labels(place).inc()

    def _compare(
        self, claim: "Claim", attempt: Attempt, shadow: ShadowDecision, *, retries: bool
    ) -> None:
        stopped_before = claim.carry.shadow_stopped
        families, policy = self._families, attempt.policy
        if policy == "learned":
            if retries and (stopped_before or not shadow.retry):
                families.retry_added.labels(policy).inc()
            saves, success = not retries and shadow.retry, attempt.success
        else:
            saves, success = retries and not shadow.retry, shadow.success
        if saves and not stopped_before:
            most = claim.invocation.content.retry.max_attempts - claim.attempt
            attempts = expected_attempts(success or 0.0, most)
            families.retry_saved.labels(policy).inc(attempts)
            families.retry_fuel_saved.labels(policy).inc(attempts * attempt.usage.fuel)


def bin_of(success: float) -> str:
    """Which tenth a probability is in, as a label: `0.3-0.4`."""
    place = min(BINS - 1, max(0, int(success * BINS)))
    return f"{place / BINS:.1f}-{(place + 1) / BINS:.1f}"


def expected_attempts(success: float, most: int) -> float:
    """How many attempts are made until one succeeds, at most so many."""
    return sum((1 - success) ** n for n in range(max(0, most)))
