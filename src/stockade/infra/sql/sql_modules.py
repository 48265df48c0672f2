"""The `ModuleStore` port in the catalog's database; a part of `SqlCatalog`.

Whatever adds a module holds the lock on its tenant's row, so that quotas are exact, and that on the
blob's digest, so that the blob stays. SQLite has one writer at a time, and needs no locks.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncEngine

from stockade.core.module_store import (
    NAMED_USERS,
    BlobStep,
    ModuleEntry,
    StorageQuota,
    StorageUsage,
    in_use,
)
from stockade.core.modules import StoredModule
from stockade.infra.blobs.blob_failures import blob_missing
from stockade.infra.catalog_values import check_storable, storable
from stockade.infra.sql import sql_module_queries as queries
from stockade.infra.sql.sql_engine import reading
from stockade.infra.sql.sql_queries import add
from stockade.infra.sql.sql_schema import modules
from stockade.infra.sql.sql_tables_storage import upkeep_turns
from stockade.infra.sql.sql_writer import SqlWriter

_ASKED_AT_ONCE = 500


class SqlModuleStore:
    """Modules with their signatures in two tables."""

    def __init__(self, engine: AsyncEngine, writer: SqlWriter) -> None:
        self._engine = engine
        self._writer = writer

    async def add_module(
        self,
        module: StoredModule,
        quota: StorageQuota | None = None,
        is_stored: BlobStep | None = None,
    ) -> bool:
        """Stores a module, or adds its signatures to the stored one; True when it was new."""
        check_storable(module.tenant, module.digest, module.created_ms)
        async with self._writer.writing(module.tenant) as connection:
            await queries.lock_tenant(connection, module.tenant)
            await queries.lock_digest(connection, module.digest)
            if is_stored is not None and not await is_stored(module.digest):
                raise blob_missing(module.digest)
            created = await queries.add_module(connection, module)
            if created and quota is not None:
                quota.check(await queries.usage(connection, module.tenant))
            for signature in module.signatures:
                await queries.add_signature(connection, module, signature)
            return created

    async def module(self, tenant: str, digest: str) -> StoredModule | None:
        """The tenant's module of this digest, deleted or not."""
        if not storable(tenant, digest):
            return None
        async with reading(self._engine) as connection:
            return await queries.find_module(connection, tenant, digest)

    async def modules(
        self, tenant: str, most: int, before: tuple[int, str] | None = None
    ) -> Sequence[ModuleEntry]:
        """Up to `most` modules that are not deleted, newest first."""
        if not storable(tenant, *(before or ())):
            return ()
        query = select(modules).where(modules.c.tenant == tenant, modules.c.deleted_ms.is_(None))
        if before is not None:
            query = query.where(tuple_(modules.c.created_ms, modules.c.digest) < tuple_(*before))
        query = query.order_by(modules.c.created_ms.desc(), modules.c.digest.desc()).limit(most)
        async with reading(self._engine) as connection:
            return tuple(map(queries.to_entry, await connection.execute(query)))

    async def module_versions(
        self, tenant: str, digest: str, most: int
    ) -> Sequence[tuple[str, int]]:
        """Up to `most` function versions that are made of the module, by name and number."""
        if not storable(tenant, digest):
            return ()
        async with reading(self._engine) as connection:
            return await queries.users(connection, tenant, digest, most)

    async def storage_usage(self, tenant: str) -> StorageUsage:
        """What the tenant's modules take."""
        if not storable(tenant):
            return StorageUsage()
        async with reading(self._engine) as connection:
            return await queries.usage(connection, tenant)

    async def delete_module(self, tenant: str, digest: str, deleted_ms: int) -> bool:
        """Deletes a module; False when there is none, or it is deleted already."""
        check_storable(deleted_ms)
        if not storable(tenant, digest):
            return False
        async with self._writer.writing(tenant) as connection:
            row = await queries.lock_module(connection, tenant, digest)
            if row is None or row.deleted_ms is not None:
                return False
            if users := await queries.users(connection, tenant, digest, NAMED_USERS):
                raise in_use(digest, users)
            mark = update(modules).where(queries.is_module(tenant, digest))
            await connection.execute(mark.values(deleted_ms=deleted_ms))
            return True

    async def purge_modules(self, before_ms: int, most: int) -> int:
        """Forgets up to `most` modules of any tenant that were deleted before then; how many."""
        over = modules.c.deleted_ms < before_ms
        found = select(modules.c.tenant, modules.c.digest).where(over).limit(most)
        async with reading(self._engine) as connection:
            places = tuple(await connection.execute(found))
        purged = 0
        for tenant, digest in places:
            async with self._writer.writing(tenant) as connection:
                row = await queries.lock_module(connection, tenant, digest)
                # Another gateway may have been here, or an upload may have taken it back.
                if row is None or row.deleted_ms is None or row.deleted_ms >= before_ms:
                    continue
                await queries.forget_module(connection, tenant, digest)
                purged += 1
        return purged

    async def every_module(
        self, most: int, after: tuple[str, str] = ("", "")
    ) -> Sequence[tuple[str, str]]:
        """Tenants and digests of up to `most` modules of all tenants, in order."""
        place = tuple_(modules.c.tenant, modules.c.digest)
        query = select(modules.c.tenant, modules.c.digest).where(place > tuple_(*after))
        query = query.order_by(modules.c.tenant, modules.c.digest).limit(most)
        async with reading(self._engine) as connection:
            return tuple((row.tenant, row.digest) for row in await connection.execute(query))

    async def needed_blobs(self, digests: Collection[str]) -> frozenset[str]:
        """Which of these blobs some tenant's module is made of."""
        asked, needed = sorted(digests), set[str]()
        async with reading(self._engine) as connection:
            for at in range(0, len(asked), _ASKED_AT_ONCE):
                some = modules.c.digest.in_(asked[at : at + _ASKED_AT_ONCE])
                needed.update(await connection.scalars(select(modules.c.digest).where(some)))
        return frozenset(needed)

    async def release_blob(self, digest: str, delete: BlobStep) -> bool:
        """Has `delete` take a blob that no module needs, while none can come to need it."""
        check_storable(digest)
        async with self._writer.writing() as connection:
            await queries.lock_digest(connection, digest)
            if await connection.scalar(select(func.count()).where(modules.c.digest == digest)):
                return False
            return await delete(digest)

    async def take_turn(self, work: str, now_ms: int, pause_ms: int) -> bool:
        """Whether to do some work now: True for one of all that ask, once in that time."""
        check_storable(work, now_ms, pause_ms)
        taken = upkeep_turns.c.taken_ms
        # A time ahead of ours is a wrong clock's: it must not stop the work for good.
        due = or_(taken <= now_ms - pause_ms, taken > now_ms + pause_ms)
        take = update(upkeep_turns).where(upkeep_turns.c.work == work, due)
        async with self._writer.writing() as connection:
            if await add(connection, upkeep_turns, work=work, taken_ms=now_ms):
                return True
            return (await connection.execute(take.values(taken_ms=now_ms))).rowcount == 1
