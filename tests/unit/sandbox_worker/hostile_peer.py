"""A stand-in for an executor process: a socket whose other end the test holds."""

import asyncio
import itertools
import socket

from sandbox_worker.guest import frames

process_ids = itertools.count(1)


class FakeProcess:
    """A `JailedProcess` without a process."""

    def __init__(self) -> None:
        self.connection, self.peer = socket.socketpair()
        self.connection.setblocking(False)
        self.peer.setblocking(False)
        self.process_id = next(process_ids)
        self.kills = 0
        self._end = asyncio.Event()
        self._received = b""

    @property
    def alive(self) -> bool:
        return not self._end.is_set()

    async def command(self) -> frames.Command:
        """The next command that the supervisor sent."""
        header = await self._exactly(frames.HEADER_BYTES)
        return frames.decode_command(await self._exactly(frames.body_length(header)))

    async def _exactly(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        while len(self._received) < size:
            self._received += await loop.sock_recv(self.peer, 1 << 20)
        taken, self._received = self._received[:size], self._received[size:]
        return taken

    def kill(self) -> None:
        self.kills += 1
        if self.alive:
            self._end.set()
            self.peer.close()

    async def ended(self) -> int:
        await self._end.wait()
        return -9
