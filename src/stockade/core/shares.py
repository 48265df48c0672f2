"""How tenants share the workers, and how much of their work is taken in at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field


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


@dataclass(frozen=True, slots=True)
class TenantShare:
    """One tenant's share. A tenant of weight 2 gets twice the turns of one of weight 1.

    `concurrency` is how many of its invocations run at once at most, `rate_limit` how many it may
    submit; None leaves them unbounded. `backlog` is how many may wait, None takes the queue's own
    bound.
    """

    weight: int = 1
    concurrency: int | None = None
    rate_limit: RateLimit | None = None
    backlog: int | None = None


@dataclass(frozen=True, slots=True)
class SharePolicy:
    """Every tenant's share."""

    default: TenantShare = TenantShare()
    tenants: Mapping[str, TenantShare] = field(default_factory=dict)

    def share(self, tenant: str) -> TenantShare:
        """The tenant's share."""
        return self.tenants.get(tenant, self.default)
