"""The `HistoryStore` port in the catalog's database; made by `SqlCatalog.history_store`.

One transaction takes over a batch: rows that are there already are left as they are, and usage
grows by those that are new. So it does not matter how often, by how many, or how far anybody came.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from stockade.core.history import (
    InvocationHistory,
    PastAttempt,
    Recorded,
    Run,
    RunQuery,
    UsageDay,
    UsageQuery,
)
from stockade.core.history_rows import usage_of
from stockade.infra.catalog_values import check_storable, storable
from stockade.infra.history_values import (
    Rows,
    attempt_from,
    rows_of,
    run_from,
    usage_from,
    usage_row,
)
from stockade.infra.sql.sql_engine import reading
from stockade.infra.sql.sql_history_rows import RowAdder
from stockade.infra.sql.sql_queries import add
from stockade.infra.sql.sql_tables_history import (
    history_attempts,
    history_horizon,
    history_runs,
    history_usage,
)
from stockade.infra.sql.sql_writer import SqlWriter

_RUNS = "runs"
_USAGE_KEY = ("tenant", "day", "function")
_RUN_KEY = ("tenant", "invocation", "redrive")
_ATTEMPT_KEY = ("tenant", "invocation", "position")
_HORIZON = select(history_horizon.c.before).where(history_horizon.c.name == _RUNS)
_HORIZON_SHARED = _HORIZON.with_for_update(read=True)


class SqlHistoryStore:
    """The history in four tables."""

    def __init__(self, engine: AsyncEngine, writer: SqlWriter) -> None:
        self._engine = engine
        self._writer = writer
        dialect = engine.dialect.name
        self._runs = RowAdder(history_runs, Run, _RUN_KEY, dialect)
        self._attempts = RowAdder(history_attempts, PastAttempt, _ATTEMPT_KEY, dialect)
        self._counting = _counting(dialect)

    async def record(self, histories: Sequence[InvocationHistory]) -> Recorded:
        """Takes over what is new in them, and counts it, in one step; twice is no harm."""
        rows = rows_of(list(histories))
        async with self._writer.writing() as connection:
            young = await self._young(connection, rows)
            new_runs = await self._runs.add(connection, young.runs)
            new_attempts = await self._attempts.add(connection, young.attempts)
            if added := usage_of(new_runs, new_attempts):
                await self._count(connection, added)
        return Recorded(len(new_runs), len(new_attempts))

    async def runs(self, tenant: str, query: RunQuery) -> Sequence[Run]:
        """Runs that the query asks for."""
        texts = (tenant, query.function, query.limit)
        if not storable(*texts, query.version, query.since_ms, query.until_ms, *query.after or ()):
            return ()
        place = [history_runs.c[name] for name in ("finished_ms", "invocation", "redrive")]
        order = place if query.oldest_first else [column.desc() for column in place]
        wanted = select(history_runs).where(*_conditions(tenant, query)).order_by(*order)
        async with reading(self._engine) as connection:
            rows = await connection.execute(wanted.limit(query.most))
            return tuple(map(run_from, rows.mappings()))

    async def runs_of(self, tenant: str, invocation: str) -> Sequence[Run]:
        """All runs of an invocation, the first one first."""
        if not storable(tenant, invocation):
            return ()
        own = _own(history_runs, tenant, [invocation])
        async with reading(self._engine) as connection:
            found = select(history_runs).where(own).order_by(history_runs.c.redrive)
            return tuple(map(run_from, (await connection.execute(found)).mappings()))

    async def attempts_of(
        self, tenant: str, invocations: Sequence[str]
    ) -> Mapping[str, Sequence[PastAttempt]]:
        """The attempts of these invocations by their ids, the first one first."""
        if not storable(tenant, *invocations):
            return {}
        own = _own(history_attempts, tenant, invocations)
        found: dict[str, list[PastAttempt]] = {}
        async with reading(self._engine) as connection:
            ordered = select(history_attempts).where(own).order_by(history_attempts.c.position)
            for row in (await connection.execute(ordered)).mappings():
                found.setdefault(row["invocation"], []).append(attempt_from(row))
        return found

    async def usage(self, tenant: str, query: UsageQuery) -> Sequence[UsageDay]:
        """Usage that the query asks for."""
        days = (query.first_day, query.last_day)
        if not storable(tenant, query.function, *days, *query.after or ()):
            return ()
        day, function = history_usage.c.day, history_usage.c.function
        wanted = select(history_usage).where(*_usage_conditions(tenant, query))
        async with reading(self._engine) as connection:
            ordered = wanted.order_by(day.desc(), function).limit(query.most)
            return tuple(map(usage_from, (await connection.execute(ordered)).mappings()))

    async def prune(self, before_ms: int, most: int) -> int:
        """Deletes runs and attempts that ended before this time; how many, about `most` at once."""
        check_storable(before_ms)
        horizon = await self._advance(before_ms)
        runs = await self._delete(history_runs, "finished_ms", horizon, _RUN_KEY, most)
        attempts = await self._delete(history_attempts, "ended_ms", horizon, _ATTEMPT_KEY, most)
        return runs + attempts

    async def prune_usage(self, before_day: int, most: int) -> int:
        """Deletes usage of days before this one; how many, about `most` at once."""
        check_storable(before_day)
        return await self._delete(history_usage, "day", before_day, _USAGE_KEY, most)

    async def _young(self, connection: AsyncConnection, rows: Rows) -> Rows:
        """Those that pruning did not reach; it waits for this transaction before it goes on."""
        before = await connection.scalar(_HORIZON_SHARED)
        if before is None:
            return rows
        runs = [run for run in rows.runs if run.finished_ms >= before]
        return Rows(runs, [one for one in rows.attempts if one.ended_ms >= before])

    async def _count(self, connection: AsyncConnection, added: Sequence[UsageDay]) -> None:
        rows = sorted(map(usage_row, added), key=lambda row: [row[name] for name in _USAGE_KEY])
        await connection.execute(self._counting, rows)

    async def _advance(self, before_ms: int) -> int:
        """The time before which nothing is recorded any more; it never goes back."""
        async with self._writer.writing() as connection:
            await add(connection, history_horizon, name=_RUNS, before=before_ms)
            found = int(await connection.scalar(_HORIZON.with_for_update()) or 0)
            if found >= before_ms:
                return found
            moved = history_horizon.update().where(history_horizon.c.name == _RUNS)
            await connection.execute(moved.values(before=before_ms))
        return before_ms

    async def _delete(
        self, table: Table, column: str, before: int, key: tuple[str, ...], most: int
    ) -> int:
        columns = [table.c[name] for name in key]
        old = select(*columns).where(table.c[column] < before).limit(most)
        async with self._writer.writing() as connection:
            rows = [tuple(row) for row in await connection.execute(old)]
            if rows:
                await connection.execute(delete(table).where(tuple_(*columns).in_(rows)))
        return len(rows)


_INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def _counting(dialect: str) -> Any:  # noqa: ANN401 - the dialects' inserts have no common class
    """Adds to usage what it is given."""
    statement: Any = _INSERTS[dialect](history_usage)
    more = {
        column.name: column + statement.excluded[column.name]
        for column in history_usage.c
        if column.name not in _USAGE_KEY
    }
    return statement.on_conflict_do_update(index_elements=list(_USAGE_KEY), set_=more)


def _own(table: Table, tenant: str, invocations: Sequence[str]) -> ColumnElement[bool]:
    return (table.c.tenant == tenant) & table.c.invocation.in_(invocations)


def _conditions(tenant: str, query: RunQuery) -> list[ColumnElement[bool]]:
    columns = history_runs.c
    exact = (
        (columns.function, query.function or None),
        (columns.version, query.version),
        (columns.outcome, query.outcome),
        (columns.limit_name, query.limit or None),
    )
    found = [columns.tenant == tenant, *(one == value for one, value in exact if value is not None)]
    if query.since_ms is not None:
        found.append(columns.finished_ms >= query.since_ms)
    if query.until_ms is not None:
        found.append(columns.finished_ms < query.until_ms)
    if query.after is not None:
        place = tuple_(columns.finished_ms, columns.invocation, columns.redrive)
        found.append(place > query.after if query.oldest_first else place < query.after)
    return found


def _usage_conditions(tenant: str, query: UsageQuery) -> list[ColumnElement[bool]]:
    columns = history_usage.c
    found = [columns.tenant == tenant]
    if query.function:
        found.append(columns.function == query.function)
    if query.first_day is not None:
        found.append(columns.day >= query.first_day)
    if query.last_day is not None:
        found.append(columns.day <= query.last_day)
    if query.after is not None:
        day, function = query.after
        found.append((columns.day < day) | ((columns.day == day) & (columns.function > function)))
    return found
