"""Tables that grow, begin huge, or are many."""

import pytest

from stockade.core.limits import Limits
from stockade.core.outcomes import Outcome
from tests.guest import guests
from tests.security.sandbox import Sandbox

pytestmark = pytest.mark.undisturbed


async def test_growth_ends_at_the_limit(sandbox: Sandbox) -> None:
    limits = Limits(fuel=10**12, table_elements=10_000)
    await sandbox.ends(guests.TABLE_BOMB, Outcome.TRAPPED, limits=limits)


async def test_one_huge_step_is_refused_at_once(sandbox: Sandbox) -> None:
    body = guests.module(
        """(if (i32.ne (table.grow 0 (ref.null func) (i32.const 100000000)) (i32.const -1))
          (then (loop (br 0)))) (unreachable)""",
        extra="(table 1 funcref)",
    )
    await sandbox.ends(body, Outcome.TRAPPED)


@pytest.mark.parametrize("elements", [10_001, 1_000_000])
async def test_a_huge_beginning_is_refused(sandbox: Sandbox, elements: int) -> None:
    body = guests.module("(unreachable)", extra=f"(table {elements} funcref)")
    await sandbox.ends(body, Outcome.LIMIT_EXCEEDED, "table")


async def test_no_more_tables_than_a_run_may_have(sandbox: Sandbox) -> None:
    body = guests.module(
        guests.answer("(i32.const 2048)", "(i32.const 1)"), extra="(table 10 funcref)" * 8
    )
    await sandbox.ends(body, Outcome.COMPLETED)
