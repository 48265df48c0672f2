"""Runs a guest with the worker's own recorder, and runs it again from what was recorded."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox_worker.broker import HostCallBroker
from sandbox_worker.executor_task import Task
from sandbox_worker.recording import RunRecorder
from sandbox_worker.replay import Replayed, ReplayPlan, replay
from stockade.core.digests import digest_of
from stockade.core.egress import EgressPolicy
from stockade.core.invocations import Invocation
from stockade.core.key_values import KeyValueQuota
from stockade.core.limits import Limits
from stockade.core.modules import Abi, FunctionContent
from stockade.core.outcomes import Outcome, RunResult
from stockade.core.recordings import Recording
from stockade.core.replays import Difference, Ending, differences
from stockade.infra.guarded_http import GuardedHttp
from stockade.infra.jailed_compiler import JailedCompiler
from stockade.infra.memory.memory_catalog import MemoryCatalog
from stockade.infra.memory.memory_key_values import MemoryKeyValueStore
from stockade.infra.secret_box import AesGcmSecretBox
from stockade.infra.system_clock import SystemClock
from tests.security.http_servers import LOOPBACK, Names
from tests.security.sandbox import PLENTY, Sandbox

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "wasm"


@dataclass(frozen=True)
class Guest:
    """A module, how it is called, and what it may do."""

    body: bytes
    data: bytes = b""
    abi: Abi = Abi.STOCKADE_V1
    limits: Limits = PLENTY
    grants: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()

    @classmethod
    def example(cls, name: str, *lines: str, grants: tuple[str, ...] = ()) -> "Guest":
        """One of the examples, on its own input or on these lines."""
        place = EXAMPLES / name
        manifest = tomllib.loads((place / "stockade.toml").read_text())
        content = (place / manifest["input"]).read_bytes()
        return cls(
            (place / manifest["module"]).read_bytes(),
            "\n".join(lines).encode() if lines else content,
            Abi(manifest["abi"]),
            Limits(**manifest["limits"]),
            (*manifest.get("grants", ()), *grants),
            tuple(manifest.get("env", {}).items()),
        )


class Recorder:
    """A worker's way through one run, with a broker of its own."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.catalog = MemoryCatalog()
        self._box = AesGcmSecretBox((b"k" * 32,))
        self._compiler = JailedCompiler(sandbox.jail)
        self._broker = HostCallBroker(
            GuardedHttp(EgressPolicy(networks=LOOPBACK), Names()),
            MemoryKeyValueStore(SystemClock(), KeyValueQuota()),
            self.catalog,
            self._box,
        )

    async def put_secret(self, name: str, value: bytes) -> None:
        await self.catalog.ensure_tenant("t")
        await self.catalog.put_secret("t", name, self._box.seal("t", name, value), 1)

    async def run(
        self, guest: Guest, recorder: RunRecorder | None = None
    ) -> tuple[RunResult, Recording | None]:
        """The run's end and what varied in it."""
        recorder = recorder or RunRecorder()
        content = FunctionContent("d", guest.abi, deterministic=False, grants=guest.grants)
        calls = self._broker.open(Invocation("id", "t", "f", 1, content, 0, input_inline=b""))
        artifact = await self._compiler.compile(guest.body)
        digest = digest_of(guest.body)
        task = Task(digest, guest.abi, artifact, guest.data, guest.limits, guest.env, recorder)
        executor = await self.sandbox.pool.acquire("t", task.digest)
        try:
            result = calls.redaction.of_result(await executor.run(task, calls))
        finally:
            await self.sandbox.pool.release(executor)
        return result, recorder.recording("id", 1)

    async def again(
        self,
        guest: Guest,
        recording: Recording | None,
        secrets: Mapping[str, bytes] | None = None,
    ) -> Replayed:
        """The same run from its recording."""
        plan = ReplayPlan(
            guest.body,
            guest.abi,
            guest.data,
            guest.limits,
            guest.env,
            recording or Recording("id", 1),
            secrets or {},
        )
        return await replay(self.sandbox.jail, self._compiler, plan)

    async def repeats(self, guest: Guest) -> tuple[RunResult, Recording]:
        """Checks that the run repeats to the last unit of fuel."""
        result, recording = await self.run(guest)
        assert recording is not None
        assert recording.cut is None
        again = await self.again(guest, recording)
        assert again.difference is None
        assert differences(ending(result), again.ending) == ()
        assert again.result.output == result.output
        assert again.result.logs == result.logs
        return result, recording


def ending(result: RunResult) -> Ending:
    usage = result.usage
    output = digest_of(result.output) if result.outcome is Outcome.COMPLETED else None
    return Ending(
        result.outcome.value,
        result.limit,
        result.detail,
        usage.fuel,
        usage.peak_memory_bytes,
        usage.host_calls,
        output,
    )


def changed(recording: Recording, index: int, **fields: object) -> Recording:
    """The recording with one call's fields changed."""
    calls = list(recording.calls)
    calls[index] = replace(calls[index], **fields)  # type: ignore[arg-type] # by name
    return replace(recording, calls=tuple(calls))


def first(replayed: Replayed) -> Difference:
    assert replayed.difference is not None
    return replayed.difference
