"""A world in which attempts succeed or fail by hidden state that no policy may read.

Only the oracle reads it. A regime (`bench.retry.regimes`) is a world with rules of its own.
"""

import random
from dataclasses import dataclass, field, replace

from stockade.core.limits import Limits
from stockade.core.modules import RetrySettings
from stockade.core.outcomes import Outcome, ReasonCode, Usage
from stockade.retry.types import FailureContext, RetryDecision, Source

SETTINGS = RetrySettings(policy="learned", max_attempts=5, base_delay_ms=200, max_delay_ms=30_000)
"""What every policy is held to, the oracle included."""

LIMITS = Limits(fuel=1_000_000_000, memory_bytes=64 * 1024 * 1024, wall_ms=10_000)
CEILINGS = Limits(fuel=16_000_000_000, memory_bytes=512 * 1024 * 1024, wall_ms=60_000)


@dataclass(slots=True)
class Job:
    """One invocation. `fate` is hidden: what its regime drew for it."""

    number: int
    source: Source
    submitted_ms: int
    deadline_ms: int | None = None
    deterministic: bool = False
    fate: dict[str, float] = field(default_factory=dict)
    limits: Limits = LIMITS
    last: tuple[Outcome, str, int] | None = None
    """How the attempt before ended: outcome, cause, fuel."""


@dataclass(frozen=True, slots=True)
class End:
    """How one attempt ended, as a worker would see it."""

    outcome: Outcome
    usage: Usage
    limit: str | None = None
    cause: str = ""
    upstream: str = ""
    retry_hint: bool = False


class World:
    """The rules of a regime; subclasses say what becomes of an attempt.

    Args:
        rng: All chance of this world comes from here.
    """

    name = ""
    title = ""
    jobs_per_second = 20.0
    jobs = 3000

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.span_ms = int(self.jobs / self.jobs_per_second * 1000)

    def arrivals(self) -> list[Job]:
        """The invocations, in the order of their submission."""
        now, made = 0.0, []
        for number in range(self.jobs):
            now += self.rng.expovariate(self.jobs_per_second) * 1000
            made.append(self.job(number, int(now)))
        return made

    def job(self, number: int, now_ms: int) -> Job:
        """One invocation, its fate drawn."""
        raise NotImplementedError

    def duration_ms(self, _job: Job) -> int:
        """How long an attempt runs."""
        return 20 + int(self.rng.expovariate(1 / 30))

    def attempt(self, job: Job, now_ms: int) -> End:
        """What becomes of an attempt that ends now."""
        raise NotImplementedError

    def oracle(self, job: Job, context: FailureContext) -> RetryDecision:
        """The best decision for who sees the hidden state."""
        raise NotImplementedError


def completed(fuel: int = 1_000_000, wall_ms: float = 50, memory_bytes: int = 2**21) -> End:
    """A success."""
    return End(Outcome.COMPLETED, Usage(fuel, memory_bytes, wall_ms))


def failed(outcome: Outcome, fuel: int, **facts: str | bool) -> End:
    """A failure."""
    return replace(End(outcome, Usage(fuel, 2**21, 50)), **facts)  # type: ignore[arg-type]


def stop(reason: str = "It would fail.") -> RetryDecision:
    """No further attempt."""
    return RetryDecision(retry=False, delay_ms=0, code=ReasonCode.FINAL, reason=reason)


def again(delay_ms: int = 0, limits: Limits | None = None) -> RetryDecision:
    """Another attempt."""
    code, reason = ReasonCode.CHANCE, "It may pay."
    return RetryDecision(retry=True, delay_ms=delay_ms, code=code, reason=reason, limits=limits)
