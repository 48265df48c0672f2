"""The `OciStore` port in the catalog's database; made by `SqlCatalog.oci_store`."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from stockade.core.errors import StockadeError
from stockade.core.oci import (
    OciBlob,
    OciBounds,
    OciManifest,
    OciRepository,
    OciUpload,
    is_digest,
)
from stockade.core.oci_store import Step
from stockade.infra.catalog_values import storable
from stockade.infra.sql import sql_oci_queries as queries
from stockade.infra.sql.sql_engine import reading
from stockade.infra.sql.sql_oci_uploads import SqlOciUploads
from stockade.infra.sql.sql_tables_oci import oci_blobs, oci_manifests, oci_needs, oci_tags


class SqlOciStore(SqlOciUploads):
    """Rows of `sql_tables_oci`."""

    async def add_blob(
        self,
        repository: OciRepository,
        blob: OciBlob,
        bounds: OciBounds,
        is_stored: Step,
        upload: OciUpload | None = None,
    ) -> None:
        """Adds a blob, or renews the time of one that is there; forgets the upload it came by."""
        async with self._writer.writing(repository.tenant) as connection:
            await queries.lock_tenant(connection, repository.tenant)
            await _check_stored(connection, blob.stored, is_stored)
            if upload is not None:
                await queries.drop_upload(connection, upload.id)
            if await queries.add_blob(connection, repository, blob):
                await queries.check_count(connection, oci_blobs, repository, bounds.blobs)
                await queries.check_bytes(connection, repository.tenant, bounds)

    async def blob(self, repository: OciRepository, digest: str) -> OciBlob | None:
        """The repository's blob."""
        query = select(oci_blobs).where(
            queries.of(oci_blobs, repository), oci_blobs.c.digest == digest
        )
        async with reading(self._engine) as connection:
            return await queries.find_blob(connection, query)

    async def tenants_blob(self, tenant: str, digest: str) -> OciBlob | None:
        """A blob of whichever repository of the tenant."""
        query = select(oci_blobs).where(oci_blobs.c.tenant == tenant, oci_blobs.c.digest == digest)
        async with reading(self._engine) as connection:
            return await queries.find_blob(connection, query.limit(1))

    async def delete_blob(self, repository: OciRepository, digest: str) -> bool:
        """Deletes a blob from a repository; False when there was none."""
        own = delete(oci_blobs).where(
            queries.of(oci_blobs, repository), oci_blobs.c.digest == digest
        )
        async with self._writer.writing(repository.tenant) as connection:
            await queries.lock_tenant(connection, repository.tenant)
            return (await connection.execute(own)).rowcount == 1

    async def put_manifest(
        self,
        repository: OciRepository,
        manifest: OciManifest,
        tags: Sequence[str],
        bounds: OciBounds,
        is_stored: Step,
    ) -> None:
        """Adds a manifest and points tags to it."""
        async with self._writer.writing(repository.tenant) as connection:
            await queries.lock_tenant(connection, repository.tenant)
            await _check_stored(connection, manifest.stored, is_stored)
            await queries.check_needs(connection, repository, manifest)
            if await queries.add_manifest(connection, repository, manifest):
                await queries.check_count(connection, oci_manifests, repository, bounds.manifests)
                await queries.check_bytes(connection, repository.tenant, bounds)
            for tag in tags:
                await queries.point_tag(connection, repository, tag, manifest.digest)
            await queries.check_count(connection, oci_tags, repository, bounds.tags)

    async def manifest(self, repository: OciRepository, reference: str) -> OciManifest | None:
        """The manifest of this tag or digest, without what it needs."""
        query = select(oci_manifests).where(queries.of(oci_manifests, repository))
        if is_digest(reference):
            query = query.where(oci_manifests.c.digest == reference)
        else:
            named = select(oci_tags.c.digest).where(
                queries.of(oci_tags, repository), oci_tags.c.tag == reference
            )
            query = query.where(oci_manifests.c.digest == named.scalar_subquery())
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query)).mappings()
            found = [queries.manifest_of(row) for row in rows]
            return found[0] if found else None

    async def delete_manifest(self, repository: OciRepository, digest: str) -> bool:
        """Deletes a manifest and the tags that point to it; False when there was none."""
        async with self._writer.writing(repository.tenant) as connection:
            await queries.lock_tenant(connection, repository.tenant)
            for table, column in (
                (oci_tags, oci_tags.c.digest),
                (oci_needs, oci_needs.c.manifest),
                (oci_manifests, oci_manifests.c.digest),
            ):
                own = delete(table).where(queries.of(table, repository), column == digest)
                deleted = (await connection.execute(own)).rowcount
            return deleted == 1

    async def delete_tag(self, repository: OciRepository, tag: str) -> bool:
        """Deletes a tag; False when there was none."""
        own = delete(oci_tags).where(queries.of(oci_tags, repository), oci_tags.c.tag == tag)
        async with self._writer.writing(repository.tenant) as connection:
            await queries.lock_tenant(connection, repository.tenant)
            return (await connection.execute(own)).rowcount == 1

    async def tags(self, repository: OciRepository) -> Sequence[str] | None:
        """All tags in order; None without such a repository."""
        query = select(oci_tags.c.tag).where(queries.of(oci_tags, repository))
        async with reading(self._engine) as connection:
            found = sorted((await connection.scalars(query)).all(), key=_tag_order)
            if found or await queries.is_there(connection, repository):
                return found
            return None

    async def referrers(
        self,
        repository: OciRepository,
        subject: str,
        artifact_type: str | None,
        after: str,
        most: int,
    ) -> Sequence[OciManifest]:
        """Manifests with this subject by digest, of one artifact type or all; `after` a digest."""
        if not storable(artifact_type):
            return ()
        query = select(oci_manifests).where(
            queries.of(oci_manifests, repository),
            oci_manifests.c.subject == subject,
            oci_manifests.c.digest > after,
        )
        if artifact_type is not None:
            query = query.where(oci_manifests.c.artifact_type == artifact_type)
        query = query.order_by(oci_manifests.c.digest).limit(most)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query)).mappings()
            return tuple(map(queries.manifest_of, rows))

    async def repositories(self, tenant: str) -> Sequence[str]:
        """The names of the tenant's repositories, in order."""
        async with reading(self._engine) as connection:
            paths = await queries.list_repositories(connection, tenant)
            return tuple(OciRepository(tenant, path).name for path in sorted(paths))

    async def used_bytes(self, tenant: str) -> int:
        """What the tenant's content takes, each blob counted once, uploads under way too."""
        async with reading(self._engine) as connection:
            return await queries.used_bytes(connection, tenant)

    async def drop_unneeded(self, before_ms: int) -> int:
        """Deletes blobs that no manifest of their repository needs, added before then; how many."""
        dropped = 0
        for tenant in await self._tenants_of_old_blobs(before_ms):
            async with self._writer.writing(tenant) as connection:
                await queries.lock_tenant(connection, tenant)
                unneeded = delete(oci_blobs).where(
                    oci_blobs.c.tenant == tenant,
                    oci_blobs.c.created_ms < before_ms,
                    ~queries.needed(),
                )
                dropped += (await connection.execute(unneeded)).rowcount
        return dropped

    async def release(self, stored: str, delete: Step) -> bool:
        """Deletes bytes that nothing needs, while nothing can come to need them."""
        async with reading(self._engine) as connection:
            if await queries.holds(connection, stored):
                return False  # as most are: no need to keep writers waiting
        async with self._writer.writing() as connection:
            await queries.lock_content(connection, stored)
            return not await queries.holds(connection, stored) and await delete(stored)

    async def _tenants_of_old_blobs(self, before_ms: int) -> Sequence[str]:
        query = (
            select(oci_blobs.c.tenant)
            .distinct()
            .where(oci_blobs.c.created_ms < before_ms, ~queries.needed())
        )
        async with reading(self._engine) as connection:
            return (await connection.scalars(query)).all()


def _tag_order(tag: str) -> tuple[str, str]:
    return tag.lower(), tag


async def _check_stored(connection: AsyncConnection, stored: str, is_stored: Step) -> None:
    """Holds the content, and looks whether it was collected before."""
    await queries.lock_content(connection, stored)
    if not await is_stored(stored):
        raise StockadeError(
            "oci.content_gone",
            "The content was collected meanwhile. Send it again.",
            retryable=True,
        )
