"""However many are refused, what is kept of them is bounded and what is counted is exact."""

from gateway.audit_trail import AuditTrail
from gateway.metrics import GatewayMetrics
from gateway.refusal_window import OF_CHAIN, OF_ONE, WINDOW_MS, RefusalWindow
from gateway.trace import new_trace
from stockade.core.audit import PLATFORM, AuditFacts, EntryKind
from stockade.core.errors import StockadeError
from stockade.infra.memory.memory_audit import MemoryAuditLog
from stockade.infra.system_clock import SystemClock
from tests.unit.stockade.core.audit_chains import SIGNER


def refusal(source: str) -> AuditFacts:
    return AuditFacts(1, EntryKind.REFUSED, code="auth.key_invalid", source=source)


def test_more_sources_than_are_told_apart_are_counted_all_the_same() -> None:
    window, count, taken = RefusalWindow(0), 30_000, 0
    for number in range(count):
        taken += window.takes(PLATFORM, refusal(str(number)))
    assert taken == OF_CHAIN
    assert len(window._suppressed) == 10_000
    counted = window.counted(5)
    assert len(counted) == 21
    assert sum(facts.count for _, facts in counted) == count - taken


def test_chains_have_windows_of_their_own() -> None:
    window = RefusalWindow(0)
    taken = [window.takes(chain, refusal("a")) for chain in ("acme", "rival") for _ in range(20)]
    assert taken.count(True) == 2 * OF_ONE
    assert {(chain, facts.count) for chain, facts in window.counted(5)} == {
        ("acme", 20 - OF_ONE),
        ("rival", 20 - OF_ONE),
    }


def test_a_window_is_over_after_its_time_and_when_the_clock_goes_back() -> None:
    window = RefusalWindow(1_000_000)
    assert not window.is_over(1_000_000 + WINDOW_MS - 1)
    assert window.is_over(1_000_000 + WINDOW_MS)
    assert window.is_over(999_999)
    assert not window.counted(1)


class AbsentLog(MemoryAuditLog):
    """Writes nothing until it is back."""

    back = False

    async def append(self, entries: object) -> None:  # type: ignore[override]
        if not self.back:
            raise StockadeError("catalog.unavailable", "Gone.", retryable=True)
        await super().append(entries)  # type: ignore[arg-type]


async def test_what_cannot_be_written_for_long_is_counted() -> None:
    log = AbsentLog(SIGNER)
    trail = AuditTrail(log, SystemClock(), GatewayMetrics(), "")
    for number in range(60):
        for source in range(100):
            client = (f"10.{number}.0.{source}", 1)
            scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": client}
            trace = new_trace(scope, "fresh")
            trace.error = StockadeError("auth.key_invalid", "No.")
            await trail.end(trace, 401)
        await trail.close()
    assert len(trail._waiting) <= 5_000
    log.back = True
    await trail.close()
    entries = await log.walk(PLATFORM, 0, 100_000)
    assert sum(entry.facts.count for entry in entries) == 6_000
