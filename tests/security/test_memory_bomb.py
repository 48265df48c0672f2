"""Memory taken all at once, step by step, and by data."""

import pytest

from registry.admission import admit
from stockade.core.errors import StockadeError
from stockade.core.limits import Limits
from stockade.core.outcomes import Outcome
from tests.guest import guests
from tests.security.sandbox import LIMITS, Sandbox

pytestmark = pytest.mark.undisturbed

STEPS = """(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
  (memory.fill (i32.const 0) (i32.const 1) (i32.mul (memory.size) (i32.const 65536)))
  (unreachable)"""


@pytest.mark.parametrize(
    "body",
    [guests.MEMORY_BOMB, guests.module(STEPS)],
    ids=["grown", "grown and touched"],
)
async def test_growth_ends_at_the_limit(sandbox: Sandbox, body: bytes) -> None:
    result = await sandbox.ends(body, Outcome.LIMIT_EXCEEDED, "memory")
    assert result.usage.peak_memory_bytes <= LIMITS.memory_bytes


@pytest.mark.parametrize("pages", [1025, 8192, 60_000, 65_536])
async def test_a_huge_beginning_is_refused(sandbox: Sandbox, pages: int) -> None:
    body = guests.module("(unreachable)", memory=str(pages))
    await sandbox.ends(body, Outcome.LIMIT_EXCEEDED, "memory")


async def test_the_whole_limit_may_be_used(sandbox: Sandbox) -> None:
    body = guests.module(
        "(drop (memory.grow (i32.const 1022)))"
        "(memory.fill (i32.const 65536) (i32.const 1) (i32.const 67043328))"
        + guests.answer("(i32.const 2048)", "(i32.const 1)"),
    )
    limits = Limits(memory_bytes=64 << 20)
    result = await sandbox.ends(body, Outcome.COMPLETED, limits=limits)
    assert result.usage.peak_memory_bytes == 64 << 20


async def test_data_beyond_memory_traps(sandbox: Sandbox) -> None:
    body = guests.module("(unreachable)", extra='(data (i32.const 131071) "xy")')
    await sandbox.ends(body, Outcome.TRAPPED)


def test_segments_without_end_are_refused() -> None:
    with pytest.raises(StockadeError) as refused:
        admit(guests.module("(unreachable)", extra='(data (i32.const 0) "")' * 100_001))
    assert refused.value.code == "module.too_complex"
