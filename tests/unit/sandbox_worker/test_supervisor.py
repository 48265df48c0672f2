"""The supervisor keeps leases whatever else it does hangs."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Self, cast

from sandbox_worker.metrics import WorkerMetrics
from sandbox_worker.retries import Retries
from sandbox_worker.supervisor import Supervisor
from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim, Invocation
from stockade.core.limits import DEFAULT_LIMITS
from stockade.core.modules import Abi, FunctionContent
from stockade.core.outcomes import Progress
from stockade.core.queue_clock import QueueClock
from stockade.core.spans import OFF
from stockade.infra.memory.memory_queue import MemoryInvocationQueue
from stockade.infra.system_clock import SystemClock
from stockade.retry.fixed import FixedRetryPolicy

if TYPE_CHECKING:
    from sandbox_worker.executor_watch import ExecutorWatch
    from sandbox_worker.run_attempt import AttemptServices

CLOCK = SystemClock()


class Queue(MemoryInvocationQueue):
    """A queue that notes what it hears of a worker."""

    def __init__(self) -> None:
        super().__init__(CLOCK, consumer="w")
        self.renewed = 0
        self.told: list[str] = []
        self.news = asyncio.Condition()

    async def heartbeat(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        lost = await super().heartbeat(claims)
        async with self.news:
            self.renewed += bool(claims)
            self.news.notify_all()
        return lost

    async def report_progress(self, claim: Claim, progress: Progress) -> None:
        async with self.news:
            self.told.append(claim.invocation.id)
            self.news.notify_all()
        await super().report_progress(claim, progress)


class Calls:
    """A run's host calls, whose guest has told its progress; secrets are as the test wants."""

    def __init__(self, invocation_id: str, asked: asyncio.Event) -> None:
        self.progress = Progress(50, "half of it")
        self.listener = None
        self.redaction = SimpleNamespace(of_text=lambda text: text)
        self._id, self._asked = invocation_id, asked

    async def know_secrets(self) -> None:
        if self._id == "hangs":
            self._asked.set()
            await asyncio.Event().wait()
        if self._id == "fails":
            raise StockadeError("secret.unreadable", "It was sealed with another key.")


async def _for_ever(*_: object) -> None:
    await asyncio.Event().wait()


class Worker:
    """A supervisor whose runs never end, over one queue."""

    def __init__(self, *ids: str) -> None:
        self.queue = Queue()
        self.asked = asyncio.Event()
        self._ids = ids
        policy = FixedRetryPolicy(lambda: 0.5)
        executor = SimpleNamespace(runs=1, run=_for_ever, cancel=lambda _detail: None)

        async def acquire(*_: str) -> object:
            return executor

        async def nothing(*_: object, **__: object) -> None:
            return None

        async def load(*_: object) -> bytes:
            return b""

        async def none(*_: object) -> tuple[()]:
            await asyncio.sleep(0.01)
            return ()

        services = SimpleNamespace(
            queue=self.queue,
            hints=SimpleNamespace(hear=none),
            changes=SimpleNamespace(hear=none),
            payloads=SimpleNamespace(sweep=nothing),
            loader=SimpleNamespace(load=load, trust=SimpleNamespace(check=nothing)),
            pool=SimpleNamespace(acquire=acquire, release=nothing, sweep=nothing),
            broker=SimpleNamespace(open=lambda of, _spans: Calls(of.id, self.asked)),
            retries=Retries(policy, policy, lambda _source: {}),
            recordings=SimpleNamespace(open=lambda _claim: None),
            clock=QueueClock(CLOCK, self.queue),
            metrics=WorkerMetrics(),
            live=None,
            tracer=OFF,
        )
        self.supervisor = Supervisor(
            cast("AttemptServices", services),
            cast("ExecutorWatch", SimpleNamespace(run=_for_ever)),
            capacity=4,
            lease_seconds=0.03,
            drain_seconds=0.0,
        )

    async def __aenter__(self) -> Self:
        content = FunctionContent("d", Abi.STOCKADE_V1, deterministic=False, limits=DEFAULT_LIMITS)
        for id_ in self._ids:
            await self.queue.submit(
                Invocation(id_, "acme", "f", 1, content, CLOCK.now_ms(), input_inline=b"")
            )
        self._task = asyncio.ensure_future(self.supervisor.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.supervisor.stop()
        await self._task


async def test_a_catalog_that_hangs_keeps_no_lease_from_being_renewed() -> None:
    async with asyncio.timeout(20), Worker("hangs") as worker:
        await worker.asked.wait()
        renewed, queue = worker.queue.renewed, worker.queue
        async with queue.news:
            await queue.news.wait_for(lambda: queue.renewed >= renewed + 3)


async def test_one_runs_unreadable_secret_silences_no_other() -> None:
    async with asyncio.timeout(20), Worker("fails", "fine") as worker:
        queue = worker.queue
        async with queue.news:
            await queue.news.wait_for(lambda: queue.told == ["fine"])
