"""What follows a failed attempt, and what every attempt's end teaches.

The function's settings say which policy decides. The other one decides in its shadow: without
effect, for the record. Every end is learned from, whoever decides.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import structlog

from sandbox_worker.retry_counts import RetryCounts
from stockade.core.invocations import NOTHING_CARRIED, Claim, Completion, RetryCarry
from stockade.core.limits import Limits
from stockade.core.outcomes import Attempt, Outcome, ReasonCode, RunResult, ShadowDecision
from stockade.retry.certainties import RAISABLE_LIMITS, stop
from stockade.retry.fitting import fitted
from stockade.retry.memory import EXPLORING
from stockade.retry.needs import Sketch
from stockade.retry.types import (
    AttemptObservation,
    ConsideringPolicy,
    FailureContext,
    RetryDecision,
    Source,
)

_COMPLETED = stop(ReasonCode.COMPLETED, "The run completed.")
_TRAPPED = "The guest trapped: "
_FIXED, _LEARNED, _NEVER = "fixed", "learned", "never"
_SAY_NOTHING = frozenset({Outcome.CANCELLED, Outcome.EXPIRED})
"""Whoever cancels runs, or lets them wait too long, makes no outage of the function."""
_NO_RECKONING = (ArithmeticError, LookupError, ValueError)
_log = structlog.get_logger()

Needs = Callable[[Source], Mapping[str, Sketch]]
Prepare = Callable[[Source], Awaitable[None]]


async def _nothing(_source: Source) -> None:
    """What a policy needs that learns by itself."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What rules, and what the other policy would have decided; None where it is not asked."""

    ruling: RetryDecision
    shadow: RetryDecision | None = None


@dataclass(frozen=True, slots=True)
class Retries:
    """The two policies of a worker, and what function versions needed of each limit."""

    fixed: ConsideringPolicy
    learned: ConsideringPolicy
    needs: Needs
    prepare: Prepare = _nothing
    counts: RetryCounts = field(default_factory=RetryCounts)

    async def know_needs(self, claim: Claim) -> Claim:
        """The claim with limits by what all workers know; before the attempt runs."""
        if not claim.invocation.content.auto_limits:
            return claim
        await self.prepare(_source(claim))
        return self.fitted(claim)

    async def know_failure(self, claim: Claim, result: RunResult) -> None:
        """Asks what all workers know of the like; before it is decided about."""
        if result.outcome is not Outcome.COMPLETED:
            await self.prepare(_source(claim, result.upstream))

    def fitted(self, claim: Claim) -> Claim:
        """The claim with the limits that its attempt is to have, for as long as it runs."""
        invocation, carry = claim.invocation, claim.carry
        content = invocation.content
        if not content.auto_limits or carry.limits is not None:
            return claim
        try:
            found = fitted(
                self.needs(_source(claim)),
                content.auto_limits,
                content.limits,
                invocation.ceilings or content.limits,
                raisable=content.retry.policy == _LEARNED,
            )
        except _NO_RECKONING as error:
            _log.error("limits_not_fitted", exc_info=error)
            return claim
        limits = None if found.limits == content.limits else found.limits
        carry = replace(carry, limits=limits, limits_reason=found.reason)
        return replace(claim, carry=carry)

    def limits(self, claim: Claim) -> Limits:
        """What this attempt may use."""
        return claim.carry.limits or claim.invocation.content.limits

    def decide(self, claim: Claim, result: RunResult, now_ms: int) -> Decided:
        """Whether the attempt is followed by another, when and with which limits."""
        if result.outcome is Outcome.COMPLETED:
            return Decided(_COMPLETED)
        context = self._context(claim, result, now_ms)
        # The shadow first: it is to see what the ruling policy sees.
        shadow = self._consider(claim, context)
        return Decided(self._rule(claim, context), shadow)

    def attempt(self, claim: Claim, result: RunResult, decided: Decided) -> Attempt:
        """How the attempt stands in the record."""
        ruling = decided.ruling
        return Attempt(
            number=claim.attempt,
            outcome=result.outcome,
            reason=ruling.reason,
            usage=result.usage,
            limit=result.limit,
            detail=result.detail,
            policy=_asked(claim),
            success=ruling.success,
            limits=claim.carry.limits,
            code=ruling.code,
            shadow=_shown(_other(claim), decided.shadow),
            limits_reason=claim.carry.limits_reason,
        )

    def carry(self, claim: Claim, result: RunResult, decided: Decided) -> RetryCarry:
        """What goes to the next attempt."""
        ruling, shadow = decided.ruling, decided.shadow
        if not ruling.retry:
            return NOTHING_CARRIED
        stopped = claim.carry.shadow_stopped or (shadow is not None and not shadow.retry)
        basis, success = _estimated(claim, result, decided)
        limits = ruling.limits or claim.carry.limits
        told = claim.carry.limits_reason
        if ruling.limits is not None:
            told = f"The {result.limit} limit was raised after attempt {claim.attempt}."
        return RetryCarry(limits, basis, _failure(result), success, stopped, told)

    def observe(self, claim: Claim, result: RunResult, completion: Completion) -> None:
        """Learns from the attempt's end, once it is recorded, and counts it."""
        self.counts.count(claim, completion)
        if result.outcome in _SAY_NOTHING:
            return
        now_ms = completion.finished_ms
        observation = AttemptObservation(
            source=_source(claim, result.upstream),
            outcome=result.outcome,
            now_ms=now_ms,
            usage=result.usage,
            limits=self.limits(claim),
            limit=result.limit,
            attempt=claim.attempt,
            basis=claim.carry.basis,
        )
        self.learned.observe(observation)

    def _rule(self, claim: Claim, context: FailureContext) -> RetryDecision:
        """What counts. Where what was learned cannot be reckoned with, the fixed rules decide."""
        if _asked(claim) != _LEARNED:
            return self.fixed.decide(context)
        try:
            return self.learned.decide(context)
        except _NO_RECKONING as error:
            _log.error("retry_not_decided", exc_info=error)
            return self.fixed.decide(context)

    def _consider(self, claim: Claim, context: FailureContext) -> RetryDecision | None:
        """What the other policy would decide. Its troubles are not the run's."""
        if _asked(claim) == _NEVER:
            return None
        shadow = self.fixed if _asked(claim) == _LEARNED else self.learned
        try:
            return shadow.consider(context)
        except _NO_RECKONING as error:
            _log.warning("retry_shadow_failed", error=type(error).__name__)
            return None

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
            source=_source(claim, result.upstream),
            cause=_cause(result),
            repeats=claim.carry.failure == _failure(result),
            usage=result.usage,
            limits=self.limits(claim),
            ceilings=invocation.ceilings or content.limits,
        )


def _asked(claim: Claim) -> str:
    return claim.invocation.content.retry.policy


def _other(claim: Claim) -> str:
    return _FIXED if _asked(claim) == _LEARNED else _LEARNED


def _shown(policy: str, shadow: RetryDecision | None) -> ShadowDecision | None:
    """A decision without effect, as it stands in the record."""
    if shadow is None:
        return None
    return ShadowDecision(
        policy,
        shadow.retry,
        shadow.delay_ms,
        shadow.code,
        shadow.reason,
        shadow.success,
        shadow.limits,
    )


def _estimated(claim: Claim, result: RunResult, decided: Decided) -> tuple[str, float | None]:
    """What the next attempt's end will teach, and the estimate that it will be held against.

    The learned policy's own, whoever rules; but not of a retry under the same limits where the
    learned policy reckons with raised ones.
    """
    if _asked(claim) == _LEARNED:
        return decided.ruling.basis, decided.ruling.success
    if decided.shadow is None or result.limit in RAISABLE_LIMITS:
        return "", None
    return decided.shadow.basis.removesuffix(EXPLORING), decided.shadow.success


def _source(claim: Claim, upstream: str = "") -> Source:
    invocation = claim.invocation
    return Source(invocation.tenant, invocation.function, invocation.version, upstream)


def _cause(result: RunResult) -> str:
    """What an upstream did, or which trap it was. Other details are free text of the guest's."""
    if result.cause:
        return result.cause
    if result.outcome is not Outcome.TRAPPED or result.detail is None:
        return ""
    return result.detail.removeprefix(_TRAPPED).removesuffix(".")


def _failure(result: RunResult) -> str:
    """The same for two failures that are alike to the last instruction."""
    return f"{result.outcome}.{result.limit or ''}.{_cause(result)[:64]}.{result.usage.fuel}"
