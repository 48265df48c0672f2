"""The catalog in an SQL database: SQLite in a file by default, PostgreSQL by URL."""

from collections.abc import Sequence
from typing import Self

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from stockade.core.audit import HeadSigner
from stockade.core.modules import SecretEntry
from stockade.infra.catalog_values import check_storable, storable
from stockade.infra.sql import sql_queries as queries
from stockade.infra.sql.sql_attestations import SqlAttestationStore
from stockade.infra.sql.sql_audit import SqlAuditLog
from stockade.infra.sql.sql_engine import catalog_failures, create_engine, migrate, reading
from stockade.infra.sql.sql_functions import SqlFunctionStore
from stockade.infra.sql.sql_history import SqlHistoryStore
from stockade.infra.sql.sql_oci import SqlOciStore
from stockade.infra.sql.sql_schedules import SqlScheduleStore
from stockade.infra.sql.sql_schema import tenants
from stockade.infra.sql.sql_trust import SqlTrustStore
from stockade.infra.sql.sql_workloads import SqlWorkloadStore
from stockade.infra.sql.sql_writer import SqlWriter


class SqlCatalog(SqlWorkloadStore, SqlTrustStore, SqlFunctionStore, SqlAttestationStore):
    """The `Catalog` port through SQLAlchemy; made by `open`, ended by `aclose`."""

    def __init__(self, engine: AsyncEngine, busy_timeout_seconds: float) -> None:
        super().__init__(engine, SqlWriter(engine, busy_timeout_seconds))

    @classmethod
    async def open(cls, url: str, *, busy_timeout_seconds: float = 5.0) -> Self:
        """Opens the database at `url` and migrates it to the newest schema.

        Args:
            url: `sqlite:///<file>` or `postgresql://…`.
            busy_timeout_seconds: How long one step waits for another process or the server.

        Raises:
            StockadeError: `config.catalog_url_invalid`, `catalog.unavailable`, `catalog.corrupt`,
                `catalog.schema_unknown` or `catalog.schema_broken`.
        """
        await migrate(url, busy_timeout_seconds)
        return cls(create_engine(url, busy_timeout_seconds), busy_timeout_seconds)

    @classmethod
    def open_as_it_is(cls, url: str, *, busy_timeout_seconds: float = 5.0) -> Self:
        """Opens the database at `url` for who only reads: nothing is migrated.

        Raises:
            StockadeError: `config.catalog_url_invalid`.
        """
        return cls(create_engine(url, busy_timeout_seconds), busy_timeout_seconds)

    async def aclose(self) -> None:
        """Closes every connection."""
        with catalog_failures():
            await self._engine.dispose()

    async def ensure_tenant(self, tenant: str) -> bool:
        """Creates the tenant; False when it was there."""
        check_storable(tenant)
        async with self._writer.writing(tenant) as connection:
            return await queries.add(connection, tenants, name=tenant)

    async def tenants(self) -> Sequence[str]:
        """The names of all tenants, in order."""
        async with reading(self._engine) as connection:
            # Sorted here: databases order text each in their own way.
            return sorted((await connection.execute(select(tenants.c.name))).scalars())

    async def put_secret(self, tenant: str, name: str, sealed: bytes, now_ms: int) -> bool:
        """Stores a sealed secret, in place of an earlier one; True when the name is new."""
        check_storable(tenant, name, now_ms)
        async with self._writer.writing(tenant) as connection:
            row = {"name": name, "sealed": sealed, "updated_ms": now_ms}
            return await queries.put_secret(connection, tenant, **row)

    async def secret(self, tenant: str, name: str) -> bytes | None:
        """The sealed secret of this name."""
        if not storable(tenant, name):
            return None
        async with reading(self._engine) as connection:
            return await queries.find_secret(connection, tenant, name)

    async def secrets(self, tenant: str) -> Sequence[SecretEntry]:
        """The tenant's secrets by name, without what they hold."""
        if not storable(tenant):
            return ()
        async with reading(self._engine) as connection:
            return await queries.list_secrets(connection, tenant)

    async def delete_secret(self, tenant: str, name: str) -> bool:
        """Deletes a secret; False when there was none."""
        if not storable(tenant, name):
            return False
        async with self._writer.writing(tenant) as connection:
            return await queries.delete_secret(connection, tenant, name)

    def oci_store(self) -> SqlOciStore:
        """The tenants' OCI content, as one store."""
        return SqlOciStore(self._engine, self._writer)

    def history_store(self) -> SqlHistoryStore:
        """The history, in the same database."""
        return SqlHistoryStore(self._engine, self._writer)

    def schedule_store(self) -> SqlScheduleStore:
        """The tenants' schedules, in the same database."""
        return SqlScheduleStore(self._engine, self._writer)

    def audit_log(self, signer: HeadSigner) -> SqlAuditLog:
        """The audit log, in the same database."""
        return SqlAuditLog(self._engine, self._writer, signer)
