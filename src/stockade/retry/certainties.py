"""What needs no learning: ends that are final, and failures that are sure to repeat."""

from stockade.core.outcomes import Outcome, ReasonCode
from stockade.retry.types import FailureContext, RetryDecision

RAISABLE_LIMITS = {"fuel": "fuel", "memory": "memory_bytes", "wall": "wall_ms"}
"""Limits that more of may help with, and their fields."""

_REPEATING_LIMITS = frozenset({"fuel", "memory", "table", "output", "host_calls"})
_INFRASTRUCTURE = frozenset({Outcome.LOST, Outcome.CRASHED})
_FINAL = frozenset({Outcome.COMPLETED, Outcome.CANCELLED, Outcome.EXPIRED})


def final(context: FailureContext) -> RetryDecision | None:
    """That no further attempt may follow, whatever the limits; None when one may."""
    if context.outcome in _FINAL:
        return stop(ReasonCode.FINAL, "This end is final.")
    if context.settings.policy == "never":
        return stop(ReasonCode.NEVER, "The function's retry policy is 'never'.")
    if context.attempt >= context.settings.max_attempts:
        most = context.settings.max_attempts
        return stop(ReasonCode.ATTEMPTS, f"All {most} attempts are used.")
    if context.outcome is Outcome.REJECTED and not context.retry_hint:
        return stop(ReasonCode.REFUSED, "The guest said that a retry cannot help.")
    return None


def repeating(context: FailureContext) -> RetryDecision | None:
    """That another attempt with the same limits is sure to fail; None when it is not."""
    if context.outcome in _INFRASTRUCTURE or context.outcome is Outcome.REJECTED:
        return None
    if context.deterministic:
        reason = "The module is deterministic: the same input fails again."
        return stop(ReasonCode.CERTAIN, reason)
    if context.limit in _REPEATING_LIMITS:
        reason = f"The same {context.limit} limit would be passed again."
        return stop(ReasonCode.CERTAIN, reason)
    return None


def late(context: FailureContext, delay_ms: int) -> RetryDecision | None:
    """That the deadline is over before another attempt could begin; None when it is not."""
    if context.deadline_ms is None or context.now_ms + delay_ms < context.deadline_ms:
        return None
    reason = f"The deadline would pass before another attempt in {delay_ms} ms."
    return stop(ReasonCode.DEADLINE, reason)


def stop(code: ReasonCode, reason: str) -> RetryDecision:
    """No further attempt."""
    return RetryDecision(retry=False, delay_ms=0, code=code, reason=reason)
