"""The supervisor never trusts an executor's word: a lie ends the executor alone."""

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest

from sandbox_worker.executor_client import ExecutorClient, Task
from sandbox_worker.guest import frames
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import LogLine, Outcome, RunResult, Usage
from tests.unit.sandbox_worker.hostile_peer import FakeProcess

LIMITS = Limits(fuel=1000, wall_ms=200, memory_bytes=65536, output_bytes=100, log_bytes=100)
TASK = Task("d", Abi.STOCKADE_V1, b"artifact", b"in", LIMITS, ())
LOADED = frames.encode(frames.Loaded())


@pytest.fixture
async def process() -> AsyncIterator[FakeProcess]:
    process = FakeProcess()
    yield process
    process.kill()
    process.connection.close()


async def run_against(process: FakeProcess, *answers: bytes) -> tuple[RunResult, ExecutorClient]:
    client = ExecutorClient(process, "t")
    responder = asyncio.ensure_future(respond(process, answers))
    result = await client.run(TASK)
    responder.cancel()
    await asyncio.gather(responder, return_exceptions=True)
    return result, client


async def respond(process: FakeProcess, answers: tuple[bytes, ...]) -> None:
    """Sends an answer for each command, whatever the command says."""
    loop = asyncio.get_running_loop()
    for answer in answers:
        await loop.sock_recv(process.peer, 1 << 20)
        await loop.sock_sendall(process.peer, answer)
    await asyncio.Event().wait()


def ran(result: RunResult) -> bytes:
    return frames.encode(frames.Ran(result))


async def test_an_honest_answer_is_taken_and_wall_time_is_our_own(process: FakeProcess) -> None:
    told = RunResult(Outcome.COMPLETED, b"out", usage=Usage(fuel=5, wall_ms=1e9))
    result, client = await run_against(process, LOADED, ran(told))
    assert (result.outcome, result.output, result.usage.fuel) == (Outcome.COMPLETED, b"out", 5)
    assert 0 < result.usage.wall_ms < 60_000
    assert result.usage.input_bytes == 2
    assert client.healthy


async def test_claimed_usage_is_bounded_by_what_was_allowed(process: FakeProcess) -> None:
    claim = Usage(
        fuel=-5, peak_memory_bytes=10**18, host_calls=10**18, output_bytes=-1, log_bytes=10**18
    )
    result, _ = await run_against(process, LOADED, ran(RunResult(Outcome.COMPLETED, usage=claim)))
    assert result.usage.fuel == 0
    assert result.usage.peak_memory_bytes == LIMITS.memory_bytes
    assert result.usage.host_calls == LIMITS.host_calls + 1
    assert (result.usage.output_bytes, result.usage.log_bytes) == (0, LIMITS.log_bytes)


@pytest.mark.parametrize(
    "lie",
    [
        b"",
        struct.pack("<I", 0xFFFFFFFF),
        struct.pack("<I", 5) + b"\xff\xff\xff\xff\xff",
        struct.pack("<I", 5) + b"\x00",
        LOADED,
        frames.encode(frames.NotLoaded()),
        ran(RunResult(Outcome.COMPLETED, b"x" * 101)),
        ran(RunResult(Outcome.CRASHED)),
        ran(RunResult(Outcome.LOST)),
        ran(RunResult(Outcome.CANCELLED)),
        ran(RunResult(Outcome.EXPIRED)),
        ran(RunResult(Outcome.COMPLETED, logs=(LogLine(5, "x"),))),
        ran(RunResult(Outcome.COMPLETED, logs=(LogLine(-1, "x"),))),
        ran(RunResult(Outcome.COMPLETED, logs=(LogLine(1, "x" * 401),))),
        ran(RunResult(Outcome.TRAPPED, detail="x" * 10_000)),
        ran(RunResult(Outcome.LIMIT_EXCEEDED, limit="patience")),
    ],
    ids=[
        "nothing",
        "a length beyond the bound",
        "no msgpack",
        "half a frame",
        "another answer",
        "never loaded",
        "too much output",
        "crashed",
        "lost",
        "cancelled",
        "expired",
        "a level too high",
        "a level too low",
        "too much log",
        "a long detail",
        "an unknown limit",
    ],
)
async def test_a_lie_crashes_the_run_and_ends_the_executor(
    process: FakeProcess, lie: bytes
) -> None:
    client = ExecutorClient(process, "t")
    loop = asyncio.get_running_loop()

    async def lie_and_leave() -> None:
        await loop.sock_recv(process.peer, 1 << 20)
        await loop.sock_sendall(process.peer, LOADED)
        await loop.sock_recv(process.peer, 1 << 20)
        await loop.sock_sendall(process.peer, lie)
        process.peer.shutdown(1)

    result, _ = await asyncio.gather(client.run(TASK), lie_and_leave())
    assert result.outcome is Outcome.CRASHED
    assert not client.healthy
    assert process.kills


async def test_a_second_answer_to_one_command_crashes_the_run(process: FakeProcess) -> None:
    result, client = await run_against(process, LOADED + LOADED)
    assert result.outcome is Outcome.CRASHED
    assert not client.healthy


async def test_an_answer_may_come_byte_by_byte(process: FakeProcess) -> None:
    answer = ran(RunResult(Outcome.COMPLETED, b"x" * 50))
    client = ExecutorClient(process, "t")
    loop = asyncio.get_running_loop()

    async def dribble() -> None:
        for frame in (LOADED, answer):
            await loop.sock_recv(process.peer, 1 << 20)
            for byte in frame:
                await loop.sock_sendall(process.peer, bytes([byte]))
                await asyncio.sleep(0)

    result, _ = await asyncio.gather(client.run(TASK), dribble())
    assert result.output == b"x" * 50


async def test_a_silent_executor_is_killed_at_the_deadline(process: FakeProcess) -> None:
    result, client = await run_against(process, LOADED)
    assert (result.outcome, result.limit) == (Outcome.LIMIT_EXCEEDED, "wall")
    assert result.usage.wall_ms >= LIMITS.wall_ms
    assert process.kills
    assert not client.healthy


async def test_an_abandoned_run_ends_its_executor(process: FakeProcess) -> None:
    client = ExecutorClient(process, "t")
    running = asyncio.ensure_future(client.run(TASK))
    await asyncio.get_running_loop().sock_recv(process.peer, 1 << 20)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not client.healthy
    assert process.kills


async def test_a_dropped_module_is_sent_once_more(process: FakeProcess) -> None:
    again = frames.encode(frames.NotLoaded())
    answers = (LOADED, again, LOADED, ran(RunResult(Outcome.COMPLETED, b"ok")))
    result, client = await run_against(process, *answers)
    assert result.output == b"ok"
    assert client.has("d")


async def test_a_module_that_cannot_be_loaded_crashes_the_run(process: FakeProcess) -> None:
    result, _ = await run_against(process, frames.encode(frames.Loaded(failed=True)))
    assert result.outcome is Outcome.CRASHED


def test_a_frame_that_is_no_command_is_refused() -> None:
    with pytest.raises(frames.FrameError):
        frames.decode_command(b"\xc1")
