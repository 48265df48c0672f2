"""Reads a request's body line by line, a bounded group at a time, however long the lines are."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from gateway.bodies import BODY_SECONDS
from gateway.body_room import Take
from gateway.usecases.submit_batch import MAX_LINES, Line
from stockade.core.errors import StockadeError

_GROUP_LINES = 128
_GROUP_BYTES = 1024 * 1024


class LineReader:
    """One body's lines. A line that is too long is passed over and told as one; so is its number.

    Args:
        request: Whose body it is; it must not be compressed.
        max_line_bytes: What one line may have.
    """

    def __init__(self, request: Request, max_line_bytes: int) -> None:
        self._chunks = request.stream()
        self._max_line_bytes = max_line_bytes
        self._rest = bytearray()
        self._number = 0
        self._too_long = False
        self._ended = False

    async def group(self, take: Take) -> list[Line]:
        """The next lines, none when there are no more; `take` finds room for what is read.

        Raises:
            StockadeError: `batch.too_many_lines`, `request.incomplete`, `request.timeout`; and what
                `take` raises.
        """
        take(len(self._rest))
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._group(take)
        except ClientDisconnect:
            raise StockadeError(
                "request.incomplete", "The body ended early. Send it again."
            ) from None
        except TimeoutError:
            raise StockadeError(
                "request.timeout",
                f"No whole line came within {BODY_SECONDS:g} seconds. Send it again.",
                retryable=True,
            ) from None

    async def _group(self, take: Take) -> list[Line]:
        lines: list[Line] = []
        size = 0
        while len(lines) < _GROUP_LINES and size < _GROUP_BYTES:
            line = self._cut()
            if line is not None:
                size += len(line.body or b"")
                lines.append(line)
            elif lines or self._ended:
                # What is whole goes on its way before more is waited for.
                break
            elif self._number >= MAX_LINES:
                await self._refuse_more(take)
            else:
                await self._read(take)
        return lines

    async def _refuse_more(self, take: Take) -> None:
        if not self._rest:
            await self._read(take)
        if self._rest:
            raise StockadeError(
                "batch.too_many_lines",
                f"A batch has at most {MAX_LINES} lines; those after them were not taken. Send them"
                " in another batch.",
            )

    def _cut(self) -> Line | None:
        """The first line of what was read, if it is whole or the last."""
        if self._number >= MAX_LINES:
            return None
        end = self._rest.find(b"\n")
        if end < 0 and not (self._ended and (self._rest or self._too_long)):
            self._bound_rest()
            return None
        body = bytes(self._rest[:end] if end >= 0 else self._rest).removesuffix(b"\r")
        del self._rest[: end + 1 if end >= 0 else len(self._rest)]
        self._number += 1
        too_long, self._too_long = self._too_long or len(body) > self._max_line_bytes, False
        return Line(self._number, None if too_long else body)

    def _bound_rest(self) -> None:
        if len(self._rest) > self._max_line_bytes:
            self._too_long = True
            self._rest.clear()

    async def _read(self, take: Take) -> None:
        chunk = await anext(self._chunks, b"")
        if not chunk:
            self._ended = True
        take(len(chunk))
        self._rest += chunk
