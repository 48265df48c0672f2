"""From a function's name, and an alias or version, to the one version to run."""

import time
from collections.abc import Awaitable, Callable, Hashable

from stockade.core.alias_weights import pick
from stockade.core.errors import StockadeError, not_found
from stockade.core.functions import is_deleted
from stockade.core.modules import Alias, FunctionVersion
from stockade.core.names import check_name
from stockade.core.ports import Catalog
from stockade.core.single_flight import SingleFlight

_MAX_CACHED = 10_000
_MAX_CACHED_OF_FUNCTION = 100
_Remembered = tuple[float, FunctionVersion | Alias]


class FunctionResolver:
    """Resolves names; what the catalog said is trusted for `cache_seconds`."""

    def __init__(self, catalog: Catalog, cache_seconds: float) -> None:
        self._catalog = catalog
        self._cache_seconds = cache_seconds
        self._cached: dict[tuple[str, str], dict[object, _Remembered]] = {}
        self._flights: SingleFlight[Hashable, FunctionVersion | Alias | None] = SingleFlight()
        self._changes = 0

    async def resolve(
        self, tenant: str, name: str, alias: str | None, version: int | None, draw: str
    ) -> FunctionVersion:
        """The version; with a weighted alias, always the same one for the same `draw`.

        Raises:
            StockadeError: `function.not_found`, `function.deleted`, `version.not_found`,
                `alias.not_found`.
        """
        check_name("function", name)
        if alias is not None:
            version = await self._draw_version(tenant, name, alias, draw)
        found = await self._remembered(
            (tenant, name, version), lambda: self._catalog.function_version(tenant, name, version)
        )
        if isinstance(found, FunctionVersion):
            return found
        await self._check_not_deleted(tenant, name)
        if version is None:
            raise not_found("function", name)
        raise StockadeError(
            "version.not_found", f"The function {name!r} has no version {version} in this tenant."
        )

    def forget(self, tenant: str, name: str) -> None:
        """Drops what is remembered of a function that was changed."""
        self._changes += 1
        self._cached.pop((tenant, name), None)

    def forget_all(self) -> None:
        """Drops whatever is remembered."""
        self._changes += 1
        self._cached.clear()

    async def _draw_version(self, tenant: str, name: str, alias: str, draw: str) -> int:
        check_name("alias", alias)
        found = await self._remembered(
            (tenant, name, alias), lambda: self._catalog.alias(tenant, name, alias)
        )
        if not isinstance(found, Alias):
            await self._check_not_deleted(tenant, name)
            raise StockadeError(
                "alias.not_found", f"The function {name!r} has no alias {alias!r} in this tenant."
            )
        return pick(found.weights, draw)

    async def _check_not_deleted(self, tenant: str, name: str) -> None:
        """Looked up anew for each refusal: the way of those who are refused may be the long one."""
        deleted = await self._catalog.deleted_function(tenant, name)
        if deleted is not None:
            raise is_deleted(name, deleted.restorable_until_ms)

    async def _remembered(
        self,
        key: tuple[str, str, object],
        look_up: Callable[[], Awaitable[FunctionVersion | Alias | None]],
    ) -> FunctionVersion | Alias | None:
        now = time.monotonic()
        cached = self._cached.get(key[:2], {}).get(key[2])
        if cached is not None and now - cached[0] < self._cache_seconds:
            return cached[1]
        changes = self._changes
        return await self._flights.run(
            (*key, changes), lambda: self._look_up(key, look_up, changes)
        )

    async def _look_up(
        self,
        key: tuple[str, str, object],
        look_up: Callable[[], Awaitable[FunctionVersion | Alias | None]],
        changes: int,
    ) -> FunctionVersion | Alias | None:
        now = time.monotonic()
        found = await look_up()
        # What was read before a change must not be remembered behind it.
        if found is not None and changes == self._changes:
            self._remember(key, (now, found))
        return found

    def _remember(self, key: tuple[str, str, object], remembered: _Remembered) -> None:
        if len(self._cached) >= _MAX_CACHED:
            del self._cached[next(iter(self._cached))]
        of_function = self._cached.setdefault(key[:2], {})
        if len(of_function) >= _MAX_CACHED_OF_FUNCTION:
            of_function.clear()
        of_function[key[2]] = remembered
