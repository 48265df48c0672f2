"""How often a tenant may submit."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket: `per_second` come in, at most `burst` are kept, each submission takes one.

    Counted in whole microseconds, so that every store comes to the same answer.
    """

    per_second: float
    burst: int

    @property
    def interval_us(self) -> int:
        """How long one token takes to come in."""
        return max(1, round(1_000_000 / self.per_second))

    @property
    def allowance_us(self) -> int:
        """How long an empty bucket takes to be full."""
        return self.burst * self.interval_us
