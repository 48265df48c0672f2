"""The host calls of `stockade:v1` on the real engine; the test plays the supervisor."""

import time
from collections.abc import Callable, Iterator

import pytest
from wasmtime import Engine, Module

from sandbox_worker.guest.deadline import Deadline
from sandbox_worker.guest.engine import build_engine
from sandbox_worker.guest.frames import MAX_HOST_CALL_BYTES, HostCall, HostReply, Ran, Run
from sandbox_worker.guest.public_machine import PublicMachine
from sandbox_worker.guest.raw_machine import RawMachine
from sandbox_worker.guest.runner import Runner
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import Event, Outcome
from tests.guest import guests

LIMITS = Limits(fuel=50_000_000, wall_ms=5_000, memory_bytes=8 << 20, log_bytes=200, host_calls=100)
CALLS = {
    "config_get": "(param i32 i32) (result i64)",
    "secret_get": "(param i32 i32) (result i64)",
    "kv_get": "(param i32 i32) (result i64)",
    "kv_set": "(param i32 i32 i32 i32 i32) (result i64)",
    "kv_delete": "(param i32 i32) (result i64)",
    "kv_add": "(param i32 i32 i64) (result i64)",
    "http_fetch": "(param i32 i32) (result i64)",
    "now_ms": "(result i64)",
    "random": "(param i32 i32)",
    "emit": "(param i32 i32 i32 i32)",
    "progress": "(param i32 i32 i32)",
}
# Replies get the room from 40000 on; the input is written there too, and is not looked at.
ALLOC = '(func (export "stockade_v1_alloc") (param i32) (result i32) (i32.const 40000))'
ANSWER_WITH_THE_REPLY = f"""
    (i32.store8 (i32.const 39999) (i32.const 0))
    (i64.or (i64.const {39999 << 32}) (i64.add (i64.const 1)
      (i64.and (local.get $packed) (i64.const 0xffffffff))))"""


class Supervisor:
    """Answers with what the test put there, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[HostCall] = []
        self.reply = HostReply()
        self.takes_seconds = 0.0

    def __call__(self, call: HostCall) -> HostReply:
        self.asked.append(call)
        time.sleep(self.takes_seconds)
        return self.reply


Sandbox = Callable[..., Ran]


@pytest.fixture
def supervisor() -> Supervisor:
    return Supervisor()


@pytest.fixture(scope="module")
def engine() -> Engine:
    return build_engine()


@pytest.fixture(params=[RawMachine, PublicMachine], ids=["raw", "public"])
def sandbox(
    engine: Engine, supervisor: Supervisor, request: pytest.FixtureRequest
) -> Iterator[Sandbox]:
    deadline = Deadline(engine)
    runner = Runner(engine, request.param)
    runner.attach(deadline, supervisor)

    def run(body: bytes, limits: Limits = LIMITS, env: tuple[tuple[str, str], ...] = ()) -> Ran:
        runner.load("guest", Abi.STOCKADE_V1, bytes(Module(engine, body).serialize()))
        return runner.run(Run("guest", limits, b"", env=env))

    yield run
    deadline.close()


def guest(
    name: str, arguments: str, *, data: str = "", alloc: str = ALLOC, then: str = ""
) -> bytes:
    """A guest that makes one call and answers with the reply, if the call has one."""
    signature = CALLS[name]
    imports = f'(import "stockade:v1" "{name}" (func $call {signature}))'
    replies = signature.endswith("(result i64)") and name != "now_ms"
    if replies:
        body = f"(local $packed i64) (local.set $packed (call $call {arguments}))"
        body += ANSWER_WITH_THE_REPLY
    else:
        body = f"(call $call {arguments}) {then}"
    return guests.module(body, imports=imports, alloc=alloc, extra=data)


NAME = '(data (i32.const 100) "orders/1")'
AT_NAME = "(i32.const 100) (i32.const 8)"


@pytest.mark.parametrize(
    ("name", "arguments", "asked"),
    [
        ("secret_get", AT_NAME, HostCall("secret_get", "orders/1")),
        ("kv_get", AT_NAME, HostCall("kv_get", "orders/1")),
        ("kv_delete", AT_NAME, HostCall("kv_delete", "orders/1")),
        ("kv_add", f"{AT_NAME} (i64.const -5)", HostCall("kv_add", "orders/1", number=-5)),
        (
            "kv_set",
            f"{AT_NAME} (i32.const 100) (i32.const 3) (i32.const -1)",
            HostCall("kv_set", "orders/1", b"ord", 0xFFFFFFFF),
        ),
        ("http_fetch", AT_NAME, HostCall("http_fetch", data=b"orders/1")),
    ],
)
@pytest.mark.parametrize("reply", [HostReply(0, b"value"), HostReply(1), HostReply(2, b"a.b: c")])
def test_a_call_reaches_the_supervisor_and_its_reply_the_guest(
    sandbox: Sandbox,
    supervisor: Supervisor,
    name: str,
    arguments: str,
    asked: HostCall,
    reply: HostReply,
) -> None:
    supervisor.reply = reply
    ran = sandbox(guest(name, arguments, data=NAME))
    assert (ran.outcome, ran.output) == (Outcome.COMPLETED, bytes([reply.status]) + reply.data)
    assert supervisor.asked == [asked]
    assert ran.host_calls == 1


def test_config_is_answered_from_the_versions_environment(sandbox: Sandbox) -> None:
    body = guest("config_get", AT_NAME, data=NAME)
    assert sandbox(body, env=(("orders/1", "é"),)).output == b"\x00" + "é".encode()
    assert sandbox(body, env=(("orders", "x"),)).output == b"\x01"


def test_progress_is_told_with_its_message(sandbox: Sandbox, supervisor: Supervisor) -> None:
    done = "(unreachable)"
    ran = sandbox(guest("progress", f"(i32.const 70) {AT_NAME}", data=NAME, then=done))
    assert supervisor.asked == [HostCall("progress", "orders/1", number=70)]
    assert ran.outcome is Outcome.TRAPPED


def test_events_are_kept_and_bounded(sandbox: Sandbox) -> None:
    one = f"(call $call {AT_NAME} (i32.const 104) (i32.const 4))"
    imports = f'(import "stockade:v1" "emit" (func $call {CALLS["emit"]}))'
    body = guests.module(one * 20 + "(unreachable)", imports=imports, extra=NAME)
    ran = sandbox(body)
    assert set(ran.events) == {Event("orders/1", "rs/1")}
    assert len(ran.events) == LIMITS.log_bytes // (12 + 16)
    assert ran.events_truncated


def test_an_event_larger_than_the_bound_is_dropped_and_marked(sandbox: Sandbox) -> None:
    arguments = f"{AT_NAME} (i32.const 0) (i32.const 50000)"
    ran = sandbox(guest("emit", arguments, data=NAME, then="(unreachable)"))
    assert (ran.events, ran.events_truncated) == ((), True)


def test_random_bytes_differ_from_run_to_run(sandbox: Sandbox) -> None:
    answer = "(i32.store8 (i32.const 199) (i32.const 0))" + guests.answer(
        "(i32.const 199)", "(i32.const 17)"
    )
    body = guest("random", "(i32.const 200) (i32.const 16)", then=answer)
    outputs = {sandbox(body).output for _ in range(5)}
    assert len(outputs) == 5
    assert {len(output) for output in outputs} == {16}


NOW = """(func $spend (param i32) (loop
      (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0))))"""


def test_the_clock_goes_by_fuel_and_not_by_the_machine(sandbox: Sandbox) -> None:
    body = guests.module(
        """(i64.store (i32.const 200) (call $call))
        (call $spend (i32.const 10000000))
        (i64.store (i32.const 208) (call $call))
        (i32.store8 (i32.const 199) (i32.const 0))"""
        + guests.answer("(i32.const 199)", "(i32.const 17)"),
        imports='(import "stockade:v1" "now_ms" (func $call (result i64)))',
        extra=NOW,
    )
    before = time.time_ns() // 1_000_000
    seen = [sandbox(body, LIMITS_OF_PLENTY).output for _ in range(3)]
    after = time.time_ns() // 1_000_000
    first, last = (int.from_bytes(seen[0][at : at + 8], "little") for at in (0, 8))
    assert before <= first <= after
    assert len({_elapsed(one) for one in seen}) <= 2, "but for the rounding, always the same"
    assert 30 <= last - first <= 100


LIMITS_OF_PLENTY = Limits(fuel=10**10)


def _elapsed(output: bytes) -> int:
    return int.from_bytes(output[8:16], "little") - int.from_bytes(output[:8], "little")


def test_a_call_that_waited_moves_the_clock(sandbox: Sandbox, supervisor: Supervisor) -> None:
    body = guests.module(
        f"""(local $packed i64)
        (i64.store (i32.const 200) (call $now))
        (local.set $packed (call $get {AT_NAME}))
        (i64.store (i32.const 208) (call $now))
        (i32.store8 (i32.const 199) (i32.const 0))"""
        + guests.answer("(i32.const 199)", "(i32.const 17)"),
        imports="""(import "stockade:v1" "now_ms" (func $now (result i64)))
          (import "stockade:v1" "kv_get" (func $get (param i32 i32) (result i64)))""",
        extra=NAME,
        alloc=ALLOC,
    )
    supervisor.takes_seconds = 0.05
    assert _elapsed(sandbox(body).output) >= 50


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("secret_get", "(i32.const -4) (i32.const 8)"),
        ("kv_get", "(i32.const 131070) (i32.const 8)"),
        ("kv_get", "(i32.const 0) (i32.const 5000)"),
        ("kv_set", f"{AT_NAME} (i32.const 131070) (i32.const 8) (i32.const 0)"),
        ("kv_set", f"{AT_NAME} (i32.const 0) (i32.const -1) (i32.const 0)"),
        ("http_fetch", "(i32.const 0) (i32.const 0x7fffffff)"),
        ("emit", "(i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)"),
        ("emit", "(i32.const 0) (i32.const 65) (i32.const 0) (i32.const 0)"),
        ("emit", f"{AT_NAME} (i32.const 131070) (i32.const 8)"),
        ("progress", f"(i32.const 101) {AT_NAME}"),
        ("progress", f"(i32.const -1) {AT_NAME}"),
        ("progress", "(i32.const 1) (i32.const 0) (i32.const 257)"),
        ("random", "(i32.const 131070) (i32.const 8)"),
        ("random", "(i32.const 0) (i32.const 65537)"),
        ("config_get", "(i32.const 108) (i32.const 1)"),
    ],
)
def test_a_wrong_argument_traps_the_guest_and_reaches_nobody(
    sandbox: Sandbox, supervisor: Supervisor, name: str, arguments: str
) -> None:
    data = '(data (i32.const 100) "orders/1\\ff")'
    ran = sandbox(guest(name, arguments, data=data, then="(unreachable)"))
    assert ran.outcome is Outcome.TRAPPED
    assert "broke the ABI" in (ran.detail or "")
    assert supervisor.asked == []


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("kv_set", f"{AT_NAME} (i32.const 0) (i32.const {MAX_HOST_CALL_BYTES + 1}) (i32.const 0)",
         b"kv.value_too_large"),
        ("http_fetch", f"(i32.const 0) (i32.const {MAX_HOST_CALL_BYTES + 1})",
         b"http_fetch.request_too_large"),
    ],
)  # fmt: skip
def test_more_than_a_call_carries_is_an_answer(
    sandbox: Sandbox, supervisor: Supervisor, name: str, arguments: str, code: bytes
) -> None:
    body = guests.module(
        f"(local $packed i64) (local.set $packed (call $call {arguments})) {ANSWER_WITH_THE_REPLY}",
        imports=f'(import "stockade:v1" "{name}" (func $call {CALLS[name]}))',
        alloc=ALLOC,
        extra=NAME,
        memory="40",
    )
    assert sandbox(body).output.startswith(b"\x02" + code)
    assert supervisor.asked == []


@pytest.mark.parametrize("limit", ["wall", "host_calls"])
def test_the_supervisor_may_end_the_run(
    sandbox: Sandbox, supervisor: Supervisor, limit: str
) -> None:
    supervisor.reply = HostReply(stop=limit)
    ran = sandbox(guest("kv_get", AT_NAME, data=NAME))
    assert (ran.outcome, ran.limit) == (Outcome.LIMIT_EXCEEDED, limit)


def test_a_call_within_a_call_breaks_the_abi(sandbox: Sandbox, supervisor: Supervisor) -> None:
    body = guests.module(
        f"(local $packed i64) (local.set $packed (call $get {AT_NAME})) {ANSWER_WITH_THE_REPLY}",
        imports="""(import "stockade:v1" "kv_get" (func $get (param i32 i32) (result i64)))""",
        alloc="""(func (export "stockade_v1_alloc") (param i32) (result i32)
          (if (local.get 0) (then (drop (call $get (i32.const 100) (i32.const 8)))))
          (i32.const 40000))""",
        extra=NAME,
    )
    ran = sandbox(body)
    assert ran.outcome is Outcome.TRAPPED
    assert "within another" in (ran.detail or "")
    assert len(supervisor.asked) == 1


@pytest.mark.parametrize(
    "alloc",
    ["(i32.const -1)", "(i32.const 131072)", "(unreachable)", "(loop (br 0)) (unreachable)"],
    ids=["minus one", "beyond the end", "trap", "loop"],
)
def test_room_that_is_none_ends_the_run(sandbox: Sandbox, alloc: str) -> None:
    room = f"""(func (export "stockade_v1_alloc") (param i32) (result i32)
      (if (result i32) (local.get 0) (then {alloc}) (else (i32.const 40000))))"""
    ran = sandbox(guest("kv_get", AT_NAME, data=NAME, alloc=room))
    assert ran.outcome in {Outcome.TRAPPED, Outcome.LIMIT_EXCEEDED}
    assert sandbox(guests.ECHO).outcome is Outcome.COMPLETED


def test_calls_in_the_start_function_work(sandbox: Sandbox, supervisor: Supervisor) -> None:
    body = guests.module(
        "(unreachable)",
        imports=f'(import "stockade:v1" "kv_get" (func $get {CALLS["kv_get"]}))',
        extra=NAME + f"(func $s (drop (call $get {AT_NAME}))) (start $s)",
    )
    sandbox(body)
    assert supervisor.asked == [HostCall("kv_get", "orders/1")]


SPANS = """(import "stockade:v1" "span_open" (func $open (param i32 i32) (result i32)))
  (import "stockade:v1" "span_close" (func $close (param i32)))
  (import "stockade:v1" "span_attribute" (func $say (param i32 i32 i32 i32 i32)))"""
ANSWERED = guests.answer("(i32.const 2048)", "(i32.const 1)")


def spanning(body: str, imports: str = SPANS, then: str = ANSWERED) -> bytes:
    return guests.module(body + then, imports=imports, alloc=ALLOC, extra=NAME)


def test_spans_are_told_with_the_end_of_the_run(sandbox: Sandbox) -> None:
    body = f"""(local $a i32) (local.set $a (call $open {AT_NAME}))
      (call $say (local.get $a) {AT_NAME} (i32.const 100) (i32.const 6))
      (drop (call $open (i32.const 100) (i32.const 2)))
      (call $close (local.get $a)) (call $close (local.get $a)) (call $close (i32.const 0))
      (call $say (i32.const 0) {AT_NAME} {AT_NAME})
      (drop (call $open (i32.const 107) (i32.const 1)))"""
    for then, outcome in ((ANSWERED, Outcome.COMPLETED), ("(unreachable)", Outcome.TRAPPED)):
        ran = sandbox(spanning(body, then=then))
        assert ran.outcome is outcome
        assert [(one.name, one.parent) for one in ran.spans] == [
            ("orders/1", 0),
            ("or", 1),
            ("1", 0),
        ]
        assert ran.spans[0].attributes == (("orders/1", "orders"),)
        assert ran.spans_dropped == 0


def test_a_flood_of_spans_goes_on_and_is_counted(sandbox: Sandbox) -> None:
    body = f"""(local $i i32) (loop $more (drop (call $open {AT_NAME}))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const 90))))"""
    ran = sandbox(spanning(body))
    assert (ran.outcome, len(ran.spans), ran.spans_dropped) == (Outcome.COMPLETED, 16, 74)


@pytest.mark.parametrize(
    "call",
    [
        "(drop (call $open (i32.const 100) (i32.const 0)))",
        "(drop (call $open (i32.const 100) (i32.const 65)))",
        "(drop (call $open (i32.const -1) (i32.const 2)))",
        "(call $close (i32.const 1))",
        "(call $close (i32.const -1))",
        f"(call $say (i32.const 1) {AT_NAME} {AT_NAME})",
        f"(call $say (i32.const 0) (i32.const 100) (i32.const 0) {AT_NAME})",
        f"(call $say (i32.const 0) {AT_NAME} (i32.const 0) (i32.const 257))",
    ],
)
def test_a_wrong_span_breaks_the_abi(sandbox: Sandbox, call: str) -> None:
    assert sandbox(spanning(call)).outcome is Outcome.TRAPPED


def test_host_calls_say_in_which_span_they_are(sandbox: Sandbox, supervisor: Supervisor) -> None:
    imports = SPANS + '(import "stockade:v1" "kv_get" (func $get (param i32 i32) (result i64)))'
    asks = f"(drop (call $get {AT_NAME}))"
    body = f"{asks} (drop (call $open {AT_NAME})) {asks} (call $close (i32.const 1)) {asks}"
    assert sandbox(spanning(body, imports)).outcome is Outcome.COMPLETED
    assert [call.span for call in supervisor.asked] == [0, 1, 0]
