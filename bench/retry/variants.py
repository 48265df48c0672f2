"""`python -m bench.retry.variants`: what each part of the learned policy is worth, and a bandit.

The table in ADR 23 is made by it.
"""

import random
import statistics
from dataclasses import dataclass

from bench.retry.regimes import REGIMES
from bench.retry.simulate import simulate
from stockade.retry.learned import LearnedRetryPolicy
from stockade.retry.memory import Memory
from stockade.retry.outages import Outage
from stockade.retry.rates import PRIOR, PRIOR_TRIALS
from stockade.retry.types import AttemptObservation, FailureContext, RetryPolicy, Source

SEEDS = 4


class _Unshrunk(Memory):
    """Each function version for itself."""

    def chance(
        self, context: FailureContext, attempt: int, prior: float = PRIOR
    ) -> tuple[float, float]:
        """From its own trials and the prior alone."""
        part = self.parts[context.source.tenant, context.source.function, "1"]
        rate = part.rates.get(self.basis(context, attempt))
        return (rate.estimate(prior, context.now_ms), rate.trials) if rate else (prior, 0.0)


class _Unwatched(Memory):
    """No change is ever noticed: outages and fading are all that follows the world."""

    def observe(self, observation: AttemptObservation) -> None:
        """As learned, with the sums of the watch at nothing."""
        super().observe(observation)
        for key in ((), (observation.source.tenant,), self._key(observation.source)):
            part = self.parts.get(key)
            for rate in (*part.rates.values(), part.firsts) if part else ():
                rate.better = rate.worse = 0.0

    @staticmethod
    def _key(source: Source) -> tuple[str, ...]:
        return source.tenant, source.function, str(source.version)


class _Undisturbed(Memory):
    """Knows no outages."""

    def outage(self, source: Source) -> Outage:
        """One that never is."""
        del source
        return Outage()


@dataclass(slots=True)
class _Bandit(Memory):
    """Thompson's sampling: the chance is drawn from what is believed instead of being its mean."""

    rng: random.Random | None = None

    def chance(
        self, context: FailureContext, attempt: int, prior: float = PRIOR
    ) -> tuple[float, float]:
        """A draw from the beta distribution."""
        mean, trials = super(_Bandit, self).chance(context, attempt, prior)
        weight, rng = trials + PRIOR_TRIALS, self.rng or random.Random(0)  # noqa: S311 (no secret)
        return rng.betavariate(max(1e-3, mean * weight), max(1e-3, (1 - mean) * weight)), trials


def make(name: str, rng: random.Random) -> RetryPolicy:
    """The variant of that name."""
    memory = {
        "no shrinkage": _Unshrunk,
        "no watch for changes": _Unwatched,
        "no outages": _Undisturbed,
        "Thompson sampling": lambda: _Bandit(rng=rng),
    }.get(name, Memory)()
    return LearnedRetryPolicy(rng.random, memory)


NAMES = (
    "as chosen", "no shrinkage", "no watch for changes", "no outages", "Thompson sampling",
)  # fmt: skip


def main() -> None:
    """Prints worth (successes at ten attempts each, less attempts) by regime."""
    print("| regime |", " | ".join(NAMES), "|")
    print("|---" * (1 + len(NAMES)) + "|")
    for regime in REGIMES:
        cells = []
        for name in NAMES:
            runs = [simulate(regime, lambda rng, n=name: make(n, rng), s) for s in range(SEEDS)]  # type: ignore[misc]
            worth = statistics.fmean(run.worth for run in runs)
            goodput = statistics.fmean(run.goodput for run in runs)
            cells.append(f"{worth:.2f} ({goodput:.3f})")
        print(f"| {regime.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
