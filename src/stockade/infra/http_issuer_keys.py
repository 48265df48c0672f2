"""Public keys of issuers, fetched over HTTP and remembered.

They are fetched anew when they are old, and when a token names a key that is not among them: at
most once in `MIN_INTERVAL_SECONDS`, whatever tokens come. When the issuer is away, its last known
keys count for `MAX_STALE_SECONDS`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import structlog

from stockade.core.errors import StockadeError
from stockade.core.key_sets import Jwk, parse_key_set
from stockade.core.single_flight import SingleFlight
from stockade.core.workloads import TrustedIssuer
from stockade.infra.policies.identity_policy import is_loopback, origin

FRESH_SECONDS = 3600.0
MIN_INTERVAL_SECONDS = 30.0
MAX_STALE_SECONDS = 24 * 3600.0
TIMEOUT_SECONDS = 5.0
MAX_RESPONSE_BYTES = 256 * 1024

_OK = 200
_Place = tuple[str, str | None]
_log = structlog.get_logger()


class _Discovery(msgspec.Struct):
    issuer: str
    jwks_uri: str


@dataclass(slots=True)
class _Known:
    keys: Mapping[str, Jwk] = field(default_factory=dict)
    fetched: float = float("-inf")
    tried: float = float("-inf")
    trouble: str | None = None


class HttpIssuerKeys:
    """The `IssuerKeys` port over HTTP; ended by `aclose`.

    Redirects are not followed, and without a `jwks_url` in the policy the keys must be at the
    issuer's own origin: nothing but the policy sends us elsewhere.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._known: dict[_Place, _Known] = {}
        self._flights: SingleFlight[_Place, None] = SingleFlight()
        # This machine is never reached through a proxy, others by those of the environment.
        self._near = httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS)
        self._far = httpx.AsyncClient(timeout=TIMEOUT_SECONDS)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._near.aclose()
        await self._far.aclose()

    async def key(self, issuer: TrustedIssuer, key_id: str) -> Jwk | None:
        """The key of this id, or None when the issuer has none.

        Raises:
            StockadeError: `oidc.issuer_unavailable`.
        """
        place = (issuer.url, issuer.jwks_url)
        known = self._known.setdefault(place, _Known())
        now = self._monotonic()
        wanting = key_id not in known.keys or now - known.fetched >= FRESH_SECONDS
        if wanting and now - known.tried >= MIN_INTERVAL_SECONDS:
            await self._flights.run(place, lambda: self._refresh(issuer, known))
        usable = self._monotonic() - known.fetched < MAX_STALE_SECONDS
        found = known.keys.get(key_id) if usable else None
        if found is None and known.trouble is not None:
            raise _unavailable(self._monotonic() - known.tried)
        return found

    async def _refresh(self, issuer: TrustedIssuer, known: _Known) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                url = issuer.jwks_url or await self._discover(issuer)
                known.keys = parse_key_set(await self._fetch(url))
            known.fetched, known.trouble = self._monotonic(), None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RecursionError) as error:
            # A TimeoutError is an OSError too.
            known.trouble = f"{type(error).__name__}: {error}"[:200]
            _log.warning("issuer_unavailable", issuer=issuer.url, reason=known.trouble)
        finally:
            known.tried = self._monotonic()

    async def _discover(self, issuer: TrustedIssuer) -> str:
        place = f"{issuer.url.rstrip('/')}/.well-known/openid-configuration"
        found = msgspec.json.decode(await self._fetch(place), type=_Discovery)
        if found.issuer != issuer.url:
            raise ValueError("the discovery document is another issuer's")
        if origin(found.jwks_uri) != origin(issuer.url):
            raise ValueError("the keys are elsewhere; set jwks_url if they are to be")
        return found.jwks_uri

    async def _fetch(self, url: str) -> bytes:
        http = self._near if is_loopback(origin(url)[1]) else self._far
        headers: dict[str, Any] = {"accept": "application/json", "accept-encoding": "identity"}
        async with http.stream("GET", url, headers=headers) as answer:
            if answer.status_code != _OK:
                raise ValueError(f"it answers {answer.status_code}")
            content = bytearray()
            # Raw: what is compressed would expand behind the bound, and is no JSON.
            async for chunk in answer.aiter_raw():
                content += chunk
                if len(content) > MAX_RESPONSE_BYTES:
                    raise ValueError(f"it sends more than {MAX_RESPONSE_BYTES} bytes")
            return bytes(content)


def _unavailable(since_seconds: float) -> StockadeError:
    wait_ms = max(0.0, MIN_INTERVAL_SECONDS - since_seconds) * 1000
    return StockadeError(
        "oidc.issuer_unavailable",
        "The token's issuer does not give its keys just now. Try again later.",
        retryable=True,
        detail={"retry_after_ms": int(wait_ms) + 1},
    )
