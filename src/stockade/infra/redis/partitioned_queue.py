"""The `InvocationQueue` port over several partitions, each of which may have a server of its own.

Everything of a tenant stands in one partition, by a hash of its name, so a call that is about one
invocation goes to one partition alone. A worker serves all of them in turn; a partition whose
server is away does not keep it from the others.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import structlog

from stockade.core.errors import StockadeError
from stockade.core.invocations import (
    Claim,
    Completion,
    Invocation,
    InvocationRecord,
    SubmitReceipt,
)
from stockade.core.outcomes import Progress
from stockade.infra.redis.redis_keys import partition_of
from stockade.infra.redis.redis_queue import RedisInvocationQueue

T = TypeVar("T")
_log = structlog.get_logger()
_REST_SECONDS = 2.0
_LONGEST_REST_SECONDS = 30.0
_BELL_SECONDS = 30.0
_PATIENCE_SECONDS = 0.5
"""So long all partitions wait for one; a lease is to be renewed long before it ends."""


class PartitionedInvocationQueue:
    """One process's queue over all partitions.

    Args:
        partitions: A queue for each, in their order; closed with this one.
    """

    def __init__(self, partitions: Sequence[RedisInvocationQueue]) -> None:
        self._partitions = list(partitions)
        self._turns = deque(partitions)
        self._clocks = deque(partitions)
        self._rests_until: dict[RedisInvocationQueue, float] = {}
        self._beats: _Rounds[Sequence[Claim]] = _Rounds()
        self._ticks: _Rounds[int] = _Rounds()
        self._bells = _Waits(lambda one: one.await_more(_BELL_SECONDS))
        self._hearing = _Waits(lambda one: one.cancellations(_BELL_SECONDS))

    async def aclose(self) -> None:
        """Closes all partitions' queues."""
        await self._bells.aclose()
        await self._hearing.aclose()
        await self._beats.aclose()
        await self._ticks.aclose()
        for partition in self._partitions:
            await partition.aclose()

    async def submit(self, invocation: Invocation) -> SubmitReceipt:
        """Acknowledges an invocation durably, once."""
        return await self._of(invocation.tenant).submit(invocation)

    async def record(self, tenant: str, invocation_id: str) -> InvocationRecord | None:
        """The record, or None when absent or another tenant's."""
        return await self._of(tenant).record(tenant, invocation_id)

    async def invocation(self, tenant: str, invocation_id: str) -> Invocation | None:
        """What was asked, or None when absent or another tenant's."""
        return await self._of(tenant).invocation(tenant, invocation_id)

    async def cancel(self, tenant: str, invocation_id: str, now_ms: int) -> bool | None:
        """Ends a queued invocation as `cancelled` and asks the worker to stop a running one."""
        return await self._of(tenant).cancel(tenant, invocation_id, now_ms)

    async def submit_many(
        self, tenant: str, invocations: Sequence[Invocation]
    ) -> Sequence[SubmitReceipt | StockadeError]:
        """Submits many of one tenant's invocations; each is answered for itself, in their order."""
        return await self._of(tenant).submit_many(tenant, invocations)

    async def dead_letters(
        self, tenant: str, most: int, before: str = ""
    ) -> Sequence[InvocationRecord]:
        """What failed for good and could be redriven, newest submission first."""
        return await self._of(tenant).dead_letters(tenant, most, before)

    async def redrive(self, tenant: str, invocation_id: str) -> bool | None:
        """Queues a dead letter again, settings kept and attempts counted on."""
        return await self._of(tenant).redrive(tenant, invocation_id)

    async def wait(self, tenant: str, invocation_id: str, timeout_seconds: float) -> bool:
        """Waits until an invocation submitted with this queue's `reply_to` is done."""
        return await self._of(tenant).wait(tenant, invocation_id, timeout_seconds)

    async def begin(self, claim: Claim, now_ms: int) -> bool:
        """Marks the attempt running; False when the claim is stale or the invocation cancelled."""
        return await self._of(claim.invocation.tenant).begin(claim, now_ms)

    async def complete(self, claim: Claim, completion: Completion) -> bool:
        """Records the attempt's end and acknowledges in one step; False when stale."""
        return await self._of(claim.invocation.tenant).complete(claim, completion)

    async def hand_back(self, claim: Claim, *, ran: bool) -> bool:
        """Gives a claim up for another worker to take at once; False when it is stale."""
        return await self._of(claim.invocation.tenant).hand_back(claim, ran=ran)

    async def report_progress(self, claim: Claim, progress: Progress) -> None:
        """Notes how far a run is; dropped when the claim is not held any more."""
        await self._of(claim.invocation.tenant).report_progress(claim, progress)

    async def claim(self, count: int, timeout_seconds: float) -> Sequence[Claim]:
        """Up to `count` claims of this worker, waiting for the first up to the timeout."""
        self._turns.rotate(-1)
        if claims := await self._take(count, self._turns):
            return claims
        rung = await self._bells.first(self._partitions, timeout_seconds)
        return await self._take(count, [partition for partition, more in rung if more])

    async def heartbeat(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Renews the leases; returns the claims that are no longer held or were cancelled."""

        async def beat(partition: RedisInvocationQueue) -> Sequence[Claim]:
            own = [one for one in claims if self._of(one.invocation.tenant) is partition]
            return await partition.heartbeat(own)

        answers = await self._beats.ask(self._partitions, beat)
        return [claim for stale in answers for claim in stale]

    async def cancellations(self, timeout_seconds: float) -> Sequence[str]:
        """Ids that were cancelled while a worker had them; a hint, which a heartbeat backs."""
        told = await self._hearing.first(self._partitions, timeout_seconds)
        return [one for _, ids in told for one in ids]

    async def reclaim(self, count: int) -> Sequence[Claim]:
        """Takes over claims whose lease ran out: the next attempt, and one more death."""
        taken: list[Claim] = []

        async def take_over(partition: RedisInvocationQueue) -> None:
            if room := count - len(taken):
                taken.extend(await partition.reclaim(room))

        await self._each(take_over, self._turns)
        return taken

    async def tick(self, capacity: int, now_ms: int) -> int:
        """Announces this worker's whole capacity to each partition, and makes due work ready."""

        async def tick(partition: RedisInvocationQueue) -> int:
            moved = await partition.tick(capacity, now_ms)
            self._rests_until.pop(partition, None)
            return moved

        return sum(await self._ticks.ask(self._partitions, tick))

    async def time_ms(self) -> int:
        """Unix time in milliseconds by one partition's clock, or another's when that is away."""
        for _ in self._partitions[1:]:
            try:
                return await self._clocks[0].time_ms()
            except StockadeError:
                self._clocks.rotate(-1)
        return await self._clocks[0].time_ms()

    def _of(self, tenant: str) -> RedisInvocationQueue:
        return self._partitions[partition_of(tenant, len(self._partitions))]

    async def _take(self, count: int, partitions: Sequence[RedisInvocationQueue]) -> list[Claim]:
        taken: list[Claim] = []

        async def take(partition: RedisInvocationQueue) -> None:
            if room := count - len(taken):
                taken.extend(await partition.claim(room, 0.0))

        await self._each(take, partitions)
        return taken

    async def _each(
        self,
        call: Callable[[RedisInvocationQueue], Awaitable[None]],
        partitions: Sequence[RedisInvocationQueue],
    ) -> None:
        """Calls one after another; what one refuses does not keep the next from it."""
        now = asyncio.get_running_loop().time
        refusals: list[StockadeError] = []
        for partition in list(partitions):
            if self._rests_until.get(partition, 0.0) > now():
                continue
            try:
                await call(partition)
            except StockadeError as refusal:
                # A server that hangs takes its time to fail: the others must not wait for it again
                # before it answers a tick.
                self._rests_until[partition] = now() + _LONGEST_REST_SECONDS
                refusals.append(refusal)
        if refusals and len(refusals) == len(partitions):
            raise refusals[0]


class _Rounds(Generic[T]):
    """Asks all partitions at once. Who does not answer soon is not waited for.

    Such a one is asked again once it has answered: only the others' rounds go on.
    """

    def __init__(self) -> None:
        self._under_way: dict[RedisInvocationQueue, asyncio.Future[T]] = {}

    async def ask(
        self,
        partitions: Sequence[RedisInvocationQueue],
        call: Callable[[RedisInvocationQueue], Awaitable[T]],
    ) -> list[T]:
        """The answers of those that answer, unless none does."""
        free = [partition for partition in partitions if partition not in self._under_way]
        asked = {partition: asyncio.ensure_future(call(partition)) for partition in free}
        self._under_way |= asked
        if asked:
            await asyncio.wait(asked.values(), timeout=_PATIENCE_SECONDS)
        if not self._answered():
            await asyncio.wait(self._under_way.values(), return_when=asyncio.FIRST_COMPLETED)
        return self._take(self._answered())

    async def aclose(self) -> None:
        """Ends what is under way."""
        for one in self._under_way.values():
            one.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    def _answered(self) -> list[RedisInvocationQueue]:
        return [partition for partition, one in self._under_way.items() if one.done()]

    def _take(self, answered: Sequence[RedisInvocationQueue]) -> list[T]:
        answers: list[T] = []
        failures: list[StockadeError] = []
        for partition in answered:
            try:
                answers.append(self._under_way.pop(partition).result())
            except StockadeError as failure:
                _log.warning("partition_away", code=failure.code)
                failures.append(failure)
        if failures and not answers:
            raise failures[0]
        return answers


class _Waits(Generic[T]):
    """One wait for each partition, which goes on when another was answered first."""

    def __init__(self, start: Callable[[RedisInvocationQueue], Awaitable[T]]) -> None:
        self._start = start
        self._under_way: dict[RedisInvocationQueue, asyncio.Future[T | None]] = {}

    async def first(
        self, partitions: Sequence[RedisInvocationQueue], timeout_seconds: float
    ) -> list[tuple[RedisInvocationQueue, T]]:
        """The answers that are there once there is one, or the time is over."""
        for partition in partitions:
            if partition not in self._under_way:
                self._under_way[partition] = asyncio.ensure_future(self._ask(partition))
        waits = self._under_way.values()
        await asyncio.wait(waits, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        done = [partition for partition, wait in self._under_way.items() if wait.done()]
        answers = [(partition, self._under_way.pop(partition).result()) for partition in done]
        return [(partition, answer) for partition, answer in answers if answer is not None]

    async def aclose(self) -> None:
        """Ends the waits."""
        for wait in self._under_way.values():
            wait.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def _ask(self, partition: RedisInvocationQueue) -> T | None:
        try:
            return await self._start(partition)
        except StockadeError:
            # Asked again in a moment: without a rest, asking would be all that is done.
            await asyncio.sleep(_REST_SECONDS)
            return None
