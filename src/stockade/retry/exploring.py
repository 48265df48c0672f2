"""Explorations: a few retries against the estimate, to see whether the world changed."""

from dataclasses import dataclass, field

from stockade.retry.types import FailureContext

EXPLORED = 0.01
"""The share of decisions that try again against the estimate."""
MOST_EXPLORED = 10.0
"""Explorations that a tenant may save up for when they are needed."""
PROBE_GAP_MS = 5000
"""Between two explorations of a tenant at least."""
MOST_TENANTS = 10_000
"""Whose explorations are counted; who comes back after that begins without credit."""


@dataclass(slots=True)
class _Explorer:
    credit: float = 0.0
    explored_ms: int = -PROBE_GAP_MS


@dataclass(slots=True)
class Explorers:
    """What each tenant may still explore, and when it last did."""

    tenants: dict[str, _Explorer] = field(default_factory=dict)

    def earn(self, tenant: str) -> None:
        """A decision."""
        explorer = self.tenants.pop(tenant, None) or _Explorer()
        if len(self.tenants) >= MOST_TENANTS:
            del self.tenants[next(iter(self.tenants))]
        self.tenants[tenant] = explorer
        explorer.credit = min(MOST_EXPLORED, explorer.credit + EXPLORED)

    def may(self, context: FailureContext) -> bool:
        """Whether this failure may be tried again against the estimate."""
        if context.repeats or context.deterministic or context.attempt > 1:
            return False
        explorer = self.tenants.get(context.source.tenant)
        if explorer is None or explorer.credit < 1:
            return False
        return abs(context.now_ms - explorer.explored_ms) >= PROBE_GAP_MS

    def take(self, context: FailureContext) -> None:
        """An exploration that was decided."""
        explorer = self.tenants[context.source.tenant]
        explorer.credit -= 1
        explorer.explored_ms = context.now_ms
