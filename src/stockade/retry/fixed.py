"""The fixed retry policy: certainties first, then attempts with backoff and full jitter."""

from collections.abc import Callable

from stockade.core.outcomes import Outcome
from stockade.retry.types import FailureContext, RetryDecision

_REPEATING_LIMITS = frozenset({"fuel", "memory", "table", "output", "host_calls"})
_INFRASTRUCTURE = frozenset({Outcome.LOST, Outcome.CRASHED})
_FINAL = frozenset({Outcome.COMPLETED, Outcome.CANCELLED, Outcome.EXPIRED})


class FixedRetryPolicy:
    """Retries what may succeed, as often as the function's settings say.

    Args:
        uniform: Draws from [0, 1); full jitter spreads the retries of many over the whole delay.
    """

    def __init__(self, uniform: Callable[[], float]) -> None:
        self._uniform = uniform

    def decide(self, context: FailureContext) -> RetryDecision:
        """Whether this failure is tried again, and after what delay."""
        if reason := _why_not(context):
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

    def _delay_ms(self, context: FailureContext) -> int:
        if context.outcome is Outcome.LOST:
            return 0
        settings = context.settings
        longest = min(settings.max_delay_ms, settings.base_delay_ms * 2 ** (context.attempt - 1))
        return int(self._uniform() * longest)


def _why_not(context: FailureContext) -> str | None:
    if context.outcome in _FINAL:
        return "This end is final."
    if context.settings.policy == "never":
        return "The function's retry policy is 'never'."
    if context.attempt >= context.settings.max_attempts:
        return f"All {context.settings.max_attempts} attempts are used."
    if context.outcome in _INFRASTRUCTURE:
        return None
    return _why_guest_failure_repeats(context)


def _why_guest_failure_repeats(context: FailureContext) -> str | None:
    if context.outcome is Outcome.REJECTED:
        return None if context.retry_hint else "The guest said that a retry cannot help."
    if context.deterministic:
        return "The module is deterministic: the same input fails again."
    if context.limit in _REPEATING_LIMITS:
        return f"The same {context.limit} limit would be passed again."
    return None
