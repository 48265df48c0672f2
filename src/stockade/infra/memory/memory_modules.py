"""Modules in this process's memory; a part of `MemoryCatalog`."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from stockade.core.module_store import (
    NAMED_USERS,
    BlobStep,
    ModuleEntry,
    StorageQuota,
    StorageUsage,
    in_use,
)
from stockade.core.modules import StoredModule
from stockade.infra.blobs.blob_failures import blob_missing
from stockade.infra.catalog_values import check_storable, module_deleted, to_json

Users = Callable[[str, str], Sequence[tuple[str, int]]]


class MemoryModuleStore:
    """The `ModuleStore` port in dictionaries.

    Args:
        check_tenant: Raises `tenant.not_found`.
        users: The function versions that are made of a tenant's module.
    """

    def __init__(self, check_tenant: Callable[[str], None], users: Users) -> None:
        self._check_module_tenant = check_tenant
        self._users = users
        self._modules: dict[tuple[str, str], StoredModule] = {}
        self._turns: dict[str, int] = {}
        self._blobs = asyncio.Lock()

    async def add_module(
        self,
        module: StoredModule,
        quota: StorageQuota | None = None,
        is_stored: BlobStep | None = None,
    ) -> bool:
        """Stores a module, or adds its signatures to the stored one; True when it was new."""
        check_storable(module.tenant, module.digest, module.created_ms)
        to_json(module.facts)
        self._check_module_tenant(module.tenant)
        async with self._blobs:
            if is_stored is not None and not await is_stored(module.digest):
                raise blob_missing(module.digest)
            return self._add(module, quota)

    def _add(self, module: StoredModule, quota: StorageQuota | None) -> bool:
        key = (module.tenant, module.digest)
        created = key not in self._modules
        if created and quota is not None:
            used = self._usage(module.tenant)
            added = used.module_bytes + module.facts.size_bytes
            quota.check(StorageUsage(added, used.modules + 1))
        stored = self._modules.setdefault(key, replace(module, signatures=()))
        merged = tuple(dict.fromkeys(stored.signatures + module.signatures))
        self._modules[key] = replace(stored, signatures=merged, deleted_ms=None)
        return created

    async def module(self, tenant: str, digest: str) -> StoredModule | None:
        """The tenant's module of this digest, deleted or not."""
        return self._modules.get((tenant, digest))

    async def modules(
        self, tenant: str, most: int, before: tuple[int, str] | None = None
    ) -> Sequence[ModuleEntry]:
        """Up to `most` modules that are not deleted, newest first."""
        own = (one for one in self._modules.values() if one.tenant == tenant)
        kept = ((one.created_ms, one.digest) for one in own if one.deleted_ms is None)
        places = [place for place in sorted(kept, reverse=True) if not before or place < before]
        found = (self._modules[tenant, digest] for _, digest in places[:most])
        return tuple(
            ModuleEntry(one.digest, one.facts.abi, one.facts.size_bytes, one.created_ms)
            for one in found
        )

    async def module_versions(
        self, tenant: str, digest: str, most: int
    ) -> Sequence[tuple[str, int]]:
        """Up to `most` function versions that are made of the module, by name and number."""
        return sorted(self._users(tenant, digest))[:most]

    async def storage_usage(self, tenant: str) -> StorageUsage:
        """What the tenant's modules take."""
        return self._usage(tenant)

    def _usage(self, tenant: str) -> StorageUsage:
        sizes = [one.facts.size_bytes for one in self._modules.values() if one.tenant == tenant]
        return StorageUsage(sum(sizes), len(sizes))

    async def delete_module(self, tenant: str, digest: str, deleted_ms: int) -> bool:
        """Deletes a module; False when there is none, or it is deleted already."""
        check_storable(deleted_ms)
        found = self._modules.get((tenant, digest))
        if found is None or found.deleted_ms is not None:
            return False
        if users := await self.module_versions(tenant, digest, NAMED_USERS):
            raise in_use(digest, users)
        self._modules[tenant, digest] = replace(found, deleted_ms=deleted_ms)
        return True

    async def purge_modules(self, before_ms: int, most: int) -> int:
        """Forgets up to `most` modules of any tenant that were deleted before then; how many."""
        over = [
            place
            for place, one in self._modules.items()
            if one.deleted_ms is not None and one.deleted_ms < before_ms
        ]
        for place in over[:most]:
            del self._modules[place]
        return len(over[:most])

    async def every_module(
        self, most: int, after: tuple[str, str] = ("", "")
    ) -> Sequence[tuple[str, str]]:
        """Tenants and digests of up to `most` modules of all tenants, in order."""
        return [place for place in sorted(self._modules) if place > after][:most]

    async def needed_blobs(self, digests: Collection[str]) -> frozenset[str]:
        """Which of these blobs some tenant's module is made of."""
        return frozenset(digests) & {digest for _, digest in self._modules}

    async def release_blob(self, digest: str, delete: BlobStep) -> bool:
        """Has `delete` take a blob that no module needs."""
        check_storable(digest)
        async with self._blobs:
            return not await self.needed_blobs((digest,)) and await delete(digest)

    def check_not_deleted(self, tenant: str, digest: str) -> None:
        """Passes unless the module is deleted.

        Raises:
            StockadeError: `module.not_found`.
        """
        found = self._modules.get((tenant, digest))
        if found is not None and found.deleted_ms is not None:
            raise module_deleted(digest)

    async def take_turn(self, work: str, now_ms: int, pause_ms: int) -> bool:
        """Whether to do some work now: True for one of all that ask, once in that time."""
        check_storable(work, now_ms, pause_ms)
        taken_ms = self._turns.get(work)
        if taken_ms is not None and abs(now_ms - taken_ms) < pause_ms:
            return False
        self._turns[work] = now_ms
        return True
