"""What the learned policy costs: the time of a call, and the size of its state."""

import random
import statistics
import time

import msgspec

from bench.retry.regimes import REGIMES
from bench.retry.simulate import simulate
from stockade.retry.fixed import FixedRetryPolicy
from stockade.retry.learned import LearnedRetryPolicy
from stockade.retry.state import plain
from stockade.retry.types import AttemptObservation, FailureContext, RetryDecision


class Timed(LearnedRetryPolicy):
    """Notes how long each call takes, in nanoseconds; the fixed policy decides in its shadow."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng.random)
        self.shadow = FixedRetryPolicy(random.Random(0).random)  # noqa: S311 (repeatable)
        self.both_ns: list[int] = []
        self.decide_ns: list[int] = []
        self.observe_ns: list[int] = []

    def decide(self, context: FailureContext) -> RetryDecision:
        """As learned."""
        begin = time.perf_counter_ns()
        self.shadow.consider(context)
        own = time.perf_counter_ns()
        decision = super().decide(context)
        end = time.perf_counter_ns()
        self.decide_ns.append(end - own)
        self.both_ns.append(end - begin)
        return decision

    def observe(self, observation: AttemptObservation) -> None:
        """As learned."""
        begin = time.perf_counter_ns()
        super().observe(observation)
        self.observe_ns.append(time.perf_counter_ns() - begin)


def measured() -> str:
    """One run of each regime: medians of the calls, and the largest state of a function version."""
    decide_ns: list[int] = []
    both_ns: list[int] = []
    observe_ns: list[int] = []
    sizes: list[int] = []
    for regime in REGIMES:
        made: list[Timed] = []
        simulate(regime, lambda rng, made=made: made.append(Timed(rng)) or made[-1], 0)  # type: ignore[misc]
        decide_ns += made[0].decide_ns
        both_ns += made[0].both_ns
        observe_ns += made[0].observe_ns
        parts = made[0].memory.parts
        sizes += [
            len(msgspec.msgpack.encode(plain(part))) for key, part in parts.items() if key[1:]
        ]
    return (
        f"`decide` takes {statistics.median(decide_ns) / 1000:.0f} µs, with the fixed policy in "
        f"its shadow {statistics.median(both_ns) / 1000:.0f} µs, and `observe` "
        f"{statistics.median(observe_ns) / 1000:.0f} µs at the median, over {len(decide_ns)} and "
        f"{len(observe_ns)} calls of one run of each regime. The state of a function version or "
        f"upstream takes {statistics.median(sizes):.0f} bytes at the median and {max(sizes)} at "
        f"most, as MessagePack."
    )
