"""An answer that goes on: server-sent events, as the HTML standard has them.

The data are JSON in printable ASCII on one line, so that nothing within them ends a line, however
a client splits lines. Events are made as they are sent, so that a client that reads slowly holds
little; one that does not read at all is cut off (`http_protocol`). A client that leaves ends it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.listeners import Listeners
from gateway.run_events import RunEvent
from gateway.waiters import Waiters
from stockade.core.errors import StockadeError

BEAT_SECONDS = 15.0
_CHUNK_BYTES = 16 * 1024
_BEAT = b": beat\n\n"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
Rounds = AsyncIterator[Iterable[RunEvent]]


class EventStream(Response):
    """Tells events, round by round, as long as there are rounds.

    Args:
        rounds: What to tell; a round that brings nothing may bring a beat.
        listeners: Where a place is taken for as long as it goes on.
        waiters: Who ends it when the gateway stops.
        tenant: Whose listener it is.
    """

    media_type = "text/event-stream"

    def __init__(self, rounds: Rounds, listeners: Listeners, waiters: Waiters, tenant: str) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._rounds = rounds
        self._listeners = listeners
        self._waiters = waiters
        self._tenant = tenant

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it all.

        Raises:
            StockadeError: `events.too_many_listeners`, before anything was sent.
        """
        del scope
        with self._listeners.listening(self._tenant):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            telling = asyncio.ensure_future(self._tell(send))
            leaving = asyncio.ensure_future(_leaving(receive))
            try:
                await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (telling, leaving):
                    task.cancel()
                await asyncio.gather(telling, leaving, return_exceptions=True)
        if not telling.cancelled():
            telling.result()
        await send({"type": "http.response.body", "body": b""})

    async def _tell(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        told_at = loop.time()
        try:
            async with self._waiters.waiting():
                async for events in self._rounds:
                    for chunk in _chunks(events):
                        await _send(send, chunk)
                        told_at = loop.time()
                    if loop.time() - told_at >= BEAT_SECONDS:
                        await _send(send, _BEAT)
                        told_at = loop.time()
        except TimeoutError:
            return  # The gateway stops; another one goes on from the last place.
        except StockadeError as error:
            facts = {"code": error.code, "detail": error.message, "retryable": error.retryable}
            await _send(send, frame_of(RunEvent("error", facts)))


def frame_of(event: RunEvent) -> bytes:
    """One event as it is sent."""
    place = f"id: {event.place}\n" if event.place else ""
    return f"event: {event.kind}\n{place}data: {json.dumps(event.data)}\n\n".encode("ascii")


def _chunks(events: Iterable[RunEvent]) -> Iterator[bytes]:
    """The events' frames, several in one piece."""
    chunk = bytearray()
    for event in events:
        chunk += frame_of(event)
        if len(chunk) >= _CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
    # Others get their turn, however much there is to tell.
    await asyncio.sleep(0)


async def _leaving(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
