"""How often something succeeds: counts that fade, shrunk towards those of the wider scope.

A rate fades with time and remembers `MEMORY` trials at most. Two sums watch for a change (CUSUM:
Page, Biometrika 1954): when what comes is far likelier under odds `shift` times better, or worse,
than under what is remembered, the memory is void and begins anew. Estimates are means of a beta
distribution whose prior is the wider scope's estimate with the weight of `PRIOR_TRIALS` (Gelman et
al., Bayesian Data Analysis, chapters 2 and 5).
"""

import math
from dataclasses import dataclass

PRIOR = 0.5
"""The chance of what nothing is known of."""
PRIOR_TRIALS = 6.0
MEMORY = 200.0
HALF_LIFE_MS = 3_600_000.0
SHIFT = 8.0
FIRST_SHIFT = 3.0
ALARM = 7.0
MOST_CHANGES = 65_535
_KNOWN = 8.0
CLOCK_ERROR_MS = 3_600_000
"""What lies further back than this before what was seen last is told by another clock."""


@dataclass(slots=True)
class Rate:
    """Successes among trials, fading. Times are Unix milliseconds; they may jump.

    `changes` counts how often the memory was void.
    """

    successes: float = 0.0
    trials: float = 0.0
    changes: int = 0
    seen_ms: int = 0
    better: float = 0.0
    worse: float = 0.0

    def add(self, successes: float, trials: float, now_ms: int, shift: float = SHIFT) -> bool:
        """Counts what was seen; True when it tells of a change.

        What comes late (another worker saw it) counts as if it had faded beside the others.
        """
        self.fade(now_ms)
        weight = 0.5 ** (max(0, self.seen_ms - max(0, now_ms)) / HALF_LIFE_MS)
        changed = self._changed(successes, trials, shift)
        if changed:
            self.renew(0.0 if changed < 0 else PRIOR_TRIALS)
        self.successes += weight * successes
        self.trials += weight * trials
        if self.trials > MEMORY:
            self.successes *= MEMORY / self.trials
            self.trials = MEMORY
        return bool(changed)

    def renew(self, successes: float = PRIOR * PRIOR_TRIALS) -> None:
        """Forgets all, and begins with so many successes in `PRIOR_TRIALS` trials."""
        self.successes, self.trials = successes, PRIOR_TRIALS
        self.better = self.worse = 0.0
        self.changes = min(MOST_CHANGES, self.changes + 1)

    def fade(self, now_ms: int) -> None:
        """Lets time pass; a clock that went back lets none pass."""
        kept = self.kept(now_ms)
        self.successes *= kept
        self.trials *= kept
        if now_ms > self.seen_ms or self.seen_ms - now_ms > CLOCK_ERROR_MS:
            self.seen_ms = max(0, now_ms)

    def estimate(self, prior: float, now_ms: int) -> float:
        """The probability of success, given that of the wider scope."""
        kept = self.kept(now_ms)
        return (kept * self.successes + PRIOR_TRIALS * prior) / (kept * self.trials + PRIOR_TRIALS)

    def kept(self, now_ms: int) -> float:
        """The share that is left of what was counted."""
        passed = now_ms - self.seen_ms
        return 0.5 ** (passed / HALF_LIFE_MS) if passed > 0 else 1.0

    def _changed(self, successes: float, trials: float, shift: float) -> int:
        """1 when what was seen is of a better rate than what is remembered, -1 of a worse."""
        if self.trials < _KNOWN:
            return 0
        mean = (self.successes + 0.5) / (self.trials + 1)
        self.better = max(0.0, self.better + _evidence(mean, shift, successes, trials))
        self.worse = max(0.0, self.worse + _evidence(mean, 1 / shift, successes, trials))
        return (self.better > ALARM) - (self.worse > ALARM)


def _evidence(mean: float, shift: float, successes: float, trials: float) -> float:
    """The logarithm of how much likelier this is when the odds are so many times the mean's."""
    odds = shift * mean / (1 - mean)
    other = odds / (1 + odds)
    return successes * math.log(other / mean) + (trials - successes) * math.log(
        (1 - other) / (1 - mean)
    )
