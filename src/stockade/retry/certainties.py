"""What needs no learning: ends that are final, and failures that are sure to repeat."""

from stockade.core.outcomes import Outcome
from stockade.retry.types import FailureContext

RAISABLE_LIMITS = {"fuel": "fuel", "memory": "memory_bytes", "wall": "wall_ms"}
"""Limits that more of may help with, and their fields."""

_REPEATING_LIMITS = frozenset({"fuel", "memory", "table", "output", "host_calls"})
_INFRASTRUCTURE = frozenset({Outcome.LOST, Outcome.CRASHED})
_FINAL = frozenset({Outcome.COMPLETED, Outcome.CANCELLED, Outcome.EXPIRED})


def why_final(context: FailureContext) -> str | None:
    """Why no further attempt may follow, whatever the limits; None when one may."""
    if context.outcome in _FINAL:
        return "This end is final."
    if context.settings.policy == "never":
        return "The function's retry policy is 'never'."
    if context.attempt >= context.settings.max_attempts:
        return f"All {context.settings.max_attempts} attempts are used."
    if context.outcome is Outcome.REJECTED and not context.retry_hint:
        return "The guest said that a retry cannot help."
    return None


def why_repeats(context: FailureContext) -> str | None:
    """Why another attempt with the same limits is sure to fail; None when it is not."""
    if context.outcome in _INFRASTRUCTURE or context.outcome is Outcome.REJECTED:
        return None
    if context.deterministic:
        return "The module is deterministic: the same input fails again."
    if context.limit in _REPEATING_LIMITS:
        return f"The same {context.limit} limit would be passed again."
    return None
