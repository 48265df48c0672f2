"""What hostile guests get beyond their limits: time after the deadline, memory above the bound."""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench.sandbox import jail
from sandbox_worker.executor_client import ExecutorClient
from sandbox_worker.executor_task import Task
from stockade.core.jail_control import JailRole
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import RunResult
from stockade.infra.jailed_compiler import JailedCompiler
from stockade.infra.zygote_jail import ZygoteJail
from tests.guest import guests

LIMITS = Limits(fuel=10**15, wall_ms=150, memory_bytes=64 << 20, output_bytes=1 << 20)
ATTACKS = {
    "loop": (guests.LOOP, Abi.STOCKADE_V1),
    "loop in start": (guests.LOOP_IN_START, Abi.STOCKADE_V1),
    "loop in alloc": (guests.LOOP_IN_ALLOC, Abi.STOCKADE_V1),
    "recursion": (guests.RECURSE, Abi.STOCKADE_V1),
    "memory bomb": (guests.MEMORY_BOMB, Abi.STOCKADE_V1),
    "table bomb": (guests.TABLE_BOMB, Abi.STOCKADE_V1),
    "memory.fill without end": (guests.LONG_FILL, Abi.STOCKADE_V1),
    "log flood": (guests.LOG_FLOOD, Abi.STOCKADE_V1),
    "output flood": (guests.STDOUT_FLOOD, Abi.WASI_PREVIEW1),
    "sleep": (guests.SLEEP, Abi.WASI_PREVIEW1),
}
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SAMPLE_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Attack:
    """The worst of some runs.

    `late_ms` is after the deadline, until the process was gone where it was killed; `above_mb` is
    what was resident above the idle executor's own and the memory limit.
    """

    name: str
    ended: str
    late_ms: float
    above_mb: float


async def attack_figures(times: int) -> list[Attack]:
    """Each attack so many times, one after the other on a machine that does nothing else."""
    async with jail() as opened:
        compiler = JailedCompiler(opened)
        return [
            await _worst(opened, name, await compiler.compile(body), abi, times)
            for name, (body, abi) in ATTACKS.items()
        ]


async def _worst(opened: ZygoteJail, name: str, artifact: bytes, abi: Abi, times: int) -> Attack:
    task = Task(name, abi, artifact, b"x", LIMITS, ())
    runs = [await _attack(opened, task) for _ in range(times)]
    result = runs[0][0]
    ended = f"{result.outcome}" + (f" ({result.limit})" if result.limit else "")
    return Attack(name, ended, max(run[1] for run in runs), max(run[2] for run in runs))


async def _attack(opened: ZygoteJail, task: Task) -> tuple[RunResult, float, float]:
    process = await opened.fork(JailRole.EXECUTOR)
    client = ExecutorClient(process, "tenant")
    idle = _resident_bytes(client.process_id)
    running = asyncio.ensure_future(client.run(task))
    peak = 0
    while not running.done():
        peak = max(peak, _resident_bytes(client.process_id))
        await asyncio.sleep(_SAMPLE_SECONDS)
    result, ended = running.result(), time.monotonic()
    if not client.healthy:
        await process.ended()
    late_ms = result.usage.wall_ms - LIMITS.wall_ms + (time.monotonic() - ended) * 1000
    await client.aclose()
    return result, late_ms, (peak - idle - LIMITS.memory_bytes) / (1 << 20)


def _resident_bytes(process_id: int) -> int:
    try:
        statm = Path(f"/proc/{process_id}/statm").read_text(encoding="ascii")
        return int(statm.split()[1]) * _PAGE_BYTES
    except OSError:
        return 0
