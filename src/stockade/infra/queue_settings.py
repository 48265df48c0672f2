"""What an operator may set about the queue; every adapter obeys the same settings."""

from dataclasses import dataclass

from stockade.core.shedding import DEFAULT_SHEDDING, Shedding

HOUR_MS = 3_600_000
KEPT_INPUT_BYTES = 1024
"""An inline input no longer than this stays with its record, so that the run can be replayed."""


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Bounds and times of the queue.

    Args:
        partitions: Into how many tenants are divided; bounds of all tenants are divided by it.
        lease_ms: A claim not renewed for so long is taken over by another worker.
        retention_ms: How long a record stays readable after its invocation is done.
        idempotency_ms: How long an idempotency key names the first invocation.
        max_deaths: An invocation whose worker or executor died so often is not tried again.
        backlog_limit: How many invocations of one tenant may wait (for their turn, their time or a
            retry).
        window_floor: At least so many are kept ready or in flight, however few workers there are.
        worker_ttl_ms: A worker that did not tick for so long no longer counts towards the window.
        waiters_limit: How many submissions one gateway keeps waiting places for.
        full_retry_ms: When a tenant whose backlog is full is asked to try again.
        shedding: What is refused when too much of all tenants' work waits.
        shedding_retry_ms: When those are asked to try again whose work was refused so.
    """

    partitions: int = 1
    lease_ms: int = 15_000
    retention_ms: int = 7 * 24 * HOUR_MS
    idempotency_ms: int = 24 * HOUR_MS
    max_deaths: int = 3
    backlog_limit: int = 100_000
    window_floor: int = 8
    worker_ttl_ms: int = 30_000
    waiters_limit: int = 10_000
    full_retry_ms: int = 5_000
    shedding: Shedding = DEFAULT_SHEDDING
    shedding_retry_ms: int = 2_000

    @property
    def retention_seconds(self) -> float:
        """How long a record stays readable after its invocation is done."""
        return self.retention_ms / 1000

    @property
    def common(self) -> tuple[int, int, int]:
        """What every script gets: retention, deaths until quarantine, smallest window."""
        return self.retention_ms, self.max_deaths, self.window_floor
