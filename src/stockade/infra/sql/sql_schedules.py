"""The `ScheduleStore` port in the catalog's database; made by `SqlCatalog.schedule_store`."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    and_,
    delete,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from stockade.core.invocations import Priority
from stockade.core.schedules import (
    CatchUp,
    CronTiming,
    FiringRefusal,
    IntervalTiming,
    Schedule,
    ScheduleDefinition,
)
from stockade.infra.catalog_values import (
    check_schedule_storable,
    storable,
    to_json,
    too_many_schedules,
)
from stockade.infra.sql.sql_engine import reading
from stockade.infra.sql.sql_queries import add
from stockade.infra.sql.sql_schema import schedules, tenants
from stockade.infra.sql.sql_writer import SqlWriter

_PLAIN = tuple(
    field.name for field in fields(Schedule) if field.name not in {"definition", "refusal"}
)

_WITHOUT_INPUT = select(
    *(column for column in schedules.c if column is not schedules.c.input),
    literal(b"").label("input"),
)


class SqlScheduleStore:
    """Schedules in one table."""

    def __init__(self, engine: AsyncEngine, writer: SqlWriter) -> None:
        self._engine = engine
        self._writer = writer

    async def add(self, schedule: Schedule, most: int) -> bool:
        """Adds a schedule; False when the tenant has one of this name."""
        check_schedule_storable(schedule)
        async with self._writer.writing(schedule.tenant) as connection:
            await _lock_tenant(connection, schedule.tenant)
            if not await add(connection, schedules, **_row(schedule)):
                return False
            if await _count(connection, schedule.tenant) > most:
                raise too_many_schedules(most)
            return True

    async def change(
        self, tenant: str, name: str, rule: Callable[[Schedule], Schedule]
    ) -> Schedule | None:
        """Puts what the rule makes of a schedule in its place, in one step; None without one."""
        if not storable(tenant, name):
            return None
        own = _is(tenant, name)
        async with self._writer.writing(tenant) as connection:
            stored = await _find(connection, select(schedules).where(own).with_for_update())
            if stored is None:
                return None
            changed = rule(stored)
            if changed != stored:
                check_schedule_storable(changed)
                await connection.execute(update(schedules).where(own).values(**_row(changed)))
            return changed

    async def schedule(self, tenant: str, name: str) -> Schedule | None:
        """The schedule of this name."""
        if not storable(tenant, name):
            return None
        async with reading(self._engine) as connection:
            return await _find(connection, select(schedules).where(_is(tenant, name)))

    async def schedules(self, tenant: str) -> Sequence[Schedule]:
        """The tenant's schedules by name, their inputs left out: together they may be large."""
        if not storable(tenant):
            return ()
        async with reading(self._engine) as connection:
            rows = await connection.execute(_WITHOUT_INPUT.where(schedules.c.tenant == tenant))
            return tuple(sorted(map(_schedule, rows.mappings()), key=lambda one: one.name))

    async def delete(self, tenant: str, name: str) -> bool:
        """Deletes a schedule; False when there was none."""
        if not storable(tenant, name):
            return False
        async with self._writer.writing(tenant) as connection:
            done = await connection.execute(delete(schedules).where(_is(tenant, name)))
            return done.rowcount == 1

    async def due(self, now_ms: int, most: int, most_of_tenant: int) -> Sequence[Schedule]:
        """What is due, tenant by tenant in turn; of each tenant what is due longest comes first."""
        order = (schedules.c.due_ms, schedules.c.name)
        turn = func.row_number().over(partition_by=schedules.c.tenant, order_by=order)
        ranked = (
            select(schedules.c.tenant, schedules.c.name, turn.label("turn"))
            .where(schedules.c.due_ms <= now_ms)
            .subquery()
        )
        same = and_(schedules.c.tenant == ranked.c.tenant, schedules.c.name == ranked.c.name)
        query = (
            select(schedules)
            .join(ranked, same)
            .where(ranked.c.turn <= most_of_tenant)
            .order_by(ranked.c.turn, schedules.c.due_ms, schedules.c.tenant)
            .limit(most)
        )
        async with reading(self._engine) as connection:
            return tuple(map(_schedule, (await connection.execute(query)).mappings()))

    async def next_due_ms(self) -> int | None:
        """When the next one of all tenants is due."""
        async with reading(self._engine) as connection:
            found: int | None = await connection.scalar(select(func.min(schedules.c.due_ms)))
            return found


async def _lock_tenant(connection: AsyncConnection, tenant: str) -> None:
    """Others that add for this tenant wait for the end, so that counts are exact."""
    await connection.execute(select(tenants).where(tenants.c.name == tenant).with_for_update())


async def _count(connection: AsyncConnection, tenant: str) -> int:
    own = select(func.count()).select_from(schedules).where(schedules.c.tenant == tenant)
    return int(await connection.scalar(own) or 0)


async def _find(connection: AsyncConnection, query: Select[Any]) -> Schedule | None:
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _schedule(row)


def _is(tenant: str, name: str) -> ColumnElement[bool]:
    return and_(schedules.c.tenant == tenant, schedules.c.name == name)


def _row(schedule: Schedule) -> dict[str, object]:
    definition = schedule.definition
    return {
        **{name: getattr(schedule, name) for name in _PLAIN},
        **_timing_columns(definition.timing),
        "function": definition.function,
        "alias": definition.alias,
        "version": definition.version,
        "input": definition.input,
        "priority": int(definition.priority),
        "catch_up": definition.catch_up.value,
        "refusal": None if schedule.refusal is None else to_json(schedule.refusal),
    }


def _timing_columns(timing: CronTiming | IntervalTiming) -> dict[str, object]:
    columns: dict[str, object] = dict.fromkeys(("cron", "time_zone", "every_seconds", "anchor_ms"))
    if isinstance(timing, CronTiming):
        return columns | {"cron": timing.expression, "time_zone": timing.time_zone}
    return columns | {"every_seconds": timing.every_seconds, "anchor_ms": timing.anchor_ms}


def _schedule(row: RowMapping) -> Schedule:
    timing: CronTiming | IntervalTiming
    if row["cron"] is not None:
        timing = CronTiming(row["cron"], row["time_zone"])
    else:
        timing = IntervalTiming(row["every_seconds"], row["anchor_ms"])
    definition = ScheduleDefinition(
        function=row["function"],
        timing=timing,
        alias=row["alias"],
        version=row["version"],
        input=row["input"],
        priority=Priority(row["priority"]),
        catch_up=CatchUp(row["catch_up"]),
    )
    refusal = row["refusal"]
    return Schedule(
        **{name: row[name] for name in _PLAIN},
        definition=definition,
        refusal=None if refusal is None else msgspec.json.decode(refusal, type=FiringRefusal),
    )
