"""What an executor is asked to do, and who answers the guest's host calls meanwhile."""

from dataclasses import dataclass
from typing import Protocol

from sandbox_worker.guest.frames import HostCall, HostReply, Told
from sandbox_worker.recording import RunRecorder
from stockade.core.limits import Limits
from stockade.core.modules import Abi


@dataclass(frozen=True, slots=True)
class Task:
    """One run to make: a verified, compiled module and an input.

    What varies is written down by `recorder`; with `replays`, the session answers it too.
    """

    digest: str
    abi: Abi
    artifact: bytes
    data: bytes
    limits: Limits
    env: tuple[tuple[str, str], ...]
    recorder: RunRecorder | None = None
    replays: bool = False


class HostCallSession(Protocol):
    """Answers the host calls of one run, and hears what its guest says."""

    async def answer(self, call: HostCall) -> HostReply:
        """The reply; a call that is not granted or fails is one too."""

    def hear(self, told: Told) -> None:
        """Takes lines and events that were said while the run goes on; `RunResult` has all."""


class NoHostCalls:
    """Refuses every host call: for runs that were granted none. Listens to nothing."""

    async def answer(self, call: HostCall) -> HostReply:
        """Says that the call is not granted."""
        text = f"host_call.not_granted: this run may not call {call.name[:64]!a}."
        return HostReply(2, text.encode())

    def hear(self, told: Told) -> None:
        """Lets it pass."""
