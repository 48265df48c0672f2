"""How an installation stands, as far as the caller may see it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeVar

import httpx

from stockade_client.calls import Call
from stockade_client.fields import Fields

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What waits. `ready` and `in_flight` are told to operators alone, else 0."""

    backlog: int
    later: int
    oldest_wait_ms: int
    ready: int = 0
    in_flight: int = 0
    reclaimed: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class RunningFunction:
    """How many attempts of a function run now."""

    tenant: str
    function: str
    count: int


@dataclass(frozen=True, slots=True)
class RecentRuns:
    """What ended in the last minutes. `error_rate` is None where nothing did."""

    minutes: int
    ended: int
    failed: int
    error_rate: float | None


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One live worker."""

    name: str
    version: str
    state: str
    capacity: int
    uptime_seconds: int
    running: tuple[RunningFunction, ...] = ()
    stale: tuple[str, ...] = ()
    weak_walls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InstallationStatus:
    """How it stands. `scope` is `installation` for operators, else `tenant`: then it is your own.

    `working`: whether any worker does. `workers`, `capacity`, `stale` (policy files whose newest
    change is not in force) and `weak_walls` (of hosts) are told to operators alone.
    """

    scope: str
    version: str
    queue: QueueStatus
    recent: RecentRuns
    working: bool
    running: tuple[RunningFunction, ...] = ()
    capacity: int = 0
    workers: tuple[WorkerStatus, ...] = ()
    stale: tuple[str, ...] = ()
    weak_walls: tuple[str, ...] = ()


class StatusMethods(ABC):
    """The part of `Client` that is about the installation."""

    @abstractmethod
    def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    def status(self) -> InstallationStatus:
        """How the installation stands: of your tenant, or all of it for the operator's admins."""
        return self._send(Call("GET", "/v1/status", _read))


class AsyncStatusMethods(ABC):
    """The part of `AsyncClient` that is about the installation."""

    @abstractmethod
    async def _send(self, call: Call[_Answer]) -> _Answer:
        """Makes a call."""

    async def status(self) -> InstallationStatus:
        """How the installation stands: of your tenant, or all of it for the operator's admins."""
        return await self._send(Call("GET", "/v1/status", _read))


def _read(response: httpx.Response) -> InstallationStatus:
    told = Fields(response.json())
    queue, recent = told.nested("queue"), told.nested("recent")
    workers = tuple(map(_worker, told.objects("workers")))
    return InstallationStatus(
        scope=told.text("scope"),
        version=told.text("version"),
        queue=QueueStatus(
            backlog=queue.count("backlog"),
            later=queue.count("later"),
            oldest_wait_ms=queue.count("oldest_wait_ms"),
            ready=queue.maybe_count("ready") or 0,
            in_flight=queue.maybe_count("in_flight") or 0,
            reclaimed=queue.maybe_count("reclaimed") or 0,
            quarantined=queue.maybe_count("quarantined") or 0,
        ),
        recent=RecentRuns(
            recent.count("minutes"),
            recent.count("ended"),
            recent.count("failed"),
            recent.maybe_number("error_rate"),
        ),
        working=told.flag("working"),
        running=_running(told),
        capacity=told.maybe_count("capacity") or 0,
        workers=workers,
        stale=told.texts("stale"),
        weak_walls=told.texts("weak_walls"),
    )


def _worker(told: Fields) -> WorkerStatus:
    return WorkerStatus(
        name=told.text("name"),
        version=told.text("version"),
        state=told.text("state"),
        capacity=told.count("capacity"),
        uptime_seconds=told.count("uptime_seconds"),
        running=_running(told),
        stale=told.texts("stale"),
        weak_walls=told.texts("weak_walls"),
    )


def _running(told: Fields) -> tuple[RunningFunction, ...]:
    return tuple(
        RunningFunction(one.text("tenant"), one.text("function"), one.count("count"))
        for one in told.objects("running")
    )
