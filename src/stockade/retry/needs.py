"""What function versions need of fuel, memory and time: quantile sketches.

A sketch counts values in bins whose edges grow by a tenth (as DDSketch: Masson et al., VLDB
2019), so a quantile is right within a tenth. A value that
passed its limit is only known to be larger; it counts as twice the limit. The `MOST_BINS` largest
bins are kept; what is smaller counts in the least of them.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

GROWTH = 1.1
MEMORY = 400.0
MOST_BINS = 22
MOST_BIN = 460
"""The bin of 10^19."""
_LOG = math.log(GROWTH)


@dataclass(slots=True)
class Sketch:
    """How often each size was needed; sizes are at least one."""

    counts: dict[int, float] = field(default_factory=dict)

    @property
    def runs(self) -> float:
        """How many runs it remembers, `MEMORY` at most."""
        return sum(self.counts.values())

    def add(self, value: float) -> None:
        """Counts a need; what is no size is passed over."""
        self.add_all((value,))

    def add_all(self, values: Iterable[float]) -> None:
        """Counts some hundreds of needs at most, one behind the other.

        What was counted before weighs less with each: here instead what comes later weighs more,
        until all of it is made right at the end.
        """
        counts, runs, weight = dict(self.counts), self.runs, 1.0
        for value in values:
            if not (value >= 1 and math.isfinite(value)):
                continue
            i = min(MOST_BIN, bin_of(value))
            kept = min(1.0, MEMORY / (runs + 1))
            weight, runs = weight / kept, kept * runs + 1
            counts[i] = counts.get(i, 0.0) + weight
        if weight > 1:
            counts = {at: count / weight for at, count in counts.items()}
        self.counts = _largest(counts)

    def quantile(self, share: float, above: float = 0.0) -> float | None:
        """The size that so many of those above a size stay within; None without any."""
        least = bin_of(above) if above >= 1 else -1
        counted = sorted(item for item in self.counts.items() if item[0] > least)
        target = share * sum(count for _, count in counted)
        for i, count in counted:
            target -= count
            if target <= 1e-9:  # noqa: PLR2004 (what rounding leaves)
                return float(GROWTH**i)
        return None


def bin_of(value: float) -> int:
    """The bin whose upper edge is the first that is not below a size."""
    return math.ceil(math.log(value) / _LOG)


def _largest(counts: dict[int, float]) -> dict[int, float]:
    if len(counts) <= MOST_BINS:
        return counts
    ordered = sorted(counts.items())
    small, large = ordered[:-MOST_BINS], dict(ordered[-MOST_BINS:])
    large[min(large)] += sum(count for _, count in small)
    return large
