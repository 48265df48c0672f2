"""Where pushed content is kept, and how much of it there may be."""

from dataclasses import dataclass

from stockade.core.blobs import BlobStore
from stockade.core.oci import OciBlob, OciBounds, OciRepository, OciUpload
from stockade.core.oci_store import OciStore


@dataclass(frozen=True, slots=True)
class OciContent:
    """The rows, the bytes, and the bytes of uploads under way; nothing else is in those stores."""

    store: OciStore
    blobs: BlobStore
    staging: BlobStore
    bounds: OciBounds

    async def is_stored(self, stored: str) -> bool:
        """Whether there are bytes of this name."""
        return await self.blobs.size_bytes(stored) is not None

    async def add_blob(
        self, repository: OciRepository, blob: OciBlob, upload: OciUpload | None = None
    ) -> None:
        """Adds a blob whose bytes are stored, which may end an upload."""
        await self.store.add_blob(repository, blob, self.bounds, self.is_stored, upload)
        if upload is not None:
            await self.discard(upload)

    async def discard(self, upload: OciUpload) -> None:
        """Deletes what was staged of an upload that is forgotten."""
        for chunk in upload.chunks:
            await self.staging.delete(chunk.stored)
