"""Policies to be judged against: never, fixed, a token budget, a circuit breaker."""

import random
from dataclasses import replace

from stockade.core.outcomes import Outcome, ReasonCode
from stockade.retry.fixed import FixedRetryPolicy
from stockade.retry.types import AttemptObservation, FailureContext, RetryDecision

_NO = RetryDecision(retry=False, delay_ms=0, code=ReasonCode.FINAL, reason="No.")


class Never:
    """Nothing is tried again."""

    def decide(self, context: FailureContext) -> RetryDecision:
        """No."""
        del context
        return _NO

    def observe(self, observation: AttemptObservation) -> None:
        """Learns nothing."""


class Fixed:
    """So many attempts with exponential backoff and full jitter, bugs of the fixed kind left."""

    def __init__(self, rng: random.Random, attempts: int) -> None:
        self._fixed, self._attempts = FixedRetryPolicy(rng.random), attempts

    def decide(self, context: FailureContext) -> RetryDecision:
        """As the platform's fixed policy."""
        settings = replace(context.settings, policy="fixed", max_attempts=self._attempts)
        return self._fixed.decide(replace(context, settings=settings))

    def observe(self, observation: AttemptObservation) -> None:
        """Learns nothing."""


class Budget(Fixed):
    """Fixed, but retries take tokens that successes earn: a fifth each, as Finagle's budget."""

    def __init__(self, rng: random.Random, attempts: int = 5) -> None:
        super().__init__(rng, attempts)
        self._tokens = 10.0

    def decide(self, context: FailureContext) -> RetryDecision:
        """As fixed while there are tokens."""
        decision = super().decide(context)
        if not decision.retry or self._tokens < 1:
            return _NO
        self._tokens -= 1
        return decision

    def observe(self, observation: AttemptObservation) -> None:
        """Earns."""
        if observation.outcome is Outcome.COMPLETED:
            self._tokens = min(100.0, self._tokens + 0.2)


class Breaker(Fixed):
    """Fixed, but none for a while after ten attempts of a function failed in a row."""

    def __init__(self, rng: random.Random, attempts: int = 5) -> None:
        super().__init__(rng, attempts)
        self._streaks: dict[tuple[str, str], tuple[int, int]] = {}

    def decide(self, context: FailureContext) -> RetryDecision:
        """As fixed while it is closed."""
        place = context.source.tenant, context.source.function
        streak, since_ms = self._streaks.get(place, (0, 0))
        if streak >= 10 and context.now_ms - since_ms < 5000:
            return _NO
        return super().decide(context)

    def observe(self, observation: AttemptObservation) -> None:
        """Counts failures in a row."""
        place = observation.source.tenant, observation.source.function
        if observation.outcome is Outcome.COMPLETED:
            self._streaks.pop(place, None)
        else:
            streak, since_ms = self._streaks.get(place, (0, observation.now_ms))
            begin = observation.now_ms if streak == 9 else since_ms
            self._streaks[place] = streak + 1, begin
