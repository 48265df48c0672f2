"""The catalog in this process's memory: for tests and throw-away runs; nothing survives it.

No method awaits anything, so each one is atomic to the others.
"""

from collections.abc import Sequence
from dataclasses import replace

from stockade.core.errors import not_found
from stockade.core.modules import (
    Alias,
    FunctionContent,
    FunctionVersion,
    SecretEntry,
    StoredModule,
)
from stockade.infra.catalog_values import (
    check_storable,
    no_tenant,
    no_version,
    to_json,
)
from stockade.infra.memory_keys import MemoryKeyStore
from stockade.infra.memory_schedules import MemoryScheduleStore
from stockade.infra.memory_trust import MemoryTrustStore


class MemoryCatalog(MemoryKeyStore, MemoryTrustStore):
    """The `Catalog` port in dictionaries."""

    def __init__(self) -> None:
        MemoryKeyStore.__init__(self, self._check_tenant)
        MemoryTrustStore.__init__(self, self._check_tenant)
        self._tenants: set[str] = set()
        self._modules: dict[tuple[str, str], StoredModule] = {}
        self._versions: dict[tuple[str, str], list[FunctionVersion]] = {}
        self._aliases: dict[tuple[str, str, str], Alias] = {}
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

    async def put_function(
        self, tenant: str, name: str, content: FunctionContent, created_ms: int
    ) -> tuple[FunctionVersion, bool]:
        """Makes the next version, or returns the latest when its content is equal (then False)."""
        check_storable(tenant, name, created_ms)
        to_json(content)
        self._check_tenant(tenant)
        versions = self._versions.setdefault((tenant, name), [])
        if versions and versions[-1].content == content:
            return versions[-1], False
        versions.append(FunctionVersion(tenant, name, len(versions) + 1, content, created_ms))
        return versions[-1], True

    async def function_version(
        self, tenant: str, name: str, version: int | None
    ) -> FunctionVersion | None:
        """That version, or the latest when `version` is None."""
        versions = self._versions.get((tenant, name), [])
        number = len(versions) if version is None else version
        return versions[number - 1] if 0 < number <= len(versions) else None

    async def functions(self, tenant: str) -> Sequence[FunctionVersion]:
        """The latest version of each function, by name."""
        own = sorted(key for key in self._versions if key[0] == tenant)
        return tuple(self._versions[key][-1] for key in own)

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

    async def put_alias(self, tenant: str, function: str, alias: Alias) -> bool:
        """Points an alias; True when it is new."""
        check_storable(tenant, function, alias.name)
        to_json(alias.weights)
        versions = self._versions.get((tenant, function))
        if versions is None:
            raise not_found("function", function)
        for version in sorted(version for version, _ in alias.weights):
            if not 0 < version <= len(versions):
                raise no_version(function, version)
        key = (tenant, function, alias.name)
        created = key not in self._aliases
        self._aliases[key] = alias
        return created

    async def alias(self, tenant: str, function: str, name: str) -> Alias | None:
        """The alias of this name."""
        return self._aliases.get((tenant, function, name))

    def schedule_store(self) -> MemoryScheduleStore:
        """The tenants' schedules, as one store."""
        return self._schedules

    def _check_tenant(self, tenant: str) -> None:
        if tenant not in self._tenants:
            raise no_tenant(tenant)
