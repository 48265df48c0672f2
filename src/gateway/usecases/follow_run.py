"""Follows an invocation to its end, for one listener."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from itertools import chain

from gateway.run_events import RunEvent, RunTeller
from gateway.services import Services
from gateway.usecases.invoke_function import find_record
from stockade.core.errors import StockadeError
from stockade.core.invocations import InvocationRecord
from stockade.core.live_events import Heard, ListenerPlace, Spoken

ROUND_SECONDS = 1.0
"""How often the record is looked at when nothing says that it changed."""
CHECK_SECONDS = 2.0
"""How often it is asked anew whether the listener may listen."""
_AWAY_SECONDS = 30.0
_PAUSE_SECONDS = 0.5
Check = Callable[[], Awaitable[None]]


async def follow_run(
    services: Services,
    record: InvocationRecord,
    place: ListenerPlace | None,
    check: Check,
) -> AsyncIterator[Iterable[RunEvent]]:
    """What is to be told, a round at a time; a round may bring nothing. Ends with the invocation.

    A queue that is away for a while is waited for.

    Raises:
        StockadeError: Whatever `check` refuses with; `queue.unavailable`.
    """
    loop, teller = asyncio.get_running_loop(), RunTeller(place)
    following = _Following(services, record.tenant, record.id)
    check_at, away_since = loop.time() + CHECK_SECONDS, None
    while not teller.done:
        if loop.time() >= check_at:
            await check()
            check_at = loop.time() + CHECK_SECONDS
        try:
            yield teller.advance(*await following.look())
            if not teller.done:
                await following.wait()
            away_since = None
        except StockadeError as error:
            away_since = away_since or loop.time()
            if not error.retryable or loop.time() - away_since > _AWAY_SECONDS:
                raise
            yield ()
            await asyncio.sleep(_PAUSE_SECONDS)


async def all_that_was_said(services: Services, record: InvocationRecord) -> Iterator[RunEvent]:
    """What a listener would be told by now, of all attempts that something is kept of."""
    heard = await _Following(services, record.tenant, record.id).hear()
    teller = RunTeller()
    return chain(teller.advance(record, heard), teller.advance(record, ()))


class _Following:
    """The invocation's record and voice, read behind each other."""

    def __init__(self, services: Services, tenant: str, invocation_id: str) -> None:
        self._services = services
        self._of = tenant, invocation_id
        self._listens = False
        self._heard = Heard("")
        self._waiting: list[Spoken] = []

    async def look(self) -> tuple[InvocationRecord, list[Spoken]]:
        """The record now, and what was said since the last look.

        The record is read first: what an attempt said that it tells as ended is there by then.
        """
        if not self._listens:
            await self._services.live.listen(*self._of)
            self._listens = True
        record = await find_record(self._services, *self._of)
        return record, await self.hear()

    async def hear(self) -> list[Spoken]:
        """What was said since the last time."""
        while await self._hear(0):
            pass
        spoken, self._waiting = self._waiting, []
        return spoken

    async def wait(self) -> None:
        """Waits until more was said, or the record changed, for a round at most."""
        await self._hear(ROUND_SECONDS)

    async def _hear(self, timeout_seconds: float) -> bool:
        before = self._heard.place
        self._heard = await self._services.live.read(*self._of, before, timeout_seconds)
        self._waiting += self._heard.spoken
        return self._heard.place != before
