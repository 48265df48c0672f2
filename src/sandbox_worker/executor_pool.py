"""A worker's executors: forked when needed, each for one tenant; the longest idle ends first.

Who asks when all are lent waits, and tenants are served in turn: one tenant's crowd does not hold
up another's single run. A few executors that belong to nobody yet are kept forked, so that a
tenant's first run, and every run at isolation level `invocation`, need not wait for a fork.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog

from sandbox_worker.executor_client import ExecutorClient
from sandbox_worker.executor_owners import ExecutorOwners
from sandbox_worker.metrics import WorkerMetrics
from stockade.core.errors import StockadeError
from stockade.core.isolation import IsolationLevel, IsolationPolicy
from stockade.core.jail_control import JailRole
from stockade.core.ports import Jail, JailedProcess, ProcessBounds, ProcessMeter

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """How many executors live, and for how long.

    Args:
        max_executors: How many may live at once, idle ones and spares included.
        runs_per_executor: An executor is replaced after so many runs.
        idle_seconds: One that nobody used for so long is ended.
        spare_executors: So many are kept forked for whoever comes next.
        max_growth_bytes: An idle one that holds so much more than at its birth is ended.
    """

    max_executors: int = 32
    runs_per_executor: int = 10_000
    idle_seconds: float = 300.0
    spare_executors: int = 2
    max_growth_bytes: int = 32 * 1024 * 1024


@dataclass(slots=True)
class _Idle:
    """An idle executor: since when, and the processor time it had used by then."""

    executor: ExecutorClient
    since: float
    cpu_seconds: float = 0.0


@dataclass(slots=True)
class _Queue:
    """Who waits, by tenant; tenants in the order in which they are served next."""

    waiting: OrderedDict[str, deque[asyncio.Future[None]]] = field(default_factory=OrderedDict)

    def join(self, tenant: str) -> asyncio.Future[None]:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.setdefault(tenant, deque()).append(place)
        return place

    def next(self) -> asyncio.Future[None] | None:
        """The first who still waits; its tenant goes to the end."""
        while self.waiting:
            tenant, places = self.waiting.popitem(last=False)
            place = places.popleft()
            if places:
                self.waiting[tenant] = places
            if not place.done():
                return place
        return None


class ExecutorPool:
    """Lends executors; each serves one tenant until it is recycled.

    Args:
        jail: Where executors come from.
        settings: How many, for how long.
        isolation: Which tenants get a fresh process for every run.
        meter: Measures processes from outside.
        bounds: Has the kernel hold them to their memory.
        metrics: Counts what happens to them.
    """

    def __init__(
        self,
        jail: Jail,
        settings: PoolSettings,
        isolation: IsolationPolicy,
        meter: ProcessMeter,
        bounds: ProcessBounds,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        self._jail = jail
        self._settings = settings
        self._isolation = isolation
        self._meter = meter
        self._bounds = bounds
        self._metrics = metrics or WorkerMetrics()
        self._idle: list[_Idle] = []
        self._spares: list[JailedProcess] = []
        self._born_bytes: dict[int, int] = {}
        self._places = settings.max_executors
        self._queue = _Queue()
        self._promised = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._forking_spares = False
        self._closed = False
        self.owners = ExecutorOwners()
        self.lent: set[ExecutorClient] = set()
        """What is lent now; `ExecutorWatch` looks at it."""

    async def acquire(self, tenant: str, digest: str) -> ExecutorClient:
        """An executor for this tenant alone, with the module loaded already where possible.

        Raises:
            StockadeError: `jail.unavailable`.
        """
        asked = time.monotonic()
        if self._queue.waiting or self._free() <= 0:
            await self._wait_in_turn(tenant)
        while (executor := self._take_idle(tenant, digest)) is None and self._free() <= 0:
            # What there was has died meanwhile; its place comes free in a moment.
            await self._wait_in_turn(tenant)
        executor = executor or await self._new(tenant)
        self.lent.add(executor)
        self._metrics.got_executor(time.monotonic() - asked)
        if not executor.has(digest):
            self._metrics.cold_start("module")
        return executor

    async def release(self, executor: ExecutorClient) -> None:
        """Takes a lent executor back; one that is spent or unwell is ended."""
        self.lent.discard(executor)
        fresh = self._isolation.level(executor.tenant) is IsolationLevel.INVOCATION
        spent = fresh or executor.runs >= self._settings.runs_per_executor
        if executor.healthy and executor.alive and not spent and not self._closed:
            self._idle.append(_Idle(executor, time.monotonic()))
            self._serve_next()
        else:
            self._end(executor, _why_ended(executor, spent=spent, closed=self._closed))

    async def sweep(self) -> None:
        """Ends what is dead, was idle for too long, has grown, or works for nobody."""
        now = time.monotonic()
        for idle in list(self._idle):
            if idle in self._idle and (reason := self._why_over(idle, now)):
                self._idle.remove(idle)
                self._end(idle.executor, reason)
        self._free()
        self._keep_spares()

    async def aclose(self) -> None:
        """Ends all executors that are not lent."""
        self._closed = True
        while self._idle:
            self._end(self._idle.pop().executor, "closed")
        while self._spares:
            self._drop_process(self._spares.pop(), "closed")
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def counts(self) -> dict[str, int]:
        """How many there are of each kind."""
        return {"lent": len(self.lent), "idle": len(self._idle), "spare": len(self._spares)}

    def born_bytes(self, executor: ExecutorClient) -> int:
        """What an executor's process held when it was born."""
        return self._born_bytes.get(executor.process_id, 0)

    def _free(self) -> int:
        """How many could be lent now, beyond those that are promised to who waits."""
        for idle in [one for one in self._idle if not one.executor.alive]:
            self._idle.remove(idle)
            self._end(idle.executor, "died")
        for spare in [one for one in self._spares if not one.alive]:
            self._spares.remove(spare)
            self._drop_process(spare, "died")
        return self._places + len(self._spares) + len(self._idle) - self._promised

    async def _wait_in_turn(self, tenant: str) -> None:
        place = self._queue.join(tenant)
        self._serve_next()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._promised -= 1
                self._serve_next()
            raise
        self._promised -= 1

    def _serve_next(self) -> None:
        while self._queue.waiting and self._free() > 0:
            place = self._queue.next()
            if place is None:
                return
            self._promised += 1
            place.set_result(None)

    def _take_idle(self, tenant: str, digest: str) -> ExecutorClient | None:
        own = [idle for idle in self._idle if idle.executor.tenant == tenant]
        own = [idle for idle in own if idle.executor.alive]
        if not own:
            return None
        chosen = next((one for one in reversed(own) if one.executor.has(digest)), own[-1])
        self._idle.remove(chosen)
        return chosen.executor

    async def _new(self, tenant: str) -> ExecutorClient:
        if self._spares:
            spare = self._spares.pop()
            self._keep_spares()
            return self._client(spare, tenant)
        try:
            if self._places > 0:
                self._places -= 1
            else:
                # The longest idle one's place is taken over, once its process is gone.
                self._metrics.executor_ended("idle")
                end = self._start(self._ended(self._idle.pop(0).executor, frees_place=False))
                await asyncio.shield(end)
            process = await self._jail.fork(JailRole.EXECUTOR)
        except BaseException:
            self._places += 1
            self._serve_next()
            raise
        self._note_birth(process)
        self._metrics.cold_start("process")
        self._keep_spares()
        return self._client(process, tenant)

    def _client(self, process: JailedProcess, tenant: str) -> ExecutorClient:
        self.owners.note(process.process_id, tenant)
        return ExecutorClient(process, tenant, self._bounds.ran_out_of_memory)

    def _why_over(self, idle: _Idle, now: float) -> str | None:
        executor, settings = idle.executor, self._settings
        if not executor.alive:
            return "died"
        if now - idle.since > settings.idle_seconds:
            return "idle"
        used = self._meter.cpu_seconds(executor.process_id)
        held = self._meter.resident_bytes(executor.process_id)
        if used is None or held is None:
            return "died"
        if held - self.born_bytes(executor) > settings.max_growth_bytes:
            _log.info("executor_has_grown", bytes=held)
            return "grown"
        # The first look may still count the end of its last run.
        works = idle.cpu_seconds and used - idle.cpu_seconds > _IDLE_CPU_SECONDS
        idle.cpu_seconds = used
        if works:
            _log.warning("executor_works_for_nobody", tenant=executor.tenant)
        return "works" if works else None

    def _keep_spares(self) -> None:
        wanted = min(self._settings.spare_executors - len(self._spares), self._places)
        if wanted > 0 and not self._forking_spares and not self._closed:
            self._forking_spares = True
            self._start(self._fork_spares(wanted))

    async def _fork_spares(self, count: int) -> None:
        try:
            for _ in range(count):
                if self._places <= 0 or self._closed or self._queue.waiting:
                    return
                self._places -= 1
                try:
                    process = await self._jail.fork(JailRole.EXECUTOR)
                except BaseException:
                    self._places += 1
                    raise
                self._note_birth(process)
                self._spares.append(process)
                self._serve_next()
        except StockadeError as error:
            _log.warning("no_spare_executor", code=error.code)
        finally:
            self._forking_spares = False
            self._serve_next()

    def _note_birth(self, process: JailedProcess) -> None:
        self._metrics.executor_started()
        self._bounds.hold(process.process_id)
        self._born_bytes[process.process_id] = self._meter.resident_bytes(process.process_id) or 0

    def _end(self, executor: ExecutorClient, reason: str) -> None:
        self._metrics.executor_ended(reason)
        executor.discard()
        self._start(self._ended(executor))

    async def _ended(self, executor: ExecutorClient, *, frees_place: bool = True) -> None:
        try:
            await executor.aclose()
        finally:
            self._forget(executor.process_id, frees_place=frees_place)

    def _drop_process(self, process: JailedProcess, reason: str) -> None:
        self._metrics.executor_ended(reason)
        process.kill()
        self._start(self._process_ended(process))

    async def _process_ended(self, process: JailedProcess) -> None:
        try:
            await process.ended()
            process.connection.close()
        finally:
            self._forget(process.process_id, frees_place=True)

    def _forget(self, process_id: int, *, frees_place: bool) -> None:
        self._born_bytes.pop(process_id, None)
        self._bounds.let_go(process_id)
        if frees_place:
            self._places += 1
            self._serve_next()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _why_ended(executor: ExecutorClient, *, spent: bool, closed: bool) -> str:
    if not executor.healthy:
        return "killed"
    if not executor.alive:
        return "died"
    return "spent" if spent or not closed else "closed"


_IDLE_CPU_SECONDS = 0.5
"""Processor time between two looks that no idle executor has a use for."""
