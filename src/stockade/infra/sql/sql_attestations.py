"""The `AttestationStore` port in the catalog's database; a part of `SqlCatalog`."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import func, select

from stockade.core.attestations import StoredAttestation, too_many_attestations
from stockade.core.errors import not_found
from stockade.infra.catalog_values import check_storable, storable
from stockade.infra.sql.sql_engine import reading
from stockade.infra.sql.sql_module_queries import lock_module
from stockade.infra.sql.sql_modules import SqlModuleStore
from stockade.infra.sql.sql_queries import add
from stockade.infra.sql.sql_tables_attestations import module_attestations

_COLUMNS = [
    module_attestations.c[name] for name in ("tenant", "digest", "id", "envelope", "created_ms")
]


class SqlAttestationStore(SqlModuleStore):
    """Modules, and their attestations in a table of their own."""

    async def add_attestation(self, attestation: StoredAttestation, most: int) -> bool:
        """Stores one beside its module; False when the module has it."""
        tenant, digest = attestation.tenant, attestation.digest
        check_storable(tenant, digest, attestation.id, attestation.created_ms)
        count = select(func.count()).where(
            module_attestations.c.tenant == tenant, module_attestations.c.digest == digest
        )
        async with self._writer.writing(tenant) as connection:
            # The lock on the module: what comes at once is counted one after the other.
            module = await lock_module(connection, tenant, digest)
            if module is None or module.deleted_ms is not None:
                raise not_found("module", digest)
            if not await add(connection, module_attestations, **asdict(attestation)):
                return False
            if (await connection.scalar(count) or 0) > most:
                raise too_many_attestations(most)
            return True

    async def attestations(self, tenant: str, digest: str) -> Sequence[StoredAttestation]:
        """Those of the tenant's module, in the order of their arrival."""
        if not storable(tenant, digest):
            return ()
        own = (module_attestations.c.tenant == tenant, module_attestations.c.digest == digest)
        query = select(*_COLUMNS).where(*own).order_by(module_attestations.c.number)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query)).mappings()
            return tuple(StoredAttestation(**row) for row in rows)
