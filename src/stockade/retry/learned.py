"""The learned retry policy: certainties first, then what happened before, within fixed bounds.

1. What is final or sure to repeat is not tried again (`stockade.retry.certainties`); a limit that
   was passed may be raised (`stockade.retry.raising`).
2. While the upstream or the function is out, the retry waits for its return.
3. Otherwise a retry is worth it when its expected value is: the probability of success, learned by
   failure class and attempt, times what a success is worth, less what attempts cost.
4. A budget spaces retries; full jitter spreads them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from stockade.core.limits import Limits
from stockade.core.outcomes import Outcome
from stockade.retry.budgets import Budgets
from stockade.retry.certainties import RAISABLE_LIMITS, why_final, why_repeats
from stockade.retry.memory import EXPLORING, Memory
from stockade.retry.outages import Outage
from stockade.retry.raising import raised
from stockade.retry.types import AttemptObservation, FailureContext, RetryDecision

VALUE = 10.0
"""What a success is worth, in attempts."""
EXPLORED = 0.01
"""The share of decisions that try again against the estimate, to see whether the world changed."""
MOST_EXPLORED = 10.0
"""Explorations that a tenant may save up for when they are needed."""
PROBE_GAP_MS = 5000
"""Between two explorations of a tenant at least."""
_LONGEST_RUN = 7
"""Doublings of the delay at most."""
_AHEAD = 4
"""Attempts that are reckoned with."""
_WAIT, _LAST_WAIT = 0.75, 0.9
"""The share of outages that a retry outlasts, and that the last one does."""
_EARLY = 2.0
"""About so many retries of one outage look whether it is over already."""
_COST_OF_RAISING = 0.25
"""Of a retry's token: more of a limit helps where others fail, and feeds no brown-out."""


@dataclass(slots=True)
class _Explorer:
    """What a tenant may still explore, and when it last did."""

    credit: float = 0.0
    explored_ms: int = -PROBE_GAP_MS


class LearnedRetryPolicy:
    """Learns from every attempt's end.

    Args:
        uniform: Draws from [0, 1).
        memory: What is known already.
    """

    def __init__(self, uniform: Callable[[], float], memory: Memory | None = None) -> None:
        self._uniform = uniform
        self.memory = memory or Memory()
        self._budgets = Budgets()
        self._explorers: dict[str, _Explorer] = {}

    def observe(self, observation: AttemptObservation) -> None:
        """Learns from an attempt's end."""
        if observation.outcome is Outcome.COMPLETED:
            self._budgets.earn(observation.source.tenant)
        self.memory.observe(observation)

    def decide(self, context: FailureContext) -> RetryDecision:
        """Whether this failure is tried again, after what delay, and with which limits."""
        explorer = self._explorers.setdefault(context.source.tenant, _Explorer())
        explorer.credit = min(MOST_EXPLORED, explorer.credit + EXPLORED)
        if reason := why_final(context):
            return _no(reason)
        if context.outcome is Outcome.LIMIT_EXCEEDED and context.limit in RAISABLE_LIMITS:
            return self._decide_limit(context, context.limit)
        if reason := why_repeats(context):
            return _no(reason)
        if context.outcome is Outcome.LOST:
            return self._again(context, 0, "The worker was lost: another one takes the run")
        outage = self.memory.outage(context.source)
        if outage.is_out:
            return self._wait(context, outage)
        return self._decide_by_chance(context, outage.failures if outage.health.successes else 0)

    def _decide_by_chance(self, context: FailureContext, run: int) -> RetryDecision:
        chance, told, worth = self._reckon(context)
        doublings = max(context.attempt - 1, min(run - 1, _LONGEST_RUN))
        if worth <= 0:
            if not self._explores(context):
                return replace(
                    _no(f"{told}: another attempt costs more than it earns."), success=chance
                )
            doublings, told = 0, f"{told}, which is tried anew now and then"
        longest = min(context.settings.max_delay_ms, context.settings.base_delay_ms * 2**doublings)
        decision = self._again(context, int(self._uniform() * longest), told, chance)
        return replace(decision, basis=decision.basis + EXPLORING) if worth <= 0 else decision

    def _decide_limit(self, context: FailureContext, limit: str) -> RetryDecision:
        limits = raised(self.memory, context, limit)
        name = RAISABLE_LIMITS[limit]
        had = getattr(context.limits, name)
        if limits is None:
            return _no(f"The {limit} limit of {had} is at its ceiling already.")
        chance, told, worth = self._reckon(context)
        if worth <= 0:
            return replace(_no(f"{told}: more {limit} is not worth it."), success=chance)
        told = f"The {limit} limit rises from {had} to {getattr(limits, name)} ({told})"
        return self._again(context, 0, told, chance, limits)

    def _reckon(self, context: FailureContext) -> tuple[float, str, float]:
        """The chance of the next attempt, the same in words, and what going on is worth.

        Of a later attempt nothing better is expected than of the one before, until it is seen.
        """
        chance, trials = self.memory.chance(context, context.attempt)
        chances = [chance]
        end = min(context.settings.max_attempts, context.attempt + _AHEAD)
        for n in range(context.attempt + 1, end):
            chances.append(self.memory.chance(context, n, chances[-1])[0])
        told = f"Retries of such failures succeed in {chance:.0%} (by {trials:.0f} that were seen)"
        return chance, told, _value(chances)

    def _explores(self, context: FailureContext) -> bool:
        if context.repeats or context.deterministic or context.attempt > 1:
            return False
        explorer = self._explorers[context.source.tenant]
        since_ms = abs(context.now_ms - explorer.explored_ms)
        if explorer.credit < 1 or since_ms < PROBE_GAP_MS:
            return False
        explorer.credit -= 1
        explorer.explored_ms = context.now_ms
        return True

    def _wait(self, context: FailureContext, outage: Outage) -> RetryDecision:
        """Comes back when the outage is over, if it lasts as others did; few look earlier."""
        outage.waiting += 1
        left = context.settings.max_attempts - context.attempt
        remaining_ms = outage.remaining_ms(context.now_ms, _LAST_WAIT if left == 1 else _WAIT)
        early = left > 1 and self._uniform() < _EARLY / outage.waiting
        share = self._uniform() if early else 1 + self._uniform()
        delay_ms = min(context.settings.max_delay_ms, int(remaining_ms * share))
        who = context.source.upstream or "The function"
        age_seconds = outage.age_ms(context.now_ms) / 1000
        return self._again(
            context,
            delay_ms,
            f"{who} has been out for {age_seconds:.1f} s ({outage.failures} failures in a row), "
            f"some {remaining_ms / 1000:.1f} s are likely left",
        )

    def _again(
        self,
        context: FailureContext,
        delay_ms: int,
        why: str,
        chance: float | None = None,
        limits: Limits | None = None,
    ) -> RetryDecision:
        """The retry, if budget and deadline let it."""
        tenant = context.source.tenant
        wait_ms = self._budgets.wait_ms(tenant, context.now_ms)
        scarcity = self._budgets.scarcity(tenant) if limits is None else 0.0
        spaced_ms = int(scarcity * self._uniform() * context.settings.max_delay_ms)
        delay_ms = max(delay_ms, wait_ms, spaced_ms)
        if delay_ms > context.settings.max_delay_ms:
            return _no(f"The tenant's retry budget is used up for {wait_ms / 1000:.0f} s.")
        if context.deadline_ms is not None and context.now_ms + delay_ms >= context.deadline_ms:
            return _no(f"The deadline would pass before another attempt in {delay_ms} ms.")
        self._budgets.take(tenant, _COST_OF_RAISING if limits else 1.0)
        basis = "" if chance is None else self.memory.basis(context, context.attempt)
        reason = f"{why}: attempt {context.attempt + 1} follows after {delay_ms} ms."
        return RetryDecision(
            retry=True, delay_ms=delay_ms, reason=reason, limits=limits, success=chance, basis=basis
        )


def _value(chances: list[float]) -> float:
    """What going on is worth, by backward induction: each attempt may be followed by the next."""
    value = 0.0
    for chance in reversed(chances):
        value = max(0.0, chance * VALUE - 1 + (1 - chance) * value)
    return value


def _no(reason: str) -> RetryDecision:
    return RetryDecision(retry=False, delay_ms=0, reason=reason)
