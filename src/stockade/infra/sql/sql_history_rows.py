"""Adds rows of the history: all of them in one statement, whose one parameter is JSON.

A parameter for each column of each row costs the event loop several times what the database takes
for them. As JSON they are encoded in one go, and the database takes them apart itself.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Table,
    TableValuedAlias,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from stockade.infra.history_values import Shape, columns_of, values_of

_ROWS = "rows"
_encode = msgspec.json.Encoder().encode


class RowAdder:
    """Adds rows to one table, of those that are not there yet.

    Args:
        table: Which.
        shape: What its rows are.
        key: The columns that tell rows apart.
        dialect: `sqlite` or `postgresql`.
    """

    def __init__(self, table: Table, shape: Shape, key: tuple[str, ...], dialect: str) -> None:
        names = columns_of(shape)
        columns = [table.c[name] for name in names]
        each, taken = _TAKING[dialect](columns)
        statement: Any = _INSERTS[dialect](table)
        self._key = key
        self._statement = (
            # Without a condition SQLite would read the conflict clause as that of a join.
            statement.from_select(names, select(*taken).select_from(each).where(true()))
            .on_conflict_do_nothing()
            .returning(*(table.c[name] for name in key))
        )

    async def add(self, connection: AsyncConnection, rows: Sequence[Any]) -> list[Any]:
        """Adds the rows that are not there; answers these."""
        if not rows:
            return []
        told = _encode([values_of(row) for row in rows]).decode()
        added = await connection.execute(self._statement, {_ROWS: told})
        new = {tuple(row) for row in added}
        return [row for row in rows if tuple(getattr(row, name) for name in self._key) in new]


_Taken = tuple[TableValuedAlias, list[ColumnElement[Any]]]


def _of_sqlite(columns: Sequence[Column[Any]]) -> _Taken:
    each = func.json_each(bindparam(_ROWS, type_=Text)).table_valued("value")
    paths = [f"'$[{place}]'" for place in range(len(columns))]
    return each, [func.json_extract(each.c.value, literal_column(path)) for path in paths]


def _of_postgresql(columns: Sequence[Column[Any]]) -> _Taken:
    told = cast(bindparam(_ROWS, type_=Text), postgresql.JSONB)
    each = func.jsonb_array_elements(told).table_valued("value")
    texts = (each.c.value.op("->>")(literal_column(str(at))) for at in range(len(columns)))
    return each, [cast(text, column.type) for text, column in zip(texts, columns, strict=True)]


_TAKING = {"sqlite": _of_sqlite, "postgresql": _of_postgresql}
_INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
