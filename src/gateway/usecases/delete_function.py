"""Deletes functions with a grace, restores them within it, and purges what nobody restored.

What was acknowledged before runs to its end: a deletion stops what would begin. Whoever wants
queued work gone cancels it.
"""

from gateway.catalog_memory import CatalogMemory
from gateway.services import Services
from stockade.core.aliases import Stamp
from stockade.core.catalog_changes import ChangeKind
from stockade.core.errors import not_found
from stockade.core.functions import DeletedFunction, is_deleted
from stockade.core.principals import Principal

PURGED_AT_ONCE = 10


async def delete_function(
    services: Services, memory: CatalogMemory, caller: Principal, name: str
) -> DeletedFunction:
    """Deletes the function; again is no change, and no longer grace.

    Raises:
        StockadeError: `function.not_found`.
    """
    stamp = Stamp(caller.id, services.clock.now_ms())
    until_ms = stamp.at_ms + round(services.settings.function_grace_seconds * 1000)
    try:
        return await services.catalog.delete_function(caller.tenant, name, stamp, until_ms)
    finally:
        await memory.changed(ChangeKind.FUNCTION, caller.tenant, name)


async def restore_function(
    services: Services, memory: CatalogMemory, caller: Principal, name: str
) -> None:
    """Takes the deletion back; no change for a function that is there.

    Raises:
        StockadeError: `function.not_found`, also when the grace is over.
    """
    now_ms = services.clock.now_ms()
    try:
        await services.catalog.restore_function(caller.tenant, name, now_ms)
    finally:
        await memory.changed(ChangeKind.FUNCTION, caller.tenant, name)


async def delete_version(
    services: Services, memory: CatalogMemory, caller: Principal, name: str, version: int
) -> None:
    """Deletes a version for good, if no alias points to it and it is not the latest.

    Raises:
        StockadeError: `function.not_found`, `function.deleted`, `version.not_found`,
            `version.in_use`.
    """
    await check_callable(services, caller.tenant, name)
    try:
        await services.catalog.delete_version(caller.tenant, name, version)
    finally:
        await memory.changed(ChangeKind.FUNCTION, caller.tenant, name)


async def check_callable(services: Services, tenant: str, name: str) -> None:
    """Checks that the function is there and not deleted.

    Raises:
        StockadeError: `function.not_found` or `function.deleted`.
    """
    if await services.catalog.function_version(tenant, name, None) is not None:
        return
    deleted = await services.catalog.deleted_function(tenant, name)
    if deleted is not None:
        raise is_deleted(name, deleted.restorable_until_ms)
    raise not_found("function", name)


async def purge_functions(services: Services) -> int:
    """Removes versions and aliases of functions whose grace is over; how many functions."""
    purged, now_ms = 0, services.clock.now_ms()
    while done := await services.catalog.purge_functions(now_ms, PURGED_AT_ONCE):
        purged += done
    return purged
