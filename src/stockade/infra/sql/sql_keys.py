"""API keys in an SQL database."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import msgspec
from sqlalchemy import RowMapping, Update, bindparam, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from stockade.core.api_keys import ApiKey
from stockade.core.principals import Kind, Role
from stockade.infra.catalog_values import check_storable, key_taken, storable, to_json
from stockade.infra.sql import sql_queries as queries
from stockade.infra.sql.sql_engine import reading
from stockade.infra.sql.sql_schema import api_keys
from stockade.infra.sql.sql_writer import SqlWriter


class SqlKeyStore:
    """The `KeyStore` port through SQLAlchemy."""

    def __init__(self, engine: AsyncEngine, writer: SqlWriter) -> None:
        self._engine = engine
        self._writer = writer

    async def add_key(self, key: ApiKey) -> None:
        """Stores a key; the same key again is no change."""
        times = (key.created_ms, key.expires_ms, key.revoked_ms, key.last_used_ms)
        check_storable(key.id, key.tenant, key.name, key.subject, *times)
        async with self._writer.writing(key.tenant) as connection:
            if await queries.add(connection, api_keys, **key_row(key)):
                return
            stored = await _find(connection, key.id)
            if stored is None or replace(stored, last_used_ms=key.last_used_ms) != key:
                raise key_taken(key.id)

    async def find_key(self, key_id: str) -> ApiKey | None:
        """The key with this id, of whichever tenant."""
        if not storable(key_id):
            return None
        async with reading(self._engine) as connection:
            return await _find(connection, key_id)

    async def keys(self, tenant: str) -> Sequence[ApiKey]:
        """All keys of the tenant, those no longer in force too, by when they were made."""
        if not storable(tenant):
            return ()
        query = select(api_keys).where(api_keys.c.tenant == tenant)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query)).mappings()
            return tuple(sorted(map(_key, rows), key=lambda key: (key.created_ms, key.id)))

    async def expire_key(self, tenant: str, key_id: str, expires_ms: int) -> bool:
        """Ends a key's time no later than this; False when the tenant has no such key."""
        check_storable(expires_ms)
        expires = api_keys.c.expires_ms
        later = update(api_keys).where(or_(expires.is_(None), expires > expires_ms))
        return await self._change(tenant, key_id, later.values(expires_ms=expires_ms))

    async def revoke_key(self, tenant: str, key_id: str, revoked_ms: int) -> bool:
        """Marks a key revoked (the first time counts); False when the tenant has no such key."""
        check_storable(revoked_ms)
        first = func.coalesce(api_keys.c.revoked_ms, revoked_ms)
        return await self._change(tenant, key_id, update(api_keys).values(revoked_ms=first))

    async def touch_keys(self, used: Mapping[str, int]) -> None:
        """Notes when keys were last used; earlier times than those known change nothing."""
        check_storable(*used, *used.values())
        older = func.coalesce(api_keys.c.last_used_ms, 0) < bindparam("used_ms")
        note = update(api_keys).where(api_keys.c.id == bindparam("key"), older)
        rows = [{"key": key, "used_ms": used_ms} for key, used_ms in sorted(used.items())]
        if rows:
            async with self._writer.writing() as connection:
                await connection.execute(note.values(last_used_ms=bindparam("used_ms")), rows)

    async def sweep_keys(self, before_ms: int, most: int) -> int:
        """Deletes up to `most` keys of any tenant that ended before this; how many."""
        check_storable(before_ms)
        times = (api_keys.c.expires_ms, api_keys.c.revoked_ms)
        ended = or_(*(time < before_ms for time in times))
        found = select(api_keys.c.id).where(ended).limit(most)
        async with reading(self._engine) as connection:
            ids = tuple(await connection.scalars(found))
        if ids:
            async with self._writer.writing() as connection:
                # Once ended, a key stays so: what was found is still to go.
                await connection.execute(delete(api_keys).where(api_keys.c.id.in_(ids)))
        return len(ids)

    async def _change(self, tenant: str, key_id: str, change: Update) -> bool:
        """Whether the tenant has the key, which is changed where the change applies."""
        if not storable(tenant, key_id):
            return False
        own = (api_keys.c.tenant == tenant, api_keys.c.id == key_id)
        async with self._writer.writing(tenant) as connection:
            await connection.execute(change.where(*own))
            return await connection.scalar(select(api_keys.c.id).where(*own)) is not None


def key_row(key: ApiKey) -> dict[str, object]:
    """The key as a row of its table.

    Raises:
        StockadeError: `catalog.value_invalid`.
    """
    row = {field.name: getattr(key, field.name) for field in fields(key) if field.init}
    return row | {"scopes": to_json(key.scopes), "claims": to_json(key.claims)}


async def _find(connection: AsyncConnection, key_id: str) -> ApiKey | None:
    rows = await connection.execute(select(api_keys).where(api_keys.c.id == key_id))
    row = rows.mappings().one_or_none()
    return None if row is None else _key(row)


def _key(row: RowMapping) -> ApiKey:
    scopes = msgspec.json.decode(row["scopes"], type=tuple[str, ...])
    claims = msgspec.json.decode(row["claims"], type=tuple[tuple[str, str], ...])
    read = {"role": Role(row["role"]), "kind": Kind(row["kind"])}
    return ApiKey(**{**row, **read, "scopes": scopes, "claims": claims})
