"""One attempt, from claim to record: load, run, decide about a retry, complete."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import structlog

from sandbox_worker.attempt_spans import AttemptSpans
from sandbox_worker.broker import HostCallBroker, HostCallsOfRun
from sandbox_worker.executor_pool import ExecutorPool
from sandbox_worker.executor_task import Task
from sandbox_worker.live_log import LiveLog
from sandbox_worker.metrics import WorkerMetrics
from sandbox_worker.module_loader import ModuleLoader
from sandbox_worker.recording import Recordings, RunRecorder
from sandbox_worker.retries import Retries
from stockade.core.catalog_changes import CatalogChanges
from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim, Completion
from stockade.core.live_events import LiveEvents
from stockade.core.log_context import Work, works_on
from stockade.core.outcomes import Outcome, Progress, RunResult, Usage
from stockade.core.ports import InvocationQueue, ModuleHints, PayloadStore
from stockade.core.queue_clock import QueueClock
from stockade.core.spans import OFF, Tracer

if TYPE_CHECKING:
    from sandbox_worker.executor_client import ExecutorClient

T = TypeVar("T")
_log = structlog.get_logger()
_SHORT_RUN_SECONDS = 0.005
_BEGIN_AGAIN_SECONDS = 1.0
_STORE_BACKOFF_SECONDS = (0.05, 0.1, 0.2, 0.5, *(1.0,) * 60)
_AWAY = frozenset({"catalog.unavailable", "blobs.unavailable", "blobs.full"})
_COMPLETE_BACKOFF_SECONDS = (0.05, 0.2, 0.5, 1, 2, 4, *(8,) * 36)
"""Five minutes."""


@dataclass(frozen=True, slots=True)
class AttemptServices:
    """What an attempt needs of its worker."""

    queue: InvocationQueue
    hints: ModuleHints
    changes: CatalogChanges
    payloads: PayloadStore
    loader: ModuleLoader
    pool: ExecutorPool
    broker: HostCallBroker
    retries: Retries
    recordings: Recordings
    clock: QueueClock
    inline_output_bytes: int
    metrics: WorkerMetrics
    live: LiveEvents
    tracer: Tracer = OFF


class RunningAttempt:
    """One claim being worked on. `cancel` and `abandon` may be called while `run` is under way."""

    def __init__(self, claim: Claim, services: AttemptServices) -> None:
        self.claim = services.retries.fitted(claim)
        self._services = services
        self.spans = AttemptSpans(services.tracer, self.claim)
        self._calls: HostCallsOfRun | None = None
        self._recorder: RunRecorder | None = None
        self._told: Progress | None = None
        self._live: LiveLog | None = None
        self._executor: ExecutorClient | None = None
        self._stopped: str | None = None
        self._over = asyncio.Event()

    @property
    def runs(self) -> tuple[str, str, str]:
        """Whose module it runs, which, and as what function."""
        invocation = self.claim.invocation
        return invocation.tenant, invocation.content.digest, invocation.function

    def cancel(self, detail: str = "The run was cancelled.") -> None:
        """Ends the attempt as `cancelled`, for good: its executor is killed."""
        self._stopped = detail
        if self._executor is not None:
            self._executor.cancel(detail)

    def distrust(self, refusal: StockadeError) -> None:
        """Ends the attempt as `cancelled`: its module is not trusted any more."""
        self.cancel(_public(refusal))

    async def tell_progress(self) -> None:
        """Records how far the guest says it is, when it has said something new."""
        calls = self._calls
        progress = calls.progress if calls else None
        if calls is not None and progress is not None and progress != self._told:
            await calls.know_secrets()
            self._told = progress
            message = calls.redaction.of_text(progress.message)
            await self._services.queue.report_progress(
                self.claim, Progress(progress.percent, message)
            )

    async def run(self) -> None:
        """Runs the attempt and records its end; a stale claim is dropped without a record."""
        services, of = self._services, self.claim.invocation
        works_on(Work(of.tenant, of.id, self.claim.attempt, of.traceparent))
        now_ms = services.clock.now_ms()
        async with asyncio.TaskGroup() as group:
            begun = group.create_task(self._begin(now_ms))
            result = await self._execute(begun)
            self._over.set()
        if not begun.result():
            return
        queue_ms = max(0, now_ms - self._ready_ms())
        result = replace(result, usage=replace(result.usage, queue_ms=queue_ms))
        completion = await self._completion(result, now_ms)
        if self._live is not None:
            await self._live.finish(result, is_last=completion.retry_at_ms is None)
        recorded = await self._record(completion)
        self.spans.ended(result, completion, recorded=recorded)
        if recorded:
            services.metrics.ran(self.claim, completion)
            services.retries.observe(self.claim, result, completion)

    async def _begin(self, now_ms: int) -> bool:
        """Tells that the run began, unless it is over at once: then its completion says it all.

        A queue that cannot be told does not end the run: it is told later, or by the completion.
        """
        deadline_ms = self.claim.invocation.deadline_ms
        if deadline_ms is None and await self._is_over_within(_SHORT_RUN_SECONDS):
            return True
        in_time = deadline_ms is None or now_ms < deadline_ms
        while True:
            try:
                return await self._services.queue.begin(self.claim, now_ms)
            except StockadeError as error:
                if not (error.retryable and in_time):
                    raise
            if await self._is_over_within(_BEGIN_AGAIN_SECONDS):
                return True

    async def _is_over_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._over.wait()
        except TimeoutError:
            return False

    async def _execute(self, begun: asyncio.Task[bool]) -> RunResult:
        try:
            task = await self._patiently(self._prepare, lambda: self._stopped or self._is_late())
            calls = self._calls = self._services.broker.open(self.claim.invocation, self.spans)
            self._live = LiveLog(self._services.live, self.claim, calls)
            self._executor = await self._services.pool.acquire(
                self.claim.invocation.tenant, task.digest
            )
        except StockadeError as error:
            self.spans.failed(error.code)
            return _platform_failure(error)
        self.spans.lent(cold=not self._executor.runs)
        begun.add_done_callback(self._stop_when_stale)
        try:
            if self._stopped:
                return RunResult(Outcome.CANCELLED, detail=self._stopped)
            result = await self._executor.run(task, calls)
            self.spans.mark("run")
            return await calls.recorded(result)
        finally:
            executor, self._executor = self._executor, None
            await self._services.pool.release(executor)

    def _stop_when_stale(self, begun: asyncio.Task[bool]) -> None:
        if not begun.cancelled() and begun.exception() is None and not begun.result():
            self.cancel()

    async def _patiently(
        self, step: Callable[[], Awaitable[T]], is_vain: Callable[[], object] = lambda: False
    ) -> T:
        """Waits for a store that is away, for a minute or so: no attempt is lost to that."""
        for pause in _STORE_BACKOFF_SECONDS:
            try:
                return await step()
            except StockadeError as error:
                if error.code not in _AWAY or is_vain():
                    raise
            await asyncio.sleep(pause)
        return await step()

    def _is_late(self) -> bool:
        deadline_ms = self.claim.invocation.deadline_ms
        return deadline_ms is not None and self._services.clock.now_ms() >= deadline_ms

    async def _prepare(self) -> Task:
        invocation = self.claim.invocation
        content = invocation.content
        artifact = await self._services.loader.load(
            invocation.tenant, content.digest, invocation.function, self.spans.mark
        )
        data = invocation.input_inline
        if data is None:
            data = await self._services.payloads.get(
                invocation.tenant, invocation.id, invocation.input_blob or ""
            )
            self.spans.mark("input")
        if data is None:
            raise StockadeError(
                "invocation.input_lost", "The input is no longer in the blob store."
            )
        self.claim = await self._services.retries.know_needs(self.claim)
        limits = self._services.retries.limits(self.claim)
        recorder = self._recorder = self._services.recordings.open(self.claim)
        return Task(content.digest, content.abi, artifact, data, limits, content.env, recorder)

    def _ready_ms(self) -> int:
        invocation = self.claim.invocation
        return max(invocation.submitted_ms, invocation.run_at_ms or 0)

    async def _completion(self, result: RunResult, started_ms: int) -> Completion:
        inline: bytes | None = None
        blob: str | None = None
        if result.outcome is Outcome.COMPLETED:
            if len(result.output) <= self._services.inline_output_bytes:
                inline = result.output
            else:
                # The run has happened; run again it would do what it did a second time.
                blob = await self._patiently(lambda: self._put(result.output))
        retries = self._services.retries
        await retries.know_failure(self.claim, result)
        now_ms = self._services.clock.now_ms()
        decided = retries.decide(self.claim, result, now_ms)
        ruling = decided.ruling
        attempt = retries.attempt(self.claim, result, decided)
        recordings = self._services.recordings
        return Completion(
            attempt=await recordings.keep(self.claim, attempt, self._recorder),
            started_ms=started_ms,
            finished_ms=now_ms,
            retry_at_ms=now_ms + ruling.delay_ms if ruling.retry else None,
            output_inline=inline,
            output_blob=blob,
            logs=result.logs,
            logs_truncated=result.logs_truncated,
            events=result.events,
            events_truncated=result.events_truncated,
            carry=retries.carry(self.claim, result, decided),
            keep_input=self.claim.invocation.content.record,
        )

    async def _put(self, output: bytes) -> str:
        invocation = self.claim.invocation
        return await self._services.payloads.put(invocation.tenant, invocation.id, output)

    async def _record(self, completion: Completion) -> bool:
        """Whether the end was recorded; not when the claim had become stale."""
        # The run has happened; its record is worth waiting for. If the queue stays away, the lease
        # runs out and another worker tries again.
        for pause in (*_COMPLETE_BACKOFF_SECONDS, None):
            try:
                recorded = await self._services.queue.complete(self.claim, completion)
            except StockadeError as error:
                if pause is None or not error.retryable:
                    raise
                await asyncio.sleep(pause)
            else:
                if not recorded:
                    self._services.metrics.stale_completion()
                    _log.warning("stale_completion_refused")
                return recorded
        raise RuntimeError("the last attempt to record neither returned nor raised")


def _platform_failure(error: StockadeError) -> RunResult:
    """A run that could not start: trouble is `lost` and tried again, a refusal is final."""
    outcome = Outcome.LOST if error.retryable else Outcome.CANCELLED
    return RunResult(outcome, detail=_public(error), usage=Usage())


def _public(error: StockadeError) -> str:
    return f"{error.code}: {error.message}"
