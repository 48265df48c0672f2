"""The catalog in this process's memory: for tests and throw-away runs; nothing survives it.

No method awaits anything, so each one is atomic to the others.
"""

from collections.abc import Sequence

from stockade.core.modules import SecretEntry
from stockade.infra.catalog_values import (
    check_storable,
    no_tenant,
)
from stockade.infra.memory.memory_attestations import MemoryAttestationStore
from stockade.infra.memory.memory_functions import MemoryFunctionStore
from stockade.infra.memory.memory_schedules import MemoryScheduleStore
from stockade.infra.memory.memory_trust import MemoryTrustStore
from stockade.infra.memory.memory_workloads import MemoryWorkloadStore


class MemoryCatalog(
    MemoryWorkloadStore, MemoryTrustStore, MemoryFunctionStore, MemoryAttestationStore
):
    """The `Catalog` port in dictionaries."""

    def __init__(self) -> None:
        MemoryWorkloadStore.__init__(self, self._check_tenant)
        MemoryTrustStore.__init__(self, self._check_tenant)
        MemoryFunctionStore.__init__(self, self._check_tenant, self.check_not_deleted)
        MemoryAttestationStore.__init__(self, self._check_tenant, self.versions_made_of)
        self._tenants: set[str] = set()
        self._secrets: dict[str, dict[str, tuple[bytes, int]]] = {}
        self._schedules = MemoryScheduleStore(self._check_tenant)

    async def ensure_tenant(self, tenant: str) -> bool:
        """Creates the tenant; False when it was there."""
        check_storable(tenant)
        created = tenant not in self._tenants
        self._tenants.add(tenant)
        return created

    async def tenants(self) -> Sequence[str]:
        """The names of all tenants, in order."""
        return sorted(self._tenants)

    async def put_secret(self, tenant: str, name: str, sealed: bytes, now_ms: int) -> bool:
        """Stores a sealed secret, in place of an earlier one; True when the name is new."""
        check_storable(tenant, name, now_ms)
        self._check_tenant(tenant)
        own = self._secrets.setdefault(tenant, {})
        created = name not in own
        own[name] = sealed, now_ms
        return created

    async def secret(self, tenant: str, name: str) -> bytes | None:
        """The sealed secret of this name."""
        found = self._secrets.get(tenant, {}).get(name)
        return None if found is None else found[0]

    async def secrets(self, tenant: str) -> Sequence[SecretEntry]:
        """The tenant's secrets by name, without what they hold."""
        own = self._secrets.get(tenant, {})
        return tuple(SecretEntry(name, own[name][1]) for name in sorted(own))

    async def delete_secret(self, tenant: str, name: str) -> bool:
        """Deletes a secret; False when there was none."""
        return self._secrets.get(tenant, {}).pop(name, None) is not None

    def schedule_store(self) -> MemoryScheduleStore:
        """The tenants' schedules, as one store."""
        return self._schedules

    def _check_tenant(self, tenant: str) -> None:
        if tenant not in self._tenants:
            raise no_tenant(tenant)
