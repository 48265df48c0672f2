"""Modules and their attestations in this process's memory; a part of `MemoryCatalog`."""

from collections.abc import Callable, Sequence

from stockade.core.attestations import StoredAttestation, too_many_attestations
from stockade.core.errors import not_found
from stockade.infra.catalog_values import check_storable
from stockade.infra.memory.memory_modules import MemoryModuleStore, Users


class MemoryAttestationStore(MemoryModuleStore):
    """The `AttestationStore` port in a dictionary."""

    def __init__(self, check_tenant: Callable[[str], None], users: Users) -> None:
        super().__init__(check_tenant, users)
        self._attestations: dict[tuple[str, str], list[StoredAttestation]] = {}

    async def add_attestation(self, attestation: StoredAttestation, most: int) -> bool:
        """Stores one beside its module; False when the module has it."""
        tenant, digest = attestation.tenant, attestation.digest
        check_storable(tenant, digest, attestation.id, attestation.created_ms)
        module = self._modules.get((tenant, digest))
        if module is None or module.deleted_ms is not None:
            raise not_found("module", digest)
        own = self._attestations.setdefault((tenant, digest), [])
        if attestation.id in {one.id for one in own}:
            return False
        if len(own) >= most:
            raise too_many_attestations(most)
        own.append(attestation)
        return True

    async def attestations(self, tenant: str, digest: str) -> Sequence[StoredAttestation]:
        """Those of the tenant's module, in the order of their arrival."""
        return tuple(self._attestations.get((tenant, digest), ()))

    async def purge_modules(self, before_ms: int, most: int) -> int:
        """Forgets up to `most` modules of any tenant that were deleted before then; how many."""
        purged = await super().purge_modules(before_ms, most)
        kept = {at: own for at, own in self._attestations.items() if at in self._modules}
        self._attestations = kept
        return purged
