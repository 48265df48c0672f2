"""The recorder trusts no executor's notes, keeps order and bounds, and a run never waits for it."""

import asyncio
import threading

import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from sandbox_worker.guest.frames import FrameError, HostCall, HostReply, Note, Ran
from sandbox_worker.metrics import WorkerMetrics
from sandbox_worker.recording import Recordings, RunRecorder
from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim, Invocation
from stockade.core.modules import Abi, FunctionContent
from stockade.core.outcomes import Attempt, Outcome, Usage
from stockade.core.recordings import CALL_COST_BYTES, MAX_BLANKS, MAX_RECORDED_CALLS, Recording

ATTEMPT = Attempt(2, Outcome.COMPLETED, "It completed.", Usage())


class Store:
    """The `RecordingStore` port: keeps, or raises what it was given."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.kept: list[tuple[str, Recording]] = []
        self._failure = failure

    async def put(self, tenant: str, recording: Recording) -> str:
        if self._failure is not None:
            raise self._failure
        self.kept.append((tenant, recording))
        return "sha256:" + "a" * 64

    async def get(
        self, tenant: str, invocation_id: str, attempt: int, reference: str
    ) -> Recording | None:
        raise NotImplementedError(tenant, invocation_id, attempt, reference)


class Hanging(Store):
    """A `RecordingStore` that never answers."""

    async def put(self, tenant: str, recording: Recording) -> str:
        del tenant, recording
        await asyncio.Event().wait()
        raise RuntimeError("it never answers")


def ran(*notes: Note, cut: int = 0) -> Ran:
    return Ran(Outcome.COMPLETED, 1, notes=notes, notes_cut=cut)


def claim(*, record: bool = True, deterministic: bool = False) -> Claim:
    content = FunctionContent("d", Abi.STOCKADE_V1, deterministic, record=record)
    return Claim(Invocation("id", "acme", "f", 1, content, 0, input_inline=b""), 2, "1-0")


def made(recorder: RunRecorder) -> Recording:
    recording = recorder.recording("id", 2)
    assert recording is not None
    return recording


def test_calls_stand_in_the_order_in_which_the_guest_made_them() -> None:
    recorder = RunRecorder()
    recorder.answered(HostCall("kv_get", "a/b", at=2), HostReply(0, b"value"))
    recorder.answered(HostCall("progress", "half", number=50, at=3), HostReply(0))
    recorder.ended(ran(Note(1, "now_ms", bytes(8), b"12345678"), Note(4, "random", b"", b"r")))
    recording = made(recorder)
    names = [(call.number, call.name) for call in recording.calls]
    assert names == [(1, "now_ms"), (2, "kv_get"), (4, "random")]
    assert (recording.invocation_id, recording.attempt, recording.cut) == ("id", 2, None)


@pytest.mark.parametrize(
    ("room_calls", "notes"),
    [
        (10, (Note(1, "http_fetch", b"", b"forged"),)),
        (10, (Note(1, "random", b"", bytes(1000)),)),
        (10**5, tuple(Note(at, "random", b"", b"") for at in range(MAX_RECORDED_CALLS + 1))),
    ],
    ids=["not its own", "too large", "too many"],
)
def test_a_lie_about_what_varied_ends_the_executor(
    room_calls: int, notes: tuple[Note, ...]
) -> None:
    with pytest.raises(FrameError):
        RunRecorder(CALL_COST_BYTES * room_calls).ended(ran(*notes))


def test_whoever_runs_out_of_room_first_cuts_it() -> None:
    recorder = RunRecorder(CALL_COST_BYTES + 10)
    recorder.answered(HostCall("kv_get", "a/b", at=2), HostReply(0, b"value"))
    recorder.answered(HostCall("kv_get", "a/c", at=5), HostReply(0, b"value"))
    recorder.ended(ran(Note(1, "now_ms", b"", b"12345678"), cut=4))
    recording = made(recorder)
    assert ([call.number for call in recording.calls], recording.cut) == ([1, 2], 4)


def test_a_call_that_the_wall_stopped_cuts_it() -> None:
    recorder = RunRecorder()
    recorder.answered(HostCall("http_fetch", at=1), HostReply(stop="wall"))
    recorder.ended(ran())
    assert (made(recorder).calls, made(recorder).cut) == ((), 1)


def test_an_answer_full_of_a_secret_cuts_it() -> None:
    recorder = RunRecorder()
    recorder.answered(HostCall("secret_get", "KEY", at=1), HostReply(0, b"abcd"))
    recorder.answered(HostCall("kv_get", "a/b", at=2), HostReply(0, b"abcd" * (MAX_BLANKS + 1)))
    recorder.answered(HostCall("kv_get", "a/c", at=3), HostReply(1))
    recorder.ended(ran())
    recording = made(recorder)
    assert ([call.number for call in recording.calls], recording.cut) == ([1], 2)
    assert b"abcd" not in recording.calls[0].answer


def test_an_executor_that_died_leaves_no_recording() -> None:
    recorder = RunRecorder()
    recorder.answered(HostCall("kv_get", "a/b", at=1), HostReply(1))
    assert recorder.recording("id", 2) is None


def test_only_what_asks_for_it_and_varies_is_recorded() -> None:
    recordings = Recordings(Store(), "wasmtime-1")
    assert recordings.open(claim()) is not None
    assert recordings.open(claim(record=False)) is None
    assert recordings.open(claim(deterministic=True)) is None


async def test_an_attempt_names_its_engine_and_its_recording() -> None:
    store = Store()
    recordings = Recordings(store, "wasmtime-1")
    bare = await recordings.keep(claim(record=False), ATTEMPT, None)
    assert (bare.engine, bare.recording) == ("wasmtime-1", None)
    recorder = RunRecorder()
    recorder.ended(ran())
    kept = await recordings.keep(claim(), ATTEMPT, recorder)
    assert kept.recording == "sha256:" + "a" * 64
    assert store.kept == [("acme", Recording("id", 2))]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (StockadeError("blobs.unavailable", "It is away.", retryable=True), "blobs.unavailable"),
        (RuntimeError("a fault of ours"), "internal.error"),
        (OSError("a fault of the machine's"), "internal.error"),
    ],
)
async def test_a_recording_that_cannot_be_kept_holds_nothing_up(
    failure: Exception, code: str
) -> None:
    recorder = RunRecorder()
    recorder.ended(ran())
    with capture_logs() as lines:
        attempt = await Recordings(Store(failure), "wasmtime-1").keep(claim(), ATTEMPT, recorder)
    assert (attempt.recording, attempt.number) == (None, 2)
    assert lines[0]["event"] == "recording_not_kept"
    assert lines[0]["code"] == code


async def test_a_store_that_hangs_is_not_waited_for() -> None:
    recorder = RunRecorder()
    recorder.ended(ran())
    with capture_logs() as lines:
        impatient = Recordings(Hanging(), "wasmtime-1", keep_seconds=0.01)
        attempt = await impatient.keep(claim(), ATTEMPT, recorder)
    assert attempt.recording is None
    assert lines[0]["code"] == "blobs.unavailable"


class Slow(RunRecorder):
    """A `RunRecorder` that looks for secrets until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = threading.Event()

    def recording(self, invocation_id: str, attempt: int) -> Recording | None:
        self.may_end.wait(30)
        return super().recording(invocation_id, attempt)


async def test_a_search_that_takes_long_is_not_waited_for() -> None:
    recorder = Slow()
    impatient = Recordings(Store(), "wasmtime-1", keep_seconds=0.01)
    try:
        async with asyncio.timeout(10):
            attempt = await impatient.keep(claim(), ATTEMPT, recorder)
    finally:
        recorder.may_end.set()
    assert attempt.recording is None


async def test_what_becomes_of_recordings_is_counted() -> None:
    metrics = WorkerMetrics()
    away = StockadeError("blobs.unavailable", "It is away.", retryable=True)
    kept, cut, died = RunRecorder(), RunRecorder(), RunRecorder()
    kept.ended(ran())
    cut.ended(ran(cut=1))
    for store, recorder in ((Store(), kept), (Store(), cut), (Store(away), kept), (Store(), died)):
        await Recordings(store, "wasmtime-1", metrics).keep(claim(), ATTEMPT, recorder)
    page = generate_latest(metrics.families.registry).decode()
    for result in ("kept", "cut", "failed", "lost"):
        assert f'stockade_recordings_total{{result="{result}"}} 1.0' in page
