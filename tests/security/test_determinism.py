"""The same input gives the same bytes for the same fuel, whatever NaNs are made of."""

import pytest

from stockade.core.outcomes import Outcome
from tests.guest import guests
from tests.security.sandbox import PLENTY, Sandbox

STORES = """
  (f64.store (i32.const 2049) {nan})
  (i32.store8 (i32.const 2048) (i32.const 0))"""
NANS = {
    "0/0": "(f64.div (f64.const 0) (f64.const 0))",
    "-(0/0)": "(f64.neg (f64.div (f64.const 0) (f64.const 0)))",
    "inf-inf": "(f64.sub (f64.const inf) (f64.const inf))",
    "sqrt(-1)": "(f64.sqrt (f64.const -1))",
    "payload + 1": "(f64.add (f64.const nan:0x123456789) (f64.const 1))",
    "min": "(f64.min (f64.const nan:0xdeadbeef) (f64.const 1))",
    "promoted": "(f64.promote_f32 (f32.div (f32.const 0) (f32.const 0)))",
}


@pytest.mark.parametrize("nan", NANS.values(), ids=NANS.keys())
async def test_nan_payloads_do_not_differ(sandbox: Sandbox, nan: str) -> None:
    body = guests.module(
        STORES.format(nan=nan) + guests.answer("(i32.const 2048)", "(i32.const 9)")
    )
    seen = set()
    for tenant in ("a", "a", "b", "c"):
        result = await sandbox.run(body, limits=PLENTY, tenant=tenant)
        assert result.outcome is Outcome.COMPLETED
        seen.add((result.output, result.usage.fuel))
    assert len(seen) == 1
    (made,) = seen
    sign_or_not = {0x7F, 0xFF}
    assert made[0][7] in sign_or_not


async def test_nothing_survives_from_run_to_run(sandbox: Sandbox) -> None:
    remembers = guests.module(
        """(i32.store8 (i32.const 4000) (i32.load8_u (i32.const 5000)))
        (i32.store8 (i32.const 5000) (i32.const 77))
        (i32.store8 (i32.const 3999) (i32.const 0))"""
        + guests.answer("(i32.const 3999)", "(i32.const 2)")
    )
    assert {(await sandbox.run(remembers, limits=PLENTY)).output for _ in range(3)} == {b"\0"}


async def test_nothing_survives_from_module_to_module(sandbox: Sandbox) -> None:
    # A pooled slot of memory must show the next module nothing, wherever the one before wrote.
    writes = guests.module(
        """(drop (memory.grow (i32.const 100)))
        (memory.fill (i32.const 0) (i32.const 77) (i32.const 6684672)) (unreachable)""",
        extra='(data (i32.const 70000) "secret image of the module before")',
    )
    reads = guests.module(
        """(local $at i32) (drop (memory.grow (i32.const 100)))
        (block (loop
          (br_if 1 (i32.ge_u (local.get $at) (i32.const 6684672)))
          (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (unreachable)))
          (local.set $at (i32.add (local.get $at) (i32.const 8))) (br 0)))"""
        + guests.answer("(i32.const 2048)", "(i32.const 1)"),
        alloc='(func (export "stockade_v1_alloc") (param i32) (result i32) (i32.const 1024))',
    )
    for _ in range(3):
        assert (await sandbox.run(writes, limits=PLENTY)).outcome is Outcome.TRAPPED
        assert (await sandbox.run(reads, limits=PLENTY)).outcome is Outcome.COMPLETED


async def test_tables_and_globals_begin_anew(sandbox: Sandbox) -> None:
    body = guests.module(
        """(if (i32.or (global.get $g) (i32.eqz (ref.is_null (table.get 0 (i32.const 1)))))
          (then (unreachable)))
        (global.set $g (i32.const 1)) (table.set 0 (i32.const 1) (ref.func $f))"""
        + guests.answer("(i32.const 2048)", "(i32.const 1)"),
        extra="""(table 2 funcref) (elem declare func $f) (func $f)
          (global $g (mut i32) (i32.const 0))""",
    )
    for _ in range(3):
        assert (await sandbox.run(body, limits=PLENTY)).outcome is Outcome.COMPLETED


async def test_tenants_never_share_an_executor(sandbox: Sandbox) -> None:
    task = await sandbox.task(guests.ECHO, b"x", PLENTY)
    processes: dict[str, set[int]] = {}
    for tenant in ["a", "b", "c", "a", "b", "c"]:
        executor = await sandbox.pool.acquire(tenant, task.digest)
        assert (await executor.run(task)).output == b"x"
        processes.setdefault(tenant, set()).add(executor.process_id)
        await sandbox.pool.release(executor)
    assert not processes["a"] & processes["b"]
    assert not processes["b"] & processes["c"]
    assert not processes["a"] & processes["c"]


async def test_a_module_compiled_for_nobody_is_refused_by_the_executor(sandbox: Sandbox) -> None:
    task = await sandbox.task(guests.ECHO, b"x", PLENTY)
    forged = type(task)("forged", task.abi, b"\x7fELF" + bytes(100), b"", PLENTY, ())
    executor = await sandbox.pool.acquire("t", "forged")
    assert (await executor.run(forged)).outcome is Outcome.CRASHED
    await sandbox.pool.release(executor)
    await sandbox.is_unharmed()
