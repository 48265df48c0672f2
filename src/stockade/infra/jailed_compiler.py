"""`ModuleCompiler` by a jailed child per module: what it does to itself, it does to nobody else.

One tenant compiles one module at a time, so that its bombs queue behind each other and not before
others' modules; nobody waits without end. What was refused is remembered for a while, and the same
module asked for at once by several is compiled once: repeating a bomb costs nothing.
"""

import asyncio
import socket
import time
from collections import OrderedDict
from collections.abc import Callable

from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.jail_control import COMPILED, JailRole
from stockade.core.module_turns import ModuleTurns, busy
from stockade.core.ports import Jail
from stockade.core.single_flight import SingleFlight

_CHUNK_BYTES = 1 << 20
_REMEMBERED_SECONDS = {"module.invalid": 3600.0, "module.too_costly": 600.0}
"""Cost depends on the machine's load too, so that verdict is looked at again sooner."""


class JailedCompiler:
    """Compiles in children of a jail, a bounded number at a time.

    Args:
        jail: Where the children come from.
        timeout_seconds: Wall time for one module; the jail bounds processor time and memory itself.
        max_artifact_bytes: What an answer may be long at most.
        at_once: How many compile at the same time.
        most_waiting: How many modules of one tenant may wait for their turn.
        wait_seconds: How long a module whose turn has come may wait for others' to be compiled.
        max_remembered: How many refusals are remembered; the oldest makes room.
        monotonic: The seconds by which refusals are forgotten.
    """

    def __init__(
        self,
        jail: Jail,
        *,
        timeout_seconds: float = 20.0,
        max_artifact_bytes: int = 128 * 1024 * 1024,
        at_once: int = 2,
        most_waiting: int = 8,
        wait_seconds: float = 30.0,
        max_remembered: int = 10_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jail = jail
        self._timeout_seconds = timeout_seconds
        self._max_artifact_bytes = max_artifact_bytes
        self._slots = asyncio.Semaphore(at_once)
        self._turns = ModuleTurns(most_waiting)
        self._wait_seconds = wait_seconds
        self._max_remembered = max_remembered
        self._monotonic = monotonic
        self._asked: SingleFlight[tuple[str, str], bytes] = SingleFlight()
        self._compiling: SingleFlight[str, bytes] = SingleFlight()
        self._refused: OrderedDict[str, tuple[float, StockadeError]] = OrderedDict()

    async def compile(self, body: bytes, tenant: str = "") -> bytes:
        """The compiled artifact of a core module.

        Raises:
            StockadeError: `module.invalid`, `module.too_costly`, `module.compiler_busy` or
                `jail.unavailable`.
        """
        digest = digest_of(body)
        self._check_remembered(digest)
        # Apart for each tenant: nobody's module waits behind others that are not its own tenant's.
        return await self._asked.run((tenant, digest), lambda: self._in_turn(body, digest, tenant))

    async def _in_turn(self, body: bytes, digest: str, tenant: str) -> bytes:
        async with self._turns.turn(tenant):
            self._check_remembered(digest)
            return await self._compiling.run(digest, lambda: self._in_slot(body, digest))

    async def _in_slot(self, body: bytes, digest: str) -> bytes:
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise busy() from None
        try:
            return await self._compile(body)
        except StockadeError as error:
            self._remember(digest, error)
            raise
        finally:
            self._slots.release()

    async def _compile(self, body: bytes) -> bytes:
        child = await self._jail.fork(JailRole.COMPILER)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._converse(child.connection, body)
        except (OSError, TimeoutError):
            answer = bytearray()
        finally:
            child.kill()
            child.connection.close()
        return _artifact(answer)

    async def _converse(self, connection: socket.socket, body: bytes) -> bytearray:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(connection, body)
        connection.shutdown(socket.SHUT_WR)
        answer = bytearray()
        while chunk := await loop.sock_recv(connection, _CHUNK_BYTES):
            answer += chunk
            if len(answer) > self._max_artifact_bytes:
                return bytearray()
        return answer

    def _remember(self, digest: str, error: StockadeError) -> None:
        if error.code in _REMEMBERED_SECONDS:
            forget_at = self._monotonic() + _REMEMBERED_SECONDS[error.code]
            self._refused[digest] = forget_at, error
            if len(self._refused) > self._max_remembered:
                self._refused.popitem(last=False)

    def _check_remembered(self, digest: str) -> None:
        forget_at, error = self._refused.get(digest, (0.0, None))
        if error is None:
            return
        if self._monotonic() < forget_at:
            raise StockadeError(error.code, error.message, detail=error.detail)
        del self._refused[digest]


def _artifact(answer: bytearray) -> bytes:
    if answer[:1] == COMPILED:
        return bytes(memoryview(answer)[1:])
    if answer:
        reason = answer[1:].decode("utf-8", errors="replace")
        raise StockadeError(
            "module.invalid",
            "The engine refuses this module. Build it without the proposals that are switched off.",
            detail={"reason": reason},
        )
    raise StockadeError(
        "module.too_costly",
        "Compiling this module takes more time or memory than is allowed. Make it smaller.",
    )
