"""Budgets of retries: earned by successes, so that retries never outweigh the work itself.

A tenant's retries are paid from what its own successes earned. Beyond that each tenant has a small
allowance that need not be earned; all allowances together are bounded by the platform's. So a
tenant that burns its own, and even the platform's, never slows who earns.
"""

from dataclasses import dataclass, field

EARNED = 0.6
"""Retries for each success (Finagle's default is 0.2)."""
MOST_EARNED = 100.0
ALLOWED_PER_SECOND = 1.0
MOST_ALLOWED = 100.0
PLENTY = 80.0
"""Tokens above which nothing is spaced."""
PLATFORM_PER_SECOND = 50.0
MOST_OF_PLATFORM = 5000.0


@dataclass(slots=True)
class Bucket:
    """Tokens that time brings; a retry takes one, of the future if need be. Clocks may jump."""

    per_second: float
    most: float
    tokens: float
    seen_ms: int | None = None

    def wait_ms(self, now_ms: int) -> int:
        """How long until there is a token."""
        if self.seen_ms is not None:
            passed = max(0, now_ms - self.seen_ms)
            self.tokens = min(self.most, self.tokens + passed / 1000 * self.per_second)
        self.seen_ms = now_ms
        return 0 if self.tokens >= 1 else int((1 - self.tokens) / self.per_second * 1000) + 1


def _platform() -> Bucket:
    return Bucket(PLATFORM_PER_SECOND, MOST_OF_PLATFORM, MOST_OF_PLATFORM)


@dataclass(slots=True)
class Budgets:
    """Those of all tenants, and the platform's."""

    platform: Bucket = field(default_factory=_platform)
    earned: dict[str, float] = field(default_factory=dict)
    allowed: dict[str, Bucket] = field(default_factory=dict)

    def earn(self, tenant: str) -> None:
        """A success."""
        self.earned[tenant] = min(MOST_EARNED, self.earned.get(tenant, 0.0) + EARNED)

    def wait_ms(self, tenant: str, now_ms: int) -> int:
        """How long one more retry of a tenant must wait."""
        if self.earned.get(tenant, 0.0) >= 1:
            return 0
        return max(self._of(tenant).wait_ms(now_ms), self.platform.wait_ms(now_ms))

    def scarcity(self, tenant: str) -> float:
        """From 0, when there is plenty, to 1, when nothing is left."""
        left = self.earned.get(tenant, 0.0) + self._of(tenant).tokens
        return min(1.0, max(0.0, 1 - left / PLENTY))

    def take(self, tenant: str, cost: float = 1.0) -> None:
        """A retry that was decided."""
        if self.earned.get(tenant, 0.0) >= 1:
            self.earned[tenant] -= cost
        else:
            self._of(tenant).tokens -= cost
            self.platform.tokens -= cost

    def _of(self, tenant: str) -> Bucket:
        if tenant not in self.allowed:
            self.allowed[tenant] = Bucket(ALLOWED_PER_SECOND, MOST_ALLOWED, MOST_ALLOWED)
        return self.allowed[tenant]
