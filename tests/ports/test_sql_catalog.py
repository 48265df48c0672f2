"""What the SQL catalog promises beyond the port: restarts, several processes, trouble."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from stockade.core.aliases import Stamp, pointed
from stockade.core.api_keys import ApiKey
from stockade.core.errors import StockadeError
from stockade.core.modules import (
    Abi,
    Alias,
    FunctionContent,
    ModuleFacts,
    Signer,
    StoredModule,
)
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.sql.sql_migration import migration_config
from stockade.infra.sql.sql_schema import metadata

CONTENT = FunctionContent("sha256:" + "ab" * 32, Abi.STOCKADE_V1, deterministic=True)
FACTS = ModuleFacts(Abi.STOCKADE_V1, (), ("memory",), deterministic=True, size_bytes=9)
MODULE = StoredModule("acme", CONTENT.digest, FACTS, (b"signature",), 1_000)


@pytest.fixture(autouse=True)
async def no_worker_outlives_the_loop() -> AsyncIterator[None]:
    """When it cannot open a file, aiosqlite does not wait for its thread; the loop must."""
    yield
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            await asyncio.to_thread(thread.join)


@asynccontextmanager
async def opened(url: str, busy_timeout_seconds: float = 5.0) -> AsyncIterator[SqlCatalog]:
    catalog = await SqlCatalog.open(url, busy_timeout_seconds=busy_timeout_seconds)
    try:
        yield catalog
    finally:
        await catalog.aclose()


async def test_everything_is_there_after_a_restart(catalog_url: str) -> None:
    key = ApiKey("abcdefghij01", "acme", "ci", b"hash", 1_000)
    signer, alias = Signer("release", b"k" * 32), Alias("prod", ((1, 1),))
    async with opened(catalog_url) as catalog:
        await catalog.ensure_tenant("acme")
        await catalog.add_key(key)
        await catalog.add_signer("acme", signer)
        await catalog.add_module(MODULE)
        made, _ = await catalog.put_function("acme", "hello", CONTENT, 1_000)
        await catalog.change_alias("acme", "hello", "prod", pointed(alias.weights), Stamp("", 0))
    async with opened(catalog_url) as catalog:
        assert not await catalog.ensure_tenant("acme")
        assert await catalog.find_key(key.id) == key
        assert list(await catalog.signers("acme")) == [signer]
        assert await catalog.module("acme", MODULE.digest) == MODULE
        assert list(await catalog.functions("acme")) == [made]
        assert await catalog.alias("acme", "hello", "prod") == alias


async def test_gateways_that_deploy_at_once_get_distinct_versions(catalog_url: str) -> None:
    async with opened(catalog_url) as first, opened(catalog_url) as second:
        await first.ensure_tenant("acme")
        results = await asyncio.gather(
            *(
                catalog.put_function("acme", "hello", replace(CONTENT, concurrency=number), 1_000)
                for number in range(1, 16)
                for catalog in (first, second)
            )
        )
    # Each content is deployed twice; the second is a new version if another came between.
    numbers = sorted(made.version for made, created in results if created)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 15
    contents = {made.version: made.content for made, _ in results}
    assert all(contents[made.version] == made.content for made, _ in results)


async def test_equal_deploys_through_two_gateways_are_one_version(catalog_url: str) -> None:
    async with opened(catalog_url) as first, opened(catalog_url) as second:
        await first.ensure_tenant("acme")
        results = await asyncio.gather(
            *(
                catalog.put_function("acme", "hello", CONTENT, 1_000)
                for _ in range(10)
                for catalog in (first, second)
            )
        )
    assert [created for _, created in results].count(True) == 1
    assert {made.version for made, _ in results} == {1}


OPEN_IN_A_PROCESS = """
import asyncio, sys
from stockade.infra.sql.sql_catalog import SqlCatalog
async def main():
    catalog = await SqlCatalog.open(sys.argv[1], busy_timeout_seconds=30)
    print(await catalog.ensure_tenant("acme"))
    await catalog.aclose()
asyncio.run(main())
"""


async def test_processes_that_start_at_once_migrate_once(catalog_url: str) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", OPEN_IN_A_PROCESS, catalog_url, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(5)
    ]
    answers = await asyncio.gather(*(process.communicate() for process in processes))
    assert [process.returncode for process in processes] == [0] * 5
    assert sorted(out.strip() for out, _ in answers) == [b"False"] * 4 + [b"True"]


async def test_a_cancelled_write_leaves_the_catalog_whole(catalog_url: str) -> None:
    async with opened(catalog_url) as catalog:
        await catalog.ensure_tenant("acme")
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await asyncio.gather(
                        *(catalog.put_function("acme", f"f{n}", CONTENT, 1_000) for n in range(50))
                    )
        _, created = await catalog.put_function("acme", "after", CONTENT, 1_000)
        assert created
        assert all(made.version == 1 for made in await catalog.functions("acme"))


async def test_the_migrations_make_the_schema_and_unmake_it(catalog_url: str) -> None:
    def differences(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    def unmake(connection: Connection) -> list[str]:
        command.downgrade(migration_config(connection), "base")
        return inspect(connection).get_table_names()

    async with opened(catalog_url) as catalog, catalog._engine.begin() as connection:
        assert await connection.run_sync(differences) == []
        assert await connection.run_sync(unmake) == ["alembic_version"]


async def test_a_catalog_of_a_newer_release_is_refused(catalog_url: str) -> None:
    async with opened(catalog_url) as catalog, catalog._engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StockadeError) as caught:
        await SqlCatalog.open(catalog_url)
    assert (caught.value.code, caught.value.retryable) == ("catalog.schema_unknown", False)


async def test_sqlite_is_durable_and_checks_foreign_keys(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    async with opened(url) as catalog, catalog._engine.connect() as connection:
        found = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5000,
    }


async def test_a_locked_catalog_is_unavailable_for_writes_only_and_recovers(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    async with opened(f"sqlite:///{path}", busy_timeout_seconds=0.02) as catalog:
        await catalog.ensure_tenant("acme")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StockadeError) as caught:
            await catalog.ensure_tenant("rival")
        assert list(await catalog.functions("acme")) == []
        other.close()
        assert await catalog.ensure_tenant("rival")
    assert (caught.value.code, caught.value.retryable) == ("catalog.unavailable", True)


async def test_writers_that_queue_wait_no_longer_than_one(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    async with opened(f"sqlite:///{path}", busy_timeout_seconds=0.2) as catalog:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(2):  # one after the other, fifty would take ten seconds
            results = await asyncio.gather(
                *(catalog.ensure_tenant(f"t{number}") for number in range(50)),
                return_exceptions=True,
            )
        other.close()
        assert await catalog.ensure_tenant("after")
    codes = {one.code for one in results if isinstance(one, StockadeError)}
    assert (codes, len(results)) == ({"catalog.unavailable"}, 50)


async def test_a_catalog_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StockadeError) as caught:
        await SqlCatalog.open(f"sqlite:///{tmp_path / 'absent' / 'catalog.db'}")
    assert (caught.value.code, caught.value.retryable) == ("catalog.unavailable", True)


async def test_a_file_that_is_no_catalog_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StockadeError) as caught:
        await SqlCatalog.open(f"sqlite:///{path}")
    assert (caught.value.code, caught.value.retryable) == ("catalog.corrupt", False)
    assert path.read_bytes() == b"no database" * 1000


async def test_a_full_disk_is_unavailable_and_loses_nothing(small_disk: Path) -> None:
    async with opened(f"sqlite:///{small_disk / 'catalog.db'}") as catalog:
        await catalog.ensure_tenant("acme")
        await catalog.add_module(MODULE)
        with pytest.raises(StockadeError) as caught:
            await catalog.add_module(replace(MODULE, signatures=(b"x" * 5_000_000,)))
        assert await catalog.module("acme", MODULE.digest) == MODULE
    assert (caught.value.code, caught.value.retryable) == ("catalog.unavailable", True)


async def test_a_disk_that_turns_read_only_is_unavailable_for_writes_and_recovers(
    small_disk: Path,
) -> None:
    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(small_disk)], check=True)

    async with opened(f"sqlite:///{small_disk / 'catalog.db'}") as catalog:
        await catalog.ensure_tenant("acme")
        await catalog.add_module(MODULE)
        await catalog._engine.dispose()  # the write-ahead log is away when nobody has the file open
        remount("ro")
        with pytest.raises(StockadeError) as caught:
            await catalog.put_function("acme", "hello", CONTENT, 1)
        await catalog._engine.dispose()
        remount("rw")
        assert (await catalog.put_function("acme", "hello", CONTENT, 1))[1]
        assert await catalog.module("acme", MODULE.digest) == MODULE
    assert (caught.value.code, caught.value.retryable) == ("catalog.unavailable", True)


async def test_a_file_that_is_damaged_while_it_is_used_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    async with opened(f"sqlite:///{path}") as catalog:
        await catalog.ensure_tenant("acme")
        await catalog._engine.dispose()
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        with pytest.raises(StockadeError) as caught:
            await catalog.functions("acme")
    assert (caught.value.code, caught.value.retryable) == ("catalog.corrupt", False)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "catalog.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory&uri=true",
        "mysql://localhost/stockade",
    ],
)
async def test_a_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(StockadeError) as caught:
        await SqlCatalog.open(url)
    assert caught.value.code == "config.catalog_url_invalid"


async def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(StockadeError, match=r"^config\.catalog_driver_missing.*asyncpg"):
        await SqlCatalog.open("postgresql://user:hidden@localhost/stockade")
