"""Who calls: a bearer credential in, a principal out."""

import time
from collections.abc import Iterable, Mapping

from starlette.requests import Request

from gateway.sources import FailureThrottle, parse_networks, source_of
from stockade.core.api_keys import ApiKey, PresentedKey, parse_key
from stockade.core.errors import StockadeError
from stockade.core.ports import Catalog, Clock
from stockade.core.principals import Principal
from stockade.core.single_flight import SingleFlight

_MAX_CACHED = 10_000
_LONG_AGO = float("-inf")
_MAX_HEADER_CHARACTERS = 200


class Authenticator:
    """Checks keys; what the catalog said is trusted for `cache_seconds`."""

    def __init__(
        self, catalog: Catalog, clock: Clock, cache_seconds: float, trusted_proxies: str = ""
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._proxies = parse_networks(trusted_proxies)
        self._throttle = FailureThrottle()
        self._cached: dict[str, tuple[float, ApiKey]] = {}
        self._used: dict[str, int] = {}
        self._flights: SingleFlight[tuple[str, int], ApiKey | None] = SingleFlight()
        self._changes = 0

    async def authenticate(self, request: Request) -> Principal:
        """The caller.

        Raises:
            StockadeError: `auth.key_missing`, `auth.key_malformed`, `auth.key_invalid` or
                `auth.too_many_failures`.
        """
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise StockadeError(
                "auth.key_missing", "Send your API key: 'Authorization: Bearer stk_…'."
            )
        presented = parse_key(text.strip()[:_MAX_HEADER_CHARACTERS])
        now_ms = self._clock.now_ms()
        since, stored = self._cached.get(presented.id, (_LONG_AGO, None))
        known = stored is not None and presented.opens(stored, now_ms)
        if stored is None or not known or time.monotonic() - since >= self._cache_seconds:
            stored = await self._checked(request, presented, now_ms, known=known)
        self._used[stored.id] = now_ms
        return stored.principal

    def forget(self, key_id: str) -> None:
        """Asks the catalog anew at the key's next use; it was changed."""
        self._changes += 1
        self._grow_old([key_id] if key_id in self._cached else [])

    def forget_all(self) -> None:
        """Asks the catalog anew for every key."""
        self._changes += 1
        self._grow_old(self._cached)

    def check_source(self, request: Request) -> str:
        """Where a request comes from.

        Raises:
            StockadeError: `auth.too_many_failures` when it sent wrong credentials too often.
        """
        source = source_of(request, self._proxies)
        self._throttle.check(source)
        return source

    def note_failure(self, source: str) -> None:
        """Counts a wrong credential of another kind than keys."""
        self._throttle.failed(source)

    def take_used(self) -> dict[str, int]:
        """When each key was last used, of those used since this was last asked."""
        used, self._used = self._used, {}
        return used

    def give_back(self, used: Mapping[str, int]) -> None:
        """Takes back what could not be noted; it is told again the next time."""
        self._used = {**used, **self._used}

    def _grow_old(self, key_ids: Iterable[str]) -> None:
        """They are not trusted any more, but not forgotten: whoever has them does not guess."""
        for key_id in key_ids:
            self._cached[key_id] = _LONG_AGO, self._cached[key_id][1]

    async def _checked(
        self, request: Request, presented: PresentedKey, now_ms: int, *, known: bool
    ) -> ApiKey:
        """The key as the catalog has it now.

        Sources that were wrong too often must wait for this, unless the key was `known` to be right
        a moment ago: who guesses must not lock out those who share an address.
        """
        source = source_of(request, self._proxies)
        if not known:
            self._throttle.check(source)
        changes = self._changes
        stored = await self._flights.run(
            (presented.id, changes), lambda: self._look_up(presented.id, changes)
        )
        if stored is None or not presented.opens(stored, now_ms):
            self._throttle.failed(source)
            raise StockadeError(
                "auth.key_invalid",
                "This API key is unknown, has expired or was revoked. Ask for a new one.",
            )
        return stored

    async def _look_up(self, key_id: str, changes: int) -> ApiKey | None:
        now = time.monotonic()
        stored = await self._catalog.find_key(key_id)
        # What was read before a change must not be remembered behind it.
        if changes == self._changes:
            self._cached.pop(key_id, None)
            if len(self._cached) >= _MAX_CACHED:
                del self._cached[next(iter(self._cached))]
            if stored is not None:
                self._cached[key_id] = now, stored
        return stored
