"""Hostile guests in real jailed executors: the outcome, and that the next run is unharmed."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox_worker.executor_client import ExecutorClient
from sandbox_worker.executor_pool import ExecutorPool, PoolSettings
from sandbox_worker.executor_task import Task
from stockade.core.isolation import IsolationPolicy
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import Outcome, RunResult
from stockade.infra.jailed_compiler import JailedCompiler
from stockade.infra.proc_meter import ProcMeter
from stockade.infra.zygote_jail import ZygoteJail
from tests.guest import guests

POLICY = Path(__file__).parents[2] / "policies" / "seccomp" / "guest.toml"
LIMITS = Limits(fuel=10**15, wall_ms=150, memory_bytes=64 << 20, output_bytes=1 << 20)

LONG = Limits(fuel=10**15, wall_ms=60_000)


class Sandbox:
    """One worker's sandbox: compiles, and runs in pooled executors."""

    def __init__(self, jail: ZygoteJail) -> None:
        self._compiler = JailedCompiler(jail)
        self.pool = ExecutorPool(
            jail, PoolSettings(max_executors=2, spare_executors=0), IsolationPolicy(), ProcMeter()
        )

    async def task(self, body: bytes, data: bytes, limits: Limits, abi: Abi) -> Task:
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
        task = await self.task(body, data, limits, abi)
        executor = await self.pool.acquire(tenant, task.digest)
        try:
            return await executor.run(task)
        finally:
            await self.pool.release(executor)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    jail = ZygoteJail(POLICY)
    sandbox = Sandbox(jail)
    try:
        yield sandbox
    finally:
        await sandbox.pool.aclose()
        await jail.aclose()


LOOPS = {
    "loop": guests.LOOP,
    "loop in start": guests.LOOP_IN_START,
    "loop in alloc": guests.LOOP_IN_ALLOC,
}


@pytest.mark.parametrize("body", LOOPS.values(), ids=LOOPS.keys())
async def test_a_loop_ends_at_its_deadline(sandbox: Sandbox, body: bytes) -> None:
    result = await sandbox.run(body)
    assert (result.outcome, result.limit) == (Outcome.LIMIT_EXCEEDED, "wall")
    await _is_unharmed(sandbox)


@pytest.mark.parametrize("body", LOOPS.values(), ids=LOOPS.keys())
async def test_a_loop_ends_at_its_fuel(sandbox: Sandbox, body: bytes) -> None:
    result = await sandbox.run(body, limits=Limits(fuel=10_000_000))
    assert (result.outcome, result.limit) == (Outcome.LIMIT_EXCEEDED, "fuel")
    assert result.usage.fuel == 10_000_000
    await _is_unharmed(sandbox)


@pytest.mark.parametrize(
    ("body", "abi"),
    [(guests.LONG_FILL, Abi.STOCKADE_V1), (guests.SLEEP, Abi.WASI_PREVIEW1)],
    ids=["memory.fill", "sleep"],
)
async def test_what_epochs_do_not_stop_is_killed(sandbox: Sandbox, body: bytes, abi: Abi) -> None:
    started = time.monotonic()
    result = await sandbox.run(body, abi=abi)
    assert (result.outcome, result.limit) == (Outcome.LIMIT_EXCEEDED, "wall")
    assert time.monotonic() - started < 10
    await _is_unharmed(sandbox)


@pytest.mark.parametrize(
    ("body", "outcome", "limit"),
    [
        (guests.RECURSE, Outcome.TRAPPED, None),
        (guests.TRAP_IN_START, Outcome.TRAPPED, None),
        (guests.MEMORY_BOMB, Outcome.LIMIT_EXCEEDED, "memory"),
        (guests.HUGE_MEMORY, Outcome.LIMIT_EXCEEDED, "memory"),
        (guests.TABLE_BOMB, Outcome.TRAPPED, None),
    ],
    ids=["recursion", "trap in start", "memory bomb", "huge memory", "table bomb"],
)
async def test_a_bomb_harms_only_its_own_run(
    sandbox: Sandbox, body: bytes, outcome: Outcome, limit: str | None
) -> None:
    result = await sandbox.run(body)
    assert (result.outcome, result.limit) == (outcome, limit)
    await _is_unharmed(sandbox)


@pytest.mark.parametrize(
    ("body", "abi", "limit"),
    [
        (guests.LOG_FLOOD, Abi.STOCKADE_V1, "host_calls"),
        (guests.STDOUT_FLOOD, Abi.WASI_PREVIEW1, "output"),
        (guests.STDERR_FLOOD, Abi.WASI_PREVIEW1, "host_calls"),
    ],
    ids=["log", "stdout", "stderr"],
)
async def test_a_flood_is_cut(sandbox: Sandbox, body: bytes, abi: Abi, limit: str) -> None:
    limits = Limits(fuel=10**12, wall_ms=20_000, output_bytes=1 << 20, log_bytes=4096)
    result = await sandbox.run(body, abi=abi, limits=limits)
    assert (result.outcome, result.limit) == (Outcome.LIMIT_EXCEEDED, limit)
    assert len(result.output) <= limits.output_bytes
    assert sum(len(line.text) for line in result.logs) <= limits.log_bytes
    await _is_unharmed(sandbox)


async def test_an_executor_that_dies_crashes_only_its_run(sandbox: Sandbox) -> None:
    task = await sandbox.task(
        guests.LOOP, b"", Limits(fuel=10**15, wall_ms=60_000), Abi.STOCKADE_V1
    )
    executor = await sandbox.pool.acquire("t", task.digest)
    running = asyncio.ensure_future(executor.run(task))
    await _until_busy(executor)
    executor.discard()
    assert (await running).outcome is Outcome.CRASHED
    await sandbox.pool.release(executor)
    await _is_unharmed(sandbox)


async def test_a_cancelled_run_ends_at_once(sandbox: Sandbox) -> None:
    task = await sandbox.task(
        guests.LOOP, b"", Limits(fuel=10**15, wall_ms=60_000), Abi.STOCKADE_V1
    )
    executor = await sandbox.pool.acquire("t", task.digest)
    running = asyncio.ensure_future(executor.run(task))
    await _until_busy(executor)
    executor.cancel()
    assert (await running).outcome is Outcome.CANCELLED
    await sandbox.pool.release(executor)
    await _is_unharmed(sandbox)


async def test_tenants_never_share_an_executor(sandbox: Sandbox) -> None:
    task = await sandbox.task(guests.ECHO, b"x", Limits(), Abi.STOCKADE_V1)
    processes: dict[str, set[int]] = {}
    for tenant in ["a", "b", "c", "a", "b", "c"]:
        executor = await sandbox.pool.acquire(tenant, task.digest)
        assert (await executor.run(task)).output == b"x"
        processes.setdefault(tenant, set()).add(executor.process_id)
        await sandbox.pool.release(executor)
    assert not processes["a"] & processes["b"]
    assert not processes["b"] & processes["c"]
    assert not processes["a"] & processes["c"]


async def test_nothing_survives_in_memory_from_run_to_run(sandbox: Sandbox) -> None:
    remembers = guests.module(
        "(i32.store8 (i32.const 4000) (i32.load8_u (i32.const 5000)))"
        "(i32.store8 (i32.const 5000) (i32.const 77))"
        + guests.answer("(i32.const 3999)", "(i32.const 2)")
    )
    outputs = {(await sandbox.run(remembers)).output for _ in range(3)}
    assert outputs == {b"\0"}


async def test_a_module_compiled_for_nobody_is_refused_by_the_executor(sandbox: Sandbox) -> None:
    task = Task("forged", Abi.STOCKADE_V1, b"\x7fELF" + bytes(100), b"", Limits(), ())
    executor = await sandbox.pool.acquire("t", "forged")
    assert (await executor.run(task)).outcome is Outcome.CRASHED
    await sandbox.pool.release(executor)
    await _is_unharmed(sandbox)


async def _is_unharmed(sandbox: Sandbox) -> None:
    result = await sandbox.run(guests.ECHO, b"still here", limits=Limits())
    assert (result.outcome, result.output) == (Outcome.COMPLETED, b"still here")


async def _until_busy(executor: ExecutorClient) -> None:
    """Waits until the executor has used processor time: its guest runs."""
    stat = Path(f"/proc/{executor.process_id}/stat")
    async with asyncio.timeout(20):
        while int(stat.read_text().split()[13]) < 3:
            await asyncio.sleep(0.01)
