"""Runs an attempt again in a jailed executor, with what varied then as its recording has it.

It is the worker's own way to run: the same jail, engine, limits and executor's side. The supervisor
answers what varies from the recording, by order, and only to the same call with the same arguments;
at the first other one it stops the run.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

from sandbox_worker.executor_client import ExecutorClient
from sandbox_worker.executor_task import Task
from sandbox_worker.guest.frames import HostCall, HostReply, Told
from sandbox_worker.guest.host_calls import DONE
from sandbox_worker.guest.varying import NOTED
from sandbox_worker.redaction import Redaction
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.host_functions import VARYING
from stockade.core.jail_control import JailRole
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import Outcome, RunResult
from stockade.core.ports import Jail, ModuleCompiler
from stockade.core.recordings import (
    RecordedCall,
    Recording,
    arguments_digest,
    fill_in,
)
from stockade.core.replays import Difference, Ending

_STOP = HostReply(stop="host_calls")
_NOTHING = "no call"


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What to run again.

    `secrets` are the values that its owner gives, by name; those that are missing are stood in for.
    """

    module: bytes
    abi: Abi
    data: bytes
    limits: Limits
    env: tuple[tuple[str, str], ...]
    recording: Recording
    secrets: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Replayed:
    """How the run ended, what its host calls differed in first, and whose secrets were missing."""

    result: RunResult
    ending: Ending
    difference: Difference | None
    stood_in: tuple[str, ...]


async def replay(jail: Jail, compiler: ModuleCompiler, plan: ReplayPlan) -> Replayed:
    """Runs the plan once, in a process of its own.

    Raises:
        StockadeError: `module.…` or `jail.unavailable`; `replay.secret_differs` when a secret that
            was given cannot be the one that was recorded.
    """
    calls = ReplayedCalls(plan.recording, plan.secrets)
    artifact = await compiler.compile(plan.module)
    task = Task(
        digest_of(plan.module),
        plan.abi,
        artifact,
        plan.data,
        plan.limits,
        plan.env,
        replays=True,
    )
    executor = ExecutorClient(await jail.fork(JailRole.EXECUTOR), "replay")
    try:
        ran = await executor.run(task, calls)
    finally:
        await asyncio.shield(executor.aclose())
    result = calls.redaction.of_result(ran)
    return Replayed(result, _ending(result), calls.first_difference(ran), calls.stood_in)


class ReplayedCalls:
    """A `HostCallSession` that answers from a recording.

    Args:
        recording: What to answer.
        secrets: Values to answer with where stand-ins were recorded.

    Raises:
        StockadeError: `replay.secret_differs`.
    """

    def __init__(self, recording: Recording, secrets: Mapping[str, bytes]) -> None:
        self.redaction = Redaction()
        self._secrets = secrets
        self._given: dict[str, bytes] = {}
        self._calls = iter([(call, _filled(call, secrets)) for call in recording.calls])
        self._difference: Difference | None = None
        recorded = {blank.secret for call in recording.calls for blank in call.blanks}
        self.stood_in = tuple(sorted(recorded - set(secrets)))

    def hear(self, told: Told) -> None:
        """Lets it pass: the result has all that was said."""

    async def answer(self, call: HostCall) -> HostReply:
        """The recorded reply to this very call; the run stops where there is none."""
        if call.name not in VARYING:
            return HostReply(DONE)
        if self._difference is not None:
            return _STOP
        expected, answer = next(self._calls, (None, b""))
        got = RecordedCall(call.at, call.name, self._arguments(call))
        if expected is None or not _same_call(expected, got):
            self._difference = Difference("host_call", _told(expected), _told(got), call.at)
            return _STOP
        if call.name == "secret_get" and expected.status == DONE:
            self._given[call.text] = answer
            self.redaction.add(call.text, answer)
        return HostReply(expected.status, answer)

    def first_difference(self, result: RunResult) -> Difference | None:
        """Where the calls differ first; a call that was recorded and not made is one too."""
        left = list(islice(self._calls, 1))
        if self._difference is not None or not left or result.outcome is Outcome.CRASHED:
            return self._difference
        call = left[0][0]
        return Difference("host_call", _told(call), _NOTHING, call.number)

    def _arguments(self, call: HostCall) -> str:
        secrets = {} if call.name in NOTED else self._given
        return arguments_digest(call.text, call.data, call.number, secrets)


def _filled(call: RecordedCall, secrets: Mapping[str, bytes]) -> bytes:
    try:
        return fill_in(call, secrets)
    except ValueError as error:
        raise StockadeError(
            "replay.secret_differs",
            f"The value given for the secret {error.args[0]!r} is not as long as the one that the"
            " run was given. Give the value that it had then, or none.",
        ) from error


def _same_call(expected: RecordedCall, got: RecordedCall) -> bool:
    return (expected.number, expected.name, expected.arguments) == (
        got.number,
        got.name,
        got.arguments,
    )


def _told(call: RecordedCall | None) -> str:
    if call is None:
        return _NOTHING
    return f"call {call.number}: {call.name[:64]} (arguments {call.arguments})"


def _ending(result: RunResult) -> Ending:
    usage = result.usage
    completed = result.outcome is Outcome.COMPLETED
    return Ending(
        result.outcome.value,
        result.limit,
        result.detail,
        usage.fuel,
        usage.peak_memory_bytes,
        usage.host_calls,
        digest_of(result.output) if completed else None,
    )
