"""The adapters of each port. A suite asks for the port by name and runs once for each of them."""

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from stockade.core.blob_place import BlobPlace
from stockade.core.blobs import BlobStore
from stockade.core.ports import Catalog
from stockade.infra.directory_blobs import DirectoryBlobStore
from stockade.infra.memory_blobs import MemoryBlobStore
from stockade.infra.memory_catalog import MemoryCatalog
from stockade.infra.object_store import open_object_store
from stockade.infra.obstore_blobs import ObstoreBlobStore
from stockade.infra.sql_catalog import SqlCatalog
from stockade.infra.system_clock import SystemClock
from tests.s3_server import S3Server, s3_server

POSTGRES_URL = os.getenv("STOCKADE_TEST_POSTGRES_URL")
SQL = ["sqlite", "postgresql"] if POSTGRES_URL else ["sqlite"]


async def _fresh_url(adapter: str, directory: Path) -> str:
    if POSTGRES_URL is None or adapter == "sqlite":
        return f"sqlite:///{directory / 'catalog.db'}"
    asynchronous = POSTGRES_URL.replace("postgresql:", "postgresql+asyncpg:")
    engine = create_async_engine(asynchronous)
    async with engine.begin() as connection:
        await connection.execute(text("DROP SCHEMA public CASCADE"))
        await connection.execute(text("CREATE SCHEMA public"))
    await engine.dispose()
    return POSTGRES_URL


@pytest.fixture(params=SQL)
async def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    return await _fresh_url(request.param, tmp_path)


@pytest.fixture(params=["memory", *SQL])
async def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Catalog]:
    """An empty catalog with the tenants `acme` and `rival`."""
    if request.param == "memory":
        made: Catalog = MemoryCatalog()
        await _add_tenants(made)
        yield made
        return
    sql = await SqlCatalog.open(await _fresh_url(request.param, tmp_path))
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
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tiny file system")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode and not os.getenv("CI"):
        pytest.skip(f"this container may not mount: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    yield place
    subprocess.run(["umount", str(place)], check=True)
