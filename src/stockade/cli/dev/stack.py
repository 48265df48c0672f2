"""All of Stockade on one machine: Valkey, gateway and worker, started and stopped in order."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog

from stockade.cli.dev.child import Child
from stockade.cli.dev.data_dir import HOST, free_port
from stockade.cli.dev.readiness import WorkerPresence, until_ready
from stockade.cli.dev.store import KeptValkey
from stockade.cli.dev.tenant import KEY_FILE_NAME, TENANT, ensure_dev_key
from stockade.cli.environment import own_program
from stockade.cli.paths import policy_dir
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.system_clock import SystemClock

_log = structlog.get_logger()
_STOP_SECONDS = 45.0
"""Longer than the processes' own drain time, which is 30 seconds unless set otherwise."""


@dataclass(frozen=True, slots=True)
class DevPlan:
    """What `stockade dev` was asked for; the directory is held, the port is free."""

    data_dir: Path
    port: int
    fsync: Literal["always", "everysec"]
    capacity: int | None = None
    policy_dir: Path | None = None
    trace_ratio: float | None = None
    otlp_endpoint: str | None = None

    @property
    def tracing(self) -> dict[str, str]:
        """What the processes are told of tracing; what was left out is theirs to say."""
        ratio, endpoint = self.trace_ratio, self.otlp_endpoint
        told = {} if ratio is None else {"STOCKADE_TRACE_RATIO": str(ratio)}
        return told if endpoint is None else {**told, "STOCKADE_OTLP_ENDPOINT": endpoint}

    @property
    def url(self) -> str:
        """Where the gateway will listen."""
        return f"http://{HOST}:{self.port}"

    @property
    def database_url(self) -> str:
        """The catalog in the data directory."""
        return f"sqlite+aiosqlite:///{self.data_dir / 'catalog.sqlite'}"


class DevStack:
    """One run of `stockade dev`.

    Args:
        plan: What to run and where.
    """

    def __init__(self, plan: DevPlan) -> None:
        self._plan = plan
        self._valkey = KeptValkey(plan.data_dir / "valkey", plan.fsync)
        self._metrics_port = free_port()
        self._children: list[Child] = []
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT; a second one ends everything at once.

        Raises:
            StockadeError: Something does not start.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._signalled)
        await self._valkey.start()
        try:
            await self._prepare()
            await self._serve()
        finally:
            await self._stop_in_order()

    async def _prepare(self) -> None:
        for name in ("blobs", "cache"):
            (self._plan.data_dir / name).mkdir(mode=0o700, exist_ok=True)
        catalog = await SqlCatalog.open(self._plan.database_url)
        try:
            await ensure_dev_key(catalog, SystemClock(), self._plan.data_dir / KEY_FILE_NAME)
        finally:
            await catalog.aclose()
        settings = self._settings()
        gateway = {
            "STOCKADE_HOST": HOST,
            "STOCKADE_PORT": str(self._plan.port),
            "STOCKADE_OPERATOR_TENANT": TENANT,
        }
        capacity = self._plan.capacity
        worker = {"STOCKADE_METRICS_PORT": str(self._metrics_port)}
        if capacity is not None:
            worker["STOCKADE_CAPACITY"] = str(capacity)
        self._children = [
            _serving("gateway", settings | gateway),
            _serving("worker", settings | worker),
        ]

    async def _serve(self) -> None:
        """Ends when asked to stop, or raises what any of the parts raises."""
        workers = WorkerPresence(self._valkey.url)
        try:
            await workers.look_before_start()
            parts = (self._valkey.keep(), *(child.keep() for child in self._children))
            await _first_of(self._until_stopped(workers), *parts)
        finally:
            await workers.aclose()

    async def _until_stopped(self, workers: WorkerPresence) -> None:
        await _first_of(self._announce(workers), self._stop.wait())
        await self._stop.wait()

    async def _announce(self, workers: WorkerPresence) -> None:
        await until_ready(self._plan.url, workers)
        for child in self._children:
            child.proven = True
        key_file = str(self._plan.data_dir / KEY_FILE_NAME)
        metrics_url = f"http://{HOST}:{self._metrics_port}/metrics"
        ready = {
            "ready": True,
            "url": self._plan.url,
            "api_key_file": key_file,
            "worker_metrics_url": metrics_url,
        }
        print(json.dumps(ready), flush=True)

    async def _stop_in_order(self) -> None:
        """The gateway takes nothing new first, then the worker finishes, then the store closes."""
        for child in self._children:
            await child.stop()
        await self._valkey.stop()
        _log.info("dev_stopped")

    def _signalled(self) -> None:
        if not self._stop.is_set():
            _log.info("dev_stopping")
            self._stop.set()
            return
        _log.warning("dev_killed")
        for child in self._children:
            child.kill()
        self._valkey.kill()

    def _settings(self) -> dict[str, str]:
        plan = self._plan
        return {
            "STOCKADE_REDIS_URL": self._valkey.url,
            "STOCKADE_DURABILITY": "fsync" if plan.fsync == "always" else "memory",
            "STOCKADE_DATABASE_URL": plan.database_url,
            "STOCKADE_BLOB_DIR": str(plan.data_dir / "blobs"),
            "STOCKADE_CACHE_DIR": str(plan.data_dir / "cache"),
            "STOCKADE_POLICY_DIR": str(plan.policy_dir or policy_dir()),
            "STOCKADE_SECRETS_KEY_FILE": str(plan.data_dir / "secrets.key"),
            **plan.tracing,
        }


def _serving(process: str, settings: dict[str, str]) -> Child:
    """`stockade serve <process>`, which never outlives us, however we end."""
    command = own_program("serve", process, "--die-with", str(os.getpid()))
    return Child(process, command, settings, _STOP_SECONDS)


async def _first_of(*parts: Awaitable[object]) -> None:
    """Waits for the first to end, ends the others, and raises what the first raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
