"""What the OCI store asks and tells the database, in transactions that the caller owns."""

import zlib
from typing import Any

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    select,
    text,
    union,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from stockade.core.errors import StockadeError
from stockade.core.oci import OciBlob, OciBounds, OciManifest, OciRepository
from stockade.infra.sql.sql_queries import add
from stockade.infra.sql.sql_schema import tenants
from stockade.infra.sql.sql_tables_oci import (
    oci_blobs,
    oci_chunks,
    oci_manifests,
    oci_needs,
    oci_tags,
    oci_uploads,
)

_CONTENT_LOCK = 0x4F43  # the first half of PostgreSQL's advisory locks for content


def key(repository: OciRepository) -> dict[str, object]:
    """The columns that every row of a repository begins with."""
    return {"tenant": repository.tenant, "repository": repository.path}


def of(table: Table, repository: OciRepository) -> ColumnElement[bool]:
    """The repository's rows."""
    return and_(table.c.tenant == repository.tenant, table.c.repository == repository.path)


async def lock_tenant(connection: AsyncConnection, tenant: str) -> None:
    """Others that change what the tenant has pushed wait for the end; other rows of its do not."""
    own = select(tenants).where(tenants.c.name == tenant)
    await connection.execute(own.with_for_update(key_share=True))


async def lock_content(connection: AsyncConnection, stored: str) -> None:
    """Others that begin to need these bytes, or delete them, wait for the end.

    SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(:space, :number)")
        number = zlib.crc32(stored.encode()) - 2**31
        await connection.execute(lock, {"space": _CONTENT_LOCK, "number": number})


async def holds(connection: AsyncConnection, stored: str) -> bool:
    """Whether a blob, a manifest or a chunk of anyone stands in these bytes."""
    tables = (oci_blobs, oci_manifests, oci_chunks)
    found = union(*(select(table.c.stored).where(table.c.stored == stored) for table in tables))
    return (await connection.execute(found)).first() is not None


def needed() -> ColumnElement[bool]:
    """Whether a manifest of its repository needs the blob."""
    return exists().where(
        oci_needs.c.tenant == oci_blobs.c.tenant,
        oci_needs.c.repository == oci_blobs.c.repository,
        oci_needs.c.blob == oci_blobs.c.digest,
    )


async def check_count(
    connection: AsyncConnection, table: Table, repository: OciRepository, most: int
) -> None:
    """Refuses when the tenant has more rows than it may.

    Raises:
        StockadeError: `oci.too_many`.
    """
    count = select(func.count()).select_from(table).where(table.c.tenant == repository.tenant)
    if (await connection.scalar(count) or 0) > most:
        kind = table.name.removeprefix("oci_")
        raise too_many(f"A tenant has at most {most} {kind} at once. Delete some, or end them.")


async def check_bytes(connection: AsyncConnection, tenant: str, bounds: OciBounds) -> None:
    """Refuses when the tenant's content takes more than it may.

    Raises:
        StockadeError: `oci.quota_exceeded`.
    """
    used = await used_bytes(connection, tenant)
    if used > bounds.tenant_bytes:
        raise StockadeError(
            "oci.quota_exceeded",
            f"The tenant's OCI content may take {bounds.tenant_bytes} bytes. Delete some of it.",
            detail={"quota_bytes": bounds.tenant_bytes, "wanted_bytes": used},
        )


async def used_bytes(connection: AsyncConnection, tenant: str) -> int:
    """What the tenant's content takes, each blob counted once, uploads under way too."""
    total = 0
    for table in (oci_blobs, oci_manifests):
        once = (
            select(func.max(table.c.size_bytes).label("size_bytes"))
            .where(table.c.tenant == tenant)
            .group_by(table.c.stored)
            .subquery()
        )
        total += int(await connection.scalar(select(func.sum(once.c.size_bytes))) or 0)
    received = select(func.sum(oci_uploads.c.received_bytes)).where(oci_uploads.c.tenant == tenant)
    return total + int(await connection.scalar(received) or 0)


async def drop_upload(connection: AsyncConnection, upload_id: str) -> bool:
    """Deletes the upload and its chunks; False when it is gone."""
    await connection.execute(delete(oci_chunks).where(oci_chunks.c.upload == upload_id))
    own = delete(oci_uploads).where(oci_uploads.c.id == upload_id)
    return (await connection.execute(own)).rowcount == 1


async def add_blob(connection: AsyncConnection, repository: OciRepository, blob: OciBlob) -> bool:
    """Adds the blob; False when it was there, whose time is renewed."""
    row = {"stored": blob.stored, "size_bytes": blob.size_bytes, "created_ms": blob.created_ms}
    if await add(connection, oci_blobs, **key(repository), digest=blob.digest, **row):
        return True
    renewed = update(oci_blobs).where(of(oci_blobs, repository), oci_blobs.c.digest == blob.digest)
    await connection.execute(renewed.values(**row))
    return False


async def find_blob(connection: AsyncConnection, query: Select[Any]) -> OciBlob | None:
    """The blob that the query finds."""
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        return None
    return OciBlob(row["digest"], row["stored"], row["size_bytes"], row["created_ms"])


async def check_needs(
    connection: AsyncConnection, repository: OciRepository, manifest: OciManifest
) -> None:
    """Refuses a manifest whose content is not all in its repository.

    Raises:
        StockadeError: `oci.manifest_blob_unknown`.
    """
    wanted = ((oci_blobs, manifest.blobs), (oci_manifests, manifest.manifests))
    for table, digests in wanted:
        known = select(table.c.digest).where(of(table, repository), table.c.digest.in_(digests))
        missing = set(digests) - set((await connection.scalars(known)).all())
        if missing:
            raise StockadeError(
                "oci.manifest_blob_unknown",
                "The manifest needs content that is not in this repository. Push that first.",
                detail={"digest": min(missing)},
            )


async def add_manifest(
    connection: AsyncConnection, repository: OciRepository, manifest: OciManifest
) -> bool:
    """Adds the manifest and what it needs; False when it was there.

    Raises:
        StockadeError: `oci.manifest_type_differs`.
    """
    row = {
        name: getattr(manifest, name)
        for name in ("stored", "media_type", "size_bytes", "created_ms", "artifact_type", "subject")
    }
    own = key(repository)
    if not await add(connection, oci_manifests, **own, digest=manifest.digest, **row):
        await _check_type(connection, repository, manifest)
        return False
    named = set(manifest.blobs + manifest.elsewhere)
    needs = [{"manifest": manifest.digest, "blob": blob, **own} for blob in named]
    if needs:
        await connection.execute(insert(oci_needs), needs)
    return True


async def point_tag(
    connection: AsyncConnection, repository: OciRepository, tag: str, digest: str
) -> None:
    """Points the tag to the manifest."""
    if await add(connection, oci_tags, **key(repository), tag=tag, digest=digest):
        return
    own = update(oci_tags).where(of(oci_tags, repository), oci_tags.c.tag == tag)
    await connection.execute(own.values(digest=digest))


async def is_there(connection: AsyncConnection, repository: OciRepository) -> bool:
    """Whether the repository has anything in it."""
    for table in (oci_manifests, oci_blobs):
        found = select(table.c.digest).where(of(table, repository)).limit(1)
        if await connection.scalar(found) is not None:
            return True
    return False


async def list_repositories(connection: AsyncConnection, tenant: str) -> set[str]:
    """The paths of the tenant's repositories."""
    tables = (oci_manifests, oci_blobs)
    paths = union(*(select(table.c.repository).where(table.c.tenant == tenant) for table in tables))
    return {path for (path,) in await connection.execute(paths)}


def manifest_of(row: RowMapping) -> OciManifest:
    """The manifest of this row."""
    return OciManifest(
        digest=row["digest"],
        stored=row["stored"],
        media_type=row["media_type"],
        size_bytes=row["size_bytes"],
        created_ms=row["created_ms"],
        artifact_type=row["artifact_type"],
        subject=row["subject"],
    )


def too_many(message: str) -> StockadeError:
    """The refusal of one more than there may be."""
    return StockadeError("oci.too_many", message)


async def _check_type(
    connection: AsyncConnection, repository: OciRepository, manifest: OciManifest
) -> None:
    known = select(oci_manifests.c.media_type).where(
        of(oci_manifests, repository), oci_manifests.c.digest == manifest.digest
    )
    if await connection.scalar(known) != manifest.media_type:
        raise StockadeError(
            "oci.manifest_type_differs",
            "The manifest is in this repository with another media type. Delete that one first.",
        )
