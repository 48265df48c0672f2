"""What follows a failed attempt, and what every attempt's end teaches.

The function's settings say which policy decides. Every end is learned from, whoever decides.
"""

from dataclasses import dataclass

from stockade.core.invocations import NOTHING_CARRIED, Claim, RetryCarry
from stockade.core.limits import Limits
from stockade.core.outcomes import Attempt, Outcome, ReasonCode, RunResult
from stockade.retry.certainties import stop
from stockade.retry.types import (
    AttemptObservation,
    ConsideringPolicy,
    FailureContext,
    RetryDecision,
    Source,
)

_COMPLETED = stop(ReasonCode.COMPLETED, "The run completed.")
_TRAPPED = "The guest trapped: "
_LEARNED = "learned"


@dataclass(frozen=True, slots=True)
class Retries:
    """The two policies of a worker."""

    fixed: ConsideringPolicy
    learned: ConsideringPolicy

    def limits(self, claim: Claim) -> Limits:
        """What this attempt may use."""
        return claim.carry.limits or claim.invocation.content.limits

    def decide(self, claim: Claim, result: RunResult, now_ms: int) -> RetryDecision:
        """Whether the attempt is followed by another, when and with which limits."""
        if result.outcome is Outcome.COMPLETED:
            return _COMPLETED
        return self._ruling(claim).decide(self._context(claim, result, now_ms))

    def attempt(self, claim: Claim, result: RunResult, decision: RetryDecision) -> Attempt:
        """How the attempt stands in the record."""
        return Attempt(
            number=claim.attempt,
            outcome=result.outcome,
            reason=decision.reason,
            usage=result.usage,
            limit=result.limit,
            detail=result.detail,
            policy=claim.invocation.content.retry.policy,
            success=decision.success,
            limits=claim.carry.limits,
        )

    def carry(self, claim: Claim, result: RunResult, decision: RetryDecision) -> RetryCarry:
        """What goes to the next attempt."""
        if not decision.retry:
            return NOTHING_CARRIED
        limits = decision.limits or claim.carry.limits
        return RetryCarry(limits, decision.basis, _failure(result))

    def observe(self, claim: Claim, result: RunResult, now_ms: int) -> None:
        """Learns from the attempt's end, once it is recorded."""
        observation = AttemptObservation(
            source=_source(claim),
            outcome=result.outcome,
            now_ms=now_ms,
            usage=result.usage,
            limits=self.limits(claim),
            limit=result.limit,
            attempt=claim.attempt,
            basis=claim.carry.basis,
        )
        self.learned.observe(observation)

    def _ruling(self, claim: Claim) -> ConsideringPolicy:
        asked = claim.invocation.content.retry.policy
        return self.learned if asked == _LEARNED else self.fixed

    def _context(self, claim: Claim, result: RunResult, now_ms: int) -> FailureContext:
        invocation = claim.invocation
        content = invocation.content
        return FailureContext(
            attempt=claim.attempt,
            outcome=result.outcome,
            limit=result.limit,
            retry_hint=result.retry_hint,
            deterministic=content.deterministic,
            now_ms=now_ms,
            deadline_ms=invocation.deadline_ms,
            settings=content.retry,
            source=_source(claim),
            cause=_cause(result),
            repeats=claim.carry.failure == _failure(result),
            usage=result.usage,
            limits=self.limits(claim),
            ceilings=invocation.ceilings or content.limits,
        )


def _source(claim: Claim) -> Source:
    invocation = claim.invocation
    return Source(invocation.tenant, invocation.function, invocation.version)


def _cause(result: RunResult) -> str:
    """Which trap it was. Only traps are named by the engine; other details are free text."""
    if result.outcome is not Outcome.TRAPPED or result.detail is None:
        return ""
    return result.detail.removeprefix(_TRAPPED).removesuffix(".")


def _failure(result: RunResult) -> str:
    """The same for two failures that are alike to the last instruction."""
    return f"{result.outcome}.{result.limit or ''}.{_cause(result)[:64]}.{result.usage.fuel}"
