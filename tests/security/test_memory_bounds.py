"""What a process holds is bounded from outside, whatever its guest or its engine does."""

import asyncio

import pytest

from sandbox_worker.executor_watch import ExecutorWatch
from stockade.core.limits import Limits
from stockade.core.outcomes import Outcome
from stockade.infra.proc_meter import ProcMeter
from tests.guest import guests
from tests.security.sandbox import Sandbox

pytestmark = pytest.mark.undisturbed

LIMITS = Limits(fuel=10**15, wall_ms=20_000, memory_bytes=256 << 20)
TOUCHES = guests.module(
    """(drop (memory.grow (i32.const 3000)))
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 196608000))
    (loop (br 0)) (unreachable)""",
    memory="2",
)


async def test_a_process_that_holds_too_much_is_killed_and_its_run_is_over_memory(
    sandbox: Sandbox,
) -> None:
    # What an engine gone wrong would take is played by what this guest may take.
    strict = ExecutorWatch(sandbox.pool, sandbox.meter, slack_bytes=-(100 << 20))
    watching = asyncio.ensure_future(strict.run())
    await sandbox.ends(TOUCHES, Outcome.LIMIT_EXCEEDED, "memory", limits=LIMITS)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_what_is_allowed_may_be_used(sandbox: Sandbox) -> None:
    limits = Limits(fuel=10**15, wall_ms=400, memory_bytes=256 << 20)
    result = await sandbox.ends(TOUCHES, Outcome.LIMIT_EXCEEDED, "wall", limits=limits)
    assert result.limit == "wall"


async def test_memory_is_given_back_after_a_run(sandbox: Sandbox) -> None:
    grows = guests.module(
        """(drop (memory.grow (i32.const 3000)))
        (memory.fill (i32.const 0) (i32.const 1) (i32.const 196608000))"""
        + guests.answer("(i32.const 2048)", "(i32.const 1)")
        + "",
        memory="2",
    )
    task = await sandbox.task(guests.ECHO, b"x", Limits())
    executor = await sandbox.pool.acquire("t", task.digest)
    await executor.run(task)
    before = sandbox.meter.resident_bytes(executor.process_id) or 0
    big = await sandbox.task(grows, b"", LIMITS)
    await executor.run(big)
    after = sandbox.meter.resident_bytes(executor.process_id) or 0
    await sandbox.pool.release(executor)
    assert before > 0
    assert after - before < 16 << 20


def test_a_process_that_is_gone_has_no_figures() -> None:
    meter = ProcMeter()
    assert meter.resident_bytes(2**22 + 1) is None
    assert meter.cpu_seconds(2**22 + 1) is None
