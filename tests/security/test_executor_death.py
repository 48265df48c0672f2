"""An executor that dies takes its own run along, nothing else; the pool heals itself."""

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox_worker.executor_client import ExecutorClient
from stockade.core.limits import Limits
from stockade.core.outcomes import Outcome, RunResult
from tests.guest import guests
from tests.security.sandbox import Sandbox, sandbox_of, until_busy

pytestmark = pytest.mark.undisturbed

LONG = Limits(fuel=10**15, wall_ms=60_000)


async def running(sandbox: Sandbox) -> tuple[ExecutorClient, "asyncio.Future[RunResult]"]:
    task = await sandbox.task(guests.LOOP, limits=LONG)
    executor = await sandbox.pool.acquire("t", task.digest)
    run = asyncio.ensure_future(executor.run(task))
    await until_busy(executor)
    return executor, run


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGSYS])
async def test_a_death_crashes_only_its_run(sandbox: Sandbox, number: signal.Signals) -> None:
    executor, run = await running(sandbox)
    other, other_run = await running(sandbox)
    while not run.done():
        # The engine takes one fault for a guest's own, and gives its handler up at the next.
        with suppress(ProcessLookupError):  # it is gone, and the run is about to hear of it
            os.kill(executor.process_id, number)
        await asyncio.sleep(0.01)
    assert (await run).outcome is Outcome.CRASHED
    await sandbox.pool.release(executor)
    await sandbox.is_unharmed()
    assert not other_run.done()
    other.cancel()
    assert (await other_run).outcome is Outcome.CANCELLED
    await sandbox.pool.release(other)


async def test_a_stopped_executor_ends_at_its_deadline(sandbox: Sandbox) -> None:
    task = replace(await sandbox.task(guests.LOOP), limits=Limits(fuel=10**15, wall_ms=400))
    executor = await sandbox.pool.acquire("t", task.digest)
    run = asyncio.ensure_future(executor.run(task))
    await until_busy(executor)
    os.kill(executor.process_id, signal.SIGSTOP)
    result = await run
    assert (result.outcome, result.limit) == (Outcome.LIMIT_EXCEEDED, "wall")
    await sandbox.pool.release(executor)
    await sandbox.is_unharmed()


async def test_a_killed_zygote_takes_its_children_along_and_comes_again(sandbox: Sandbox) -> None:
    executor, run = await running(sandbox)
    os.kill(_parent(str(executor.process_id)), signal.SIGKILL)
    assert (await run).outcome is Outcome.CRASHED
    await sandbox.pool.release(executor)
    await sandbox.is_unharmed()


async def test_neither_places_nor_descriptors_nor_processes_are_left_behind() -> None:
    async with sandbox_of(max_executors=3) as sandbox:
        await sandbox.is_unharmed()
        before = _descriptors()
        children_before = _children()
        for number in range(25):
            executor = await sandbox.pool.acquire(f"tenant-{number}", "d")
            os.kill(executor.process_id, signal.SIGKILL)
            await sandbox.pool.release(executor)
        for number in range(25):
            await sandbox.is_unharmed(f"tenant-{number}")
        assert _descriptors() <= before + 2 * 3
        assert _children() <= children_before


async def test_many_tenants_pass_through_a_small_pool() -> None:
    async with sandbox_of(max_executors=4) as sandbox:
        task = await sandbox.task(guests.ECHO, b"x", Limits())

        async def once(tenant: str) -> None:
            executor = await sandbox.pool.acquire(tenant, task.digest)
            try:
                assert (await executor.run(task)).output == b"x"
            finally:
                await sandbox.pool.release(executor)

        for start in range(0, 300, 50):
            await asyncio.gather(*(once(f"tenant-{start + n}") for n in range(50)))


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _parent(process: str) -> int:
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def _children() -> set[str]:
    """The children of this process: the zygote, and what other tests keep."""
    processes = {path.name for path in Path("/proc").iterdir() if path.name.isdigit()}
    return {process for process in processes if _parent(process) == os.getpid()}
