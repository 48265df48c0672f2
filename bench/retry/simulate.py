"""Runs one policy through one regime, event by event, and counts what became of it."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.retry.world import CEILINGS, SETTINGS, End, Job, World
from stockade.core.outcomes import Outcome, ReasonCode
from stockade.retry.certainties import stop
from stockade.retry.types import (
    AttemptObservation,
    FailureContext,
    RetryDecision,
    RetryPolicy,
    Source,
)

VALUE = 10.0
"""What a success is worth, in mean attempts."""

EARLY = 200
"""Invocations that count as the cold start."""


@dataclass(slots=True)
class Score:
    """What a policy earned and cost."""

    jobs: int = 0
    completed: int = 0
    attempts: int = 0
    wasted_attempts: int = 0
    wasted_fuel: int = 0
    waits_ms: list[int] = field(default_factory=list)
    predicted: list[tuple[float, bool]] = field(default_factory=list)
    early_completed: int = 0
    by_tenant: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def goodput(self) -> float:
        """The share of invocations that completed."""
        return self.completed / self.jobs

    @property
    def early(self) -> float:
        """The goodput of the first invocations, of which nothing was learned before."""
        return self.early_completed / EARLY

    @property
    def worth(self) -> float:
        """Successes at their value less attempts at their cost, for each invocation."""
        return (VALUE * self.completed - self.attempts) / self.jobs


class OraclePolicy:
    """Sees the hidden state of the world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.job: Job | None = None

    def decide(self, context: FailureContext) -> RetryDecision:
        """What the world itself says."""
        if self.job is None or context.attempt >= context.settings.max_attempts:
            return stop(ReasonCode.ATTEMPTS, "All attempts are used.")
        return self._world.oracle(self.job, context)

    def observe(self, observation: AttemptObservation) -> None:
        """Needs not learn."""


PolicyFactory = Callable[[random.Random], RetryPolicy]


def simulate(regime: type[World], make: PolicyFactory | None, seed: int) -> Score:
    """One run. Without a policy the oracle decides. Worlds of one seed are alike for all."""
    world = regime(random.Random(f"{regime.name}/{seed}"))  # noqa: S311 (no secret)
    chance = random.Random(f"policy/{seed}")  # noqa: S311 (no secret)
    policy = OraclePolicy(world) if make is None else make(chance)
    return _Run(world, policy).run()


class _Run:
    def __init__(self, world: World, policy: RetryPolicy) -> None:
        self._world, self._policy = world, policy
        self._score = Score()
        self._queue: list[tuple[int, int, Job, int, RetryDecision | None]] = []
        self._sequence = 0

    def run(self) -> Score:
        jobs = self._world.arrivals()
        self._score.jobs = len(jobs)
        for job in jobs:
            self._push(job.submitted_ms + self._world.duration_ms(job), job, 1, None)
        while self._queue:
            now_ms, _, job, attempt, decided = heapq.heappop(self._queue)
            self._end(job, attempt, now_ms, decided)
        return self._score

    def _push(
        self,
        at_ms: int,
        job: Job,
        attempt: int,
        decided: RetryDecision | None,
    ) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (at_ms, self._sequence, job, attempt, decided))

    def _end(
        self,
        job: Job,
        attempt: int,
        now_ms: int,
        decided: RetryDecision | None,
    ) -> None:
        end = self._world.attempt(job, now_ms)
        good = end.outcome is Outcome.COMPLETED
        self._count(job, end, attempt, now_ms, decided)
        source = Source(
            job.source.tenant,
            job.source.function,
            job.source.version,
            end.upstream or job.source.upstream,
        )
        self._policy.observe(
            AttemptObservation(
                source,
                end.outcome,
                now_ms,
                end.usage,
                job.limits,
                end.limit,
                attempt,
                decided.basis if decided else "",
            )
        )
        if good:
            return
        context = _context(job, end, attempt, now_ms)
        if isinstance(self._policy, OraclePolicy):
            self._policy.job = job
        decision = self._policy.decide(context)
        job.last = (end.outcome, end.cause, end.usage.fuel)
        if decision.retry:
            if decision.limits is not None:
                job.limits = decision.limits
            begin_ms = now_ms + decision.delay_ms
            if job.deadline_ms is not None and begin_ms >= job.deadline_ms:
                return
            self._push(begin_ms + self._world.duration_ms(job), job, attempt + 1, decision)

    def _count(
        self, job: Job, end: End, attempt: int, now_ms: int, decided: RetryDecision | None
    ) -> None:
        score, good = self._score, end.outcome is Outcome.COMPLETED
        score.attempts += 1
        score.completed += good
        score.early_completed += good and job.number < EARLY
        if good:
            score.waits_ms.append(now_ms - job.submitted_ms)
        elif attempt > 1:
            score.wasted_attempts += 1
            score.wasted_fuel += end.usage.fuel
        if decided is not None and decided.success is not None:
            score.predicted.append((decided.success, good))
        jobs, completed = score.by_tenant.get(job.source.tenant, (0, 0))
        score.by_tenant[job.source.tenant] = jobs + (attempt == 1), completed + good


def _context(job: Job, end: End, attempt: int, now_ms: int) -> FailureContext:
    source = job.source
    return FailureContext(
        attempt=attempt,
        outcome=end.outcome,
        limit=end.limit,
        retry_hint=end.retry_hint,
        deterministic=job.deterministic,
        now_ms=now_ms,
        deadline_ms=job.deadline_ms,
        settings=SETTINGS,
        source=Source(source.tenant, source.function, source.version, end.upstream),
        cause=end.cause,
        repeats=job.last == (end.outcome, end.cause, end.usage.fuel),
        usage=end.usage,
        limits=job.limits,
        ceilings=CEILINGS,
    )
