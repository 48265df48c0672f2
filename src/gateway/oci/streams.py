"""Bodies that go to a store as they come, and what is checked on the way.

Each function here passes on what it is given, and raises instead of ending where something is
wrong: then the store keeps nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from starlette.requests import ClientDisconnect, Request

from gateway.bodies import check_encoding
from stockade.core.blobs import BlobStore
from stockade.core.errors import StockadeError
from stockade.core.oci import OciChunk, check_content, hash_for

IDLE_SECONDS = 30.0
"""How long a sender may send nothing."""
TOTAL_SECONDS = 3600.0
"""How long one body may take."""
STAGED_PREFIX_BYTES = 36
"""A staged chunk begins with an id, so that no two are the same bytes: each is deleted alone."""
_TENANTS_MOST = 16


class StreamTurns:
    """How many bodies of one tenant may be under way: none keeps all connections busy."""

    def __init__(self, most: int = _TENANTS_MOST) -> None:
        self._most = most
        self._under_way: dict[str, int] = {}

    @contextmanager
    def turn(self, tenant: str) -> Iterator[None]:
        """Counts one more inside.

        Raises:
            StockadeError: `oci.busy`.
        """
        count = self._under_way.get(tenant, 0)
        if count >= self._most:
            raise StockadeError(
                "oci.busy",
                f"{count} blobs of this tenant are on their way. Try again when some are done.",
                retryable=True,
            )
        self._under_way[tenant] = count + 1
        try:
            yield
        finally:
            self._under_way[tenant] -= 1
            if not self._under_way[tenant]:
                del self._under_way[tenant]


async def body_of(request: Request, size_bytes: int | None) -> AsyncIterator[bytes]:
    """The body as it comes, which must have this many bytes when that is known.

    Raises:
        StockadeError: `request.encoding_unsupported`, `request.incomplete`, `request.timeout`,
            `oci.size_invalid`.
    """
    check_encoding(request)
    seen = 0
    async for piece in _pieces(request):
        seen += len(piece)
        if size_bytes is not None and seen > size_bytes:
            break
        yield piece
    if size_bytes is not None and seen != size_bytes:
        raise StockadeError(
            "oci.size_invalid", "The body has not as many bytes as the headers say. Send it again."
        )


async def checked_for(digest: str, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces, which together must have this digest.

    Raises:
        StockadeError: `oci.digest_mismatch`.
    """
    running = hash_for(digest)
    async for piece in pieces:
        running.update(piece)
        yield piece
    check_content(digest, running)


async def staged_as(chunk_id: str, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces behind an id, which makes them unlike all others."""
    yield chunk_id.encode().ljust(STAGED_PREFIX_BYTES)
    async for piece in pieces:
        yield piece


async def staged_then(
    staging: BlobStore, chunks: tuple[OciChunk, ...], rest: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """What was staged, in order, and then the rest."""
    for chunk in chunks:
        async for piece in _content_of(staging, chunk):
            yield piece
    async for piece in rest:
        yield piece


async def _content_of(staging: BlobStore, chunk: OciChunk) -> AsyncIterator[bytes]:
    skipped = 0
    async for piece in staging.read(chunk.stored):
        part = piece[max(0, STAGED_PREFIX_BYTES - skipped) :]
        skipped += len(piece)
        if part:
            yield part


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    end = loop.time() + TOTAL_SECONDS
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout_at(min(end, loop.time() + IDLE_SECONDS)):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except ClientDisconnect:
            raise StockadeError(
                "request.incomplete", "The body ended early. Send it again."
            ) from None
        except TimeoutError:
            raise StockadeError(
                "request.timeout", "The body came too slowly. Send it again.", retryable=True
            ) from None
        if piece:
            yield piece
