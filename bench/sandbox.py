"""What the sandbox costs by itself: a warm run, a fork, the memory of an idle executor."""

import asyncio
import time
from pathlib import Path

from wasmtime import Module

from bench.modules import ECHO
from sandbox_worker.executor_client import ExecutorClient, Task
from sandbox_worker.guest.deadline import Deadline
from sandbox_worker.guest.engine import build_engine
from sandbox_worker.guest.runner import Runner
from stockade.core.jail_control import JailRole
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.infra.jailed_compiler import JailedCompiler
from stockade.infra.zygote_jail import ZygoteJail

POLICY = Path(__file__).parents[1] / "policies" / "seccomp" / "guest.toml"


def warm_run_seconds(data: bytes, runs: int) -> list[float]:
    """A run inside the executor: fresh store and instance, bounds, input, output, usage."""
    engine = build_engine()
    deadline = Deadline(engine)
    runner = Runner(engine, deadline)
    runner.load("echo", Abi.STOCKADE_V1, bytes(Module(engine, ECHO).serialize()))
    limits, times = Limits(), []
    for _ in range(runs):
        started = time.perf_counter()
        runner.run("echo", data, limits, ())
        times.append(time.perf_counter() - started)
    deadline.close()
    return times[runs // 10 :]


async def executor_figures(
    data: bytes, runs: int, executors: int
) -> tuple[list[float], list[float], list[float]]:
    """Seconds for a run through a jailed executor, seconds for a fork, idle private MB each."""
    jail = ZygoteJail(POLICY)
    try:
        artifact = await JailedCompiler(jail).compile(ECHO)
        task = Task("echo", Abi.STOCKADE_V1, artifact, data, Limits(), ())
        forks, clients = [], []
        for number in range(executors):
            started = time.perf_counter()
            client = ExecutorClient(await jail.fork(JailRole.EXECUTOR), f"tenant-{number}")
            forks.append(time.perf_counter() - started)
            await client.run(task)
            clients.append(client)
        times = []
        for _ in range(runs):
            started = time.perf_counter()
            await clients[0].run(task)
            times.append(time.perf_counter() - started)
        memory = [_private_megabytes(client.process_id) for client in clients[1:]]
        await asyncio.gather(*(client.aclose() for client in clients))
        return times[runs // 10 :], forks, memory
    finally:
        await jail.aclose()


def _private_megabytes(process_id: int) -> float:
    lines = Path(f"/proc/{process_id}/smaps_rollup").read_text(encoding="ascii").splitlines()
    private = [line for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))]
    return sum(int(line.split()[1]) for line in private) / 1024
