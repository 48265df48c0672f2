"""What `SqlModuleStore` asks and tells the database, in transactions that the caller owns."""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, and_, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from stockade.core.module_store import ModuleEntry, StorageUsage
from stockade.core.modules import ModuleFacts, StoredModule
from stockade.infra.catalog_values import module_deleted, to_json
from stockade.infra.sql.sql_queries import add
from stockade.infra.sql.sql_schema import (
    function_versions,
    metadata,
    module_signatures,
    modules,
    tenants,
)


async def lock_tenant(connection: AsyncConnection, tenant: str) -> None:
    """Others who add to what the tenant keeps wait for the end."""
    row = select(tenants.c.name).where(tenants.c.name == tenant)
    await connection.execute(row.with_for_update(key_share=True))


async def lock_digest(connection: AsyncConnection, digest: str) -> None:
    """Others who add or release this blob, of whichever tenant, wait for the end."""
    if connection.dialect.name == "postgresql":
        key = func.hashtextextended(digest, 0)
        await connection.execute(select(func.pg_advisory_xact_lock(key)))


async def lock_module(connection: AsyncConnection, tenant: str, digest: str) -> Row[Any] | None:
    """The module's row; deploys of it and whoever changes it wait for the end."""
    query = select(modules).where(is_module(tenant, digest)).with_for_update()
    return (await connection.execute(query)).one_or_none()


async def check_not_deleted(connection: AsyncConnection, tenant: str, digest: str) -> None:
    """Passes unless the module is deleted; until the end nobody can delete it.

    Raises:
        StockadeError: `module.not_found`.
    """
    own = select(modules.c.deleted_ms).where(is_module(tenant, digest))
    if await connection.scalar(own.with_for_update(read=True)) is not None:
        raise module_deleted(digest)


async def add_module(connection: AsyncConnection, module: StoredModule) -> bool:
    """Adds the module without its signatures; False when the tenant has it, which is kept then."""
    place = {"tenant": module.tenant, "digest": module.digest}
    facts = {"facts": to_json(module.facts), "size_bytes": module.facts.size_bytes}
    if await add(connection, modules, **place, **facts, created_ms=module.created_ms):
        return True
    kept = update(modules).where(is_module(module.tenant, module.digest))
    await connection.execute(kept.where(modules.c.deleted_ms.is_not(None)).values(deleted_ms=None))
    return False


async def add_signature(connection: AsyncConnection, module: StoredModule, payload: bytes) -> None:
    """Adds one signature to a stored module unless it is there."""
    await add(
        connection,
        module_signatures,
        tenant=module.tenant,
        digest=module.digest,
        signature_hash=hashlib.sha256(payload).digest(),
        signature=payload,
    )


async def find_module(connection: AsyncConnection, tenant: str, digest: str) -> StoredModule | None:
    """The tenant's module with its signatures in the order of their arrival."""
    query = select(modules).where(is_module(tenant, digest))
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    facts = msgspec.json.decode(row.facts, type=ModuleFacts)
    signatures = await _list_signatures(connection, tenant, digest)
    return StoredModule(tenant, digest, facts, signatures, row.created_ms, row.deleted_ms)


async def users(
    connection: AsyncConnection, tenant: str, digest: str, most: int
) -> Sequence[tuple[str, int]]:
    """Some of the versions that are made of the module, those of deleted functions too."""
    columns = function_versions.c
    query = select(columns.name, columns.version).where(
        columns.tenant == tenant, columns.digest == digest
    )
    rows = await connection.execute(query.order_by(columns.name, columns.version).limit(most))
    return tuple((row.name, row.version) for row in rows)


async def usage(connection: AsyncConnection, tenant: str) -> StorageUsage:
    """What the tenant's modules take, deleted ones too."""
    size_bytes = func.coalesce(func.sum(modules.c.size_bytes), 0)
    query = select(size_bytes, func.count()).where(modules.c.tenant == tenant)
    module_bytes, count = (await connection.execute(query)).one()
    return StorageUsage(int(module_bytes), count)


async def forget_module(connection: AsyncConnection, tenant: str, digest: str) -> None:
    """Removes a module that is locked, and whatever refers to it."""
    for table in metadata.tables.values():
        for constraint in table.foreign_key_constraints:
            if constraint.referred_table is modules:
                values = {"tenant": tenant, "digest": digest}
                own = [
                    element.parent == values[element.column.name] for element in constraint.elements
                ]
                await connection.execute(delete(table).where(*own))
    await connection.execute(delete(modules).where(is_module(tenant, digest)))


def is_module(tenant: str, digest: str) -> ColumnElement[bool]:
    """Selects one module."""
    return and_(modules.c.tenant == tenant, modules.c.digest == digest)


def to_entry(row: Row[Any]) -> ModuleEntry:
    """A row of a list."""
    facts = msgspec.json.decode(row.facts, type=ModuleFacts)
    return ModuleEntry(row.digest, facts.abi, row.size_bytes, row.created_ms)


async def _list_signatures(
    connection: AsyncConnection, tenant: str, digest: str
) -> tuple[bytes, ...]:
    query = (
        select(module_signatures.c.signature)
        .where(module_signatures.c.tenant == tenant, module_signatures.c.digest == digest)
        .order_by(module_signatures.c.id)
    )
    return tuple((await connection.execute(query)).scalars())
