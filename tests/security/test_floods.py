"""Logs, events and output without end: cut with a mark, or the end of the run."""

import pytest

from stockade.core.limits import Limits
from stockade.core.modules import Abi
from stockade.core.outcomes import Outcome
from tests.guest import guests
from tests.security.sandbox import Sandbox

pytestmark = pytest.mark.undisturbed

LIMITS = Limits(fuel=10**12, wall_ms=20_000, output_bytes=1 << 20, log_bytes=4096)
EMIT_FLOOD = guests.module(
    """(loop (call $emit (i32.const 100) (i32.const 1) (i32.const 0) (i32.const 1000)) (br 0))
    (unreachable)""",
    imports='(import "stockade:v1" "emit" (func $emit (param i32 i32 i32 i32)))',
    extra='(data (i32.const 100) "e")',
)


@pytest.mark.parametrize(
    ("body", "abi", "limit"),
    [
        (guests.LOG_FLOOD, Abi.STOCKADE_V1, "host_calls"),
        (EMIT_FLOOD, Abi.STOCKADE_V1, "host_calls"),
        (guests.STDOUT_FLOOD, Abi.WASI_PREVIEW1, "output"),
        (guests.STDERR_FLOOD, Abi.WASI_PREVIEW1, "host_calls"),
    ],
    ids=["log", "events", "stdout", "stderr"],
)
async def test_a_flood_is_cut(sandbox: Sandbox, body: bytes, abi: Abi, limit: str) -> None:
    result = await sandbox.ends(body, Outcome.LIMIT_EXCEEDED, limit, limits=LIMITS, abi=abi)
    assert len(result.output) <= LIMITS.output_bytes
    assert sum(len(line.text.encode()) for line in result.logs) <= LIMITS.log_bytes
    assert sum(len(event.data) for event in result.events) <= LIMITS.log_bytes
    marked = {
        guests.LOG_FLOOD: result.logs_truncated,
        guests.STDERR_FLOOD: result.logs_truncated,
        EMIT_FLOOD: result.events_truncated,
    }
    assert marked.get(body, True)


async def test_a_flood_of_empty_lines_is_bounded_too(sandbox: Sandbox) -> None:
    body = guests.module(
        "(loop (call $log (i32.const 2) (i32.const 0) (i32.const 0)) (br 0)) (unreachable)",
        imports=guests.LOG,
    )
    result = await sandbox.ends(body, Outcome.LIMIT_EXCEEDED, "host_calls", limits=LIMITS)
    assert len(result.logs) <= LIMITS.log_bytes // 16


async def test_an_answer_one_byte_too_long_is_refused(sandbox: Sandbox) -> None:
    limits = Limits(output_bytes=1000)
    for length, outcome in ((1001, Outcome.COMPLETED), (1002, Outcome.LIMIT_EXCEEDED)):
        body = guests.module(guests.answer("(i32.const 4096)", f"(i32.const {length})"))
        limit = "output" if outcome is Outcome.LIMIT_EXCEEDED else None
        await sandbox.ends(body, outcome, limit, limits=limits)
