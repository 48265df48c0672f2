"""What recording costs, whether every example repeats, and what kept inputs cost the queue."""

import time
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.queue_load import CAPACITY, asked, ended, queue_at, running_valkey
from bench.sandbox import jail
from sandbox_worker.executor_client import ExecutorClient
from sandbox_worker.executor_task import Task
from sandbox_worker.guest.frames import HostCall, HostReply, Told
from sandbox_worker.recording import RunRecorder
from sandbox_worker.replay import ReplayPlan, replay
from stockade.core.digests import digest_of
from stockade.core.jail_control import JailRole
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import Outcome, RunResult
from stockade.core.recordings import Recording
from stockade.infra.blobs.directory_payloads import DirectoryPayloadStore
from stockade.infra.jailed_compiler import JailedCompiler
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_keys import RedisKeys
from stockade.infra.sealed_recordings import SealedRecordings
from stockade.infra.secret_box import AesGcmSecretBox
from stockade.infra.zygote_jail import ZygoteJail

EXAMPLES = Path(__file__).parents[1] / "examples" / "wasm"
CALLS = 20
LOCAL, BROKERED = "now_ms", "kv_get a/b"
"""What is answered within the executor, and what the supervisor answers."""
_ID = "018f4b3c-0000-7000-8000-000000000000"


@dataclass(slots=True)
class Values:
    """A supervisor's answers, as quick as they can be: a counter that goes on, the rest absent."""

    count: int = 0

    async def answer(self, call: HostCall) -> HostReply:
        """The reply to one call."""
        if call.name != "kv_add":
            return HostReply(1)
        self.count += call.number
        return HostReply(0, self.count.to_bytes(8, "little", signed=True))

    def hear(self, told: Told) -> None:
        """Lets it pass."""


@dataclass(slots=True)
class RecordingCost:
    """Seconds of the same run plain and recorded, in turn; and of keeping what was recorded."""

    plain: list[float] = field(default_factory=list)
    recorded: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)
    kept_bytes: int = 0


async def recording_cost(line: str, folder: Path, runs: int) -> RecordingCost:
    """A run of `CALLS` calls in a jailed executor, its recording sealed and put on disk."""
    cost = RecordingCost()
    async with jail() as opened:
        task = await _example(opened, "host-calls-rust", "\n".join([line] * CALLS).encode())
        client = ExecutorClient(await opened.fork(JailRole.EXECUTOR), "tenant")
        recorder = RunRecorder()
        for _ in range(runs):
            cost.plain.append(await _seconds(client, task))
            recorder = RunRecorder()
            cost.recorded.append(await _seconds(client, replace(task, recorder=recorder)))
        await client.aclose()
    recording = recorder.recording(_ID, 1)
    if recording is None or len(recording.calls) != CALLS:
        raise RuntimeError("the run was not recorded whole")
    await _keep(cost, recording, folder, runs // 4)
    return cost


async def _keep(cost: RecordingCost, recording: Recording, folder: Path, times: int) -> None:
    payloads = DirectoryPayloadStore(folder, 3600.0)
    store = SealedRecordings(payloads, AesGcmSecretBox((b"k" * 32,)))
    for _ in range(times):
        started = time.perf_counter()
        reference = await store.put("tenant", recording)
        cost.kept.append(time.perf_counter() - started)
        sealed = await payloads.get("tenant", _ID, reference) or b""
        cost.kept_bytes = len(sealed)
        started = time.perf_counter()
        await payloads.put("tenant", _ID, sealed[::-1])
        cost.written.append(time.perf_counter() - started)


async def equal_examples(times: int) -> tuple[int, int]:
    """How many replays of all examples were equal in outcome, output and fuel; of how many."""
    equal = total = 0
    names = sorted(path.parent.name for path in EXAMPLES.glob("*/stockade.toml"))
    async with jail() as opened:
        for name in names * times:
            equal += await _repeats(opened, name)
            total += 1
    return equal, total


async def _repeats(opened: ZygoteJail, name: str) -> bool:
    task, recorder = await _example(opened, name), RunRecorder()
    client = ExecutorClient(await opened.fork(JailRole.EXECUTOR), "tenant")
    first = await client.run(replace(task, recorder=recorder), Values())
    await client.aclose()
    plan = ReplayPlan(
        (EXAMPLES / name / f"{name}.wasm").read_bytes(),
        task.abi,
        task.data,
        task.limits,
        task.env,
        recorder.recording(_ID, 1) or Recording(_ID, 1),
    )
    again = await replay(opened, JailedCompiler(opened), plan)
    return again.difference is None and _told(first) == _told(again.result)


def _told(result: RunResult) -> tuple[Outcome, str | None, bytes, int]:
    return result.outcome, result.limit, result.output, result.usage.fuel


async def record_bytes(sizes: tuple[int, ...]) -> list[int]:
    """The server's memory for the record of a completed run with an input of each size."""
    found = []
    async with running_valkey("everysec") as server:
        queue, connections = queue_at(server.url, "bench"), RedisConnections(server.url)
        await queue.tick(CAPACITY, 0)
        for size in sizes:
            invocation = replace(asked("tenant"), input_inline=b"x" * size)
            await queue.submit(invocation)
            (claim,) = await queue.claim(1, 5.0)
            await queue.begin(claim, claim.invocation.submitted_ms)
            await queue.complete(claim, ended())
            key = RedisKeys(0).record(invocation.id)
            found.append(int(await connections.call("MEMORY", "USAGE", key, "SAMPLES", "0")))
        await connections.close()
        await queue.aclose()
    return found


async def _example(opened: ZygoteJail, name: str, data: bytes | None = None) -> Task:
    place = EXAMPLES / name
    manifest = tomllib.loads((place / "stockade.toml").read_text())
    body = (place / manifest["module"]).read_bytes()
    artifact = await JailedCompiler(opened).compile(body)
    content = (place / manifest["input"]).read_bytes() if data is None else data
    limits, env = Limits(**manifest["limits"]), tuple(manifest.get("env", {}).items())
    return Task(digest_of(body), Abi(manifest["abi"]), artifact, content, limits, env)


async def _seconds(client: ExecutorClient, task: Task) -> float:
    started = time.perf_counter()
    result = await client.run(task, Values())
    if result.outcome is not Outcome.COMPLETED:
        raise RuntimeError(f"the run ended as {result.outcome}: {result.detail}")
    return time.perf_counter() - started
