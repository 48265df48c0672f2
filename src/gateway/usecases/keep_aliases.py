"""Points aliases, promotes, rolls back, deletes; what is pointed to must be trusted now."""

from gateway.catalog_memory import CatalogMemory
from gateway.services import Services
from gateway.usecases.trust_function import check_versions_trusted
from stockade.core.aliases import AliasChange, AliasRule, AliasView, Stamp, narrowed
from stockade.core.catalog_changes import ChangeKind
from stockade.core.errors import not_found
from stockade.core.modules import Alias
from stockade.core.principals import Principal


async def change_alias(
    services: Services,
    memory: CatalogMemory,
    caller: Principal,
    function: str,
    name: str,
    rule: AliasRule,
) -> AliasChange | None:
    """Changes the alias in one step; None when it is already as it is to be.

    Raises:
        StockadeError: `alias.…`, `function.…`, `version.not_found`, `module.…`.
    """
    tenant, catalog = caller.tenant, services.catalog
    memory.resolver.forget(tenant, function)
    await memory.resolver.resolve(tenant, function, None, None, draw="")  # for the right refusal
    versions = await _foreseen(services, tenant, function, name, rule)
    await check_versions_trusted(services, tenant, function, versions)
    stamp = Stamp(caller.id, services.clock.now_ms())
    try:
        return await catalog.change_alias(tenant, function, name, narrowed(rule, versions), stamp)
    finally:
        await memory.changed(ChangeKind.FUNCTION, tenant, function)


async def find_alias(services: Services, tenant: str, function: str, name: str) -> Alias:
    """The function's alias of this name.

    Raises:
        StockadeError: `alias.not_found`.
    """
    found = await services.catalog.alias(tenant, function, name)
    if found is None:
        raise not_found("alias", name)
    return found


async def _foreseen(
    services: Services, tenant: str, function: str, name: str, rule: AliasRule
) -> tuple[int, ...]:
    """The versions that the rule would point to as things stand."""
    own = {one.name: one for one in await services.catalog.aliases(tenant, function)}
    current = own.pop(name, None)
    others = {one.name: one.weights for one in own.values()}
    changes = await services.catalog.alias_changes(tenant, function, name)
    target = rule(AliasView(name, current, others, changes))
    return () if target is None else tuple(dict(target.weights or ()))
