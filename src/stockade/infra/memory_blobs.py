"""Blobs in this process's memory: for tests and throw-away runs; nothing survives it."""

from stockade.core.digests import check_digest, digest_of
from stockade.infra.blob_failures import blob_corrupt


class MemoryBlobStore:
    """The `BlobStore` port in a dictionary."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    async def put(self, content: bytes) -> str:
        """Stores the bytes and returns their digest."""
        digest = digest_of(content)
        self._blobs[digest] = content
        return digest

    async def get(self, digest: str) -> bytes | None:
        """The bytes, their digest checked anew, or None."""
        content = self._blobs.get(check_digest(digest))
        if content is not None and digest_of(content) != digest:
            raise blob_corrupt(digest)
        return content
