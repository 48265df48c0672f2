"""How tenants share the workers, and how much of their work is taken in at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stockade.core.rate_limits import RateLimit
from stockade.core.shedding import DEFAULT_SHEDDING, Shedding


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
    """Every tenant's share, and what is refused when all of them together send too much."""

    default: TenantShare = TenantShare()
    tenants: Mapping[str, TenantShare] = field(default_factory=dict)
    shedding: Shedding = DEFAULT_SHEDDING

    def share(self, tenant: str) -> TenantShare:
        """The tenant's share."""
        return self.tenants.get(tenant, self.default)
