"""Who calls: a bearer key in, a principal out."""

import time
from dataclasses import dataclass

from starlette.requests import Request

from stockade.core.api_keys import ApiKey, parse_key
from stockade.core.errors import StockadeError
from stockade.core.ports import Catalog, Clock
from stockade.core.single_flight import SingleFlight

_MAX_CACHED = 10_000
_MAX_HEADER_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller, of one tenant."""

    tenant: str
    key_id: str


class Authenticator:
    """Checks keys; what the catalog said is trusted for `cache_seconds`."""

    def __init__(self, catalog: Catalog, clock: Clock, cache_seconds: float) -> None:
        self._catalog = catalog
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._cached: dict[str, tuple[float, ApiKey]] = {}
        self._flights: SingleFlight[str, ApiKey | None] = SingleFlight()

    async def authenticate(self, request: Request) -> Principal:
        """The caller.

        Raises:
            StockadeError: `auth.key_missing`, `auth.key_malformed` or `auth.key_invalid`.
        """
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise StockadeError(
                "auth.key_missing", "Send your API key: 'Authorization: Bearer stk_…'."
            )
        presented = parse_key(text.strip()[:_MAX_HEADER_CHARACTERS])
        stored = await self._find(presented.id)
        if stored is None or not presented.opens(stored, self._clock.now_ms()):
            raise StockadeError(
                "auth.key_invalid", "This API key is unknown or has expired. Ask for a new one."
            )
        return Principal(stored.tenant, stored.id)

    async def _find(self, key_id: str) -> ApiKey | None:
        now = time.monotonic()
        cached = self._cached.get(key_id)
        if cached is not None and now - cached[0] < self._cache_seconds:
            return cached[1]
        return await self._flights.run(key_id, lambda: self._look_up(key_id))

    async def _look_up(self, key_id: str) -> ApiKey | None:
        now = time.monotonic()
        stored = await self._catalog.find_key(key_id)
        if stored is not None:
            if len(self._cached) >= _MAX_CACHED:
                self._cached.clear()
            self._cached[key_id] = now, stored
        return stored
