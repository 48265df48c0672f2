"""The port to what is known of pushed OCI content; the bytes stand in blob stores."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from stockade.core.oci import OciBlob, OciBounds, OciChunk, OciManifest, OciRepository, OciUpload

Step = Callable[[str], Awaitable[bool]]
"""Something done about bytes that are stored under this name, and whether there were some."""


class OciStore(Protocol):
    """Repositories of tenants: blobs, manifests, tags, uploads. Every step is one transaction.

    Whatever adds something refuses with `oci.quota_exceeded` or `oci.too_many` beyond the bounds.
    A repository is there when something is in it. Reading what is absent gives None.
    """

    async def begin_upload(
        self, repository: OciRepository, upload_id: str, now_ms: int, bounds: OciBounds
    ) -> None:
        """Begins an upload."""

    async def upload(self, repository: OciRepository, upload_id: str) -> OciUpload | None:
        """The upload of this id, of this repository."""

    async def add_chunk(
        self, upload: OciUpload, chunk: OciChunk, now_ms: int, bounds: OciBounds
    ) -> bool:
        """Adds a chunk at the end of an upload; False when that is not its end, or it is gone."""

    async def end_upload(self, upload: OciUpload) -> bool:
        """Forgets an upload; False when it is gone."""

    async def stale_uploads(self, before_ms: int, most: int) -> Sequence[OciUpload]:
        """Uploads of all tenants that nothing was added to since."""

    async def add_blob(
        self,
        repository: OciRepository,
        blob: OciBlob,
        bounds: OciBounds,
        is_stored: Step,
        upload: OciUpload | None = None,
    ) -> None:
        """Adds a blob, or renews the time of one that is there; forgets the upload it came by.

        Raises:
            StockadeError: `oci.content_gone` when its bytes are not stored any more; retryable.
        """

    async def blob(self, repository: OciRepository, digest: str) -> OciBlob | None:
        """The repository's blob."""

    async def tenants_blob(self, tenant: str, digest: str) -> OciBlob | None:
        """A blob of whichever repository of the tenant."""

    async def delete_blob(self, repository: OciRepository, digest: str) -> bool:
        """Deletes a blob from a repository; False when there was none."""

    async def put_manifest(
        self,
        repository: OciRepository,
        manifest: OciManifest,
        tags: Sequence[str],
        bounds: OciBounds,
        is_stored: Step,
    ) -> None:
        """Adds a manifest and points tags to it.

        Raises:
            StockadeError: `oci.manifest_blob_unknown` when something that it needs is not in the
                repository; `oci.manifest_type_differs` when it is there as another media type;
                `oci.content_gone`.
        """

    async def manifest(self, repository: OciRepository, reference: str) -> OciManifest | None:
        """The manifest of this tag or digest, without what it needs."""

    async def delete_manifest(self, repository: OciRepository, digest: str) -> bool:
        """Deletes a manifest and the tags that point to it; False when there was none."""

    async def delete_tag(self, repository: OciRepository, tag: str) -> bool:
        """Deletes a tag; False when there was none."""

    async def tags(self, repository: OciRepository) -> Sequence[str] | None:
        """All tags in order; None without such a repository."""

    async def referrers(
        self,
        repository: OciRepository,
        subject: str,
        artifact_type: str | None,
        after: str,
        most: int,
    ) -> Sequence[OciManifest]:
        """Manifests with this subject by digest, of one artifact type or all; `after` a digest."""

    async def repositories(self, tenant: str) -> Sequence[str]:
        """The names of the tenant's repositories, in order."""

    async def used_bytes(self, tenant: str) -> int:
        """What the tenant's content takes, each blob counted once, uploads under way too."""

    async def drop_unneeded(self, before_ms: int) -> int:
        """Deletes blobs that no manifest of their repository needs, added before then; how many."""

    async def release(self, stored: str, delete: Step) -> bool:
        """Deletes bytes that nothing needs, while nothing can come to need them."""
