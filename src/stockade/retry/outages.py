"""Outages: told from single faults by how unlikely a run of failures is, and waited for.

A subject (an upstream, or a function version) is *out* when so many attempts in a row failed that
its usual rate of success makes it all but impossible. How long it stays out is reckoned from how
long earlier outages lasted that were already this old; without any, an outage is expected to last
as long again as it has lasted, as heavy-tailed lengths do (Pareto with exponent 1: the median of
what remains is the age).
"""

import math
from dataclasses import dataclass, field

from stockade.retry.rates import CLOCK_ERROR_MS, FIRST_SHIFT, Rate

IMPROBABLE = 0.001
BINS = 16
"""Lengths are counted in bins of powers of two from 64 ms to 35 minutes."""
_SHORTEST_MS = 64
MOST_LENGTHS = 100.0
_LEAST_SUCCESSES = 3.0
_LEAST_FAILURES = 3


@dataclass(slots=True)
class Outage:
    """What is known of one subject.

    `failures` are those in a row, the first of them at `since_ms`, the last at `seen_ms`; the last
    success was at `succeeded_ms`. Several workers see one subject, and what one saw may come late:
    ends are put in the order of their times, not of their coming. `waiting` counts the retries that
    were put off since the last success: of this process alone.
    """

    health: Rate = field(default_factory=Rate)
    failures: int = 0
    since_ms: int = 0
    seen_ms: int = 0
    succeeded_ms: int = 0
    lengths: list[float] = field(default_factory=lambda: [0.0] * BINS)
    waiting: int = 0

    def observe(self, *, success: bool, now_ms: int, learns: bool = True) -> None:
        """An attempt's end, of whichever invocation; a run is followed without learning too."""
        now_ms = max(0, now_ms)
        self._mind_the_clock(now_ms)
        if success:
            self._end_run(now_ms, learns=learns)
        elif now_ms < self.succeeded_ms:
            self._learn(0.0, 1.0, now_ms, learns=learns)
        else:
            self.since_ms = min(self.since_ms, now_ms) if self.failures else now_ms
            self.seen_ms = max(self.seen_ms, now_ms) if self.failures else now_ms
            self.failures += 1

    def _mind_the_clock(self, now_ms: int) -> None:
        if self.succeeded_ms - now_ms > CLOCK_ERROR_MS:
            self.succeeded_ms = now_ms
        if self.failures and self.seen_ms - now_ms > CLOCK_ERROR_MS:
            self.since_ms = self.seen_ms = now_ms

    def _end_run(self, now_ms: int, *, learns: bool) -> None:
        self.succeeded_ms = max(self.succeeded_ms, now_ms)
        if self.failures and now_ms < self.since_ms:
            self._learn(1.0, 1.0, now_ms, learns=learns)
            return
        later = self._failures_after(now_ms)
        if not self.is_out:
            self._learn(1.0, 1.0 + self.failures - later, now_ms, learns=learns)
        elif learns:
            self._count(now_ms - self.since_ms)
        self.failures, self.waiting = later, 0
        self.since_ms, self.seen_ms = now_ms, max(self.seen_ms, now_ms)

    def _failures_after(self, now_ms: int) -> int:
        """How many failures of the run are newer than this, were they evenly spread over it."""
        if not self.failures or now_ms >= self.seen_ms:
            return 0
        return round(self.failures * (self.seen_ms - now_ms) / (self.seen_ms - self.since_ms))

    def _learn(self, successes: float, trials: float, now_ms: int, *, learns: bool) -> None:
        if learns:
            self.health.add(successes, trials, now_ms, FIRST_SHIFT)

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

    def _count(self, length_ms: int) -> None:
        i = min(BINS - 1, int(math.log2(max(length_ms, _SHORTEST_MS) / _SHORTEST_MS)))
        kept = min(1.0, MOST_LENGTHS / (sum(self.lengths) + 1))
        self.lengths = [kept * count for count in self.lengths]
        self.lengths[i] += 1.0


def edge_ms(i: int) -> int:
    """The shortest length of a bin."""
    return int(_SHORTEST_MS * 2**i)
