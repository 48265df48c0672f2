"""What an attempt says, told to those who listen while it runs.

Told in the background, in the order in which it was said, and redacted line by line as the record
is: what comes in one go never ends within a line. A queue that is away or slow costs the run
nothing: what waits for it is bounded, and what is dropped leaves a gap in the numbers. The record
has all of it in the end.
"""

import asyncio

import structlog

from sandbox_worker.broker import HostCallsOfRun
from sandbox_worker.guest.frames import Told
from stockade.core.errors import StockadeError, code_of
from stockade.core.invocations import Claim
from stockade.core.live_events import LiveEvents, Spoken
from stockade.core.outcomes import Event, LogLine, RunResult

_log = structlog.get_logger()
MOST_WAITING_BYTES = 256 * 1024
_REST_SECONDS = 1.0
"""How long the end of an attempt that is tried again waits for its last words to be told."""


class LiveLog:
    """One attempt's voice.

    Args:
        live: Where it is told.
        claim: The attempt's.
        calls: The run's host calls: they hear the guest, and know the secrets that it was given.
    """

    def __init__(self, live: LiveEvents, claim: Claim, calls: HostCallsOfRun) -> None:
        self._live = live
        self._claim = claim
        self._calls = calls
        self._knows_secrets = False
        calls.listener = self.hear
        self._logs = self._events = 0
        self._waiting: list[Spoken] = []
        self._waiting_bytes = 0
        self._telling: asyncio.Task[None] | None = None

    def hear(self, told: Told) -> None:
        """Takes what the guest has said since the last time."""
        self._take(told.logs, told.events)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.ensure_future(self._tell())

    async def finish(self, result: RunResult, *, is_last: bool) -> None:
        """Ends the telling. What is left to say is told unless the record is about to have it."""
        if is_last:
            await self._stop()
            return
        self._take(
            result.logs[self._logs :],
            result.events[self._events :],
            logs_cut=result.logs_truncated,
            events_cut=result.events_truncated,
        )
        try:
            async with asyncio.timeout(_REST_SECONDS):
                if self._telling is not None:
                    await self._telling
                await self._tell()
        except TimeoutError:
            await self._stop()

    async def _stop(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)

    def _take(
        self,
        logs: tuple[LogLine, ...],
        events: tuple[Event, ...],
        *,
        logs_cut: bool = False,
        events_cut: bool = False,
    ) -> None:
        if logs or events or logs_cut or events_cut:
            first = self._logs, self._events
            spoken = Spoken(self._claim.attempt, logs, events, *first, logs_cut, events_cut)
            self._waiting.append(spoken)
            self._waiting_bytes += _size(spoken)
        self._logs += len(logs)
        self._events += len(events)
        while self._waiting_bytes > MOST_WAITING_BYTES:
            self._waiting_bytes -= _size(self._waiting.pop(0))

    async def _tell(self) -> None:
        while self._waiting:
            spoken = self._waiting.pop(0)
            self._waiting_bytes -= _size(spoken)
            try:
                held = await self._live.tell(self._claim, await self._redacted(spoken))
            except (StockadeError, RuntimeError) as error:
                # Also when the server refuses it as wrong: no run ends by what is told of it.
                _log.warning("live_log_dropped", code=code_of(error), lines=len(spoken.logs))
            else:
                if not held:
                    self._waiting.clear()
                    self._waiting_bytes = 0

    async def _redacted(self, spoken: Spoken) -> Spoken:
        # A guest may say a secret that it got in an earlier run, before it asks in this one.
        if not self._knows_secrets:
            await self._calls.know_secrets()
            self._knows_secrets = True
        return self._calls.redaction.of_spoken(spoken)


def _size(spoken: Spoken) -> int:
    """About how much of the memory it takes, in bytes."""
    lines = sum(64 + len(line.text) for line in spoken.logs)
    return lines + sum(64 + len(event.name) + len(event.data) for event in spoken.events)
