"""Blobs: immutable bytes under their digest, and what a store of them promises.

Every method may raise `StockadeError` with code `blobs.unavailable` (retryable) when the store
cannot be reached, and `blobs.full` when there is no room.
"""

from collections.abc import AsyncIterator
from typing import Protocol


class BlobStore(Protocol):
    """Immutable bytes under their digest (`stockade.core.digests`).

    A digest that is none is refused as `module.digest_invalid`. Whoever puts bytes and is killed
    half-way leaves nothing under any digest.
    """

    async def put(self, content: bytes) -> str:
        """Stores the bytes durably (written aside, fsynced, renamed) and returns their digest.

        Bytes that are there already count as stored now; a damaged copy is replaced.
        """

    async def put_stream(self, chunks: AsyncIterator[bytes], max_bytes: int) -> tuple[str, int]:
        """Likewise as the bytes come, hashed on the way; their digest and how many they are.

        What `chunks` raises ends it, and nothing is stored.

        Raises:
            StockadeError: `blobs.too_large` as soon as they pass the bound.
        """

    async def get(self, digest: str) -> bytes | None:
        """The bytes, their digest checked anew, or None.

        Raises:
            StockadeError: `blobs.corrupt` when the stored bytes do not match their name.
        """

    async def size_bytes(self, digest: str) -> int | None:
        """How many bytes are stored under the digest, or None."""

    def read(self, digest: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end` (not included; None: to the last) in chunks.

        What lies behind the last byte is left out. The digest is checked: of a whole blob as it
        streams, the last chunk coming only when all are right; for a part, the whole is read first.

        Raises:
            StockadeError: `blobs.missing`, or `blobs.corrupt`.
        """

    async def delete(self, digest: str) -> bool:
        """Deletes the blob, damaged or not; False when there was none."""

    def digests(self) -> AsyncIterator[tuple[str, int]]:
        """Each digest with when it was last stored, in Unix milliseconds by the store's clock.

        Blobs that come or go meanwhile may be told or not; the others are told once.
        """

    async def clear_abandoned(self) -> int:
        """Removes what killed writers left aside, once nobody can be writing it; how many."""
