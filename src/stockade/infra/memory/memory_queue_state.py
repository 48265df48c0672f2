"""What the processes of one in-memory installation share: jobs, backlogs, ready, due."""

import asyncio
import itertools
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from stockade.core.invocations import (
    NOTHING_CARRIED,
    Completion,
    Invocation,
    InvocationRecord,
    RetryCarry,
)
from stockade.core.outcomes import Attempt, Outcome, Progress, State, Usage
from stockade.infra.queue_settings import KEPT_INPUT_BYTES, QueueSettings

_AGING_MS = 60_000
_DEAD = {Outcome.TRAPPED, Outcome.LIMIT_EXCEEDED, Outcome.CRASHED, Outcome.LOST, Outcome.EXPIRED}


@dataclass(slots=True)
class Job:
    """One invocation as it changes; `entry` is set while it is ready or in flight."""

    invocation: Invocation
    state: State = State.QUEUED
    attempt: int = 1
    deaths: int = 0
    entry: str = ""
    holder: str | None = None
    lease_ends_ms: int = 0
    cancel_requested: bool = False
    first_failure_ms: int | None = None
    carry: RetryCarry = NOTHING_CARRIED
    started_ms: int | None = None
    finished_ms: int | None = None
    outcome: Outcome | None = None
    limit: str | None = None
    detail: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    result: Completion | None = None
    progress: Progress | None = None
    gone_ms: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def is_dead(self, tenant: str) -> bool:
        """Whether it is a dead letter of this tenant's."""
        return self.invocation.tenant == tenant and self.outcome in _DEAD

    def drop_input(self) -> None:
        """Lets go of an inline input that a completed run has no use for."""
        of, result = self.invocation, self.result
        done = result is not None and result.attempt.outcome is Outcome.COMPLETED
        kept = result is not None and result.keep_input
        if done and not kept and len(of.input_inline or b"") > KEPT_INPUT_BYTES:
            self.invocation = replace(of, input_inline=None)

    def overdue(self, now_ms: int) -> bool:
        """Whether the deadline passed."""
        return self.invocation.deadline_ms is not None and self.invocation.deadline_ms <= now_ms

    def as_record(self) -> InvocationRecord:
        """How it reads to its tenant."""
        of, result = self.invocation, self.result
        return InvocationRecord(
            id=of.id,
            tenant=of.tenant,
            function=of.function,
            version=of.version,
            state=self.state,
            submitted_ms=of.submitted_ms,
            outcome=self.outcome,
            limit=self.limit,
            detail=self.detail,
            attempts=tuple(self.attempts),
            usage=self.attempts[-1].usage if self.attempts else Usage(),
            started_ms=self.started_ms,
            finished_ms=self.finished_ms,
            output_inline=result.output_inline if result else None,
            output_blob=result.output_blob if result else None,
            logs=result.logs if result else (),
            logs_truncated=result.logs_truncated if result else False,
            events=result.events if result else (),
            events_truncated=result.events_truncated if result else False,
            progress=self.progress,
        )


class MemoryQueueState:
    """The shared facts; every method leaves them consistent."""

    def __init__(self, settings: QueueSettings) -> None:
        self._settings = settings
        self._entries = itertools.count(1)
        self._arrived = asyncio.Event()
        self._workers: dict[str, tuple[int, int]] = {}
        self._active: deque[str] = deque()
        self._backlog: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._due: dict[str, int] = {}
        self._window = settings.window_floor
        self._shares: dict[str, tuple[int, int | None]] = {}
        self._turns: dict[str, int] = {}
        self._paused: set[str] = set()
        self._parked: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        self.jobs: dict[str, Job] = {}
        self.keys: dict[tuple[str, str], tuple[str, str]] = {}
        self.ready: dict[str, Job] = {}
        self.unclaimed: deque[str] = deque()
        self.cancelled: list[str] = []
        self.full_us: dict[str, int] = {}
        self._told = asyncio.Event()

    def add(self, invocation: Invocation, now_ms: int) -> None:
        """Takes a new invocation in, and makes ready what there is room for."""
        self.jobs[invocation.id] = job = Job(invocation)
        self._set_share(invocation)
        if invocation.run_at_ms is not None and invocation.run_at_ms > now_ms:
            self._due[invocation.id] = invocation.run_at_ms
        else:
            self._push_backlog(job, invocation.submitted_ms)
        self.dispatch(now_ms)

    def waiting(self, tenant: str) -> int:
        """How many of the tenant's invocations wait for their turn or their time."""
        due = sum(self.jobs[key].invocation.tenant == tenant for key in self._due)
        parked = (len(jobs) for (of, _), jobs in self._parked.items() if of == tenant)
        return len(self._backlog[tenant]) + due + sum(parked)

    def all_waiting(self) -> int:
        """How many of all tenants' wait."""
        return sum(map(len, (*self._backlog.values(), *self._parked.values(), self._due)))

    def later(self, tenant: str | None = None) -> int:
        """How many wait for their time, of a tenant or of all."""
        return sum(tenant in {None, self.jobs[key].invocation.tenant} for key in self._due)

    def oldest_ms(self, now_ms: int, tenant: str | None = None) -> int:
        """Since when the first in line waits, of a tenant, or of all that are not at their cap."""
        tenants = self._active if tenant is None else [tenant]
        firsts = [
            min(self._backlog[one].items(), key=lambda of: of[1])
            for one in tenants
            if self._backlog[one]
        ]
        since = [score - self.jobs[key].invocation.priority * _AGING_MS for key, score in firsts]
        return min(since, default=now_ms)

    def in_flight(self) -> Iterator[Job]:
        """What a worker holds."""
        return (job for job in self.ready.values() if job.holder is not None)

    async def wait_for_ready(self) -> None:
        """Returns when something was made ready."""
        self._arrived.clear()
        await self._arrived.wait()

    def tell_cancelled(self, invocation_id: str) -> None:
        """Tells the workers that something in their hands was cancelled."""
        self.cancelled.append(invocation_id)
        self._told.set()

    async def wait_for_cancel(self) -> None:
        """Returns when something was cancelled."""
        self._told.clear()
        await self._told.wait()

    def dispatch(self, now_ms: int) -> None:
        """Fills the window from the backlogs, each tenant in turn as many as its weight."""
        while self._active and len(self.ready) < self._window:
            self._serve(self._active.popleft(), now_ms)

    def _serve(self, tenant: str, now_ms: int) -> None:
        weight, cap = self._shares.get(tenant, (1, None))
        backlog, turn = self._backlog[tenant], self._turns.pop(tenant, weight)
        while backlog and turn > 0 and len(self.ready) < self._window:
            if cap is not None and self._held(tenant) >= cap:
                self._paused.add(tenant)
                return
            first = min(backlog, key=lambda key: (backlog[key], key))
            turn -= self._make_ready(self.jobs[first], backlog.pop(first), now_ms)
        if backlog and turn > 0:
            self._turns[tenant] = turn
            self._active.appendleft(tenant)
        elif backlog:
            self._active.append(tenant)

    def _set_share(self, invocation: Invocation) -> None:
        share = invocation.weight, invocation.tenant_concurrency
        if self._shares.get(invocation.tenant, (1, None)) != share:
            self._shares[invocation.tenant] = share
            self._unpause(invocation.tenant)

    def _held(self, tenant: str, function: str | None = None) -> int:
        return sum(
            job.invocation.tenant == tenant and function in {None, job.invocation.function}
            for job in self.ready.values()
        )

    def finish(
        self,
        job: Job,
        outcome: Outcome,
        finished_ms: int,
        *,
        limit: str | None = None,
        detail: str | None = None,
    ) -> None:
        """The one way to become done; takes the job out of wherever it waits."""
        job.state, job.outcome, job.finished_ms = State.DONE, outcome, finished_ms
        job.limit, job.detail = limit, detail
        self._drop(job)
        job.done.set()

    def expire(self, job: Job, now_ms: int) -> None:
        """Ends a job whose deadline passed."""
        detail = "The deadline passed before an attempt began."
        self.finish(job, Outcome.EXPIRED, now_ms, detail=detail)

    def requeue(self, job: Job, at_ms: int, failed_ms: int, now_ms: int) -> None:
        """Puts a job back for its next attempt, not before `at_ms`."""
        self._drop(job)
        job.state = State.QUEUED
        job.attempt += 1
        job.first_failure_ms = job.first_failure_ms or failed_ms
        if at_ms > now_ms:
            self._due[job.invocation.id] = at_ms
        else:
            self._push_backlog(job, at_ms)

    def put_back(self, job: Job) -> None:
        """Puts a job into its old place in the backlog."""
        self._drop(job)
        job.state = State.QUEUED
        self._push_backlog(job, job.invocation.submitted_ms)

    def forget_old(self, now_ms: int) -> None:
        """Drops the records whose retention is over; it begins when an end is first looked at."""
        for key, job in list(self.jobs.items()):
            if job.state is State.DONE:
                job.gone_ms = job.gone_ms or now_ms + self._settings.retention_ms
                if job.gone_ms <= now_ms:
                    del self.jobs[key]

    def revive(self, job: Job, now_ms: int) -> None:
        """Queues a dead letter again; a deadline that it had is dropped."""
        job.invocation = replace(job.invocation, deadline_ms=None)
        job.state, job.outcome, job.finished_ms = State.QUEUED, None, None
        job.limit = job.detail = job.result = job.progress = None
        job.cancel_requested, job.deaths, job.attempt = False, 0, job.attempt + 1
        job.gone_ms, job.carry = 0, NOTHING_CARRIED
        job.done.clear()
        self._push_backlog(job, now_ms)
        self.dispatch(now_ms)

    def announce(self, consumer: str, capacity: int, now_ms: int) -> None:
        """Counts a live worker's capacity towards the window."""
        self._workers[consumer] = (now_ms + self._settings.worker_ttl_ms, capacity)
        live = (capacity for expiry, capacity in self._workers.values() if expiry > now_ms)
        self._window = max(2 * sum(live), self._settings.window_floor)

    def touch_worker(self, consumer: str, now_ms: int) -> None:
        """Keeps a worker counted."""
        _, capacity = self._workers.get(consumer, (0, 0))
        self._workers[consumer] = (now_ms + self._settings.worker_ttl_ms, capacity)

    def move_due(self, now_ms: int) -> int:
        """Ends what is overdue and moves what is due into the backlogs; returns how many moved."""
        for job in self.jobs.values():
            if job.state is State.QUEUED and job.overdue(now_ms):
                self.expire(job, now_ms)
        due = [key for key, at_ms in self._due.items() if at_ms <= now_ms]
        for key in due:
            self._push_backlog(self.jobs[key], self._due.pop(key))
        return len(due)

    def _push_backlog(self, job: Job, since_ms: int) -> None:
        score = since_ms + job.invocation.priority * _AGING_MS
        self._insert_backlog(job.invocation.tenant, job.invocation.id, score)

    def _insert_backlog(self, tenant: str, key: str, score: int) -> None:
        if not self._backlog[tenant]:
            self._active.append(tenant)
        self._backlog[tenant][key] = score

    def _make_ready(self, job: Job, score: int, now_ms: int) -> bool:
        if job.overdue(now_ms):
            self.expire(job, now_ms)
            return False
        of = job.invocation
        if (cap := of.content.concurrency) and self._held(of.tenant, of.function) >= cap:
            self._parked[of.tenant, of.function][of.id] = score
            return False
        job.entry = f"{next(self._entries)}-0"
        self.ready[job.entry] = job
        self.unclaimed.append(job.entry)
        self._arrived.set()
        return True

    def _unpause(self, tenant: str) -> None:
        if tenant in self._paused:
            self._paused.remove(tenant)
            self._active.append(tenant)

    def _unpark(self, tenant: str, function: str) -> None:
        parked = self._parked[tenant, function]
        if not parked:
            return
        first = min(parked, key=lambda key: (parked[key], key))
        self._insert_backlog(tenant, first, parked.pop(first))

    def _drop(self, job: Job) -> None:
        key, tenant = job.invocation.id, job.invocation.tenant
        self._due.pop(key, None)
        self._parked[tenant, job.invocation.function].pop(key, None)
        if self._backlog[tenant].pop(key, None) is not None and not self._backlog[tenant]:
            self._paused.discard(tenant)
            if tenant in self._active:
                self._active.remove(tenant)
        if self.ready.pop(job.entry, None) is not None:
            if job.holder is None:
                self.unclaimed.remove(job.entry)
            self._unpause(tenant)
            self._unpark(tenant, job.invocation.function)
        job.entry, job.holder = "", None
