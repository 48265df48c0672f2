"""What was run is run again from its recording: equal to the last unit, told where it is not."""

from dataclasses import replace

import pytest

from sandbox_worker.recording import RunRecorder
from stockade.core.errors import StockadeError
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import Outcome
from stockade.core.recordings import CALL_COST_BYTES, Recording, stand_in
from stockade.core.replays import differences
from tests.guest import guests
from tests.security.http_servers import serving
from tests.security.replaying import EXAMPLES, Guest, Recorder, changed, ending, first
from tests.security.sandbox import LIMITS, PLENTY, Sandbox

NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/stockade.toml"))
SDKS = ["host-calls-rust", "host-calls-assemblyscript"]
CANARY = b"canary-0b5e-s3cret"


@pytest.fixture
def recorder(sandbox: Sandbox) -> Recorder:
    return Recorder(sandbox)


@pytest.mark.parametrize("name", NAMES)
async def test_every_example_repeats_to_the_last_unit(recorder: Recorder, name: str) -> None:
    await recorder.repeats(Guest.example(name))


@pytest.mark.parametrize("name", SDKS)
async def test_all_that_varies_repeats(recorder: Recorder, name: str) -> None:
    await recorder.put_secret("KEY", CANARY)
    async with serving() as server:
        base = f"http://127.0.0.1:{server.port}"
        guest = Guest.example(
            name,
            "now_ms",
            "random 64",
            f"http_fetch GET {base}/a",
            f"kv_add {name}/n 2",
            f"kv_add {name}/n 2",
            f"kv_get {name}/n",
            "secret_get KEY",
            "secret_get NONE",
            f"http_fetch GET {base}/refused-by-its-grants",
            "random 5000",
            "now_ms",
            grants=(f"http_fetch:GET {base}/a", "secret:KEY", "secret:NONE"),
        )
        result, recording = await recorder.repeats(guest)
    assert len(server.heads) == 1, "a replay asks nobody"
    assert b"ok 18 bytes" in result.output
    assert [call.name for call in recording.calls].count("http_fetch") == 2
    assert [call.number for call in recording.calls] == sorted(
        {call.number for call in recording.calls}
    )
    assert CANARY not in repr(recording).encode()


async def test_a_replay_changes_nothing_outside(recorder: Recorder) -> None:
    guest = Guest.example("visit-counter")
    outputs = [(await recorder.run(guest))[0].output]
    _, recording = await recorder.run(guest)
    await recorder.again(guest, recording)
    outputs.append((await recorder.run(guest))[0].output)
    assert [b'"visits": 1,' in outputs[0], b'"visits": 3,' in outputs[1]] == [True, True]


VARYING_WASI = """(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\40\\00\\00\\00\\70\\00\\00\\00")
  (func (export "_start")
    (drop (call $time (i32.const 0) (i64.const 1) (i32.const 64)))
    (drop (call $time (i32.const 1) (i64.const 1) (i32.const 72)))
    (drop (call $random (i32.const 80) (i32.const 16)))
    (i32.store8 (i32.const 256) (i32.const 7))
    (i64.store (i32.const 280) (i64.const 1000000))
    (i32.store (i32.const 272) (i32.const 1))
    (drop (call $poll (i32.const 256) (i32.const 96) (i32.const 1) (i32.const 128)))
    (drop (call $time (i32.const 1) (i64.const 1) (i32.const 136)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 200)))))"""


async def test_clocks_randomness_and_sleep_of_wasi_repeat(recorder: Recorder) -> None:
    guest = Guest(bytes(guests.wat2wasm(VARYING_WASI)), abi=Abi.WASI_PREVIEW1)
    result, recording = await recorder.repeats(guest)
    assert len(result.output) == 112
    assert [call.name for call in recording.calls] == [
        "clock_time_get", "clock_time_get", "random_get", "poll_oneoff", "clock_time_get",
    ]  # fmt: skip
    other = await recorder.run(guest)
    assert other[0].output != result.output


@pytest.mark.parametrize(
    ("body", "limits", "limit"),
    [
        (guests.LOOP, replace(PLENTY, fuel=1_234_567), "fuel"),
        (guests.TRAP, PLENTY, None),
        (guests.RECURSE, PLENTY, None),
        (guests.MEMORY_BOMB, PLENTY, "memory"),
        (guests.HUGE_MEMORY, PLENTY, "memory"),
        (guests.TABLE_BOMB, PLENTY, None),
        (guests.LOG_FLOOD, replace(PLENTY, host_calls=50), "host_calls"),
    ],
    ids=["fuel", "trap", "recursion", "memory bomb", "huge memory", "table bomb", "log flood"],
)
async def test_a_hostile_end_repeats_in_the_same_jail(
    recorder: Recorder, body: bytes, limits: Limits, limit: str | None
) -> None:
    result, _ = await recorder.repeats(Guest(body, limits=limits))
    assert result.limit == limit
    assert result.outcome in {Outcome.TRAPPED, Outcome.LIMIT_EXCEEDED}


async def test_a_loop_ends_at_the_wall_in_a_replay_too(recorder: Recorder) -> None:
    again = await recorder.again(Guest(guests.LOOP, limits=LIMITS), None)
    assert (again.ending.outcome, again.ending.limit) == ("limit_exceeded", "wall")
    assert again.result.usage.wall_ms < 10_000
    await recorder.sandbox.is_unharmed()


async def test_a_recorded_run_that_met_its_wall_is_run_on_with_more_time(
    recorder: Recorder,
) -> None:
    slow = replace(PLENTY, fuel=10**15, wall_ms=150)
    guest = Guest(guests.LOOP, limits=slow)
    result, recording = await recorder.run(guest)
    assert result.limit == "wall"
    # On a busy machine it is killed before it can tell; there was nothing to tell.
    assert recording in {None, Recording("id", 1)}
    longer = replace(guest, limits=replace(slow, fuel=1_000_000, wall_ms=20_000))
    again = await recorder.again(longer, recording)
    assert (again.ending.limit, again.difference) == ("fuel", None)


@pytest.mark.parametrize(
    "nan", ["(f64.div (f64.const 0) (f64.const 0))", "(f64.sqrt (f64.const -1))"]
)
async def test_nans_are_the_same_bytes_again(recorder: Recorder, nan: str) -> None:
    body = f"(f64.store (i32.const 2049) {nan}) (i32.store8 (i32.const 2048) (i32.const 0))"
    guest = Guest(guests.module(body + guests.answer("(i32.const 2048)", "(i32.const 9)")))
    result, _ = await recorder.repeats(guest)
    assert len(result.output) == 8


async def test_other_limits_say_what_would_be(recorder: Recorder) -> None:
    guest = Guest.example("csv-aggregate")
    result, recording = await recorder.run(guest)
    half = replace(guest, limits=replace(guest.limits, fuel=result.usage.fuel // 2))
    again = await recorder.again(half, recording)
    assert (again.ending.outcome, again.ending.limit) == ("limit_exceeded", "fuel")
    assert again.ending == (await recorder.again(half, recording)).ending
    exact = replace(guest, limits=replace(guest.limits, fuel=result.usage.fuel))
    assert (await recorder.again(exact, recording)).ending == ending(result)


@pytest.mark.parametrize("name", SDKS)
async def test_the_first_call_that_differs_is_told(recorder: Recorder, name: str) -> None:
    guest = Guest.example(name, "now_ms", f"kv_get {name}/a", "random 8")
    _, recording = await recorder.run(guest)
    assert recording is not None
    other = await recorder.again(replace(guest, data=guest.data.replace(b"/a", b"/b")), recording)
    told = first(other)
    assert (told.call, told.what) == (2, "host_call")
    assert told.expected.startswith("call 2: kv_get (arguments ")
    assert told.expected != told.got
    fewer = first(await recorder.again(replace(guest, data=b"now_ms"), recording))
    assert (fewer.call, fewer.got) == (2, "no call")
    more = first(await recorder.again(replace(guest, data=guest.data + b"\nrandom 1"), recording))
    assert (more.call, more.expected) == (4, "no call")


async def test_a_recording_that_was_changed_does_not_go_unnoticed(recorder: Recorder) -> None:
    guest = Guest.example("host-calls-rust", "now_ms", "random 8", "now_ms")
    result, recording = await recorder.run(guest)
    assert recording is not None
    answer = await recorder.again(guest, changed(recording, 1, answer=b"x" * 8))
    assert differences(ending(result), answer.ending)[0].what == "output"
    for fields in ({"name": "now_ms"}, {"number": 3}, {"arguments": "0" * 32}):
        assert first(await recorder.again(guest, changed(recording, 1, **fields))).call == 2
    short = await recorder.again(guest, changed(recording, 1, answer=b"x"))
    assert differences(ending(result), short.ending)[0].what == "outcome"
    long = await recorder.again(guest, changed(recording, 0, answer=b"x" * 4_000_000))
    assert differences(ending(result), long.ending)[0].what == "outcome"
    await recorder.sandbox.is_unharmed()


async def test_room_is_bounded_and_the_run_goes_on(recorder: Recorder) -> None:
    lines = ["random 100"] * 20
    guest = Guest.example("host-calls-rust", *lines)
    cost = 100 + 8 + CALL_COST_BYTES
    result, recording = await recorder.run(guest, RunRecorder(5 * cost))
    assert result.outcome is Outcome.COMPLETED
    assert recording is not None
    assert (len(recording.calls), recording.cut) == (5, 6)


async def test_answers_of_the_supervisor_are_bounded_likewise(recorder: Recorder) -> None:
    lines = ["kv_set host-calls-rust/a 9 " + "v" * 100, *["kv_get host-calls-rust/a"] * 9, "now_ms"]
    guest = Guest.example("host-calls-rust", *lines)
    result, recording = await recorder.run(guest, RunRecorder(CALL_COST_BYTES * 4 + 300))
    assert result.outcome is Outcome.COMPLETED
    assert recording is not None
    assert (len(recording.calls), recording.cut) == (4, 5)


SENDS_ITS_SECRET = guests.module(
    f"""(drop (call $secret (i32.const 100) (i32.const 3)))
      (drop (call $delete (i32.const 50001) (i32.const {len(CANARY)})))
      (i64.or (i64.const {50000 << 32}) (i64.const {1 + len(CANARY)}))""",
    imports="""(import "stockade:v1" "secret_get" (func $secret (param i32 i32) (result i64)))
      (import "stockade:v1" "kv_delete" (func $delete (param i32 i32) (result i64)))""",
    alloc="""(global $next (mut i32) (i32.const 40000))
      (func (export "stockade_v1_alloc") (param i32) (result i32)
        (global.get $next) (global.set $next (i32.add (global.get $next) (i32.const 10000))))""",
    extra='(data (i32.const 100) "KEY")',
)
"""Sends its secret on, and answers with it."""


async def test_a_secret_is_stood_in_for_or_given(recorder: Recorder) -> None:
    await recorder.put_secret("KEY", CANARY)
    guest = Guest(SENDS_ITS_SECRET, grants=("secret:KEY", "kv:n"))
    result, recording = await recorder.run(guest)
    assert recording is not None
    assert [call.name for call in recording.calls] == ["secret_get", "kv_delete"]
    assert CANARY not in repr(recording).encode()
    blind = await recorder.again(guest, recording)
    assert (blind.stood_in, blind.difference) == (("KEY",), None)
    assert [one.what for one in differences(ending(result), blind.ending)] == ["output"]
    assert blind.result.output == stand_in("KEY", len(CANARY))
    given = await recorder.again(guest, recording, {"KEY": CANARY})
    assert (given.stood_in, given.difference) == ((), None)
    assert differences(ending(result), given.ending) == ()
    with pytest.raises(StockadeError) as refused:
        await recorder.again(guest, recording, {"KEY": b"another"})
    assert refused.value.code == "replay.secret_differs"
    assert b"another" not in str(refused.value).encode()
