"""Blobs in this process's memory: for tests and throw-away runs; nothing survives it."""

from collections.abc import AsyncIterator

from stockade.core.digests import check_digest, digest_of
from stockade.core.ports import Clock
from stockade.infra.blobs.blob_failures import blob_corrupt, blob_missing
from stockade.infra.blobs.blob_streams import PIECE_BYTES, bounded, check_range
from stockade.infra.system_clock import SystemClock


class MemoryBlobStore:
    """The `BlobStore` port in a dictionary.

    Args:
        clock: Says when a blob was stored.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._blobs: dict[str, bytes] = {}
        self._stored_ms: dict[str, int] = {}

    async def put(self, content: bytes) -> str:
        """Stores the bytes and returns their digest."""
        digest = digest_of(content)
        self._blobs[digest] = content
        self._stored_ms[digest] = self._clock.now_ms()
        return digest

    async def put_stream(self, chunks: AsyncIterator[bytes], max_bytes: int) -> tuple[str, int]:
        """Stores the bytes as they come; their digest and how many they are."""
        content = b"".join([piece async for piece in bounded(chunks, max_bytes)])
        return await self.put(content), len(content)

    async def get(self, digest: str) -> bytes | None:
        """The bytes, their digest checked anew, or None."""
        content = self._blobs.get(check_digest(digest))
        if content is not None and digest_of(content) != digest:
            raise blob_corrupt(digest)
        return content

    async def size_bytes(self, digest: str) -> int | None:
        """How many bytes are stored under the digest, or None."""
        content = self._blobs.get(check_digest(digest))
        return None if content is None else len(content)

    async def read(
        self, digest: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes of a range in chunks, the whole's digest checked first."""
        check_range(start, end)
        content = await self.get(digest)
        if content is None:
            raise blob_missing(digest)
        part = content[start:end]
        for at in range(0, len(part), PIECE_BYTES):
            yield part[at : at + PIECE_BYTES]

    async def delete(self, digest: str) -> bool:
        """Deletes the blob; False when there was none."""
        self._stored_ms.pop(check_digest(digest), None)
        return self._blobs.pop(digest, None) is not None

    async def digests(self) -> AsyncIterator[tuple[str, int]]:
        """Each digest with when it was last stored."""
        for one in tuple(self._stored_ms.items()):
            yield one

    async def clear_abandoned(self) -> int:
        """Nothing is ever left aside here."""
        return 0
