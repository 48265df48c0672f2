"""A stand-in for an executor process: a socket whose other end the test holds."""

import asyncio
import socket


class FakeProcess:
    """A `JailedProcess` without a process."""

    def __init__(self) -> None:
        self.connection, self.peer = socket.socketpair()
        self.connection.setblocking(False)
        self.peer.setblocking(False)
        self.process_id = 1
        self.kills = 0
        self._end = asyncio.Event()

    @property
    def alive(self) -> bool:
        return not self._end.is_set()

    def kill(self) -> None:
        self.kills += 1
        if self.alive:
            self._end.set()
            self.peer.close()

    async def ended(self) -> int:
        await self._end.wait()
        return -9
