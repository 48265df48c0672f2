"""Pointers and lengths that lie: in the answer, from alloc, in host calls."""

import pytest

from stockade.core.outcomes import Outcome
from tests.guest import guests
from tests.security.sandbox import PLENTY, Sandbox

END = 2 * 65536


@pytest.mark.parametrize(
    ("pointer", "length"),
    [
        (END, 1), (END - 1, 2), (-1, 1), (-1, -1), (0, -1), (1, -1), (-2147483648, 2147483647),
        (2147483647, 1), (0, 0), (END, 0), (-16, 32), (65536, -65536),
    ],
)  # fmt: skip
async def test_an_answer_outside_memory_is_a_trap(
    sandbox: Sandbox, pointer: int, length: int
) -> None:
    body = guests.module(guests.answer(f"(i32.const {pointer})", f"(i32.const {length})"))
    result = await sandbox.ends(body, Outcome.TRAPPED, limits=PLENTY)
    assert "ABI" in (result.detail or "")


async def test_an_answer_may_overlap_the_input(sandbox: Sandbox) -> None:
    body = guests.module(
        "(i32.store8 (i32.const 1024) (i32.const 0))"
        + guests.answer("(i32.const 1024)", "(local.get 1)")
    )
    result = await sandbox.ends(body, Outcome.COMPLETED, data=b"abcd", limits=PLENTY)
    assert result.output == b"bcd"


@pytest.mark.parametrize(
    "room", ["(i32.const -1)", f"(i32.const {END})", f"(i32.const {END - 3})",
             "(i32.const -2147483648)", "(unreachable)", "(memory.grow (i32.const -1))"]
)  # fmt: skip
async def test_room_that_is_none_is_a_trap(sandbox: Sandbox, room: str) -> None:
    alloc = f"""(func (export "stockade_v1_alloc") (param i32) (result i32) {room})"""
    body = guests.module("(unreachable)", alloc=alloc)
    await sandbox.ends(body, Outcome.TRAPPED, data=b"input", limits=PLENTY)


async def test_room_at_the_very_end_is_room(sandbox: Sandbox) -> None:
    alloc = f"""(func (export "stockade_v1_alloc") (param i32) (result i32)
      (i32.sub (i32.const {END}) (local.get 0)))"""
    body = guests.module(
        "(i32.store8 (i32.sub (local.get 0) (i32.const 1)) (i32.const 0))"
        + guests.answer(
            "(i32.sub (local.get 0) (i32.const 1))", "(i32.add (local.get 1) (i32.const 1))"
        ),
        alloc=alloc,
    )
    result = await sandbox.ends(body, Outcome.COMPLETED, data=b"input", limits=PLENTY)
    assert result.output == b"input"


async def test_a_large_input_without_room_is_a_trap(sandbox: Sandbox) -> None:
    body = guests.module("(unreachable)")
    for _ in range(2):
        await sandbox.ends(body, Outcome.TRAPPED, data=bytes(200_000), limits=PLENTY)
