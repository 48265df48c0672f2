"""The `FunctionStore` port in the catalog's database; a part of `SqlCatalog`."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from stockade.core.aliases import AliasChange, AliasRule, AliasView, Stamp, decide
from stockade.core.errors import not_found
from stockade.core.functions import (
    DEFAULT_FUNCTION_QUOTA,
    DeletedFunction,
    FunctionQuota,
    is_deleted,
    version_in_use,
)
from stockade.core.modules import Alias, FunctionContent, FunctionVersion, VersionNote
from stockade.infra.catalog_values import check_note_storable, check_storable, storable
from stockade.infra.catalog_values import storable_version as storable_number
from stockade.infra.sql import sql_function_queries as queries
from stockade.infra.sql.sql_engine import reading
from stockade.infra.sql.sql_module_queries import check_not_deleted
from stockade.infra.sql.sql_queries import add
from stockade.infra.sql.sql_schema import functions
from stockade.infra.sql.sql_writer import SqlWriter

_NO_NOTE = VersionNote()


class SqlFunctionStore:
    """Functions in four tables, each function's changes in turn."""

    def __init__(self, engine: AsyncEngine, writer: SqlWriter) -> None:
        self._engine = engine
        self._writer = writer

    async def put_function(
        self,
        tenant: str,
        name: str,
        content: FunctionContent,
        created_ms: int,
        note: VersionNote = _NO_NOTE,
        quota: FunctionQuota = DEFAULT_FUNCTION_QUOTA,
    ) -> tuple[FunctionVersion, bool]:
        """Makes the next version, or returns the latest when its content is equal (then False)."""
        check_storable(tenant, name, created_ms)
        check_note_storable(note)
        async with self._writer.writing(tenant) as connection:
            await add(connection, functions, tenant=tenant, name=name, latest_version=0)
            row = await queries.lock_function(connection, tenant, name)
            if row is None:
                raise RuntimeError("a function's row is never removed")
            if row.purge_ms is not None:
                if created_ms < row.purge_ms:
                    raise is_deleted(name, row.purge_ms)
                await queries.purge(connection, tenant, name)
            latest = await queries.find_version(connection, tenant, name, row.latest_version)
            if latest is not None and latest.content == content:
                return latest, False
            await check_not_deleted(connection, tenant, content.digest)
            await queries.check_quota(connection, tenant, name, row.latest_version, quota)
            number = row.latest_version + 1
            made = FunctionVersion(tenant, name, number, content, created_ms, note)
            await queries.add_version(connection, made)
            return made, True

    async def function_version(
        self, tenant: str, name: str, version: int | None
    ) -> FunctionVersion | None:
        """That version, or the latest when `version` is None."""
        if not storable(tenant, name) or (version is not None and not storable_number(version)):
            return None
        async with reading(self._engine) as connection:
            return await queries.find_version(connection, tenant, name, version)

    async def function_versions(
        self, tenant: str, name: str, most: int, before: int | None = None
    ) -> Sequence[FunctionVersion]:
        """Up to `most` versions, newest first, of those below `before`."""
        if not storable(tenant, name):
            return ()
        page = queries.versions_page(tenant, name, most, before)
        async with reading(self._engine) as connection:
            return await queries.read_versions(connection, page)

    async def functions(
        self, tenant: str, most: int = 100, after: str = ""
    ) -> Sequence[FunctionVersion]:
        """The latest version of up to `most` functions, by name, of those behind `after`."""
        if not storable(tenant, after):
            return ()
        page = queries.functions_page(tenant, most, after)
        async with reading(self._engine) as connection:
            return await queries.read_versions(connection, page)

    async def delete_version(self, tenant: str, name: str, version: int) -> None:
        """Deletes a version that no alias points to, and that is not the latest."""
        if not storable(tenant, name):
            raise not_found("function", name)
        async with self._writer.writing(tenant) as connection:
            latest = (await queries.lock_live(connection, tenant, name)).version
            own = await queries.list_aliases(connection, tenant, name)
            users = [one.name for one in own if version in dict(one.weights)]
            if users or version == latest:
                raise version_in_use(version, latest, users)
            await queries.delete_version(connection, tenant, name, version)

    async def delete_function(
        self, tenant: str, name: str, deleted: Stamp, restorable_until_ms: int
    ) -> DeletedFunction:
        """Deletes a function; one that is deleted already stays as it was deleted first."""
        check_storable(deleted.by, deleted.at_ms, restorable_until_ms)
        if not storable(tenant, name):
            raise not_found("function", name)
        async with self._writer.writing(tenant) as connection:
            row = await queries.lock_function(connection, tenant, name)
            if row is not None and row.purge_ms is not None and deleted.at_ms < row.purge_ms:
                return queries.to_deleted(row)
            latest = (await queries.lock_live(connection, tenant, name)).version
            await queries.mark_deleted(connection, tenant, name, deleted, restorable_until_ms)
            return DeletedFunction(name, latest, deleted, restorable_until_ms)

    async def restore_function(self, tenant: str, name: str, now_ms: int) -> bool:
        """Takes a deletion back, aliases and all; False when the function was not deleted."""
        if not storable(tenant, name):
            raise not_found("function", name)
        async with self._writer.writing(tenant) as connection:
            row = await queries.lock_function(connection, tenant, name)
            restorable = row is not None and row.purge_ms is not None and now_ms < row.purge_ms
            if restorable:
                await queries.mark_deleted(connection, tenant, name, None, None)
            await queries.lock_live(connection, tenant, name)
            return restorable

    async def deleted_function(self, tenant: str, name: str) -> DeletedFunction | None:
        """How the function was deleted; None when it was not, or is purged."""
        if not storable(tenant, name):
            return None
        own = select(functions).where(queries.is_function(tenant, name))
        async with reading(self._engine) as connection:
            query = own.where(functions.c.purge_ms.is_not(None))
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else queries.to_deleted(row)

    async def deleted_functions(self, tenant: str, most: int) -> Sequence[DeletedFunction]:
        """Up to `most` deleted functions of the tenant, by name."""
        if not storable(tenant):
            return ()
        own = select(functions).where(functions.c.tenant == tenant)
        query = own.where(functions.c.purge_ms.is_not(None)).order_by(functions.c.name)
        async with reading(self._engine) as connection:
            rows = await connection.execute(query.limit(most))
            return tuple(map(queries.to_deleted, rows))

    async def purge_functions(self, now_ms: int, most: int) -> int:
        """Removes what up to `most` functions of any tenant leave behind their grace; how many."""
        over = functions.c.purge_ms <= now_ms
        found = select(functions.c.tenant, functions.c.name).where(over).limit(most)
        async with reading(self._engine) as connection:
            names = tuple(await connection.execute(found))
        done = 0
        for tenant, name in names:
            async with self._writer.writing(tenant) as connection:
                row = await queries.lock_function(connection, tenant, name)
                # Another gateway may have been here, or somebody restored or deployed it.
                if row is not None and row.purge_ms is not None and row.purge_ms <= now_ms:
                    await queries.purge(connection, tenant, name)
                    done += 1
        return done

    async def alias(self, tenant: str, function: str, name: str) -> Alias | None:
        """The alias of this name."""
        if not storable(tenant, function, name):
            return None
        async with reading(self._engine) as connection:
            return await queries.find_alias(connection, tenant, function, name)

    async def aliases(self, tenant: str, function: str) -> Sequence[Alias]:
        """The function's aliases by name."""
        if not storable(tenant, function):
            return ()
        async with reading(self._engine) as connection:
            return await queries.list_aliases(connection, tenant, function)

    async def alias_changes(self, tenant: str, function: str, name: str) -> Sequence[AliasChange]:
        """The last changes of an alias, newest first, those of deleted ones too."""
        if not storable(tenant, function, name):
            return ()
        async with reading(self._engine) as connection:
            if await queries.find_version(connection, tenant, function, None) is None:
                return ()
            return await queries.list_changes(connection, tenant, function, name)

    async def change_alias(
        self, tenant: str, function: str, name: str, rule: AliasRule, stamp: Stamp
    ) -> AliasChange | None:
        """Changes an alias by the rule, in one step; None when there is nothing to change."""
        check_storable(tenant, function, name, stamp.by, stamp.at_ms)
        async with self._writer.writing(tenant) as connection:
            await queries.lock_live(connection, tenant, function)
            own = {
                one.name: one for one in await queries.list_aliases(connection, tenant, function)
            }
            current = own.pop(name, None)
            others = {one.name: one.weights for one in own.values()}
            changes = await queries.list_changes(connection, tenant, function, name)
            change = decide(AliasView(name, current, others, changes), rule, stamp)
            if change is not None:
                wanted = dict(change.after or ())
                await queries.check_versions(connection, tenant, function, wanted)
                await queries.write_change(connection, tenant, function, name, change)
            return change
