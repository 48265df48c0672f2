"""The catalog in this process's memory: for tests and throw-away runs; nothing survives it.

No method awaits anything, so each one is atomic to the others.
"""

from collections.abc import Sequence
from dataclasses import replace

from stockade.core.modules import SecretEntry, StoredModule
from stockade.infra.catalog_values import (
    check_storable,
    no_tenant,
    to_json,
)
from stockade.infra.memory_functions import MemoryFunctionStore
from stockade.infra.memory_schedules import MemoryScheduleStore
from stockade.infra.memory_trust import MemoryTrustStore
from stockade.infra.memory_workloads import MemoryWorkloadStore


class MemoryCatalog(MemoryWorkloadStore, MemoryTrustStore, MemoryFunctionStore):
    """The `Catalog` port in dictionaries."""

    def __init__(self) -> None:
        MemoryWorkloadStore.__init__(self, self._check_tenant)
        MemoryTrustStore.__init__(self, self._check_tenant)
        MemoryFunctionStore.__init__(self, self._check_tenant)
        self._tenants: set[str] = set()
        self._modules: dict[tuple[str, str], StoredModule] = {}
        self._secrets: dict[str, dict[str, tuple[bytes, int]]] = {}
        self._schedules = MemoryScheduleStore(self._check_tenant)

    async def ensure_tenant(self, tenant: str) -> bool:
        """Creates the tenant; False when it was there."""
        check_storable(tenant)
        created = tenant not in self._tenants
        self._tenants.add(tenant)
        return created

    async def add_module(self, module: StoredModule) -> bool:
        """Stores a module, or adds its signatures to the stored one; True when it was new."""
        check_storable(module.tenant, module.digest, module.created_ms)
        to_json(module.facts)
        self._check_tenant(module.tenant)
        key = (module.tenant, module.digest)
        created = key not in self._modules
        stored = self._modules.setdefault(key, replace(module, signatures=()))
        merged = tuple(dict.fromkeys(stored.signatures + module.signatures))
        self._modules[key] = replace(stored, signatures=merged)
        return created

    async def module(self, tenant: str, digest: str) -> StoredModule | None:
        """The tenant's module of this digest."""
        return self._modules.get((tenant, digest))

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
