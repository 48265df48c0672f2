"""Deletes the audit log's entries when they are older than the operator keeps them.

Only from the old end, a bounded number at once, and the signed head says where the log begins now.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import structlog

from stockade.core.audit import AuditLog
from stockade.core.errors import StockadeError
from stockade.core.ports import Clock

PRUNE_SECONDS = 3600.0
_AT_ONCE = 1000
_DAY_MS = 24 * 3600 * 1000

_log = structlog.get_logger()


@asynccontextmanager
async def pruning(log: AuditLog, clock: Clock, retention_days: int) -> AsyncIterator[None]:
    """Old entries go inside; none do when they are kept for ever (0 days)."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_prune_again_and_again(log, clock, retention_days))
        try:
            yield
        finally:
            task.cancel()


async def prune(log: AuditLog, clock: Clock, retention_days: int) -> int:
    """Deletes what is too old in all chains; how many. A broken chain is left as it is."""
    if not retention_days:
        return 0
    count = 0
    before_ms = clock.now_ms() - retention_days * _DAY_MS
    for chain in await log.chains():
        try:
            count += await _prune_chain(log, clock, chain, before_ms)
        except StockadeError as error:
            _log.error("audit_prune_failed", code=error.code, chain=chain)
    return count


async def _prune_chain(log: AuditLog, clock: Clock, chain: str, before_ms: int) -> int:
    count = 0
    while deleted := await log.prune(chain, before_ms, _AT_ONCE, clock.now_ms()):
        count += deleted
    return count


async def _prune_again_and_again(log: AuditLog, clock: Clock, retention_days: int) -> NoReturn:
    while True:
        try:
            count = await prune(log, clock, retention_days)
        except StockadeError as error:
            _log.error("audit_prune_failed", code=error.code)
        else:
            if count:
                _log.info("audit_pruned", count=count)
        await asyncio.sleep(PRUNE_SECONDS)
