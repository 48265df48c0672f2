"""Old audit entries are deleted, whatever becomes of one chain."""

import asyncio
from collections.abc import Sequence

from structlog.testing import capture_logs

from gateway.audit_retention import prune, pruning
from gateway.audit_trail import AuditTrail, flushing
from gateway.metrics import GatewayMetrics
from gateway.trace import new_trace
from stockade.core.audit import PLATFORM
from stockade.core.errors import StockadeError
from stockade.infra.memory.memory_audit import MemoryAuditLog
from stockade.infra.system_clock import SystemClock
from tests.unit.stockade.core.audit_chains import SIGNER, facts

DAY_MS = 24 * 3600 * 1000


class WatchedLog(MemoryAuditLog):
    """Tells when something was pruned or written, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__(SIGNER)
        self.pruned, self.written = asyncio.Event(), asyncio.Event()
        self.gone = False

    async def chains(self) -> Sequence[str]:
        if self.gone:
            self.pruned.set()
            raise StockadeError("catalog.unavailable", "Gone.", retryable=True)
        return await super().chains()

    async def prune(self, chain: str, before_ms: int, most: int, now_ms: int) -> int:
        count = await super().prune(chain, before_ms, most, now_ms)
        self.pruned.set()
        return count

    async def append(self, entries: Sequence[object]) -> None:  # type: ignore[override]
        await super().append(entries)  # type: ignore[arg-type]
        self.written.set()


async def filled() -> WatchedLog:
    log, now_ms = WatchedLog(), SystemClock().now_ms()
    ages = [9 * DAY_MS] * 2500 + [DAY_MS]
    for chain in ("acme", "rival"):
        await log.append([(chain, facts(time_ms=now_ms - age)) for age in ages])
    return log


async def test_what_is_too_old_goes_and_the_rest_stays() -> None:
    log = await filled()
    assert await prune(log, SystemClock(), 0) == 0
    assert await prune(log, SystemClock(), 10) == 0
    assert await prune(log, SystemClock(), 5) == 5000
    left = await log.walk("acme", 0, 10)
    assert [entry.facts.kind for entry in left] == ["done", "pruned", "pruned", "pruned"]


async def test_a_broken_chain_stays_and_the_others_are_pruned() -> None:
    log = await filled()
    del log._entries["acme"][-1]
    with capture_logs() as logged:
        assert await prune(log, SystemClock(), 5) == 2500
    assert [(line["event"], line["chain"]) for line in logged] == [("audit_prune_failed", "acme")]
    assert len(log._entries["acme"]) == 2500


async def test_the_gateway_prunes_while_it_serves() -> None:
    log = await filled()
    async with pruning(log, SystemClock(), 5):
        await log.pruned.wait()
    log.gone = True
    log.pruned.clear()
    with capture_logs() as logged:
        async with pruning(log, SystemClock(), 5):
            await log.pruned.wait()
    assert logged[0]["event"] == "audit_prune_failed"


async def test_refusals_are_written_while_the_gateway_serves_and_at_its_end() -> None:
    log = WatchedLog()
    trail = AuditTrail(log, SystemClock(), GatewayMetrics(), "")
    scope = {"type": "http", "method": "GET", "path": "/v1/keys", "headers": [], "client": None}

    async def refuse() -> None:
        trace = new_trace(scope, "fresh")
        trace.error = StockadeError("auth.key_invalid", "No.")
        await trail.end(trace, 401)

    async with flushing(trail):
        await refuse()
        await log.written.wait()
        for _ in range(20):
            await refuse()
    kinds = [entry.facts.kind for entry in await log.walk(PLATFORM, 0, 100)]
    assert kinds == ["refused"] * 10 + ["suppressed"]
