"""What `SqlFunctionStore` asks and tells the database, in transactions that the caller owns.

Whoever changes anything of a function holds the lock on its row in `functions`.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    and_,
    delete,
    exists,
    false,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from stockade.core.alias_weights import Weights
from stockade.core.aliases import KEPT_CHANGES, KEPT_DELETED, AliasChange, Stamp, Verb
from stockade.core.errors import not_found
from stockade.core.functions import DeletedFunction, FunctionQuota
from stockade.core.modules import Alias, FunctionContent, FunctionVersion, VersionNote
from stockade.infra.catalog_values import no_version, storable_version, to_json
from stockade.infra.sql.sql_schema import aliases, function_versions, functions
from stockade.infra.sql.sql_tables_functions import alias_changes

_VERSIONS = (
    select(function_versions)
    .join(
        functions,
        and_(
            functions.c.tenant == function_versions.c.tenant,
            functions.c.name == function_versions.c.name,
        ),
    )
    .where(functions.c.deleted_ms.is_(None))
)
"""Of functions that are not deleted."""
_LATEST = _VERSIONS.where(function_versions.c.version == functions.c.latest_version)
_CHANGE = tuple(field.name for field in fields(AliasChange))


async def lock_function(connection: AsyncConnection, tenant: str, name: str) -> Row[Any] | None:
    """The function's row, whatever became of it; others that change it wait for the end."""
    query = select(functions).where(is_function(tenant, name)).with_for_update()
    return (await connection.execute(query)).one_or_none()


async def lock_live(connection: AsyncConnection, tenant: str, name: str) -> FunctionVersion:
    """The latest version of a function that is there; others that change it wait for the end.

    Raises:
        StockadeError: `function.not_found`.
    """
    await lock_function(connection, tenant, name)
    latest = await find_version(connection, tenant, name, None)
    if latest is None:
        raise not_found("function", name)
    return latest


async def find_version(
    connection: AsyncConnection, tenant: str, name: str, version: int | None
) -> FunctionVersion | None:
    """That version, or the latest when `version` is None."""
    wanted = functions.c.latest_version if version is None else version
    query = _VERSIONS.where(is_function(tenant, name), function_versions.c.version == wanted)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _to_version(row)


def versions_page(tenant: str, name: str, most: int, before: int | None) -> Select[Any]:
    """Some versions, newest first."""
    query = _VERSIONS.where(
        is_function(tenant, name),
        function_versions.c.tenant == tenant,
        function_versions.c.name == name,
    )
    if before is not None and before <= 1:
        return query.where(false())
    if before is not None and storable_version(before):
        query = query.where(function_versions.c.version < before)
    return query.order_by(function_versions.c.version.desc()).limit(most)


def functions_page(tenant: str, most: int, after: str) -> Select[Any]:
    """The latest versions of some functions, by name."""
    query = _LATEST.where(functions.c.tenant == tenant, functions.c.name > after)
    return query.order_by(functions.c.name).limit(most)


async def read_versions(
    connection: AsyncConnection, query: Select[Any]
) -> Sequence[FunctionVersion]:
    """What one of the pages holds."""
    return tuple(map(_to_version, await connection.execute(query)))


async def check_quota(
    connection: AsyncConnection, tenant: str, name: str, made: int, quota: FunctionQuota
) -> None:
    """Checks that a function that is locked may have one version more; `made` were made before.

    Functions that are made at the same moment may pass together on PostgreSQL.

    Raises:
        StockadeError: `function.too_many`, `version.too_many`.
    """
    versions = select(func.count()).where(_is_version(tenant, name))
    there = 0
    if made:
        there = await connection.scalar(versions) or 0
    if made >= quota.versions:
        quota.check_versions(name, there + 1)
    if there:
        return
    # A purged function keeps its row, for the numbers of its versions.
    has_version = exists().where(
        function_versions.c.tenant == functions.c.tenant,
        function_versions.c.name == functions.c.name,
    )
    used = (
        select(func.count()).select_from(functions).where(functions.c.tenant == tenant, has_version)
    )
    quota.check_functions((await connection.scalar(used) or 0) + 1)


async def add_version(connection: AsyncConnection, made: FunctionVersion) -> None:
    """Adds the next version of a function that is locked."""
    content = to_json(made.content)
    row = insert(function_versions).values(
        tenant=made.tenant,
        name=made.name,
        version=made.version,
        content=content,
        digest=made.content.digest,
        content_hash=hashlib.sha256(content.encode()).digest(),
        created_ms=made.created_ms,
        created_by=made.note.by,
        message=made.note.message,
        labels=to_json(made.note.labels),
    )
    count = update(functions).where(is_function(made.tenant, made.name))
    await connection.execute(row)
    await connection.execute(count.values(latest_version=made.version))


async def delete_version(connection: AsyncConnection, tenant: str, name: str, version: int) -> None:
    """Deletes a version of a function that is locked.

    Raises:
        StockadeError: `version.not_found`.
    """
    own = _is_version(tenant, name)
    this = delete(function_versions).where(own, function_versions.c.version == version)
    if not storable_version(version) or (await connection.execute(this)).rowcount == 0:
        raise no_version(name, version)


async def check_versions(
    connection: AsyncConnection, tenant: str, function: str, wanted: Collection[int]
) -> None:
    """Checks that a function that is locked has these versions.

    Raises:
        StockadeError: `version.not_found`.
    """
    query = select(function_versions.c.version).where(
        _is_version(tenant, function),
        function_versions.c.version.in_(filter(storable_version, wanted)),
    )
    found = set((await connection.execute(query)).scalars())
    for missing in sorted(set(wanted) - found):
        raise no_version(function, missing)


async def find_alias(
    connection: AsyncConnection, tenant: str, function: str, name: str
) -> Alias | None:
    """The alias of this name."""
    query = _aliases(tenant, function).where(aliases.c.name == name)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _to_alias(row)


async def list_aliases(connection: AsyncConnection, tenant: str, function: str) -> Sequence[Alias]:
    """The function's aliases by name (sorted here: databases order text each in their own way)."""
    rows = await connection.execute(_aliases(tenant, function))
    return tuple(sorted(map(_to_alias, rows), key=lambda one: one.name))


async def list_changes(
    connection: AsyncConnection, tenant: str, function: str, name: str
) -> Sequence[AliasChange]:
    """The last changes of an alias, newest first."""
    query = (
        select(*(alias_changes.c[column] for column in _CHANGE))
        .where(_is_change(tenant, function, name))
        .order_by(alias_changes.c.revision.desc())
        .limit(KEPT_CHANGES)
    )
    return tuple(map(_to_change, await connection.execute(query)))


async def write_change(
    connection: AsyncConnection, tenant: str, function: str, name: str, change: AliasChange
) -> None:
    """Writes the change of an alias whose function is locked, and forgets the oldest ones."""
    own = and_(aliases.c.tenant == tenant, aliases.c.function == function, aliases.c.name == name)
    row = {
        "weights": to_json(change.after),
        "revision": change.revision,
        "changed_ms": change.at_ms,
        "changed_by": change.by,
    }
    if change.after is None:
        await connection.execute(delete(aliases).where(own))
    elif change.before is None:
        named = {"tenant": tenant, "function": function, "name": name}
        await connection.execute(insert(aliases).values(**named, **row))
    else:
        await connection.execute(update(aliases).where(own).values(**row))
    await _remember_change(connection, tenant, function, name, change)
    if change.after is None:
        await _forget_deleted(connection, tenant, function)


async def mark_deleted(
    connection: AsyncConnection, tenant: str, name: str, deleted: Stamp | None, purge_ms: int | None
) -> None:
    """Marks a function that is locked as deleted, or takes that back."""
    own = update(functions).where(is_function(tenant, name))
    by, at_ms = (None, None) if deleted is None else (deleted.by, deleted.at_ms)
    await connection.execute(own.values(deleted_by=by, deleted_ms=at_ms, purge_ms=purge_ms))


async def purge(connection: AsyncConnection, tenant: str, name: str) -> None:
    """Removes all of a function that is locked, but the count of its versions."""
    for table in (alias_changes, aliases):
        own = and_(table.c.tenant == tenant, table.c.function == name)
        await connection.execute(delete(table).where(own))
    await connection.execute(delete(function_versions).where(_is_version(tenant, name)))
    await mark_deleted(connection, tenant, name, None, None)


def to_deleted(row: Row[Any]) -> DeletedFunction:
    """How a function was deleted."""
    stamp = Stamp(row.deleted_by, row.deleted_ms)
    return DeletedFunction(row.name, row.latest_version, stamp, row.purge_ms)


def is_function(tenant: str, name: str) -> ColumnElement[bool]:
    """Picks the function's row."""
    return and_(functions.c.tenant == tenant, functions.c.name == name)


async def _remember_change(
    connection: AsyncConnection, tenant: str, function: str, name: str, change: AliasChange
) -> None:
    row = {column: getattr(change, column) for column in _CHANGE}
    row |= {"verb": change.verb.value, **_written("before", change), **_written("after", change)}
    named = {"tenant": tenant, "function": function, "name": name}
    await connection.execute(insert(alias_changes).values(**named, **row))
    old = alias_changes.c.revision <= change.revision - KEPT_CHANGES
    await connection.execute(delete(alias_changes).where(_is_change(tenant, function, name), old))


async def _forget_deleted(connection: AsyncConnection, tenant: str, function: str) -> None:
    """Drops the history of aliases that were deleted long ago: names could be made up for ever."""
    table = alias_changes.c
    own = and_(table.tenant == tenant, table.function == function)
    live = select(aliases.c.name).where(aliases.c.tenant == tenant, aliases.c.function == function)
    gone = select(table.name).where(own, table.name.not_in(live)).group_by(table.name)
    old = gone.order_by(func.max(table.at_ms).desc(), table.name).offset(KEPT_DELETED)
    if names := tuple((await connection.execute(old)).scalars()):
        await connection.execute(delete(alias_changes).where(own, table.name.in_(names)))


def _written(side: str, change: AliasChange) -> dict[str, str | None]:
    weights = getattr(change, side)
    return {side: None if weights is None else to_json(weights)}


def _aliases(tenant: str, function: str) -> Select[Any]:
    same = and_(functions.c.tenant == aliases.c.tenant, functions.c.name == aliases.c.function)
    own = (aliases.c.tenant == tenant, aliases.c.function == function)
    query = select(aliases).join(functions, same)
    return query.where(*own, functions.c.deleted_ms.is_(None))


def _is_version(tenant: str, name: str) -> ColumnElement[bool]:
    return and_(function_versions.c.tenant == tenant, function_versions.c.name == name)


def _is_change(tenant: str, function: str, name: str) -> ColumnElement[bool]:
    return and_(
        alias_changes.c.tenant == tenant,
        alias_changes.c.function == function,
        alias_changes.c.name == name,
    )


def _to_version(row: Row[Any]) -> FunctionVersion:
    content = msgspec.json.decode(row.content, type=FunctionContent)
    labels = msgspec.json.decode(row.labels, type=tuple[tuple[str, str], ...])
    note = VersionNote(row.created_by, row.message, labels)
    return FunctionVersion(row.tenant, row.name, row.version, content, row.created_ms, note)


def _to_alias(row: Row[Any]) -> Alias:
    weights = _to_weights(row.weights) or ()
    return Alias(row.name, weights, row.revision, row.changed_ms, row.changed_by)


def _to_change(row: Row[Any]) -> AliasChange:
    given = {column: getattr(row, column) for column in _CHANGE}
    sides = {"before": _to_weights(row.before), "after": _to_weights(row.after)}
    return AliasChange(**{**given, "verb": Verb(row.verb), **sides})


def _to_weights(text: str | None) -> Weights | None:
    return None if text is None else msgspec.json.decode(text, type=Weights)
