"""WASI guests that ask for files, sockets, environment, and how they end."""

import pytest

from stockade.core.modules import Abi
from stockade.core.outcomes import Outcome
from tests.guest import guests
from tests.security.sandbox import PLENTY, Sandbox


async def test_files_and_sockets_are_refused(sandbox: Sandbox) -> None:
    result = await sandbox.ends(
        guests.ASKS_FOR_FILES, Outcome.COMPLETED, abi=Abi.WASI_PREVIEW1, limits=PLENTY
    )
    assert result.output == b"11"


async def test_the_environment_of_the_process_is_not_there(sandbox: Sandbox) -> None:
    result = await sandbox.ends(
        guests.PRINTS_ENVIRONMENT, Outcome.COMPLETED, abi=Abi.WASI_PREVIEW1, limits=PLENTY
    )
    assert result.output == b""


@pytest.mark.parametrize("code", [0, 1, 3, 126, 255, 256, -1, -2147483648])
async def test_exit_codes(sandbox: Sandbox, code: int) -> None:
    outcome = Outcome.REJECTED if code else Outcome.COMPLETED
    body = guests.command(f"(call $exit (i32.const {code})) (unreachable)")
    result = await sandbox.ends(body, outcome, abi=Abi.WASI_PREVIEW1, limits=PLENTY)
    assert code == 0 or str(code) in (result.detail or "")


@pytest.mark.parametrize(
    "call",
    [
        "(call $read (i32.const 0) (i32.const -8) (i32.const 1) (i32.const 16))",
        "(call $write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 16))",
        "(call $write (i32.const 1) (i32.const 262140) (i32.const 1) (i32.const 16))",
        "(call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const -1))",
        "(call $envs (i32.const 262143) (i32.const 0))",
        "(call $poll (i32.const 262100) (i32.const 0) (i32.const 2) (i32.const 16))",
    ],
)
async def test_pointers_that_lie_trap(sandbox: Sandbox, call: str) -> None:
    await sandbox.ends(
        guests.command(f"(drop {call})"), Outcome.TRAPPED, abi=Abi.WASI_PREVIEW1, limits=PLENTY
    )
