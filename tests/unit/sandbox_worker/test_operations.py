"""What the worker's endpoint says of a worker that cannot work."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandbox_worker.executor_owners import ExecutorOwners
from sandbox_worker.metrics import WorkerMetrics
from sandbox_worker.operations import Dependencies, Identity, Operations
from stockade.core.errors import StockadeError
from stockade.core.installation_status import (
    QueueFigures,
    RecentEnds,
    RunningShare,
    WorkerReport,
)
from stockade.core.outcomes import Outcome
from stockade.infra.memory.memory_queue_state import MemoryQueueState
from stockade.infra.memory.memory_status import MemoryStatusBoard
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.system_clock import SystemClock

CLOCK = SystemClock()


@dataclass
class FakeSupervisor:
    state: str = "working"
    running: int = 3
    capacity: int = 8

    def shares(self) -> tuple[RunningShare, ...]:
        return (RunningShare("acme", "resize", self.running),)


class FakePool:
    def __init__(self) -> None:
        self.owners = ExecutorOwners()
        self.owners.note(7, "acme")

    def counts(self) -> dict[str, int]:
        return {"lent": 3, "idle": 2, "spare": 1}


def board() -> MemoryStatusBoard:
    return MemoryStatusBoard(CLOCK, MemoryQueueState(QueueSettings()))


class BoardAway(MemoryStatusBoard):
    async def queue(self) -> QueueFigures:
        raise StockadeError("queue.unavailable", "Try again.", retryable=True)

    async def report(self, report: WorkerReport) -> None:
        del report
        raise StockadeError("queue.unavailable", "Try again.", retryable=True)


@dataclass
class Fakes:
    queue: Callable[[], Awaitable[object]]
    alarm: str | None = None
    supervisor: FakeSupervisor = field(default_factory=FakeSupervisor)
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)
    board: MemoryStatusBoard = field(default_factory=board)
    weak_walls: tuple[str, ...] = ()

    def operations(self) -> Operations:
        needs = Dependencies({"queue": self.queue}, lambda: {"trust": self.alarm}, self.board)
        identity = Identity("w1", "1.2.3", self.weak_walls)
        pool, supervisor = FakePool(), self.supervisor
        return Operations(self.metrics, supervisor, pool, needs, identity)  # type: ignore[arg-type]

    async def ready(self) -> tuple[int, dict[str, object]]:
        answer = await self.operations().routes()["/readyz"].answer("")
        return answer.status, json.loads(answer.body)


async def fine() -> None: ...


async def silent() -> None:
    await asyncio.Event().wait()


async def gone() -> None:
    raise StockadeError("queue.unavailable", "Try again.", retryable=True)


async def test_what_is_away_or_silent_is_said_and_why() -> None:
    status, body = await Fakes(gone).ready()
    assert (status, body["ready"], body["queue"]) == (503, False, "unavailable")
    assert body["why"] == {"queue": "queue.unavailable: Try again."}
    status, body = await Fakes(silent).ready()
    assert (status, body["why"]) == (503, {"queue": "It did not answer within 1 second."})


async def test_stale_policies_are_told_and_those_before_them_work_on() -> None:
    status, body = await Fakes(fine, alarm="trust.toml: line 3").ready()
    assert (status, body["policies"]) == (200, "stale")
    assert body["why"] == {"trust": "trust.toml: line 3"}


async def test_who_drains_or_has_not_begun_is_not_ready() -> None:
    for state in ("starting", "draining"):
        status, body = await Fakes(fine, supervisor=FakeSupervisor(state)).ready()
        assert (status, body["worker"]) == (503, state)


async def test_whose_each_executor_was_is_told_to_who_has_the_token() -> None:
    route = Fakes(fine).operations().routes()["/executors"]
    assert route.guarded
    told = json.loads((await route.answer("")).body)
    assert told["executors"] == {"7": "acme"}
    assert told["pid_namespace"] == Path("/proc/self/ns/pid").stat().st_ino


def test_the_owners_of_the_last_executors_are_known() -> None:
    owners = ExecutorOwners()
    for process_id in range(5000):
        owners.note(process_id, "old")
    owners.note(4000, "acme")
    executors = owners.told()["executors"]
    assert isinstance(executors, dict)
    assert (len(executors), executors["4000"], list(executors)[-1]) == (4096, "acme", "4000")


async def test_a_scrape_tells_how_things_stand_at_that_moment() -> None:
    fakes = Fakes(fine, alarm="broken")
    answer = await fakes.operations().routes()["/metrics"].answer("")
    told = answer.body.decode()
    assert "stockade_worker_running 3.0" in told
    assert 'stockade_executors{state="idle"} 2.0' in told
    assert 'stockade_policies_stale{files="trust"} 1.0' in told


async def test_a_queue_that_is_away_is_not_told_with_old_figures() -> None:
    fakes = Fakes(fine)
    scrape = fakes.operations().routes()["/metrics"].answer
    assert b"stockade_queue_backlog 0.0" in (await scrape("")).body
    fakes.board = BoardAway(CLOCK, MemoryQueueState(QueueSettings()))
    answer = await fakes.operations().routes()["/metrics"].answer("")
    assert b"stockade_queue_backlog" not in answer.body
    assert b"stockade_worker_running 3.0" in answer.body


async def test_weak_walls_are_told_and_it_works_all_the_same() -> None:
    status, body = await Fakes(fine, weak_walls=("landlock",)).ready()
    assert (status, body["walls"]) == (200, "weak")
    assert "stockade doctor" in body["why"]["landlock"]  # type: ignore[index]


async def test_a_worker_tells_others_of_itself_while_it_lives() -> None:
    fakes = Fakes(fine, alarm="broken", weak_walls=("nobody",))
    fakes.metrics.recent.ended("acme", Outcome.TRAPPED)
    task = asyncio.ensure_future(fakes.operations().report())
    async with asyncio.timeout(30):
        while not await fakes.board.workers():
            await asyncio.sleep(0)
    task.cancel()
    [report] = await fakes.board.workers()
    assert (report.name, report.version, report.state) == ("w1", "1.2.3", "working")
    assert report.running == (RunningShare("acme", "resize", 3),)
    assert report.recent == (RecentEnds("acme", 1, 1),)
    assert (report.stale, report.weak_walls) == (("trust",), ("nobody",))


async def test_who_is_busy_is_looked_at_again_and_again() -> None:
    reviewed = asyncio.Event()

    class Reviewed(WorkerMetrics):
        def review(self) -> None:
            reviewed.set()

    task = asyncio.ensure_future(Fakes(fine, metrics=Reviewed()).operations().measure(0.001, 2))
    await asyncio.wait_for(reviewed.wait(), 30)
    task.cancel()


async def test_a_worker_that_drains_says_so_at_once() -> None:
    fakes = Fakes(fine, supervisor=FakeSupervisor("starting"))
    task = asyncio.ensure_future(fakes.operations().report())
    async with asyncio.timeout(30):
        for state in ("working", "draining"):
            fakes.supervisor.state = state
            while [one.state for one in await fakes.board.workers()] != [state]:
                await asyncio.sleep(0.01)
    task.cancel()


class BoardRefuses(BoardAway):
    async def report(self, report: WorkerReport) -> None:
        del report
        raise RuntimeError("refused")


@pytest.mark.parametrize("away", [BoardAway, BoardRefuses])
async def test_a_board_that_is_away_does_not_end_the_telling(away: type[BoardAway]) -> None:
    fakes = Fakes(fine)
    fakes.board = away(CLOCK, MemoryQueueState(QueueSettings()))
    task = asyncio.ensure_future(fakes.operations().report())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()


async def test_the_event_loops_lag_is_measured() -> None:
    fakes = Fakes(fine)
    task = asyncio.ensure_future(fakes.operations().measure())
    async with asyncio.timeout(30):
        while b"stockade_event_loop_lag_seconds_count 0.0" in fakes.metrics.text()[0]:
            await asyncio.sleep(0.01)
    task.cancel()
