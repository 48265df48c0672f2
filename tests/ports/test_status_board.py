"""How the installation stands, by the queue's own books and what workers say of themselves."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from itertools import count

import pytest

from stockade.core.installation_status import (
    QueueFigures,
    RecentEnds,
    RunningShare,
    StatusBoard,
    TenantFigures,
    WorkerReport,
)
from stockade.core.invocations import Claim, Completion, Invocation, Priority
from stockade.core.modules import Abi, FunctionContent
from stockade.core.outcomes import Attempt, Outcome, Usage
from stockade.core.ports import InvocationQueue
from stockade.infra.memory.memory_queue import MemoryInvocationQueue
from stockade.infra.memory.memory_queue_state import MemoryQueueState
from stockade.infra.memory.memory_status import MemoryStatusBoard
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_partitions import RedisPartitions
from stockade.infra.redis.redis_status import RedisStatusBoard
from stockade.infra.system_clock import SystemClock
from tests.ports.valkey_fixture import flush

pytest_plugins = ("tests.ports.valkey_fixture",)
CLOCK = SystemClock()
CONTENT = FunctionContent("sha256:" + "a" * 64, Abi.STOCKADE_V1, deterministic=True)
SETTINGS = QueueSettings(window_floor=2, max_deaths=2)
NUMBERS = count(1)
REPORT = WorkerReport(
    "w1",
    "1.0",
    "working",
    4,
    60,
    (RunningShare("acme", "resize", 2),),
    (RecentEnds("acme", 10, 1),),
    ("trust",),
    ("landlock",),
)


@dataclass
class Place:
    """One installation: a gateway's queue, workers' by name, and the board."""

    gateway: InvocationQueue
    worker: Callable[[str], InvocationQueue]
    board: StatusBoard

    async def submit(self, tenant: str = "acme", **facts: object) -> Invocation:
        made = Invocation(CLOCK.new_id(), tenant, "f", 1, CONTENT, CLOCK.now_ms(), b"x")
        made = replace(made, **facts)  # type: ignore[arg-type] # by name
        await self.gateway.submit(made)
        return made


@pytest.fixture(params=["memory", "one partition", "three partitions"])
async def place(request: pytest.FixtureRequest, valkey: object) -> AsyncIterator[Place]:
    if request.param == "memory":
        state = MemoryQueueState(SETTINGS)

        def queue(name: str) -> InvocationQueue:
            return MemoryInvocationQueue(CLOCK, consumer=name, settings=SETTINGS, state=state)

        yield Place(queue(""), queue, MemoryStatusBoard(CLOCK, state, SETTINGS))
        return
    url = str(valkey.url)  # type: ignore[attr-defined] # the embedded server
    await flush(url)
    partitions = RedisPartitions(url, 1 if request.param == "one partition" else 3)
    made = partitions.queue(SETTINGS, gateway="gateway")

    def worker(name: str) -> InvocationQueue:
        return partitions.queue(SETTINGS, consumer=name)

    yield Place(made, worker, RedisStatusBoard(partitions.connections, SETTINGS))
    await made.aclose()


def ended(outcome: Outcome, retry_at_ms: int | None = None) -> Completion:
    return Completion(Attempt(1, outcome, "told", Usage()), CLOCK.now_ms(), retry_at_ms)


async def claimed(worker: InvocationQueue, most: int = 10) -> list[Claim]:
    return list(await worker.claim(most, 5.0))


async def test_nothing_waits_where_nothing_is(place: Place) -> None:
    assert await place.board.queue() == QueueFigures()
    assert await place.board.queue_of("acme") == TenantFigures()
    assert await place.board.workers() == []


async def test_what_waits_is_ready_runs_or_comes_later_is_counted_apart(place: Place) -> None:
    worker = place.worker("w1")
    now_ms = CLOCK.now_ms()
    for _ in range(3):
        await place.submit(submitted_ms=now_ms - 60_000)
    await place.submit(run_at_ms=now_ms + 3_600_000)
    [claim] = await claimed(worker, 1)
    figures = await place.board.queue()
    shown = (figures.backlog, figures.later, figures.ready, figures.in_flight)
    assert shown == (1, 1, 1, 1)
    assert 60_000 <= figures.oldest_wait_ms < 120_000
    mine = await place.board.queue_of("acme")
    assert (mine.backlog, mine.later) == (1, 1)
    assert mine.oldest_wait_ms >= 60_000
    assert await place.board.queue_of("rival") == TenantFigures()
    await worker.complete(claim, ended(Outcome.COMPLETED))
    figures = await place.board.queue()
    assert (figures.backlog, figures.ready, figures.in_flight) == (0, 2, 0)
    assert figures.ended == {}


async def test_an_urgent_invocation_has_not_waited_longer_for_being_urgent(place: Place) -> None:
    for _ in range(3):
        await place.submit(priority=Priority.URGENT)
    await place.submit(priority=Priority.LOW)
    assert (await place.board.queue()).oldest_wait_ms < 30_000


async def test_ends_that_were_no_success_are_counted_by_outcome(place: Place) -> None:
    worker = place.worker("w1")
    for _ in range(3):
        await place.submit()
    first, second = await claimed(worker, 2)
    await worker.complete(first, ended(Outcome.TRAPPED))
    await worker.complete(second, ended(Outcome.TRAPPED, retry_at_ms=CLOCK.now_ms() + 3_600_000))
    last = await place.submit()
    assert await place.gateway.cancel("acme", last.id, CLOCK.now_ms())
    figures = await place.board.queue()
    assert figures.ended == {"trapped": 1, "cancelled": 1}
    assert (figures.reclaimed, figures.quarantined) == (0, 0)


async def test_what_kills_its_executor_again_and_again_is_counted_as_quarantined(
    place: Place,
) -> None:
    worker = place.worker("w1")
    await place.submit()
    for _ in range(2):
        [claim] = await claimed(worker)
        await worker.complete(claim, ended(Outcome.CRASHED, retry_at_ms=CLOCK.now_ms()))
    figures = await place.board.queue()
    assert (figures.quarantined, figures.ended) == (1, {"crashed": 1})


async def test_workers_are_told_of_as_they_reported_last(place: Place) -> None:
    for name in ("w2", "w1"):
        await place.worker(name).tick(4, CLOCK.now_ms())
        await place.board.report(replace(REPORT, name=name, capacity=1))
        await place.board.report(replace(REPORT, name=name))
    assert await place.board.workers() == [REPORT, replace(REPORT, name="w2")]


async def test_a_report_that_is_no_such_is_left_out(valkey: object) -> None:
    url = str(valkey.url)  # type: ignore[attr-defined] # the embedded server
    await flush(url)
    connections = RedisConnections(url)
    board = RedisStatusBoard([connections], SETTINGS)
    await connections.call("ZADD", "sk:{p00}:workers", 1, "w1", 2, "w2", 3, "w3")
    await board.report(replace(REPORT, name="w3"))
    await connections.call("SET", "sk:{p00}:report:w1", b"\xc1 nonsense")
    assert [report.name for report in await board.workers()] == ["w3"]
    await connections.close()
