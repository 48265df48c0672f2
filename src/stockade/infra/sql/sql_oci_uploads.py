"""Uploads under way, in the catalog's database."""

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from stockade.core.oci import OciBounds, OciChunk, OciRepository, OciUpload
from stockade.infra.sql import sql_oci_queries as queries
from stockade.infra.sql.sql_engine import reading
from stockade.infra.sql.sql_tables_oci import oci_chunks, oci_uploads
from stockade.infra.sql.sql_writer import SqlWriter


class SqlOciUploads:
    """The part of `SqlOciStore` that keeps uploads: a chunk counts once its row is there."""

    def __init__(self, engine: AsyncEngine, writer: SqlWriter) -> None:
        self._engine = engine
        self._writer = writer

    async def begin_upload(
        self, repository: OciRepository, upload_id: str, now_ms: int, bounds: OciBounds
    ) -> None:
        """Begins an upload."""
        row = queries.key(repository) | {"id": upload_id, "received_bytes": 0}
        async with self._writer.writing(repository.tenant) as connection:
            await queries.lock_tenant(connection, repository.tenant)
            await connection.execute(oci_uploads.insert().values(**row, touched_ms=now_ms))
            await queries.check_count(connection, oci_uploads, repository, bounds.uploads)
            await queries.check_bytes(connection, repository.tenant, bounds)

    async def upload(self, repository: OciRepository, upload_id: str) -> OciUpload | None:
        """The upload of this id, of this repository."""
        own = oci_uploads.c.id == upload_id, queries.of(oci_uploads, repository)
        async with reading(self._engine) as connection:
            row = (await connection.execute(select(oci_uploads).where(*own))).mappings().first()
            if row is None:
                return None
            chunks = await _chunks(connection, upload_id)
            return OciUpload(upload_id, repository, row["received_bytes"], chunks)

    async def add_chunk(
        self, upload: OciUpload, chunk: OciChunk, now_ms: int, bounds: OciBounds
    ) -> bool:
        """Adds a chunk at the end of an upload; False when that is not its end, or it is gone."""
        grown = (
            update(oci_uploads)
            .where(oci_uploads.c.id == upload.id, oci_uploads.c.received_bytes == chunk.start)
            .values(received_bytes=chunk.start + chunk.size_bytes, touched_ms=now_ms)
        )
        async with self._writer.writing(upload.repository.tenant) as connection:
            await queries.lock_tenant(connection, upload.repository.tenant)
            if (await connection.execute(grown)).rowcount != 1:
                return False
            if chunk.size_bytes:
                row = {"size_bytes": chunk.size_bytes, "stored": chunk.stored}
                added = oci_chunks.insert().values(upload=upload.id, start=chunk.start, **row)
                await connection.execute(added)
            await _check_chunks(connection, upload.id, bounds)
            await queries.check_bytes(connection, upload.repository.tenant, bounds)
            return True

    async def end_upload(self, upload: OciUpload) -> bool:
        """Forgets an upload; False when it is gone."""
        async with self._writer.writing(upload.repository.tenant) as connection:
            await queries.lock_tenant(connection, upload.repository.tenant)
            return await queries.drop_upload(connection, upload.id)

    async def stale_uploads(self, before_ms: int, most: int) -> Sequence[OciUpload]:
        """Uploads of all tenants that nothing was added to since."""
        old = select(oci_uploads).where(oci_uploads.c.touched_ms < before_ms)
        async with reading(self._engine) as connection:
            rows = await connection.execute(old.order_by(oci_uploads.c.touched_ms).limit(most))
            found = []
            for row in rows.mappings().all():
                repository = OciRepository(row["tenant"], row["repository"])
                chunks = await _chunks(connection, row["id"])
                found.append(OciUpload(row["id"], repository, row["received_bytes"], chunks))
            return found


async def _chunks(connection: AsyncConnection, upload_id: str) -> tuple[OciChunk, ...]:
    query = (
        select(oci_chunks.c.stored, oci_chunks.c.start, oci_chunks.c.size_bytes)
        .where(oci_chunks.c.upload == upload_id)
        .order_by(oci_chunks.c.start)
    )
    return tuple(OciChunk(*row) for row in await connection.execute(query))


async def _check_chunks(connection: AsyncConnection, upload_id: str, bounds: OciBounds) -> None:
    count = select(func.count()).where(oci_chunks.c.upload == upload_id)
    if (await connection.scalar(count) or 0) > bounds.chunks:
        raise queries.too_many(f"An upload has at most {bounds.chunks} chunks; send larger ones.")
