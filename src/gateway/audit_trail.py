"""Writes the audit log: what begins, how it ended, and what was refused.

An action that changes something does not begin before the log says so: without the log it is
refused. How it ended is written before the answer goes out; when that fails the answer stands, and
the alarm tells. Refusals wait in memory for up to `FLUSH_SECONDS`; they change nothing, so nobody
waits for them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import NoReturn

import structlog

from gateway.metrics import GatewayMetrics
from gateway.refusal_window import RefusalWindow
from gateway.sources import parse_networks
from gateway.trace import Trace
from stockade.core.audit import PLATFORM, AuditFacts, AuditLog, EntryKind
from stockade.core.errors import StockadeError
from stockade.core.ports import Clock

FLUSH_SECONDS = 1.0
_MAX_WAITING = 5_000
_MAX_BATCH = 500
_CREDENTIALS = ("auth.", "oidc.")
_REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}

_log = structlog.get_logger()


class AuditTrail:
    """The one place from which the gateway writes entries."""

    def __init__(
        self, log: AuditLog, clock: Clock, metrics: GatewayMetrics, trusted_proxies: str
    ) -> None:
        self._audit_log = log
        self._clock = clock
        self._metrics = metrics
        self._proxies = parse_networks(trusted_proxies)
        self._window = RefusalWindow(clock.now_ms())
        self._waiting: deque[tuple[str, AuditFacts]] = deque()
        self._flushing = asyncio.Lock()

    async def begin(self, trace: Trace) -> None:
        """Says that the caller's action begins, if it is one that the log tells of; once.

        Raises:
            StockadeError: `audit.unavailable` when it cannot be said: then it must not begin.
        """
        if trace.begun or not trace.changes_something:
            return
        try:
            await self._audit_log.append([self._entry(trace, EntryKind.BEGUN)])
        except StockadeError as error:
            self._alarm("audit_begin_failed", error)
            if error.code == "audit.chain_broken":
                raise
            raise StockadeError(
                "audit.unavailable",
                "The audit log cannot be written, so nothing was done. Try again.",
                retryable=True,
            ) from error
        trace.begun = True

    async def end(self, trace: Trace, status: int) -> None:
        """Says how a request ended, if the log tells of it; once: an answer may break off later."""
        if trace.ended:
            return
        trace.ended = True
        if trace.error is None and status >= HTTPStatus.BAD_REQUEST:
            trace.error = StockadeError(f"http.{status}", "Refused in words of another protocol.")
        done = trace.begun or (trace.changes_something and status < HTTPStatus.BAD_REQUEST)
        if done:
            await self._tell_done(trace)
        elif trace.error is not None and _is_refusal(trace, trace.error, status):
            self._tell_refused(trace)

    async def flush(self) -> None:
        """Writes what waits. What cannot be written waits on, for as long as there is room."""
        async with self._flushing:
            now_ms = self._clock.now_ms()
            if self._window.is_over(now_ms):
                self._queue_counts(now_ms)
            while self._waiting:
                batch = [
                    self._waiting.popleft() for _ in range(min(len(self._waiting), _MAX_BATCH))
                ]
                if not await self._written(batch):
                    break

    async def close(self) -> None:
        """Writes what waits, and what was counted so far."""
        await self.flush()
        self._queue_counts(self._clock.now_ms())
        await self.flush()

    async def _written(self, batch: list[tuple[str, AuditFacts]]) -> bool:
        """Chain by chain: one that somebody broke takes no more, and must not keep the others."""
        left = []
        for chain in sorted({name for name, _ in batch}):
            own = [entry for entry in batch if entry[0] == chain]
            try:
                await self._audit_log.append(own)
            except StockadeError as error:
                self._alarm("audit_refusals_wait", error, count=len(own), chain=chain)
                left += [] if error.code == "audit.chain_broken" else own
        self._waiting.extendleft(reversed(left))
        return not left

    async def _tell_done(self, trace: Trace) -> None:
        entry = self._entry(trace, EntryKind.DONE)
        try:
            await self._audit_log.append([entry])
        except StockadeError as error:
            self._alarm("audit_end_failed", error, action=entry[1].action, done=entry[1].code)

    def _tell_refused(self, trace: Trace) -> None:
        chain, facts = self._entry(trace, EntryKind.REFUSED)
        if not self._window.takes(chain, facts):
            return
        _log.warning(
            "action_refused",
            code=facts.code,
            principal=facts.principal,
            action=facts.action,
            call=facts.call,
            source=facts.source,
        )
        self._queue(chain, facts)

    def _queue(self, chain: str, facts: AuditFacts) -> None:
        if len(self._waiting) >= _MAX_WAITING:
            self._window.suppress(chain, facts)
        else:
            self._waiting.append((chain, facts))

    def _queue_counts(self, now_ms: int) -> None:
        counted, self._window = self._window.counted(now_ms), RefusalWindow(now_ms)
        for chain, facts in counted:
            self._queue(chain, facts)

    def _entry(self, trace: Trace, kind: EntryKind) -> tuple[str, AuditFacts]:
        chain = PLATFORM if trace.caller is None else trace.caller.tenant
        return chain, trace.facts(kind, self._clock.now_ms(), self._proxies)

    def _alarm(self, event: str, error: StockadeError, **facts: object) -> None:
        self._metrics.audit_failed()
        _log.error(event, code=error.code, **facts)


@asynccontextmanager
async def flushing(trail: AuditTrail) -> AsyncIterator[None]:
    """Refusals are written inside, and once more at the end."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_flush_again_and_again(trail))
        try:
            yield
        finally:
            task.cancel()
            await trail.close()


async def _flush_again_and_again(trail: AuditTrail) -> NoReturn:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        await trail.flush()


def _is_refusal(trace: Trace, error: StockadeError, status: int) -> bool:
    """Whether somebody was kept from something; a wrong request for what is free is no refusal."""
    kept = status in _REFUSED or error.code.startswith(_CREDENTIALS)
    return kept or (trace.caller is not None and trace.changes_something)
