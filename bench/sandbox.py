"""What the sandbox costs by itself: warm runs, forks, cold starts, the memory of idle executors."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from wasmtime import Module

from bench.modules import ECHO, padded
from sandbox_worker.executor_client import ExecutorClient
from sandbox_worker.executor_task import Task
from sandbox_worker.guest import frames
from sandbox_worker.guest.deadline import Deadline
from sandbox_worker.guest.engine import build_engine
from sandbox_worker.guest.host_calls import nobody_answers
from sandbox_worker.guest.public_machine import PublicMachine
from sandbox_worker.guest.raw_machine import RawMachine
from sandbox_worker.guest.runner import Runner
from stockade.core.jail_control import JailRole
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.infra.directory_artifacts import DirectoryArtifactCache
from stockade.infra.jailed_compiler import JailedCompiler
from stockade.infra.zygote_jail import ZygoteJail

POLICY = Path(__file__).parents[1] / "policies" / "seccomp" / "guest.toml"


@asynccontextmanager
async def jail() -> AsyncIterator[ZygoteJail]:
    """A jail of its own."""
    opened = ZygoteJail(POLICY)
    try:
        yield opened
    finally:
        await opened.aclose()


def warm_run_seconds(
    data: bytes, runs: int, *, pooled: bool = True, raw: bool = True
) -> list[float]:
    """A run inside the executor: fresh store and instance, bounds, input, output, usage."""
    engine = build_engine(pooled=pooled)
    deadline = Deadline(engine)
    inside = Runner(engine, RawMachine if raw else PublicMachine)
    inside.attach(deadline, nobody_answers)
    inside.load("echo", Abi.STOCKADE_V1, bytes(Module(engine, ECHO).serialize()))
    command, times = frames.Run("echo", Limits(), data), []
    for _ in range(runs):
        started = time.perf_counter()
        inside.run(command)
        times.append(time.perf_counter() - started)
    deadline.close()
    return times[runs // 10 :]


async def framed_run_seconds(data: bytes, runs: int) -> list[float]:
    """The same in a jailed executor, asked over its socket."""
    async with jail() as opened:
        task = await _task(opened, ECHO, data)
        client = ExecutorClient(await opened.fork(JailRole.EXECUTOR), "tenant")
        times = [await _seconds(client, task) for _ in range(runs)]
        await client.aclose()
    return times[runs // 10 :]


async def fresh_process_seconds(data: bytes, runs: int) -> tuple[list[float], list[float]]:
    """A fork; and all of a run at isolation level `invocation`: fork, load, run, end."""
    forks, wholes = [], []
    async with jail() as opened:
        task = await _task(opened, ECHO, data)
        for _ in range(runs):
            started = time.perf_counter()
            client = ExecutorClient(await opened.fork(JailRole.EXECUTOR), "tenant")
            forks.append(time.perf_counter() - started)
            await client.run(task)
            await client.aclose()
            wholes.append(time.perf_counter() - started)
    return forks, wholes


async def idle_megabytes(data: bytes, tenants: int) -> list[float]:
    """Private memory of each of so many tenants' executors, each idle after a run."""
    async with jail() as opened:
        task = await _task(opened, ECHO, data)
        clients = []
        for number in range(tenants):
            client = ExecutorClient(await opened.fork(JailRole.EXECUTOR), f"tenant-{number}")
            await client.run(task)
            clients.append(client)
        memory = [private_megabytes(client.process_id) for client in clients]
        await asyncio.gather(*(client.aclose() for client in clients))
    return memory


async def cold_start_seconds(size_bytes: int, times: int) -> tuple[list[float], list[float]]:
    """First run of a module: compiled first; with its artifact in the cache, in a new executor."""
    compiled, cached = [], []
    async with jail() as opened:
        with tempfile.TemporaryDirectory() as folder:
            cache = DirectoryArtifactCache(
                Path(folder), b"k" * 32, await opened.engine_fingerprint()
            )
            body = padded(size_bytes)
            compiler = JailedCompiler(opened)
            for number in range(times):
                digest = f"sha256:{number:064x}"
                started = time.perf_counter()
                artifact = await compiler.compile(body)
                await _run_in_new_executor(opened, digest, artifact)
                compiled.append(time.perf_counter() - started)
                await cache.put(digest, artifact)
                started = time.perf_counter()
                await _run_in_new_executor(opened, digest, await cache.get(digest) or b"")
                cached.append(time.perf_counter() - started)
    return compiled, cached


def private_megabytes(process_id: int) -> float:
    """What a process does not share with any other."""
    lines = Path(f"/proc/{process_id}/smaps_rollup").read_text(encoding="ascii").splitlines()
    private = [line for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))]
    return sum(int(line.split()[1]) for line in private) / 1024


async def _run_in_new_executor(opened: ZygoteJail, digest: str, artifact: bytes) -> None:
    client = ExecutorClient(await opened.fork(JailRole.EXECUTOR), "tenant")
    task = Task(digest, Abi.STOCKADE_V1, artifact, b"first", Limits(), ())
    result = await client.run(task)
    if result.output != b"first":
        raise RuntimeError(f"the first run ended as {result.outcome}")
    await client.aclose()


async def _task(opened: ZygoteJail, body: bytes, data: bytes) -> Task:
    artifact = await JailedCompiler(opened).compile(body)
    return Task("echo", Abi.STOCKADE_V1, artifact, data, Limits(), ())


async def _seconds(client: ExecutorClient, task: Task) -> float:
    started = time.perf_counter()
    await client.run(task)
    return time.perf_counter() - started
