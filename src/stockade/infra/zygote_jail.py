"""`Jail` by a zygote process, started afresh with nothing, told to fork over a socket pair."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from itertools import count
from pathlib import Path

import msgspec

from stockade.core.errors import StockadeError
from stockade.core.jail_control import (
    LANDLOCK_OPTIONAL,
    MAX_DATAGRAM_BYTES,
    ForkCommand,
    JailEvent,
    JailRole,
)

_ZYGOTE = "sandbox_worker.guest.zygote"
_START_SECONDS = 30
_FORK_SECONDS = 10


class ZygoteChild:
    """A `JailedProcess` that the zygote forked."""

    def __init__(self, connection: socket.socket, event: JailEvent, process: int) -> None:
        self.connection = connection
        self.process_id = event.process_id
        self._process = process
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        """Whether the child's end has not been seen yet."""
        return not self._end.done()

    def kill(self) -> None:
        """Ends the child at once; safe when it has ended already."""
        if not self._end.done():
            try:
                signal.pidfd_send_signal(self._process, signal.SIGKILL)
            except ProcessLookupError:
                return

    async def ended(self) -> int:
        """Waits for the end: the exit code, or minus the signal."""
        return await asyncio.shield(self._end)

    def note_end(self, status: int) -> None:
        """Called once by the jail that forked this child."""
        if not self._end.done():
            os.close(self._process)
            self._end.set_result(status)


class ZygoteJail:
    """Owns a zygote; starts it at the first fork, and again when it has died.

    Args:
        seccomp_policy: The file with the system calls of the children.
        landlock_required: Whether a child that cannot put Landlock up ends itself.
    """

    def __init__(
        self,
        seccomp_policy: Path,
        *,
        landlock_required: bool = True,
        weak_walls: tuple[str, ...] = (),
    ) -> None:
        self.weak_walls = weak_walls
        self._policy = seccomp_policy
        self._options = () if landlock_required else (LANDLOCK_OPTIONAL,)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._numbers = count(1)
        self._forking: dict[int, tuple[socket.socket, asyncio.Future[ZygoteChild]]] = {}
        self._children: dict[int, ZygoteChild] = {}
        self._starting = asyncio.Lock()
        self._fingerprint = ""

    async def fork(self, role: JailRole) -> ZygoteChild:
        """A new child.

        Raises:
            StockadeError: `jail.unavailable`.
        """
        control = await self._zygote()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 (the library's own signature)
        number = next(self._numbers)
        born: asyncio.Future[ZygoteChild] = asyncio.get_running_loop().create_future()
        self._forking[number] = ours, born
        try:
            command = msgspec.msgpack.encode(ForkCommand(number, role))
            socket.send_fds(control, [command], [theirs.fileno()])
            return await asyncio.wait_for(born, _FORK_SECONDS)
        except (OSError, TimeoutError) as error:
            self._forking.pop(number, None)
            ours.close()
            raise _unavailable() from error
        finally:
            theirs.close()

    async def engine_fingerprint(self) -> str:
        """Names everything that a compiled module depends on; the zygote tells it when it is ready.

        Raises:
            StockadeError: `jail.unavailable`.
        """
        await self._zygote()
        return self._fingerprint

    async def aclose(self) -> None:
        """Ends the zygote and, with it, every child."""
        if self._process is not None:
            self._lose_zygote()

    async def _zygote(self) -> socket.socket:
        async with self._starting:
            if self._control is None:
                await self._start()
            if self._control is None:
                raise _unavailable()
            return self._control

    async def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)  # noqa: FBT003 (the library's own signature)
        # -I keeps environment and working directory out of the import path.
        self._process = subprocess.Popen(  # noqa: S603, ASYNC220 (our own program; starting it is quick)
            [sys.executable, "-I", "-m", _ZYGOTE, str(self._policy), *self._options],
            stdin=theirs.fileno(),
            env={},
        )
        theirs.close()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_START_SECONDS):
                ready = await loop.sock_recv(ours, MAX_DATAGRAM_BYTES)
        except (OSError, TimeoutError):
            ready = b""
        if not ready:
            ours.close()
            self._process.kill()
            self._process.wait()
            raise _unavailable()
        self._control = ours
        self._fingerprint = ready.decode("ascii")
        loop.add_reader(ours, self._receive)

    def _receive(self) -> None:
        if self._control is None:
            return
        try:
            data, descriptors, _flags, _address = socket.recv_fds(
                self._control, MAX_DATAGRAM_BYTES, 1
            )
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            self._lose_zygote()
            return
        event = msgspec.msgpack.decode(data, type=JailEvent)
        if event.status is None:
            self._note_birth(event, descriptors[0])
        elif child := self._children.pop(event.child, None):
            child.note_end(event.status)

    def _note_birth(self, event: JailEvent, process: int) -> None:
        connection, born = self._forking.pop(event.child, (None, None))
        if connection is None or born is None or born.done():
            signal.pidfd_send_signal(process, signal.SIGKILL)
            os.close(process)
            return
        child = self._children[event.child] = ZygoteChild(connection, event, process)
        born.set_result(child)

    def _lose_zygote(self) -> None:
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for _connection, born in self._forking.values():
            if not born.done():
                born.set_exception(_unavailable())
        self._forking.clear()
        for child in self._children.values():
            child.kill()
            child.note_end(-signal.SIGKILL)
        self._children.clear()


def _unavailable() -> StockadeError:
    return StockadeError(
        "jail.unavailable",
        "No jailed process could be started. Try again; if it persists, read the worker's log.",
        retryable=True,
    )
