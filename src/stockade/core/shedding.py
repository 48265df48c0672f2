"""Which work is refused first when too much of all tenants' work waits."""

from dataclasses import dataclass

from stockade.core.invocations import Priority


@dataclass(frozen=True, slots=True)
class Shedding:
    """From how much waiting work on each priority is refused.

    Args:
        waiting_limit: How many invocations of all tenants may wait; nothing passes beyond.
        low: From this fraction of it on, `low` is refused.
        normal: Likewise `normal`.
        high: Likewise `high`; beyond it only `urgent` passes, whoever sends it.
        few: A tenant of whom fewer wait is not refused before `high`, whatever its priority.
    """

    waiting_limit: int = 1_000_000
    low: float = 0.5
    normal: float = 0.75
    high: float = 0.9
    few: int = 10

    def bound(self, priority: Priority, partitions: int = 1) -> int:
        """How many waiting invocations refuse this priority, of each of so many equal parts."""
        fractions = {Priority.LOW: self.low, Priority.NORMAL: self.normal, Priority.HIGH: self.high}
        return max(1, int(fractions.get(priority, 1.0) * self.waiting_limit) // partitions)

    def bound_of_few(self, priority: Priority, partitions: int = 1) -> int:
        """Likewise for a tenant of whom few wait."""
        return max(self.bound(priority, partitions), self.bound(Priority.HIGH, partitions))


DEFAULT_SHEDDING = Shedding()
