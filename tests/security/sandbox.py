"""A worker's sandbox for tests of attacks: real jail, real executors, the real pool and watch."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sandbox_worker.executor_client import ExecutorClient
from sandbox_worker.executor_pool import ExecutorPool, PoolSettings
from sandbox_worker.executor_task import Task
from sandbox_worker.executor_watch import ExecutorWatch
from stockade.core.isolation import IsolationPolicy
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import Outcome, RunResult
from stockade.infra.cgroup import NoBounds
from stockade.infra.jailed_compiler import JailedCompiler
from stockade.infra.proc_meter import ProcMeter
from stockade.infra.zygote_jail import ZygoteJail
from tests.guest import guests

POLICY = Path(__file__).parents[2] / "policies" / "seccomp" / "guest.toml"
LIMITS = Limits(fuel=10**15, wall_ms=150, memory_bytes=64 << 20, output_bytes=1 << 20)
PLENTY = Limits(fuel=10**10, wall_ms=20_000, memory_bytes=64 << 20, output_bytes=1 << 20)
HANGS_AT_MS = 10_000
"""A run that took so much longer than its limit hung; no closer look, the machine is shared."""


class Sandbox:
    """One worker's sandbox."""

    def __init__(self, jail: ZygoteJail, settings: PoolSettings) -> None:
        self.jail = jail
        self.meter = ProcMeter()
        self.pool = ExecutorPool(jail, settings, IsolationPolicy(), self.meter, NoBounds())
        self.watch = ExecutorWatch(self.pool, self.meter)
        self._compiler = JailedCompiler(jail)

    async def task(
        self, body: bytes, data: bytes = b"", limits: Limits = LIMITS, abi: Abi = Abi.STOCKADE_V1
    ) -> Task:
        """What runs this body."""
        artifact = await self._compiler.compile(body)
        return Task(str(hash(body)), abi, artifact, data, limits, ())

    async def run(
        self,
        body: bytes,
        data: bytes = b"",
        *,
        limits: Limits = LIMITS,
        abi: Abi = Abi.STOCKADE_V1,
        tenant: str = "t",
    ) -> RunResult:
        """Runs a body once; its deadline and memory are looked at whatever it does."""
        task = await self.task(body, data, limits, abi)
        executor = await self.pool.acquire(tenant, task.digest)
        try:
            result = await executor.run(task)
        finally:
            await self.pool.release(executor)
        assert result.usage.wall_ms < limits.wall_ms + HANGS_AT_MS
        assert result.usage.peak_memory_bytes <= limits.memory_bytes
        return result

    async def is_unharmed(self, tenant: str = "t") -> None:
        """Checks that the next run of the same worker is as it should be."""
        result = await self.run(guests.ECHO, b"still here", limits=PLENTY, tenant=tenant)
        assert (result.outcome, result.output) == (Outcome.COMPLETED, b"still here")

    async def ends(
        self,
        body: bytes,
        outcome: Outcome,
        limit: str | None = None,
        *,
        limits: Limits = LIMITS,
        abi: Abi = Abi.STOCKADE_V1,
        data: bytes = b"",
    ) -> RunResult:
        """Runs a body, checks how it ends, and that the worker is unharmed."""
        result = await self.run(body, data, limits=limits, abi=abi)
        assert (result.outcome, result.limit) == (outcome, limit), result.detail
        await self.is_unharmed()
        return result


@asynccontextmanager
async def sandbox_of(**settings: int) -> AsyncIterator[Sandbox]:
    """A sandbox, closed behind it."""
    wanted = {"max_executors": 4, "spare_executors": 0} | settings
    jail = ZygoteJail(POLICY)
    made = Sandbox(jail, PoolSettings(**wanted))  # type: ignore[arg-type] # by name
    watching = asyncio.ensure_future(made.watch.run())
    try:
        yield made
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await made.pool.aclose()
        await jail.aclose()


async def until_busy(executor: ExecutorClient) -> None:
    """Waits until the executor has used processor time: its guest runs."""
    meter = ProcMeter()
    async with asyncio.timeout(20):
        while (meter.cpu_seconds(executor.process_id) or 0) < 0.03:
            await asyncio.sleep(0.01)
