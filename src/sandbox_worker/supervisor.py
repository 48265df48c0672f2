"""The supervisor: claims work, keeps the leases, takes over from the dead, and drains."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator

import structlog

from registry.trust import ends_runs
from sandbox_worker.executor_watch import ExecutorWatch
from sandbox_worker.run_attempt import AttemptServices, RunningAttempt
from stockade.core.catalog_changes import ChangeKind
from stockade.core.errors import StockadeError
from stockade.core.installation_status import MOST_TOLD, RunningShare
from stockade.core.invocations import Claim
from stockade.core.ports import InvocationQueue
from stockade.core.queue_clock import QueueClock
from stockade.core.trust import OnDistrust

_log = structlog.get_logger()
_CLAIM_SECONDS = 1.0
_TICK_SECONDS = 0.25
_LONGEST_HEARTBEAT_SECONDS = 1.0
"""A heartbeat also tells of a cancellation whose hint was lost."""
_TRUST_SECONDS = 1.0
"""How often the modules of running attempts are looked at, on top of how long trust is kept."""
_SWEEP_SECONDS = 1.0
_SWEEP_PAYLOADS_SECONDS = 3600.0
_SET_CLOCK_SECONDS = 10.0
_LISTEN_SECONDS, _PAUSE_SECONDS = 5.0, 0.01
_FIRST_BACKOFF_SECONDS, _LONGEST_BACKOFF_SECONDS = 0.1, 5.0


class Supervisor:
    """Works until told to stop.

    Args:
        services: What each attempt needs.
        watch: Bounds the processes that attempts run in.
        capacity: How many attempts run at once.
        lease_seconds: How long a claim is another worker's business no more; renewed three times
            within it.
        drain_seconds: How long running attempts may go on after `stop`; then they are handed back.
    """

    def __init__(
        self,
        services: AttemptServices,
        watch: ExecutorWatch,
        capacity: int,
        lease_seconds: float,
        drain_seconds: float,
    ) -> None:
        self._services = services
        self._watch = watch
        self._capacity = capacity
        self._heartbeat_seconds = min(lease_seconds / 3, _LONGEST_HEARTBEAT_SECONDS)
        self._drain_seconds = drain_seconds
        self._running: dict[str, RunningAttempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stopping = False
        self._working = False

    @property
    def state(self) -> str:
        """`starting`, `working` or `draining`."""
        if self._stopping:
            return "draining"
        return "working" if self._working else "starting"

    @property
    def running(self) -> int:
        """How many attempts are under way."""
        return len(self._running)

    def shares(self) -> tuple[RunningShare, ...]:
        """What runs, the most of it first; bounded."""
        counts = Counter((one.runs[0], one.runs[2]) for one in self._running.values())
        return tuple(RunningShare(*of, count) for of, count in counts.most_common(MOST_TOLD))

    @property
    def capacity(self) -> int:
        """How many may be."""
        return self._capacity

    def stop(self) -> None:
        """Stops claiming; `run` returns when what runs is finished or the drain time is over.

        Called again, it ends the drain time: what still runs is handed back at once.
        """
        if self._stopping:
            self._hurry.set()
        self._stopping = True
        self._wake.set()
        _log.info("worker_stopping", running=len(self._running))

    async def run(self) -> None:
        """Claims and runs until `stop`."""
        upkeep = [
            asyncio.ensure_future(self._forever(self._keep_leases, self._heartbeat_seconds)),
            asyncio.ensure_future(self._forever(self._tell_progress, self._heartbeat_seconds)),
            asyncio.ensure_future(self._forever(self._look_for_due_and_dead, _TICK_SECONDS)),
            asyncio.ensure_future(self._forever(self._hear_of_cancellations, _PAUSE_SECONDS)),
            asyncio.ensure_future(self._forever(self._hear_of_changes, _PAUSE_SECONDS)),
            asyncio.ensure_future(self._forever(self._end_distrusted, _TRUST_SECONDS)),
            asyncio.ensure_future(self._forever(self._compile_uploads, _PAUSE_SECONDS)),
            asyncio.ensure_future(self._forever(self._services.pool.sweep, _SWEEP_SECONDS)),
            asyncio.ensure_future(self._forever(self._clock.set, _SET_CLOCK_SECONDS)),
            asyncio.ensure_future(self._forever(self._sweep_payloads, _SWEEP_PAYLOADS_SECONDS)),
            asyncio.ensure_future(self._watch.run()),
        ]
        try:
            await self._claim_until_stopped()
            await self._drain()
        finally:
            for task in upkeep:
                task.cancel()
            await asyncio.gather(*upkeep, *self._tasks, return_exceptions=True)

    async def _claim_until_stopped(self) -> None:
        backoff = _FIRST_BACKOFF_SECONDS
        while not self._stopping:
            self._wake.clear()
            room = self._capacity - len(self._running)
            if room <= 0:
                await self._wake.wait()
                continue
            try:
                if not self._clock.was_set:
                    await self._clock.set()
                self._working = True
                claims = await self._queue.claim(room, _CLAIM_SECONDS)
                await self._start_or_hand_back(claims)
                backoff = _FIRST_BACKOFF_SECONDS
            except StockadeError as error:
                _log.warning("claim_failed", code=error.code)
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, _LONGEST_BACKOFF_SECONDS)

    async def _start_or_hand_back(self, claims: Iterable[Claim]) -> None:
        # What came while the stop was on its way is another worker's to run.
        for claim in claims:
            if self._stopping:
                await self._hand_back(claim, ran=False)
                continue
            if earlier := self._running.get(claim.entry):
                # Our lease ran out, and we took over from ourselves: what it still does is stale.
                earlier.cancel()
            attempt = self._running[claim.entry] = RunningAttempt(claim, self._services)
            task = asyncio.ensure_future(self._work(attempt))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, attempt: RunningAttempt) -> None:
        try:
            await attempt.run()
        except* StockadeError as group:
            codes = sorted({error.code for error in _refusals(group)})
            _log.error("attempt_not_recorded", invocation=attempt.claim.invocation.id, codes=codes)
        finally:
            if self._running.get(attempt.claim.entry) is attempt:
                del self._running[attempt.claim.entry]
            self._wake.set()

    async def _keep_leases(self) -> None:
        claims = [attempt.claim for attempt in self._running.values()]
        for claim in await self._queue.heartbeat(claims):
            attempt = self._running.get(claim.entry)
            if attempt and attempt.claim.attempt == claim.attempt:
                attempt.cancel()

    async def _tell_progress(self) -> None:
        # Beside the leases: a catalog that hangs, asked for secrets, must not let them run out.
        for attempt in list(self._running.values()):
            try:
                await attempt.tell_progress()
            except StockadeError as error:
                _log.warning("progress_not_told", code=error.code)

    async def _hear_of_cancellations(self) -> None:
        cancelled = set(await self._queue.cancellations(_LISTEN_SECONDS))
        for attempt in list(self._running.values()):
            if attempt.claim.invocation.id in cancelled:
                attempt.cancel()

    async def _end_distrusted(self) -> None:
        running = defaultdict(list)
        for attempt in self._running.values():
            running[attempt.runs].append(attempt)
        await asyncio.gather(*(self._end_if_distrusted(*one) for one in running.items()))

    async def _end_if_distrusted(
        self, runs: tuple[str, str, str], attempts: Iterable[RunningAttempt]
    ) -> None:
        tenant, digest, function = runs
        trust = self._services.loader.trust
        try:
            await trust.check(tenant, digest, function, runs=True)
        except StockadeError as refusal:
            if not ends_runs(refusal) or trust.on_distrust(tenant) is OnDistrust.FINISH:
                return
            _log.warning("runs_distrusted", digest=digest, code=refusal.code)
            for attempt in attempts:
                attempt.distrust(refusal)

    async def _hear_of_changes(self) -> None:
        trust = self._services.loader.trust
        kinds = set()
        for change in await self._services.changes.hear(_LISTEN_SECONDS):
            kinds.add(change.kind)
            if change.kind is ChangeKind.TRUST:
                trust.forget(change.tenant)
        if ChangeKind.ANYTHING in kinds:
            trust.forget()
        if kinds & {ChangeKind.TRUST, ChangeKind.ANYTHING}:
            await self._end_distrusted()

    async def _compile_uploads(self) -> None:
        for tenant, digest in await self._services.hints.hear(_LISTEN_SECONDS):
            try:
                await self._services.loader.load(tenant, digest)
            except StockadeError as error:
                _log.info("upload_not_compiled_ahead", digest=digest, code=error.code)

    async def _sweep_payloads(self) -> None:
        async def has_record(tenant: str, invocation_id: str) -> bool:
            return await self._queue.record(tenant, invocation_id) is not None

        if swept := await self._services.payloads.sweep(has_record):
            _log.info("payloads_swept", count=swept)

    async def _look_for_due_and_dead(self) -> None:
        # A worker that stops offers no room to the dispatcher.
        capacity = 0 if self._stopping else self._capacity
        await self._queue.tick(capacity, self._clock.now_ms())
        room = self._capacity - len(self._running)
        if room > 0 and not self._stopping:
            claims = await self._queue.reclaim(room)
            self._services.metrics.reclaimed(len(claims))
            await self._start_or_hand_back(claims)

    async def _forever(self, step: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            try:
                await step()
            except StockadeError as error:
                self._services.metrics.upkeep_failed()
                _log.warning("upkeep_failed", code=error.code)
            except Exception as error:  # noqa: BLE001 - a worker without its upkeep would go on as a ghost
                self._services.metrics.upkeep_failed()
                _log.error("upkeep_broke", exc_info=error)
            await asyncio.sleep(seconds)

    async def _drain(self) -> None:
        if self._tasks:
            hurried = asyncio.ensure_future(self._hurry.wait())
            finished = asyncio.ensure_future(asyncio.wait(self._tasks))
            ends = (hurried, finished)
            await asyncio.wait(
                ends, timeout=self._drain_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            for end in ends:
                end.cancel()
        unfinished, tasks = list(self._running.values()), list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(self._hand_back(one.claim, ran=True) for one in unfinished))

    async def _hand_back(self, claim: Claim, *, ran: bool) -> None:
        try:
            held = await self._queue.hand_back(claim, ran=ran)
        except StockadeError as error:
            # Its lease runs out; then another worker takes it over.
            _log.warning("hand_back_failed", invocation=claim.invocation.id, code=error.code)
        else:
            self._services.metrics.handed_back()
            _log.info("handed_back", invocation=claim.invocation.id, held=held)

    @property
    def _queue(self) -> InvocationQueue:
        return self._services.queue

    @property
    def _clock(self) -> QueueClock:
        return self._services.clock


def _refusals(group: BaseExceptionGroup[StockadeError]) -> Iterator[StockadeError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _refusals(error)
        else:
            yield error
