"""The fixed retry policy: certainties first, then attempts with backoff and full jitter."""

from collections.abc import Callable

from stockade.core.outcomes import Outcome
from stockade.retry.certainties import why_final, why_repeats
from stockade.retry.types import AttemptObservation, FailureContext, RetryDecision


class FixedRetryPolicy:
    """Retries what may succeed, as often as the function's settings say.

    Args:
        uniform: Draws from [0, 1); full jitter spreads the retries of many over the whole delay.
    """

    def __init__(self, uniform: Callable[[], float]) -> None:
        self._uniform = uniform

    def decide(self, context: FailureContext) -> RetryDecision:
        """Whether this failure is tried again, and after what delay."""
        if reason := why_final(context) or why_repeats(context):
            return RetryDecision(retry=False, delay_ms=0, reason=reason)
        delay_ms = self._delay_ms(context)
        if context.deadline_ms is not None and context.now_ms + delay_ms >= context.deadline_ms:
            return RetryDecision(
                retry=False, delay_ms=0, reason="The deadline would pass before another attempt."
            )
        return RetryDecision(
            retry=True,
            delay_ms=delay_ms,
            reason=f"Attempt {context.attempt + 1} of at most {context.settings.max_attempts}"
            f" follows after {delay_ms} ms.",
        )

    def observe(self, observation: AttemptObservation) -> None:
        """Learns nothing."""

    def _delay_ms(self, context: FailureContext) -> int:
        if context.outcome is Outcome.LOST:
            return 0
        settings = context.settings
        longest = min(settings.max_delay_ms, settings.base_delay_ms * 2 ** (context.attempt - 1))
        return int(self._uniform() * longest)
