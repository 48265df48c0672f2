"""`NameResolver` by the host's own resolver, whose calls block and cannot be stopped.

Each look-up has a thread of its own, and each tenant a share of them: whoever asks for names whose
servers never answer waits for its own look-ups to end, and nobody else does. The threads do not
keep the process alive.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from threading import Thread
from weakref import WeakValueDictionary

from stockade.core.addresses import Address

LookUp = Callable[[str], Sequence[Address]]
_SHARE, _TOTAL = 8, 256


def look_up_by_system(host: str) -> Sequence[Address]:
    """The addresses of a name; blocks for as long as the resolver takes."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [ip_address(place[4][0]) for place in found]


class SystemNameResolver:
    """See `NameResolver`.

    Args:
        look_up: Blocks, and tells a name's addresses or raises.
        share: How many look-ups of a tenant run at once.
        total: How many of all tenants.
    """

    def __init__(
        self, look_up: LookUp = look_up_by_system, share: int = _SHARE, total: int = _TOTAL
    ) -> None:
        self._look_up = look_up
        self._share = share
        self._rooms: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._room = asyncio.Semaphore(total)

    async def addresses(self, tenant: str, host: str) -> Sequence[Address]:
        """See `NameResolver`."""
        own = self._rooms.setdefault(tenant, asyncio.Semaphore(self._share))
        await own.acquire()
        try:
            await self._room.acquire()
        except BaseException:
            own.release()
            raise
        look_up = _RunningLookUp(host, self._look_up, (own, self._room))
        return await look_up.start()


class _RunningLookUp:
    """One look-up, which holds its rooms until it ends, whether or not it is still waited for."""

    def __init__(self, host: str, look_up: LookUp, rooms: Sequence[asyncio.Semaphore]) -> None:
        self._host = host
        self._look_up = look_up
        self._rooms = rooms
        self._loop = asyncio.get_running_loop()
        self._told: asyncio.Future[Sequence[Address]] = self._loop.create_future()

    def start(self) -> asyncio.Future[Sequence[Address]]:
        """What the look-up will tell."""
        try:
            Thread(target=self._run, name="look-up", daemon=True).start()
        except RuntimeError as error:
            self._end((), OSError(str(error)))
        return self._told

    def _run(self) -> None:
        found: Sequence[Address] = ()
        failure: Exception | None = None
        try:
            found = self._look_up(self._host)
        except Exception as error:  # noqa: BLE001 (handed over to whoever waits)
            failure = error
        # The loop may have ended before.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end, found, failure)

    def _end(self, found: Sequence[Address], failure: Exception | None) -> None:
        for room in self._rooms:
            room.release()
        if self._told.done():
            return
        if failure is None:
            self._told.set_result(found)
        else:
            self._told.set_exception(failure)
