"""What must not pass from the zygote to its children, or from one child to another, by a fork."""

from pathlib import Path

import pytest
from wasmtime import wat2wasm

from sandbox_worker.executor_client import ExecutorClient
from stockade.core.jail_control import JailRole
from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import Outcome
from tests.guest import guests
from tests.security.sandbox import PLENTY, Sandbox

pytestmark = pytest.mark.undisturbed

BY_HOST_CALL = guests.module(
    """(call $random (i32.const 2049) (i32.const 32)) (i32.store8 (i32.const 2048) (i32.const 0))"""
    + guests.answer("(i32.const 2048)", "(i32.const 33)"),
    imports='(import "stockade:v1" "random" (func $random (param i32 i32)))',
)
BY_WASI = bytes(
    wat2wasm("""(module
  (import "wasi_snapshot_preview1" "random_get" (func $r (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\\64\\00\\00\\00\\20\\00\\00\\00")
  (func (export "_start")
    (drop (call $r (i32.const 100) (i32.const 32)))
    (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))""")
)


@pytest.mark.parametrize(
    ("body", "abi"), [(BY_HOST_CALL, Abi.STOCKADE_V1), (BY_WASI, Abi.WASI_PREVIEW1)]
)
async def test_no_two_children_draw_the_same(sandbox: Sandbox, body: bytes, abi: Abi) -> None:
    # Every child makes its first draw from the state that the zygote was in.
    drawn = set()
    for number in range(4):
        result = await sandbox.run(body, limits=PLENTY, abi=abi, tenant=f"tenant-{number}")
        assert result.outcome is Outcome.COMPLETED
        drawn.add(result.output)
    assert len(drawn) == 4
    assert {len(one) for one in drawn} == {32}


async def test_a_child_begins_with_a_clean_table_of_signals_and_two_threads(
    sandbox: Sandbox,
) -> None:
    task = await sandbox.task(guests.ECHO, b"x", Limits())
    client = ExecutorClient(await sandbox.jail.fork(JailRole.EXECUTOR), "t")
    assert (await client.run(task)).output == b"x"
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{client.process_id}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert int(status["SigBlk"], 16) == 0
    assert int(status["SigPnd"], 16) == 0
    assert int(status["ShdPnd"], 16) == 0
    assert int(status["Threads"]) == 2
    assert int(status["NoNewPrivs"]) == 1
    assert int(status["Seccomp"]) == 2
    await client.aclose()


async def test_a_child_has_its_parents_module_and_nobodys_work(sandbox: Sandbox) -> None:
    # The zygote ran a module of its own to warm up; no child may know it.
    task = await sandbox.task(guests.ECHO, b"x", Limits())
    for digest in ("echo", "warm"):
        client = ExecutorClient(await sandbox.jail.fork(JailRole.EXECUTOR), "t")
        client._sent.add(digest)
        asked = type(task)(digest, task.abi, task.artifact, b"x", Limits(), ())
        assert (await client.run(asked)).output == b"x", "it had to be loaded first"
        assert client.has(digest)
        await client.aclose()


async def test_children_hold_no_environment(sandbox: Sandbox) -> None:
    client = ExecutorClient(await sandbox.jail.fork(JailRole.EXECUTOR), "t")
    task = await sandbox.task(guests.ECHO, b"x", Limits())
    await client.run(task)
    assert Path(f"/proc/{client.process_id}/environ").read_bytes() == b""
    await client.aclose()
