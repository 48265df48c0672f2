"""Writes down what varied in a run, as it happens, for functions that ask for it.

Two tell: the executor notes what it answers itself, and hands that over with the run's end; what
the supervisor answers is written down here. Both say the place of each call, which gives the order.
Room is bounded for each; beyond it the recording is cut, and the run goes on.
"""

import asyncio
from dataclasses import dataclass, field, replace

import structlog

from sandbox_worker.guest.frames import FrameError, HostCall, HostReply, Ran
from sandbox_worker.guest.host_calls import DONE
from sandbox_worker.guest.varying import NOTED
from sandbox_worker.metrics import WorkerMetrics
from stockade.core.errors import code_of
from stockade.core.host_functions import VARYING
from stockade.core.invocations import Claim
from stockade.core.outcomes import Attempt
from stockade.core.recordings import (
    CALL_COST_BYTES,
    MAX_RECORDED_CALLS,
    MAX_RECORDING_BYTES,
    Blank,
    RecordedCall,
    Recording,
    RecordingStore,
    arguments_digest,
    blank_out,
    stand_in,
)

_log = structlog.get_logger()


class RunRecorder:
    """One run's recording in the making.

    Args:
        room_bytes: For what the executor notes, and as much again for what the supervisor answers.
    """

    def __init__(self, room_bytes: int = MAX_RECORDING_BYTES // 2) -> None:
        self.room_bytes = room_bytes
        self._left_bytes = room_bytes
        self._calls: list[RecordedCall] = []
        self._secrets: dict[str, bytes] = {}
        self._cuts: list[int] = []
        self._ended = False

    def answered(self, call: HostCall, reply: HostReply) -> None:
        """Writes down what the supervisor answered."""
        if call.name not in VARYING:
            return
        arguments = arguments_digest(call.text, call.data, call.number, self._secrets)
        if call.name == "secret_get" and reply.status == DONE:
            self._secrets[call.text] = reply.data
        made = RecordedCall(call.at, call.name, arguments, reply.status, reply.data)
        self._left_bytes -= CALL_COST_BYTES + len(reply.data)
        if self._left_bytes < 0 or len(self._calls) >= MAX_RECORDED_CALLS or reply.stop:
            self._cuts.append(call.at)
        elif call.name == "secret_get" and reply.status == DONE:
            self._calls.append(_without_value(made, call.text))
        else:
            self._calls.append(made)

    def ended(self, ran: Ran) -> None:
        """Takes what the executor noted.

        Raises:
            FrameError: a sound executor does not note this.
        """
        size = sum(len(note.arguments) + len(note.answer) + CALL_COST_BYTES for note in ran.notes)
        most = len(ran.notes) <= MAX_RECORDED_CALLS and size <= self.room_bytes
        if not most or any(note.name not in NOTED for note in ran.notes):
            raise FrameError("the executor notes what no run can vary by")
        self._calls += [
            RecordedCall(
                note.at,
                note.name,
                arguments_digest("", note.arguments, 0, {}),
                answer=note.answer,
            )
            for note in ran.notes
        ]
        if ran.notes_cut:
            self._cuts.append(ran.notes_cut)
        self._ended = True

    def recording(self, invocation_id: str, attempt: int) -> Recording | None:
        """All of it in order, without secrets; None when the executor died before it told."""
        if not self._ended:
            return None
        cut = min(self._cuts, default=None)
        kept: list[RecordedCall] = []
        for call in sorted(self._calls, key=lambda call: call.number):
            blanked = self._blanked(call)
            if blanked is None or (cut is not None and call.number >= cut):
                cut = call.number if cut is None else min(cut, call.number)
                break
            kept.append(blanked)
        return Recording(invocation_id, attempt, tuple(kept), cut)

    def _blanked(self, call: RecordedCall) -> RecordedCall | None:
        if call.blanks or not self._secrets:
            return call
        found = blank_out(call.answer, self._secrets)
        return None if found is None else replace(call, answer=found[0], blanks=found[1])


@dataclass(frozen=True, slots=True)
class Recordings:
    """Where a worker's recordings go.

    Args:
        store: Seals and keeps them.
        engine: Names what this worker's guests run in, for whoever runs them again.
        metrics: Counts what became of them.
        keep_seconds: How long the end of a run waits for its recording to be stored.
    """

    store: RecordingStore
    engine: str
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)
    keep_seconds: float = 5.0

    def open(self, claim: Claim) -> RunRecorder | None:
        """A recorder for the attempt, where its function asks for one and something can vary."""
        content = claim.invocation.content
        return RunRecorder() if content.record and not content.deterministic else None

    async def keep(self, claim: Claim, attempt: Attempt, recorder: RunRecorder | None) -> Attempt:
        """The attempt with its engine, and with its recording once that is stored.

        One that cannot be stored is not waited for: the record says that there is none.
        """
        attempt = replace(attempt, engine=self.engine)
        of = claim.invocation
        if recorder is None:
            return attempt
        try:
            async with asyncio.timeout(self.keep_seconds):
                # Looking through much for a secret takes a while.
                recording = await asyncio.to_thread(recorder.recording, of.id, claim.attempt)
                if recording is None:
                    self.metrics.recorded("lost")
                    return attempt
                reference = await self.store.put(of.tenant, recording)
        except Exception as error:  # noqa: BLE001 - a run that happened is recorded without it
            code = "blobs.unavailable" if isinstance(error, TimeoutError) else code_of(error)
            _log.warning("recording_not_kept", invocation=of.id, code=code)
            self.metrics.recorded("failed")
            return attempt
        self.metrics.recorded("kept" if recording.cut is None else "cut")
        return replace(attempt, recording=reference)


def _without_value(call: RecordedCall, name: str) -> RecordedCall:
    size = len(call.answer)
    return replace(call, answer=stand_in(name, size), blanks=(Blank(name, 0, size),))
