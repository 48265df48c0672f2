"""Calls without end: the guest's stack ends before the process's."""

import pytest

from stockade.core.outcomes import Outcome
from tests.guest import guests
from tests.security.sandbox import Sandbox

pytestmark = pytest.mark.undisturbed

WIDE = " ".join(f"(local $l{number} i64)" for number in range(200))
RECURSIONS = {
    "plain": guests.RECURSE,
    "wide frames": guests.module(
        "(call $r) (unreachable)",
        extra=f"(func $r {WIDE} (call $r) (local.set $l0 (local.get $l199)) (call $r))",
    ),
    "through a table": guests.module(
        "(call $r) (unreachable)",
        extra="""(type $t (func)) (table 1 funcref) (elem (i32.const 0) $r)
          (func $r (call_indirect (type $t) (i32.const 0)) (call $r))""",
    ),
    "in start": guests.module("(unreachable)", extra="(func $r (call $r) (call $r)) (start $r)"),
}


@pytest.mark.parametrize("body", RECURSIONS.values(), ids=RECURSIONS.keys())
async def test_recursion_is_a_trap(sandbox: Sandbox, body: bytes) -> None:
    result = await sandbox.ends(body, Outcome.TRAPPED)
    assert "stack_overflow" in (result.detail or "")


@pytest.mark.parametrize(
    "call", ["(drop (call $now))", "(call $log (i32.const 2) (i32.const 0) (i32.const 1))"]
)
async def test_a_stack_that_ends_in_a_host_call_is_a_trap(sandbox: Sandbox, call: str) -> None:
    body = guests.module(
        "(call $r) (unreachable)",
        imports="""(import "stockade:v1" "now_ms" (func $now (result i64)))
          (import "stockade:v1" "log" (func $log (param i32 i32 i32)))""",
        extra=f"(func $r {call} (call $r) {call})",
    )
    result = await sandbox.run(body)
    assert (result.outcome, result.limit) in {
        (Outcome.TRAPPED, None),
        (Outcome.LIMIT_EXCEEDED, "host_calls"),
    }
    await sandbox.is_unharmed()
