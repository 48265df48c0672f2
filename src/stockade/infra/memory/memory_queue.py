"""The `InvocationQueue` port in memory, for tests: the rules of Redis, gone with the process.

Several queues over one `MemoryQueueState` are the gateways and workers of one installation.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from stockade.core.errors import StockadeError
from stockade.core.invocations import (
    Claim,
    Completion,
    Invocation,
    InvocationRecord,
    SubmitReceipt,
)
from stockade.core.outcomes import Attempt, Outcome, Progress, ReasonCode, State, Usage
from stockade.core.ports import Clock
from stockade.infra.memory.memory_admission import accept
from stockade.infra.memory.memory_queue_state import Job, MemoryQueueState
from stockade.infra.queue_answers import (
    quarantine_detail,
    receipt_of,
    receipt_or_refusal,
)
from stockade.infra.queue_settings import QueueSettings

_DEFAULTS = QueueSettings()
LEASE_LOST = "The worker stopped renewing its lease."
_STOPPED = "The worker was stopped before the run was over."
_DIES_OUT = (Outcome.CRASHED, Outcome.LOST)


class MemoryInvocationQueue:
    """The queue of one process, gateway or worker.

    Args:
        clock: Tells what is due and overdue, and when leases end.
        consumer: This process as a worker.
        settings: Bounds and times.
        state: Shared by the processes of one installation.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        consumer: str = "",
        settings: QueueSettings = _DEFAULTS,
        state: MemoryQueueState | None = None,
    ) -> None:
        self._clock = clock
        self._consumer = consumer
        self._settings = settings
        self._state = state or MemoryQueueState(settings)
        self._seen_cancels: int | None = None

    async def aclose(self) -> None:
        """Nothing to close."""

    async def submit(self, invocation: Invocation) -> SubmitReceipt:
        """Acknowledges an invocation durably, once.

        Raises:
            StockadeError: `invocation.idempotency_conflict` (same key, other input),
                `tenant.rate_limited`, `queue.full`, `queue.shedding`.
        """
        answer = accept(invocation, self._state, self._settings, self._clock.now_ms())
        return receipt_of(answer, invocation, self._settings)

    async def record(self, tenant: str, invocation_id: str) -> InvocationRecord | None:
        """The record, or None when absent or another tenant's."""
        job = self._job(tenant, invocation_id)
        return None if job is None else job.as_record()

    async def invocation(self, tenant: str, invocation_id: str) -> Invocation | None:
        """What was asked, or None when absent or another tenant's."""
        job = self._job(tenant, invocation_id)
        return None if job is None else job.invocation

    async def cancel(self, tenant: str, invocation_id: str, now_ms: int) -> bool | None:
        """Ends a queued invocation as `cancelled` and asks the worker to stop a running one.

        Returns None when absent or another tenant's, False when it was done already.
        """
        job = self._job(tenant, invocation_id)
        if job is None:
            return None
        if job.state is State.DONE:
            return False
        if job.entry:
            self._state.tell_cancelled(invocation_id)
        if job.state is State.RUNNING:
            job.cancel_requested = True
        else:
            self._state.finish(job, Outcome.CANCELLED, now_ms)
            self._state.dispatch(self._clock.now_ms())
        return True

    async def submit_many(
        self, tenant: str, invocations: Sequence[Invocation]
    ) -> Sequence[SubmitReceipt | StockadeError]:
        """Submits many of one tenant's invocations; each is answered for itself, in their order."""
        del tenant
        now, settings = self._clock.now_ms(), self._settings
        answers = [accept(one, self._state, settings, now) for one in invocations]
        return [
            receipt_or_refusal(answer, invocation, settings)
            for invocation, answer in zip(invocations, answers, strict=True)
        ]

    async def dead_letters(
        self, tenant: str, most: int, before: str = ""
    ) -> Sequence[InvocationRecord]:
        """What failed for good and could be redriven, newest submission first."""
        self._state.forget_old(self._clock.now_ms())
        dead = sorted(
            (job for job in self._state.jobs.values() if job.is_dead(tenant)),
            key=lambda job: job.invocation.id,
            reverse=True,
        )
        after = [job for job in dead if not before or job.invocation.id < before]
        return [job.as_record() for job in after[:most]]

    async def redrive(self, tenant: str, invocation_id: str) -> bool | None:
        """Queues a dead letter again, settings kept and attempts counted on."""
        job = self._job(tenant, invocation_id)
        if job is None:
            return None
        if not job.is_dead(tenant):
            return False
        self._state.revive(job, self._clock.now_ms())
        return True

    async def wait(self, tenant: str, invocation_id: str, timeout_seconds: float) -> bool:
        """Waits until an invocation submitted with this queue's `reply_to` is done."""
        job = self._job(tenant, invocation_id)
        if job is None:
            return False
        try:
            async with asyncio.timeout(timeout_seconds):
                await job.done.wait()
        except TimeoutError:
            return job.state is State.DONE
        return True

    async def claim(self, count: int, timeout_seconds: float) -> Sequence[Claim]:
        """Up to `count` claims of this worker, waiting for the first up to the timeout."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while not self._state.unclaimed:
                    await self._state.wait_for_ready()
        except TimeoutError:
            return ()
        many = min(count, len(self._state.unclaimed))
        return [self._hand_out(self._state.unclaimed.popleft()) for _ in range(many)]

    async def begin(self, claim: Claim, now_ms: int) -> bool:
        """Marks the attempt running; False when the claim is stale or the invocation cancelled."""
        job = self._fenced(claim)
        if job is None or job.cancel_requested:
            return False
        if job.state is State.RUNNING:
            return True
        if job.overdue(self._clock.now_ms()):
            self._state.expire(job, self._clock.now_ms())
            self._state.dispatch(self._clock.now_ms())
            return False
        job.state = State.RUNNING
        if job.started_ms is None:
            job.started_ms = now_ms
        return True

    async def complete(self, claim: Claim, completion: Completion) -> bool:
        """Records the attempt's end and acknowledges in one step; False when stale."""
        job = self._fenced(claim)
        if job is None:
            return False
        job.attempts.append(replace(completion.attempt, ended_ms=completion.finished_ms))
        if job.started_ms is None:
            job.started_ms = completion.started_ms
        job.deaths += completion.attempt.outcome in _DIES_OUT
        again = completion.retry_at_ms
        if again is not None and job.cancel_requested:
            self._state.finish(job, Outcome.CANCELLED, completion.finished_ms)
        elif again is not None and job.deaths < self._settings.max_deaths:
            job.carry = completion.carry
            now_ms = self._clock.now_ms()
            due_ms = min(again, now_ms) if again <= completion.finished_ms else again
            self._state.requeue(job, due_ms, completion.finished_ms, now_ms)
        else:
            job.result = completion
            job.drop_input()
            outcome, limit = completion.attempt.outcome, completion.attempt.limit
            detail = completion.attempt.detail
            self._state.finish(job, outcome, completion.finished_ms, limit=limit, detail=detail)
        self._state.dispatch(self._clock.now_ms())
        return True

    async def hand_back(self, claim: Claim, *, ran: bool) -> bool:
        """Gives a claim up for another worker to take at once; False when it is stale."""
        job, now = self._fenced(claim), self._clock.now_ms()
        if job is None:
            return False
        if ran:
            job.attempts.append(_lost(job.attempt, _STOPPED, now))
            job.attempt += 1
            job.first_failure_ms = job.first_failure_ms or now
        if job.cancel_requested:
            self._state.finish(job, Outcome.CANCELLED, now)
        else:
            self._state.put_back(job)
        self._state.dispatch(now)
        return True

    async def heartbeat(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Renews the leases; returns the claims that are no longer held or were cancelled."""
        self._state.touch_worker(self._consumer, self._clock.now_ms())
        return [claim for claim in claims if not self._renew(claim)]

    async def cancellations(self, timeout_seconds: float) -> Sequence[str]:
        """Ids that were cancelled while a worker had them."""
        if self._seen_cancels is None:
            self._seen_cancels = len(self._state.cancelled)
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._seen_cancels == len(self._state.cancelled):
                    await self._state.wait_for_cancel()
        except TimeoutError:
            return ()
        told = self._state.cancelled[self._seen_cancels :]
        self._seen_cancels += len(told)
        return told

    async def report_progress(self, claim: Claim, progress: Progress) -> None:
        """Notes how far a run is; dropped when the claim is not held any more."""
        if job := self._fenced(claim):
            job.progress = progress

    async def reclaim(self, count: int) -> Sequence[Claim]:
        """Takes over claims whose lease ran out: the next attempt, and one more death."""
        now = self._clock.now_ms()
        over = [job for job in self._state.in_flight() if job.lease_ends_ms <= now][:count]
        taken = [self._hand_out(job.entry) for job in over if self._lose(job, now)]
        self._state.dispatch(now)
        return taken

    async def tick(self, capacity: int, now_ms: int) -> int:
        """Announces this worker's capacity and makes due work ready; returns how much became ready.

        What is due is told by the queue's clock, as by the server's in Redis; `now_ms` is not
        looked at.
        """
        del now_ms
        now = self._clock.now_ms()
        self._state.announce(self._consumer, capacity, now)
        moved = self._state.move_due(now)
        self._state.dispatch(now)
        return moved

    async def time_ms(self) -> int:
        """Unix time in milliseconds by the clock that was given."""
        return self._clock.now_ms()

    def _job(self, tenant: str, invocation_id: str) -> Job | None:
        self._state.forget_old(self._clock.now_ms())
        job = self._state.jobs.get(invocation_id)
        return job if job is not None and job.invocation.tenant == tenant else None

    def _fenced(self, claim: Claim) -> Job | None:
        job = self._state.jobs.get(claim.invocation.id)
        if job is None or job.state is State.DONE:
            return None
        return job if (job.attempt, job.entry) == (claim.attempt, claim.entry) else None

    def _hand_out(self, entry: str) -> Claim:
        job = self._state.ready[entry]
        job.holder = self._consumer
        job.lease_ends_ms = self._clock.now_ms() + self._settings.lease_ms
        return Claim(
            job.invocation, job.attempt, entry, job.deaths, job.first_failure_ms, job.carry
        )

    def _renew(self, claim: Claim) -> bool:
        job = self._fenced(claim)
        if job is None or job.holder != self._consumer:
            return False
        job.lease_ends_ms = self._clock.now_ms() + self._settings.lease_ms
        return not job.cancel_requested

    def _lose(self, job: Job, now_ms: int) -> bool:
        job.attempts.append(_lost(job.attempt, LEASE_LOST, now_ms))
        job.state = State.QUEUED
        job.attempt += 1
        job.deaths += 1
        job.first_failure_ms = job.first_failure_ms or now_ms
        if job.cancel_requested:
            self._state.finish(job, Outcome.CANCELLED, now_ms)
        elif job.deaths >= self._settings.max_deaths:
            self._state.finish(job, Outcome.LOST, now_ms, detail=quarantine_detail(job.deaths))
        elif job.overdue(now_ms):
            self._state.expire(job, now_ms)
        return job.state is State.QUEUED


def _lost(number: int, reason: str, now_ms: int) -> Attempt:
    return Attempt(number, Outcome.LOST, reason, Usage(), code=ReasonCode.LOST, ended_ms=now_ms)
