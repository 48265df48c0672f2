"""Outages: told from single faults by how unlikely a run of failures is, and waited for.

A subject (an upstream, or a function version) is *out* when so many attempts in a row failed that
its usual rate of success makes it all but impossible. How long it stays out is reckoned from how
long earlier outages lasted that were already this old; without any, an outage is expected to last
as long again as it has lasted, as heavy-tailed lengths do (Pareto with exponent 1: the median of
what remains is the age).
"""

import math
from dataclasses import dataclass, field

from stockade.retry.rates import FIRST_SHIFT, Rate

IMPROBABLE = 0.001
BINS = 16
"""Lengths are counted in bins of powers of two from 64 ms to 35 minutes."""
_SHORTEST_MS = 64
_MOST_LENGTHS = 100.0
_LEAST_SUCCESSES = 3.0
_LEAST_FAILURES = 3


@dataclass(slots=True)
class Outage:
    """What is known of one subject. `failures` are those in a row, the first of them at `since_ms`.

    `waiting` counts the retries that were put off since the last success: of this process alone.
    """

    health: Rate = field(default_factory=Rate)
    failures: int = 0
    since_ms: int = 0
    seen_ms: int = 0
    lengths: list[float] = field(default_factory=lambda: [0.0] * BINS)
    waiting: int = 0

    def observe(self, *, success: bool, now_ms: int) -> None:
        """An attempt's end, of whichever invocation."""
        self.seen_ms = max(0, now_ms)
        if not success:
            if self.failures == 0:
                self.since_ms = self.seen_ms
            self.failures += 1
            return
        if self.is_out:
            self._count(now_ms - self.since_ms)
        else:
            self.health.add(1.0, 1.0 + self.failures, now_ms, FIRST_SHIFT)
        self.failures, self.waiting = 0, 0

    @property
    def is_out(self) -> bool:
        """Whether the failures in a row are too many for chance."""
        if self.failures < _LEAST_FAILURES or self.health.successes < _LEAST_SUCCESSES:
            return False
        usual = self.health.successes / (self.health.trials + 1)
        return float((1 - usual) ** self.failures) < IMPROBABLE

    def age_ms(self, now_ms: int) -> int:
        """How long it has lasted, at least a little; a clock that went back makes it young."""
        return max(now_ms - self.since_ms, _SHORTEST_MS)

    def remaining_ms(self, now_ms: int, share: float = 0.5) -> int:
        """How long such a share of outages yet lasts at most (the median), at least a little."""
        age = self.age_ms(now_ms)
        longer = [(i, count) for i, count in enumerate(self.lengths) if edge_ms(i + 1) > age]
        target = share * sum(count for _, count in longer)
        reached = 0.0
        for i, count in longer:
            reached += count
            if reached > target:
                return max(_SHORTEST_MS, edge_ms(i + 1) - age)
        return int(age * share / (1 - share))

    def merged(self, other: "Outage") -> "Outage":
        """What both saw: the run of failures of whoever saw the subject last."""
        last = max(self, other, key=lambda one: (one.seen_ms, one.failures, -one.since_ms))
        lengths = [a + b for a, b in zip(self.lengths, other.lengths, strict=True)]
        health = self.health.merged(other.health)
        return Outage(health, last.failures, last.since_ms, last.seen_ms, lengths)

    def _count(self, length_ms: int) -> None:
        i = min(BINS - 1, int(math.log2(max(length_ms, _SHORTEST_MS) / _SHORTEST_MS)))
        kept = min(1.0, _MOST_LENGTHS / (sum(self.lengths) + 1))
        self.lengths = [kept * count for count in self.lengths]
        self.lengths[i] += 1.0


def edge_ms(i: int) -> int:
    """The shortest length of a bin."""
    return int(_SHORTEST_MS * 2**i)
