"""What the worker's own endpoint says, at `/healthz`, `/readyz`, `/metrics` and `/executors`."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import structlog

from sandbox_worker.executor_pool import ExecutorPool
from sandbox_worker.metrics import WorkerMetrics
from sandbox_worker.operations_server import Answer, Route
from sandbox_worker.supervisor import Supervisor
from stockade.core.errors import StockadeError
from stockade.core.installation_status import StatusBoard, WorkerReport
from stockade.core.spans import SpanCounts

_JSON = "application/json"
_CHECK_SECONDS = 1.0
_LAG_SECONDS = 0.25
_LOOKS_BETWEEN_REPORTS = 8
"""Two seconds."""
_WEAK = "This wall of the host is missing or has a gap; 'stockade doctor' says how to mend it."
_log = structlog.get_logger()
_LOOKS_UNTIL_REVIEW = 120
"""Every half a minute."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a worker cannot work without, and what it follows.

    Args:
        checks: By name; each raises `StockadeError` while it is away.
        alarms: By kind of policy files, why the newest ones are not in force, or None.
        board: Tells how the queue stands, and others of this worker.
        spans: What became of what was recorded of traces.
    """

    checks: Mapping[str, Callable[[], Awaitable[object]]]
    alarms: Callable[[], Mapping[str, str | None]]
    board: StatusBoard
    spans: SpanCounts = field(default_factory=SpanCounts)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which worker it is: its name, its release, the walls of its host that are not whole."""

    name: str
    version: str
    weak_walls: tuple[str, ...] = ()


class Operations:
    """Answers for one worker.

    Args:
        metrics: What it counts.
        supervisor: Whether it works, and how much.
        pool: Its executors.
        needs: Its stores and policies.
        identity: Which worker it is.
    """

    def __init__(
        self,
        metrics: WorkerMetrics,
        supervisor: Supervisor,
        pool: ExecutorPool,
        needs: Dependencies,
        identity: Identity,
    ) -> None:
        self._metrics = metrics
        self._supervisor = supervisor
        self._pool = pool
        self._needs = needs
        self._identity = identity
        self._started = time.monotonic()
        self._writing = asyncio.Lock()

    def routes(self) -> Mapping[str, Route]:
        """What is where. Metrics and executors name tenants, so that they may be guarded."""
        return {
            "/healthz": Route(self._healthz),
            "/readyz": Route(self._readyz),
            "/metrics": Route(self._scrape, guarded=True),
            "/executors": Route(self._executors, guarded=True),
        }

    async def measure(
        self, pause_seconds: float = _LAG_SECONDS, looks_until_review: int = _LOOKS_UNTIL_REVIEW
    ) -> None:
        """Measures the event loop, and looks who is busy, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            for _ in range(looks_until_review):
                due = loop.time() + pause_seconds
                await asyncio.sleep(pause_seconds)
                self._metrics.loop_was_late(max(0.0, loop.time() - due))
            self._metrics.review()

    async def report(self) -> None:
        """Tells others of this worker, again and again, and at once when its state is another."""
        while True:
            report = self._own_report()
            try:
                await self._needs.board.report(report)
            except StockadeError as error:
                _log.info("worker_not_reported", code=error.code)
            except RuntimeError as error:
                _log.error("worker_not_reported", exc_info=error)
            for _ in range(_LOOKS_BETWEEN_REPORTS):
                await asyncio.sleep(_LAG_SECONDS)
                if self._supervisor.state != report.state:
                    break

    def _own_report(self) -> WorkerReport:
        supervisor, identity = self._supervisor, self._identity
        return WorkerReport(
            name=identity.name,
            version=identity.version,
            state=supervisor.state,
            capacity=supervisor.capacity,
            uptime_seconds=int(time.monotonic() - self._started),
            running=supervisor.shares(),
            recent=self._metrics.recent.told(),
            stale=tuple(sorted(self._stale())),
            weak_walls=identity.weak_walls,
        )

    def _stale(self) -> dict[str, str]:
        return {files: why for files, why in self._needs.alarms().items() if why}

    async def _healthz(self, _accept: str) -> Answer:
        return _told({"ok": True})

    async def _readyz(self, _accept: str) -> Answer:
        names = list(self._needs.checks)
        whys = await asyncio.gather(*(_why_not(self._needs.checks[name]) for name in names))
        away = {name: why for name, why in zip(names, whys, strict=True) if why}
        works = self._supervisor.state == "working"
        stale = self._stale()
        body: dict[str, object] = {"ready": works and not away, "worker": self._supervisor.state}
        body |= {name: "unavailable" if name in away else "ok" for name in names}
        body["policies"] = "stale" if stale else "ok"
        body["walls"] = "weak" if self._identity.weak_walls else "ok"
        weak = dict.fromkeys(self._identity.weak_walls, _WEAK)
        body["why"] = {**away, **stale, **weak}
        return _told(body, HTTPStatus.OK if body["ready"] else HTTPStatus.SERVICE_UNAVAILABLE)

    async def _executors(self, _accept: str) -> Answer:
        return _told(self._pool.owners.told())

    async def _scrape(self, accept: str) -> Answer:
        # One at a time, and beside the event loop: leases go on meanwhile.
        async with self._writing:
            await self._look()
            body, content_type = await asyncio.to_thread(self._metrics.text, accept)
        return Answer(body, content_type)

    async def _look(self) -> None:
        self._metrics.works(self._supervisor.running, self._supervisor.capacity)
        self._metrics.executors(**self._pool.counts())
        self._metrics.traced(self._needs.spans)
        for files, alarm in self._needs.alarms().items():
            self._metrics.follows(files, stale=alarm is not None)
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                self._metrics.queue_stands(await self._needs.board.queue())
        except (StockadeError, TimeoutError):
            self._metrics.queue_is_away()


async def _why_not(check: Callable[[], Awaitable[object]]) -> str | None:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except StockadeError as error:
        return f"{error.code}: {error.message}"
    except TimeoutError:
        return f"It did not answer within {_CHECK_SECONDS:.0f} second."
    return None


def _told(body: Mapping[str, object], status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(json.dumps(body).encode() + b"\n", _JSON, status)
