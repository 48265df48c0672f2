"""What a retry decision is made from, and what it says."""

from dataclasses import dataclass
from typing import Protocol

from stockade.core.modules import RetrySettings
from stockade.core.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class FailureContext:
    """One failed attempt, as the worker that saw it knows it. Times are Unix milliseconds."""

    attempt: int
    outcome: Outcome
    limit: str | None
    retry_hint: bool
    deterministic: bool
    now_ms: int
    deadline_ms: int | None
    settings: RetrySettings


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """Whether and when to try again; `reason` is one sentence for the user."""

    retry: bool
    delay_ms: int
    reason: str


class RetryPolicy(Protocol):
    """Decides about failed attempts."""

    def decide(self, context: FailureContext) -> RetryDecision:
        """Whether this failure is tried again."""
