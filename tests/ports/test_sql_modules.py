"""What the SQL tables of modules promise beyond the port: old rows, and look-ups by an index."""

from alembic import command
from sqlalchemy import Connection, insert, text

from stockade.core.module_store import StorageUsage
from stockade.core.modules import Abi, FunctionContent
from stockade.infra.catalog_values import to_json
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.sql.sql_migration import migration_config
from stockade.infra.sql.sql_schema import modules
from tests.ports.test_module_store import FACTS, module


def _down(connection: Connection) -> None:
    command.downgrade(migration_config(connection), "0008")


async def test_modules_of_before_have_their_sizes_and_users_afterwards(catalog_url: str) -> None:
    catalog = await SqlCatalog.open(catalog_url)
    await catalog.ensure_tenant("acme")
    for number in range(3):
        await catalog.add_module(module(number))
    content = FunctionContent(module(1).digest, Abi.STOCKADE_V1, deterministic=True)
    await catalog.put_function("acme", "f", content, 1)
    async with catalog._engine.begin() as connection:
        await connection.run_sync(_down)
    await catalog.aclose()
    catalog = await SqlCatalog.open(catalog_url)
    assert await catalog.storage_usage("acme") == StorageUsage(300, 3)
    assert list(await catalog.module_versions("acme", module(1).digest, 9)) == [("f", 1)]
    assert list(await catalog.module_versions("acme", module(2).digest, 9)) == []
    assert len(await catalog.modules("acme", 9)) == 3
    await catalog.aclose()


async def test_a_page_of_ten_thousand_modules_goes_by_the_index(catalog_url: str) -> None:
    catalog = await SqlCatalog.open(catalog_url)
    await catalog.ensure_tenant("acme")
    rows = [
        {
            "tenant": "acme",
            "digest": module(number).digest,
            "facts": to_json(FACTS),
            "size_bytes": 100,
            "created_ms": number,
        }
        for number in range(10_000)
    ]
    async with catalog._engine.begin() as connection:
        await connection.execute(insert(modules), rows)
    page = await catalog.modules("acme", 2, (5_000, ""))
    assert [one.created_ms for one in page] == [4_999, 4_998]
    assert await catalog.storage_usage("acme") == StorageUsage(1_000_000, 10_000)
    if catalog._engine.dialect.name == "sqlite":
        query = (
            "EXPLAIN QUERY PLAN SELECT * FROM modules WHERE tenant = 'acme' AND deleted_ms IS NULL"
            " AND (created_ms, digest) < (5000, '') ORDER BY created_ms DESC, digest DESC LIMIT 2"
        )
        async with catalog._engine.connect() as connection:
            plan = "\n".join(map(str, await connection.execute(text(query))))
        assert "ix_modules_created_ms" in plan
        assert "TEMP B-TREE" not in plan
    await catalog.aclose()
