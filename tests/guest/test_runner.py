"""Every outcome of a run, on the real engine, in this process."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from wasmtime import Engine, Module, WasmtimeError

from sandbox_worker.executor_task import Task
from sandbox_worker.guest.deadline import Deadline
from sandbox_worker.guest.engine import build_engine
from sandbox_worker.guest.frames import Run
from sandbox_worker.guest.host_calls import nobody_answers
from sandbox_worker.guest.public_machine import PublicMachine
from sandbox_worker.guest.raw_machine import RawMachine
from sandbox_worker.guest.runner import MAX_LOADED_MODULES, Runner
from sandbox_worker.told_result import Said, believe
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import LogLine, Outcome, RunResult
from tests.guest import guests

LIMITS = Limits(fuel=50_000_000, wall_ms=2_000, memory_bytes=8 << 20, log_bytes=4096)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return build_engine()


@pytest.fixture(scope="module")
def runner(engine: Engine) -> Iterator[Runner]:
    deadline = Deadline(engine)
    runner = Runner(engine)
    runner.attach(deadline, nobody_answers)
    yield runner
    deadline.close()


def run(
    runner: Runner,
    engine: Engine,
    body: bytes,
    data: bytes = b"",
    *,
    limits: Limits = LIMITS,
    abi: Abi = Abi.STOCKADE_V1,
    env: tuple[tuple[str, str], ...] = (),
) -> RunResult:
    runner.load("guest", abi, bytes(Module(engine, body).serialize()))
    ran = runner.run(Run("guest", limits, data, env=env))
    return believe(ran, ran.output, Task("guest", abi, b"", data, limits, env), Said(limits))


@pytest.mark.parametrize("machine", [PublicMachine, RawMachine])
def test_both_ways_of_calling_do_the_same(
    engine: Engine, machine: type[RawMachine | PublicMachine]
) -> None:
    deadline = Deadline(engine)
    runner = Runner(engine, machine)
    runner.attach(deadline, nobody_answers)
    assert run(runner, engine, guests.ECHO, b"x").output == b"x"
    assert run(runner, engine, guests.CAT, b"x", abi=Abi.WASI_PREVIEW1).output == b"x"
    assert run(runner, engine, guests.LOOP).limit == "fuel"
    assert run(runner, engine, guests.EXIT_3, abi=Abi.WASI_PREVIEW1).outcome is Outcome.REJECTED
    assert run(runner, engine, guests.TRAP).outcome is Outcome.TRAPPED
    patient = replace(LIMITS, wall_ms=30_000)
    assert run(runner, engine, guests.LOG_FLOOD, limits=patient).limit == "host_calls"
    deadline.close()


def test_exports_of_the_wrong_type_are_refused_at_load(runner: Runner, engine: Engine) -> None:
    body = guests.module(
        "(unreachable)",
        alloc='(func (export "stockade_v1_alloc") (param i64) (result i32) (i32.const 0))',
    )
    with pytest.raises(WasmtimeError, match="right type"):
        runner.load("m", Abi.STOCKADE_V1, bytes(Module(engine, body).serialize()))


@pytest.mark.parametrize("size", [0, 1, 1024, 1 << 20])
def test_echo_returns_its_input_and_counts_its_cost(
    runner: Runner, engine: Engine, size: int
) -> None:
    result = run(runner, engine, guests.ECHO, b"x" * size)
    assert (result.outcome, result.output) == (Outcome.COMPLETED, b"x" * size)
    assert 0 < result.usage.fuel < 100
    assert result.usage.input_bytes == result.usage.output_bytes == size
    assert result.usage.peak_memory_bytes >= 2 * 65536


def test_the_same_input_costs_the_same_fuel(runner: Runner, engine: Engine) -> None:
    costs = {run(runner, engine, guests.ECHO, b"same").usage.fuel for _ in range(5)}
    assert len(costs) == 1


@pytest.mark.parametrize(("frame", "hint"), [(b"\x01\x00no", False), (b"\x01\x01no", True)])
def test_a_rejection_carries_message_and_hint(
    runner: Runner, engine: Engine, frame: bytes, *, hint: bool
) -> None:
    result = run(runner, engine, guests.fixed(frame))
    assert (result.outcome, result.detail, result.retry_hint) == (Outcome.REJECTED, "no", hint)


def test_a_rejection_that_is_not_utf8_is_replaced_not_raised(
    runner: Runner, engine: Engine
) -> None:
    result = run(runner, engine, guests.fixed(b"\x01\x00\xff\xfe"))
    assert result.detail == "\ufffd\ufffd"


@pytest.mark.parametrize("frame", [b"\x02x", b"\x01", b"\x01\x02x"])
def test_a_malformed_frame_is_a_trap(runner: Runner, engine: Engine, frame: bytes) -> None:
    result = run(runner, engine, guests.fixed(frame))
    assert result.outcome is Outcome.TRAPPED
    assert "malformed" in (result.detail or "")


@pytest.mark.parametrize(
    ("pointer", "length"),
    [("-1", "2"), ("131072", "1"), ("131071", "2"), ("0", "-1"), ("2048", "0")],
)
def test_an_answer_outside_memory_is_a_trap(
    runner: Runner, engine: Engine, pointer: str, length: str
) -> None:
    body = guests.module(guests.answer(f"(i32.const {pointer})", f"(i32.const {length})"))
    assert run(runner, engine, body).outcome is Outcome.TRAPPED


@pytest.mark.parametrize("pointer", ["-1", "131072", "131070"])
def test_an_alloc_that_returns_nonsense_is_a_trap(
    runner: Runner, engine: Engine, pointer: str
) -> None:
    alloc = f"""(func (export "stockade_v1_alloc") (param i32) (result i32)
      (i32.const {pointer}))"""
    result = run(runner, engine, guests.module("(unreachable)", alloc=alloc), b"input")
    assert result.outcome is Outcome.TRAPPED
    assert "outside" in (result.detail or "")


@pytest.mark.parametrize(
    "body", [guests.LOOP, guests.LOOP_IN_START, guests.LOOP_IN_ALLOC], ids=["run", "start", "alloc"]
)
def test_fuel_stops_a_loop_exactly(runner: Runner, engine: Engine, body: bytes) -> None:
    result = run(runner, engine, body)
    assert (result.outcome, result.limit) == (Outcome.LIMIT_EXCEEDED, "fuel")
    assert result.usage.fuel == LIMITS.fuel


@pytest.mark.parametrize(
    "body", [guests.LOOP, guests.LOOP_IN_START, guests.LOOP_IN_ALLOC], ids=["run", "start", "alloc"]
)
def test_the_deadline_alone_stops_a_loop(runner: Runner, engine: Engine, body: bytes) -> None:
    limits = Limits(fuel=10**15, wall_ms=30)
    result = run(runner, engine, body, limits=limits)
    assert (result.outcome, result.limit) == (Outcome.LIMIT_EXCEEDED, "wall")


def test_a_deadline_that_passed_does_not_stop_the_next_run(runner: Runner, engine: Engine) -> None:
    limits = Limits(fuel=10**15, wall_ms=1)
    for _ in range(50):
        assert run(runner, engine, guests.LOOP, limits=limits).limit == "wall"
        assert run(runner, engine, guests.ECHO, b"x").outcome is Outcome.COMPLETED


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (guests.TRAP, "The guest trapped: unreachable."),
        (guests.TRAP_IN_START, "The guest trapped: unreachable."),
        (guests.RECURSE, "The guest trapped: stack_overflow."),
    ],
)
def test_a_trap_is_named(runner: Runner, engine: Engine, body: bytes, detail: str) -> None:
    result = run(runner, engine, body)
    assert (result.outcome, result.detail) == (Outcome.TRAPPED, detail)


@pytest.mark.parametrize("body", [guests.MEMORY_BOMB, guests.HUGE_MEMORY], ids=["grow", "initial"])
def test_memory_is_bounded(runner: Runner, engine: Engine, body: bytes) -> None:
    result = run(runner, engine, body)
    assert (result.outcome, result.limit) == (Outcome.LIMIT_EXCEEDED, "memory")
    assert result.usage.peak_memory_bytes <= LIMITS.memory_bytes


def test_a_table_cannot_outgrow_its_limit(runner: Runner, engine: Engine) -> None:
    result = run(runner, engine, guests.TABLE_BOMB, limits=Limits(fuel=10**7))
    assert result.outcome is Outcome.TRAPPED
    assert result.usage.fuel < 10**4


def test_a_table_that_begins_beyond_its_limit_is_refused(runner: Runner, engine: Engine) -> None:
    body = guests.module("(unreachable)", extra="(table 20000 funcref)")
    result = run(runner, engine, body)
    assert (result.outcome, result.limit) == (Outcome.LIMIT_EXCEEDED, "table")


def test_output_is_bounded(runner: Runner, engine: Engine) -> None:
    result = run(runner, engine, guests.ECHO, b"x" * 11, limits=Limits(output_bytes=10))
    assert (result.outcome, result.limit, result.output) == (Outcome.LIMIT_EXCEEDED, "output", b"")


def test_logs_are_kept_in_order_and_cut_with_a_mark(runner: Runner, engine: Engine) -> None:
    say = "(call $log (i32.const {}) (i32.const 2049) (i32.const 2))"
    body = guests.module(
        say.format(1) + say.format(3) + guests.answer("(i32.const 2048)", "(i32.const 3)"),
        imports=guests.LOG,
        extra='(data (i32.const 2048) "\\00hi")',
    )
    result = run(runner, engine, body)
    assert (result.output, result.logs_truncated) == (b"hi", False)
    assert result.logs == (LogLine(1, "hi"), LogLine(3, "hi"))
    cut = run(runner, engine, body, limits=Limits(log_bytes=19))
    assert (cut.outcome, cut.logs, cut.logs_truncated) == (
        Outcome.COMPLETED,
        (LogLine(1, "hi"),),
        True,
    )


def test_a_log_flood_ends_at_the_host_call_limit(runner: Runner, engine: Engine) -> None:
    result = run(runner, engine, guests.LOG_FLOOD, limits=Limits(host_calls=500, log_bytes=4096))
    assert (result.outcome, result.limit) == (Outcome.LIMIT_EXCEEDED, "host_calls")
    assert result.logs_truncated
    assert sum(len(line.text) for line in result.logs) <= 4096


@pytest.mark.parametrize(
    "call",
    [
        "(i32.const 5) (i32.const 0) (i32.const 1)",
        "(i32.const -1) (i32.const 0) (i32.const 1)",
        "(i32.const 2) (i32.const -1) (i32.const 2)",
        "(i32.const 2) (i32.const 131071) (i32.const 2)",
        "(i32.const 2) (i32.const 131072) (i32.const -1)",
    ],
)
def test_a_bad_log_call_traps_the_guest(runner: Runner, engine: Engine, call: str) -> None:
    body = guests.module(f"(call $log {call}) (unreachable)", imports=guests.LOG)
    result = run(runner, engine, body)
    assert result.outcome is Outcome.TRAPPED
    assert "broke the ABI" in (result.detail or "")


@pytest.mark.parametrize("data", [b"", b"abc", b"\xff\x00" * 5000])
def test_a_wasi_command_reads_and_writes_bytes(runner: Runner, engine: Engine, data: bytes) -> None:
    result = run(runner, engine, guests.CAT, data, abi=Abi.WASI_PREVIEW1)
    assert (result.outcome, result.output) == (Outcome.COMPLETED, data)


def test_a_wasi_exit_code_is_a_rejection(runner: Runner, engine: Engine) -> None:
    result = run(runner, engine, guests.EXIT_3, abi=Abi.WASI_PREVIEW1)
    assert (result.outcome, result.detail) == (
        Outcome.REJECTED,
        "The guest exited with code 3.",
    )


def test_wasi_output_is_bounded(runner: Runner, engine: Engine) -> None:
    limits = Limits(output_bytes=10_000)
    result = run(runner, engine, guests.STDOUT_FLOOD, abi=Abi.WASI_PREVIEW1, limits=limits)
    assert (result.outcome, result.limit) == (Outcome.LIMIT_EXCEEDED, "output")


def test_wasi_standard_error_becomes_bounded_logs(runner: Runner, engine: Engine) -> None:
    limits = Limits(log_bytes=2000, host_calls=100)
    result = run(runner, engine, guests.STDERR_FLOOD, abi=Abi.WASI_PREVIEW1, limits=limits)
    assert (result.limit, result.logs_truncated) == ("host_calls", True)
    assert sum(len(line.text) for line in result.logs) <= 2000


def test_wasi_has_no_files_and_no_sockets(runner: Runner, engine: Engine) -> None:
    result = run(runner, engine, guests.ASKS_FOR_FILES, abi=Abi.WASI_PREVIEW1)
    assert result.output == b"11"


def test_wasi_sees_only_the_environment_of_its_version(runner: Runner, engine: Engine) -> None:
    env = (("A", "1"), ("B", "two"))
    result = run(runner, engine, guests.PRINTS_ENVIRONMENT, abi=Abi.WASI_PREVIEW1, env=env)
    assert result.output == b"A=1\0B=two\0"


def test_every_wasi_call_answers_by_the_book(runner: Runner, engine: Engine) -> None:
    ok, badf, inval = 0, 8, 28
    result = run(runner, engine, guests.CALLS_EVERYTHING, abi=Abi.WASI_PREVIEW1)
    expected = [ok, ok, ok, inval, ok, inval, ok, inval, ok, ok, badf, ok, badf, ok, badf]
    expected += [badf, badf, badf, inval, ok, ok]
    # Too many buffers in one call end the run; what was written before is not an output then.
    assert result.outcome is Outcome.TRAPPED
    assert "2000 buffers" in (result.detail or "")
    state = runner._current.state
    assert list(b"".join(state.stdout)) == expected


def test_the_least_recently_run_module_makes_room(engine: Engine, runner: Runner) -> None:
    artifact = bytes(Module(engine, guests.ECHO).serialize())
    for number in range(MAX_LOADED_MODULES + 1):
        runner.load(f"m{number}", Abi.STOCKADE_V1, artifact)
    assert not runner.has("m0")
    assert runner.has("m1")


def test_an_artifact_of_another_engine_is_refused(runner: Runner) -> None:
    with pytest.raises(WasmtimeError):
        runner.load("m", Abi.STOCKADE_V1, b"\x7fELF not an artifact")
