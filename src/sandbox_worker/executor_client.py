"""The supervisor's side of one executor: sends runs, measures them, kills what is late."""

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import replace

from sandbox_worker.executor_task import HostCallSession, NoHostCalls, Task
from sandbox_worker.guest import frames
from sandbox_worker.guest.shared_file import SHARED_FROM_BYTES, SharedFile, goes_shared
from sandbox_worker.guest_spans import believed_spans
from sandbox_worker.told_result import WORST_TEXT_EXPANSION, Said, believe
from stockade.core.limits import DEFAULT_LIMITS
from stockade.core.outcomes import Outcome, RunResult, Usage
from stockade.core.ports import JailedProcess

GRACE_SECONDS = 0.05
"""What a run may take beyond its wall limit before its process is killed."""
_LOAD_SECONDS = 10.0
_FRAME_SLACK_BYTES = 64 * 1024
_FIRST_READ_BYTES = 64 * 1024
_MAX_CALL_BYTES = frames.MAX_HOST_CALL_BYTES + 8 * 1024


class ExecutorClient:
    """One executor process, which runs one task at a time for one tenant.

    Args:
        process: The jailed child.
        tenant: Whose it is.
        ran_out_of_memory: Tells, by its id, whether the kernel ended it at its memory bound.
    """

    def __init__(
        self,
        process: JailedProcess,
        tenant: str,
        ran_out_of_memory: Callable[[int], bool] = lambda _process_id: False,
    ) -> None:
        self.tenant = tenant
        self.runs = 0
        self.healthy = True
        self.task: Task | None = None
        """What runs now."""
        self._process = process
        self._ran_out_of_memory = ran_out_of_memory
        self._sent: set[str] = set()
        self._received = bytearray()
        self._shared: SharedFile | None = None
        self._wants_shared = False
        self._killed_for: RunResult | None = None
        self._started = 0.0
        self._said = Said(DEFAULT_LIMITS)

    @property
    def process_id(self) -> int:
        """The executor's process id."""
        return self._process.process_id

    @property
    def alive(self) -> bool:
        """Whether the executor's process has not been seen to end."""
        return self._process.alive

    def has(self, digest: str) -> bool:
        """Whether the module was sent before; the executor may have dropped it since."""
        return digest in self._sent

    def cancel(self, detail: str = "The run was cancelled.") -> None:
        """Kills the executor; a run in it ends as `cancelled`, with this sentence."""
        self._killed_for = RunResult(Outcome.CANCELLED, detail=detail)
        self.discard()

    def kill_for(self, outcome: Outcome, limit: str | None) -> None:
        """Kills the executor; a run in it ends so."""
        exceeded = limit is not None and outcome is Outcome.LIMIT_EXCEEDED
        self._killed_for = _limit_exceeded(limit or "") if exceeded else RunResult(outcome)
        self.discard()

    def discard(self) -> None:
        """Kills the executor; it is not used again."""
        self.healthy = False
        self._process.kill()

    async def aclose(self) -> None:
        """Kills the executor and waits for its end."""
        self.discard()
        await self._process.ended()
        self._process.connection.close()
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    async def run(self, task: Task, session: HostCallSession | None = None) -> RunResult:
        """Runs the task; whatever the guest or the executor does is in the result.

        Wall time is measured here, host calls included and the module's loading not.
        """
        self.runs += 1
        self.task = task
        self._started = time.monotonic()
        said = self._said = Said(task.limits)
        try:
            async with asyncio.timeout(None) as patience:
                result = await self._converse(task, session or NoHostCalls(), patience)
        except TimeoutError:
            self.discard()
            result = said.before(_limit_exceeded("wall"))
        except (OSError, EOFError, frames.FrameError):
            self.discard()
            result = said.before(self._killed_for or await self._crashed())
        except BaseException:
            # The answer to this run must never be read as the answer to another.
            self.discard()
            raise
        finally:
            self.task = None
        wall_ms = round((time.monotonic() - self._started) * 1000, 3)
        usage = replace(result.usage, wall_ms=wall_ms, input_bytes=len(task.data))
        return replace(result, usage=usage)

    async def _crashed(self) -> RunResult:
        # Why it died is known when it is gone.
        await self._process.ended()
        out_of_memory = self._ran_out_of_memory(self.process_id)
        return _limit_exceeded("memory") if out_of_memory else _CRASHED

    async def _converse(
        self, task: Task, session: HostCallSession, patience: asyncio.Timeout
    ) -> RunResult:
        await self._share_file(task)
        ran = None
        if self.has(task.digest):
            ran = await self._ran(task, session, patience, self._run_frame(task))
        if ran is None:
            ran = await self._load_and_run(task, session, patience)
        if self._received:
            raise frames.FrameError("the executor says more than it was asked for")
        if task.recorder is not None:
            task.recorder.ended(ran)
        result = believe(ran, self._output(ran, task), task, self._said)
        return self._with_spans(result, ran) if ran.spans or ran.spans_dropped else result

    def _with_spans(self, result: RunResult, ran: frames.Ran) -> RunResult:
        spans = believed_spans(ran, int(self._started * 1e9), time.monotonic_ns())
        dropped = max(0, min(ran.spans_dropped, result.usage.host_calls))
        return replace(result, spans=spans, spans_dropped=dropped)

    async def _load_and_run(
        self, task: Task, session: HostCallSession, patience: asyncio.Timeout
    ) -> frames.Ran:
        patience.reschedule(_now() + _LOAD_SECONDS)
        load = frames.encode(frames.Load(task.digest, task.abi, task.artifact))
        # Both at once: the executor does not wait for the second command.
        await self._send(load + self._run_frame(task))
        answer = await self._answer(_FRAME_SLACK_BYTES)
        if not isinstance(answer, frames.Loaded) or answer.failed:
            raise frames.FrameError("the executor cannot load a compiled module")
        self._sent.add(task.digest)
        ran = await self._ran(task, session, patience, b"")
        if ran is None:
            raise frames.FrameError("the executor does not run what it loaded")
        return ran

    async def _ran(
        self, task: Task, session: HostCallSession, patience: asyncio.Timeout, frame: bytes
    ) -> frames.Ran | None:
        """How the run ended; None when the module has to be loaded first."""
        limits = task.limits
        told = limits.output_bytes + 2 * WORST_TEXT_EXPANSION * limits.log_bytes
        noted = 0 if task.recorder is None else task.recorder.room_bytes
        bound = max(told + noted, _MAX_CALL_BYTES) + _FRAME_SLACK_BYTES
        self._started = time.monotonic()
        deadline = _now() + limits.wall_ms / 1000
        patience.reschedule(deadline + GRACE_SECONDS)
        await self._send(frame)
        calls = 0
        while True:
            answer = await self._answer(bound)
            match answer:
                case frames.Ran():
                    return answer
                case frames.NotLoaded():
                    return None
                case frames.Told():
                    self._said.add(answer)
                    session.hear(answer)
                case frames.HostCall():
                    calls += 1
                    counted_out = calls > limits.host_calls
                    reply = await self._reply(answer, session, deadline, counted_out=counted_out)
                    if task.recorder is not None:
                        task.recorder.answered(answer, reply)
                    await self._send(frames.encode(reply))
                case frames.Loaded():
                    raise frames.FrameError("the executor answers another question")

    async def _reply(
        self, call: frames.HostCall, session: HostCallSession, deadline: float, *, counted_out: bool
    ) -> frames.HostReply:
        if len(call.text) + len(call.data) > _MAX_CALL_BYTES:
            raise frames.FrameError("the executor asks with more than a host call may carry")
        if counted_out:
            return frames.HostReply(stop="host_calls")
        try:
            async with asyncio.timeout_at(deadline):
                return await session.answer(call)
        except TimeoutError:
            return frames.HostReply(stop="wall")

    def _run_frame(self, task: Task) -> bytes:
        shares = self._shared is not None and goes_shared(len(task.data))
        if self._shared is not None and shares:
            self._shared.write(task.data)
        run = frames.Run(
            task.digest,
            task.limits,
            b"" if shares else task.data,
            len(task.data) if shares else 0,
            task.env,
            0 if task.recorder is None else task.recorder.room_bytes,
            task.replays,
        )
        return frames.encode(run)

    def _output(self, ran: frames.Ran, task: Task) -> bytes:
        self._wants_shared |= goes_shared(len(ran.output))
        if self._shared is None:
            if ran.shared_bytes:
                raise frames.FrameError("the executor names a file that was never shared")
            return ran.output
        output = ran.output
        if ran.shared_bytes:
            if not SHARED_FROM_BYTES < ran.shared_bytes <= task.limits.output_bytes:
                raise frames.FrameError("the executor shares more output than is allowed")
            output = self._shared.read(ran.shared_bytes)
        if ran.shared_bytes or goes_shared(len(task.data)):
            self._shared.clear()
        return output

    async def _share_file(self, task: Task) -> None:
        """Gives the executor a shared file the first time that one is of use."""
        if self._shared is not None or not (self._wants_shared or goes_shared(len(task.data))):
            return
        async with asyncio.timeout(_LOAD_SECONDS):
            await self._send(frames.encode(frames.Share()))
            if not isinstance(await self._answer(_FRAME_SLACK_BYTES), frames.Loaded):
                raise frames.FrameError("the executor does not take a shared file")
        self._shared = SharedFile.create()
        socket.send_fds(self._process.connection, [b"f"], [self._shared.descriptor])

    async def _send(self, frame: bytes) -> None:
        if frame:
            await asyncio.get_running_loop().sock_sendall(self._process.connection, frame)

    async def _answer(self, bound: int) -> frames.Answer:
        # Most answers come whole with the first read.
        received = self._received
        while len(received) < frames.HEADER_BYTES:
            received += await self._more(_FIRST_READ_BYTES)
        length = frames.body_length(received[: frames.HEADER_BYTES], bound)
        end = frames.HEADER_BYTES + length
        while len(received) < end:
            received += await self._more(max(_FIRST_READ_BYTES, end - len(received)))
        answer = frames.decode_answer(received[frames.HEADER_BYTES : end])
        del received[:end]
        return answer

    async def _more(self, size: int) -> bytes:
        received = await asyncio.get_running_loop().sock_recv(self._process.connection, size)
        if not received:
            raise EOFError("the executor closed its socket")
        return received


_CRASHED = RunResult(
    Outcome.CRASHED, detail="The sandbox process died during the run.", usage=Usage()
)


def _limit_exceeded(limit: str) -> RunResult:
    return RunResult(
        Outcome.LIMIT_EXCEEDED, limit=limit, detail=f"The run passed its {limit} limit."
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
