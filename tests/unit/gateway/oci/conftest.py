"""A gateway whose OCI content stands in a real database."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.sql.sql_engine import create_engine
from tests.unit.gateway.oci.registry import OciGateway, oci_gateway


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without rows, from which each test's is copied: migrations take their time."""
    path = tmp_path_factory.mktemp("oci") / "catalog.db"

    async def make() -> None:
        await (await SqlCatalog.open(f"sqlite:///{path}")).aclose()

    asyncio.run(make())
    return path


@pytest.fixture
async def database(migrated: Path, tmp_path: Path) -> AsyncIterator[SqlCatalog]:
    path = tmp_path / "catalog.db"
    shutil.copyfile(migrated, path)
    # Not opened: looking through the migrations takes longer than most tests.
    catalog = SqlCatalog(create_engine(f"sqlite:///{path}", 5.0), 5.0)
    yield catalog
    await catalog.aclose()


@pytest.fixture
async def oci(database: SqlCatalog) -> AsyncIterator[OciGateway]:
    async with oci_gateway(database) as running:
        yield running
