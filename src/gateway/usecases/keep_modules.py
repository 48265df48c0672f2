"""Shows and deletes a tenant's modules."""

from dataclasses import dataclass

from gateway.services import Services
from gateway.usecases.trust_function import trusted_signers
from gateway.usecases.upload_module import find_module
from stockade.core.errors import StockadeError, not_found
from stockade.core.module_store import StorageQuota, StorageUsage
from stockade.core.modules import StoredModule

_MOST_VERSIONS = 100


@dataclass(frozen=True, slots=True)
class ShownModule:
    """A module, who vouches for it now, and up to a hundred versions that are made of it.

    Without signers, `refusal` says why it would not run.
    """

    module: StoredModule
    signers: tuple[str, ...]
    refusal: StockadeError | None
    versions: tuple[tuple[str, int], ...]


async def show_module(services: Services, tenant: str, digest: str) -> ShownModule:
    """What is known of the tenant's module.

    Raises:
        StockadeError: `module.not_found`, or that a store cannot be reached.
    """
    module = await find_module(services, tenant, digest)
    versions = tuple(await services.catalog.module_versions(tenant, digest, _MOST_VERSIONS))
    try:
        counting = await trusted_signers(services, module)
    except StockadeError as error:
        if error.retryable:
            raise
        return ShownModule(module, (), error, versions)
    return ShownModule(module, counting.names, None, versions)


async def delete_module(services: Services, tenant: str, digest: str) -> None:
    """Deletes a module that no version is made of; its bytes go when the grace is over.

    Raises:
        StockadeError: `module.not_found`, `module.in_use`.
    """
    if not await services.catalog.delete_module(tenant, digest, services.clock.now_ms()):
        raise not_found("module", digest)


async def storage_of(services: Services, tenant: str) -> tuple[StorageUsage, StorageQuota]:
    """What the tenant's modules take, and what they may take."""
    return await services.catalog.storage_usage(tenant), services.storage.quota(tenant)
