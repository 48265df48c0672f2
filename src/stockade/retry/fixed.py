"""The fixed retry policy: certainties first, then attempts with backoff and full jitter."""

from collections.abc import Callable

from stockade.core.outcomes import Outcome, ReasonCode
from stockade.retry.certainties import final, late, repeating
from stockade.retry.types import AttemptObservation, FailureContext, RetryDecision


class FixedRetryPolicy:
    """Retries what may succeed, as often as the function's settings say.

    Args:
        uniform: Draws from [0, 1); full jitter spreads the retries of many over the whole delay.
    """

    def __init__(self, uniform: Callable[[], float]) -> None:
        self._uniform = uniform

    def consider(self, context: FailureContext) -> RetryDecision:
        """Whether this failure is tried again, and after what delay."""
        if stopped := final(context) or repeating(context):
            return stopped
        delay_ms = self._delay_ms(context)
        if stopped := late(context, delay_ms):
            return stopped
        lost = context.outcome is Outcome.LOST
        return RetryDecision(
            retry=True,
            delay_ms=delay_ms,
            code=ReasonCode.LOST if lost else ReasonCode.BACKOFF,
            reason=f"Attempt {context.attempt + 1} of at most {context.settings.max_attempts}"
            f" follows after {delay_ms} ms.",
        )

    def decide(self, context: FailureContext) -> RetryDecision:
        """The same: nothing is taken for it."""
        return self.consider(context)

    def observe(self, observation: AttemptObservation) -> None:
        """Learns nothing."""

    def _delay_ms(self, context: FailureContext) -> int:
        if context.outcome is Outcome.LOST:
            return 0
        settings = context.settings
        longest = min(settings.max_delay_ms, settings.base_delay_ms * 2 ** (context.attempt - 1))
        return int(self._uniform() * longest)
