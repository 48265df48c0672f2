"""`python -m bench.retry.workers`: many workers that share, against one, and against the poisoned.

Each attempt's end is seen by a worker at random, as a queue would have it. Workers share every half
second of the world's time, by the same pure code as `sandbox_worker.learning`, or never.
"""

import argparse
import random
import statistics
from collections.abc import Callable, Iterable
from dataclasses import replace

from bench.retry.regimes import REGIMES
from bench.retry.simulate import Score, simulate
from bench.retry.world import SETTINGS
from stockade.core.outcomes import Outcome, Usage
from stockade.retry.journal import Batch, Journal, replay
from stockade.retry.learned import LearnedRetryPolicy
from stockade.retry.memory import Memory, scopes_of
from stockade.retry.parts import MOST_OF_ONE_TENANT, PLATFORM, Key, Part
from stockade.retry.rates import PRIOR, PRIOR_TRIALS
from stockade.retry.state import Plain, part_of, plain
from stockade.retry.types import AttemptObservation, FailureContext, RetryDecision, Source

ROUND_MS = 500
WORKERS = 4


class Workers:
    """Several learned policies, one of which is asked each time.

    Args:
        rng: Chooses the worker.
        count: How many there are.
        shares: Whether they ever do.
    """

    def __init__(self, rng: random.Random, count: int = WORKERS, *, shares: bool = True) -> None:
        self._rng, self._shares = rng, shares
        self.store: dict[Key, Plain] = {}
        self.all = [LearnedRetryPolicy(rng.random, Memory(journal=Journal())) for _ in range(count)]
        self._round_ms = 0

    def decide(self, context: FailureContext) -> RetryDecision:
        """One worker's decision."""
        self.pass_time(context.now_ms)
        return self._rng.choice(self.all).decide(context)

    def observe(self, observation: AttemptObservation) -> None:
        """One worker sees it."""
        self.pass_time(observation.now_ms)
        self._rng.choice(self.all).observe(observation)

    def pass_time(self, now_ms: int) -> None:
        """Shares when a round is over."""
        if self._shares and now_ms >= self._round_ms + ROUND_MS:
            self._round_ms = now_ms
            self.share()

    def share(self) -> None:
        """A round of every worker; then each looks at what the others told."""
        for worker in self.all:
            self._tell(worker.memory)
        for worker in self.all:
            self.look(worker.memory, worker.memory.parts.keys() & self.store.keys())

    def look(self, memory: Memory, keys: Iterable[Key]) -> None:
        """A worker's look at what is shared."""
        for key in keys:
            if key in self.store:
                memory.adopt(key, part_of(self.store[key]))

    def _tell(self, memory: Memory) -> None:
        journal = memory.journal or Journal()
        for key in journal.first(10_000):
            journal.tell_platform(self._teach(key, journal.cut_one(key)))
        self._teach(PLATFORM, journal.cut_one(PLATFORM))

    def _teach(self, key: Key, batch: Batch) -> Batch:
        part = part_of(self.store[key]) if key in self.store else Part()
        told = replay(key, part, batch)
        self.store[key] = plain(part)
        return told


KINDS: dict[str, Callable[[random.Random], LearnedRetryPolicy | Workers]] = {
    "one worker": lambda rng: LearnedRetryPolicy(rng.random),
    f"{WORKERS} that share": Workers,
    f"{WORKERS} that do not": lambda rng: Workers(rng, shares=False),
}


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.retry.workers", description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    asked = parser.parse_args()
    print(sharing_table(asked.seeds), poisoning_table(), sep="\n\n")


def sharing_table(seeds: int) -> str:
    """Worth and waste by regime and kind."""
    honest: dict[str, float] = {}
    lines = ["| regime | " + " | ".join(KINDS) + " |", "| --- " * (1 + len(KINDS)) + "|"]
    for regime in REGIMES:
        cells = []
        for name, make in KINDS.items():
            runs = [simulate(regime, make, seed) for seed in range(seeds)]
            if regime.name == "adversary":
                shares = [run.by_tenant["acme"] for run in runs]
                honest[name] = statistics.fmean(done / jobs for jobs, done in shares)
            cells.append(_cell(runs))
        lines.append(f"| {regime.name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    told = ", ".join(f"{name} {share:.3f}" for name, share in honest.items())
    return "\n".join((*lines, "", f"In *adversary* the honest tenant completes: {told}."))


def _cell(runs: list[Score]) -> str:
    worth = statistics.fmean(run.worth for run in runs)
    goodput = statistics.fmean(run.goodput for run in runs)
    wasted = statistics.fmean(run.wasted_attempts for run in runs)
    return f"{worth:.2f} ({goodput:.3f}; {wasted:.0f})"


BASIS = "rej..busy.001"
HONEST = FailureContext(
    attempt=1,
    outcome=Outcome.REJECTED,
    limit=None,
    retry_hint=True,
    deterministic=False,
    now_ms=2_000_000,
    deadline_ms=None,
    settings=SETTINGS,
    source=Source("honest", "f", 1),
    cause="busy",
)


def poisoning_table() -> str:
    """How far one tenant's history moves the estimate of another's retry, by own trials."""
    bound = PRIOR * (MOST_OF_ONE_TENANT + 1) / (MOST_OF_ONE_TENANT + 1 + PRIOR_TRIALS)
    lines = [
        f"| own retries seen | nobody | one worker | 8 workers | moved (bound: {bound:.2f}) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for own in (0, 1, 5, 20, 100):
        clean, *poisoned = (_estimate(workers, own) for workers in (0, 1, 8))
        moved = max(abs(one - clean) for one in poisoned)
        shown = " | ".join(f"{one:.3f}" for one in (clean, *poisoned))
        lines.append(f"| {own} | {shown} | {moved:.3f} |")
    return "\n".join(lines)


def _estimate(poisoning_workers: int, own: int) -> float:
    """The honest tenant's chance after 50,000 ends of a tenant whose retries always fail."""
    rng = random.Random(1)  # noqa: S311 (no secret)
    workers = Workers(rng, max(1, poisoning_workers))
    end = AttemptObservation(
        Source("mallory", "f", 1), Outcome.REJECTED, 0, Usage(), attempt=2, basis=BASIS
    )
    for i in range(50_000 if poisoning_workers else 0):
        workers.observe(replace(end, now_ms=1_000_000 + 20 * i))
    good = replace(end, source=HONEST.source, outcome=Outcome.COMPLETED)
    for i in range(own):
        workers.observe(replace(good, now_ms=HONEST.now_ms - own + i))
    workers.share()
    memory = workers.all[0].memory
    workers.look(memory, scopes_of(HONEST.source))
    return memory.chance(HONEST, 1)[0]


if __name__ == "__main__":
    main()
