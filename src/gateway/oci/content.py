"""Where pushed content is kept, and how much of it there may be."""

import asyncio
from dataclasses import dataclass, field, replace

from registry.oci_manifest import Manifest, read_manifest
from stockade.core.blobs import BlobStore
from stockade.core.errors import StockadeError
from stockade.core.module_store import StoragePolicy
from stockade.core.module_turns import ModuleTurns
from stockade.core.oci import (
    OciBlob,
    OciBounds,
    OciManifest,
    OciRepository,
    OciUpload,
    check_reference,
)
from stockade.core.oci_store import OciStore

_MOST_WAITING = 64


@dataclass(frozen=True, slots=True)
class OciContent:
    """The rows, the bytes, and the bytes of uploads under way; nothing else is in those stores."""

    store: OciStore
    blobs: BlobStore
    staging: BlobStore
    bounds: OciBounds
    quotas: StoragePolicy
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    turns: ModuleTurns = field(default_factory=lambda: ModuleTurns(_MOST_WAITING))

    def bounds_of(self, tenant: str) -> OciBounds:
        """How much this tenant may have."""
        return replace(self.bounds, tenant_bytes=self.quotas.quota(tenant).oci_bytes)

    async def is_stored(self, stored: str) -> bool:
        """Whether there are bytes of this name."""
        return await self.blobs.size_bytes(stored) is not None

    async def add_blob(
        self, repository: OciRepository, blob: OciBlob, upload: OciUpload | None = None
    ) -> None:
        """Adds a blob whose bytes are stored, which may end an upload."""
        await self.store.add_blob(
            repository, blob, self.bounds_of(repository.tenant), self.is_stored, upload
        )
        if upload is not None:
            await self.discard(upload)

    async def discard(self, upload: OciUpload) -> None:
        """Deletes what was staged of an upload that is forgotten."""
        for chunk in upload.chunks:
            await self.staging.delete(chunk.stored)

    async def manifest(self, repository: OciRepository, reference: str) -> OciManifest:
        """The manifest of this tag or digest.

        Raises:
            StockadeError: `oci.manifest_unknown`, `oci.tag_invalid` or `oci.digest_invalid`.
        """
        manifest = await self.store.manifest(repository, check_reference(reference))
        if manifest is None:
            raise no_manifest(reference)
        return manifest

    async def manifest_bytes(self, manifest: OciManifest) -> bytes:
        """The manifest's bytes, checked.

        Raises:
            StockadeError: `oci.content_lost`, or `blobs.…`.
        """
        body = await self.blobs.get(manifest.stored)
        if body is None:
            raise content_lost(manifest.digest)
        return body

    async def read_manifest(self, tenant: str, manifest: OciManifest) -> Manifest:
        """What the manifest says.

        Raises:
            StockadeError: as `manifest_bytes`, and `module.compiler_busy`.
        """
        async with self.turns.turn(tenant), self.reading:
            body = await self.manifest_bytes(manifest)
            return await asyncio.to_thread(read_manifest, body, manifest.media_type)

    async def parse(self, tenant: str, body: bytes, media_type: str) -> Manifest:
        """What a manifest says, read apart from whoever serves requests.

        One at a time: a hostile one may take twenty times its size while it is read. A tenant's
        others wait behind its own, not before those of the rest.

        Raises:
            StockadeError: `oci.manifest_invalid`, `module.compiler_busy`.
        """
        async with self.turns.turn(tenant), self.reading:
            return await asyncio.to_thread(read_manifest, body, media_type)

    async def check_manifest(self, manifest: OciManifest) -> None:
        """Passes when the manifest's bytes are there and whole; takes no room for them.

        Raises:
            StockadeError: as `manifest_bytes`.
        """
        try:
            async for _ in self.blobs.read(manifest.stored):
                pass
        except StockadeError as error:
            if error.code == "blobs.missing":
                raise content_lost(manifest.digest) from error
            raise


def no_manifest(reference: str) -> StockadeError:
    """The refusal of a manifest or a tag that is not in the repository."""
    return StockadeError(
        "oci.manifest_unknown", f"There is no manifest {reference} in this repository."
    )


def content_lost(digest: str) -> StockadeError:
    """The failure to find bytes that must be there."""
    return StockadeError(
        "oci.content_lost", f"The stored content of {digest} is lost; push it again."
    )
