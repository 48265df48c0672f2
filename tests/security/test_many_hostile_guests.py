"""Two hundred hostile guests at once beside a tenant who only wants to work."""

import asyncio

import pytest

from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import Outcome, RunResult
from tests.guest import guests
from tests.security.sandbox import PLENTY, Sandbox, sandbox_of

pytestmark = pytest.mark.undisturbed

SHORT = Limits(fuel=10**12, wall_ms=50, memory_bytes=16 << 20, output_bytes=65536, log_bytes=4096)
KINDS: list[tuple[bytes, Abi, set[tuple[Outcome, str | None]]]] = [
    (guests.LOOP, Abi.STOCKADE_V1, {(Outcome.LIMIT_EXCEEDED, "wall")}),
    (guests.LOOP_IN_START, Abi.STOCKADE_V1, {(Outcome.LIMIT_EXCEEDED, "wall")}),
    (guests.RECURSE, Abi.STOCKADE_V1, {(Outcome.TRAPPED, None)}),
    (guests.MEMORY_BOMB, Abi.STOCKADE_V1, {(Outcome.LIMIT_EXCEEDED, "memory")}),
    (guests.TABLE_BOMB, Abi.STOCKADE_V1, {(Outcome.TRAPPED, None)}),
    (guests.SLEEP, Abi.WASI_PREVIEW1, {(Outcome.LIMIT_EXCEEDED, "wall")}),
    (
        guests.STDOUT_FLOOD,
        Abi.WASI_PREVIEW1,
        {(Outcome.LIMIT_EXCEEDED, "output"), (Outcome.LIMIT_EXCEEDED, "wall")},
    ),
    (
        guests.LOG_FLOOD,
        Abi.STOCKADE_V1,
        {(Outcome.LIMIT_EXCEEDED, "host_calls"), (Outcome.LIMIT_EXCEEDED, "wall")},
    ),
]
HOSTILE = 200


async def test_the_good_tenant_works_and_the_hostile_end_as_they_should() -> None:
    async with sandbox_of(max_executors=8, spare_executors=2) as sandbox:
        tasks = [await sandbox.task(body, b"", SHORT, abi) for body, abi, _ in KINDS]
        good = await sandbox.task(guests.ECHO, b"work", PLENTY)

        async def run(task: object, tenant: str) -> RunResult:
            executor = await sandbox.pool.acquire(tenant, "d")
            try:
                return await executor.run(task)  # type: ignore[arg-type] # a task
            finally:
                await sandbox.pool.release(executor)

        hostile = [
            asyncio.ensure_future(run(tasks[number % len(KINDS)], f"hostile-{number % 20}"))
            for number in range(HOSTILE)
        ]
        while not all(one.done() for one in hostile):
            result = await run(good, "good")
            assert (result.outcome, result.output) == (Outcome.COMPLETED, b"work")
        for number, result in enumerate(await asyncio.gather(*hostile)):
            assert (result.outcome, result.limit) in KINDS[number % len(KINDS)][2], result
        assert not sandbox.pool.lent
        await sandbox_is_unharmed(sandbox)


async def sandbox_is_unharmed(sandbox: Sandbox) -> None:
    for tenant in ("good", "hostile-1", "newcomer"):
        await sandbox.is_unharmed(tenant)
