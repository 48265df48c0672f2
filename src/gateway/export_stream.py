"""Large answers: they go on as long as their caller may read them, and of so many at once.

An answer takes as long as its reader is slow, and each one holds a page or a body. So there are
places for them, and whoever may not read any more does not get to the end: the answer breaks off.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.listeners import Listeners
from gateway.routes.context import Context, context_of
from stockade.core.actions import Action
from stockade.core.errors import StockadeError

LINES = "application/x-ndjson"
MOST_EXPORTS = 32
_PIECE_BYTES = 64 * 1024
CHECK_SECONDS = 2.0
"""How often it is asked anew whether the caller may read."""
TOO_MANY_EXPORTS = StockadeError(
    "export.too_many",
    "As many exports are under way here as may. Try again when some are done.",
    retryable=True,
)
Check = Callable[[], Awaitable[None]]


class ExportStream(StreamingResponse):
    """Sends pages of lines, or what else comes in pieces.

    Args:
        pages: What to send.
        places: Where a place is taken for as long as it goes on.
        tenant: Whose export it is.
        check: Whether the caller may still read.
        media_type: What it is.
    """

    def __init__(
        self,
        pages: AsyncIterator[bytes],
        places: Listeners,
        tenant: str,
        check: Check,
        media_type: str = LINES,
    ) -> None:
        super().__init__(_checked(pages, check), media_type=media_type)
        self._places = places
        self._tenant = tenant

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it all.

        Raises:
            StockadeError: `export.too_many`, before anything was sent; whatever `check`
                refuses with.
        """
        with self._places.listening(self._tenant):
            await super().__call__(scope, receive, send)


class BodyStream(ExportStream):
    """Sends one body, a piece at a time, as it is read."""

    def __init__(
        self, body: bytes, places: Listeners, tenant: str, check: Check, media_type: str
    ) -> None:
        super().__init__(_pieces(body), places, tenant, check, media_type)
        self.headers["content-length"] = str(len(body))


def may_still(request: Request, action: Action, function: str | None = None) -> Check:
    """Asks whether the request's key may still do this: keys end, and policies change."""
    context: Context = context_of(request)

    async def check() -> None:
        caller = await context.authenticator.authenticate(request)
        context.authorizer.check(caller, action, function)

    return check


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(body), _PIECE_BYTES):
        yield body[begin : begin + _PIECE_BYTES]


async def _checked(pages: AsyncIterator[bytes], check: Check) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    check_at = loop.time() + CHECK_SECONDS
    async for page in pages:
        if loop.time() >= check_at:
            await check()
            check_at = loop.time() + CHECK_SECONDS
        yield page
