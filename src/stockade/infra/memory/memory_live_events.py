"""`LiveEvents` in memory, for tests: claims are believed, and the oldest goes by its count."""

import asyncio
from collections import defaultdict

from stockade.core.invocations import Claim
from stockade.core.live_events import Heard, Spoken

_MOST_SPOKEN = 4096


class MemoryLiveEvents:
    """See `LiveEvents`."""

    def __init__(self) -> None:
        self._said: dict[str, list[tuple[int, Spoken | None]]] = defaultdict(list)
        self._count = 0
        self._more = asyncio.Condition()

    async def aclose(self) -> None:
        """Nothing to close."""

    async def tell(self, claim: Claim, spoken: Spoken) -> bool:
        """Keeps what an attempt said."""
        await self._add(claim.invocation.id, spoken)
        return True

    async def wake(self, invocation_id: str) -> None:
        """Wakes listeners, as the queue does where a record changes."""
        await self._add(invocation_id, None)

    async def listen(self, tenant: str, invocation_id: str) -> None:
        """Nothing to do: whoever reads is woken."""

    async def read(
        self, tenant: str, invocation_id: str, after: str, timeout_seconds: float
    ) -> Heard:
        """What was said behind a place, waiting for it up to the timeout."""
        del tenant
        place = int(after or 0)
        try:
            async with asyncio.timeout(timeout_seconds), self._more:
                await self._more.wait_for(lambda: self._behind(invocation_id, place))
        except TimeoutError:
            return Heard(str(place))
        found = self._behind(invocation_id, place)
        return Heard(str(found[-1][0]), tuple(one for _, one in found if one is not None))

    async def _add(self, invocation_id: str, spoken: Spoken | None) -> None:
        async with self._more:
            self._count += 1
            said = self._said[invocation_id]
            said.append((self._count, spoken))
            del said[:-_MOST_SPOKEN]
            self._more.notify_all()

    def _behind(self, invocation_id: str, place: int) -> list[tuple[int, Spoken | None]]:
        return [one for one in self._said[invocation_id] if one[0] > place]
