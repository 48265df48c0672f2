"""How tenants share the workers: weights against each other, and how many run at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TenantShare:
    """One tenant's share. A tenant of weight 2 gets twice the turns of one of weight 1.

    `concurrency` is how many of its invocations run at once at most; None leaves them unbounded.
    """

    weight: int = 1
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class SharePolicy:
    """Every tenant's share."""

    default: TenantShare = TenantShare()
    tenants: Mapping[str, TenantShare] = field(default_factory=dict)

    def share(self, tenant: str) -> TenantShare:
        """The tenant's share."""
        return self.tenants.get(tenant, self.default)
