"""What epochs do not interrupt: the supervisor's kill does."""

import pytest

from stockade.core.modules import Abi
from stockade.core.outcomes import Outcome
from tests.guest import guests
from tests.security.sandbox import Sandbox

pytestmark = pytest.mark.undisturbed

BULK = {
    "memory.fill": "(memory.fill (i32.const 0) (i32.const 1) (i32.const 67108864))",
    "memory.copy": "(memory.copy (i32.const 0) (i32.const 1) (i32.const 67108863))",
}


@pytest.mark.parametrize("instruction", BULK.values(), ids=BULK.keys())
async def test_long_instructions_are_ended(sandbox: Sandbox, instruction: str) -> None:
    body = guests.module(f"(loop {instruction} (br 0)) (unreachable)", memory="1024")
    await sandbox.ends(body, Outcome.LIMIT_EXCEEDED, "wall")


async def test_a_sleep_is_ended(sandbox: Sandbox) -> None:
    await sandbox.ends(guests.SLEEP, Outcome.LIMIT_EXCEEDED, "wall", abi=Abi.WASI_PREVIEW1)


async def test_table_fills_are_ended(sandbox: Sandbox) -> None:
    body = guests.module(
        """(loop (table.fill 0 (i32.const 0) (ref.null func) (i32.const 10000)) (br 0))
        (unreachable)""",
        extra="(table 10000 funcref)",
    )
    await sandbox.ends(body, Outcome.LIMIT_EXCEEDED, "wall")
