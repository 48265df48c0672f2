"""How far apart a tenant's runs are kept, beyond a fresh store and instance for each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class IsolationLevel(StrEnum):
    """`tenant`: runs of one tenant share processes. `invocation`: each run has its own."""

    TENANT = "tenant"
    INVOCATION = "invocation"


@dataclass(frozen=True, slots=True)
class IsolationPolicy:
    """The level of each tenant."""

    default: IsolationLevel = IsolationLevel.TENANT
    tenants: Mapping[str, IsolationLevel] = field(default_factory=dict)

    def level(self, tenant: str) -> IsolationLevel:
        """The tenant's level."""
        return self.tenants.get(tenant, self.default)
