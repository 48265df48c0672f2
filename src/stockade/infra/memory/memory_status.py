"""The `StatusBoard` port in memory, for tests."""

from collections import Counter
from collections.abc import Sequence

from stockade.core.installation_status import (
    REPORT_TTL_MS,
    QueueFigures,
    TenantFigures,
    WorkerReport,
)
from stockade.core.outcomes import Outcome
from stockade.core.ports import Clock
from stockade.infra.memory.memory_queue import LEASE_LOST
from stockade.infra.memory.memory_queue_state import MemoryQueueState
from stockade.infra.queue_settings import QueueSettings

_DEFAULTS = QueueSettings()
_UNCOUNTED = (None, Outcome.COMPLETED)
_DIED = (Outcome.LOST, Outcome.CRASHED)


class MemoryStatusBoard:
    """See `StatusBoard`.

    Args:
        clock: The queue's.
        state: What the queue's processes share.
        settings: The queue's.
    """

    def __init__(
        self, clock: Clock, state: MemoryQueueState, settings: QueueSettings = _DEFAULTS
    ) -> None:
        self._clock = clock
        self._state = state
        self._settings = settings
        self._reports: dict[str, tuple[int, WorkerReport]] = {}

    async def queue(self) -> QueueFigures:
        """All tenants together."""
        state, now_ms = self._state, self._clock.now_ms()
        in_flight = len(list(state.in_flight()))
        later = state.later()
        jobs = list(state.jobs.values())
        ended = Counter(job.outcome.value for job in jobs if job.outcome not in _UNCOUNTED)
        return QueueFigures(
            backlog=state.all_waiting() - later,
            later=later,
            ready=len(state.ready) - in_flight,
            in_flight=in_flight,
            oldest_wait_ms=max(0, now_ms - state.oldest_ms(now_ms)),
            reclaimed=sum(attempt.reason == LEASE_LOST for job in jobs for attempt in job.attempts),
            quarantined=sum(
                job.outcome in _DIED and job.deaths >= self._settings.max_deaths for job in jobs
            ),
            ended=ended,
        )

    async def queue_of(self, tenant: str) -> TenantFigures:
        """One tenant."""
        state, now_ms = self._state, self._clock.now_ms()
        later = state.later(tenant)
        oldest_ms = max(0, now_ms - state.oldest_ms(now_ms, tenant))
        return TenantFigures(state.waiting(tenant) - later, later, oldest_ms)

    async def report(self, report: WorkerReport) -> None:
        """What a worker says of itself, in place of what it said before."""
        self._reports[report.name] = self._clock.now_ms() + REPORT_TTL_MS, report

    async def workers(self) -> Sequence[WorkerReport]:
        """Those that reported lately, by name."""
        now_ms = self._clock.now_ms()
        return [report for _name, (ends, report) in sorted(self._reports.items()) if ends > now_ms]
