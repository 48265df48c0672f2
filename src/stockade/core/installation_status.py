"""How an installation stands: what waits, what runs, which workers live."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

MOST_TOLD = 100
"""Functions and tenants that one worker's report names at most, the busiest first."""
REPORT_TTL_MS = 10_000
"""A worker that has not reported for so long is told of no more."""


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """What waits and runs, over all tenants.

    `backlog` waits for room, `later` for its time, `ready` for a worker. `oldest_wait_ms` is how
    long the first in line waits; tenants at their own cap do not count. Of the rest, counters since
    the store began: leases taken over, invocations given up after too many deaths, and ends other
    than `completed`, by outcome.
    """

    backlog: int = 0
    later: int = 0
    ready: int = 0
    in_flight: int = 0
    oldest_wait_ms: int = 0
    reclaimed: int = 0
    quarantined: int = 0
    ended: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TenantFigures:
    """What waits of one tenant, and since when its first in line does."""

    backlog: int = 0
    later: int = 0
    oldest_wait_ms: int = 0


@dataclass(frozen=True, slots=True)
class RunningShare:
    """How many attempts of a function run on one worker."""

    tenant: str
    function: str
    count: int


@dataclass(frozen=True, slots=True)
class RecentEnds:
    """How many invocations of a tenant ended on a worker of late; how many of those failed."""

    tenant: str
    ended: int
    failed: int


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker says of itself, every few seconds.

    Args:
        name: New at each start.
        version: The release.
        state: `starting`, `working` or `draining`.
        capacity: How many attempts may run at once.
        uptime_seconds: Since its start.
        running: What runs, the most of it first, at most `MOST_TOLD`.
        recent: What ended in the last five minutes, likewise.
        stale: Policy files whose newest change is not in force.
        weak_walls: Walls of its host that are missing or have a gap.
    """

    name: str
    version: str
    state: str
    capacity: int
    uptime_seconds: int
    running: tuple[RunningShare, ...] = ()
    recent: tuple[RecentEnds, ...] = ()
    stale: tuple[str, ...] = ()
    weak_walls: tuple[str, ...] = ()


class StatusBoard(Protocol):
    """Tells how the installation stands. Looks only; costs no run anything."""

    async def queue(self) -> QueueFigures:
        """All tenants together."""

    async def queue_of(self, tenant: str) -> TenantFigures:
        """One tenant."""

    async def report(self, report: WorkerReport) -> None:
        """What a worker says of itself, in place of what it said before."""

    async def workers(self) -> Sequence[WorkerReport]:
        """Those that reported lately, by name."""
