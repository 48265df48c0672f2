"""A tenant who only wants to work beside two hundred hostile guests, through pool and executors."""

import asyncio
import time
from dataclasses import replace

from bench.attacks import ATTACKS, LIMITS
from bench.sandbox import jail
from sandbox_worker.executor_pool import ExecutorPool, PoolSettings
from sandbox_worker.executor_task import Task
from stockade.core.isolation import IsolationPolicy
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.infra.cgroup import NoBounds
from stockade.infra.jailed_compiler import JailedCompiler
from stockade.infra.proc_meter import ProcMeter
from tests.guest import guests

HOSTILE, HOSTILE_TENANTS = 200, 20
_SHORT = replace(LIMITS, wall_ms=50)


async def good_tenant_seconds() -> tuple[list[float], list[float]]:
    """Its runs, waiting for an executor included: alone, then while the hostile ones run."""
    async with jail() as opened:
        compiler = JailedCompiler(opened)
        settings = PoolSettings(max_executors=8)
        pool = ExecutorPool(opened, settings, IsolationPolicy(), ProcMeter(), NoBounds())
        hostile = [
            Task(name, abi, await compiler.compile(body), b"x", _SHORT, ())
            for name, (body, abi) in ATTACKS.items()
        ]
        artifact = await compiler.compile(guests.ECHO)
        good = Task("good", Abi.STOCKADE_V1, artifact, b"x" * 1024, Limits(), ())
        alone = [await _seconds(pool, good, "good") for _ in range(500)]
        crowd = [
            asyncio.ensure_future(
                _seconds(pool, hostile[n % len(hostile)], f"hostile-{n % HOSTILE_TENANTS}")
            )
            for n in range(HOSTILE)
        ]
        beside = []
        while not all(one.done() for one in crowd):
            beside.append(await _seconds(pool, good, "good"))
        await asyncio.gather(*crowd)
        await pool.aclose()
    return alone[50:], beside


async def _seconds(pool: ExecutorPool, task: Task, tenant: str) -> float:
    started = time.perf_counter()
    executor = await pool.acquire(tenant, task.digest)
    try:
        await executor.run(task)
    finally:
        await pool.release(executor)
    return time.perf_counter() - started
