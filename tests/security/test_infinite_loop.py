"""Loops of every kind: fuel alone stops each, and the deadline alone stops each."""

import pytest

from stockade.core.limits import Limits
from stockade.core.outcomes import Outcome
from tests.guest import guests
from tests.security.sandbox import LIMITS, Sandbox

pytestmark = pytest.mark.undisturbed

CALLING = guests.module("(loop (call $f) (br 0)) (unreachable)", extra="(func $f nop)")
INDIRECT = guests.module(
    "(loop (call_indirect (type $t) (i32.const 0)) (br 0)) (unreachable)",
    extra="(type $t (func)) (table 1 funcref) (elem (i32.const 0) $f) (func $f nop)",
)
MUTUAL = guests.module(
    "(loop (call $a (i32.const 3)) (br 0)) (unreachable)",
    extra="""(func $a (param i32) (if (local.get 0) (then
        (call $b (i32.sub (local.get 0) (i32.const 1))))))
      (func $b (param i32) (if (local.get 0) (then
        (call $a (i32.sub (local.get 0) (i32.const 1))))))""",
)
LOOPS = {
    "empty": guests.LOOP,
    "calling": CALLING,
    "calling through a table": INDIRECT,
    "mutual calls": MUTUAL,
    "in start": guests.LOOP_IN_START,
    "in alloc": guests.LOOP_IN_ALLOC,
}


@pytest.mark.parametrize("body", LOOPS.values(), ids=LOOPS.keys())
async def test_a_loop_ends_at_its_deadline(sandbox: Sandbox, body: bytes) -> None:
    await sandbox.ends(body, Outcome.LIMIT_EXCEEDED, "wall", limits=LIMITS)


@pytest.mark.parametrize("body", LOOPS.values(), ids=LOOPS.keys())
async def test_a_loop_ends_at_its_fuel(sandbox: Sandbox, body: bytes) -> None:
    limits = Limits(fuel=10_000_000, wall_ms=60_000)
    result = await sandbox.ends(body, Outcome.LIMIT_EXCEEDED, "fuel", limits=limits)
    assert result.usage.fuel == limits.fuel


async def test_a_storm_of_host_calls_ends_at_their_limit(sandbox: Sandbox) -> None:
    storm = guests.module(
        "(loop (drop (call $now)) (br 0)) (unreachable)",
        imports='(import "stockade:v1" "now_ms" (func $now (result i64)))',
    )
    limits = Limits(fuel=10**12, wall_ms=60_000, host_calls=5_000)
    result = await sandbox.ends(storm, Outcome.LIMIT_EXCEEDED, "host_calls", limits=limits)
    assert result.usage.host_calls == limits.host_calls + 1


async def test_a_storm_of_host_calls_ends_at_the_deadline(sandbox: Sandbox) -> None:
    storm = guests.module(
        "(loop (drop (call $now)) (br 0)) (unreachable)",
        imports='(import "stockade:v1" "now_ms" (func $now (result i64)))',
    )
    limits = Limits(fuel=10**15, wall_ms=200, host_calls=100_000_000)
    await sandbox.ends(storm, Outcome.LIMIT_EXCEEDED, "wall", limits=limits)
