"""The learned retry policy: certainties first, then what happened before, within fixed bounds.

1. What is final or sure to repeat is not tried again (`stockade.retry.certainties`); a limit that
   was passed may be raised (`stockade.retry.raising`).
2. While the upstream or the function is out, the retry waits for its return.
3. Otherwise a retry is worth it when its expected value is: the probability of success, learned by
   failure class and attempt, times what a success is worth, less what attempts cost.
4. A budget spaces retries; full jitter spreads them.
"""

from collections.abc import Callable
from dataclasses import replace

from stockade.core.limits import Limits
from stockade.core.outcomes import Outcome, ReasonCode
from stockade.core.upstreams import UPSTREAM_OUT
from stockade.retry.budgets import Budgets
from stockade.retry.certainties import RAISABLE_LIMITS, final, late, repeating, stop
from stockade.retry.exploring import Explorers
from stockade.retry.memory import EXPLORING, Memory
from stockade.retry.outages import Outage
from stockade.retry.raising import raised
from stockade.retry.types import AttemptObservation, FailureContext, RetryDecision

VALUE = 10.0
"""What a success is worth, in attempts."""
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


class LearnedRetryPolicy:
    """Learns from every attempt's end.

    Args:
        uniform: Draws from [0, 1).
        memory: What is known already.
    """

    def __init__(self, uniform: Callable[[], float], memory: Memory | None = None) -> None:
        self._uniform = uniform
        self.memory = memory or Memory()
        self._budgets = Budgets(self.memory.account, self.memory.spend)
        self._explorers = Explorers()

    def observe(self, observation: AttemptObservation) -> None:
        """Learns from an attempt's end."""
        if observation.outcome is Outcome.COMPLETED:
            self._budgets.earn(observation.source.tenant, observation.now_ms)
        self.memory.observe(observation)

    def decide(self, context: FailureContext) -> RetryDecision:
        """Whether this failure is tried again, after what delay, and with which limits."""
        self._explorers.earn(context.source.tenant)
        decision = self.consider(context)
        if decision.retry:
            self._take(context, decision)
        return decision

    def consider(self, context: FailureContext) -> RetryDecision:
        """What it would decide now; takes no budget and no exploration."""
        if stopped := final(context):
            return stopped
        if context.outcome is Outcome.LIMIT_EXCEEDED and context.limit in RAISABLE_LIMITS:
            return self._consider_limit(context, context.limit)
        if stopped := repeating(context):
            return stopped
        if context.outcome is Outcome.LOST:
            why = "The worker was lost: another one takes the run"
            return self._again(context, 0, ReasonCode.LOST, why)
        outage = self.memory.outage(context.source)
        if outage.is_out or (context.cause == UPSTREAM_OUT and outage.failures):
            return self._wait(context, outage)
        return self._consider_chance(context, outage.failures if outage.health.successes else 0)

    def _take(self, context: FailureContext, decision: RetryDecision) -> None:
        cost = _COST_OF_RAISING if decision.limits else 1.0
        self._budgets.take(context.source.tenant, context.now_ms, cost)
        if decision.code is ReasonCode.OUTAGE:
            self.memory.put_off(context.source)
        if decision.code is ReasonCode.EXPLORE:
            self._explorers.take(context)

    def _consider_chance(self, context: FailureContext, run: int) -> RetryDecision:
        chance, told, worth = self._reckon(context)
        basis = self.memory.basis(context, context.attempt)
        doublings = max(context.attempt - 1, min(run - 1, _LONGEST_RUN))
        code = ReasonCode.CHANCE
        if worth <= 0:
            if not self._explorers.may(context):
                stopped = stop(code, f"{told}: another attempt costs more than it earns.")
                return replace(stopped, success=chance, basis=basis)
            code, basis = ReasonCode.EXPLORE, basis + EXPLORING
            doublings, told = 0, f"{told}, which is tried anew now and then"
        longest = min(context.settings.max_delay_ms, context.settings.base_delay_ms * 2**doublings)
        decision = self._again(context, int(self._uniform() * longest), code, told)
        return replace(decision, success=chance, basis=basis)

    def _consider_limit(self, context: FailureContext, limit: str) -> RetryDecision:
        limits = raised(self.memory, context, limit)
        name = RAISABLE_LIMITS[limit]
        had = getattr(context.limits, name)
        if limits is None:
            reason = f"The {limit} limit of {had} is at its ceiling already."
            return stop(ReasonCode.CEILING, reason)
        chance, told, worth = self._reckon(context)
        basis = self.memory.basis(context, context.attempt)
        if worth <= 0:
            stopped = stop(ReasonCode.CHANCE, f"{told}: more {limit} is not worth it.")
            return replace(stopped, success=chance, basis=basis)
        told = f"The {limit} limit rises from {had} to {getattr(limits, name)} ({told})"
        decision = self._again(context, 0, ReasonCode.LIMIT_RAISED, told, limits)
        return replace(decision, success=chance, basis=basis)

    def _reckon(self, context: FailureContext) -> tuple[float, str, float]:
        """The chance of the next attempt, the same in words, and what going on is worth.

        Of a later attempt nothing better is expected than of the one before, until it is seen.
        """
        chance, trials = self.memory.chance(context, context.attempt)
        chances = [chance]
        end = min(context.settings.max_attempts, context.attempt + _AHEAD)
        for n in range(context.attempt + 1, end):
            chances.append(self.memory.chance(context, n, chances[-1])[0])
        seen = f"by {trials:.0f} that were seen" if round(trials) else "none was seen yet"
        told = f"Retries of such failures succeed in {chance:.0%} ({seen})"
        return chance, told, _value(chances)

    def _wait(self, context: FailureContext, outage: Outage) -> RetryDecision:
        """Comes back when the outage is over, if it lasts as others did; few look earlier."""
        waiting = outage.waiting + 1
        left = context.settings.max_attempts - context.attempt
        remaining_ms = outage.remaining_ms(context.now_ms, _LAST_WAIT if left == 1 else _WAIT)
        early = left > 1 and self._uniform() < _EARLY / waiting
        share = self._uniform() if early else 1 + self._uniform()
        delay_ms = min(context.settings.max_delay_ms, int(remaining_ms * share))
        who = context.source.upstream or "The function"
        age_seconds = outage.age_ms(context.now_ms) / 1000
        return self._again(
            context,
            delay_ms,
            ReasonCode.OUTAGE,
            f"{who} has been out for {age_seconds:.1f} s ({outage.failures} failures in a row), "
            f"some {remaining_ms / 1000:.1f} s are likely left",
        )

    def _again(
        self,
        context: FailureContext,
        delay_ms: int,
        code: ReasonCode,
        why: str,
        limits: Limits | None = None,
    ) -> RetryDecision:
        """The retry, if budget and deadline let it."""
        tenant, settings = context.source.tenant, context.settings
        wait_ms, scarcity = self._budgets.look(tenant, context.now_ms)
        scarcity = scarcity if limits is None else 0.0
        spaced_ms = int(scarcity * self._uniform() * settings.max_delay_ms)
        delay_ms = max(delay_ms, wait_ms, spaced_ms)
        if delay_ms > settings.max_delay_ms:
            reason = f"The tenant's retry budget is used up for {wait_ms / 1000:.0f} s."
            return stop(ReasonCode.BUDGET, reason)
        if stopped := late(context, delay_ms):
            return stopped
        reason = f"{why}: attempt {context.attempt + 1} follows after {delay_ms} ms."
        return RetryDecision(retry=True, delay_ms=delay_ms, code=code, reason=reason, limits=limits)


def _value(chances: list[float]) -> float:
    """What going on is worth, by backward induction: each attempt may be followed by the next."""
    value = 0.0
    for chance in reversed(chances):
        value = max(0.0, chance * VALUE - 1 + (1 - chance) * value)
    return value
