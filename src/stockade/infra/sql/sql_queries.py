"""What `SqlCatalog` asks and tells the database, in transactions that the caller owns."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Table, and_, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from stockade.core.modules import SecretEntry, Signer
from stockade.infra.sql.sql_schema import secrets, signers

# `on_conflict_do_nothing` is no part of the neutral insert; the two classes have the same shape.
_INSERTS: dict[str, Callable[[Table], Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


async def add(connection: AsyncConnection, table: Table, **row: object) -> bool:
    """Inserts the row unless it collides, and tells; waits for a colliding writer to end first."""
    statement = _INSERTS[connection.dialect.name](table).values(**row).on_conflict_do_nothing()
    return (await connection.execute(statement)).rowcount == 1


async def add_signer(connection: AsyncConnection, tenant: str, signer: Signer) -> bool:
    """Adds the signer; False when its name or key is taken."""
    row = {field.name: getattr(signer, field.name) for field in fields(Signer)}
    return await add(connection, signers, tenant=tenant, **row)


async def list_signers(connection: AsyncConnection, tenant: str) -> Sequence[Signer]:
    """The tenant's signers by name (sorted here: databases order text each in their own way)."""
    columns = [signers.c[field.name] for field in fields(Signer)]
    rows = await connection.execute(select(*columns).where(signers.c.tenant == tenant))
    return tuple(sorted((Signer(**row) for row in rows.mappings()), key=lambda one: one.name))


async def put_secret(connection: AsyncConnection, tenant: str, **row: object) -> bool:
    """Adds the secret, or puts it in place of an earlier one; True when the name is new."""
    if await add(connection, secrets, tenant=tenant, **row):
        return True
    own = and_(secrets.c.tenant == tenant, secrets.c.name == row["name"])
    await connection.execute(update(secrets).where(own).values(**row))
    return False


async def find_secret(connection: AsyncConnection, tenant: str, name: str) -> bytes | None:
    """The sealed secret of this name."""
    own = and_(secrets.c.tenant == tenant, secrets.c.name == name)
    found: bytes | None = await connection.scalar(select(secrets.c.sealed).where(own))
    return found


async def list_secrets(connection: AsyncConnection, tenant: str) -> Sequence[SecretEntry]:
    """The tenant's secrets by name, without what they hold."""
    columns = select(secrets.c.name, secrets.c.updated_ms).where(secrets.c.tenant == tenant)
    rows = await connection.execute(columns)
    return tuple(sorted((SecretEntry(**row) for row in rows.mappings()), key=lambda one: one.name))


async def delete_secret(connection: AsyncConnection, tenant: str, name: str) -> bool:
    """Deletes a secret; False when there was none."""
    own = and_(secrets.c.tenant == tenant, secrets.c.name == name)
    return (await connection.execute(delete(secrets).where(own))).rowcount == 1
