"""How the installation stands: to its operator as a whole, to a tenant as far as it is its own."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from gateway.services import Services
from stockade.core.installation_status import QueueFigures, RunningShare, WorkerReport
from stockade.core.principals import Principal, Role
from stockade.core.single_flight import SingleFlight

MINUTES = 5
_KEPT_MS = 1000


@dataclass(frozen=True, slots=True)
class _Seen:
    """How all stood at one time."""

    at_ms: int
    queue: QueueFigures
    workers: Sequence[WorkerReport]


class StatusTeller:
    """Looks at most once a second, however many ask.

    Args:
        services: The gateway's.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._seen: _Seen | None = None
        self._looking: SingleFlight[str, _Seen] = SingleFlight()

    async def installation(self, stale: Sequence[str]) -> dict[str, object]:
        """All of it.

        Args:
            stale: Policy files of this gateway whose newest change is not in force.
        """
        seen = await self._look()
        ended, failed = _ends(seen.workers)
        queue = asdict(seen.queue)
        return {
            "scope": "installation",
            "queue": queue,
            "working": _any_works(seen.workers),
            "workers": [asdict(worker) for worker in seen.workers],
            "capacity": sum(worker.capacity for worker in seen.workers),
            "running": [asdict(share) for share in _shares(seen.workers)],
            "recent": _recent(ended, failed),
            "stale": sorted({*stale, *(name for one in seen.workers for name in one.stale)}),
            "weak_walls": sorted(
                {
                    *self._services.weak_walls,
                    *(wall for one in seen.workers for wall in one.weak_walls),
                }
            ),
        }

    async def tenant(self, tenant: str) -> dict[str, object]:
        """What is the tenant's own, and whether anybody works."""
        seen = await self._look()
        figures = await self._services.board.queue_of(tenant)
        ended, failed = _ends(seen.workers, tenant)
        return {
            "scope": "tenant",
            "queue": asdict(figures),
            "working": _any_works(seen.workers),
            "running": [asdict(share) for share in _shares(seen.workers, tenant)],
            "recent": _recent(ended, failed),
        }

    async def _look(self) -> _Seen:
        seen, now_ms = self._seen, self._services.clock.now_ms()
        if seen is None or not 0 <= now_ms - seen.at_ms < _KEPT_MS:
            seen = self._seen = await self._looking.run("all", self._look_now)
        return seen

    async def _look_now(self) -> _Seen:
        board = self._services.board
        return _Seen(self._services.clock.now_ms(), await board.queue(), await board.workers())


def sees_all(caller: Principal, operator_tenant: str) -> bool:
    """Whether the caller is an operator: an admin, not narrowed, of the tenant that is theirs."""
    is_admin = caller.role is Role.ADMIN and not caller.scopes
    return bool(operator_tenant) and caller.tenant == operator_tenant and is_admin


def _shares(workers: Iterable[WorkerReport], tenant: str | None = None) -> list[RunningShare]:
    """What runs on all of them together, the most of it first."""
    counts: dict[tuple[str, str], int] = {}
    for share in (share for worker in workers for share in worker.running):
        if tenant in {None, share.tenant}:
            of = share.tenant, share.function
            counts[of] = counts.get(of, 0) + share.count
    return [
        RunningShare(*of, counts[of]) for of in sorted(counts, key=lambda of: (-counts[of], of))
    ]


def _any_works(workers: Iterable[WorkerReport]) -> bool:
    return any(worker.state == "working" for worker in workers)


def _ends(workers: Iterable[WorkerReport], tenant: str | None = None) -> tuple[int, int]:
    ends = [end for worker in workers for end in worker.recent if tenant in {None, end.tenant}]
    return sum(end.ended for end in ends), sum(end.failed for end in ends)


def _recent(ended: int, failed: int) -> dict[str, object]:
    rate = failed / ended if ended else None
    return {"minutes": MINUTES, "ended": ended, "failed": failed, "error_rate": rate}
