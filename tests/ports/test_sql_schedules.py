"""What the schedules in SQL promise beyond the port: older databases, several processes."""

import asyncio
from dataclasses import replace

from alembic import command
from sqlalchemy import Connection

from stockade.core.schedules import IntervalTiming, Schedule, ScheduleDefinition
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.sql.sql_migration import migration_config

PLAIN = Schedule("acme", "a", "id", ScheduleDefinition("f", IntervalTiming(60)), 0, 5, 5)


async def test_a_database_from_before_schedules_goes_on(catalog_url: str) -> None:
    def downgrade(connection: Connection) -> None:
        command.downgrade(migration_config(connection), "0002")

    catalog = await SqlCatalog.open(catalog_url)
    await catalog.ensure_tenant("acme")
    await catalog.put_secret("acme", "KEY", b"sealed", 1)
    async with catalog._engine.begin() as connection:
        await connection.run_sync(downgrade)
    await catalog.aclose()

    catalog = await SqlCatalog.open(catalog_url)
    assert await catalog.secret("acme", "KEY") == b"sealed"
    assert await catalog.schedule_store().add(PLAIN, 1)
    await catalog.aclose()
    catalog = await SqlCatalog.open(catalog_url)
    assert await catalog.schedule_store().schedule("acme", "a") == PLAIN
    await catalog.aclose()


async def test_changes_through_two_gateways_follow_each_other(catalog_url: str) -> None:
    first, second = await SqlCatalog.open(catalog_url), await SqlCatalog.open(catalog_url)
    await first.ensure_tenant("acme")
    await first.schedule_store().add(PLAIN, 1)
    stores = [first.schedule_store(), second.schedule_store()] * 20

    def count(one: Schedule) -> Schedule:
        return replace(one, last_ms=(one.last_ms or 0) + 1)

    await asyncio.gather(*(store.change("acme", "a", count) for store in stores))
    found = await first.schedule_store().schedule("acme", "a")
    assert found is not None
    assert found.last_ms == len(stores)
    await first.aclose()
    await second.aclose()


async def test_two_gateways_that_add_keep_the_bound(catalog_url: str) -> None:
    first, second = await SqlCatalog.open(catalog_url), await SqlCatalog.open(catalog_url)
    await first.ensure_tenant("acme")
    await asyncio.gather(
        *(
            catalog.schedule_store().add(replace(PLAIN, name=f"s{number}"), 5)
            for number in range(10)
            for catalog in (first, second)
        ),
        return_exceptions=True,
    )
    assert len(await second.schedule_store().schedules("acme")) == 5
    await first.aclose()
    await second.aclose()
