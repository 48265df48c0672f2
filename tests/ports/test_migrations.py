"""From every released schema to the newest one, whatever happens on the way."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, text

from stockade.core.errors import StockadeError
from stockade.core.schedules import CronTiming
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.sql.sql_engine import create_engine
from tests.ports import released_schemas as released
from tests.ports.released_schemas import DIGEST, Row

REVISIONS = released.revisions()
OPEN = """
import asyncio, os, signal, sys
from sqlalchemy import Engine, event
from stockade.infra.sql.sql_catalog import SqlCatalog

@event.listens_for(Engine, "after_cursor_execute")
def executed(connection, cursor, statement, *args):
    if sys.argv[2] and sys.argv[2] in statement:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    catalog = await SqlCatalog.open(sys.argv[1], busy_timeout_seconds=30)
    await catalog.aclose()

asyncio.run(main())
"""


async def open_in_a_process(url: str, deadly: str = "") -> int:
    """Opens the catalog, or dies of signal 9 behind the statement that has the `deadly` words."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", OPEN, url, deadly)
    return await process.wait()


async def check_kept(url: str, left: Mapping[str, Row]) -> None:
    """Checks that every row of the release is there as it was."""

    def missing(connection: Connection) -> list[str]:
        metadata = sa.MetaData()
        metadata.reflect(connection)
        return [
            name
            for name, row in left.items()
            if not connection.scalar(
                sa.select(sa.func.count())
                .select_from(metadata.tables[name])
                .where(*(metadata.tables[name].c[column] == row[column] for column in row))
            )
        ]

    engine = create_engine(url, 30)
    async with engine.begin() as connection:
        assert await connection.run_sync(missing) == []
    await engine.dispose()


async def check_readable(catalog: SqlCatalog, left: Mapping[str, Row]) -> None:
    """Checks what the catalog makes of a tenant's rows."""
    assert not await catalog.ensure_tenant("acme")
    key = await catalog.find_key("abcdefghij01")
    assert key is not None
    assert (key.tenant, key.name, key.secret_hash, key.role) == ("acme", "ci", b"hash", "admin")
    assert [one.not_after_ms for one in await catalog.signers("acme")] == [9_000]
    module = await catalog.module("acme", DIGEST)
    assert module is not None
    assert (module.signatures, module.facts.size_bytes) == ((b"signature",), 9)
    version = await catalog.function_version("acme", "hello", None)
    assert version is not None
    assert (version.version, version.content.digest) == (1, DIGEST)
    assert version.content.limits.fuel == 7
    alias = await catalog.alias("acme", "hello", "prod")
    assert alias is not None
    assert alias.weights == ((1, 1),)
    if "secrets" in left:
        assert await catalog.secret("acme", "KEY") == b"sealed"
    if "schedules" in left:
        schedule = await catalog.schedule_store().schedule("acme", "nightly")
        assert schedule is not None
        assert schedule.definition.timing == CronTiming("0 3 * * *", "Europe/Berlin")
    _, created = await catalog.put_function("acme", "after", version.content, 2_000)
    assert created


@pytest.mark.parametrize("revision", REVISIONS)
async def test_what_a_release_left_is_kept_and_can_be_read(catalog_url: str, revision: str) -> None:
    left = await released.leave_behind(catalog_url, revision)
    catalog = await SqlCatalog.open(catalog_url, busy_timeout_seconds=30)
    await check_kept(catalog_url, left)
    await check_readable(catalog, left)
    await catalog.aclose()


@pytest.mark.parametrize(
    "deadly",
    ["TABLE secrets", "ADD COLUMN role", "TABLE audit_heads", f"version_num='{REVISIONS[-1]}'"],
)
async def test_killed_half_way_the_next_start_does_it_anew(catalog_url: str, deadly: str) -> None:
    left = await released.leave_behind(catalog_url, REVISIONS[0])
    assert await open_in_a_process(catalog_url, deadly) == -signal.SIGKILL
    assert await revision_of(catalog_url) == REVISIONS[0]
    catalog = await SqlCatalog.open(catalog_url, busy_timeout_seconds=30)
    await check_kept(catalog_url, left)
    await check_readable(catalog, left)
    await catalog.aclose()


async def test_processes_that_migrate_at_once_do_it_once(catalog_url: str) -> None:
    left = await released.leave_behind(catalog_url, REVISIONS[0])
    codes = await asyncio.gather(*(open_in_a_process(catalog_url) for _ in range(3)))
    assert codes == [0, 0, 0]
    await check_kept(catalog_url, left)


async def revision_of(url: str) -> object:
    engine = create_engine(url, 30)
    async with engine.connect() as connection:
        found = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    await engine.dispose()
    return found


async def execute(url: str, statement: str) -> None:
    engine = create_engine(url, 30)
    async with engine.begin() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


async def refusal_of(url: str) -> StockadeError:
    with pytest.raises(StockadeError) as caught:
        await SqlCatalog.open(url)
    return caught.value


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE aliases",
        "ALTER TABLE api_keys DROP COLUMN last_used_ms",
        "DELETE FROM alembic_version",
        "DROP TABLE alembic_version",
    ],
)
async def test_half_a_schema_is_refused_and_left_alone(catalog_url: str, damage: str) -> None:
    left = await released.leave_behind(catalog_url, REVISIONS[-1])
    await execute(catalog_url, damage)
    refusal = await refusal_of(catalog_url)
    assert (refusal.code, refusal.retryable) == ("catalog.schema_broken", False)
    left.pop("aliases" if "aliases" in damage else "", None)
    await check_kept(catalog_url, left)


async def test_a_newer_schema_is_refused_and_left_alone(catalog_url: str) -> None:
    left = await released.leave_behind(catalog_url, REVISIONS[-1])
    await execute(catalog_url, "UPDATE alembic_version SET version_num = '9999'")
    refusal = await refusal_of(catalog_url)
    assert (refusal.code, refusal.retryable) == ("catalog.schema_unknown", False)
    await check_kept(catalog_url, left)


async def test_a_migration_may_take_longer_than_a_query(catalog_url: str) -> None:
    left = await released.leave_behind(catalog_url, REVISIONS[0])
    engine = create_engine(catalog_url, 30)
    async with engine.connect() as plain:
        holder = await plain.execution_options(stockade_begin="BEGIN IMMEDIATE")
        async with holder.begin():
            if engine.dialect.name == "postgresql":
                await holder.execute(text("LOCK TABLE api_keys"))
            opening = asyncio.ensure_future(SqlCatalog.open(catalog_url, busy_timeout_seconds=0.7))
            assert (await asyncio.wait([opening], timeout=1.5))[0] == set()
    catalog = await opening
    await check_readable(catalog, left)
    await catalog.aclose()
    await engine.dispose()


async def test_a_catalog_of_this_release_opens_while_another_writes(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    await (await SqlCatalog.open(f"sqlite:///{path}")).aclose()
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    catalog = await SqlCatalog.open(f"sqlite:///{path}", busy_timeout_seconds=0.02)
    await catalog.aclose()
    writer.close()


def test_the_processes_say_why_they_do_not_start(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    asyncio.run(released.leave_behind(url, REVISIONS[-1]))
    asyncio.run(execute(url, "UPDATE alembic_version SET version_num = '9999'"))
    options = {
        "database-url": url,
        "redis-url": "redis://127.0.0.1:1",
        "blob-dir": str(tmp_path),
        "secrets-key-file": str(tmp_path / "key"),
    }
    given = [f"--{name}={value}" for name, value in options.items()]
    done = subprocess.run(
        (sys.executable, "-m", "stockade.cli.main", "serve", "gateway", *given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "catalog.schema_unknown" in done.stderr
    assert "newer Stockade" in done.stderr
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
