"""What the worker's endpoint says of a worker that cannot work."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from sandbox_worker.metrics import WorkerMetrics
from sandbox_worker.operations import Dependencies, Operations
from stockade.core.errors import StockadeError


@dataclass
class FakeSupervisor:
    state: str = "working"
    running: int = 3
    capacity: int = 8


class FakePool:
    def counts(self) -> dict[str, int]:
        return {"lent": 3, "idle": 2, "spare": 1}


@dataclass
class Fakes:
    queue: Callable[[], Awaitable[object]]
    alarm: str | None = None
    supervisor: FakeSupervisor = field(default_factory=FakeSupervisor)
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)

    def operations(self) -> Operations:
        needs = Dependencies({"queue": self.queue}, lambda: {"trust": self.alarm})
        return Operations(self.metrics, self.supervisor, FakePool(), needs)  # type: ignore[arg-type]

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


async def test_a_scrape_tells_how_things_stand_at_that_moment() -> None:
    fakes = Fakes(fine, alarm="broken")
    answer = await fakes.operations().routes()["/metrics"].answer("")
    told = answer.body.decode()
    assert "stockade_worker_running 3.0" in told
    assert 'stockade_executors{state="idle"} 2.0' in told
    assert 'stockade_policies_stale{files="trust"} 1.0' in told


async def test_the_event_loops_lag_is_measured() -> None:
    fakes = Fakes(fine)
    task = asyncio.ensure_future(fakes.operations().measure())
    async with asyncio.timeout(30):
        while b"stockade_event_loop_lag_seconds_count 0.0" in fakes.metrics.text()[0]:
            await asyncio.sleep(0.01)
    task.cancel()
