"""The adapters of each port. A suite asks for the port by name and runs once for each of them."""

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stockade.core.blob_place import BlobPlace
from stockade.core.blobs import BlobStore
from stockade.core.ports import Catalog
from stockade.infra.blobs.directory_blobs import DirectoryBlobStore
from stockade.infra.blobs.object_store import open_object_store
from stockade.infra.blobs.obstore_blobs import ObstoreBlobStore
from stockade.infra.memory.memory_blobs import MemoryBlobStore
from stockade.infra.memory.memory_catalog import MemoryCatalog
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.system_clock import SystemClock
from tests.ports.postgres_server import PostgresServer, new_server
from tests.s3_server import S3Server, s3_server

SQL = ["sqlite", "postgresql"]
_EMPTY_TABLES = """
SET session_replication_role = replica;
DO $$ DECLARE one record; BEGIN
  FOR one IN SELECT tablename FROM pg_tables
      WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
    EXECUTE format('DELETE FROM %I', one.tablename);
  END LOOP;
END $$;
"""
"""Triggers and foreign keys hold nobody back; making the tables anew takes ten times as long."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server with the databases `empty` and `migrated`."""
    server = new_server()
    yield server
    server.remove()


async def emptied_url(request: pytest.FixtureRequest, adapter: str, directory: Path) -> str:
    """Where a database without a row is, of whatever schema a test before this one left there."""
    if adapter == "postgresql":
        return await _postgres_database(request, "migrated", _EMPTY_TABLES)
    return f"sqlite:///{directory / 'catalog.db'}"


async def _postgres_database(request: pytest.FixtureRequest, name: str, clear: str) -> str:
    """The URL of a database of the tests' server, cleared."""
    server: PostgresServer = request.getfixturevalue("postgres")
    if not await server.rows(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):  # noqa: S608
        await server.execute(f"CREATE DATABASE {name}")
    await server.execute(clear, name)
    return server.url(name)


@pytest.fixture(params=SQL)
async def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "postgresql":
        clear = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
        return await _postgres_database(request, "empty", clear)
    return f"sqlite:///{tmp_path / 'catalog.db'}"


@pytest.fixture(params=["memory", *SQL])
async def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Catalog]:
    """An empty catalog with the tenants `acme` and `rival`."""
    if request.param == "memory":
        made: Catalog = MemoryCatalog()
        await _add_tenants(made)
        yield made
        return
    sql = await SqlCatalog.open(await emptied_url(request, request.param, tmp_path))
    await _add_tenants(sql)
    yield sql
    await sql.aclose()


async def _add_tenants(catalog: Catalog) -> None:
    for tenant in ("acme", "rival"):
        assert await catalog.ensure_tenant(tenant)


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server for all of this run's tests; each takes a bucket of its own."""
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server, tmp_path: Path) -> BlobPlace:
    """An empty bucket."""
    return s3.new_bucket(tmp_path / "credentials.toml")


@pytest.fixture(params=["memory", "directory", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """An empty blob store."""
    if request.param == "memory":
        return MemoryBlobStore()
    if request.param == "directory":
        return DirectoryBlobStore(tmp_path / "blobs")
    place = request.getfixturevalue("bucket")
    return ObstoreBlobStore(open_object_store(place, SystemClock()))


@pytest.fixture
def damage(blobs: BlobStore, request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Spoils the stored bytes of a digest behind the store's back."""

    def spoil(digest: str) -> None:
        if isinstance(blobs, MemoryBlobStore):
            blobs._blobs[digest] = b"spoilt"
        elif isinstance(blobs, DirectoryBlobStore):
            blobs._path(digest).write_bytes(b"spoilt")
        else:
            server, place = map(request.getfixturevalue, ("s3", "bucket"))
            server.spoil(place, f"sha256/{digest[7:9]}/{digest[9:]}")

    return spoil


@pytest.fixture
def grow_old(
    blobs: BlobStore, tmp_path: Path, request: pytest.FixtureRequest
) -> Callable[[], None]:
    """Has everything stored so far look as if it had been there for long."""

    def age() -> None:
        if isinstance(blobs, MemoryBlobStore):
            blobs._stored_ms = dict.fromkeys(blobs._stored_ms, 1000)
        elif isinstance(blobs, ObstoreBlobStore):
            server, place = map(request.getfixturevalue, ("s3", "bucket"))
            server.grow_old(place)
        for path in tmp_path.glob("blobs/sha256/*/*"):
            os.utime(path, (1, 1))

    return age


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB, where we may mount one."""
    with mounted(tmp_path / "disk", "512k") as place:
        yield place


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB, where we may mount one."""
    with mounted(tmp_path / "disk", "4m") as place:
        yield place


@contextmanager
def mounted(place: Path, size: str) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode and not os.getenv("CI"):
        pytest.skip(f"this container may not mount: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    yield place
    subprocess.run(["umount", str(place)], check=True)
