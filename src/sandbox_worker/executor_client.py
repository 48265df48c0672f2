"""The supervisor's side of one executor: sends runs, measures them, kills what is late."""

import asyncio
import time
from dataclasses import dataclass, replace

from sandbox_worker.guest import frames
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import Outcome, RunResult, Usage
from stockade.core.ports import JailedProcess

GRACE_SECONDS = 0.05
"""What a run may take beyond its wall limit before its process is killed."""
_LOAD_SECONDS = 10.0
_FRAME_SLACK_BYTES = 64 * 1024
_WORST_LOG_EXPANSION = 4
_FIRST_READ_BYTES = 64 * 1024
_HIGHEST_LEVEL = 4
_MAX_DETAIL_CHARACTERS = 8192
_LIMITS_TO_TELL = frozenset({"fuel", "memory", "table", "wall", "output", "host_calls"})


@dataclass(frozen=True, slots=True)
class Task:
    """One run to make: a verified, compiled module and an input."""

    digest: str
    abi: Abi
    artifact: bytes
    data: bytes
    limits: Limits
    env: tuple[tuple[str, str], ...]


class ExecutorClient:
    """One executor process, which runs one task at a time for one tenant."""

    def __init__(self, process: JailedProcess, tenant: str) -> None:
        self.tenant = tenant
        self.runs = 0
        self.healthy = True
        self._process = process
        self._sent: set[str] = set()
        self._killed_for: Outcome | None = None

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

    def cancel(self) -> None:
        """Kills the executor; a run in it ends as `cancelled`."""
        self._killed_for = Outcome.CANCELLED
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

    async def run(self, task: Task) -> RunResult:
        """Runs the task; whatever the guest or the executor does is in the result.

        Wall time is measured here. Figures that the executor tells are bounded by what was allowed.
        """
        self.runs += 1
        started = time.monotonic()
        try:
            async with asyncio.timeout(None) as patience:
                result = await self._converse(task, patience)
        except TimeoutError:
            self.discard()
            result = _limit_exceeded("wall")
        except (OSError, EOFError, frames.FrameError):
            self.discard()
            result = self._crashed()
        except asyncio.CancelledError:
            # The answer to this run must never be read as the answer to another.
            self.discard()
            raise
        wall_ms = (time.monotonic() - started) * 1000
        return replace(result, usage=_bounded(result.usage, task, wall_ms))

    async def _converse(self, task: Task, patience: asyncio.Timeout) -> RunResult:
        if not self.has(task.digest):
            await self._load(task, patience)
        answer = await self._ask_to_run(task, patience)
        if isinstance(answer, frames.NotLoaded):
            await self._load(task, patience)
            answer = await self._ask_to_run(task, patience)
        if not isinstance(answer, frames.Ran):
            raise frames.FrameError("the executor does not run what it loaded")
        return _checked(answer.result, task.limits)

    async def _load(self, task: Task, patience: asyncio.Timeout) -> None:
        patience.reschedule(asyncio.get_running_loop().time() + _LOAD_SECONDS)
        command = frames.Load(task.digest, task.abi, task.artifact)
        answer = await self._ask(frames.encode(command), _FRAME_SLACK_BYTES)
        if not isinstance(answer, frames.Loaded) or answer.failed:
            raise frames.FrameError("the executor cannot load a compiled module")
        self._sent.add(task.digest)

    async def _ask_to_run(self, task: Task, patience: asyncio.Timeout) -> frames.Answer:
        limits = task.limits
        command = frames.Run(task.digest, task.data, limits, task.env)
        bound = limits.output_bytes + _WORST_LOG_EXPANSION * limits.log_bytes + _FRAME_SLACK_BYTES
        deadline = asyncio.get_running_loop().time() + limits.wall_ms / 1000 + GRACE_SECONDS
        patience.reschedule(deadline)
        return await self._ask(frames.encode(command), bound)

    async def _ask(self, frame: bytes, bound: int) -> frames.Answer:
        await asyncio.get_running_loop().sock_sendall(self._process.connection, frame)
        # Most answers come whole with the first read.
        received = await self._more(_FIRST_READ_BYTES)
        while len(received) < frames.HEADER_BYTES:
            received += await self._more(frames.HEADER_BYTES - len(received))
        length = frames.body_length(received[: frames.HEADER_BYTES], bound)
        missing = frames.HEADER_BYTES + length - len(received)
        if missing < 0:
            raise frames.FrameError("the executor sends more than it was asked for")
        if missing:
            received += await self._exactly(missing)
        return frames.decode_answer(received[frames.HEADER_BYTES :])

    async def _exactly(self, size: int) -> bytes:
        chunks = bytearray()
        while len(chunks) < size:
            chunks += await self._more(size - len(chunks))
        return bytes(chunks)

    async def _more(self, size: int) -> bytes:
        received = await asyncio.get_running_loop().sock_recv(self._process.connection, size)
        if not received:
            raise EOFError("the executor closed its socket")
        return received

    def _crashed(self) -> RunResult:
        if self._killed_for is Outcome.CANCELLED:
            return RunResult(Outcome.CANCELLED, detail="The run was cancelled.")
        return RunResult(Outcome.CRASHED, detail="The sandbox process died during the run.")


def _checked(result: RunResult, limits: Limits) -> RunResult:
    """The executor's result, refused where it tells what a sound executor cannot."""
    if len(result.output) > limits.output_bytes:
        raise frames.FrameError("the executor answers with more output than is allowed")
    if result.outcome in {Outcome.LOST, Outcome.CANCELLED, Outcome.EXPIRED, Outcome.CRASHED}:
        raise frames.FrameError("the executor tells an outcome that is not its to tell")
    told = sum(len(line.text.encode()) for line in result.logs)
    sound = (
        told <= _WORST_LOG_EXPANSION * limits.log_bytes
        and all(0 <= line.level <= _HIGHEST_LEVEL for line in result.logs)
        and len(result.detail or "") <= _MAX_DETAIL_CHARACTERS
        and result.limit in {None, *_LIMITS_TO_TELL}
    )
    if not sound:
        raise frames.FrameError("the executor tells what no run can end with")
    return result


def _bounded(claimed: Usage, task: Task, wall_ms: float) -> Usage:
    return replace(
        claimed,
        fuel=max(0, min(claimed.fuel, task.limits.fuel)),
        peak_memory_bytes=max(0, min(claimed.peak_memory_bytes, task.limits.memory_bytes)),
        host_calls=max(0, min(claimed.host_calls, task.limits.host_calls + 1)),
        input_bytes=len(task.data),
        output_bytes=max(0, min(claimed.output_bytes, task.limits.output_bytes)),
        log_bytes=max(0, min(claimed.log_bytes, task.limits.log_bytes)),
        queue_ms=0.0,
        wall_ms=round(wall_ms, 3),
    )


def _limit_exceeded(limit: str) -> RunResult:
    return RunResult(
        Outcome.LIMIT_EXCEEDED, limit=limit, detail=f"The run passed its {limit} limit."
    )
