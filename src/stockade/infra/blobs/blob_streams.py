"""Streams of a blob's bytes: bounded on the way in, checked on the way out."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

from stockade.infra.blobs.blob_failures import blob_corrupt, blob_too_large

PIECE_BYTES = 1024 * 1024
"""What is written or read in one step."""


async def bounded(chunks: AsyncIterator[bytes], max_bytes: int) -> AsyncIterator[bytes]:
    """The bytes in pieces of about `PIECE_BYTES`, however small they come.

    Raises:
        StockadeError: `blobs.too_large`.
    """
    taken_bytes, piece = 0, bytearray()
    async for chunk in chunks:
        taken_bytes += len(chunk)
        if taken_bytes > max_bytes:
            raise blob_too_large(max_bytes)
        piece += chunk
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece = bytearray()
    if piece:
        yield bytes(piece)


async def checked(digest: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks of a whole blob; the last is held back until all are known to be right.

    Raises:
        StockadeError: `blobs.corrupt`.
    """
    hashing, held = hashlib.sha256(), b""
    async for chunk in chunks:
        await asyncio.to_thread(hashing.update, chunk)
        if held:
            yield held
        held = chunk
    if "sha256:" + hashing.hexdigest() != digest:
        raise blob_corrupt(digest)
    if held:
        yield held


async def check_whole(digest: str, chunks: AsyncIterator[bytes]) -> None:
    """Reads a whole blob for its digest alone.

    Raises:
        StockadeError: `blobs.corrupt`.
    """
    async for _ in checked(digest, chunks):
        pass


def check_range(start: int, end: int | None) -> None:
    """Refuses what is no range: our own mistake, callers check theirs."""
    if start < 0 or (end is not None and end < start):
        raise RuntimeError(f"no range of bytes: {start} to {end}")
