"""The supervisor never trusts an executor's word: a lie ends the executor alone."""

import asyncio
import select
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from sandbox_worker.executor_client import ExecutorClient
from sandbox_worker.executor_task import NoHostCalls, Task
from sandbox_worker.guest import frames
from sandbox_worker.guest.shared_file import SharedFile
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import Event, LogLine, Outcome, RunResult
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
        await process.command()
        await loop.sock_sendall(process.peer, answer)
    await asyncio.Event().wait()


def ran(outcome: Outcome, output: bytes = b"", *, fuel: int = 1, **told: object) -> bytes:
    return frames.encode(frames.Ran(outcome, fuel, output=output, **told))  # type: ignore[arg-type] # by name


async def test_an_honest_answer_is_taken_and_wall_time_is_our_own(process: FakeProcess) -> None:
    result, client = await run_against(process, LOADED, ran(Outcome.COMPLETED, b"out", fuel=5))
    assert (result.outcome, result.output, result.usage.fuel) == (Outcome.COMPLETED, b"out", 5)
    assert 0 < result.usage.wall_ms < 60_000
    assert result.usage.input_bytes == 2
    assert client.healthy


async def test_claimed_usage_is_bounded_by_what_was_allowed(process: FakeProcess) -> None:
    claim = ran(
        Outcome.COMPLETED,
        fuel=-5,
        peak_memory_bytes=10**18,
        host_calls=10**18,
        log_bytes=10**18,
    )
    result, _ = await run_against(process, LOADED, claim)
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
        ran(Outcome.COMPLETED, b"x" * 101),
        ran(Outcome.CRASHED),
        ran(Outcome.LOST),
        ran(Outcome.CANCELLED),
        ran(Outcome.EXPIRED),
        ran(Outcome.COMPLETED, logs=(LogLine(5, "x"),)),
        ran(Outcome.COMPLETED, logs=(LogLine(-1, "x"),)),
        ran(Outcome.COMPLETED, logs=(LogLine(1, "x" * 401),)),
        ran(Outcome.COMPLETED, events=(Event("x", "y" * 100),)),
        ran(Outcome.COMPLETED, shared_bytes=70_000),
        ran(Outcome.TRAPPED, detail="x" * 10_000),
        ran(Outcome.LIMIT_EXCEEDED, limit="patience"),
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
        "too many events",
        "output in a file that was never shared",
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
        await process.command()
        await loop.sock_sendall(process.peer, LOADED)
        await process.command()
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
    answer = ran(Outcome.COMPLETED, b"x" * 50)
    client = ExecutorClient(process, "t")
    loop = asyncio.get_running_loop()

    async def dribble() -> None:
        for frame in (LOADED, answer):
            await process.command()
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
    await process.command()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not client.healthy
    assert process.kills


async def test_a_dropped_module_is_sent_once_more(process: FakeProcess) -> None:
    dropped = frames.encode(frames.NotLoaded())
    answers = (LOADED, ran(Outcome.COMPLETED, b"1"), dropped, LOADED, ran(Outcome.COMPLETED, b"2"))
    client = ExecutorClient(process, "t")
    responder = asyncio.ensure_future(respond(process, answers))
    assert [(await client.run(TASK)).output for _ in range(2)] == [b"1", b"2"]
    responder.cancel()
    await asyncio.gather(responder, return_exceptions=True)
    assert client.has("d")


async def test_a_module_that_cannot_be_loaded_crashes_the_run(process: FakeProcess) -> None:
    result, _ = await run_against(process, frames.encode(frames.Loaded(failed=True)))
    assert result.outcome is Outcome.CRASHED


def test_a_frame_that_is_no_command_is_refused() -> None:
    with pytest.raises(frames.FrameError):
        frames.decode_command(b"\xc1")


class Session:
    """Answers host calls after `waits` was set, and remembers them."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.asked: list[frames.HostCall] = []
        self.heard: list[frames.Told] = []
        self.waits = asyncio.Event()
        if at_once:
            self.waits.set()

    async def answer(self, call: frames.HostCall) -> frames.HostReply:
        self.asked.append(call)
        await self.waits.wait()
        return frames.HostReply(0, b"value")

    def hear(self, told: frames.Told) -> None:
        self.heard.append(told)


async def converse(
    process: FakeProcess, session: Session, calls: int, limits: Limits = LIMITS
) -> tuple[RunResult, list[frames.Command]]:
    """A run in which the executor makes so many host calls, then ends."""
    loop = asyncio.get_running_loop()
    replies: list[frames.Command] = []
    call = frames.HostCall("kv_get", "a/b")

    async def executor() -> None:
        await process.command()
        await loop.sock_sendall(process.peer, LOADED)
        await process.command()
        for _ in range(calls):
            await loop.sock_sendall(process.peer, frames.encode(call))
            replies.append(await process.command())
        await loop.sock_sendall(process.peer, ran(Outcome.COMPLETED, b"done"))

    client = ExecutorClient(process, "t")
    result, _ = await asyncio.gather(client.run(replace(TASK, limits=limits), session), executor())
    return result, replies


async def test_host_calls_are_answered_by_the_session(process: FakeProcess) -> None:
    session = Session()
    result, replies = await converse(process, session, 3)
    assert result.output == b"done"
    assert replies == [frames.HostReply(0, b"value")] * 3
    assert session.asked == [frames.HostCall("kv_get", "a/b")] * 3


async def test_the_supervisor_counts_host_calls_itself(process: FakeProcess) -> None:
    session = Session()
    _, replies = await converse(process, session, 3, replace(LIMITS, host_calls=2))
    assert replies[2] == frames.HostReply(stop="host_calls")
    assert len(session.asked) == 2


async def test_a_host_call_ends_at_the_runs_deadline(process: FakeProcess) -> None:
    result, replies = await converse(process, Session(at_once=False), 1)
    assert replies == [frames.HostReply(stop="wall")]
    assert result.usage.wall_ms >= LIMITS.wall_ms


async def test_a_host_call_beyond_its_bound_crashes_the_run(process: FakeProcess) -> None:
    lie = frames.encode(frames.HostCall("http_fetch", data=bytes(2 * frames.MAX_HOST_CALL_BYTES)))
    wide = replace(LIMITS, output_bytes=8 << 20)
    client = ExecutorClient(process, "t")
    responder = asyncio.ensure_future(respond(process, (LOADED, lie + lie)))
    result = await client.run(replace(TASK, limits=wide), Session())
    responder.cancel()
    await asyncio.gather(responder, return_exceptions=True)
    assert result.outcome is Outcome.CRASHED


async def test_a_session_that_fails_ends_the_executor(process: FakeProcess) -> None:
    class Fails(Session):
        async def answer(self, call: frames.HostCall) -> frames.HostReply:
            raise RuntimeError(f"our own mistake in {call.name}")

    client = ExecutorClient(process, "t")
    call = frames.encode(frames.HostCall("kv_get", "a/b"))
    responder = asyncio.ensure_future(respond(process, (LOADED, call)))
    with pytest.raises(RuntimeError, match="mistake"):
        await client.run(TASK, Fails())
    responder.cancel()
    await asyncio.gather(responder, return_exceptions=True)
    assert not client.healthy


async def test_a_run_without_a_session_is_refused_every_call() -> None:
    reply = await NoHostCalls().answer(frames.HostCall("kv_get", "a/b"))
    assert reply.status == 2
    assert reply.data.startswith(b"host_call.not_granted: ")


@pytest.mark.parametrize(
    ("outcome", "limit"),
    [(Outcome.LIMIT_EXCEEDED, "memory"), (Outcome.CRASHED, None), (Outcome.LOST, None)],
)
async def test_who_kills_an_executor_says_how_its_run_ends(
    process: FakeProcess, outcome: Outcome, limit: str | None
) -> None:
    client = ExecutorClient(process, "t")
    running = asyncio.ensure_future(client.run(TASK))
    await process.command()
    assert client.task is TASK
    client.kill_for(outcome, limit)
    result = await running
    assert (result.outcome, result.limit, client.task) == (outcome, limit, None)


@pytest.mark.parametrize("out_of_memory", [False, True])
async def test_an_end_at_the_kernels_memory_bound_is_told(
    process: FakeProcess, *, out_of_memory: bool
) -> None:
    asked: list[int] = []

    def ran_out(process_id: int) -> bool:
        asked.append(process_id)
        return out_of_memory

    client = ExecutorClient(process, "t", ran_out)
    running = asyncio.ensure_future(client.run(TASK))
    await process.command()
    process.kill()
    result = await running
    expected = (Outcome.LIMIT_EXCEEDED, "memory") if out_of_memory else (Outcome.CRASHED, None)
    assert (result.outcome, result.limit) == expected
    assert asked == [client.process_id]


BIG = Task(
    "d", Abi.STOCKADE_V1, b"artifact", bytes(100_000), replace(LIMITS, output_bytes=1 << 20), ()
)


async def share(process: FakeProcess, told: bytes, content: bytes) -> RunResult:
    """A run of a large input whose executor writes this into the shared file and tells that."""
    loop = asyncio.get_running_loop()

    async def executor() -> bytes:
        assert isinstance(await process.command(), frames.Share)
        await loop.sock_sendall(process.peer, LOADED)
        await asyncio.to_thread(select.select, [process.peer], [], [])
        _, (descriptor,), _, _ = socket.recv_fds(process.peer, 1, 1)
        shared = SharedFile(descriptor)
        await process.command()
        run = await process.command()
        assert isinstance(run, frames.Run)
        data = shared.read(run.shared_bytes)
        shared.write(content)
        shared.close()
        await loop.sock_sendall(process.peer, LOADED + told)
        return data

    client = ExecutorClient(process, "t")
    result, data = await asyncio.gather(client.run(BIG), executor())
    assert data == BIG.data
    await client.aclose()
    return result


async def test_large_bytes_go_through_the_shared_file(process: FakeProcess) -> None:
    content = bytes(range(256)) * 400
    result = await share(process, ran(Outcome.COMPLETED, shared_bytes=len(content)), content)
    assert (result.outcome, result.output) == (Outcome.COMPLETED, content)
    assert result.usage.output_bytes == len(content)


@pytest.mark.parametrize("told", [-1, 1, 65_536, 200_000, (1 << 20) + 1, 1 << 40])
async def test_a_lie_about_the_shared_file_crashes_the_run(process: FakeProcess, told: int) -> None:
    result = await share(process, ran(Outcome.COMPLETED, shared_bytes=told), bytes(100_000))
    assert result.outcome is Outcome.CRASHED


LINES = (LogLine(1, "one"), LogLine(2, "two"), LogLine(3, "three"))


def tells(*lines: LogLine, **told: tuple[Event, ...]) -> bytes:
    return frames.encode(frames.Told(lines, **told))


async def test_what_is_told_while_it_runs_is_heard_and_in_the_result(process: FakeProcess) -> None:
    session, event = Session(), Event("e", "1")
    early, late = tells(*LINES[:2], events=(event,)), tells(LINES[2])
    responder = asyncio.ensure_future(
        respond(process, (LOADED, early + late + ran(Outcome.COMPLETED, b"x", logs=LINES[:1])))
    )
    result = await ExecutorClient(process, "t").run(TASK, session)
    responder.cancel()
    await asyncio.gather(responder, return_exceptions=True)
    assert session.heard == [frames.Told(LINES[:2], (event,)), frames.Told(LINES[2:])]
    assert (result.logs, result.events) == ((*LINES, LINES[0]), (event,))


async def test_what_was_said_outlives_the_executor(process: FakeProcess) -> None:
    loop = asyncio.get_running_loop()

    async def say_and_die() -> None:
        await process.command()
        await loop.sock_sendall(process.peer, LOADED)
        await process.command()
        await loop.sock_sendall(process.peer, tells(*LINES))
        process.peer.shutdown(1)

    client = ExecutorClient(process, "t")
    result, _ = await asyncio.gather(client.run(TASK), say_and_die())
    assert (result.outcome, result.logs) == (Outcome.CRASHED, LINES)


@pytest.mark.parametrize(
    "lie",
    [
        tells(),
        tells(LogLine(9, "x")),
        tells(LogLine(1, "x" * 401)),
        tells(*[LogLine(1, "x" * 50)] * 4) * 3,
        tells(*[LogLine(1, "")] * 30),
        tells(events=(Event("x", "y" * 100),)),
    ],
    ids=["nothing", "a level", "a long line", "many", "many empty", "events"],
)
async def test_a_lie_about_what_was_said_crashes_the_run(process: FakeProcess, lie: bytes) -> None:
    answer = lie + ran(Outcome.COMPLETED, b"x")
    result, client = await run_against(process, LOADED, answer)
    assert result.outcome is Outcome.CRASHED
    assert not client.healthy
