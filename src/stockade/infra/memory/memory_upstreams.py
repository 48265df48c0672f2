"""`UpstreamStore` and `UpstreamNews` in memory, for tests: the rules of Redis, in one process."""

import asyncio
from collections.abc import Callable, Sequence

from stockade.core.ports import Clock
from stockade.core.upstreams import BreakerPolicy, CallFailure, UpstreamView, Verdict
from stockade.retry.breakers import Breaker

_FORGOTTEN_MS = 3_600_000


class MemoryUpstreamStore:
    """See `UpstreamStore`."""

    def __init__(
        self, clock: Clock, policy: BreakerPolicy, share: Callable[[], float] = lambda: 1.0
    ) -> None:
        self._clock = clock
        self._policy = policy
        self._share = share
        self._kept: dict[str, dict[str, Breaker]] = {}

    async def aclose(self) -> None:
        """Nothing to close."""

    async def fail(self, tenant: str, upstream: str, failure: CallFailure) -> Verdict | None:
        """Tells of a failed call; None when so many upstreams are out that it is not counted."""
        own, now_ms = self._kept.setdefault(tenant, {}), self._clock.now_ms()
        if upstream not in own:
            if not self._has_room(own, now_ms):
                return None
            own[upstream] = Breaker()
        breaker = own[upstream]
        changed = breaker.fail(failure, self._policy, now_ms, self._share())
        wait_ms = max(1, breaker.until_ms - now_ms) if breaker.until_ms else 0
        return Verdict(wait_ms, changed=changed)

    async def close(self, tenant: str, upstream: str) -> Verdict:
        """Tells that a probe succeeded."""
        breaker = self._kept.get(tenant, {}).pop(upstream, Breaker())
        return Verdict(changed=breaker.close())

    async def ask(self, tenant: str, upstream: str, lease_ms: int) -> Verdict:
        """Whether calls may go out; gives the probe that is due to one asker."""
        breaker = self._kept.get(tenant, {}).get(upstream, Breaker())
        return breaker.ask(self._clock.now_ms(), lease_ms)

    async def views(self, tenant: str) -> Sequence[UpstreamView]:
        """What is known of a tenant's upstreams, by name."""
        now_ms, own = self._clock.now_ms(), self._kept.get(tenant, {})
        return [breaker.view(name, now_ms) for name, breaker in sorted(own.items())]

    async def reset(self, tenant: str, upstream: str) -> bool:
        """Forgets what is known of an upstream."""
        return self._kept.get(tenant, {}).pop(upstream, None) is not None

    def _has_room(self, own: dict[str, Breaker], now_ms: int) -> bool:
        """Room for one more: what has been well for long goes first."""
        if len(own) < self._policy.max_upstreams:
            return True
        for name, one in list(own.items()):
            over_ms = _FORGOTTEN_MS if one.until_ms else self._policy.window_ms
            if now_ms - (one.until_ms or one.seen_ms) > over_ms:
                del own[name]
        closed = [(one.seen_ms, name) for name, one in own.items() if not one.until_ms]
        if len(own) >= self._policy.max_upstreams and closed:
            del own[min(closed)[1]]
        return len(own) < self._policy.max_upstreams


class MemoryUpstreamNews:
    """See `UpstreamNews`; each listener has one of its own over the same list."""

    def __init__(self, told: list[tuple[str, str]]) -> None:
        self._told = told
        self._read: int | None = None

    async def tell(self, tenant: str, upstream: str) -> None:
        """Says that a breaker opened or closed."""
        self._told.append((tenant, upstream))

    async def hear(self, timeout_seconds: float) -> list[tuple[str, str]] | None:
        """Tenants and upstreams since the last look; None at the first."""
        if self._read is None:
            self._read = len(self._told)
            return None
        if self._read == len(self._told):
            await asyncio.sleep(min(timeout_seconds, 0.01))
        news = self._told[self._read :]
        self._read += len(news)
        return news
