"""What a guest's clock shows of the machine: nothing."""

import pytest
from wasmtime import wat2wasm

from stockade.core.modules import Abi
from stockade.core.outcomes import Outcome
from tests.guest import guests
from tests.security.sandbox import PLENTY, Sandbox

pytestmark = pytest.mark.undisturbed

SPEND = """(func $spend (param i32) (loop
  (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0))))"""
BY_HOST_CALL = guests.module(
    """(local $from i64) (local.set $from (call $now)) (call $spend (i32.const 2000000))
    (i64.store (i32.const 2049) (i64.sub (call $now) (local.get $from)))
    (i32.store8 (i32.const 2048) (i32.const 0))"""
    + guests.answer("(i32.const 2048)", "(i32.const 9)"),
    imports='(import "stockade:v1" "now_ms" (func $now (result i64)))',
    extra=SPEND,
)
BY_WASI = bytes(
    wat2wasm(f"""(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $t (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) {SPEND}
  (data (i32.const 0) "\\64\\00\\00\\00\\08\\00\\00\\00")
  (func (export "_start")
    (drop (call $t (i32.const 1) (i64.const 0) (i32.const 200)))
    (call $spend (i32.const 2000000))
    (drop (call $t (i32.const 1) (i64.const 0) (i32.const 208)))
    (i64.store (i32.const 100) (i64.sub (i64.load (i32.const 208)) (i64.load (i32.const 200))))
    (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))""")
)


async def test_equal_work_takes_equal_time_by_wasis_clock(sandbox: Sandbox) -> None:
    seen = set()
    for tenant in "aabbcc":
        result = await sandbox.run(BY_WASI, limits=PLENTY, abi=Abi.WASI_PREVIEW1, tenant=tenant)
        seen.add(result.output)
    assert len(seen) == 1, "to the nanosecond"
    assert int.from_bytes(seen.pop(), "little") > 0


async def test_equal_work_takes_equal_time_by_the_host_call(sandbox: Sandbox) -> None:
    seen = {(await sandbox.run(BY_HOST_CALL, limits=PLENTY)).output for _ in range(6)}
    told = {int.from_bytes(one, "little") for one in seen}
    assert max(told) - min(told) <= 1, "but for the rounding to milliseconds"


async def test_who_spins_for_a_time_gets_there(sandbox: Sandbox) -> None:
    body = bytes(
        wat2wasm("""(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $t (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $end i64)
    (drop (call $t (i32.const 1) (i64.const 0) (i32.const 200)))
    (local.set $end (i64.add (i64.load (i32.const 200)) (i64.const 20000)))
    (loop
      (drop (call $t (i32.const 1) (i64.const 0) (i32.const 200)))
      (br_if 0 (i64.lt_u (i64.load (i32.const 200)) (local.get $end))))))""")
    )
    await sandbox.ends(body, Outcome.COMPLETED, limits=PLENTY, abi=Abi.WASI_PREVIEW1)
